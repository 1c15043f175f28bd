//! By how much comparing makes the memory of a backend grow.

use super::case::Case;
use super::contender::comparing;
use super::{Bench, Distance, environment};
use crate::bench::memory::Growth;

const MAX_MEGABYTES: f64 = 50.0;

pub fn run(bench: &mut Bench, rows: u32) -> anyhow::Result<()> {
    println!("\n== MB by which the backend grows, shared buffers and parallel workers not counted ==");
    for case in [Case::Three, Case::OneInAHundred, Case::Half] {
        let sql = comparing(&environment(case.database(), Distance::Near));
        let grown = Growth::of(bench.here()?, &sql)?.megabytes();
        println!("{:<44} {grown:>8.1}", case.name());
        bench.promises.add(
            grown < MAX_MEGABYTES,
            &format!("memory flat, < {MAX_MEGABYTES:.0} MB: {grown:.1} MB: {} of {rows} rows", case.name()),
        );
    }
    Ok(())
}
