mod around;
mod errors;
mod load;
mod proof;
mod pull;
mod references;
mod rollback;
mod rows;

use std::time::Duration;

use postgres::Client;

use crate::fixture::{Pair, execute, ingest, on_test, records, refused, role, rows, servers, text};

/// Deploys and returns state, inserted, updated, unchanged and error.
fn deploy(client: &mut Client, tables: &str, options: &str) -> [String; 5] {
    let id = text(client, &format!("SELECT opdb.deploy('production', '{tables}', '{options}')"));
    let sql = format!(
        "SELECT state, inserted, updated, unchanged, error FROM opdb.deployments WHERE deployment_id = {id}"
    );
    rows(client, &sql).remove(0).try_into().unwrap()
}

fn applied(inserted: i64, updated: i64, unchanged: i64) -> [String; 5] {
    ["applied".into(), inserted.to_string(), updated.to_string(), unchanged.to_string(), "NULL".into()]
}

/// Everything in a table, whatever its columns.
fn content(client: &mut Client, table: &str) -> String {
    text(
        client,
        &format!(
            "SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t"
        ),
    )
}

fn pair_with(here: &str, there: &str) -> Pair {
    let mut pair = Pair::with_plain_production();
    execute(&mut pair.here, here);
    execute(&mut pair.there, there);
    execute(&mut pair.here, "SELECT opdb.capture_schema()");
    pair
}

#[test]
fn rows_are_inserted_updated_or_left_alone() {
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) i",
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(5, 20) i",
    );
    execute(&mut pair.there, "UPDATE t SET a = 'old' WHERE id IN (6, 7)");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(4, 2, 4));
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, 10));
    assert_eq!(
        text(&mut pair.there, "SELECT count(*) FROM t WHERE a = 'v' || id"),
        "20",
        "rows only there stay"
    );
}

#[test]
fn an_event_table_goes_into_an_event_table_of_another_opdb() {
    let mut pair = Pair::with_opdb_on_both();
    execute(
        &mut pair.there,
        "SELECT opdb.set_environment('live', 'production'); SELECT opdb.create_event_table('events')",
    );
    ingest(&mut pair.there, "events", &records(5));
    execute(&mut pair.there, "UPDATE events SET processed = true WHERE source_id = 'event-1'");
    execute(&mut pair.here, "SELECT opdb.create_event_table('events')");
    ingest(&mut pair.here, "events", &records(100));
    execute(&mut pair.here, "SELECT opdb.capture_schema()");
    assert_eq!(deploy(&mut pair.here, "{events}", "{}"), applied(95, 0, 5));
    assert_eq!(deploy(&mut pair.here, "{events}", "{}"), applied(0, 0, 100));
    assert_eq!(
        text(
            &mut pair.there,
            "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || count(*) FILTER (WHERE processed) FROM events"
        ),
        "100 100 1",
        "ids and what was processed are the target's own"
    );
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM events_keys"), "100");
    assert_eq!(ingest(&mut pair.there, "events", &records(101)), (1, 100, 0), "the target goes on by itself");
}

