//! Dropping what is advised, and the ledger of it.

use super::fingerprint;
use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

#[test]
fn what_is_dropped_stands_in_the_ledger_and_comes_back_exactly() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE "T x" (id int PRIMARY KEY, a text); CREATE INDEX "I; x" ON "T x" (id) WITH (fillfactor = 60);
           COMMENT ON INDEX "I; x" IS 'a;
comment'; INSERT INTO "T x" SELECT i FROM generate_series(1, 1000) i"#,
    );
    let before = fingerprint(&mut client);
    let size = text(&mut client, r#"SELECT pg_relation_size('"I; x"')"#);
    let ledger_id = text(&mut client, r#"SELECT opdb.drop_advised_index('"I; x"')"#);
    let row = format!(
        "SELECT index_name, table_name, definition, reason, bytes, dropped_by, restored, dropped_at <= now()
         FROM opdb.index_ledger WHERE ledger_id = {ledger_id}"
    );
    assert_eq!(
        rows(&mut client, &row),
        [[
            r#"public."I; x""#,
            r#"public."T x""#,
            r#"CREATE INDEX "I; x" ON public."T x" USING btree (id) WITH (fillfactor='60')"#,
            r#"the same as public."T x_pkey", which stays"#,
            &size,
            "postgres",
            "f",
            "t"
        ]]
    );
    let undo = "SELECT u FROM opdb.index_ledger, unnest(undo_statements) u";
    rows(&mut client, undo).concat().iter().for_each(|statement| execute(&mut client, statement));
    assert_eq!(fingerprint(&mut client), before);
    let restored = "SELECT restored FROM opdb.index_ledger";
    assert_eq!(text(&mut client, restored), "t");
    execute(&mut client, r#"ALTER INDEX "I; x" RENAME TO renamed"#);
    assert_eq!(text(&mut client, restored), "t", "by another name");
    execute(&mut client, r#"DROP INDEX renamed; CREATE INDEX "I; x" ON "T x" (id)"#);
    assert_eq!(text(&mut client, restored), "f", "another fillfactor");
    execute(&mut client, r#"DROP TABLE "T x""#);
    assert_eq!(text(&mut client, restored), "f", "the table is gone");
    let dumped = "SELECT count(*) FROM unnest((SELECT extconfig FROM pg_extension WHERE extname = 'opdb')) c
                  WHERE c::regclass::text ~ 'opdb.dropped_index'";
    assert_eq!(text(&mut client, dumped), "2", "a dump has the table and its sequence");
}

#[test]
fn an_index_and_its_row_go_together_or_not_at_all() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE TABLE t (id int PRIMARY KEY); CREATE INDEX t_id ON t (id)");
    execute(&mut client, "BEGIN; SELECT opdb.drop_advised_index('t_id', 'cleaning up')");
    assert_eq!(text(&mut client, "SELECT reason FROM opdb.index_ledger"), "cleaning up");
    execute(&mut client, "ROLLBACK");
    assert_eq!(rows(&mut client, "SELECT FROM opdb.index_ledger").len(), 0);
    assert_eq!(text(&mut client, "SELECT to_regclass('t_id')"), "t_id");
}

#[test]
fn what_is_not_advised_is_refused_by_name() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE, b int NOT NULL, c int, d int REFERENCES t, e int);
         CREATE UNIQUE INDEX t_b ON t (b); ALTER TABLE t REPLICA IDENTITY USING INDEX t_b;
         CREATE UNIQUE INDEX t_bc ON t (b, c);
         CREATE INDEX t_c ON t (c); ALTER TABLE t CLUSTER ON t_c; CREATE INDEX t_d ON t (d); CREATE INDEX t_e ON t (e);
         CREATE TEMP TABLE temporary (a int); CREATE INDEX temporary_a ON temporary (a);
         SET enable_seqscan = off; SELECT * FROM t WHERE e = 1; SELECT pg_stat_force_next_flush()",
    );
    for (index, sqlstate, why) in [
        ("t_pkey", "55000", "primary key"),
        ("t_a_key", "55000", "constraint t_a_key"),
        ("t_b", "55000", "unique"),
        ("t_bc", "55000", "unique"),
        ("t_c", "55000", "clustered"),
        ("t_d", "55000", "foreign key"),
        ("t_e", "55000", "scanned 1 times"),
        ("t", "42809", "not an index"),
        ("temporary_a", "42809", "temporary"),
        ("pg_class_oid_index", "42809", "the system's"),
        ("opdb.quality_run_table_idx", "42809", "an extension's"),
    ] {
        let call = format!("SELECT opdb.drop_advised_index('{index}', min_age => '0')");
        let refusal = refused(&mut client, &call);
        assert_eq!(refusal.sqlstate, sqlstate, "{refusal:?}");
        assert!(refusal.message.contains(index.trim_start_matches("opdb.")), "{refusal:?}");
        assert!(refusal.message.contains(why), "{refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
    }
    assert_eq!(rows(&mut client, "SELECT FROM opdb.index_ledger").len(), 0);
    execute(&mut client, "CREATE TABLE u (a int); CREATE INDEX u_a ON u (a)");
    assert_eq!(refused(&mut client, "SELECT opdb.drop_advised_index('u_a')").sqlstate, "55000", "too young");
    execute(&mut client, "SELECT opdb.drop_advised_index('u_a', min_age => '0')");
}

#[test]
fn it_gives_up_before_others_queue_behind_it() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(&mut client, "CREATE TABLE t (id int PRIMARY KEY); CREATE INDEX t_id ON t (id)");
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN; SELECT * FROM t");
    let began = std::time::Instant::now();
    let refusal = refused(&mut client, "SELECT opdb.drop_advised_index('t_id')");
    let waited = began.elapsed().as_secs_f64();
    assert_eq!(refusal.sqlstate, "55P03", "{refusal:?}");
    assert!(refusal.hint.contains("Try again"), "{refusal:?}");
    assert!(waited > 1.9, "{waited}");
    execute(&mut client, "SET lock_timeout = '100ms'");
    let began = std::time::Instant::now();
    assert_eq!(refused(&mut client, "SELECT opdb.drop_advised_index('t_id')").sqlstate, "55P03");
    assert!(began.elapsed().as_secs_f64() < 1.9, "a shorter lock_timeout of the caller's counts");
    execute(&mut holder, "COMMIT");
    execute(&mut client, "SELECT opdb.drop_advised_index('t_id')");
}

