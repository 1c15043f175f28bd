//! Rules about a table as a whole, and runs beside each other.

use postgres::Client;

use crate::fixture::{Pair, database, execute, on_test, rows, servers, text};

fn found(client: &mut Client, options: &str) -> Vec<String> {
    let run = text(client, &format!("SELECT run_id FROM opdb.quality_score('t', '{options}')"));
    rows(
        client,
        &format!(
            "SELECT coalesce(round(ratio, 4)::text, 'none') || ' ' || status || ' ' || evidence
             FROM opdb.quality_report({run}) WHERE rule_id IS NOT NULL ORDER BY rule_id"
        ),
    )
    .concat()
}

#[test]
fn freshness_is_about_the_latest_time() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, at timestamptz, day date, kind text);
           INSERT INTO t VALUES (1, now() - interval '2 hours', '2024-01-01', 'a'), (2, 'infinity', 'infinity', 'b'),
                                (3, now() - interval '3 days', NULL, 'b');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'freshness', '{at}', '{"max_age": "3 hours"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'freshness', '{at}', '{"max_age": "1 day", "where": "kind = ''b''"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'freshness', '{day}', '{"max_age": "1 day"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'freshness', '{day}', '{"max_age": "1 day", "where": "id = 3"}')"#,
    );
    let found = found(&mut client, "{}");
    assert!(found[0].starts_with("1.0000 passed measured: the latest time, "), "{found:?}");
    assert!(
        found[1].starts_with("0.0000 failed") && found[1].contains(" is 3 days ago, at most 1 day"),
        "{found:?}"
    );
    assert!(found[2].contains("2024-01-01 00:00:00+00"), "{found:?}");
    assert_eq!(found[3], "0.0000 failed measured: no row has a time");
}

#[test]
fn a_row_count_has_limits_and_does_not_jump() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'row_count', '{}', '{"min": 10, "max": 120}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'row_count', '{}', '{"max_change": 0.1}')"#,
    );
    let whole = |client: &mut Client| found(client, "{}");
    assert_eq!(
        whole(&mut client),
        [
            "1.0000 passed measured: there are 100 rows",
            "none not_evaluated measured: there are 100 rows, and no earlier run"
        ]
    );
    execute(&mut client, "INSERT INTO t SELECT generate_series(101, 110)");
    assert!(whole(&mut client)[1].starts_with("1.0000 passed"));
    execute(&mut client, "INSERT INTO t SELECT generate_series(111, 122)");
    let found = whole(&mut client);
    assert_eq!(found[0], "0.0000 failed measured: there are 122 rows, not between 10 and 120");
    assert!(found[1].contains("were 110 in run 2: a change of 0.1090, at most 0.1000 may be"), "{found:?}");
}

#[test]
fn totals_are_reconciled_here_and_on_another_server() {
    let mut pair = Pair::with_plain_production();
    let table = "CREATE TABLE t (id int PRIMARY KEY, amount numeric)";
    execute(
        &mut pair.here,
        &format!("{table}; INSERT INTO t VALUES (1, 60), (2, 35); CREATE TABLE total AS SELECT 95.0 AS sum"),
    );
    execute(&mut pair.there, &format!("{table}; INSERT INTO t VALUES (1, 60), (2, 40)"));
    for args in [
        r#"{"query": "SELECT sum(amount) FROM public.t", "against": "SELECT sum FROM public.total"}"#,
        r#"{"query": "SELECT sum(amount) FROM public.t", "environment": "production"}"#,
        r#"{"query": "SELECT sum(amount) FROM public.t", "environment": "production", "against": "SELECT 95"}"#,
        r#"{"query": "SELECT sum(amount) FROM public.t WHERE id < 0", "against": "SELECT 0"}"#,
        r#"{"query": "SELECT 1", "environment": "nowhere"}"#,
    ] {
        execute(
            &mut pair.here,
            &format!("SELECT opdb.add_quality_rule('t', 'consistency', 'reconcile', '{{}}', '{args}')"),
        );
    }
    let found = found(&mut pair.here, "{}");
    assert_eq!(found[0], "1.0000 passed measured: 95 here, 95.0 there");
    assert_eq!(found[1], "0.9500 partial measured: 95 here, 100 on \"production\"");
    assert_eq!(found[2], "1.0000 passed measured: 95 here, 95 on \"production\"");
    assert_eq!(found[3], "0.0000 partial measured: NULL here, 0 there");
    assert!(found[4].contains("broken: environment \"nowhere\" is not registered"), "{found:?}");
}

