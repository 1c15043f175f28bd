//! Clients that insert while partitions come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Context;
use postgres::Client;

use super::{Bench, Database};

const TIME: Duration = Duration::from_secs(4);
const INSERT: &str = "INSERT INTO events VALUES ($1, now(), 'a row')";
const CONDITIONS: [(&str, Option<&str>); 3] = [
    ("no maintenance", None),
    ("maintenance of another table", Some("others")),
    ("maintenance of this table", Some("events")),
];

/// What clients got done.
#[derive(Default, Clone, Copy)]
struct Work {
    rows: u64,
    slowest: Duration,
    /// Partitions that were made, detached and dropped meanwhile.
    churned: u64,
}

pub fn run(bench: &mut Bench, clients: u32, runs: u32) -> anyhow::Result<()> {
    let database = bench.database()?;
    for table in ["events", "others"] {
        let mut client = database.session()?;
        client.batch_execute(&format!(
            "CREATE TABLE {table} (id bigint NOT NULL, at timestamptz NOT NULL, payload text, PRIMARY KEY (id, at))
             PARTITION BY RANGE (at)"
        ))?;
        client.batch_execute(&manage(table))?;
        client.batch_execute("CALL opdb.run_partition_maintenance()")?;
    }
    println!("\n== {clients} clients insert row by row while partitions are made, detached and dropped ==");
    println!("{:<52} {:>12} {:>14} {:>12}", "", "rows/second", "slowest, ms", "partitions/s");
    let mut found = [Work::default(); 3];
    for _ in 0..runs {
        for ((_, table), found) in CONDITIONS.iter().zip(&mut found) {
            let work = during(&database, clients, *table)?;
            found.rows += work.rows;
            found.slowest = found.slowest.max(work.slowest);
            found.churned += work.churned;
        }
    }
    let seconds = TIME.as_secs_f64() * f64::from(runs);
    for ((name, _), work) in CONDITIONS.iter().zip(found) {
        println!(
            "{name:<52} {:>12.0} {:>14.1} {:>12.1}",
            work.rows as f64 / seconds,
            super::milliseconds(work.slowest),
            work.churned as f64 / seconds
        );
    }
    let [none, elsewhere, here] = found.map(|work| work.rows as f64);
    println!(
        "throughput during maintenance: {:.2}x of that without; maintenance of another table leaves {:.2}x",
        here / none,
        elsewhere / none
    );
    bench.promise(
        here >= 0.8 * elsewhere,
        &format!(
            "inserting: at least 0.8x of what maintenance of another table leaves: {:.2}x",
            here / elsewhere
        ),
    );
    Ok(())
}

/// Makes the partitions of the last twenty days anew, most of which have expired.
fn manage(table: &str) -> String {
    format!(
        "SELECT opdb.manage_partitions('{table}', '1 day', premake => 4, start_at => now() - interval '20 days',
                                       retention => '3 days', retention_action => 'drop')"
    )
}

fn during(database: &Database, clients: u32, table: Option<&str>) -> anyhow::Result<Work> {
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let keeping = table.map(|table| scope.spawn(move || churn(database.session()?, table, is_over)));
        let inserting: Vec<_> = (0..clients)
            .map(|number| (database.session(), number))
            .map(|(client, number)| scope.spawn(move || insert(client?, number, is_over)))
            .collect();
        sleep(TIME);
        is_over.store(true, Ordering::Relaxed);
        let mut all = Work::default();
        for client in inserting {
            let (rows, slowest) = client.join().ok().context("a client is gone")??;
            all.rows += rows;
            all.slowest = all.slowest.max(slowest);
        }
        if let Some(keeping) = keeping {
            all.churned = keeping.join().ok().context("the maintenance is gone")??;
        }
        Ok(all)
    })
}

fn insert(mut client: Client, number: u32, is_over: &AtomicBool) -> anyhow::Result<(u64, Duration)> {
    let statement = client.prepare(INSERT)?;
    let first: i64 = client.query_one("SELECT (1000000 * extract(epoch FROM now()))::bigint", &[])?.get(0);
    let (mut rows, mut slowest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let id = (first + i64::try_from(rows)?) * 1000 + i64::from(number);
        client.execute(&statement, &[&id])?;
        slowest = slowest.max(begun.elapsed());
        rows += 1;
    }
    Ok((rows, slowest))
}

fn churn(mut client: Client, table: &str, is_over: &AtomicBool) -> anyhow::Result<u64> {
    let count = "SELECT count(*) FROM opdb.partition_runs WHERE action = 'drop' AND status = 'done'";
    let before: i64 = client.query_one(count, &[])?.get(0);
    while !is_over.load(Ordering::Relaxed) {
        client.batch_execute(&manage(table))?;
        client.batch_execute("CALL opdb.run_partition_maintenance()")?;
    }
    let after: i64 = client.query_one(count, &[])?.get(0);
    Ok(u64::try_from(after - before)?)
}