#[test]
fn a_reader_looks_an_operator_drops_what_it_owns() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    let (nobody, reader) = (role(&servers().test, &[]), role(&servers().test, &["opdb_reader"]));
    let (owner, other) =
        (role(&servers().test, &["opdb_operator"]), role(&servers().test, &["opdb_operator"]));
    execute(
        &mut client,
        &format!(
            "CREATE SCHEMA s; REVOKE ALL ON SCHEMA s FROM PUBLIC; GRANT USAGE ON SCHEMA s TO {owner}, {other};
             CREATE TABLE s.t (id int PRIMARY KEY, a text); CREATE INDEX t_id ON s.t (id); CREATE INDEX t_low ON s.t (lower(a));
             ALTER TABLE s.t OWNER TO {owner}"
        ),
    );
    let connect = |role: &str| servers().test.connect(&name, role, role).unwrap();
    let (mut nobody, mut reader) = (connect(&nobody), connect(&reader));
    let (mut owner_session, mut other) = (connect(&owner), connect(&other));
    for statement in [
        "SELECT * FROM opdb.index_advice()",
        "SELECT * FROM opdb.index_ledger",
        "SELECT opdb.drop_advised_index('pg_class_oid_index')",
    ] {
        assert_eq!(refused(&mut nobody, statement).sqlstate, "42501", "{statement}");
    }
    let advice =
        "SELECT string_agg(object || bytes || ddl || undo, ' ' ORDER BY object) FROM opdb.index_advice('0')";
    let seen = text(&mut client, advice);
    assert!(seen.contains("s.t_id") && seen.contains("s.t_low"), "{seen}");
    assert_eq!(text(&mut reader, advice), seen, "everybody gets the same answer");
    assert_eq!(rows(&mut reader, "SELECT * FROM opdb.index_ledger").len(), 0);
    let index = text(&mut client, "SELECT 's.t_id'::regclass::oid");
    let by_oid = format!("SELECT opdb.drop_advised_index({index})");
    assert_eq!(refused(&mut reader, &by_oid).sqlstate, "42501");
    let refusal = refused(&mut other, "SELECT opdb.drop_advised_index('s.t_id')");
    assert_eq!((refusal.sqlstate.as_str(), refusal.message.contains("s.t")), ("42501", true));
    for statement in [
        "INSERT INTO opdb.dropped_index (index_name) VALUES ('x')",
        "DELETE FROM opdb.dropped_index",
        "UPDATE opdb.index_ledger SET reason = ''",
    ] {
        assert_eq!(refused(&mut owner_session, statement).sqlstate, "42501", "{statement}");
    }
    execute(&mut owner_session, "SELECT opdb.drop_advised_index('s.t_id')");
    assert_eq!(text(&mut reader, "SELECT dropped_by FROM opdb.index_ledger"), owner);
    assert_eq!(text(&mut reader, "SELECT restored FROM opdb.index_ledger"), "f");
}
