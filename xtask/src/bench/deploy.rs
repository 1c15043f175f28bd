//! What it costs to bring a table to production with all that opdb checks and records, beside those who only copy it.

mod contender;
mod item;
mod rounds;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, value_parser};
use opdb_e2e::cluster::Cluster;

use self::item::Item;
use super::report::Promises;
use crate::extension;
use crate::machine::Machine;

/// Nothing runs beside what is measured. Production writes its log as a server with a standby does.
const SETTINGS: [(&str, &str); 6] = [
    ("shared_buffers", "512MB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    // It would be switched on by the estimated cost, for some of the contenders and not for others.
    ("jit", "off"),
    ("timezone", "UTC"),
];

/// How much is measured.
#[derive(Args)]
pub struct Sizes {
    /// How many rows the tables have
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000", value_parser = value_parser!(u32).range(1000..))]
    pub rows: Vec<u32>,
    /// How often each contender runs
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pub runs: u32,
}

/// Measures one size after the other, and tells then what of the promises is kept. Fails only if a contender does not
/// make production's table as the one here is.
pub fn run(pg: Option<u16>, sizes: &Sizes) -> anyhow::Result<()> {
    let machine = Machine::prepare(pg)?;
    extension::install(&machine)?;
    let start = || Cluster::start_temporary(&machine.installation, &SETTINGS);
    let servers = Servers { test: start()?, production: start()?, bin: machine.installation.bin.clone() };
    let mut promises = Promises::default();
    for rows in &sizes.rows {
        let item = Item::create(&servers, *rows).context("cannot make the table")?;
        rounds::run(&item, sizes.runs, &mut promises).with_context(|| format!("{rows} rows"))?;
    }
    promises.print();
    Ok(())
}

struct Servers {
    /// Has opdb.
    test: Cluster,
    /// Has nothing but PostgreSQL.
    production: Cluster,
    /// Where psql and pg_dump are.
    bin: PathBuf,
}