#[test]
fn every_value_arrives_as_it_was() {
    let table = "CREATE TYPE mood AS ENUM ('good', 'bad \"mood\"');
        CREATE TABLE zoo (id int PRIMARY KEY, j json, jb jsonb, n numeric, n2 numeric(12,4), f4 real, f8 float8, b bytea,
            at timestamptz, ts timestamp, d date, i interval, c char(5), v varchar(9), t text, bo bool, u uuid, m mood,
            ia int[], ta text[][], r int4range, ip inet, bits bit(4), p point)";
    let mut pair = pair_with(table, table);
    execute(
        &mut pair.here,
        r#"INSERT INTO zoo VALUES
           (1, '{"a" : 1, "a":2}', '{"b": [1, null, "ü"]}', 123456789012345678901234567890.123456789, 1.5, 0.1, 1e-300,
            '\x00ff', '2024-02-29 12:00:00.123456+05', '0044-03-15 BC', 'infinity', '1 mon -2 days 03:04:05', 'ab', 'x''y',
            E'tab\t newline\n quote " backslash \\ ünïcode 😀', true, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'bad "mood"',
            '[0:1]={7,NULL}', '{{a,"b,c"},{NULL,""}}', '[1,5)', '10.0.0.1/8', B'0101', '(1,2)'),
           (2, 'null', 'null', 'NaN', NULL, 'NaN', '-infinity', '', '-infinity', 'infinity', '-infinity', '0', '', '', '', false,
            NULL, 'good', '{}', '{}', 'empty', '::1', B'1111', NULL);
           INSERT INTO zoo (id) VALUES (3)"#,
    );
    execute(
        &mut pair.here,
        "SELECT opdb.capture_schema(); SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -3",
    );
    let loose = r#"{"raise": true}"#;
    let score = text(&mut pair.here, "SELECT reason FROM opdb.quality_score('zoo')");
    assert!(score.contains("isfinite") || score.contains("below") || score.contains("rules"), "{score}");
    execute(&mut pair.here, "DELETE FROM opdb.quality_rule");
    execute(
        &mut pair.here,
        "UPDATE zoo SET at = '2024-01-01 00:00+00', ts = '2024-01-01', d = '2024-01-01', n = 5, f4 = 0.1, f8 = 0.1 WHERE id = 2",
    );
    execute(&mut pair.here, "UPDATE zoo SET d = '2024-02-29' WHERE id = 1");
    assert_eq!(deploy(&mut pair.here, "{zoo}", loose), applied(3, 0, 0));
    execute(&mut pair.here, "RESET ALL");
    assert_eq!(content(&mut pair.here, "zoo"), content(&mut pair.there, "zoo"));
    assert_eq!(text(&mut pair.there, "SELECT j::text FROM zoo WHERE id = 1"), r#"{"a" : 1, "a":2}"#);
    assert_eq!(
        text(&mut pair.there, "SELECT jb::text FROM zoo WHERE id = 2"),
        "null",
        "JSON null is not NULL"
    );
    assert_eq!(deploy(&mut pair.here, "{zoo}", loose), applied(0, 0, 3));
}

#[test]
fn a_value_that_would_change_on_its_way_stops_everything() {
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY, a text[]); INSERT INTO t VALUES (1, '{abcdef}'), (2, '{ab}')",
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(3)[])",
    );
    let [state, _, _, _, error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused", "{error}");
    assert!(error.contains("for example {abcdef}"), "{error}");
    // What only the other server can tell is tried there.
    execute(&mut pair.here, "ALTER TABLE t ADD at text; UPDATE t SET a = '{ab}', at = 'not an interval'");
    execute(&mut pair.there, "ALTER TABLE t ADD at interval");
    let [state, _, _, _, error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused", "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}

#[test]
fn whatever_fails_there_changes_nothing_there() {
    let here = "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 3);
                CREATE TABLE b (id int PRIMARY KEY, n int); INSERT INTO b SELECT i, i FROM generate_series(1, 3) i";
    for (trouble, expected) in [
        ("ALTER TABLE b ADD CONSTRAINT small CHECK (n < 3)", "small"),
        ("CREATE UNIQUE INDEX odd ON b ((n % 2))", "odd"),
        ("CREATE TABLE c (n int PRIMARY KEY); ALTER TABLE b ADD CONSTRAINT later FOREIGN KEY (n) REFERENCES c DEFERRABLE INITIALLY DEFERRED", "later"),
        ("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not on my watch''; END';
          CREATE TRIGGER no BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION no()", "not on my watch"),
        ("CREATE FUNCTION alter() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n + 1; RETURN NEW; END';
          CREATE TRIGGER alter BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION alter()", "not as they were sent"),
        ("CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
          CREATE TRIGGER skip BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION skip()", "not as they were sent"),
    ] {
        let mut pair = pair_with(here, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, n int)");
        execute(&mut pair.there, "INSERT INTO a VALUES (100)");
        execute(&mut pair.there, trouble);
        let before = (content(&mut pair.there, "a"), content(&mut pair.there, "b"));
        let [state, inserted, .., error] = deploy(&mut pair.here, "{a,b}", r#"{"error_threshold": 1}"#);
        assert_eq!(inserted, "NULL", "{trouble}");
        assert!(["failed", "rolled_back"].contains(&state.as_str()), "{state}: {trouble}");
        assert!(error.contains(expected), "{trouble}: {error}");
        assert_eq!((content(&mut pair.there, "a"), content(&mut pair.there, "b")), before, "{trouble}");
    }
}

#[test]
fn a_failed_check_refuses_with_the_reason_and_changes_nothing() {
    type Spoil = (&'static str, &'static str, &'static str, &'static str);
    const SPOILS: [Spoil; 9] = [
        (
            "schema_valid",
            "ALTER TABLE t ADD extra int; UPDATE t SET extra = 1",
            "ALTER TABLE t ADD extra int",
            "public.t.extra",
        ),
        ("quality", "DELETE FROM t", "SELECT 1", "empty"),
        (
            "source_environment",
            "SELECT opdb.set_environment('live', 'production')",
            "SELECT 1",
            "production itself",
        ),
        ("source_environment", "DELETE FROM opdb.own_environment", "SELECT 1", "set_environment"),
        ("session_target", "SET opdb.target = 'staging'", "SELECT 1", "staging"),
        ("compatible", "SELECT 1", "ALTER TABLE t DROP a", "does not exist there"),
        ("compatible", "SELECT 1", "ALTER TABLE t ADD needed int NOT NULL", "needed"),
        ("compatible", "SELECT 1", "DROP TABLE t", "no such table there"),
        ("key_unique_there", "SELECT 1", "ALTER TABLE t DROP CONSTRAINT t_pkey", "(id)"),
    ];
    for (check, here, there, reason) in SPOILS {
        let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
        let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x')"), table);
        execute(&mut pair.here, here);
        execute(&mut pair.there, there);
        let failed = rows(
            &mut pair.here,
            "SELECT check_name, detail FROM opdb.pre_deployment_check('production', '{t}') WHERE NOT passed",
        );
        assert!(failed.iter().any(|row| row[0] == check && row[1].contains(reason)), "{check}: {failed:?}");
        let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
        assert_eq!(state, "refused", "{check}");
        assert!(error.contains(check) && error.contains(reason), "{error}");
        if text(&mut pair.there, "SELECT to_regclass('t')") != "NULL" {
            assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0", "{check}");
        }
    }
}

#[test]
fn raise_makes_a_refusal_an_error() {
    let mut pair = pair_with("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE t (id int PRIMARY KEY)");
    let refusal = refused(&mut pair.here, r#"SELECT opdb.deploy('production', '{t}', '{"raise": true}')"#);
    assert_eq!(refusal.sqlstate, "55000");
    assert!(refusal.message.contains("the table is empty"), "{refusal:?}");
    assert_eq!(text(&mut pair.here, "SELECT state FROM opdb.deployments"), "refused", "it is a record, too");
}

#[test]
fn a_target_that_says_it_is_something_else_is_refused() {
    let mut pair = Pair::with_opdb_on_both();
    let table = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
    execute(&mut pair.here, table);
    execute(&mut pair.there, &format!("{table}; SELECT opdb.set_environment('dr', 'disaster_recovery')"));
    execute(&mut pair.here, "SELECT opdb.capture_schema()");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("disaster_recovery"), "{error}");
}

#[test]
fn a_database_is_not_deployed_to_itself() {
    let mut pair = pair_with("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", "SELECT 1");
    let test = &servers().test;
    let options =
        serde_json::json!({"host": test.host(), "port": test.port(), "dbname": pair.here_name}).to_string();
    let credentials = serde_json::json!({"user": test.superuser(), "password": test.password()}).to_string();
    pair.here
        .execute(
            "SELECT opdb.register_environment('production', 'production', $1::text::jsonb, $2::text::jsonb)",
            &[&options, &credentials],
        )
        .unwrap();
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("this very database"), "{error}");
}

#[test]
fn more_changes_than_allowed_are_refused_there() {
    let table =
        "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i";
    let mut pair = pair_with(table, table);
    execute(&mut pair.here, "UPDATE t SET a = 1 WHERE id <= 6");
    let before = content(&mut pair.there, "t");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "failed");
    assert!(error.contains("6 of 10 rows"), "{error}");
    assert_eq!(content(&mut pair.there, "t"), before);
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 0.6}"#), applied(0, 6, 4));
}

#[test]
fn referenced_tables_go_first_and_sequences_move_on() {
    let tables = "CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
                  CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent, up int REFERENCES child)";
    let mut pair = pair_with(tables, tables);
    execute(
        &mut pair.here,
        "INSERT INTO parent (name) SELECT 'p' || i FROM generate_series(1, 20) i;
         INSERT INTO child (parent, up) SELECT i, nullif(i - 1, 0) FROM generate_series(1, 20) i;
         SELECT opdb.capture_schema()",
    );
    assert_eq!(deploy(&mut pair.here, "{child,parent}", "{}"), applied(40, 0, 0));
    execute(
        &mut pair.there,
        "INSERT INTO parent (name) VALUES ('own'); INSERT INTO child (parent) VALUES (21)",
    );
    assert_eq!(content(&mut pair.there, "parent")[..3], *"21 ");
}

#[test]
fn options_choose_key_rows_and_columns() {
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, a text, secret text);
         INSERT INTO t SELECT i, 'c' || i, 'v', 's' FROM generate_series(1, 9) i",
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE, a text)",
    );
    let options =
        r#"{"key": ["code"], "exclude_columns": ["id", "secret"], "where": "id > 4", "batch_size": 2}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(5, 0, 0));
    assert_eq!(
        rows(&mut pair.there, "SELECT id, code, a FROM t ORDER BY id LIMIT 2"),
        [["1", "c5", "v"], ["2", "c6", "v"]]
    );
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(0, 0, 5));
}

