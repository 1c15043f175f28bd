//! Which rows are deployed, and what is sent of them.

use postgres::Client;

use super::{applied, deploy, pair_with};
use crate::environment::until;
use crate::fixture::{execute, on_test, refused, rows, servers, text};

/// State, inserted and updated. How many more were sent depends on which transactions run meanwhile, in other databases too.
fn changed(client: &mut Client, options: &str) -> [String; 3] {
    let [state, inserted, updated, ..] = deploy(client, "{t}", options);
    [state, inserted, updated]
}

#[test]
fn rows_since_the_last_deployment() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"), table);
    let since = r#"{"mode": "since_last"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(100, 0, 0), "the first one brings all");
    execute(&mut pair.here, "UPDATE t SET a = 'y' WHERE id <= 3; INSERT INTO t VALUES (101, 'new')");
    // A subtransaction has a number of its own.
    execute(
        &mut pair.here,
        "DO $$ BEGIN BEGIN UPDATE t SET a = 'z' WHERE id = 4; EXCEPTION WHEN others THEN NULL; END; END $$",
    );
    assert_eq!(changed(&mut pair.here, since), applied(1, 4, 0)[..3]);
    assert_eq!(changed(&mut pair.here, since), applied(0, 0, 0)[..3], "nothing is no failure");
    // What another deployment brought in part is no reason to leave anything out.
    execute(&mut pair.here, "UPDATE t SET a = 'w' WHERE id IN (5, 6)");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"where": "id = 5"}"#), applied(0, 1, 0));
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
    assert_eq!(
        text(&mut pair.here, "SELECT string_agg(id || a, ',' ORDER BY id) FROM t"),
        text(&mut pair.there, "SELECT string_agg(id || a, ',' ORDER BY id) FROM t")
    );
}

#[test]
fn many_rows_since_the_last_deployment() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 60000) i"), table);
    let since = r#"{"mode": "since_last", "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(60_000, 0, 0));
    // More than are told one by one, here and there in the table and at its end.
    execute(&mut pair.here, "UPDATE t SET a = 'y' WHERE id % 2 = 0; DELETE FROM t WHERE id = 7");
    assert_eq!(changed(&mut pair.here, since), applied(0, 30_000, 0)[..3]);
    execute(&mut pair.here, "UPDATE t SET a = 'z' WHERE id % 20 = 0");
    assert_eq!(changed(&mut pair.here, since), applied(0, 3000, 0)[..3]);
    let content = "SELECT count(*), sum(hash_record_extended(t, 0))::text FROM t WHERE id <> 7";
    assert_eq!(rows(&mut pair.here, content), rows(&mut pair.there, content));
}

#[test]
fn a_source_that_was_set_back_in_time_sends_everything() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i"), table);
    let since = r#"{"mode": "since_last"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(10, 0, 0));
    // As after a restore of the whole server: what it had numbered before, it numbers again.
    for then in [
        "horizon = (horizon::text::numeric + 1000000)::text::xid8",
        "details = replace(details::text, '\"timeline\": \"00000001\"', '\"timeline\": \"00000002\"')::jsonb",
    ] {
        execute(&mut pair.here, "UPDATE t SET a = a || 'y' WHERE id = 1");
        let last =
            "WHERE deployment_id = (SELECT max(deployment_id) FROM opdb.deployment WHERE state = 'applied')";
        execute(&mut pair.here, &format!("UPDATE opdb.deployment SET {then} {last}"));
        assert_eq!(deploy(&mut pair.here, "{t}", since), applied(0, 1, 9), "{then}");
    }
}

