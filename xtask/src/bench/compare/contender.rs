//! Who is measured, and what passes on the wires meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use opdb_e2e::cluster::{Cluster, Proxy, temporary_directory};
use tempfile::TempDir;

use super::case::Case;
use super::{Bench, Distance, HERE, Wires, environment};
use crate::process::command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    Opdb,
    Reladiff,
}

/// What differs: rows that are here only, there only, and on both sides, but not the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub missing: u64,
    pub extra: u64,
    pub changed: u64,
}

/// What has passed between a contender and the servers.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Both directions of the wire to production.
    pub bytes: u64,
    /// Messages with SQL to production.
    pub messages: usize,
    /// Those that do more than begin or end a transaction.
    pub queries: usize,
    /// The same on the way to the test server, if a client of it is needed.
    pub queries_here: usize,
}

impl Traffic {
    /// Each by itself the greater of two.
    fn most(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.max(other.bytes),
            messages: self.messages.max(other.messages),
            queries: self.queries.max(other.queries),
            queries_here: self.queries_here.max(other.queries_here),
        }
    }

    /// Each by itself the smaller of two.
    fn least(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.min(other.bytes),
            messages: self.messages.min(other.messages),
            queries: self.queries.min(other.queries),
            queries_here: self.queries_here.min(other.queries_here),
        }
    }
}

pub struct Run {
    pub wall: Duration,
    pub traffic: Traffic,
    pub found: Found,
}

impl Contender {
    pub const ALL: [Self; 2] = [Self::Opdb, Self::Reladiff];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Opdb => "opdb",
            Self::Reladiff => "reladiff -j4",
        }
    }

    /// Of two runs: reladiff's ranges of keys depend on which server answers first.
    pub fn traffic(self, one: Traffic, other: Traffic) -> Traffic {
        match self {
            Self::Opdb => one.most(other),
            Self::Reladiff => one.least(other),
        }
    }

    /// In fresh sessions, connecting included.
    pub fn run(self, bench: &Bench, case: Case, distance: Distance) -> anyhow::Result<Run> {
        let production = bench.wires.to_production(distance);
        production.reset();
        bench.wires.beside.reset();
        let begun = Instant::now();
        let found = match self {
            Self::Opdb => opdb(bench, &environment(case.database(), distance))?,
            Self::Reladiff => bench.reladiff.run(&bench.wires.beside, production, case.database())?,
        };
        let wall = begun.elapsed();
        let messages = production.queries();
        let traffic = Traffic {
            bytes: production.bytes(),
            messages: messages.len(),
            queries: queries(&messages),
            queries_here: queries(&bench.wires.beside.queries()),
        };
        Ok(Run { wall, traffic, found })
    }
}

/// What is measured of opdb.
pub fn comparing(environment: &str) -> String {
    format!("SELECT difference, count(*) FROM opdb.compare_data('{environment}', 'event') GROUP BY 1")
}

fn opdb(bench: &Bench, environment: &str) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for row in bench.here()?.query(&comparing(environment), &[])? {
        let count = u64::try_from(row.get::<_, i64>(1))?;
        match row.get(0) {
            "missing" => found.missing = count,
            "extra" => found.extra = count,
            "changed" => found.changed = count,
            other => anyhow::bail!("opdb says of {count} rows that they are {other}"),
        }
    }
    Ok(found)
}

/// How many messages are more than the beginning or the end of a transaction.
fn queries(messages: &[String]) -> usize {
    let is_frame = |message: &&String| {
        let sql = message.trim_matches(|c: char| c == '\0' || c == ';' || c.is_whitespace());
        ["BEGIN", "COMMIT", "ROLLBACK"].iter().any(|frame| frame.eq_ignore_ascii_case(sql))
    };
    messages.len() - messages.iter().filter(is_frame).count()
}

/// The program, and the file with the passwords that it needs.
pub struct Reladiff {
    program: PathBuf,
    passwords: TempDir,
    user: String,
    host: &'static str,
}

impl Reladiff {
    pub fn new(environment: &Path, clusters: &[&Cluster; 2], wires: &Wires) -> anyhow::Result<Self> {
        let [test, production] = clusters;
        let line = |proxy: &Proxy, cluster: &Cluster| {
            let (host, user) = (cluster.host(), cluster.superuser());
            format!("{host}:{}:*:{user}:{}\n", proxy.port(), cluster.password())
        };
        let lines = [line(&wires.beside, test), line(&wires.near, production), line(&wires.far, production)];
        let reladiff = Self {
            program: environment.join("bin/reladiff"),
            passwords: temporary_directory()?,
            user: test.superuser().to_owned(),
            host: test.host(),
        };
        let file = reladiff.password_file();
        fs::write(&file, lines.concat())?;
        // libpq ignores a file that others can read.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(reladiff)
    }

    fn password_file(&self) -> PathBuf {
        self.passwords.path().join("pgpass")
    }

    /// Compares all columns. With `--stats` it counts the rows that differ; printing each of them would take it longer.
    fn run(&self, here: &Proxy, there: &Proxy, database: &str) -> anyhow::Result<Found> {
        let url =
            |proxy: &Proxy, name| format!("postgresql://{}@{}:{}/{name}", self.user, self.host, proxy.port());
        let mut reladiff = command(&self.program);
        reladiff.args([&url(here, HERE), "event", &url(there, database), "event"]);
        reladiff.args(["-j4", "-k", "id", "-c", "%", "--stats", "--json"]);
        reladiff.env("PGPASSFILE", self.password_file());
        let output = reladiff.output().context("cannot run reladiff")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        // It ends with 0 whatever goes wrong.
        read(&printed).with_context(|| {
            format!("reladiff printed {printed:?} and {}", String::from_utf8_lossy(&output.stderr))
        })
    }
}

fn read(printed: &str) -> anyhow::Result<Found> {
    let counts: serde_json::Value = serde_json::from_str(printed)?;
    let count = |name: &str| counts[name].as_u64().with_context(|| format!("there is no count {name}"));
    Ok(Found { missing: count("exclusive_A")?, extra: count("exclusive_B")?, changed: count("updated")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reladiff_prints_is_read() {
        let printed =
            "{\"rows_A\": 9, \"exclusive_A\": 1, \"exclusive_B\": 2,\n\"updated\": 3, \"stats\": {}}";
        assert_eq!(read(printed).unwrap(), Found { missing: 1, extra: 2, changed: 3 });
        assert!(read("{\"exclusive_A\": 1}").is_err());
        assert!(read("").is_err());
    }

    #[test]
    fn beginning_a_transaction_is_no_query() {
        let messages = ["BEGIN", "SELECT 1", "\0commit;\0", "BEGIN; SELECT 1"].map(str::to_owned);
        assert_eq!(queries(&messages), 2);
    }
}
