//! Looking at a schema while others work: without their locks, without their failures, and on a standby.

use std::sync::atomic::{AtomicBool, Ordering};

use opdb_e2e::cluster::Cluster;
use postgres::Client;

use crate::fixture::{database, execute, installation, on_test, refused, role, rows, servers, text};

/// What the server's own functions lock when they describe it.
const LOCKING: &str = "
    CREATE TABLE t (id int PRIMARY KEY, a text CHECK (a <> ''), g int GENERATED ALWAYS AS (id * 2) STORED);
    CREATE INDEX t_lower_idx ON t (lower(a)) WHERE id > 0;
    CREATE STATISTICS t_stat ON (id + 1), a FROM t;
    CREATE VIEW v AS SELECT id, a FROM t WHERE id > 0;
    CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t;
    CREATE RULE r AS ON DELETE TO t WHERE OLD.id < 0 DO INSTEAD NOTHING;
    CREATE POLICY p ON t USING (id IN (SELECT id FROM v));
    CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM t; END;
    CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER t_when BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.a <> NEW.a) EXECUTE FUNCTION g();
    CREATE PUBLICATION pub FOR TABLE t WHERE (id > 0);
    CREATE TABLE bystander (id int PRIMARY KEY)";

fn scene() -> (String, Client) {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(&mut client, LOCKING);
    (name, client)
}

/// A server whose roles no other test makes: they are in the schema's catalogs, too.
fn alone() -> Cluster {
    let cluster = Cluster::start_temporary(&installation(), &[]).unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut client, "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE");
    execute(&mut client, LOCKING);
    cluster
}

#[test]
fn nothing_but_catalogs_is_locked() {
    let (_, mut client) = scene();
    let locked = "SELECT string_agg(DISTINCT relation::regclass || ' ' || mode, ', ') FROM pg_locks
        WHERE pid = pg_backend_pid() AND locktype = 'relation' AND (relation >= 16384 OR mode <> 'AccessShareLock')
          AND relation NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'opdb'::regnamespace)";
    execute(
        &mut client,
        "SELECT opdb.capture_schema(); COMMENT ON TABLE bystander IS 'so that it is read again'",
    );
    for call in
        ["opdb.schema_fingerprint()", "opdb.validate_schema()", "opdb.diff_schema('live', 'expected')"]
    {
        execute(&mut client, "BEGIN");
        execute(&mut client, &format!("SELECT * FROM {call}"));
        assert_eq!(text(&mut client, locked), "NULL", "{call}");
        execute(&mut client, "ROLLBACK");
    }
    execute(&mut client, "BEGIN; SELECT opdb.capture_schema()");
    assert_eq!(text(&mut client, locked), "NULL", "capture_schema()");
}