/// A partition with old rows that comes while the rows of the others are scored.
#[test]
fn what_is_attached_while_rows_are_chosen_is_sent_the_next_time() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
                 CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
                 CREATE TABLE t2 (id int PRIMARY KEY, a text)";
    let attach = "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (100) TO (200)";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t VALUES (1, 'x'); INSERT INTO t2 VALUES (150, 'old');
             CREATE FUNCTION gate(text) RETURNS boolean STABLE LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7); RETURN true; END $$;
             SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{{}}', '{{\"expression\": \"public.gate(a)\"}}')"
        ),
        &format!("{table}; {attach}"),
    );
    let since = r#"{"mode": "since_last", "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(1, 0, 0));
    // Whoever asks for the schema as it was captured is refused.
    execute(&mut pair.here, r#"SELECT opdb.set_setting('deploy.required_checks', '["quality"]')"#);
    execute(&mut pair.here, "UPDATE t SET a = 'y'; SELECT pg_advisory_lock(7)");
    let here = pair.here_name.clone();
    let deployed = std::thread::spawn(move || deploy(&mut on_test(&here), "{t}", since));
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&mut pair.here, waits, "1");
    execute(&mut pair.here, attach);
    execute(&mut pair.here, "SELECT pg_advisory_unlock(7)");
    let deployed = deployed.join().unwrap();
    assert_eq!(deployed[..3], applied(0, 1, 0)[..3], "{}", deployed[4]);
    assert_eq!(changed(&mut pair.here, since), applied(1, 0, 0)[..3]);
    let content = "SELECT string_agg(id || a, ' ' ORDER BY id) FROM t";
    assert_eq!(text(&mut pair.there, content), "1y 150old");
}

/// A row of another server does not say when it was written.
#[test]
fn rows_of_a_foreign_partition_are_always_sent() {
    let table = "CREATE TABLE t (id int, a text) PARTITION BY RANGE (id);
                 CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)";
    let mut pair = pair_with(
        &format!(
            "{table}; CREATE TABLE far (id int, a text); INSERT INTO far VALUES (150, 'x'); INSERT INTO t VALUES (1, 'x');
             CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw
                 OPTIONS (host '127.0.0.1', port '{}', dbname 'self');
             CREATE USER MAPPING FOR CURRENT_USER SERVER self OPTIONS (user '{}', password '{}');
             CREATE FOREIGN TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200) SERVER self OPTIONS (table_name 'far')",
            servers().test.port(),
            servers().test.superuser(),
            servers().test.password(),
        ),
        &format!("{table}; CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200); ALTER TABLE t ADD UNIQUE (id)"),
    );
    let own = format!(
        r#"ALTER SERVER self OPTIONS (SET dbname '{}'); SELECT opdb.capture_schema();
           SELECT opdb.add_quality_rule('t', d, 'expression', '{{}}', '{{"expression": "id > 0"}}', name => d)
           FROM unnest('{{accuracy,consistency,integrity}}'::text[]) d"#,
        pair.here_name
    );
    execute(&mut pair.here, &own);
    let since = r#"{"mode": "since_last", "key": ["id"], "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(2, 0, 0));
    execute(&mut pair.here, "UPDATE far SET a = 'y'");
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
}

#[test]
fn what_was_rolled_back_is_sent_again() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i"), table);
    let since = r#"{"mode": "since_last"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(10, 0, 0));
    execute(&mut pair.here, "UPDATE t SET a = 'y' WHERE id = 1");
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
    execute(&mut pair.here, "SELECT opdb.rollback_deployment(2)");
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
}

#[test]
fn rows_of_a_transaction_that_ran_meanwhile_are_sent_the_next_time() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x'), (2, 'x')"), table);
    let since = r#"{"mode": "since_last"}"#;
    let mut other = on_test(&pair.here_name);
    execute(
        &mut other,
        "BEGIN; UPDATE t SET a = 'y' WHERE id = 1; SAVEPOINT s; UPDATE t SET a = 'y' WHERE id = 2",
    );
    execute(&mut pair.here, "CREATE TABLE later (); DROP TABLE later");
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(2, 0, 0));
    execute(&mut other, "COMMIT");
    let all = r#"{"mode": "since_last", "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", all), applied(0, 2, 0));
}

