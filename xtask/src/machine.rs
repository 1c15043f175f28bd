//! What must be on this machine before anything can be built: finds it, or installs it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use opdb_e2e::cluster::{Bouncer, Installation};

use crate::apt::{Apt, Need};
use crate::cache::Cache;
use crate::peers::Peers;
use crate::process::{capture, cargo, command, find, run};
use crate::{cargo_pgrx, postgres18};

/// A machine on which the extension can be built and tested with one PostgreSQL.
pub struct Machine {
    pub installation: Installation,
    cache: Cache,
    cargo_pgrx: PathBuf,
}

impl Machine {
    /// Installs what is missing. Without `pg`, the PostgreSQL is that of the variable `PG_CONFIG` or the
    /// distribution's.
    pub fn prepare(pg: Option<u16>) -> anyhow::Result<Self> {
        let cache = Cache::open()?;
        let mut apt = Apt::default();
        apt.ensure(&tools())?;
        let installation = postgresql(&cache, &mut apt, pg)?;
        println!("using PostgreSQL {}: {}", installation.major, installation.pg_config.display());
        let cargo_pgrx = cargo_pgrx::ensure(&cache)?;
        cargo_pgrx::register(&cache, &installation)?;
        Ok(Self { installation, cache, cargo_pgrx })
    }

    /// Installs the extensions that the tests and measurements compare with or work together with, if the distribution
    /// has them for this PostgreSQL.
    pub fn ensure_peers(&self) -> anyhow::Result<()> {
        let major = self.installation.major;
        if self.installation.pg_config != distributions_pg_config(major) || !Apt::is_available() {
            return Ok(());
        }
        let extension = |name: &str| self.installation.share.join(format!("extension/{name}.control"));
        Apt::default().ensure(&[
            Need::new(
                format!("postgresql-{major}-cron"),
                "jobs are handed to pg_cron in the tests",
                extension("pg_cron").exists(),
            ),
            Need::new(
                format!("postgresql-{major}-hypopg"),
                "indexes are tried with it in the tests",
                extension("hypopg").exists(),
            ),
            Need::new(
                format!("postgresql-{major}-partman"),
                "partitions are measured beside pg_partman",
                extension("pg_partman").exists(),
            ),
        ])
    }

    /// The virtual environment of tools that opdb is compared with.
    pub fn peers(&self, peers: &Peers) -> anyhow::Result<PathBuf> {
        peers.ensure(&self.cache)
    }

    /// PostgreSQL's own tests, `src/test/regress` of its source, if it was built from source here.
    pub fn regression_tests(&self) -> Option<PathBuf> {
        let tests = self.cache.postgresql_18_source().join("src/test/regress");
        let is_built_here = self.installation.pg_config.starts_with(self.cache.postgresql_18());
        (is_built_here && tests.join("pg_regress").is_file()).then_some(tests)
    }

    /// The `pg_config` of the oldest PostgreSQL that is installed beside this one, if it is an older one.
    pub fn older(&self) -> Option<PathBuf> {
        (15..self.installation.major)
            .map(distributions_pg_config)
            .find(|pg_config| Installation::from_pg_config(pg_config).is_ok())
    }

    /// `cargo`, which builds the extension with this machine's PostgreSQL.
    pub fn cargo(&self) -> Command {
        self.with_pgrx(cargo())
    }

    /// `cargo pgrx`. Not through cargo, which prefers the cargo-pgrx in its own directory to that on `PATH`.
    pub fn cargo_pgrx(&self) -> Command {
        let mut command = self.with_pgrx(command(&self.cargo_pgrx));
        command.arg("pgrx");
        command
    }

    fn with_pgrx(&self, mut command: Command) -> Command {
        command.env("PGRX_HOME", self.cache.pgrx_home()).env("CARGO_PGRX", &self.cargo_pgrx);
        command
    }

    /// The arguments that choose this machine's PostgreSQL.
    pub fn features(&self) -> [String; 3] {
        ["--no-default-features".into(), "--features".into(), self.label()]
    }

    /// What pgrx calls this machine's PostgreSQL.
    pub fn label(&self) -> String {
        format!("pg{}", self.installation.major)
    }
}

/// Installs what the tests have stand between two servers, where there is apt-get: without it they say what did not run.
pub fn ensure_connections() -> anyhow::Result<()> {
    if !Apt::is_available() {
        return Ok(());
    }
    let mut apt = Apt::default();
    apt.ensure(&[Need::programs("openssl", "the tests make certificates with it", &["openssl"])])?;
    apt.ensure_without_service(&Need::new(
        "pgbouncer",
        "environments are reached through it in the tests",
        Bouncer::is_installed(),
    ))
}

