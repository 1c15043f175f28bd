//! PostgreSQL clusters that the tests and the demo start, use and throw away.
//!
//! A cluster listens on 127.0.0.1 only, asks everybody for a password, and never outlives the process
//! that owns it: see [`watchdog`].

mod account;
mod bouncer;
mod certificate;
mod client;
pub(crate) mod command;
mod installation;
mod left_over;
mod postmaster;
mod proxy;
mod setup;
mod standby;
mod suspended;
mod watchdog;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use postgres::{Client, NoTls};
use tempfile::TempDir;

use account::Account;
use watchdog::Watchdog;

pub use account::{is_reachable, is_root, temporary_directory};
pub use bouncer::{Bouncer, PoolMode};
pub use certificate::Certificate;
pub use installation::Installation;
pub use left_over::{remove_left_over, stop_left_over};
pub use proxy::{Hold, Proxy};
pub use suspended::Suspended;

const HOST: &str = "127.0.0.1";
const SUPERUSER: &str = "postgres";
/// Another process may take the port between our finding it free and the server's binding it.
const PORT_ATTEMPTS: usize = 5;

/// How a server is asked to go down, as in `pg_ctl stop --mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Wait for every client to leave.
    Smart,
    /// Disconnect the clients and write a checkpoint.
    Fast,
    /// Leave everything as it is; the next start recovers from the log.
    Immediate,
}

impl Shutdown {
    const fn mode(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

fn connect(port: u16, dbname: &str, user: &str, password: &str) -> Result<Client, postgres::Error> {
    postgres::Config::new()
        .host(HOST)
        .port(port)
        .dbname(dbname)
        .user(user)
        .password(password)
        .connect_timeout(Duration::from_secs(10))
        .connect(NoTls)
}

/// A running PostgreSQL cluster, stopped when the value is dropped.
pub struct Cluster {
    installation: Installation,
    account: Account,
    dir: PathBuf,
    port: u16,
    password: String,
    kept: bool,
    watchdog: Watchdog,
    /// The last field, because the directory must be there until the server has stopped.
    temporary: Option<TempDir>,
}

impl Cluster {
    /// Creates `dir` and starts a new cluster in it, with `settings` in its postgresql.conf.
    pub fn start(installation: &Installation, dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir)?;
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::create_dir(&dir).with_context(|| format!("cannot create {} for a cluster", dir.display()))?;
        Self::launch(installation, dir, settings, None)
    }

    /// Starts a new cluster in a directory of its own, which goes when the cluster goes.
    pub fn start_temporary(installation: &Installation, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let temporary = temporary_directory()?;
        Self::launch(installation, temporary.path().to_owned(), settings, Some(temporary))
    }

    fn launch(
        installation: &Installation,
        dir: PathBuf,
        settings: &[(&str, &str)],
        temporary: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let mut cluster = Self::watched(installation, dir, setup::random_password()?, temporary)?;
        setup::initialize(installation, &cluster.account, &cluster.dir, SUPERUSER, &cluster.password)?;
        setup::configure(&cluster.data_dir(), settings)?;
        cluster.start_on_a_free_port()?;
        Ok(cluster)
    }

    /// A cluster whose directory is still empty, but watched over: a process that is killed while it is filled leaves
    /// nothing behind either.
    fn watched(
        installation: &Installation,
        dir: PathBuf,
        password: String,
        temporary: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let account = Account::current()?;
        account.take_over(&dir)?;
        let mut stop = pg_ctl(&account, installation, &dir.join("data"), "stop");
        stop.args(["-m", "immediate"]);
        let watchdog = Watchdog::start(&stop, temporary.as_ref().map(|_| dir.as_path()))?;
        let installation = installation.clone();
        Ok(Self { installation, account, dir, port: 0, password, kept: false, watchdog, temporary })
    }

    fn start_on_a_free_port(&mut self) -> anyhow::Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            self.port = setup::free_port()?;
            setup::configure(&self.data_dir(), &[("port", &self.port.to_string())])?;
            match self.try_start() {
                Ok(()) => return Ok(()),
                Err(failure) if failure.port_is_taken() => {}
                Err(failure) => return Err(failure.into_error(self)),
            }
        }
        anyhow::bail!("found no free port on {HOST} in {PORT_ATTEMPTS} attempts")
    }

    fn try_start(&self) -> Result<(), StartFailure> {
        let log_before = self.log().len();
        command::run(self.pg_ctl("start").args(["-t", "60", "-l"]).arg(self.log_file()))
            .map(drop)
            .map_err(|error| StartFailure { error, log: self.log().split_off(log_before) })
    }

    /// Connects to `dbname` as `user`.
    pub fn connect(&self, dbname: &str, user: &str, password: &str) -> anyhow::Result<Client> {
        connect(self.port, dbname, user, password)
            .with_context(|| format!("cannot connect to {dbname} at {HOST}:{} as {user}", self.port))
    }

    /// Connects to `dbname` as the cluster's first superuser.
    pub fn connect_as_superuser(&self, dbname: &str) -> anyhow::Result<Client> {
        self.connect(dbname, SUPERUSER, &self.password)
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let quoted = name.replace('"', "\"\"");
        self.connect_as_superuser(SUPERUSER)?
            .batch_execute(&format!("CREATE DATABASE \"{quoted}\""))
            .with_context(|| format!("cannot create database {name}"))
    }

    /// The port that the server listens on; it stays the same across restarts.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address that the server listens on.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        HOST
    }

    /// The name of the superuser that initdb made.
    #[must_use]
    pub const fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What the server calls `data_directory`.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The text of the server's log; a log that cannot be read yet has no text.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Stops the server in the given way and starts it again.
    pub fn restart(&self, mode: Shutdown) -> anyhow::Result<()> {
        self.shut_down(mode)?;
        self.start_again()
    }

    /// Makes the server a standby that waits for a primary which never comes: everything can be read, and nothing
    /// written.
    pub fn restart_as_standby(&self) -> anyhow::Result<()> {
        let signal = self.data_dir().join("standby.signal");
        fs::write(&signal, "")?;
        self.account.give(&signal)?;
        self.restart(Shutdown::Fast)
    }

    /// Stops the server; its data stay.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.shut_down(Shutdown::Fast)
    }

    /// Kills the postmaster as a crash would: nothing is written, no client is told.
    pub fn kill_nine(&self) -> anyhow::Result<()> {
        postmaster::kill(&self.data_dir())
    }

    /// Kills one of the server's processes with SIGKILL, as an out-of-memory killer would.
    pub fn kill_backend(&self, pid: i32) -> anyhow::Result<()> {
        let data = self.data_dir();
        anyhow::ensure!(
            postmaster::works_in(&pid.to_string(), &data),
            "process {pid} is none of the server of {}",
            data.display()
        );
        postmaster::signal(u32::try_from(pid)?, "KILL")
    }

    /// Starts a server that was stopped or killed.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.try_start().map_err(|failure| failure.into_error(self))
    }

    /// What a person types to look into `dbname`.
    #[must_use]
    pub fn psql_command(&self, dbname: &str) -> String {
        format!(
            "PGPASSWORD={} psql -h {HOST} -p {} -U {SUPERUSER} -d {}",
            self.password,
            self.port,
            shell_word(dbname)
        )
    }

    /// Leaves the server running when this process ends.
    pub fn keep(mut self) -> anyhow::Result<()> {
        self.watchdog.dismiss()?;
        self.kept = true;
        if let Some(temporary) = self.temporary.take() {
            let _path = temporary.keep();
        }
        Ok(())
    }

    fn shut_down(&self, mode: Shutdown) -> anyhow::Result<()> {
        command::run(self.pg_ctl("stop").args(["-m", mode.mode()]))
            .map(drop)
            .with_context(|| format!("the server of {} did not stop", self.dir.display()))
    }

    fn pg_ctl(&self, action: &str) -> Command {
        pg_ctl(&self.account, &self.installation, &self.data_dir(), action)
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let stopped =
            postmaster::pid(&self.data_dir()).is_none() || self.shut_down(Shutdown::Immediate).is_ok();
        // A server that did not stop is left to the watchdog, which tries again. If the watchdog cannot
        // be told to go, it finds nothing to stop.
        if stopped {
            let _ = self.watchdog.dismiss();
        }
    }
}