#[test]
fn a_table_that_somebody_changes_is_not_waited_for() {
    let (name, mut client) = scene();
    execute(&mut client, "SET statement_timeout = '60s'; SELECT opdb.capture_schema()");
    let fingerprint = text(&mut client, "SELECT opdb.schema_fingerprint()");
    let mut other = on_test(&name);
    execute(&mut other, "BEGIN; ALTER TABLE t ADD later int");
    let pid = text(&mut other, "SELECT pg_backend_pid()");

    assert_eq!(text(&mut client, "SELECT opdb.schema_fingerprint()"), fingerprint, "known from the capture");
    assert_eq!(text(&mut client, "SELECT opdb.validate_schema() ->> 'valid'"), "true");

    execute(&mut client, "COMMENT ON TABLE bystander IS 'changed'");
    let drift = "SELECT object, change, hazard, actual::text FROM opdb.schema_drift() ORDER BY object";
    let found = rows(&mut client, drift);
    let unknown: Vec<&str> =
        found.iter().filter(|row| row[1] == "unknown").map(|row| row[0].as_str()).collect();
    let expected = [
        "pub (public.t)",
        "public.f()",
        "public.m",
        "public.t.g",
        "public.t.p",
        "public.t.r",
        "public.t.t_a_check",
        "public.t.t_lower_idx",
        "public.t.t_when",
        "public.t_stat",
        "public.v",
    ];
    for object in expected {
        assert!(unknown.contains(&object), "{object} is not in {unknown:?}");
    }
    assert_eq!(unknown.len(), expected.len(), "{unknown:?}");
    for row in &found {
        let is_bystander = row[0] == "public.bystander";
        let as_expected = match is_bystander {
            true => row[1] == "changed" && row[2] == "cosmetic",
            false => row[2] == "unknown" && row[3].contains(&format!("locked by process {pid}")),
        };
        assert!(as_expected, "{row:?}");
    }
    let validation =
        "SELECT concat_ws(' ', v ->> 'valid', v ->> 'unknown', coalesce(v ->> 'actual_fingerprint', 'none'))
        FROM opdb.validate_schema() v";
    assert_eq!(text(&mut client, validation), format!("false {} none", expected.len()));

    for call in ["opdb.schema_fingerprint()", "opdb.capture_schema()", "opdb.capture_schema('other')"] {
        let refusal = refused(&mut client, &format!("SELECT {call}"));
        assert_eq!(refusal.sqlstate, "55P03", "{call}: {refusal:?}");
        assert!(refusal.whole.contains(&pid), "{call}: {refusal:?}");
    }
    let stored = "SELECT (SELECT string_agg(name || ' ' || fingerprint, ',') FROM opdb.schema_snapshots)
        || ' ' || (SELECT count(DISTINCT snapshot) FROM opdb.schema_fact)";
    assert_eq!(text(&mut client, stored), format!("expected {fingerprint} 1"), "nothing was stored half");

    execute(&mut other, "ROLLBACK");
    assert_eq!(rows(&mut client, drift).len(), 1);
}

#[test]
fn others_make_and_drop_objects_while_it_is_read() {
    let (name, mut client) = scene();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in ["a", "b"] {
            let (name, is_done) = (&name, &is_done);
            scope.spawn(move || {
                let mut other = on_test(name);
                while !is_done.load(Ordering::Relaxed) {
                    execute(
                        &mut other,
                        &format!(
                            "CREATE TABLE {worker} (id int PRIMARY KEY, x text CHECK (x <> '') DEFAULT now()::text);
                             CREATE INDEX ON {worker} (lower(x)) WHERE id > 0;
                             CREATE VIEW {worker}_view AS SELECT id FROM {worker};
                             CREATE FUNCTION {worker}_f(x {worker}) RETURNS int BEGIN ATOMIC SELECT id FROM {worker}; END"
                        ),
                    );
                    execute(&mut other, &format!("DROP TABLE {worker} CASCADE"));
                }
            });
        }
        let mut refusals = Vec::new();
        for _ in 0..40 {
            let call = client.batch_execute(
                "SELECT opdb.capture_schema('churn'); SELECT * FROM opdb.schema_drift('churn')",
            );
            refusals.extend(call.err().map(|error| format!("{error:?}")));
        }
        is_done.store(true, Ordering::Relaxed);
        // What is locked at this very moment may be said to be so; nothing else may go wrong.
        refusals.retain(|refusal| !refusal.contains("55P03"));
        assert!(refusals.is_empty(), "{refusals:?}");
    });
    let left =
        "SELECT * FROM opdb.schema_drift('churn') WHERE object LIKE 'public.a%' OR object LIKE 'public.b.%'";
    execute(&mut client, "SELECT opdb.capture_schema('churn')");
    assert_eq!(rows(&mut client, left), Vec::<Vec<String>>::new());
}

