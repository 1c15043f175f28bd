//! Which rows failed.

use postgres::Client;

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

fn keys(client: &mut Client, run: &str, rule: u32) -> Vec<String> {
    rows(client, &format!("SELECT key::text FROM opdb.quality_failures({run}, {rule}) ORDER BY key")).concat()
}

#[test]
fn keys_are_those_of_the_table_whatever_they_are_called() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE "Odd ""name" ("the Key" uuid, "select" timestamptz, "V" int, PRIMARY KEY ("select", "the Key"));
           INSERT INTO "Odd ""name" VALUES ('00000000-0000-0000-0000-000000000001', '2024-05-01 12:00+02', -1);
           SELECT opdb.add_quality_rule('"Odd ""name"', 'accuracy', 'range', '{V}', '{"min": 0}');
           SET timezone = 'Asia/Tokyo'"#,
    );
    let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('"Odd ""name"')"#);
    assert_eq!(
        keys(&mut client, &run, 1),
        [r#"{"select": "2024-05-01T10:00:00+00:00", "the Key": "00000000-0000-0000-0000-000000000001"}"#]
    );
}

#[test]
fn without_a_primary_key_a_unique_one_will_do_and_otherwise_the_place() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE u (a int UNIQUE, b int NOT NULL UNIQUE, v int); INSERT INTO u VALUES (1, 7, -1);
           CREATE TABLE n (a int UNIQUE, v int); INSERT INTO n VALUES (1, 0), (2, -1);
           CREATE VIEW w AS SELECT v FROM n;
           SELECT opdb.add_quality_rule(t::regclass, 'accuracy', 'range', '{v}', '{"min": 0}')
           FROM unnest('{u,n,w}'::text[]) t"#,
    );
    for (table, key) in [("u", r#"{"b": 7}"#), ("n", r#"{"ctid": "(0,2)"}"#), ("w", r#"{"v": -1}"#)] {
        let run = text(&mut client, &format!("SELECT run_id FROM opdb.quality_score('{table}')"));
        let found =
            rows(&mut client, &format!("SELECT key::text FROM opdb.quality_failures({run})")).concat();
        assert_eq!(found, [key], "{table}");
    }
}

#[test]
fn what_fails_together_is_counted() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int, b int);
           INSERT INTO t VALUES (1, 1, 1), (2, NULL, 1), (3, NULL, NULL), (4, NULL, NULL);
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{b}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    assert_eq!(
        rows(&mut client, &format!("SELECT * FROM opdb.quality_failures_together({run})")),
        [["{\"not_null a\",\"not_null b\"}", "{1,2}", "2"], ["{\"not_null a\"}", "{1}", "1"]]
    );
}

/// A key tells what is in the table.
#[test]
fn only_who_may_read_the_table_sees_keys() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        r#"CREATE TABLE t (secret text PRIMARY KEY, a int); INSERT INTO t VALUES ('hidden');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    let failures = format!("SELECT key FROM opdb.quality_failures({run})");
    assert_eq!(refused(&mut session, &failures).sqlstate, "42501");
    assert_eq!(refused(&mut session, "SELECT codes FROM opdb.quality_failure").sqlstate, "42501");
    assert_eq!(refused(&mut session, "SELECT key FROM opdb.quality_failing_row").sqlstate, "42501");
    execute(&mut client, &format!("GRANT SELECT ON t TO {reader}"));
    assert_eq!(text(&mut session, &failures), r#"{"secret": "hidden"}"#);
    execute(&mut client, "ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    let refusal = refused(&mut session, &failures);
    assert_eq!((refusal.sqlstate.as_str(), refusal.message.contains("row security")), ("42501", true));
}

#[test]
fn failures_are_forgotten_in_time_but_never_those_of_the_last_run() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, NULL);
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}')"#,
    );
    let first = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    execute(&mut client, "UPDATE opdb.quality_run SET at = at - interval '31 days'");
    assert_eq!(keys(&mut client, &first, 1).len(), 1);
    let second = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let refusal = refused(&mut client, &format!("SELECT * FROM opdb.quality_failures({first})"));
    assert_eq!(refusal.sqlstate, "55000");
    assert_eq!(keys(&mut client, &second, 1).len(), 1);
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.quality_failure"), "1");
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.quality_history('t')"), "2", "scores stay");
}

