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

#[test]
fn other_rules_keep_their_own_counts_beside_one_that_raises() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE x (id int PRIMARY KEY, a text, d int, m int);
           INSERT INTO x SELECT i, 'a', i % 50, CASE WHEN i <= 10 THEN i END FROM generate_series(1, 100) i;
           CREATE VIEW w AS SELECT * FROM x;
           SELECT opdb.add_quality_rule(t::regclass, 'accuracy', r, c::text[], a::jsonb)
           FROM unnest('{x,w}'::text[]) t, (VALUES
               (1, 'range', '{a}', '{"min": "a", "where": "100 / d > 0"}'), (2, 'regex', '{a}', '{"pattern": "a"}'),
               (3, 'range', '{m}', '{"min": 0}')) v (place, r, c, a) ORDER BY t, place"#,
    );
    for (table, first) in [("x", "98/100"), ("w", "0/0")] {
        let run = text(
            &mut client,
            &format!("SELECT run_id FROM opdb.quality_score('{table}', '{{\"implied\": false}}')"),
        );
        let counts =
            format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) ORDER BY rule_id");
        assert_eq!(rows(&mut client, &counts).concat(), [first, "100/100", "10/10"], "{table}");
    }
}

#[test]
fn rules_about_groups_times_and_other_tables_that_raise_do_not_end_the_run() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);
           CREATE TABLE t (id int PRIMARY KEY, d int, at timestamptz);
           INSERT INTO t VALUES (1, 1, now()), (2, 0, now()), (3, 1, now());
           SELECT opdb.add_quality_rule('t', 'accuracy', r, c::text[], a::jsonb)
           FROM (VALUES (1, 'foreign_key', '{id}', '{"table": "public.p", "columns": ["id"], "where": "1 / d = 1"}'),
                        (2, 'unique', '{d}', '{"where": "1 / d = 1"}'),
                        (3, 'freshness', '{at}', '{"max_age": "1 day", "where": "1 / d = 1"}'),
                        (4, 'distribution', '{d}', '{"where": "1 / d = 1"}')) v (place, r, c, a) ORDER BY place"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let found = format!(
        "SELECT rule || ' ' || status || ' ' || passed || '/' || evaluated FROM opdb.quality_report({run})
         WHERE rule_id IS NOT NULL ORDER BY rule_id"
    );
    assert_eq!(
        rows(&mut client, &found).concat(),
        ["foreign_key partial 1/3", "unique broken 0/0", "freshness broken 0/0", "distribution broken 0/0"]
    );
}

#[test]
fn rules_that_share_a_grouping_are_broken_together() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE b (id int PRIMARY KEY, d int); INSERT INTO b VALUES (1, 1), (2, 0), (3, 1);
           CREATE VIEW t AS SELECT * FROM b;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'unique', '{d}', '{"where": "1 / d = 1"}'),
                  opdb.add_quality_rule('t', 'consistency', 'unique', '{d}', '{"where": "1 / d = 1"}'),
                  opdb.add_quality_rule('t', 'consistency', 'unique', '{d}')"#,
    );
    let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('t', '{"implied": false}')"#);
    let found = format!(
        "SELECT status || ' ' || passed || '/' || evaluated FROM opdb.quality_report({run}) ORDER BY rule_id"
    );
    assert_eq!(rows(&mut client, &found).concat(), ["broken 0/0", "broken 0/0", "partial 2/3"]);
}