#[test]
fn old_rows_that_came_into_the_table_since_are_sent() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
                 CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
                 CREATE TABLE t2 (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i; INSERT INTO t2 VALUES (150, 'old')"
        ),
        &format!("{table}; ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (100) TO (200)"),
    );
    let since = r#"{"mode": "since_last"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(10, 0, 0));
    execute(
        &mut pair.here,
        "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (100) TO (200); SELECT opdb.capture_schema()",
    );
    assert_eq!(changed(&mut pair.here, since), applied(1, 0, 0)[..3]);
    // A table that has the name now, with rows that are older than the last deployment.
    execute(
        &mut pair.here,
        "CREATE TABLE other (id int PRIMARY KEY, a text); INSERT INTO other VALUES (1, 'other'), (160, 'older');
         SELECT opdb.capture_schema()",
    );
    assert_eq!(changed(&mut pair.here, since), applied(0, 0, 0)[..3]);
    execute(
        &mut pair.here,
        "ALTER TABLE t RENAME TO t_before; ALTER TABLE other RENAME TO t; SELECT opdb.capture_schema()",
    );
    assert_eq!(changed(&mut pair.here, since), applied(1, 1, 0)[..3]);
}

#[test]
fn the_first_rows_by_the_key() {
    let table = "CREATE TABLE t (a int, b text, v text, PRIMARY KEY (a, b))";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i / 10, i::text, 'x' FROM generate_series(1, 2000) i"),
        table,
    );
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"mode": "limit", "limit": 5}"#), applied(5, 0, 0));
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT string_agg(b, ',' ORDER BY a, b) FROM (SELECT * FROM t ORDER BY a, b LIMIT 5) l"
        ),
        text(&mut pair.there, "SELECT string_agg(b, ',' ORDER BY a, b) FROM t")
    );
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"mode": "limit"}"#), applied(995, 0, 5));
    let more = r#"{"mode": "limit", "limit": 3, "where": "a >= 150"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", more), applied(3, 0, 0));
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    for options in [
        r#"{"mode": "some"}"#,
        r#"{"limit": 5}"#,
        r#"{"mode": "limit", "limit": 0}"#,
        r#"{"mode": "limit", "delete_missing": true}"#,
        r#"{"where": "id > 0", "delete_missing": true}"#,
        r#"{"key": ["id", "id"]}"#,
        r#"{"direction": "sideways"}"#,
        r#"{"error_threshold": 0}"#,
        r#"{"auto_rollback": "no"}"#,
        r#"{"require": ["luck"]}"#,
        r#"{"mode": null}"#,
    ] {
        let refusal =
            refused(&mut pair.here, &format!("SELECT opdb.deploy('production', '{{t}}', '{options}')"));
        assert_eq!(refusal.sqlstate, "22023", "{options}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{options}");
    }
    assert_eq!(text(&mut pair.here, "SELECT count(*) FROM opdb.deployments"), "0");
}