#[test]
fn odd_names_and_other_schemas_are_deployed() {
    let table = r#"CREATE SCHEMA "Söme ""schema"; CREATE TABLE "Söme ""schema"."T 'x'" ("select" int PRIMARY KEY, "a ""b" text, "c.d" varchar(3)[])"#;
    let mut pair = pair_with(table, table);
    execute(
        &mut pair.here,
        r#"SET search_path = "Söme ""schema"; INSERT INTO "T 'x'" VALUES (1, 'x', '{abc}')"#,
    );
    let tables = r#"{"\"Söme \"\"schema\".\"T ''x''\""}"#;
    assert_eq!(deploy(&mut pair.here, tables, "{}"), applied(1, 0, 0));
    assert_eq!(deploy(&mut pair.here, r#"{"\"T ''x''\""}"#, "{}"), applied(0, 0, 1));
}

#[test]
fn a_transaction_block_is_refused_because_it_could_not_be_rolled_back() {
    let table = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
    let mut pair = pair_with(table, "CREATE TABLE t (id int PRIMARY KEY)");
    execute(&mut pair.here, "BEGIN");
    assert_eq!(refused(&mut pair.here, "SELECT opdb.deploy('production', '{t}')").sqlstate, "25001");
    execute(&mut pair.here, "ROLLBACK");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}

#[test]
fn two_deployments_at_once_both_end_well() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 2000) i"), table);
    let states: Vec<[String; 5]> = std::thread::scope(|scope| {
        let sessions: Vec<_> =
            (0..3).map(|_| scope.spawn(|| deploy(&mut on_test(&pair.here_name), "{t}", "{}"))).collect();
        sessions.into_iter().map(|session| session.join().unwrap()).collect()
    });
    assert!(states.iter().all(|state| state[0] == "applied"), "{states:?}");
    let inserted: i64 = states.iter().map(|state| state[1].parse::<i64>().unwrap()).sum();
    assert_eq!(inserted, 2000);
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "2000");
}

