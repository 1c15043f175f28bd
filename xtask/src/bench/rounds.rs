//! The contenders, one after the other, again and again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use opdb_core::schema::statement::{SETTINGS, Scope};
use opdb_core::session::PINNED;
use opdb_e2e::cluster::Installation;
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator as _;

use super::schema::{CAPTURED, Database};
use crate::process::{command, run};

const FINGERPRINT: &str = "SELECT opdb.schema_fingerprint()";

/// Where nothing else is said: in a fresh session, connecting included, right after a change of the catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Fingerprint,
    FingerprintAgain,
    Capture,
    BareSql,
    PgDump,
    FingerprintUnchanged,
    ValidateUnchanged,
    Validate,
    ValidateAgain,
    ValidateElsewhere,
}

impl What {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fingerprint => "schema_fingerprint()",
            Self::FingerprintAgain => "schema_fingerprint(), again in that session",
            Self::Capture => "capture_schema()",
            Self::BareSql => "the bare SQL",
            Self::PgDump => "pg_dump -s",
            Self::FingerprintUnchanged => "schema_fingerprint(), unchanged since captured",
            Self::ValidateUnchanged => "validate_schema(), unchanged since captured",
            Self::Validate => "validate_schema()",
            Self::ValidateAgain => "validate_schema(), again in that session",
            Self::ValidateElsewhere => "validate_schema(), then in a fresh session",
        }
    }
}

pub type Times = BTreeMap<What, Vec<Duration>>;

pub struct Rounds<'a> {
    database: &'a Database<'a>,
    pg_dump: PathBuf,
    pub times: Times,
}

impl<'a> Rounds<'a> {
    pub fn new(installation: &Installation, database: &'a Database) -> Self {
        Self { database, pg_dump: installation.bin.join("pg_dump"), times: Times::new() }
    }

    /// Has every contender run once.
    pub fn run(&mut self) -> anyhow::Result<()> {
        self.fingerprint()?;
        self.pg_dump()?;
        self.bare_sql()?;
        self.capture()?;
        self.validate()
    }

    fn measured<T>(
        &mut self,
        what: What,
        work: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work(self).context(what.name())?;
        self.times.entry(what).or_default().push(started.elapsed());
        Ok(result)
    }

    fn fingerprint(&mut self) -> anyhow::Result<()> {
        self.database.touch()?;
        let mut client = self.measured(What::Fingerprint, |this| this.fresh(FINGERPRINT))?;
        self.measured(What::FingerprintAgain, |_| Ok(client.batch_execute(FINGERPRINT)?))
    }

    fn capture(&mut self) -> anyhow::Result<()> {
        self.database.touch()?;
        self.measured(What::Capture, |this| {
            this.fresh(&format!("SELECT opdb.capture_schema('{CAPTURED}')"))
        })?;
        // What it left behind must not slow the next one.
        self.database.session()?.batch_execute("VACUUM ANALYZE opdb.schema_fact")?;
        self.measured(What::FingerprintUnchanged, |this| this.fresh(FINGERPRINT))?;
        self.measured(What::ValidateUnchanged, |this| check_valid(&mut this.database.session()?))
    }

    fn fresh(&self, sql: &str) -> anyhow::Result<Client> {
        let mut client = self.database.session()?;
        client.batch_execute(sql)?;
        Ok(client)
    }

    /// What opdb runs, every row fetched and nothing done with it.
    fn bare_sql(&mut self) -> anyhow::Result<()> {
        self.database.touch()?;
        self.measured(What::BareSql, |this| {
            let mut client = this.database.session()?;
            let mut transaction = client.transaction()?;
            for (name, value) in PINNED.iter().chain(&SETTINGS) {
                transaction
                    .batch_execute(&format!("SET LOCAL {name} = {value}", value = setting(name, value)))?;
            }
            for statement in Scope::Database.statements() {
                let sql = Scope::Database.sql(statement, true);
                let mut rows = transaction.query_raw(&sql, std::iter::empty::<i32>())?;
                while rows.next()?.is_some() {}
            }
            Ok(transaction.commit()?)
        })
    }

    fn pg_dump(&mut self) -> anyhow::Result<()> {
        self.database.touch()?;
        self.measured(What::PgDump, |this| {
            let Database { cluster, name } = this.database;
            let mut dump = command(&this.pg_dump);
            dump.args(["-s", "-f", "/dev/null", "-h", cluster.host(), "-U", cluster.superuser(), "-d", name]);
            dump.arg("-p").arg(cluster.port().to_string());
            run(dump.env("PGPASSWORD", cluster.password()))
        })
    }

    fn validate(&mut self) -> anyhow::Result<()> {
        self.database.touch()?;
        let mut client = self.measured(What::Validate, |this| {
            let mut client = this.database.session()?;
            check_valid(&mut client)?;
            Ok(client)
        })?;
        self.commit_something()?;
        self.measured(What::ValidateAgain, |_| check_valid(&mut client))?;
        self.commit_something()?;
        self.measured(What::ValidateElsewhere, |this| check_valid(&mut this.database.session()?))
    }

    /// On a server at work somebody has always committed something since.
    fn commit_something(&self) -> anyhow::Result<()> {
        Ok(self.database.session()?.batch_execute("SELECT pg_current_xact_id()")?)
    }
}

/// A list of schemas is no string.
fn setting(name: &str, value: &str) -> String {
    if name == "search_path" { value.to_owned() } else { format!("'{value}'") }
}

fn check_valid(client: &mut Client) -> anyhow::Result<()> {
    let sql = "SELECT (opdb.validate_schema($1) ->> 'valid')::boolean";
    let valid: bool = client.query_one(sql, &[&CAPTURED])?.get(0);
    anyhow::ensure!(valid, "the schema is not as it was captured");
    Ok(())
}
