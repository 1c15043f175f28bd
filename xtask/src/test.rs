//! `cargo xtask test`: every check, from the quickest to the slowest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use opdb_e2e::cluster::{Bouncer, is_root, stop_left_over, temporary_directory};

use crate::machine::{Machine, ensure_connections, ensure_rust_components};
use crate::process::{capture, cargo, command, run as run_command};
use crate::{extension, generate, peers};

/// A group of checks that need the same things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// The layout of the code
    Fmt,
    /// Doubtful code, and generated files that are out of date
    Lint,
    /// The algorithms and the tools, without PostgreSQL
    Unit,
    /// The SQL functions, inside a server
    Pg,
    /// The installed extension, on real clusters
    E2e,
}

impl Tier {
    /// A test build of the extension replaces the installed one, so `Pg` must come before `E2e`.
    const ALL: [Self; 5] = [Self::Fmt, Self::Lint, Self::Unit, Self::Pg, Self::E2e];

    const fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Pg => "pg",
            Self::E2e => "e2e",
        }
    }
}

/// Runs all tiers, or only one, and stops at the first that fails.
pub fn run(pg: Option<u16>, only: Option<Tier>) -> anyhow::Result<()> {
    let mut session = Session { pg, machine: None };
    let mut summary = Vec::new();
    for tier in Tier::ALL.into_iter().filter(|tier| only.is_none_or(|only| only == *tier)) {
        println!("\n== {} ==", tier.name());
        let started = Instant::now();
        session.run(tier).with_context(|| format!("tier `{}` failed", tier.name()))?;
        summary.push(format!("{:<5} passed in {:>6.1} s", tier.name(), started.elapsed().as_secs_f64()));
    }
    println!("\n{}", summary.join("\n"));
    Ok(())
}

/// The machine is prepared when the first tier needs it: a misplaced space is found without PostgreSQL.
struct Session {
    pg: Option<u16>,
    machine: Option<Machine>,
}

impl Session {
    fn run(&mut self, tier: Tier) -> anyhow::Result<()> {
        match tier {
            Tier::Fmt => fmt(),
            Tier::Lint => lint(self.machine()?),
            Tier::Unit => unit(),
            Tier::Pg => pg(self.machine()?),
            Tier::E2e => e2e(self.machine()?),
        }
    }

    fn machine(&mut self) -> anyhow::Result<&Machine> {
        Ok(match self.machine {
            Some(ref machine) => machine,
            None => self.machine.insert(Machine::prepare(self.pg)?),
        })
    }
}

fn fmt() -> anyhow::Result<()> {
    ensure_rust_components()?;
    run_command(cargo().args(["fmt", "--check", "--all"]))
}

fn lint(machine: &Machine) -> anyhow::Result<()> {
    ensure_rust_components()?;
    let mut clippy = machine.cargo();
    clippy.args(["clippy", "--workspace", "--all-targets"]).args(machine.features());
    run_command(clippy.args(["--", "-D", "warnings"]))?;
    generate::check()
}

fn unit() -> anyhow::Result<()> {
    run_command(cargo().args(["test", "-p", "opdb-core", "-p", "xtask"]))
}

fn pg(machine: &Machine) -> anyhow::Result<()> {
    extension::remove_library(machine)?;
    let data = temporary_directory()?;
    let mut command = machine.cargo_pgrx();
    command.arg("test").arg(machine.label()).args(machine.features()).arg("--pgdata").arg(data.path());
    run_as(&mut command, server_user(machine)?.as_deref())?;
    let result = run_command(&mut command);
    // Tests that were killed have left their server.
    for entry in fs::read_dir(data.path())?.flatten() {
        stop_left_over(&entry.path())?;
    }
    result
}

/// Has cargo pgrx run the server under the given account and install the extension as root, or do both
/// under the account that it runs under itself.
fn run_as(command: &mut Command, user: Option<&str>) -> anyhow::Result<()> {
    match user {
        Some(user) => command.args(["--runas", user]),
        // The tests connect as this user and do not ask the system for its name.
        None => command.env("USER", own_name()?),
    };
    Ok(())
}

/// The account for the server of cargo pgrx, if it needs to be told one.
fn server_user(machine: &Machine) -> anyhow::Result<Option<String>> {
    if is_root()? {
        return Ok(Some("postgres".into()));
    }
    extension::needs_root(machine).then(own_name).transpose()
}

fn own_name() -> anyhow::Result<String> {
    Ok(capture(command("id").arg("-un"))?.trim().to_owned())
}

fn e2e(machine: &Machine) -> anyhow::Result<()> {
    machine.ensure_peers()?;
    ensure_connections()?;
    extension::install(machine)?;
    let mut tests = machine.cargo();
    tests.args(["test", "-p", "opdb-e2e"]).env("PG_CONFIG", &machine.installation.pg_config);
    tests.env("OPDB_QUALITY_PEERS", machine.peers(&peers::QUALITY)?);
    let mut tell = |variable: &str, value: Option<PathBuf>, otherwise: &str| match value {
        Some(value) => {
            tests.env(variable, value);
        }
        None => {
            tests.env_remove(variable);
            println!("{otherwise}");
        }
    };
    tell(
        "OPDB_REGRESS_DIR",
        machine.regression_tests(),
        "without the database of PostgreSQL's own tests: this PostgreSQL was not built from source here",
    );
    tell(
        "OPDB_OLDER_PG_CONFIG",
        machine.older(),
        "without comparing major versions: no older PostgreSQL is installed",
    );
    if !Bouncer::is_installed() {
        println!("without PgBouncer: it is not installed");
    }
    run_command(&mut tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_another_account_is_asked_for() {
        let mut command = command("cargo-pgrx");
        run_as(&mut command, Some("postgres")).unwrap();
        assert!(command.get_args().eq(["--runas", "postgres"]));
    }

    #[test]
    fn tiers_are_named_on_the_command_line_as_in_the_summary() {
        for tier in Tier::ALL {
            assert_eq!(Tier::from_str(tier.name(), false).unwrap(), tier);
        }
    }
}
