//! An installed PostgreSQL, found through its `pg_config`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::{command, postmaster};

/// Many times what the slowest of them takes on a busy machine.
const TESTS_END_WITHIN: Duration = Duration::from_secs(25 * 60);

fn end_what_hangs() {
    thread::sleep(TESTS_END_WITHIN);
    eprintln!("tests still run after {} minutes: one of them hangs", TESTS_END_WITHIN.as_secs() / 60);
    for (pid, title) in postmaster::server_processes() {
        eprintln!("process {pid} is {title}");
    }
    // Whoever watches over the servers stops them when this process is gone.
    process::exit(124);
}

/// Where an installed PostgreSQL keeps its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The `pg_config` that told all the rest.
    pub pg_config: PathBuf,
    /// The major version, such as 15.
    pub major: u16,
    /// The programs: initdb, pg_ctl, postgres, psql.
    pub bin: PathBuf,
    /// Extensions' control files and SQL are in `extension` below it.
    pub share: PathBuf,
    /// Extensions' libraries.
    pub pkglib: PathBuf,
    /// The headers for server code.
    pub include_server: PathBuf,
}

impl Installation {
    /// Asks the given `pg_config`.
    pub fn from_pg_config(pg_config: &Path) -> anyhow::Result<Self> {
        let questions = ["--version", "--bindir", "--sharedir", "--pkglibdir", "--includedir-server"];
        let answers = command::run(Command::new(pg_config).args(questions))?;
        let installation = Self::parse(pg_config, &answers)
            .with_context(|| format!("{} printed something unexpected:\n{answers}", pg_config.display()))?;
        for program in ["initdb", "pg_ctl", "postgres"] {
            anyhow::ensure!(
                installation.bin.join(program).is_file(),
                "{} describes a PostgreSQL without its server: there is no {program} in {}",
                pg_config.display(),
                installation.bin.display()
            );
        }
        Ok(installation)
    }

    /// The PostgreSQL whose `pg_config` the variable `PG_CONFIG` names, or else the first on `PATH`. For tests: one that
    /// hangs ends its process after 25 minutes, instead of being waited for.
    pub fn from_env() -> anyhow::Result<Self> {
        static DEADLINE: Once = Once::new();
        DEADLINE.call_once(|| drop(thread::spawn(end_what_hangs)));
        let pg_config = env::var_os("PG_CONFIG").unwrap_or_else(|| "pg_config".into());
        Self::from_pg_config(Path::new(&pg_config)).context(
            "no PostgreSQL to work with: set PG_CONFIG to the pg_config of the PostgreSQL to use, \
             or run `cargo xtask test`, which finds or installs one",
        )
    }

    fn parse(pg_config: &Path, answers: &str) -> Option<Self> {
        let mut lines = answers.lines();
        let major = major(lines.next()?)?;
        let mut path = || lines.next().map(PathBuf::from);
        Some(Self {
            pg_config: pg_config.to_owned(),
            major,
            bin: path()?,
            share: path()?,
            pkglib: path()?,
            include_server: path()?,
        })
    }
}

/// The major version in what PostgreSQL's programs print for `--version`.
fn major(version: &str) -> Option<u16> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_betas_and_packages() {
        assert_eq!(major("PostgreSQL 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("PostgreSQL 19devel"), Some(19));
        assert_eq!(major("no version"), None);
    }

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        let answers = "PostgreSQL 18.1\n/p/bin\n/p/share\n/p/lib\n/p/include/server\n";
        let installation = Installation::parse(Path::new("/p/bin/pg_config"), answers).unwrap();
        assert_eq!(installation.major, 18);
        assert_eq!(installation.bin, Path::new("/p/bin"));
        assert_eq!(installation.include_server, Path::new("/p/include/server"));
        assert_eq!(Installation::parse(Path::new("pg_config"), "PostgreSQL 18.1\n/p/bin\n"), None);
    }
}
