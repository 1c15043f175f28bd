//! How late jobs begin when a thousand are due in one minute, and what waiting for jobs costs, beside pg_cron.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use opdb_e2e::cluster::{Cluster, Shutdown};
use postgres::Client;

use super::usage::Usage;
use crate::extension;
use crate::machine::Machine;

/// As people run it, but for what would be measured beside it.
const SETTINGS: [(&str, &str); 10] = [
    ("shared_preload_libraries", "opdb, pg_cron"),
    ("fsync", "on"),
    ("max_worker_processes", "80"),
    ("max_connections", "200"),
    ("opdb.max_running_jobs", "32"),
    ("cron.database_name", "bench"),
    ("cron.max_running_jobs", "32"),
    ("cron.host", "127.0.0.1"),
    ("autovacuum", "off"),
    ("cron.log_statement", "off"),
];
const SEEN: &str = "INSERT INTO seen VALUES ($$'opdb'$$, clock_timestamp())";

/// Lets `jobs` jobs be due in one minute, and then measures for `idle` that nothing is.
pub fn run(pg: Option<u16>, jobs: u32, idle: Duration) -> anyhow::Result<()> {
    let machine = Machine::prepare(pg)?;
    machine.ensure_peers()?;
    extension::install(&machine)?;
    let cluster = Cluster::start_temporary(&machine.installation, &SETTINGS)?;
    trust_everybody(&cluster)?;
    cluster.create_database("bench")?;
    let mut client = cluster.connect_as_superuser("bench")?;
    client.batch_execute(
        "CREATE EXTENSION opdb CASCADE; CREATE EXTENSION pg_cron; CREATE ROLE runner LOGIN SUPERUSER;
         CREATE TABLE seen (runner text, at timestamptz)",
    )?;
    println!("\n== {jobs} jobs that are due in one minute: how late each begins, in ms ==");
    println!("{:<34} {:>8} {:>8} {:>8} {:>8}", "", "median", "p90", "p99", "last");
    let opdb = burst(&mut client, jobs, "opdb", add_to_opdb, "SELECT opdb.drop_job(name) FROM opdb.jobs")?;
    let unschedule = "SELECT cron.unschedule(jobid) FROM cron.job";
    let by_connections = burst(&mut client, jobs, "pg_cron (connections)", add_to_pg_cron, unschedule)?;
    drop(client);
    let mut client = with_background_workers(&cluster)?;
    let by_workers = burst(&mut client, jobs, "pg_cron (background workers)", add_to_pg_cron, unschedule)?;
    let costs = idle_costs(&mut client, idle)?;
    let peer = by_connections.p99.min(by_workers.p99);
    let is_reached = |reached: bool| if reached { "reached" } else { "NOT reached" };
    println!("\nlatency no worse (p99): {} ({:.2}x)", is_reached(opdb.p99 <= peer), opdb.p99 / peer);
    let [ours, theirs] = costs;
    println!(
        "idle cost no higher: {} (CPU {:.2}x, wake-ups {:.2}x)",
        is_reached(ours.cpu <= theirs.cpu && ours.wake_ups <= theirs.wake_ups),
        ours.cpu / theirs.cpu,
        ours.wake_ups / theirs.wake_ups
    );
    Ok(())
}

/// pg_cron connects as the jobs' roles without passwords.
fn trust_everybody(cluster: &Cluster) -> anyhow::Result<()> {
    let path = cluster.data_dir().join("pg_hba.conf");
    let rules = fs::read_to_string(&path)?;
    fs::write(&path, format!("host bench runner 127.0.0.1/32 trust\n{rules}"))?;
    cluster.restart(Shutdown::Fast)
}

fn with_background_workers(cluster: &Cluster) -> anyhow::Result<Client> {
    let mut client = cluster.connect_as_superuser("bench")?;
    client.batch_execute("ALTER SYSTEM SET cron.use_background_workers = on")?;
    drop(client);
    cluster.restart(Shutdown::Fast)?;
    cluster.connect_as_superuser("bench")
}

fn command(runner: &str) -> String {
    SEEN.replace("$$'opdb'$$", &format!("'{runner}'"))
}

fn add_to_opdb(client: &mut Client, number: u32) -> anyhow::Result<()> {
    let sql = r#"SELECT opdb.add_job($1, '* * * * *', $2, options => '{"role": "runner"}')"#;
    client.execute(sql, &[&format!("job {number}"), &command("opdb")])?;
    Ok(())
}

fn add_to_pg_cron(client: &mut Client, number: u32) -> anyhow::Result<()> {
    let sql = "SELECT cron.schedule_in_database($1, '* * * * *', $2, 'bench', 'runner', true)";
    client.execute(sql, &[&format!("job {number}"), &command("pg_cron")])?;
    Ok(())
}