/// A row of memory for each row returned would be too much.
#[test]
fn any_number_of_failures_is_returned_in_little_memory() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT generate_series(1, 200000);
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', ARRAY[c]) FROM unnest('{a,b}'::text[]) c"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let in_use = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts";
    let before: i64 = text(&mut client, in_use).parse().unwrap();
    execute(&mut client, "BEGIN");
    execute(&mut client, &format!("DECLARE c CURSOR FOR SELECT * FROM opdb.quality_failures({run})"));
    execute(&mut client, "MOVE FORWARD 399999 IN c");
    let taken = text(&mut client, in_use).parse::<i64>().unwrap() - before;
    assert!(taken < 16_000_000, "{taken} bytes");
    assert_eq!(rows(&mut client, "FETCH 2 FROM c").len(), 1);
    execute(&mut client, "COMMIT");
    let keys = format!("SELECT count(*), count(DISTINCT key) FROM opdb.quality_failures({run})");
    assert_eq!(rows(&mut client, &keys), [["400000", "200000"]]);
}

#[test]
fn rows_of_a_view_that_are_the_same_all_fail() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE VIEW w AS SELECT 1 AS k, -1 AS v FROM generate_series(1, 12000) UNION ALL SELECT 2, -2 UNION ALL SELECT 3, 3;
           SELECT opdb.add_quality_rule('w', 'accuracy', 'range', '{v}', '{"min": 0}', name => 'n');
           SELECT opdb.add_quality_rule('w', 'consistency', 'unique', '{v}', name => 'u')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('w')");
    let keys = format!(
        "SELECT rule, key ->> 'k', count(*) FROM opdb.quality_failures({run}) GROUP BY 1, 2 ORDER BY 1, 2"
    );
    assert_eq!(
        rows(&mut client, &keys),
        [["range", "1", "12000"], ["range", "2", "1"], ["unique", "1", "11999"]]
    );
    let together = format!("SELECT rules, rows FROM opdb.quality_failures_together({run})");
    assert_eq!(rows(&mut client, &together), [["{n}", "12001"], ["{u}", "11999"]]);
}

/// Where all of a row is its key, a column that is called as the rows are in the queries is none of their business.
#[test]
fn a_view_may_have_a_column_called_t_and_documents_that_jsonb_refuses() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE b (t text, v int, j json); INSERT INTO b SELECT NULL, -i, '{"a": "\u0000"}' FROM generate_series(1, 3) i;
           CREATE VIEW w AS SELECT t, v FROM b; CREATE VIEW d AS SELECT v, j FROM b WHERE v = -1;
           SELECT opdb.add_quality_rule('w', 'accuracy', 'range', '{v}', '{"min": 0}'),
                  opdb.add_quality_rule('w', 'completeness', 'not_null', '{t}'),
                  opdb.add_quality_rule('d', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = rows(&mut client, "SELECT run_id, completeness, accuracy, passed FROM opdb.quality_score('w')")
        .remove(0);
    assert_eq!(run[1..], ["0.0000", "0.0000", "f"]);
    assert_eq!(
        keys(&mut client, &run[0], 1),
        [r#"{"t": null, "v": -1}"#, r#"{"t": null, "v": -2}"#, r#"{"t": null, "v": -3}"#]
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('d')");
    assert_eq!(keys(&mut client, &run, 3), [r#"{"j": "{\"a\": \"\\u0000\"}", "v": -1}"#]);
}

/// Keys as wide as rows do not all fit into one value.
#[test]
fn wide_rows_of_a_view_are_kept() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE VIEW w AS SELECT i AS id, -1 AS v, repeat('x', 300000) AS doc FROM generate_series(1, 4000) i;
           SELECT opdb.add_quality_rule('w', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('w')");
    let found = format!(
        "SELECT count(DISTINCT key ->> 'id'), min(length(key ->> 'doc')) FROM opdb.quality_failures({run}, 1)"
    );
    assert_eq!(rows(&mut client, &found), [["4000", "300000"]]);
}

/// What a query on it would show to one caller is not what its owner sees.
#[test]
fn a_view_that_reads_with_the_rights_of_its_caller_is_scored_by_its_owner_only() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    let reader = role(&servers().test, &["opdb_operator"]);
    execute(
        &mut client,
        &format!(
            "CREATE TABLE b (id int, x int); INSERT INTO b VALUES (1, NULL);
             CREATE VIEW w WITH (security_invoker = true) AS SELECT * FROM b; GRANT SELECT ON w TO {reader}"
        ),
    );
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    assert_eq!(refused(&mut session, "SELECT opdb.quality_score('w')").sqlstate, "42501");
    assert_eq!(text(&mut client, "SELECT rows FROM opdb.quality_score('w')"), "1");
}
