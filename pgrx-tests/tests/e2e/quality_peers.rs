//! Great Expectations and Soda Core, given the same rules and the same rows as opdb: where they say the same, and where
//! they do not.
//!
//! Needs the virtual environment that `cargo xtask test` makes: `OPDB_QUALITY_PEERS` is its directory.

use std::env;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};

use opdb_e2e::quality_peers::{
    Comparison, DIFFERENCES, Findings, ORDERS, Peer, Rule, add_rules, compare, opdb, rules, run,
};
use postgres::Client;
use serde_json::{Value, from_value, json};

use crate::fixture::{database, execute, on_test, servers};

#[test]
fn the_peers_agree_rule_by_rule() {
    let Some(environment) = environment() else { return };
    let rules = rules().unwrap();
    assert_eq!(rules.len(), 14);
    let made = "INSERT INTO orders SELECT * FROM made_orders(1, 20000, '2026-01-01', '2026-01-31')";
    let Found { mut client, opdb, gx, soda } = found(&environment, &format!("{ORDERS}; {made}"), &rules);

    assert!(rules.iter().all(|rule| rule.proven == (opdb[&rule.name].failed == 0)), "{opdb:?}");
    assert_eq!(opdb.values().filter(|finding| finding.passed).count(), 9, "{opdb:?}");
    for rule in &rules {
        for (peer, theirs) in [(Peer::GreatExpectations, &gx), (Peer::Soda, &soda)] {
            let (ours, theirs) = (&opdb[&rule.name], &theirs[&rule.name]);
            let comparison = compare(&mut client, peer, &rule.name, ours, theirs).unwrap();
            assert_ne!(comparison, Comparison::Unexplained, "{}: {ours:?} {theirs:?}", rule.name);
        }
    }
    for difference in &DIFFERENCES {
        let theirs = if difference.peer == Peer::Soda { &soda } else { &gx };
        assert_ne!(theirs[difference.rule].failed, opdb[difference.rule].failed, "{}", difference.rule);
    }

    // What the shares are of.
    for rule in &rules {
        let [ours, gx, soda] = [&opdb, &gx, &soda].map(|findings| findings[&rule.name].evaluated);
        match rule.rule.as_str() {
            "expression" => assert_eq!((gx, soda), (None, None)),
            "not_blank" => assert_eq!((ours, gx, soda), (Some(20_000), Some(20_000 - 20), Some(20_000))),
            // Of opdb's the 28 blank ones are no values.
            "length" => assert_eq!((ours, gx, soda), (Some(19_952), Some(19_980), Some(20_000))),
            _ => assert_eq!((gx, soda), (ours, Some(20_000)), "{}", rule.name),
        }
    }
}

#[test]
fn soda_core_takes_a_rounded_percentage_of_all_rows() {
    let Some(environment) = environment() else { return };
    let rules = [
        rule(
            &json!({"name": "one_of_many", "rule": "range", "columns": ["a"], "args": {"min": 0}, "threshold": 1}),
        ),
        rule(
            &json!({"name": "few_there", "rule": "range", "columns": ["b"], "args": {"min": 0}, "threshold": 0.95}),
        ),
    ];
    let table = "CREATE TABLE orders (id int PRIMARY KEY, a int, b int);
                 INSERT INTO orders SELECT i, CASE WHEN i = 7 THEN -1 ELSE i END,
                                           CASE WHEN i <= 2000 THEN -1 WHEN i <= 30000 THEN i END
                 FROM generate_series(1, 40000) i";
    let Found { opdb, gx, soda, .. } = found(&environment, table, &rules);
    let of = |name: &str| [&opdb, &gx, &soda].map(|findings| (findings[name].failed, findings[name].passed));
    assert_eq!(of("one_of_many"), [(1, false), (1, false), (1, true)], "0.0025 % is 0.00 %");
    assert_eq!(
        of("few_there"),
        [(2000, false), (2000, false), (2000, true)],
        "of 30000 values, of 40000 rows"
    );
}

#[test]
fn an_empty_table_is_good_enough_for_the_peers() {
    let Some(environment) = environment() else { return };
    let rules = rules().unwrap();
    let Found { mut client, opdb, gx, soda } = found(&environment, ORDERS, &rules);
    let passes = |findings: &Findings| findings.values().filter(|finding| finding.passed).count();
    assert_eq!([&opdb, &gx, &soda].map(passes), [0, 14, 14]);
    let run = client.query_one("SELECT passed, reason FROM opdb.quality_score('orders')", &[]).unwrap();
    assert!(!run.get::<_, bool>(0) && run.get::<_, String>(1).contains("the table is empty"));
}

/// What the tools say of the table `orders`.
struct Found {
    client: Client,
    opdb: Findings,
    gx: Findings,
    soda: Findings,
}

fn found(environment: &Path, table: &str, rules: &[Rule]) -> Found {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(&mut client, table);
    add_rules(&mut client, "orders", rules).unwrap();
    let scored = client.query_one("SELECT run_id FROM opdb.quality_score('orders')", &[]).unwrap();
    let opdb = opdb(&mut client, scored.get(0), rules).unwrap();
    let [gx, soda] =
        Peer::ALL.map(|peer| run(environment, peer, &servers().test, &name, "orders", rules).unwrap());
    Found { client, opdb, gx, soda }
}

fn rule(own: &Value) -> Rule {
    let mut rule = json!({"dimension": "accuracy"});
    rule.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    from_value(rule).unwrap()
}

fn environment() -> Option<PathBuf> {
    let environment = env::var_os("OPDB_QUALITY_PEERS").map(PathBuf::from);
    if environment.is_none() {
        // Not by a macro: what those print of a test that passes is not shown.
        let why =
            "not run: OPDB_QUALITY_PEERS names no virtual environment, as `cargo xtask test` makes it\n";
        stderr().write_all(why.as_bytes()).unwrap();
    }
    environment
}
