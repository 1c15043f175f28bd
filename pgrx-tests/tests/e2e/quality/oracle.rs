//! Random tables and rules: counts and failing keys are those of one plain query for each rule.

use std::cell::RefCell;
use std::collections::BTreeSet;

use postgres::Client;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::fixture::{database, execute, on_test, rows, servers, text};

const TEXTS: [&str; 9] = ["a1", "b22", "A1", "", " ", "\t\n", " n/a ", "long enough", "z"];
const TIMES: [&str; 5] = ["2024-01-01", "2024-06-01 12:00", "2025-01-01", "infinity", "2023-12-31"];
const JSONS: [&str; 4] = ["null", "{}", "[1]", "\"x\""];

/// What there is in a row; None is NULL.
#[derive(Debug, Clone)]
struct Row {
    name: Option<&'static str>,
    code: Option<&'static str>,
    n: Option<i32>,
    divisor: i32,
    at: Option<&'static str>,
    later: Option<&'static str>,
    payload: Option<&'static str>,
    parent: Option<i32>,
}

/// How the table is made: whether it has a key, and whether it is partitioned.
#[derive(Debug, Clone, Copy)]
struct Shape {
    has_key: bool,
    is_partitioned: bool,
    not_null: bool,
}

/// A rule, and what it says: over which rows, or values of them, it is evaluated, and for which it holds.
#[derive(Debug, Clone)]
struct Rule {
    dimension: &'static str,
    kind: &'static str,
    columns: &'static [&'static str],
    args: &'static str,
    oracle: Oracle,
}

#[derive(Debug, Clone, Copy)]
enum Oracle {
    /// Of each of the columns, which are called VALUE here.
    Values {
        evaluated: &'static str,
        good: &'static str,
    },
    Rows {
        evaluated: &'static str,
        good: &'static str,
    },
    /// Of rows without NULL in the columns all but the first of those that are the same.
    Surplus,
    /// All rows with a NULL or a copy.
    Key,
}

const TEXT_IS_THERE: &str = "VALUE IS NOT NULL AND VALUE !~ '^[ \\t\\n\\r\\f\\v]*$'";
const NAME_IS_THERE: &str =
    "VALUE IS NOT NULL AND VALUE !~ '^[ \\t\\n\\r\\f\\v]*$' AND lower(btrim(VALUE, E' \\t\\n')) <> 'n/a'";

const fn rule(
    dimension: &'static str,
    kind: &'static str,
    columns: &'static [&'static str],
    args: &'static str,
    oracle: Oracle,
) -> Rule {
    Rule { dimension, kind, columns, args, oracle }
}

const fn values(evaluated: &'static str, good: &'static str) -> Oracle {
    Oracle::Values { evaluated, good }
}