/// Adds the parts of the Rust toolchain that a minimal one lacks.
pub fn ensure_rust_components() -> anyhow::Result<()> {
    for (component, program, why) in [
        ("rustfmt", "fmt", "it checks the layout of the code"),
        ("clippy", "clippy", "it finds doubtful code"),
    ] {
        if capture(cargo().args([program, "--version"])).is_err() {
            println!("installing {component}: {why}");
            run(command("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn tools() -> [Need; 4] {
    let libclang = env::var_os("LIBCLANG_PATH").is_some() || is_installed("libclang-dev");
    [
        Need::programs("build-essential", "it compiles and links C", &["cc", "make"]),
        Need::programs("pkg-config", "it finds C libraries", &["pkg-config"]),
        Need::new("libclang-dev", "pgrx reads PostgreSQL's headers with it", libclang),
        Need::programs("sudo", "cargo pgrx runs the tests' server under another account with it", &["sudo"]),
    ]
}

fn is_installed(package: &str) -> bool {
    if !Apt::is_available() {
        // Nobody to ask; if it is missing, the build says so.
        return true;
    }
    capture(command("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

fn postgresql(cache: &Cache, apt: &mut Apt, wanted: Option<u16>) -> anyhow::Result<Installation> {
    if let Some(chosen) = chosen_by_environment(wanted)? {
        return Ok(chosen);
    }
    let distribution = apt.postgresql_major()?;
    let major = wanted.or(distribution).context(
        "there is no apt-get here to install PostgreSQL with: set PG_CONFIG to the pg_config of an \
         installed one, with its server headers and contrib",
    )?;
    let pg_config = distributions_pg_config(major);
    if let Ok(installation) = complete(&pg_config) {
        return Ok(installation);
    }
    if distribution == Some(major) {
        anyhow::ensure!(
            (15..=18).contains(&major),
            "this distribution has PostgreSQL {major}, and opdb needs 15 to 18: try --pg 18"
        );
        apt.ensure(&server(major))?;
        return complete(&pg_config);
    }
    anyhow::ensure!(
        major == 18,
        "PostgreSQL {major} is not installed completely (server, contrib and server headers), and the \
         distribution has another version: install it, or set PG_CONFIG to its pg_config"
    );
    complete(&postgres18::ensure(cache, apt)?)
}

fn distributions_pg_config(major: u16) -> PathBuf {
    format!("/usr/lib/postgresql/{major}/bin/pg_config").into()
}

fn server(major: u16) -> [Need; 2] {
    let control = format!("/usr/share/postgresql/{major}/extension/postgres_fdw.control");
    let program = format!("/usr/lib/postgresql/{major}/bin/postgres");
    let present = Path::new(&control).exists() && Path::new(&program).exists();
    [
        Need::new(format!("postgresql-{major}"), "the server, with postgres_fdw", present),
        Need::file(
            format!("postgresql-server-dev-{major}"),
            "the server's headers, which the extension is built with",
            &format!("/usr/include/postgresql/{major}/server/postgres.h"),
        ),
    ]
}

/// `PG_CONFIG` says which PostgreSQL to use, unless `--pg` asks for another version than that.
fn chosen_by_environment(wanted: Option<u16>) -> anyhow::Result<Option<Installation>> {
    let variable = env::var_os("PG_CONFIG").map(PathBuf::from);
    let without_apt = || {
        if Apt::is_available() { None } else { find("pg_config") }
    };
    let Some(pg_config) = variable.or_else(without_apt) else {
        return Ok(None);
    };
    let installation = complete(&pg_config)?;
    match wanted {
        Some(major) if major != installation.major => {
            println!("{} is PostgreSQL {}, looking for {major}", pg_config.display(), installation.major);
            Ok(None)
        }
        _ => Ok(Some(installation)),
    }
}

/// The PostgreSQL of this `pg_config`, if it has everything that the extension is built and run with.
pub fn complete(pg_config: &Path) -> anyhow::Result<Installation> {
    let installation = Installation::from_pg_config(pg_config)?;
    let missing: Vec<String> = [
        installation.include_server.join("postgres.h"),
        installation.share.join("extension/postgres_fdw.control"),
    ]
    .iter()
    .filter(|path| !path.exists())
    .map(|path| path.display().to_string())
    .collect();
    anyhow::ensure!(
        missing.is_empty(),
        "the PostgreSQL of {} is incomplete: there is no {}",
        pg_config.display(),
        missing.join(", no ")
    );
    let version = capture(command(installation.bin.join("postgres")).arg("--version"))?;
    anyhow::ensure!(
        version.contains(&format!(" {}", installation.major)),
        "the headers of {} are for PostgreSQL {}, but its server is {version}",
        pg_config.display(),
        installation.major
    );
    Ok(installation)
}
