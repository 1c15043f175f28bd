//! Whether all come to the same results.

use std::collections::BTreeMap;

use anyhow::Context;
use opdb_e2e::quality_peers::{self, Comparison, Finding, Findings, Peer, Rule, compare};
use postgres::Client;

use super::{Bench, Database, by_hand};

/// How many rows fail each rule that has to be measured, and other counts that nobody asks for here.
pub type Counts = BTreeMap<String, i64>;

/// Fails if a result differs from opdb's and nothing explains it.
pub fn check(bench: &Bench, database: &Database, peers: &BTreeMap<Peer, Findings>) -> anyhow::Result<()> {
    let mut client = bench.session(database)?;
    let opdb = latest(&mut client, &bench.rules)?;
    check_keys(&mut client, &opdb)?;
    let by_hand = counts(&mut client, "orders")?;
    println!("\n== values that fail, and whether too many do ==");
    println!(
        "{:<24} {:>10} {:>10} {:>20} {:>10}  verdict",
        "", "by hand", "opdb", "Great Expectations", "Soda"
    );
    let mut doubts = check_by_hand(&bench.rules, &opdb, &by_hand);
    let mut reasons = Vec::new();
    for Rule { name, .. } in &bench.rules {
        let ours = opdb.get(name).context("opdb says nothing of a rule")?;
        let mut shown = Vec::new();
        for peer in Peer::ALL {
            let theirs =
                peers.get(&peer).and_then(|of| of.get(name)).context("a peer says nothing of a rule")?;
            let mark = match compare(&mut client, peer, name, ours, theirs)? {
                Comparison::Same => String::new(),
                Comparison::Explained(why) => {
                    reasons.push(format!("{name}, {}: {why}", peer.name()));
                    format!("({}) ", reasons.len())
                }
                Comparison::Unexplained => {
                    doubts.push(format!("{name}: opdb {ours:?}, {} {theirs:?}", peer.name()));
                    "(?) ".into()
                }
            };
            shown.push(format!("{mark}{}", theirs.failed));
        }
        let hand = by_hand.get(name).map_or("proven".into(), ToString::to_string);
        let verdict = if ours.passed { "passed" } else { "failed" };
        println!("{name:<24} {hand:>10} {:>10} {:>20} {:>10}  {verdict}", ours.failed, shown[0], shown[1]);
    }
    reasons.iter().enumerate().for_each(|(place, reason)| println!("({}) {reason}", place + 1));
    anyhow::ensure!(doubts.is_empty(), "differences that nothing explains:\n{}", doubts.join("\n"));
    Ok(())
}

/// Fails unless the key of every row that failed in the last run is there.
fn check_keys(client: &mut Client, found: &Findings) -> anyhow::Result<()> {
    let sql = "WITH last AS (SELECT max(run_id) AS run FROM opdb.quality_run)
               SELECT q.name, count(DISTINCT f.key)
               FROM last CROSS JOIN LATERAL opdb.quality_failures(last.run) f JOIN opdb.quality_rule q USING (rule_id)
               GROUP BY q.name";
    let kept = client.query(sql, &[])?;
    let kept: BTreeMap<String, i64> = kept.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (name, Finding { failed, .. }) in found {
        let keys = kept.get(name).copied().unwrap_or(0);
        anyhow::ensure!(keys == *failed, "{name}: {failed} rows fail, and {keys} keys are kept");
    }
    Ok(())
}

/// What opdb found the last time.
pub fn latest(client: &mut Client, rules: &[Rule]) -> anyhow::Result<Findings> {
    let run: i64 = client.query_one("SELECT max(run_id) FROM opdb.quality_run", &[])?.get(0);
    quality_peers::opdb(client, run, rules)
}

/// What is counted by hand.
pub fn counts(client: &mut Client, table: &str) -> anyhow::Result<Counts> {
    let row = client.query_one(&by_hand(table), &[])?;
    Ok(row.columns().iter().map(|column| (column.name().to_owned(), row.get(column.name()))).collect())
}

/// The rules of which opdb says something else than what is counted by hand.
pub fn check_by_hand(rules: &[Rule], opdb: &Findings, by_hand: &Counts) -> Vec<String> {
    let differs = |rule: &&Rule| {
        let failed = |finding: &Finding| finding.failed;
        !rule.proven && opdb.get(&rule.name).map(failed) != by_hand.get(&rule.name).copied()
    };
    let told = |rule: &Rule| {
        let name = &rule.name;
        format!("{name}: opdb {:?}, by hand {:?}", opdb.get(name), by_hand.get(name))
    };
    rules.iter().filter(differs).map(told).collect()
}