#[test]
fn whoever_asks_gets_the_same_answer() {
    let (name, mut client) = scene();
    execute(
        &mut client,
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;
         CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user 'u', password 'secret')",
    );
    let fingerprint = text(&mut client, "SELECT opdb.schema_fingerprint()");
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    assert_eq!(text(&mut session, "SELECT opdb.schema_fingerprint()"), fingerprint);
    execute(&mut client, "SELECT opdb.capture_schema()");
    assert_eq!(text(&mut session, "SELECT opdb.validate_schema() ->> 'valid'"), "true");
    assert_eq!(text(&mut session, "SELECT opdb.assert_schema()"), "");
    let secret =
        "SELECT count(*) FROM opdb.schema_fact WHERE facets LIKE '%secret%' OR definitions LIKE '%secret%'";
    assert_eq!(text(&mut client, secret), "0");
    execute(&mut client, "ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (SET user 'other')");
    let drift = "SELECT object || ' ' || (actual ->> 'options') FROM opdb.schema_drift()";
    assert_eq!(text(&mut session, drift), "FOR postgres SERVER s [\"password\", \"user=other\"]");
}

#[test]
fn capturing_again_replaces_and_dropping_forgets() {
    let (_, mut client) = scene();
    let stored = "SELECT (SELECT count(*) FROM opdb.schema_snapshots) || ' ' ||
        ((SELECT count(*) FROM opdb.schema_fact) - (SELECT count(*) FROM opdb.schema_fact WHERE snapshot = 'a')) || ' ' ||
        (SELECT count(*) FROM opdb.schema_fact WHERE snapshot = 'a' AND name = 'extra')";
    execute(&mut client, "CREATE TABLE extra (); SELECT opdb.capture_schema('a')");
    assert_eq!(text(&mut client, stored), "1 0 1");
    execute(&mut client, "DROP TABLE extra; SELECT opdb.capture_schema('a')");
    assert_eq!(text(&mut client, stored), "1 0 0");
    execute(&mut client, "SELECT opdb.drop_schema_snapshot('a')");
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.schema_fact"), "0");
    assert_eq!(refused(&mut client, "SELECT opdb.validate_schema('a')").sqlstate, "42704");
}

#[test]
fn two_captures_of_one_name_do_not_mix() {
    let (name, mut client) = scene();
    let mut other = on_test(&name);
    execute(&mut other, "BEGIN; SELECT opdb.capture_schema('both')");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| execute(&mut on_test(&name), "SELECT opdb.capture_schema('both')"));
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
        while text(&mut client, waits) == "0" && !waiting.is_finished() {
            std::thread::yield_now();
        }
        execute(&mut other, "COMMIT");
        waiting.join().unwrap();
    });
    let doubled = "SELECT count(*) - count(DISTINCT hash) FROM opdb.schema_fact";
    assert_eq!(text(&mut client, doubled), "0");
    assert_eq!(text(&mut client, "SELECT opdb.validate_schema('both') ->> 'valid'"), "true");
}

#[test]
fn an_assertion_names_the_first_differences() {
    let (_, mut client) = scene();
    execute(&mut client, "SELECT opdb.capture_schema(); SELECT opdb.assert_schema()");
    execute(&mut client, "DROP INDEX t_lower_idx; ALTER TABLE bystander ALTER id TYPE bigint");
    let refusal = refused(&mut client, "SELECT opdb.assert_schema()");
    assert_eq!(refusal.sqlstate, "P0004");
    for part in [
        "missing index public.t.t_lower_idx (index_missing)",
        "changed column public.bystander.id: type (breaks_clients)",
    ] {
        assert!(refusal.whole.contains(part), "{part}: {refusal:?}");
    }
    let swallowed = "DO $$ BEGIN PERFORM opdb.assert_schema(); EXCEPTION WHEN OTHERS THEN NULL; END $$";
    assert_eq!(refused(&mut client, swallowed).sqlstate, "P0004", "WHEN OTHERS does not swallow it");
    execute(
        &mut client,
        "DO $$ BEGIN FOR i IN 1..20 LOOP EXECUTE format('CREATE TABLE more_%s ()', i); END LOOP; END $$",
    );
    assert!(refused(&mut client, "SELECT opdb.assert_schema()").whole.contains("and 12 more"));
}