/// The first is always there: it says what is missing in `name`.
fn rules() -> Vec<Rule> {
    let not_null = "VALUE IS NOT NULL";
    vec![
        rule(
            "completeness",
            "not_blank",
            &["name"],
            r#"{"placeholders": [" N/A"]}"#,
            values("true", NAME_IS_THERE),
        ),
        rule("completeness", "not_null", &["code", "n"], "{}", values("true", not_null)),
        rule("completeness", "not_blank", &["code"], "{}", values("true", TEXT_IS_THERE)),
        rule("completeness", "not_blank", &["payload"], "{}", values("true", "VALUE <> 'null'::jsonb")),
        rule(
            "accuracy",
            "length",
            &["name", "code"],
            r#"{"min": 2, "max": 5}"#,
            Oracle::Values {
                evaluated: "CASE 'VALUE' WHEN 'name' THEN NAME_THERE ELSE CODE_THERE END",
                good: "length(VALUE) BETWEEN 2 AND 5",
            },
        ),
        rule(
            "accuracy",
            "regex",
            &["code"],
            r#"{"pattern": "^[a-z]*[0-9]+$"}"#,
            values(TEXT_IS_THERE, "VALUE ~ '^[a-z]*[0-9]+$'"),
        ),
        rule(
            "accuracy",
            "regex",
            &["code"],
            r#"{"pattern": "^ *$|a"}"#,
            values(TEXT_IS_THERE, "VALUE ~ '^ *$|a'"),
        ),
        rule(
            "accuracy",
            "accepted_values",
            &["code"],
            r#"{"values": ["a1", " ", "z"]}"#,
            values(TEXT_IS_THERE, "VALUE IN ('a1', ' ', 'z')"),
        ),
        rule(
            "accuracy",
            "accepted_values",
            &["name"],
            r#"{"values": ["a1", "n/a"]}"#,
            values(NAME_IS_THERE, "VALUE IN ('a1', 'n/a')"),
        ),
        rule(
            "accuracy",
            "range",
            &["n"],
            r#"{"min": -1, "max": 3}"#,
            values(not_null, "VALUE BETWEEN -1 AND 3"),
        ),
        rule(
            "accuracy",
            "range",
            &["at", "later"],
            r#"{"min": "2024-01-01"}"#,
            values(not_null, "VALUE >= '2024-01-01'"),
        ),
        rule(
            "accuracy",
            "range",
            &["n"],
            r#"{"max": 2, "where": "divisor > 0"}"#,
            values("VALUE IS NOT NULL AND divisor > 0", "VALUE <= 2"),
        ),
        rule(
            "accuracy",
            "length",
            &["name"],
            r#"{"max": 4, "where": "code IS NOT NULL"}"#,
            values("code IS NOT NULL AND NAME_THERE", "length(VALUE) <= 4"),
        ),
        rule("accuracy", "finite", &["at"], "{}", values(not_null, "isfinite(VALUE)")),
        rule(
            "consistency",
            "expression",
            &[],
            r#"{"expression": "at <= later"}"#,
            Oracle::Rows { evaluated: "at IS NOT NULL AND later IS NOT NULL", good: "at <= later" },
        ),
        // Where the divisor is 0 the rule raises an error, and the row fails.
        rule(
            "consistency",
            "expression",
            &[],
            r#"{"expression": "10 / divisor > n"}"#,
            Oracle::Rows {
                evaluated: "divisor = 0 OR n IS NOT NULL",
                good: "CASE WHEN divisor <> 0 THEN 10 / divisor > n END",
            },
        ),
        rule(
            "consistency",
            "expression",
            &[],
            r#"{"expression": "name = code", "where": "n > 0"}"#,
            Oracle::Rows {
                evaluated: "n > 0 AND name IS NOT NULL AND code IS NOT NULL",
                good: "name = code",
            },
        ),
        rule("consistency", "unique", &["code"], "{}", Oracle::Surplus),
        rule("consistency", "unique", &["name", "n"], "{}", Oracle::Surplus),
        rule("integrity", "unique", &["code", "divisor"], "{}", Oracle::Key),
        rule(
            "integrity",
            "foreign_key",
            &["parent"],
            r#"{"table": "public.parent", "columns": ["id"]}"#,
            values(not_null, "VALUE IN (SELECT id FROM parent)"),
        ),
        // The columns there are no key: some rows are there twice.
        rule(
            "integrity",
            "foreign_key",
            &["parent", "divisor"],
            r#"{"table": "public.loose", "columns": ["a", "b"]}"#,
            Oracle::Rows {
                evaluated: "parent IS NOT NULL",
                good: "(parent, divisor) IN (SELECT a, b FROM loose WHERE a IS NOT NULL AND b IS NOT NULL)",
            },
        ),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let some =
        |values: &'static [&'static str]| proptest::option::weighted(0.8, proptest::sample::select(values));
    let number = |range| proptest::option::weighted(0.8, range);
    (some(&TEXTS), some(&TEXTS), number(-2..5), -1..3, some(&TIMES), some(&TIMES), some(&JSONS), number(0..6))
        .prop_map(|(name, code, n, divisor, at, later, payload, parent)| Row {
            name,
            code,
            n,
            divisor,
            at,
            later,
            payload,
            parent,
        })
}

fn shape() -> impl Strategy<Value = Shape> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(has_key, is_partitioned, not_null)| Shape {
        has_key,
        is_partitioned,
        not_null,
    })
}

