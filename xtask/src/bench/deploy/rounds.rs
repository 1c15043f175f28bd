//! The contenders, one after the other, again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use super::contender::{Case, Contender};
use super::item::Item;
use crate::bench::report::{Promises, best, median};
use crate::bench::usage::ratio;

type Walls = BTreeMap<Contender, Vec<Duration>>;

/// Prints what each has taken. Fails if a contender leaves other rows on production than are here.
pub fn run(item: &Item, runs: u32, promises: &mut Promises) -> anyhow::Result<()> {
    println!("== {} rows x 10 columns ==", item.rows);
    // Whoever comes first has psql read from disk, and the files of production's log made.
    Contender::Copy.run(item, Case::FirstLoad).context("warming up")?;
    for case in Case::ALL {
        let walls = measure(item, case, runs).context(case.name())?;
        let copying = walls.get(&Contender::Copy).context("nobody copied")?;
        print(case, &walls, copying);
        for (contender, opdb) in walls.iter().filter(|(contender, _)| contender.is_opdb()) {
            let (by, by_best) = (ratio(median(opdb), median(copying)), ratio(best(opdb), best(copying)));
            let (name, bound) = (contender.name(), case.bound());
            promises.add(
                by <= bound,
                &format!(
                    "{}: at most {bound}x the time of COPY: {by:.2}x (best {by_best:.2}x): {name}, {} rows",
                    case.name(),
                    item.rows
                ),
            );
        }
    }
    println!(
        "Wall clock of a client, connecting included, and the start of the program. Each begins after a checkpoint on\n\
         both servers. Where 1 % is changed, COPY brings the whole table into an emptied one."
    );
    Ok(())
}

fn measure(item: &Item, case: Case, runs: u32) -> anyhow::Result<Walls> {
    let mut walls = Walls::new();
    for _ in 0..runs {
        for contender in case.contenders() {
            let wall = contender.run(item, case).context(contender.name())?;
            walls.entry(*contender).or_default().push(wall);
        }
    }
    Ok(walls)
}

fn print(case: Case, walls: &Walls, copying: &[Duration]) {
    println!("{:<48} {:>5} {:>8} {:>8} {:>8}", case.name(), "runs", "best s", "median s", "x COPY");
    for (contender, walls) in walls {
        println!(
            "  {:<46} {:>5} {:>8.2} {:>8.2} {:>8.2}",
            contender.name(),
            walls.len(),
            best(walls).as_secs_f64(),
            median(walls).as_secs_f64(),
            ratio(median(walls), median(copying))
        );
    }
}