#[test]
fn a_deployment_that_waits_can_be_cancelled_and_leaves_nothing() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    let Pair { there_name, here_name, .. } = &pair;
    let mut blocker = servers().production.connect_as_superuser(there_name).unwrap();
    execute(&mut blocker, "BEGIN; LOCK TABLE t");
    let mut session = on_test(here_name);
    let token = session.cancel_token();
    let refusal = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| refused(&mut session, "SELECT opdb.deploy('production', '{t}')"));
        // The other server says when the deployment waits for the lock.
        let mut watcher = servers().production.connect_as_superuser(there_name).unwrap();
        let waits = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{there_name}' AND wait_event_type = 'Lock'"
        );
        while text(&mut watcher, &waits) == "0" && !waiting.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        token.cancel_query(postgres::NoTls).unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(refusal.sqlstate, "57014");
    execute(&mut blocker, "ROLLBACK");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
}

#[test]
fn what_is_scored_is_what_is_sent() {
    // A rule waits for a row that another session adds after the call began: the call must not send it.
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x')"), table);
    execute(
        &mut pair.here,
        r#"CREATE FUNCTION wait_for_lock(int) RETURNS bool STABLE LANGUAGE plpgsql AS
               'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN true; END';
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "public.wait_for_lock(id)"}');
           SELECT opdb.capture_schema()"#,
    );
    let mut other = on_test(&pair.here_name);
    execute(&mut other, "SELECT pg_advisory_lock(4711)");
    let state = std::thread::scope(|scope| {
        let deploying = scope.spawn(|| deploy(&mut on_test(&pair.here_name), "{t}", "{}"));
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        while text(&mut other, waits) == "0" && !deploying.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        execute(&mut other, "INSERT INTO t VALUES (2, NULL); SELECT pg_advisory_unlock(4711)");
        deploying.join().unwrap()
    });
    assert_eq!(state, applied(1, 0, 0));
    assert_eq!(text(&mut pair.there, "SELECT string_agg(id::text, ',') FROM t"), "1");
}

