//! PostgreSQL's own programs for clients.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context;

use super::{Cluster, HOST, SUPERUSER, command, temporary_directory};

impl Cluster {
    /// Runs a program, one of this PostgreSQL or that of a path, which connects to this cluster as superuser, and
    /// returns what it printed. It runs under the server's account.
    pub fn run_client(&self, program: &Path, arguments: &[&OsStr]) -> anyhow::Result<String> {
        let mut client = self.account.command(&self.installation.bin.join(program));
        client
            .args(arguments)
            .env("PGHOST", HOST)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGPASSWORD", &self.password);
        command::run(&mut client)
    }

    /// Copies `dbname` by pg_dump to the database `to` of `target`, which is empty, as psql reads it.
    pub fn restore_to(&self, dbname: &str, target: &Self, to: &str) -> anyhow::Result<()> {
        let dir = temporary_directory()?;
        let dump = dir.path().join("dump.sql");
        self.run_client(
            Path::new("pg_dump"),
            &["-d".as_ref(), dbname.as_ref(), "-f".as_ref(), dump.as_ref()],
        )?;
        let restore = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to, "-f"].map(OsStr::new);
        target
            .run_client(Path::new("psql"), &[&restore[..], &[dump.as_ref()]].concat())
            .with_context(|| format!("the dump of {dbname} cannot be restored"))?;
        Ok(())
    }
}
