//! How time and memory grow with the table.

use super::{Bench, Database, SCORE, Sizes, by_hand};
use crate::bench::memory::Growth;
use crate::bench::report::milliseconds;
use crate::bench::usage::{Cost, ratio};

const MAX_MEGABYTES: f64 = 200.0;
/// What failed in the last run.
const KEYS: &str = "SELECT count(*) FROM opdb.quality_failures((SELECT max(run_id) FROM opdb.quality_run))";
/// A rule that every row fails.
const HOPELESS: &str =
    "SELECT opdb.add_quality_rule('orders', 'accuracy', 'expression', '{}', '{\"expression\": \"id < 0\"}')";

/// Of one table.
struct Measured {
    rows: u32,
    opdb: Cost,
    by_hand: Cost,
    memory: Growth,
}

pub fn run(bench: &mut Bench, small: &Database, sizes: &Sizes) -> anyhow::Result<()> {
    let small = measure(bench, small, sizes.rows, sizes.runs)?;
    let database = bench.orders("large", sizes.large_rows)?;
    let large = measure(bench, &database, sizes.large_rows, 1)?;
    bench.session(&database)?.batch_execute(HOPELESS)?;
    bench.touch(&database)?;
    let hopeless = Growth::of(bench.session(&database)?, SCORE)?;
    let keys = Growth::of(bench.session(&database)?, KEYS)?;

    println!("\n== growth: ms of CPU, and MB by which the backend grows, shared buffers not counted ==");
    println!("{:<44} {:>12} {:>12} {:>12}", "rows", "opdb", "by hand", "memory");
    for it in [&small, &large] {
        let [opdb, by_hand] = [it.opdb.cpu, it.by_hand.cpu].map(milliseconds);
        println!("{:<44} {opdb:>12.0} {by_hand:>12.0} {:>12.0}", it.rows, it.memory.megabytes());
    }
    let name = format!("{}, each of which fails one rule", sizes.large_rows);
    for (name, memory) in [(name.as_str(), &hopeless), ("the keys of those, returned", &keys)] {
        println!("{name:<44} {:>12} {:>12} {:>12.0}", "-", "-", memory.megabytes());
    }

    let larger = f64::from(large.rows) / f64::from(small.rows);
    let [opdb, by_hand] =
        [|it: &Measured| it.opdb.cpu, |it: &Measured| it.by_hand.cpu].map(|of| ratio(of(&large), of(&small)));
    bench.promises.add(
        opdb <= 1.25 * larger,
        &format!("linear: {opdb:.1}x the CPU time for {larger:.1}x the rows (by hand {by_hand:.1}x)"),
    );
    for (what, memory) in [
        ("", &large.memory),
        (" of which every one fails a rule", &hopeless),
        (" that fail, to return their keys", &keys),
    ] {
        let (rows, grown) = (large.rows, memory.megabytes());
        bench.promises.add(
            grown < MAX_MEGABYTES,
            &format!("memory < {MAX_MEGABYTES:.0} MB: {grown:.0} MB for {rows} rows{what}"),
        );
    }
    Ok(())
}

fn measure(bench: &Bench, database: &Database, rows: u32, runs: u32) -> anyhow::Result<Measured> {
    let (mut opdb, mut hand) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        for (sql, costs) in [(SCORE.to_owned(), &mut opdb), (by_hand("orders"), &mut hand)] {
            bench.touch(database)?;
            costs.push(Cost::of_sql(&mut bench.session(database)?, &sql)?);
        }
    }
    bench.touch(database)?;
    let memory = Growth::of(bench.session(database)?, SCORE)?;
    Ok(Measured { rows, opdb: Cost::median(&opdb), by_hand: Cost::median(&hand), memory })
}