#[test]
fn a_distribution_is_compared_with_that_of_the_first_run() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, n float8, at timestamptz, kind text);
           INSERT INTO t SELECT i, i % 100, '2024-01-01'::timestamptz + i * interval '1 hour', 'k' || i % 3
           FROM generate_series(1, 1000) i;
           SELECT opdb.add_quality_rule('t', 'consistency', 'distribution', '{n}', '{"method": "ks"}');
           SELECT opdb.add_quality_rule('t', 'consistency', 'distribution', '{at}');
           SELECT opdb.add_quality_rule('t', 'consistency', 'distribution', '{kind}', '{"max": 0.1}')"#,
    );
    for line in found(&mut client, "{}") {
        assert_eq!(line, "none not_evaluated measured: the first run: later ones are compared with it");
    }
    for line in found(&mut client, "{}") {
        assert!(line.starts_with("1.0000 passed") && line.contains(" from run 1 is 0.0000"), "{line}");
    }
    // Half of the rows are at the lower end now; the exact distance is 0.45, and the bins are a twentieth wide.
    execute(
        &mut client,
        "UPDATE t SET n = n / 10 WHERE id % 2 = 0; UPDATE t SET kind = 'other' WHERE id % 3 = 0",
    );
    let moved = found(&mut client, "{}");
    let distance: f64 = moved[0].split("is ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(moved[0].starts_with("0.0000 failed") && (0.35..=0.46).contains(&distance), "{moved:?}");
    assert!(moved[1].starts_with("1.0000 passed"), "{moved:?}");
    assert!(moved[2].starts_with("0.0000 failed measured: psi from run 1"), "{moved:?}");
    // Another run to compare with is chosen by its id.
    execute(
        &mut client,
        r#"UPDATE opdb.quality_rule SET args = '{"method": "ks", "baseline": 3}' WHERE rule_id = 1"#,
    );
    assert!(found(&mut client, "{}")[0].contains("from run 3 is 0.0000"));
}

#[test]
fn a_run_is_judged_by_the_runs_before_it_only() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, v int);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    for run in 0..8 {
        execute(
            &mut client,
            &format!("TRUNCATE t; INSERT INTO t SELECT i, i FROM generate_series(1, 1000 + {run}) i"),
        );
        execute(&mut client, "SELECT opdb.quality_score('t')");
    }
    let reason = |client: &mut Client| text(client, "SELECT reason FROM opdb.quality_score('t')");
    execute(&mut client, "UPDATE t SET v = -1; DELETE FROM t WHERE id > 100");
    let bad = reason(&mut client);
    assert!(
        bad.contains(
            "unusual: 100 rows where 1004 were usual in 8 runs, a score of 0.6250 where 1.0000 was usual"
        ),
        "{bad}"
    );
    execute(&mut client, "TRUNCATE t; INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i");
    assert!(!reason(&mut client).contains("unusual"));
    let history = rows(
        &mut client,
        "SELECT run_id, unusual IS NOT NULL, length(digest), snapshot <> '' FROM opdb.quality_history('t') LIMIT 3",
    );
    assert_eq!(history, [["10", "f", "32", "t"], ["9", "t", "32", "t"], ["8", "f", "32", "t"]]);
}

#[test]
fn a_digest_is_of_the_rows_and_of_nothing_else() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TYPE pair AS (x int, y text);
           CREATE TABLE t (id int PRIMARY KEY, n numeric, m mood, j json, p pair, l text[], b bytea);
           INSERT INTO t SELECT i, i / 3.0, 'a', '{"a": 1}', ROW(i, 'y')::pair, '{x,NULL}', '\x00' FROM generate_series(1, 100) i"#,
    );
    let digest = |client: &mut Client| {
        let run = text(client, "SELECT run_id FROM opdb.quality_score('t')");
        text(client, &format!("SELECT digest FROM opdb.quality_history('t') WHERE run_id = {run}"))
    };
    let first = digest(&mut client);
    execute(
        &mut client,
        "CREATE TABLE copy AS SELECT * FROM t ORDER BY id DESC; TRUNCATE t; INSERT INTO t SELECT * FROM copy",
    );
    assert_eq!(digest(&mut client), first, "another order");
    for change in [
        "n = n + 0.1",
        "m = 'b'",
        "j = '{\"a\":1}'",
        "p = ROW(0, 'y')",
        "l = '{x,y}'",
        "b = NULL",
        "id = 1000",
    ] {
        execute(&mut client, &format!("BEGIN; UPDATE t SET {change} WHERE id = 7"));
        assert_ne!(digest(&mut client), first, "{change}");
        execute(&mut client, "ROLLBACK");
    }
    let off = r#"SELECT run_id FROM opdb.quality_score('t', '{"digest": false, "failures": false}')"#;
    let run = text(&mut client, off);
    assert_eq!(
        text(
            &mut client,
            &format!("SELECT digest IS NULL FROM opdb.quality_history('t') WHERE run_id = {run}")
        ),
        "t"
    );
}