#[test]
fn counts_and_keys_are_those_of_a_query_for_each_rule() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 4);
         CREATE TABLE loose (a int, b int);
         INSERT INTO loose VALUES (1, 1), (1, 1), (2, 0), (NULL, 1), (3, NULL), (4, -1)",
    );
    let all = rules();
    let indexes: Vec<usize> = (1..all.len()).collect();
    let chosen = proptest::sample::subsequence(indexes, 1..all.len());
    let cases = (proptest::collection::vec(row(), 0..40), chosen, shape(), any::<bool>());
    let client = RefCell::new(client);
    let config = Config { cases: 32, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config)
        .run(&cases, |(table, chosen, shape, in_parallel)| {
            let chosen: Vec<&Rule> = std::iter::once(0).chain(chosen).map(|place| &all[place]).collect();
            check(&mut client.borrow_mut(), &table, &chosen, shape, in_parallel)
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn check(
    client: &mut Client,
    table: &[Row],
    chosen: &[&Rule],
    shape: Shape,
    in_parallel: bool,
) -> Result<(), TestCaseError> {
    make(client, table, shape);
    for rule in chosen {
        let columns = format!("{{{}}}", rule.columns.join(","));
        execute(
            client,
            &format!(
                "SELECT opdb.add_quality_rule('t', '{}', '{}', '{columns}', '{}')",
                rule.dimension,
                rule.kind,
                rule.args.replace('\'', "''")
            ),
        );
    }
    execute(client, parallel(in_parallel));
    let run = text(client, r#"SELECT run_id FROM opdb.quality_score('t', '{"implied": false}')"#);
    for (rule, found) in chosen.iter().zip(report(client, &run)) {
        let expected = expected(client, rule, shape);
        prop_assert_eq!(&found.counts, &expected.counts, "counts of {:?}", rule);
        prop_assert_eq!(&found.keys, &expected.keys, "keys of {:?}", rule);
    }
    execute(client, "DELETE FROM opdb.quality_rule");
    Ok(())
}

/// What costs nothing is done in parallel.
fn parallel(wanted: bool) -> &'static str {
    match wanted {
        true => {
            "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0"
        }
        false => "SET max_parallel_workers_per_gather = 0",
    }
}

fn make(client: &mut Client, table: &[Row], shape: Shape) {
    let key = if shape.has_key { ", PRIMARY KEY (id, divisor)" } else { "" };
    let partitions = match shape.is_partitioned {
        true => {
            ") PARTITION BY LIST (divisor); CREATE TABLE t_a PARTITION OF t FOR VALUES IN (-1, 0);
             CREATE TABLE t_b PARTITION OF t FOR VALUES IN (1); CREATE TABLE t_rest PARTITION OF t DEFAULT"
        }
        false => ")",
    };
    let not_null = if shape.not_null { "NOT NULL" } else { "" };
    execute(
        client,
        &format!(
            "DROP TABLE IF EXISTS t; RESET ALL;
             CREATE TABLE t (id int NOT NULL, name text, code text, n int, divisor int {not_null}, at timestamptz,
                             later timestamptz, payload jsonb, parent int{key}{partitions}"
        ),
    );
    let value = |text: Option<String>| text.map_or("NULL".into(), |text| format!("'{text}'"));
    let owned = |text: Option<&str>| value(text.map(str::to_owned));
    let number = |number: Option<i32>| value(number.map(|number| number.to_string()));
    let values: Vec<String> = table
        .iter()
        .enumerate()
        .map(|(id, row)| {
            format!(
                "({id}, {}, {}, {}, {}, {}, {}, {}, {})",
                owned(row.name),
                owned(row.code),
                number(row.n),
                row.divisor,
                owned(row.at),
                owned(row.later),
                owned(row.payload),
                number(row.parent)
            )
        })
        .collect();
    if !values.is_empty() {
        execute(client, &format!("INSERT INTO t VALUES {}", values.join(", ")));
    }
}

/// Evaluated and passed values, and the ids of the rows that fail.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    counts: String,
    keys: BTreeSet<String>,
}

fn report(client: &mut Client, run: &str) -> Vec<Found> {
    let counts = rows(
        client,
        &format!(
            "SELECT rule_id, evaluated || ' ' || passed FROM opdb.quality_report({run}) ORDER BY rule_id"
        ),
    );
    counts
        .into_iter()
        .map(|row| {
            // Where the table has no key, its place leads to the row.
            let keys = rows(
                client,
                &format!(
                    "SELECT t.id FROM opdb.quality_failures({run}, {}) f
                     JOIN t ON t.id = (f.key ->> 'id')::int
                            OR (t.ctid = (f.key ->> 'ctid')::tid
                                AND t.tableoid = coalesce(f.key ->> 'tableoid', 't')::regclass)",
                    row[0]
                ),
            );
            Found { counts: row[1].clone(), keys: keys.concat().into_iter().collect() }
        })
        .collect()
}

fn expected(client: &mut Client, rule: &Rule, shape: Shape) -> Found {
    let order = if shape.has_key { "id, divisor" } else { "tableoid::regclass, ctid" };
    let list = rule.columns.join(", ");
    let complete: Vec<String> = rule.columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    let judged: Vec<String> = match rule.oracle {
        Oracle::Values { evaluated, good } => rule
            .columns
            .iter()
            .map(|column| judged(&evaluated.replace("VALUE", column), &good.replace("VALUE", column)))
            .collect(),
        Oracle::Rows { evaluated, good } => vec![judged(evaluated, good)],
        Oracle::Surplus => vec![format!(
            "SELECT id, row_number() OVER (PARTITION BY {list} ORDER BY {order}) = 1 AS good FROM t WHERE {}",
            complete.join(" AND ")
        )],
        Oracle::Key => vec![format!(
            "SELECT id, {} AND (SELECT count(*) FROM t o WHERE ({}) = ({})) = 1 AS good FROM t",
            complete.join(" AND "),
            rule.columns.iter().map(|column| format!("o.{column}")).collect::<Vec<_>>().join(", "),
            rule.columns.iter().map(|column| format!("t.{column}")).collect::<Vec<_>>().join(", ")
        )],
    };
    let all = judged.join(" UNION ALL ");
    let counts =
        text(client, &format!("SELECT count(*) || ' ' || count(*) FILTER (WHERE good) FROM ({all}) j"));
    let keys = rows(client, &format!("SELECT DISTINCT id FROM ({all}) j WHERE good IS NOT TRUE")).concat();
    Found { counts, keys: keys.into_iter().collect() }
}

fn judged(evaluated: &str, good: &str) -> String {
    let evaluated = evaluated
        .replace("NAME_THERE", &format!("({})", NAME_IS_THERE.replace("VALUE", "name")))
        .replace("CODE_THERE", &format!("({})", TEXT_IS_THERE.replace("VALUE", "code")));
    format!("SELECT id, ({good}) AS good FROM t WHERE {evaluated}")
}