#[test]
fn a_role_with_few_rights_there_is_enough() {
    let deployer = role(&servers().production, &[]);
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x')"), table);
    let grants =
        "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO deployer; GRANT CREATE ON DATABASE target TO deployer";
    let grants = grants.replace("deployer", &deployer).replace("target", &pair.there_name);
    execute(&mut pair.there, &grants);
    let mut pair = pair.register("production", "production", &deployer, &deployer);
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
}

#[test]
fn what_a_role_there_lacks_is_named_before_anything_is_sent() {
    let mut pair = Pair::with_opdb_on_both();
    let tables = "CREATE SCHEMA app; CREATE TABLE app.hidden (id int PRIMARY KEY);
        CREATE TABLE sent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
        CREATE TABLE unsent (id serial PRIMARY KEY, code text UNIQUE);
        SELECT opdb.create_event_table('events')";
    execute(&mut pair.here, tables);
    execute(
        &mut pair.here,
        "INSERT INTO app.hidden VALUES (1); INSERT INTO sent DEFAULT VALUES; INSERT INTO unsent (code) VALUES ('a');
         SELECT opdb.capture_schema()",
    );
    ingest(&mut pair.here, "events", &records(3));
    execute(&mut pair.there, tables);
    let deployer = role(&servers().production, &[]);
    execute(
        &mut pair.there,
        &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, app TO {deployer}"),
    );
    let database = format!("CREATE ON DATABASE {}", pair.there_name);
    let mut pair = pair.register("production", "production", &deployer, &deployer);
    for (table, options, lacking, grant) in [
        ("sent", "{}", "CREATE on database", database.as_str()),
        ("app.hidden", "{}", "USAGE on schema app", "USAGE ON SCHEMA app"),
        ("sent", "{}", "UPDATE on sequence sent_id_seq", "UPDATE ON SEQUENCE sent_id_seq"),
        (
            "unsent",
            r#"{"key": ["code"], "exclude_columns": ["id"]}"#,
            "USAGE on sequence unsent_id_seq",
            "USAGE ON SEQUENCE unsent_id_seq",
        ),
        ("events", "{}", "EXECUTE on function opdb.create_event_partitions", "opdb_operator"),
    ] {
        let check = format!(
            "SELECT string_agg(detail, ' ') FROM opdb.pre_deployment_check('production', '{{{table}}}', '{options}') WHERE NOT passed"
        );
        let detail = text(&mut pair.here, &check);
        assert!(detail.contains(lacking), "{table}: {detail}");
        execute(&mut pair.there, &format!("GRANT {grant} TO {deployer}"));
        if lacking.starts_with("CREATE") {
            continue;
        }
        assert_eq!(text(&mut pair.here, &check), "NULL", "{table}");
        let [state, .., error] = deploy(&mut pair.here, &format!("{{{table}}}"), options);
        assert_eq!(state, "applied", "{table}: {error}");
    }
}

