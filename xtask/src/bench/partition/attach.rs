//! A new partition beside a large default one.

use std::time::Duration;

use super::probe::longest_wait;
use super::{Bench, Database, median, milliseconds};

pub fn run(bench: &mut Bench, rows: u32, runs: u32) -> anyhow::Result<()> {
    let database = bench.database()?;
    prepare(&database, rows)?;
    println!(
        "\n== attaching beside a default partition of {rows} rows: how long a reader of it waits, in ms =="
    );
    println!("{:<52} {:>10} {:>10}", "longest wait of a run", "median", "longest");
    let (mut opdb, mut bare) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        database.session()?.batch_execute(&format!(
            "SET client_min_messages = warning;
             SELECT opdb.manage_partitions('events', '1 day', premake => {}, retention => '30 days')",
            4 + run
        ))?;
        let before = partitions(&database)?;
        opdb.push(wait(&database, "CALL opdb.run_partition_maintenance()")?);
        let made = partitions(&database)? - before;
        anyhow::ensure!(made == if run == 1 { 6 } else { 1 }, "{made} partitions were made");
        database.session()?.batch_execute(&format!("CREATE TABLE far_{run} (LIKE events INCLUDING ALL)"))?;
        let ddl = format!(
            "ALTER TABLE events ATTACH PARTITION far_{run} FOR VALUES
             FROM (timestamptz '2090-01-01' + interval '{run} days') TO (timestamptz '2090-01-02' + interval '{run} days')"
        );
        bare.push(wait(&database, &ddl)?);
    }
    print("CALL opdb.run_partition_maintenance()", &opdb);
    print("ALTER TABLE … ATTACH PARTITION", &bare);
    let (ours, theirs) = (median(&opdb), median(&bare));
    bench.promise(
        milliseconds(ours) < 10.0,
        &format!(
            "attaching: a reader of the default partition waits < 10 ms: {} (bare ATTACH {})",
            shown(ours),
            shown(theirs)
        ),
    );
    Ok(())
}

/// The rows are older than the retention, so that nobody moves them.
fn prepare(database: &Database, rows: u32) -> anyhow::Result<()> {
    Ok(database.session()?.batch_execute(&format!(
        "CREATE TABLE events (id bigint NOT NULL, at timestamptz NOT NULL, payload text) PARTITION BY RANGE (at);
         CREATE TABLE events_default PARTITION OF events DEFAULT;
         INSERT INTO events_default
         SELECT n, '2020-01-01'::timestamptz + n * interval '4 seconds', 'row ' || n FROM generate_series(1, {rows}) n;
         CREATE INDEX ON events (at)"
    ))?)
}

fn wait(database: &Database, sql: &str) -> anyhow::Result<Duration> {
    let mut client = database.session()?;
    longest_wait(database, "ONLY events_default", || Ok(client.batch_execute(sql)?))
}

fn partitions(database: &Database) -> anyhow::Result<i64> {
    let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
    Ok(database.session()?.query_one(sql, &[])?.get(0))
}

fn print(name: &str, waits: &[Duration]) {
    let longest = waits.iter().copied().max().unwrap_or_default();
    println!("{name:<52} {:>10} {:>10}", shown(median(waits)), shown(longest));
}

/// The server tells of no shorter waits.
fn shown(wait: Duration) -> String {
    match milliseconds(wait) {
        wait if wait < 1.0 => "< 1".into(),
        wait => format!("{wait:.1}"),
    }
}
