//! What it costs to find the rows that differ on another server, beside reladiff, and to compare the tables of two
//! servers, beside a snapshot of the schema here.

mod case;
mod compatibility;
mod contender;
mod growth;
mod rounds;

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, value_parser};
use opdb_e2e::cluster::{Cluster, Proxy};
use postgres::Client;

use self::case::Case;
use self::contender::Reladiff;
use super::report::Promises;
use crate::machine::Machine;
use crate::{extension, peers};

/// Nothing runs beside what is measured. Parallel query is as PostgreSQL has it.
const SETTINGS: [(&str, &str); 9] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    // Filling a new table writes no log.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("autovacuum", "off"),
    // It would be switched on by the estimated cost, and opdb switches it off for its own statements.
    ("jit", "off"),
    ("max_locks_per_transaction", "1024"),
    ("timezone", "UTC"),
];
/// The database of the test server.
const HERE: &str = "bench";

/// How much is measured.
#[derive(Args)]
pub struct Sizes {
    /// How many rows are compared
    #[arg(long, default_value_t = 2_000_000, value_parser = value_parser!(u32).range(10_000..))]
    pub rows: u32,
    /// How many tables `check_compatibility` compares
    #[arg(long, default_value_t = 2000, value_parser = value_parser!(u32).range(1..))]
    pub tables: u32,
    /// By how many milliseconds everything is delayed in each direction where a long wire is measured
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=1000))]
    pub delay: u64,
    /// How often each contender runs; once where half of the rows differ, and reladiff where one in a hundred does
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pub runs: u32,
}

/// Measures one thing after the other, and tells then what of the promises is kept. Fails only if a contender finds
/// other differences than there are.
pub fn run(pg: Option<u16>, sizes: &Sizes) -> anyhow::Result<()> {
    let machine = Machine::prepare(pg)?;
    let environment = machine.peers(&peers::COMPARE)?;
    extension::install(&machine)?;
    let start = || Cluster::start_temporary(&machine.installation, &SETTINGS);
    let (test, production) = (start()?, start()?);
    let wires = Wires::new(&test, &production, Duration::from_millis(sizes.delay))?;
    let reladiff = Reladiff::new(&environment, &[&test, &production], &wires)?;
    let mut bench = Bench { test, production, wires, reladiff, promises: Promises::default() };
    let cases = bench.events(sizes.rows)?;
    rounds::run(&mut bench, &cases, sizes).context("rounds")?;
    growth::run(&mut bench, sizes.rows).context("growth")?;
    compatibility::run(&mut bench, sizes).context("compatibility")?;
    bench.promises.print();
    Ok(())
}

/// Two clusters, what stands between them, and what was found out on them.
struct Bench {
    /// Has opdb.
    test: Cluster,
    /// Has nothing but PostgreSQL.
    production: Cluster,
    wires: Wires,
    reladiff: Reladiff,
    promises: Promises,
}

/// What counts the bytes and queries that pass.
struct Wires {
    /// To production.
    near: Proxy,
    /// To production, with a delay.
    far: Proxy,
    /// To the test server, for who is a client of both.
    beside: Proxy,
    delay: Duration,
}

/// The wire that production is at the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Near,
    Far,
}

impl Wires {
    fn new(test: &Cluster, production: &Cluster, delay: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            near: Proxy::start(production.port(), Duration::ZERO)?,
            far: Proxy::start(production.port(), delay)?,
            beside: Proxy::start(test.port(), Duration::ZERO)?,
            delay,
        })
    }

    const fn to_production(&self, distance: Distance) -> &Proxy {
        match distance {
            Distance::Near => &self.near,
            Distance::Far => &self.far,
        }
    }
}

impl Bench {
    /// The table on both servers, on production once for each case, with what each side of a case has.
    fn events(&self, rows: u32) -> anyhow::Result<Vec<(Case, contender::Found)>> {
        let begun = Instant::now();
        self.test.create_database(HERE)?;
        let mut here = self.here()?;
        here.batch_execute("CREATE EXTENSION opdb CASCADE")?;
        case::make_event(&mut here, rows)?;
        let mut made = Vec::new();
        for case in Case::ALL {
            made.push((case, case.make(&self.production, rows).with_context(|| case.name())?));
            self.register(&mut here, case.database(), Distance::Near)?;
            self.register(&mut here, case.database(), Distance::Far)?;
        }
        let kilobytes: i64 = here.query_one("SELECT pg_catalog.pg_table_size('event') / 1024", &[])?.get(0);
        println!(
            "\nmade a table of {rows} rows, {} MB, and {} databases of it on production, in {:.0} s",
            kilobytes / 1024,
            made.len(),
            begun.elapsed().as_secs_f64()
        );
        Ok(made)
    }

    /// A session on the test server that has done nothing yet.
    fn here(&self) -> anyhow::Result<Client> {
        self.test.connect_as_superuser(HERE)
    }

    /// Has opdb know a database of production.
    fn register(&self, client: &mut Client, database: &str, distance: Distance) -> anyhow::Result<()> {
        let (production, port) = (&self.production, self.wires.to_production(distance).port());
        let options = serde_json::json!({"host": production.host(), "port": port, "dbname": database});
        let credentials =
            serde_json::json!({"user": production.superuser(), "password": production.password()});
        client.execute(
            "SELECT opdb.register_environment($1, 'production', $2::text::jsonb, $3::text::jsonb)",
            &[&environment(database, distance), &options.to_string(), &credentials.to_string()],
        )?;
        Ok(())
    }
}

/// What opdb calls a database of production at the end of a wire.
fn environment(database: &str, distance: Distance) -> String {
    match distance {
        Distance::Near => database.to_owned(),
        Distance::Far => format!("{database}_far"),
    }
}
