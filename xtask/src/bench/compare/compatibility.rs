//! How long it takes to compare the tables of two servers, and how often that asks the other one.

use std::time::Instant;

use super::{Bench, Distance, Sizes, environment};
use crate::bench::report::{best, median, milliseconds};
use crate::bench::schema::{Database, fill};
use crate::bench::usage::ratio;

const MAX_ROUND_TRIPS: usize = 3;
const MAX_RATIO: f64 = 2.0;

pub fn run(bench: &mut Bench, sizes: &Sizes) -> anyhow::Result<()> {
    let here = Database::create(&bench.test, sizes.tables)?;
    bench.production.create_database(&here.name)?;
    fill(&mut bench.production.connect_as_superuser(&here.name)?, sizes.tables)?;
    bench.register(&mut here.session()?, &here.name, Distance::Near)?;
    let near = &bench.wires.near;
    let environment = environment(&here.name, Distance::Near);
    let check = format!("SELECT count(*) FROM opdb.check_compatibility('{environment}')");
    // All tables are the same there.
    let differing: i64 =
        here.session()?.query_one(&format!("{check} WHERE verdict <> 'identical'"), &[])?.get(0);
    anyhow::ensure!(differing == 0, "check_compatibility finds {differing} differences, and there are none");

    let (mut snapshots, mut checks, mut round_trips, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..sizes.runs {
        let snapshot = format!("SELECT opdb.capture_schema('round {round}')");
        here.touch()?;
        let begun = Instant::now();
        here.session()?.query_one(&snapshot, &[])?;
        snapshots.push(begun.elapsed());
        // What it left behind must not slow the next one.
        here.session()?.batch_execute("VACUUM ANALYZE opdb.schema_fact")?;

        here.touch()?;
        near.reset();
        let begun = Instant::now();
        let objects: i64 = here.session()?.query_one(&check, &[])?.get(0);
        checks.push(begun.elapsed());
        anyhow::ensure!(
            objects > i64::from(sizes.tables),
            "check_compatibility finds {objects} objects only"
        );
        round_trips = round_trips.max(near.queries().len());
        bytes = near.bytes();
    }
    println!("\n== {} tables on both servers: ms on the wall, connecting included ==", sizes.tables);
    println!("{:<44} {:>10} {:>10}", "", "best", "median");
    for (name, times) in [("capture_schema()", &snapshots), ("check_compatibility()", &checks)] {
        println!("{name:<44} {:>10.0} {:>10.0}", milliseconds(best(times)), milliseconds(median(times)));
    }
    println!(
        "check_compatibility() sends {round_trips} messages with SQL, {:.1} MB pass",
        bytes as f64 / 1e6
    );
    let by_median = ratio(median(&checks), median(&snapshots));
    let by_best = ratio(best(&checks), best(&snapshots));
    bench.promises.add(
        round_trips <= MAX_ROUND_TRIPS,
        &format!(
            "check_compatibility: at most {MAX_ROUND_TRIPS} round trips: {round_trips}: {} tables",
            sizes.tables
        ),
    );
    bench.promises.add(
        by_median < MAX_RATIO,
        &format!(
            "check_compatibility: under {MAX_RATIO}x the time of a snapshot here: {by_median:.2}x (best {by_best:.2}x)"
        ),
    );
    Ok(())
}