#[test]
fn a_condition_limits_what_is_judged_to_what_is_sent() {
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'abc'), (2, 'far too long')",
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(3))",
    );
    execute(
        &mut pair.here,
        r#"SELECT opdb.add_quality_rule('t', 'accuracy', 'length', '{a}', '{"max": 3}', threshold => 1)"#,
    );
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("rule 1 (length a): 0.5000") && error.contains("far too long"), "{error}");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"where": "id = 1"}"#), applied(1, 0, 0));
}

#[test]
fn a_quality_rule_that_no_longer_fits_refuses_and_says_which() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x')"), table);
    execute(
        &mut pair.here,
        "SELECT opdb.add_quality_rule('t', 'accuracy', 'not_null', '{a}'); ALTER TABLE t RENAME a TO b",
    );
    let run = rows(&mut pair.here, "SELECT passed, reason FROM opdb.quality_score('t')").remove(0);
    assert_eq!(run[0], "f");
    assert!(run[1].contains("rule 1 (not_null a) is broken"), "{run:?}");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("rule 1"), "{error}");
}

#[test]
fn xml_arrives_as_it_was_where_the_server_knows_it() {
    let mut pair = Pair::with_plain_production();
    if pair.there.batch_execute("SELECT '<a/>'::xml").is_err() {
        return;
    }
    let table = "CREATE TABLE t (id int PRIMARY KEY, x xml)";
    execute(&mut pair.there, table);
    execute(
        &mut pair.here,
        &format!(
            "{table}; INSERT INTO t VALUES (1, '<a b=\"1\">x &amp; y</a>'), (2, NULL); SELECT opdb.capture_schema()"
        ),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    assert_eq!(content(&mut pair.here, "t"), content(&mut pair.there, "t"));
}

#[test]
fn types_of_one_name_and_two_definitions_are_not_the_same() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, c coordinate)";
    let mut pair = pair_with(
        &format!(
            "CREATE TYPE coordinate AS (lat float8, lon float8); {table}; INSERT INTO t VALUES (1, '(52.5,13.4)')"
        ),
        &format!("CREATE TYPE coordinate AS (lon float8, lat float8); {table}"),
    );
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("public.t.c"), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}

#[test]
fn a_users_cast_runs_on_neither_side() {
    let setup = "CREATE TYPE price AS (amount numeric);
        CREATE FUNCTION shown(price) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a cast ran''; END';
        CREATE FUNCTION read(text) RETURNS price LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a cast ran''; END';
        CREATE CAST (price AS text) WITH FUNCTION shown(price); CREATE CAST (text AS price) WITH FUNCTION read(text);
        CREATE TABLE t (id int PRIMARY KEY, p price, ps price[])";
    let mut pair = pair_with(
        &format!("{setup}; INSERT INTO t VALUES (1, '(10.50)', '{{(1),NULL}}'), (2, NULL, NULL)"),
        setup,
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, 2));
    assert_eq!(text(&mut pair.there, "SELECT (p).amount FROM t WHERE id = 1"), "10.50");
}

#[test]
fn a_collation_does_not_hide_a_change() {
    let table = "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE TABLE t (id int PRIMARY KEY, v text COLLATE blind)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1, 'Big')"),
        &format!("{table}; INSERT INTO t VALUES (1, 'big')"),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#), applied(0, 1, 0));
    assert_eq!(text(&mut pair.there, "SELECT v FROM t"), "Big");
}

#[test]
fn what_policies_hide_is_not_promoted_as_the_whole() {
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY one ON t USING (id = 1)",
        "CREATE TABLE t (id int PRIMARY KEY)",
    );
    let operator = role(&servers().test, &["opdb_operator"]);
    execute(&mut pair.here, &format!("GRANT SELECT ON t TO {operator}"));
    let mut session = servers().test.connect(&pair.here_name, &operator, &operator).unwrap();
    let production = &servers().production;
    crate::fixture::register(
        &mut session,
        "production",
        "production",
        &pair.there_name,
        production.superuser(),
        production.password(),
    );
    let [state, .., error] = deploy(&mut session, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("row_security") && error.contains("public.t"), "{error}");
    execute(&mut pair.here, "ALTER TABLE t FORCE ROW LEVEL SECURITY");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(
        state, "refused",
        "a superuser sees every row, and the owner whose rules are evaluated does not"
    );
    assert!(error.contains("row_security"), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}