#[test]
fn transformed_values_are_sent() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, email varchar(20), n int)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1, 'ada@example.com', 1), (2, 'b@example.com', 2)"),
        table,
    );
    execute(
        &mut pair.here,
        "SELECT opdb.add_transformation('t', 'email', 'left(md5(email), 8)');
         SELECT opdb.add_transformation('t', 'n', 'n * 10 + id')",
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    assert_eq!(
        rows(&mut pair.there, "SELECT id, email = left(md5('ada@example.com'), 8), n FROM t WHERE id = 1"),
        [["1", "t", "11"]]
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, 2));
    // What fails for one row is found before anything is sent.
    execute(&mut pair.here, "SELECT opdb.add_transformation('t', 'n', '10 / (n - 2)')");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("transformations: public.t") && error.contains("division by zero"), "{error}");
    let check = "SELECT passed, detail FROM opdb.pre_deployment_check('production', '{t}')
                 WHERE check_name = 'transformations'";
    assert_eq!(rows(&mut pair.here, check)[0][0], "f");
    execute(&mut pair.here, "SELECT opdb.drop_transformation('t', 'n')");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#), applied(0, 2, 0));
    for (sql, sqlstate) in [
        ("SELECT opdb.add_transformation('t', 'nothing', 'id')", "42703"),
        ("SELECT opdb.add_transformation('t', 'n', 'nothing + 1')", "42703"),
        ("SELECT opdb.add_transformation('t', 'n', 'n; DROP TABLE t')", "42601"),
        ("SELECT opdb.add_transformation('t', 'n', 'random()::int')", "22023"),
        ("SELECT opdb.add_transformation('t', 'n', '''x''::text')", "22P02"),
        ("SELECT opdb.add_transformation('t', NULL, 'n')", "22004"),
        ("SELECT opdb.add_transformation('pg_class', 'relname', 'relname')", "42809"),
        ("SELECT opdb.drop_transformation('t', 'n')", "42704"),
    ] {
        let refusal = refused(&mut pair.here, sql);
        assert_eq!(refusal.sqlstate, sqlstate, "{sql}: {refusal:?}");
    }
}

#[test]
fn values_that_fit_another_type_by_its_cast_are_converted() {
    let pairs = [
        ("boolean", "integer", "true", "1"),
        ("point", "box", "'(1,2)'", "(1,2),(1,2)"),
        ("oid", "bigint", "4000000000", "4000000000"),
        ("integer", "text", "-7", "-7"),
        ("uuid", "text", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("inet", "text", "'10.0.0.1/8'", "10.0.0.1/8"),
        ("smallint", "numeric(8,2)", "3", "3.00"),
        ("real", "double precision", "0.5", "0.5"),
        ("varchar(5)", "char(8)", "'ab'", "ab      "),
        ("date", "timestamp", "'2024-02-29'", "2024-02-29 00:00:00"),
        ("bit(4)", "varbit", "B'0101'", "0101"),
        ("int4range", "text", "'[1,5)'", "[1,5)"),
        ("jsonb", "json", "'{\"a\": [1, null]}'", "{\"a\": [1, null]}"),
        ("integer[]", "bigint[]", "'{1,NULL,3}'", "{1,NULL,3}"),
        ("text[]", "varchar(3)[]", "'{ab,\"c,\"}'", "{ab,\"c,\"}"),
        ("positive", "numeric(6,0)", "5", "5"),
    ];
    let columns = |of: fn(&(&'static str, &'static str, &'static str, &'static str)) -> &'static str| {
        let columns = pairs.iter().enumerate().map(|(place, pair)| format!("c{place} {}", of(pair)));
        columns.collect::<Vec<_>>().join(", ")
    };
    let values: Vec<&str> = pairs.iter().map(|(_, _, value, _)| *value).collect();
    let mut pair = pair_with(
        &format!(
            "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE t (id int PRIMARY KEY, {});
             INSERT INTO t VALUES (1, {}); INSERT INTO t (id) VALUES (2)",
            columns(|pair| pair.0),
            values.join(", ")
        ),
        &format!("CREATE TABLE t (id int PRIMARY KEY, {})", columns(|pair| pair.1)),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    let texts: Vec<String> = (0..pairs.len()).map(|place| format!("c{place}")).collect();
    let found = rows(&mut pair.there, &format!("SELECT {} FROM t WHERE id = 1", texts.join(", ")));
    let expected: Vec<&str> = pairs.iter().map(|(_, _, _, expected)| *expected).collect();
    assert_eq!(found, [expected]);
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, 2));
    assert_eq!(rows(&mut pair.here, "SELECT restored FROM opdb.rollback_deployment(1)"), [["2"]]);
}

