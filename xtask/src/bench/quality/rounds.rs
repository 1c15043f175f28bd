//! The contenders, one after the other, again and again.

use std::collections::BTreeMap;

use opdb_e2e::quality_peers::{Findings, Peer};

use super::contender::{Contender, Spent};
use super::{Bench, Database, SCORE, by_hand};
use crate::bench::report::milliseconds;
use crate::bench::usage::{Cost, ratio};

/// What each of them spent, by the median of its runs.
struct Medians(BTreeMap<Contender, Spent>);

/// Prints the times, and returns what the peers found of all rules.
pub fn run(bench: &mut Bench, database: &Database, runs: u32) -> anyhow::Result<BTreeMap<Peer, Findings>> {
    let (mut spent, mut findings) = (BTreeMap::<_, Vec<Spent>>::new(), BTreeMap::new());
    for _ in 0..runs {
        for contender in Contender::all() {
            bench.touch(database)?;
            let (time, found) = contender.run(bench, database)?;
            spent.entry(contender).or_default().push(time);
            if let (Contender::Peer(peer), Some(found)) = (contender, found) {
                findings.insert(peer, found);
            }
        }
    }
    let medians = Medians(spent.iter().map(|(contender, all)| (*contender, Spent::median(all))).collect());
    medians.print(bench.rules.len(), bench.rules.iter().filter(|rule| rule.proven).count());
    medians.promise(bench);
    parallel(bench, database, runs)?;
    Ok(findings)
}

impl Medians {
    fn of(&self, contender: Contender) -> Spent {
        self.0.get(&contender).copied().unwrap_or(Spent::NOTHING)
    }

    fn print(&self, rules: usize, proven: usize) {
        println!("\n== {rules} rules, {proven} of which constraints guarantee: ms of CPU, and wall ==");
        println!("{:<44} {:>9} {:>9} {:>9} {:>9}", "", "client", "server", "total", "wall");
        for contender in Contender::all() {
            let spent = self.of(contender);
            let [client, server, total, wall] =
                [spent.client, spent.server, spent.total(), spent.wall].map(milliseconds);
            println!("{:<44} {client:>9.0} {server:>9.0} {total:>9.0} {wall:>9.0}", contender.name());
        }
        println!(
            "The SQL by hand has what opdb must measure: the rules that no constraint guarantees, and that times are\n\
             finite and numbers are numbers, which the peers were not asked. The peers keep up to 100 failing rows a\n\
             rule (Soda Core) and 20 values (Great Expectations)."
        );
    }

    fn promise(&self, bench: &mut Bench) {
        self.promise_by_hand(bench, Contender::OpdbCountsOnly, Contender::ByHand);
        self.promise_by_hand(bench, Contender::OpdbWithoutDigest, Contender::ByHand);
        self.promise_by_hand(bench, Contender::Opdb, Contender::ByHandWithDigest);
        // The peers take no digest either.
        self.promise_peers(bench, Contender::OpdbWithoutDigest);
        self.promise_peers(bench, Contender::Opdb);
    }

    fn promise_by_hand(&self, bench: &mut Bench, opdb: Contender, by_hand: Contender) {
        let by = ratio(self.of(opdb).total(), self.of(by_hand).total());
        let text = format!("CPU at most 1.15x: {by:.2}x: {} to {}", opdb.name(), by_hand.name());
        bench.promises.add(by <= 1.15, &text);
    }

    fn promise_peers(&self, bench: &mut Bench, opdb: Contender) {
        let ours = self.of(opdb).total();
        for (peer, bound, promised) in [(Peer::GreatExpectations, 1.0 / 3.0, "1/3"), (Peer::Soda, 0.8, "0.8")]
        {
            let (all, measured) = (self.of(Contender::Peer(peer)), self.of(Contender::PeerMeasured(peer)));
            let by = ratio(ours, all.total());
            let text = format!(
                "CPU at most {promised} of {}: {by:.2}: {} ({:.2} of its backends alone; without the rules that \
                 constraints guarantee {:.2} and {:.2})",
                peer.name(),
                opdb.name(),
                ratio(ours, all.server),
                ratio(ours, measured.total()),
                ratio(ours, measured.server),
            );
            bench.promises.add(by <= bound, &text);
        }
    }
}

/// The clock on the wall with parallel plans, where PostgreSQL chooses them.
fn parallel(bench: &Bench, database: &Database, runs: u32) -> anyhow::Result<()> {
    let (mut by_hand_times, mut opdb_times) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        for (sql, times) in [(by_hand("orders"), &mut by_hand_times), (SCORE.to_owned(), &mut opdb_times)] {
            bench.touch(database)?;
            let mut client = bench.session(database)?;
            client.batch_execute("SET max_parallel_workers_per_gather = 2")?;
            times.push(Cost::of_sql(&mut client, &sql)?);
        }
    }
    let [by_hand, opdb] = [by_hand_times, opdb_times].map(|times| milliseconds(Cost::median(&times).wall));
    println!("with parallel plans, ms on the wall: by hand {by_hand:.0}, opdb {opdb:.0}");
    Ok(())
}
