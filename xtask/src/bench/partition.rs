//! What it costs to make, to keep and to retire partitions, beside pg_partman and bare DDL.

mod attach;
mod creation;
mod idle;
mod insert;
mod probe;
mod stray;

use anyhow::Context;
use clap::{Args, value_parser};
use opdb_e2e::cluster::Cluster;
use postgres::Client;

use super::report::{Promises, median, milliseconds};
use super::usage::{Cost, ratio};
use crate::extension;
use crate::machine::Machine;

/// Nothing runs beside what is measured; a thousand partitions are dropped in one transaction.
const SETTINGS: [(&str, &str); 6] = [
    ("shared_buffers", "256MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    ("max_locks_per_transaction", "1024"),
    ("autovacuum", "off"),
    ("timezone", "UTC"),
];
const TEMPLATE: &str = "bench_template";

/// How much is measured.
#[derive(Args)]
pub struct Sizes {
    /// How many daily partitions are made at once
    #[arg(long, default_value_t = 365, value_parser = value_parser!(u32).range(1..=1000))]
    pub days: u32,
    /// How many tables of 100 partitions have nothing to do; half as many and twice as many are looked at, too
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(2..))]
    pub parents: u32,
    /// How many rows are in a default partition that a partition is attached beside
    #[arg(long, default_value_t = 2_000_000, value_parser = value_parser!(u32).range(1..))]
    pub default_rows: u32,
    /// How many rows are moved out of a default partition
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(10..))]
    pub moved_rows: u32,
    /// How many clients insert during maintenance
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(1..))]
    pub clients: u32,
    /// How often each contender runs; only half as often where rows are moved
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pub runs: u32,
}

/// Measures one thing after the other, and tells then what of the promises is kept.
pub fn run(pg: Option<u16>, sizes: &Sizes) -> anyhow::Result<()> {
    let machine = Machine::prepare(pg)?;
    machine.ensure_peers()?;
    extension::install(&machine)?;
    let cluster = Cluster::start_temporary(&machine.installation, &SETTINGS)?;
    let bench = Bench { cluster, promises: Promises::default() };
    bench.cluster.create_database(TEMPLATE)?;
    bench.cluster.connect_as_superuser(TEMPLATE)?.batch_execute(
        "CREATE EXTENSION opdb CASCADE; CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman",
    )?;
    bench.measure(sizes)
}

/// A cluster, and what was found out on it.
struct Bench {
    cluster: Cluster,
    promises: Promises,
}

impl Bench {
    fn measure(mut self, sizes: &Sizes) -> anyhow::Result<()> {
        creation::run(&mut self, sizes.days, sizes.runs).context("creation")?;
        idle::run(&mut self, sizes.parents, sizes.runs).context("nothing to do")?;
        attach::run(&mut self, sizes.default_rows, sizes.runs).context("attaching")?;
        stray::run(&mut self, sizes.moved_rows, sizes.runs.div_ceil(2)).context("moving rows")?;
        insert::run(&mut self, sizes.clients, sizes.runs).context("inserting")?;
        self.promises.print();
        Ok(())
    }

    fn promise(&mut self, is_kept: bool, text: &str) {
        self.promises.add(is_kept, text);
    }

    /// A database with both extensions, whose catalogs nobody has used yet.
    fn database(&self) -> anyhow::Result<Database<'_>> {
        let database = Database { cluster: &self.cluster };
        database.drop()?;
        self.cluster
            .connect_as_superuser("postgres")?
            .batch_execute(&format!("CREATE DATABASE bench TEMPLATE {TEMPLATE}"))?;
        Ok(database)
    }
}

/// There is only one at a time.
struct Database<'a> {
    cluster: &'a Cluster,
}

impl Database<'_> {
    fn session(&self) -> anyhow::Result<Client> {
        self.cluster.connect_as_superuser("bench")
    }

    fn drop(&self) -> anyhow::Result<()> {
        let mut client = self.cluster.connect_as_superuser("postgres")?;
        Ok(client.batch_execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")?)
    }
}
