//! Rules that raise an error on some rows.

use crate::fixture::{database, execute, on_test, refused, rows, servers, text};

fn report(client: &mut postgres::Client) -> Vec<Vec<String>> {
    let run = text(client, "SELECT run_id FROM opdb.quality_score('t', '{\"implied\": false}')");
    rows(
        client,
        &format!(
            "SELECT passed || '/' || evaluated, status,
                    (SELECT string_agg(f.key ->> 'id', ',' ORDER BY (f.key ->> 'id')::int)
                     FROM opdb.quality_failures({run}, r.rule_id) f)
             FROM opdb.quality_report({run}) r ORDER BY rule_id"
        ),
    )
}

#[test]
fn a_row_that_raises_an_error_fails_and_the_run_goes_on() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, d int, s text);
           INSERT INTO t SELECT i, i % 400, CASE WHEN i = 7 THEN 'seven' ELSE i::text END FROM generate_series(1, 2000) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "100 / d >= 0"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "s::int <> 1999"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{id}', '{"max": 1998}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'not_null', '{d}', '{"where": "100 / d > 50"}')"#,
    );
    assert_eq!(
        report(&mut client),
        [
            ["1995/2000", "partial", "400,800,1200,1600,2000"],
            ["1998/2000", "partial", "7,1999"],
            ["1998/2000", "partial", "1999,2000"],
            // Whether the rule is about these rows cannot be told, and so they fail it.
            ["5/10", "partial", "400,800,1200,1600,2000"],
        ]
    );
}

#[test]
fn a_rule_that_raises_an_error_for_each_row_fails_for_each() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, d int);
           INSERT INTO t SELECT i, 0 FROM generate_series(1, 3000) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "1 / d = 1"}')"#,
    );
    let report = report(&mut client);
    assert_eq!(report[0][..2], ["0/3000", "partial"]);
}

#[test]
fn the_places_of_rows_of_a_view_are_unknown_and_so_the_rule_is_broken() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE b (id int PRIMARY KEY, d int); INSERT INTO b VALUES (1, 1), (2, 0);
           CREATE VIEW t AS SELECT * FROM b;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "1 / d = 1"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'not_null', '{d}')"#,
    );
    let run = rows(&mut client, "SELECT run_id, passed, reason FROM opdb.quality_score('t')").remove(0);
    assert_eq!(run[1], "f");
    assert!(run[2].contains("rule 1 (expression) is broken: division by zero"), "{run:?}");
    assert!(run[2].contains("public.t is a view"), "{run:?}");
    let status = format!("SELECT status, passed FROM opdb.quality_report({}) WHERE rule_id = 2", run[0]);
    assert_eq!(rows(&mut client, &status), [["passed", "2"]]);
}

#[test]
fn an_interrupt_is_no_failure_of_a_row() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);
           CREATE FUNCTION slow(int) RETURNS boolean STABLE LANGUAGE plpgsql AS
               'BEGIN PERFORM pg_sleep(60); RETURN true; END';
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "public.slow(id)"}');
           SET statement_timeout = '100ms'"#,
    );
    assert_eq!(refused(&mut client, "SELECT opdb.quality_score('t')").sqlstate, "57014");
}

/// What a caller did before in its transaction is no reason to see other rows.
#[test]
fn rows_are_looked_for_on_the_snapshot_that_was_scored() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, d int); INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 100) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "1 / d >= 0"}')"#,
    );
    let name = text(&mut client, "SELECT current_database()");
    let isolated = client.build_transaction().isolation_level(postgres::IsolationLevel::RepeatableRead);
    let mut transaction = isolated.start().unwrap();
    transaction.batch_execute("CREATE TABLE other (a int); SELECT count(*) FROM t").unwrap();
    execute(&mut on_test(&name), "DELETE FROM t WHERE d = 0; INSERT INTO t VALUES (101, 0), (102, 0)");
    transaction.query("SELECT * FROM opdb.quality_score('t')", &[]).unwrap();
    let counts = transaction
        .query_one(
            "SELECT passed || '/' || evaluated FROM opdb.quality_result WHERE rule_id IS NOT NULL",
            &[],
        )
        .unwrap();
    assert_eq!(counts.get::<_, String>(0), "90/100");
}