#[test]
fn an_unchanged_schema_is_known_within_and_across_sessions() {
    let cluster = alone();
    let session = || cluster.connect_as_superuser("postgres").unwrap();
    let mut client = session();
    execute(&mut client, "SELECT opdb.capture_schema()");
    // While the table is locked, only what needs no look at it can be answered.
    let mut other = session();
    execute(&mut other, "BEGIN; LOCK TABLE t");
    let valid = "SELECT opdb.validate_schema() ->> 'valid'";
    assert_eq!(text(&mut session(), valid), "true", "from the capture");
    execute(&mut other, "COMMIT");

    execute(&mut client, "CREATE TABLE extra ()");
    assert_eq!(text(&mut client, valid), "false");
    execute(&mut other, "BEGIN; LOCK TABLE t");
    let differences = "SELECT v -> 'differences' -> 0 ->> 'object' || ' ' || (v ->> 'unknown') FROM opdb.validate_schema() v";
    assert_eq!(text(&mut client, differences), "public.extra 0", "from the last look of the session");
    execute(&mut client, "BEGIN; DROP TABLE extra; SAVEPOINT s");
    execute(&mut other, "COMMIT");
    assert_eq!(text(&mut client, valid), "true", "its own changes count");
    execute(&mut client, "CREATE TABLE another (); ROLLBACK TO s");
    assert_eq!(text(&mut client, valid), "true");
    execute(&mut client, "ROLLBACK");
    assert_eq!(text(&mut client, valid), "false", "and no longer, when they are undone");
}

#[test]
fn it_is_read_on_a_standby() {
    let cluster = alone();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut client, "SELECT opdb.capture_schema(); SELECT opdb.capture_schema('other')");
    let fingerprint = text(&mut client, "SELECT opdb.schema_fingerprint()");
    execute(
        &mut client,
        "UPDATE opdb.schema_snapshot SET stamp = NULL WHERE name = 'other'; COMMENT ON TABLE t IS 'x'",
    );
    let changed = text(&mut client, "SELECT opdb.schema_fingerprint()");
    assert_ne!(fingerprint, changed);
    drop(client);

    cluster.restart_as_standby().unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    assert_eq!(text(&mut client, "SELECT pg_is_in_recovery()"), "t");
    assert_eq!(text(&mut client, "SELECT opdb.schema_fingerprint()"), changed);
    for name in ["expected", "other"] {
        for _ in 0..2 {
            let drift = format!("SELECT object || ' ' || hazard FROM opdb.schema_drift('{name}')");
            assert_eq!(text(&mut client, &drift), "public.t cosmetic");
        }
        assert_eq!(refused(&mut client, &format!("SELECT opdb.assert_schema('{name}')")).sqlstate, "P0004");
    }
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.diff_schema('live', 'other')"), "1");
    assert_eq!(refused(&mut client, "SELECT opdb.capture_schema()").sqlstate, "25006");
}

#[test]
fn a_catalog_that_nobody_knows_is_an_error() {
    let (name, mut client) = scene();
    execute(&mut client, "SET allow_system_table_mods = on");
    execute(
        &mut client,
        "CREATE TABLE pg_catalog.pg_future (a int); INSERT INTO pg_catalog.pg_future VALUES (1)",
    );
    execute(
        &mut client,
        "UPDATE pg_attribute SET attrelid = 9998 WHERE attrelid = 'pg_catalog.pg_future'::regclass;
         UPDATE pg_type SET typrelid = 9998 WHERE typrelid = 'pg_catalog.pg_future'::regclass;
         DELETE FROM pg_depend WHERE objid = 'pg_catalog.pg_future'::regclass;
         UPDATE pg_class SET oid = 9998 WHERE relname = 'pg_future'",
    );
    let mut client = on_test(&name);
    for call in ["opdb.schema_fingerprint()", "opdb.capture_schema()"] {
        let refusal = refused(&mut client, &format!("SELECT {call}"));
        assert_eq!(refusal.sqlstate, "0A000", "{call}");
        assert!(refusal.message.contains("pg_future"), "{refusal:?}");
    }
}
