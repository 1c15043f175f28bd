//! Rows that lie in the default partition and belong elsewhere.

use std::time::{Duration, Instant};

use super::probe::longest_wait;
use super::{Bench, median, milliseconds};

const TABLE: &str = "CREATE TABLE events (id bigint NOT NULL, at timestamptz NOT NULL, payload text,
                     PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE INDEX ON events (at)";

struct Contender {
    name: &'static str,
    /// Leaves a default partition called events_default.
    prepare: &'static str,
    moves: &'static str,
}

const CONTENDERS: [Contender; 2] = [
    Contender {
        name: "CALL opdb.run_partition_maintenance()",
        prepare: "SELECT opdb.manage_partitions('events', '1 day', premake => 4);
                  CREATE TABLE events_default PARTITION OF events DEFAULT",
        moves: "CALL opdb.run_partition_maintenance()",
    },
    Contender {
        name: "CALL partman.partition_data_proc()",
        prepare: "SELECT partman.create_parent('public.events', 'at', 'native', '1 day', p_premake => 4,
                                               p_start_partition => current_date::text)",
        moves: "CALL partman.partition_data_proc('public.events', p_wait => 0, p_quiet => true)",
    },
];

/// What came of a run.
struct Moved {
    time: Duration,
    wait: Duration,
}

pub fn run(bench: &mut Bench, rows: u32, runs: u32) -> anyhow::Result<()> {
    println!("\n== moving {rows} rows out of the default partition ==");
    println!("{:<52} {:>14} {:>22}", "", "rows/second", "reader's longest wait");
    for (days, label) in [(1, "1 day"), (10, "10 days")] {
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..runs {
            for (contender, found) in CONTENDERS.iter().zip(&mut found) {
                found.push(moved(bench, contender, rows, days)?);
            }
        }
        let medians = found.map(|found| {
            let of = |part: fn(&Moved) -> Duration| median(&found.iter().map(part).collect::<Vec<_>>());
            (f64::from(rows) / of(|it| it.time).as_secs_f64(), milliseconds(of(|it| it.wait)))
        });
        for (contender, (speed, wait)) in CONTENDERS.iter().zip(medians) {
            let name = format!("{} ({label})", contender.name);
            println!("{name:<52} {speed:>14.0} {wait:>19.0} ms");
        }
        let [ours, theirs] = medians;
        bench.promise(
            ours.0 >= theirs.0 && ours.1 <= theirs.1,
            &format!(
                "moving the rows of {label}: no slower than pg_partman, and readers wait no longer: {:.2}x the rows a second, {:.2}x the wait",
                ours.0 / theirs.0,
                ours.1 / theirs.1
            ),
        );
    }
    Ok(())
}

fn moved(bench: &Bench, contender: &Contender, rows: u32, days: u32) -> anyhow::Result<Moved> {
    let database = bench.database()?;
    let mut client = database.session()?;
    client.batch_execute(TABLE)?;
    client.batch_execute(contender.prepare)?;
    client.batch_execute(&format!(
        "INSERT INTO events_default
         SELECT n, current_date - 1 - n % {days} + (n % 86400) * interval '1 second', 'row ' || n
         FROM generate_series(1, {rows}) n"
    ))?;
    client.batch_execute("CHECKPOINT")?;
    // Whoever reads the table takes this of each of its partitions.
    let mut time = Duration::ZERO;
    let wait = longest_wait(&database, "events", || {
        let begun = Instant::now();
        client.batch_execute(contender.moves)?;
        time = begun.elapsed();
        Ok(())
    })?;
    let row = client
        .query_one("SELECT count(*), (SELECT count(*) FROM events_default) FROM events", &[])
        .map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))?;
    anyhow::ensure!(row == (i64::from(rows), 0), "{}: {row:?} rows, and in the default", contender.name);
    Ok(Moved { time, wait })
}
