//! The table that is brought to production, and in what state each contender finds it.

use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use opdb_e2e::cluster::Cluster;
use postgres::Client;

use super::Servers;
use crate::process::command;

const ITEM: &str = include_str!("item.sql");
const FILL: &str = include_str!("fill.sql");
/// What two tables have in common if they hold the same rows.
const CONTENT: &str = "SELECT count(*), sum(hash_record_extended(item, 0))::text FROM item";

/// The table with so many rows, in databases of its own: one here, two on production. opdb has one of these for
/// itself, so that nobody else has written to what it deployed before.
pub struct Item<'a> {
    pub rows: u32,
    servers: &'a Servers,
    /// Here, and where opdb deploys to.
    database: String,
    /// Where its peers copy to.
    peers: String,
}

/// A database of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Opdb,
    Peers,
}

impl<'a> Item<'a> {
    pub fn create(servers: &'a Servers, rows: u32) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let item = Self { rows, servers, database: format!("item_{rows}"), peers: format!("peers_{rows}") };
        for target in [Target::Opdb, Target::Peers] {
            servers.production.create_database(item.database(target))?;
            item.there(target)?.batch_execute(ITEM)?;
        }
        servers.test.create_database(&item.database)?;
        let mut here = item.here()?;
        here.batch_execute(&format!(
            "CREATE EXTENSION opdb CASCADE; SET bench.rows = {rows}; {ITEM} {FILL}"
        ))?;
        here.batch_execute("VACUUM (FREEZE, ANALYZE) item")?;
        item.make_foreign_table(&mut here)?;
        item.register(&mut here)?;
        let kilobytes: i64 = here.query_one("SELECT pg_catalog.pg_table_size('item') / 1024", &[])?.get(0);
        println!(
            "\nmade a table of {rows} rows, {} MB, in {:.0} s",
            kilobytes / 1024,
            begun.elapsed().as_secs_f64()
        );
        Ok(item)
    }

    /// `peers.item`, which is the table that the peers copy to.
    fn make_foreign_table(&self, here: &mut Client) -> anyhow::Result<()> {
        let production = &self.servers.production;
        let (host, port, database) = (production.host(), production.port(), self.database(Target::Peers));
        let (user, password) = (production.superuser(), production.password());
        here.batch_execute(&format!(
            "CREATE SERVER peers FOREIGN DATA WRAPPER postgres_fdw
                 OPTIONS (host '{host}', port '{port}', dbname '{database}', batch_size '1000');
             CREATE USER MAPPING FOR CURRENT_USER SERVER peers OPTIONS (user '{user}', password '{password}');
             CREATE SCHEMA peers;
             IMPORT FOREIGN SCHEMA public LIMIT TO (item) FROM SERVER peers INTO peers"
        ))?;
        Ok(())
    }

    /// Has opdb know both ends, and the schema as it shall be.
    fn register(&self, here: &mut Client) -> anyhow::Result<()> {
        let production = &self.servers.production;
        let database = self.database(Target::Opdb);
        let options =
            serde_json::json!({"host": production.host(), "port": production.port(), "dbname": database});
        let credentials =
            serde_json::json!({"user": production.superuser(), "password": production.password()});
        here.execute("SELECT opdb.set_environment('test', 'test')", &[])?;
        here.execute(
            "SELECT opdb.register_environment('production', 'production', $1::text::jsonb, $2::text::jsonb)",
            &[&options.to_string(), &credentials.to_string()],
        )?;
        here.execute("SELECT opdb.capture_schema()", &[])?;
        Ok(())
    }

    fn database(&self, target: Target) -> &str {
        match target {
            Target::Opdb => &self.database,
            Target::Peers => &self.peers,
        }
    }

    /// A session on the test server that has done nothing yet.
    pub fn here(&self) -> anyhow::Result<Client> {
        self.servers.test.connect_as_superuser(&self.database)
    }

    fn there(&self, target: Target) -> anyhow::Result<Client> {
        self.servers.production.connect_as_superuser(self.database(target))
    }

    /// A program of this PostgreSQL that connects to the test server.
    pub fn program_here(&self, name: &str) -> Command {
        self.program(name, &self.servers.test, &self.database)
    }

    /// A program of this PostgreSQL that connects to where the peers copy to.
    pub fn program_there(&self, name: &str) -> Command {
        self.program(name, &self.servers.production, self.database(Target::Peers))
    }

    fn program(&self, name: &str, cluster: &Cluster, database: &str) -> Command {
        let mut program = command(self.servers.bin.join(name));
        program
            .env("PGHOST", cluster.host())
            .env("PGPORT", cluster.port().to_string())
            .env("PGUSER", cluster.superuser())
            .env("PGPASSWORD", cluster.password())
            .env("PGDATABASE", database);
        program
    }

    /// Leaves no row there, and nothing that opdb keeps there of deployments.
    pub fn empty(&self, target: Target) -> anyhow::Result<()> {
        self.there(target)?.batch_execute("TRUNCATE item; DROP SCHEMA IF EXISTS opdb_deploy CASCADE")?;
        Ok(())
    }

    /// Leaves no table where the peers copy to.
    pub fn drop_table(&self) -> anyhow::Result<()> {
        Ok(self.there(Target::Peers)?.batch_execute("DROP TABLE item")?)
    }

    /// Changes every 100th row here. What autovacuum would have done meanwhile is done on both sides.
    pub fn change(&self) -> anyhow::Result<()> {
        let sql = "UPDATE item SET quantity = quantity + 1 WHERE id % 100 = 0";
        let changed = self.here()?.execute(sql, &[])?;
        anyhow::ensure!(changed == u64::from(self.rows / 100), "{changed} rows of {} changed", self.rows);
        for mut client in [self.here()?, self.there(Target::Opdb)?] {
            client.batch_execute("VACUUM (ANALYZE) item")?;
        }
        Ok(())
    }

    /// Nobody then writes what others have left in memory, and whoever changes a page logs it whole, as right after any
    /// checkpoint.
    pub fn checkpoint(&self) -> anyhow::Result<()> {
        for mut client in [self.here()?, self.there(Target::Opdb)?] {
            client.batch_execute("CHECKPOINT")?;
        }
        Ok(())
    }

    /// Fails unless that deployment was applied.
    pub fn check_applied(&self, deployment: i64) -> anyhow::Result<()> {
        let sql = "SELECT state, error FROM opdb.deployments WHERE deployment_id = $1";
        let row = self.here()?.query_opt(sql, &[&deployment])?;
        let row = row.with_context(|| format!("deployment {deployment} is not recorded"))?;
        let (state, error): (&str, Option<&str>) = (row.get(0), row.get(1));
        anyhow::ensure!(
            state == "applied",
            "deployment {deployment} is {state}: {}",
            error.unwrap_or("no error")
        );
        Ok(())
    }

    /// Fails unless the table there has the rows that are here.
    pub fn check_alike(&self, target: Target) -> anyhow::Result<()> {
        let content = |mut client: Client| {
            let row = client.query_one(CONTENT, &[])?;
            anyhow::Ok((row.get::<_, i64>(0), row.get::<_, Option<String>>(1)))
        };
        let (here, there) = (content(self.here()?)?, content(self.there(target)?)?);
        anyhow::ensure!(here == there, "the table here is {here:?}, and that of production {there:?}");
        anyhow::ensure!(here.0 == i64::from(self.rows), "{} rows are left of {}", here.0, self.rows);
        Ok(())
    }
}