#[test]
fn what_no_row_shows_is_no_reason_to_send_too_few() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text, b text)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 10) i"),
        table,
    );
    let since = r#"{"mode": "since_last", "max_change_ratio": 1}"#;
    let capture = "SELECT opdb.capture_schema()";
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(10, 0, 0));
    // A default that is in no row.
    execute(&mut pair.here, &format!("ALTER TABLE t ADD c int DEFAULT 5; {capture}"));
    execute(&mut pair.there, "ALTER TABLE t ADD c int");
    assert_eq!(changed(&mut pair.here, since), applied(0, 10, 0)[..3]);
    // Columns that exchange their names.
    execute(
        &mut pair.here,
        &format!(
            "ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b; {capture}"
        ),
    );
    assert_eq!(changed(&mut pair.here, since), applied(0, 10, 0)[..3]);
    execute(&mut pair.here, "SELECT opdb.add_transformation('t', 'a', 'upper(a)')");
    assert_eq!(changed(&mut pair.here, since), applied(0, 10, 0)[..3]);
    execute(&mut pair.here, "SELECT opdb.drop_transformation('t', 'a')");
    assert_eq!(changed(&mut pair.here, since), applied(0, 10, 0)[..3]);
    // An earlier deployment is rolled back while a later one stands.
    execute(&mut pair.here, "INSERT INTO t (id, a) VALUES (11, 'new')");
    assert_eq!(changed(&mut pair.here, since), applied(1, 0, 0)[..3]);
    let earlier = text(&mut pair.here, "SELECT max(deployment_id) - 1 FROM opdb.deployments");
    execute(&mut pair.here, &format!("SELECT opdb.rollback_deployment({earlier})"));
    assert_eq!(changed(&mut pair.here, since), applied(0, 10, 0)[..3]);
    // The target is an older copy of itself.
    execute(
        &mut pair.there,
        "DELETE FROM opdb_deploy.ledger WHERE applied_at = (SELECT max(applied_at) FROM opdb_deploy.ledger)",
    );
    let [state, _, _, _, error] = deploy(&mut pair.here, "{t}", since);
    assert_eq!(state, "failed");
    assert!(error.contains("another server, or another database"), "{error}");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}")[0], "applied");
}

#[test]
fn rows_that_were_refused_are_not_taken_for_missing() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n int)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, i FROM generate_series(1, 10) i"),
        &format!("{table}; ALTER TABLE t ADD CHECK (n < 100)"),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(10, 0, 0));
    execute(&mut pair.here, "UPDATE t SET n = 500 WHERE id = 3; DELETE FROM t WHERE id = 7");
    let [state, .., error] = deploy(&mut pair.here, "{t}", r#"{"delete_missing": true}"#);
    assert_eq!(state, "failed");
    assert!(error.contains("not certain which are to be deleted"), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "10");
}

#[test]
fn numbers_that_only_the_target_generates_and_sequences_of_nobodys() {
    let mut pair = pair_with(
        "CREATE TABLE t (code text PRIMARY KEY, num int GENERATED ALWAYS AS IDENTITY, v text);
         INSERT INTO t (code, v) VALUES ('a', 'x'), ('b', 'y');
         CREATE TABLE q (id bigint PRIMARY KEY, v text); INSERT INTO q VALUES (5, 'x')",
        "CREATE TABLE t (code text PRIMARY KEY, num int GENERATED ALWAYS AS IDENTITY (START 100), v text);
         CREATE SEQUENCE numbers; CREATE TABLE q (id bigint PRIMARY KEY DEFAULT nextval('numbers'), v text)",
    );
    assert_eq!(deploy(&mut pair.here, "{t,q}", "{}"), applied(3, 0, 0));
    execute(&mut pair.here, "UPDATE t SET v = 'z'; UPDATE q SET v = 'z'");
    assert_eq!(deploy(&mut pair.here, "{t,q}", r#"{"max_change_ratio": 1}"#), applied(0, 3, 0));
    assert_eq!(text(&mut pair.there, "SELECT string_agg(num || v, ',' ORDER BY code) FROM t"), "100z,101z");
    assert_eq!(text(&mut pair.there, "INSERT INTO q (v) VALUES ('own') RETURNING id > 5"), "t");
}