#[test]
fn inheritance_children_are_refused_on_either_side() {
    for side in ["here", "there"] {
        let table = "CREATE TABLE t (id int PRIMARY KEY)";
        let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
        let heir = "CREATE TABLE heir () INHERITS (t)";
        execute(if side == "here" { &mut pair.here } else { &mut pair.there }, heir);
        execute(&mut pair.here, "SELECT opdb.capture_schema()");
        let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
        assert_eq!(state, "refused");
        assert!(error.contains(&format!("inherit from it {side}")), "{error}");
    }
}

#[test]
fn a_deployment_is_not_part_of_somebody_elses_function() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    execute(
        &mut pair.here,
        "CREATE FUNCTION in_plpgsql() RETURNS bigint LANGUAGE plpgsql AS
             'BEGIN RETURN opdb.deploy(''production'', ''{t}''); END';
         CREATE FUNCTION in_sql() RETURNS bigint LANGUAGE sql VOLATILE AS
             'SELECT opdb.deploy(''production'', ''{t}''); SELECT 1::bigint';
         CREATE PROCEDURE in_procedure() LANGUAGE sql AS 'SELECT opdb.deploy(''production'', ''{t}''); SELECT 1'",
    );
    for call in [
        "DO $$ BEGIN PERFORM opdb.deploy('production', '{t}'); END $$",
        "SELECT in_plpgsql()",
        "SELECT in_sql()",
        "CALL in_procedure()",
    ] {
        assert_eq!(refused(&mut pair.here, call).sqlstate, "25001", "{call}");
    }
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    let id: i64 = pair
        .here
        .query_one("SELECT opdb.deploy($1, ARRAY[$2::text])", &[&"production", &"t"])
        .unwrap()
        .get(0);
    assert!(id > 0, "a prepared statement with parameters is fine");
}

#[test]
fn no_code_of_others_runs_while_production_is_connected() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1, 'x')"),
        &format!("{table}; CREATE TABLE precious ()"),
    );
    execute(
        &mut pair.here,
        r#"CREATE EXTENSION dblink;
           CREATE FUNCTION steal(int) RETURNS bool STABLE LANGUAGE plpgsql AS $$
           DECLARE connection text;
           BEGIN
               FOREACH connection IN ARRAY coalesce(dblink_get_connections(), '{}') LOOP
                   PERFORM dblink_exec(connection, 'DROP TABLE public.precious');
               END LOOP;
               RETURN true;
           END $$;
           ALTER TABLE t ADD CHECK (steal(id)) NOT VALID;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "public.steal(id)"}');
           SELECT opdb.capture_schema()"#,
    );
    let failed = rows(
        &mut pair.here,
        "SELECT check_name, detail FROM opdb.pre_deployment_check('production', '{t}') WHERE NOT passed",
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    assert_eq!(text(&mut pair.there, "SELECT to_regclass('precious')"), "precious");
}

#[test]
fn mistakes_in_options_do_not_send_what_was_to_stay() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, salary int)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 5)"), table);
    let excluded = r#"SELECT opdb.deploy('production', '{t}', '{"exclude_columns": ["Salary"]}')"#;
    let refusal = refused(&mut pair.here, excluded);
    assert_eq!(refusal.sqlstate, "42703");
    assert!(refusal.message.contains("\"Salary\""), "{refusal:?}");
    let volatile = r#"SELECT opdb.deploy('production', '{t}', '{"where": "random() < 0.5"}')"#;
    assert_eq!(refused(&mut pair.here, volatile).sqlstate, "22023");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}

#[test]
fn numbers_times_and_generated_columns_arrive_as_what_they_are() {
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY, a numeric(10,2), b numeric, c text, d int GENERATED ALWAYS AS (id * 2) STORED);
         INSERT INTO t VALUES (1, 5.00, 1.5, 'abc')",
        "CREATE TABLE t (id bigint PRIMARY KEY, a bigint, b numeric(10,2), c char(5), d int)",
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    assert_eq!(rows(&mut pair.there, "SELECT a, b, c, d FROM t"), [["5", "1.50", "abc  ", "2"]]);

    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp); INSERT INTO t VALUES (1, '2024-07-01 12:00')",
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz)",
    );
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused", "which moment a local time is depends on the zone");
    assert!(error.contains("public.t.at") && error.contains("lossy"), "{error}");
}

