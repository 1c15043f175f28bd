//! How long opdb takes to describe a schema, and how much memory, beside those who do nothing else.

use std::time::Instant;

use opdb_e2e::cluster::Cluster;
use postgres::Client;

use super::memory::Growth;
use super::report;
use super::rounds::Rounds;
use crate::extension;
use crate::machine::Machine;

/// pg_dump locks every table. Nothing else may be at work while something is measured.
const SETTINGS: [(&str, &str); 4] = [
    ("max_locks_per_transaction", "1024"),
    ("shared_buffers", "512MB"),
    ("autovacuum", "off"),
    ("max_wal_size", "8GB"),
];
const DATABASE: &str = include_str!("database.sql");
/// The name that the schema is captured under.
pub const CAPTURED: &str = "bench";
const MEASURED: [&str; 3] = [
    "SELECT opdb.schema_fingerprint()",
    "SELECT opdb.capture_schema('bench')",
    "SELECT opdb.validate_schema('bench')::text",
];

/// Measures databases of so many `tables`, each contender `runs` times.
pub fn run(pg: Option<u16>, tables: &[u32], runs: u32) -> anyhow::Result<()> {
    let machine = Machine::prepare(pg)?;
    extension::install(&machine)?;
    let cluster = Cluster::start_temporary(&machine.installation, &SETTINGS)?;
    for count in tables {
        let database = Database::create(&cluster, *count)?;
        let mut rounds = Rounds::new(&machine.installation, &database);
        for _ in 0..runs {
            rounds.run()?;
        }
        report::times(&rounds.times);
        let growths = database.growths()?;
        report::memory(&growths);
        report::promises(*count, &rounds.times, &growths);
    }
    Ok(())
}

/// Makes so many tables, and what belongs to them.
pub fn fill(client: &mut Client, tables: u32) -> anyhow::Result<()> {
    client.batch_execute(&format!("SET bench.tables = {tables}"))?;
    client.batch_execute(DATABASE)?;
    Ok(client.batch_execute("VACUUM ANALYZE")?)
}

/// A database whose schema is captured.
pub struct Database<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

impl<'a> Database<'a> {
    pub fn create(cluster: &'a Cluster, tables: u32) -> anyhow::Result<Self> {
        let started = Instant::now();
        let database = Self { cluster, name: format!("tables_{tables}") };
        cluster.create_database(&database.name)?;
        let mut client = database.session()?;
        fill(&mut client, tables)?;
        client.batch_execute("CREATE EXTENSION opdb CASCADE")?;
        let seconds = started.elapsed().as_secs_f64();
        client.query_one("SELECT opdb.capture_schema($1)", &[&CAPTURED])?;
        let facts: i64 = client
            .query_one("SELECT count(*) FROM opdb.schema_fact WHERE snapshot = $1", &[&CAPTURED])?
            .get(0);
        client.batch_execute("VACUUM ANALYZE opdb.schema_fact")?;
        println!("\n== {tables} tables: {facts} facts (made in {seconds:.0} s) ==");
        Ok(database)
    }

    /// A session that has read nothing of the catalogs yet.
    pub fn session(&self) -> anyhow::Result<Client> {
        self.cluster.connect_as_superuser(&self.name)
    }

    /// Changes the catalogs and changes them back, so that nothing that anybody remembers of them counts.
    pub fn touch(&self) -> anyhow::Result<()> {
        let mut client = self.session()?;
        for change in ["SET (fillfactor = 90)", "RESET (fillfactor)"] {
            client.batch_execute(&format!("ALTER TABLE feed_0.events_0 {change}"))?;
        }
        Ok(())
    }

    /// The memory of a fresh session for each function.
    fn growths(&self) -> anyhow::Result<Vec<(&'static str, Growth)>> {
        let growth = |sql| {
            self.touch()?;
            Ok((sql, Growth::of(self.session()?, sql)?))
        };
        MEASURED.into_iter().map(growth).collect()
    }
}
