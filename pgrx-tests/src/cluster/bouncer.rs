//! PgBouncer in front of a cluster.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use postgres::Client;
use tempfile::TempDir;

use super::account::Account;
use super::watchdog::Watchdog;
use super::{Cluster, HOST, PORT_ATTEMPTS, command, postmaster, setup, temporary_directory};

/// Distributions have it where only root looks for programs.
const PROGRAM: &str = "pgbouncer";
const DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
const START_WITHIN: Duration = Duration::from_secs(30);

/// For how long a client keeps the server that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

impl PoolMode {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// A running PgBouncer, stopped when the value is dropped.
pub struct Bouncer {
    port: u16,
    watchdog: Watchdog,
    /// The last field, as in [`Cluster`].
    temporary: TempDir,
}

impl Bouncer {
    /// Whether the program is there.
    #[must_use]
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Starts one that hands out `pool_size` servers for each database and role, to the superuser and to `users`, whose
    /// passwords are their names. Everything else is as PgBouncer has it by default.
    pub fn start(
        cluster: &Cluster,
        mode: PoolMode,
        pool_size: usize,
        users: &[&str],
    ) -> anyhow::Result<Self> {
        let program = program().context("pgbouncer is not installed")?;
        let account = Account::current()?;
        let temporary = temporary_directory()?;
        let file = |name: &str| temporary.path().join(name);
        let mut stop = account.command(Path::new("sh"));
        stop.args(["-c", r#"kill -s KILL "$(cat "$1")""#, "sh"]).arg(file("pid"));
        let watchdog = Watchdog::start(&stop, Some(temporary.path()))?;

        let mut known = format!("\"{}\" \"{}\"\n", cluster.superuser(), cluster.password());
        for user in users {
            writeln!(known, "\"{user}\" \"{user}\"")?;
        }
        write(account, &file("users"), &known)?;
        let mut bouncer = Self { port: 0, watchdog, temporary };
        for _ in 0..PORT_ATTEMPTS {
            bouncer.port = setup::free_port()?;
            write(account, &bouncer.file("ini"), &bouncer.configuration(cluster, mode, pool_size))?;
            let mut start = account.command(&program);
            start.args(["-q", "-d"]).arg(bouncer.file("ini"));
            if command::run(&mut start).is_ok() && bouncer.answers() {
                return Ok(bouncer);
            }
            bouncer.kill();
        }
        let log = fs::read_to_string(bouncer.file("log")).unwrap_or_default();
        anyhow::bail!("pgbouncer did not start; the end of its log:\n{}", command::tail(&log, 20))
    }

    fn configuration(&self, cluster: &Cluster, mode: PoolMode, pool_size: usize) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        format!(
            "[databases]\n* = host={HOST} port={server}\n\
             [pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {users}\nlogfile = {log}\npidfile = {pid}\n\
             pool_mode = {mode}\ndefault_pool_size = {pool_size}\n",
            server = cluster.port(),
            port = self.port,
            users = file("users"),
            log = file("log"),
            pid = file("pid"),
            mode = mode.name(),
        )
    }

    /// The port that it listens on, at the address of its cluster.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Connects through it.
    pub fn connect(&self, dbname: &str, user: &str, password: &str) -> anyhow::Result<Client> {
        super::connect(self.port, dbname, user, password)
            .with_context(|| format!("cannot connect to {dbname} through pgbouncer as {user}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    fn answers(&self) -> bool {
        let runs = || self.pid().is_some() && TcpStream::connect((HOST, self.port)).is_ok();
        let failed = || fs::read_to_string(self.file("log")).is_ok_and(|log| log.contains("FATAL"));
        postmaster::wait(|| runs() || failed(), START_WITHIN) && runs()
    }

    /// Its process, if the pid file names one that was started with this configuration.
    fn pid(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.file("pid")).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&command).contains(&self.file("ini").display().to_string()).then_some(pid)
    }

    /// It keeps nothing that it would have to save.
    fn kill(&self) {
        if let Some(pid) = self.pid() {
            let _ = postmaster::signal(pid, "KILL");
            postmaster::wait(|| self.pid().is_none(), START_WITHIN);
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.kill();
        let _ = self.watchdog.dismiss();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(PROGRAM)).find(|program| program.is_file())
}

fn write(account: Account, path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text)?;
    account.give(path)
}