struct Latency {
    p99: f64,
}

/// Registers the jobs, lets one minute's worth of them run, and forgets them.
fn burst(
    client: &mut Client,
    jobs: u32,
    name: &str,
    add: fn(&mut Client, u32) -> anyhow::Result<()>,
    forget: &str,
) -> anyhow::Result<Latency> {
    client.batch_execute("TRUNCATE seen; CHECKPOINT")?;
    // All of them before the same full minute.
    wait_for_second(client, 5, 25)?;
    client.batch_execute("BEGIN")?;
    (0..jobs).try_for_each(|number| add(client, number))?;
    client.batch_execute("COMMIT")?;
    let due: f64 = client
        .query_one(
            "SELECT extract(epoch FROM date_trunc('minute', now()) + interval '1 minute')::float8",
            &[],
        )?
        .get(0);
    let deadline = Instant::now() + Duration::from_secs(110);
    let since_due = "SELECT count(*) FROM seen WHERE at >= to_timestamp($1)";
    while client.query_one(since_due, &[&due])?.get::<_, i64>(0) < i64::from(jobs) {
        anyhow::ensure!(Instant::now() < deadline, "{name}: not all jobs ran in time");
        sleep(Duration::from_millis(250));
    }
    client.batch_execute(forget)?;
    let row = client.query_one(
        "WITH first AS (SELECT 1000 * (extract(epoch FROM at)::float8 - $1) AS late FROM seen
                        WHERE at >= to_timestamp($1) ORDER BY at LIMIT $2)
         SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY late) FROM first",
        &[&due, &i64::from(jobs)],
    )?;
    let late: Vec<f64> = row.get(0);
    println!("{name:<34} {:>8.0} {:>8.0} {:>8.0} {:>8.0}", late[0], late[1], late[2], late[3]);
    wait_until_quiet(client)?;
    Ok(Latency { p99: late[2] })
}

/// Waits until the clock's second is between the two, so that nothing is due for a while.
fn wait_for_second(client: &mut Client, from: i32, to: i32) -> anyhow::Result<()> {
    loop {
        let second: i32 = client.query_one("SELECT extract(second FROM clock_timestamp())::int", &[])?.get(0);
        if (from..=to).contains(&second) {
            return Ok(());
        }
        sleep(Duration::from_millis(200));
    }
}

fn wait_until_quiet(client: &mut Client) -> anyhow::Result<()> {
    let busy = "SELECT count(*) FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND (backend_type IN ('opdb job', 'opdb dispatcher') OR usename = 'runner')";
    while client.query_one(busy, &[])?.get::<_, i64>(0) > 0 {
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// What a process costs in an hour.
struct Cost {
    /// Seconds of processor time.
    cpu: f64,
    wake_ups: f64,
}

/// Both launchers over the same time, each with one job that is not due.
fn idle_costs(client: &mut Client, time: Duration) -> anyhow::Result<[Cost; 2]> {
    client.batch_execute(
        r#"SELECT opdb.add_job('far', '0 0 1 1 *', 'SELECT 1', options => '{"role": "runner"}');
           SELECT cron.schedule('far', '0 0 1 1 *', 'SELECT 1')"#,
    )?;
    wait_until_quiet(client)?;
    sleep(Duration::from_secs(5));
    let pids = ["opdb launcher", "pg_cron launcher"].map(|backend_type| {
        let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = $1 OR application_name = $2";
        let other = if backend_type.starts_with("opdb") { backend_type } else { "pg_cron scheduler" };
        client.query_one(sql, &[&backend_type, &other]).map(|row| row.get::<_, i32>(0))
    });
    let [ours, theirs] = pids;
    let pids = [ours.context("no launcher of opdb runs")?, theirs.context("no launcher of pg_cron runs")?];
    let before = pids.map(Usage::of);
    sleep(time);
    let after = pids.map(Usage::of);
    println!("\n== waiting, per hour (measured over {} s) ==", time.as_secs());
    println!("{:<34} {:>12} {:>12}", "", "CPU seconds", "wake-ups");
    let per_hour = 3600.0 / time.as_secs_f64();
    let mut costs = Vec::new();
    for (name, (before, after)) in ["opdb", "pg_cron"].iter().zip(before.into_iter().zip(after)) {
        let (before, after) = (before?, after?);
        let cost = Cost {
            cpu: (after.nanoseconds - before.nanoseconds) as f64 / 1e9 * per_hour,
            wake_ups: (after.switches - before.switches) as f64 * per_hour,
        };
        println!("{name:<34} {:>12.4} {:>12.0}", cost.cpu, cost.wake_ups);
        costs.push(cost);
    }
    costs.try_into().map_err(|_| anyhow::anyhow!("two processes were measured"))
}
