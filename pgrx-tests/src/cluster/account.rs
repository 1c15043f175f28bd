//! The operating-system account that servers run under.
//!
//! PostgreSQL refuses to run as root, and nobody wants it to: root runs it as user `postgres`.

use std::env;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tempfile::TempDir;

use super::command;

const SERVER_USER: &str = "postgres";
/// What a server inherits beside PATH. Of the rest, `PG*` and `LC_*` would change what it does, and
/// `RUST_BACKTRACE` would put source paths into the DETAIL of its errors.
const INHERITED: &str = "LD_LIBRARY_PATH";

#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    /// An ordinary user runs servers directly.
    Own,
    /// Root runs servers as `postgres`.
    Postgres { uid: u32, gid: u32 },
}

impl Account {
    pub(super) fn current() -> anyhow::Result<Self> {
        if !is_root()? {
            return Ok(Self::Own);
        }
        Ok(Self::Postgres { uid: id(&["-u", SERVER_USER])?, gid: id(&["-g", SERVER_USER])? })
    }

    /// The program under this account, with a clean environment and a working directory it may enter.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Own => Command::new(program),
            Self::Postgres { .. } => {
                let mut command = Command::new("runuser");
                command.args(["-u", SERVER_USER, "--"]).arg(program);
                command
            }
        };
        command.env_clear().current_dir("/");
        command.envs(env::var_os(INHERITED).map(|value| (INHERITED, value)));
        // Where runuser is; `su` without a dash leaves root without these.
        let mut path = env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path);
        command
    }

    /// Gives the account a file or directory.
    pub(super) fn give(self, path: &Path) -> anyhow::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Postgres { uid, gid } => chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to user {SERVER_USER}", path.display())),
        }
    }

    /// Gives the account a directory and checks that it can work there.
    pub(super) fn take_over(self, dir: &Path) -> anyhow::Result<()> {
        self.give(dir)?;
        anyhow::ensure!(
            self.may("-w", dir),
            "user {SERVER_USER} cannot reach {}: a directory above it is closed to others",
            dir.display()
        );
        Ok(())
    }

    fn may(self, test: &str, path: &Path) -> bool {
        command::run(self.command(Path::new("test")).arg(test).arg(path)).is_ok()
    }
}

/// Whether this process runs as root.
pub fn is_root() -> anyhow::Result<bool> {
    Ok(id(&["-u"])? == 0)
}

/// Whether the account that servers run under may enter the directory, or the nearest directory above it
/// that exists.
pub fn is_reachable(dir: &Path) -> anyhow::Result<bool> {
    let account = Account::current()?;
    let dir = std::path::absolute(dir)?;
    Ok(dir.ancestors().find(|path| path.exists()).is_some_and(|path| account.may("-x", path)))
}

/// A new directory that belongs to the account that servers run under. Its path is short enough for a
/// Unix socket.
pub fn temporary_directory() -> anyhow::Result<TempDir> {
    let account = Account::current()?;
    let places = [env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
    let place = places
        .iter()
        .find(|place| place.as_os_str().len() < 60 && account.may("-x", place))
        .context("found no temporary directory that servers can reach: set TMPDIR to a short, open path")?;
    let dir = tempfile::Builder::new()
        .prefix("opdb-")
        .tempdir_in(fs::canonicalize(place)?)
        .with_context(|| format!("cannot create a directory in {}", place.display()))?;
    account.take_over(dir.path())?;
    Ok(dir)
}

fn id(arguments: &[&str]) -> anyhow::Result<u32> {
    let text = command::run(Command::new("id").args(arguments))?;
    text.trim().parse().with_context(|| format!("id {} printed {text:?}", arguments.join(" ")))
}