fn pg_ctl(account: &Account, installation: &Installation, data: &Path, action: &str) -> Command {
    let mut command = account.command(&installation.bin.join("pg_ctl"));
    command.arg(action).arg("-w").arg("-D").arg(data);
    command
}

struct StartFailure {
    error: anyhow::Error,
    /// What this attempt wrote to the server's log.
    log: String,
}

impl StartFailure {
    fn port_is_taken(&self) -> bool {
        self.log.contains("could not bind")
    }

    fn into_error(self, cluster: &Cluster) -> anyhow::Error {
        let dir = cluster.dir.display();
        let tail = command::tail(&self.log, 20);
        self.error.context(format!("the server of {dir} did not start; the end of its log:\n{tail}"))
    }
}

fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psql_arguments_are_quoted_only_when_needed() {
        assert_eq!(shell_word("shop_2"), "shop_2");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn a_cluster_survives_a_crash_and_leaves_nothing_behind() {
        let installation = Installation::from_env().unwrap();
        let cluster = Cluster::start_temporary(&installation, &[("opdb.note", "it's")]).unwrap();
        let data = cluster.data_dir();
        cluster.create_database("a b").unwrap();
        let note: String =
            cluster.connect_as_superuser("a b").unwrap().query_one("SHOW opdb.note", &[]).unwrap().get(0);
        assert_eq!(note, "it's");
        assert!(cluster.connect("postgres", "postgres", "wrong").is_err());

        let checkpointers = || {
            let of_this = |(pid, title): &(String, String)| {
                title.ends_with("checkpointer") && postmaster::works_in(pid, &data)
            };
            postmaster::server_processes().iter().filter(|it| of_this(it)).count()
        };
        assert_eq!(checkpointers(), 1);
        cluster.kill_nine().unwrap();
        assert_eq!(checkpointers(), 0);
        assert!(cluster.connect_as_superuser("a b").is_err());
        cluster.start_again().unwrap();
        cluster.restart(Shutdown::Fast).unwrap();
        assert!(cluster.connect_as_superuser("a b").is_ok());
        assert!(cluster.log().contains("automatic recovery") || cluster.log().contains("redo"));

        drop(cluster);
        assert!(!data.exists());
    }

    #[test]
    fn a_server_that_does_not_start_tells_why() {
        let installation = Installation::from_env().unwrap();
        let error = Cluster::start_temporary(&installation, &[("shared_buffers", "many")]).err().unwrap();
        assert!(format!("{error:#}").contains("shared_buffers"), "{error:#}");
    }

    #[test]
    fn a_taken_port_is_told_from_other_failures() {
        let failure = |log: &str| StartFailure { error: anyhow::anyhow!("x"), log: log.to_owned() };
        assert!(
            failure("LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use")
                .port_is_taken()
        );
        assert!(!failure("FATAL:  could not access file \"opdb\"").port_is_taken());
    }
}
