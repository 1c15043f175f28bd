//! The contenders, one after the other, again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use super::case::Case;
use super::contender::{Contender, Found, Traffic};
use super::{Bench, Distance, Sizes};
use crate::bench::report::{best, median};
use crate::bench::usage::ratio;

const MAX_BYTES: u64 = 1_000_000;

/// What is compared, and over which wire.
type Setup = (Case, Distance);

/// Of one contender.
struct Measured {
    walls: Vec<Duration>,
    /// Of all runs, what is less in favour of opdb.
    traffic: Traffic,
}

/// Prints what each has taken. Fails if a contender finds other differences than were made.
pub fn run(bench: &mut Bench, cases: &[(Case, Found)], sizes: &Sizes) -> anyhow::Result<()> {
    println!("\n== {} rows x 10 columns ==", sizes.rows);
    println!(
        "{:<44} {:>5} {:>8} {:>8} {:>8} {:>9} {:>9} {:>10}",
        "", "runs", "best s", "median s", "queries", "messages", "there MB", "here"
    );
    for (case, there_is) in cases {
        warm_up(bench, *case)?;
        let both = measure(bench, (*case, Distance::Near), *there_is, sizes.runs)?;
        promise(bench, (*case, Distance::Near), &both)?;
        if *case == Case::Three {
            let both = measure(bench, (*case, Distance::Far), *there_is, sizes.runs)?;
            promise(bench, (*case, Distance::Far), &both)?;
        }
    }
    println!(
        "Wall clock, connecting included, and the start of the program. queries, messages and MB are those that pass\n\
         between the contender and production, both directions: the most of all runs of opdb, the least of reladiff's.\n\
         messages are those with SQL, which for opdb hold several statements, and queries those that do more than begin\n\
         or end a transaction. here: reladiff's queries to the test server, whose client it is, too. What is delayed are\n\
         bytes that are sent; opening a connection is not. Parallel query is at PostgreSQL's defaults on both servers.\n\
         reladiff counts what differs (--stats) and does not print it, as opdb is asked for counts."
    );
    Ok(())
}

/// Has both sides of the table in memory.
fn warm_up(bench: &Bench, case: Case) -> anyhow::Result<()> {
    for mut client in [bench.here()?, bench.production.connect_as_superuser(case.database())?] {
        client.batch_execute("SELECT count(note) FROM event")?;
    }
    Ok(())
}

fn measure(
    bench: &Bench,
    (case, distance): Setup,
    there_is: Found,
    runs: u32,
) -> anyhow::Result<BTreeMap<Contender, Measured>> {
    let mut measured = BTreeMap::<Contender, Measured>::new();
    for round in 0..runs {
        for contender in Contender::ALL {
            // Some take minutes.
            let is_long = match case {
                Case::Half => true,
                Case::OneInAHundred | Case::LastHundredth => contender == Contender::Reladiff,
                Case::Same | Case::Three => false,
            };
            if is_long && round > 0 {
                continue;
            }
            let run = contender.run(bench, case, distance).context(contender.name())?;
            anyhow::ensure!(
                run.found == there_is,
                "{}: {} finds {:?}, and there is {there_is:?}",
                case.name(),
                contender.name(),
                run.found
            );
            let all = measured
                .entry(contender)
                .or_insert_with(|| Measured { walls: Vec::new(), traffic: run.traffic });
            all.walls.push(run.wall);
            all.traffic = contender.traffic(all.traffic, run.traffic);
        }
    }
    let name = name(bench, (case, distance));
    for (contender, measured) in &measured {
        measured.print(&format!("{name}: {}", contender.name()));
    }
    Ok(measured)
}

fn name(bench: &Bench, (case, distance): Setup) -> String {
    let delay = bench.wires.delay.as_millis();
    match distance {
        Distance::Near => case.name().to_owned(),
        Distance::Far => format!("{}, {delay} ms each way", case.name()),
    }
}

impl Measured {
    fn print(&self, name: &str) {
        let Traffic { bytes, messages, queries, queries_here } = self.traffic;
        println!(
            "{name:<44} {:>5} {:>8.2} {:>8.2} {queries:>8} {messages:>9} {:>9.3} {queries_here:>10}",
            self.walls.len(),
            best(&self.walls).as_secs_f64(),
            median(&self.walls).as_secs_f64(),
            megabytes(bytes)
        );
    }
}

fn promise(bench: &mut Bench, setup: Setup, both: &BTreeMap<Contender, Measured>) -> anyhow::Result<()> {
    let name = name(bench, setup);
    let of = |contender| both.get(&contender).context("a contender did not run");
    let (opdb, reladiff) = (of(Contender::Opdb)?, of(Contender::Reladiff)?);
    let faster = ratio(median(&reladiff.walls), median(&opdb.walls));
    let best = ratio(best(&reladiff.walls), best(&opdb.walls));
    let promises = &mut bench.promises;
    let bound = if setup.1 == Distance::Far { 5.0 } else { 2.0 };
    promises.add(
        faster >= bound,
        &format!("at least {bound}x faster than reladiff -j4: {faster:.2}x (best {best:.2}x): {name}"),
    );
    if setup.1 == Distance::Far {
        return Ok(());
    }
    let (ours, theirs) = (opdb.traffic.queries, reladiff.traffic.queries);
    let fewer = theirs as f64 / ours as f64;
    promises.add(
        fewer >= 5.0,
        &format!("at least 5x fewer queries there: {fewer:.1}x ({ours} and {theirs}): {name}"),
    );
    // Where more rows differ, they alone are more than that.
    if matches!(setup.0, Case::Same | Case::Three) {
        let bytes = opdb.traffic.bytes;
        promises.add(
            bytes < MAX_BYTES,
            &format!("less than 1 MB on the wire: {:.3} MB: {name}", megabytes(bytes)),
        );
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