#[test]
fn wide_tables_are_scored_and_sent() {
    let columns: Vec<String> =
        (1..=900).map(|number| format!("c{number} text NOT NULL DEFAULT 'x'")).collect();
    let table = format!("CREATE TABLE t (id int PRIMARY KEY, {})", columns.join(", "));
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), &table);
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
}

#[test]
fn a_table_whose_schema_was_not_captured_is_not_valid() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1); CREATE SCHEMA app"), table);
    execute(&mut pair.here, "SELECT opdb.capture_schema(schemas => '{app}')");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("public.t was not captured"), "{error}");
}

#[test]
fn what_cannot_be_settled_stays_in_doubt_and_is_in_nobodys_way() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    execute(
        &mut pair.here,
        "INSERT INTO opdb.deployment (key, environment, tables, state, started_at, target_server, deployed_by)
         SELECT gen_random_uuid(), 'production', '{t}', 'in_doubt', now(), server, 'x'
         FROM (VALUES ('another server'), (NULL)) AS v (server)",
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    assert_eq!(text(&mut pair.here, "SELECT count(*) FROM opdb.deployments WHERE state = 'in_doubt'"), "2");
}

#[test]
fn the_targets_own_cancel_is_a_failed_deployment() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    execute(
        &mut pair.there,
        "CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN NEW; END';
         CREATE TRIGGER cancel BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION cancel()",
    );
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "failed");
    assert!(error.contains("environment \"production\"") && error.contains("public.t"), "{error}");
}

#[test]
fn a_condition_that_means_other_rows_to_the_owner_sends_nothing() {
    let owner = role(&servers().test, &[]);
    let table = "CREATE TABLE t (id int PRIMARY KEY, who text, v text)";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t VALUES (1, '{owner}', 'good'), (2, 'postgres', 'bad'); ALTER TABLE t OWNER TO {owner};
             CREATE TABLE chosen AS SELECT 1 AS id; GRANT SELECT ON chosen TO {owner};
             CREATE TEMP TABLE chosen AS SELECT 2 AS id"
        ),
        table,
    );
    for condition in ["who = current_user", "id IN (SELECT c.id FROM chosen c)"] {
        let [state, .., error] = deploy(&mut pair.here, "{t}", &format!(r#"{{"where": "{condition}"}}"#));
        assert_ne!(state, "applied", "{condition}: {error}");
        assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0", "{condition}");
    }
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"where": "id = 1"}"#), applied(1, 0, 0));
}

#[test]
fn a_failed_deployment_does_not_move_a_sequence() {
    let tables = "CREATE TABLE a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)";
    let mut pair = pair_with(
        &format!("{tables}; INSERT INTO a VALUES (2147483646); INSERT INTO b VALUES (1)"),
        &format!("{tables}; ALTER TABLE b ADD CHECK (id > 1)"),
    );
    assert_eq!(deploy(&mut pair.here, "{a,b}", r#"{"error_threshold": 1}"#)[0], "rolled_back");
    execute(&mut pair.there, "INSERT INTO a DEFAULT VALUES");
    assert_eq!(text(&mut pair.there, "SELECT id FROM a"), "1");
}

#[test]
fn a_table_that_is_swapped_while_the_call_waits_is_not_read() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'good')"), table);
    let mut other = on_test(&pair.here_name);
    execute(&mut other, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    let mut session = on_test(&pair.here_name);
    let refusal = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| refused(&mut session, "SELECT opdb.deploy('production', '{t}')"));
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let mut watcher = on_test(&pair.here_name);
        while text(&mut watcher, waits) == "0" && !waiting.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        execute(
            &mut other,
            "ALTER TABLE t RENAME TO t_old; CREATE VIEW t AS SELECT id, 'bad' AS v FROM t_old; COMMIT",
        );
        waiting.join().unwrap()
    });
    assert_eq!(refusal.sqlstate, "42P01", "{refusal:?}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}
