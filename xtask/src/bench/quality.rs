//! What it costs to score the quality of a table, beside SQL written by hand, Great Expectations and Soda Core.

mod contender;
mod growth;
mod partitions;
mod rounds;
mod verdicts;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, value_parser};
use opdb_e2e::cluster::Cluster;
use opdb_e2e::quality_peers::{ORDERS, Rule, add_rules, rules};
use postgres::Client;

use super::report::Promises;
use crate::extension;
use crate::machine::Machine;
use crate::peers;

/// Nothing runs beside what is measured, and each backend works alone: its processor time is compared.
const SETTINGS: [(&str, &str); 9] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    // Filling a new table writes no log.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("autovacuum", "off"),
    // It would be switched on by the estimated cost, for some of the contenders and not for others.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("timezone", "UTC"),
];
const SCORE: &str = "SELECT * FROM opdb.quality_score('orders')";
const BY_HAND: &str = include_str!("quality/by_hand.sql");

/// How much is measured.
#[derive(Args)]
pub struct Sizes {
    /// How many rows are scored
    #[arg(long, default_value_t = 2_000_000, value_parser = value_parser!(u32).range(10_000..))]
    pub rows: u32,
    /// How many rows the large table has, for how time and memory grow; 0 leaves it out
    #[arg(long, default_value_t = 20_000_000)]
    pub large_rows: u32,
    /// How many daily partitions are scored, and again after a change of one
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(2..=1000))]
    pub days: u32,
    /// How many rows a partition has
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1000..))]
    pub rows_per_day: u32,
    /// How often each contender runs; the large table is scored once
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pub runs: u32,
}

/// Measures one thing after the other, and tells then what of the promises is kept. Fails only if a contender comes to
/// a result that nothing explains.
pub fn run(pg: Option<u16>, sizes: &Sizes) -> anyhow::Result<()> {
    let machine = Machine::prepare(pg)?;
    let environment = machine.peers(&peers::QUALITY)?;
    extension::install(&machine)?;
    let cluster = Cluster::start_temporary(&machine.installation, &SETTINGS)?;
    let mut bench = Bench { cluster, environment, rules: rules()?, promises: Promises::default() };
    let database = bench.orders("bench", sizes.rows)?;
    let findings = rounds::run(&mut bench, &database, sizes.runs).context("rounds")?;
    verdicts::check(&bench, &database, &findings).context("verdicts")?;
    if sizes.large_rows > 0 {
        growth::run(&mut bench, &database, sizes).context("growth")?;
    }
    partitions::run(&mut bench, sizes).context("partitions")?;
    bench.promises.print();
    Ok(())
}

/// A cluster, and what was found out on it.
struct Bench {
    cluster: Cluster,
    /// Where the peers are installed.
    environment: PathBuf,
    rules: Vec<Rule>,
    promises: Promises,
}

impl Bench {
    /// A database with the table `orders` and its rules.
    fn orders(&self, name: &str, rows: u32) -> anyhow::Result<Database> {
        let begun = Instant::now();
        let database = self.database(name)?;
        let mut client = self.session(&database)?;
        client.batch_execute(&format!(
            "BEGIN; {ORDERS};
             INSERT INTO orders SELECT * FROM made_orders(1, {rows}, '2026-01-01', '2026-01-31'); COMMIT"
        ))?;
        client.batch_execute("VACUUM (FREEZE, ANALYZE) orders")?;
        client.batch_execute("CHECKPOINT")?;
        add_rules(&mut client, "orders", &self.rules)?;
        println!("\nmade {rows} orders in {:.0} s", begun.elapsed().as_secs_f64());
        Ok(database)
    }

    fn database(&self, name: &str) -> anyhow::Result<Database> {
        self.cluster.create_database(name)?;
        let database = Database { name: name.to_owned() };
        self.session(&database)?.batch_execute("CREATE EXTENSION opdb CASCADE")?;
        Ok(database)
    }

    /// A session that has done nothing yet.
    fn session(&self, database: &Database) -> anyhow::Result<Client> {
        self.cluster.connect_as_superuser(&database.name)
    }

    /// The process whose children the backends are.
    fn postmaster(&self) -> anyhow::Result<u32> {
        let file = fs::read_to_string(self.cluster.data_dir().join("postmaster.pid"))?;
        Ok(file.lines().next().context("postmaster.pid is empty")?.parse()?)
    }

    /// Changes the table, so that nothing that is remembered of an earlier run counts.
    fn touch(&self, database: &Database) -> anyhow::Result<()> {
        let sql = "UPDATE orders SET quantity = quantity WHERE id = 1";
        Ok(self.session(database)?.batch_execute(sql)?)
    }
}

struct Database {
    name: String,
}

/// What a person would write who wants to know what opdb must measure: the rules that no constraint guarantees, and
/// what the types of the columns imply.
fn by_hand(table: &str) -> String {
    BY_HAND.replace("FROM orders", &format!("FROM {table}"))
}

/// That, with the digest of the rows that opdb takes in the same scan.
fn by_hand_with_digest() -> String {
    BY_HAND.replace("count(*) AS rows", "count(*) AS rows, sum(hash_record_extended(orders, 0)) AS digest")
}
