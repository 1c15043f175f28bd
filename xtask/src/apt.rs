//! Packages of Debian and Ubuntu. What is there already is neither upgraded nor restarted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::process::{as_root, capture, command, find, run};

/// needrestart would restart other services after an installation.
const ENVIRONMENT: [&str; 2] = ["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"];
const INSTALL: [&str; 7] =
    ["install", "-y", "-qq", "--no-install-recommends", "--no-upgrade", "-o", "Dpkg::Use-Pty=0"];
/// Debian's server package creates and starts a cluster unless it is told not to.
const INSTALL_WITHOUT_CLUSTER: &str = r#"
directory=/etc/postgresql-common/createcluster.d
file=$directory/opdb-install.conf
trap 'rm -f "$file"; rmdir "$directory" 2>/dev/null || :' EXIT
trap 'exit 130' HUP INT TERM
mkdir -p "$directory"
echo 'create_main_cluster = false' >"$file"
"$@"
"#;
/// Debian's packages of services start them, now and with the machine, unless they are told not to.
const INSTALL_WITHOUT_SERVICE: &str = r#"
service=$1
shift
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
"$@"
update-rc.d "$service" disable
"#;

/// Something that must be there.
pub struct Need {
    pub package: String,
    pub why: &'static str,
    pub present: bool,
}

impl Need {
    pub fn new(package: impl Into<String>, why: &'static str, present: bool) -> Self {
        Self { package: package.into(), why, present }
    }

    /// A package whose programs are on `PATH`, wherever they come from.
    pub fn programs(package: &str, why: &'static str, programs: &[&str]) -> Self {
        Self::new(package, why, programs.iter().all(|program| find(program).is_some()))
    }

    /// A package that installs this file.
    pub fn file(package: impl Into<String>, why: &'static str, file: &str) -> Self {
        Self::new(package, why, Path::new(file).exists())
    }
}

/// The package manager; it fetches the lists of packages at most once, and only if it installs something.
#[derive(Default)]
pub struct Apt {
    updated: bool,
}

impl Apt {
    pub fn is_available() -> bool {
        find("apt-get").is_some()
    }

    /// Installs those that are missing, saying what and why.
    pub fn ensure(&mut self, needs: &[Need]) -> anyhow::Result<()> {
        let missing: Vec<&Need> = needs.iter().filter(|need| !need.present).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for need in &missing {
            println!("installing {}: {}", need.package, need.why);
        }
        let packages: Vec<&str> = missing.iter().map(|need| need.package.as_str()).collect();
        anyhow::ensure!(
            Self::is_available(),
            "there is no apt-get here: install what Debian calls {} and run this again",
            packages.join(", ")
        );
        self.install(&packages).with_context(|| format!("cannot install {}", packages.join(", ")))
    }

    /// Installs a package whose program is run by hand, and leaves its service, which has the same name, switched off.
    pub fn ensure_without_service(&mut self, need: &Need) -> anyhow::Result<()> {
        if need.present {
            return Ok(());
        }
        println!("installing {}: {}", need.package, need.why);
        self.update()?;
        let mut guarded = as_root("sh")?;
        guarded.args(["-ec", INSTALL_WITHOUT_SERVICE, "sh", &need.package, "env"]);
        run(apt_get(guarded).args(INSTALL).arg(&need.package))
            .with_context(|| format!("cannot install {}", need.package))
    }

    fn install(&mut self, packages: &[&str]) -> anyhow::Result<()> {
        self.update()?;
        if !packages.iter().any(|package| is_server(package)) {
            return run(apt_get(as_root("env")?).args(INSTALL).args(packages));
        }
        if !Path::new("/usr/share/postgresql-common").exists() {
            run(apt_get(as_root("env")?).args(INSTALL).arg("postgresql-common"))?;
        }
        let mut guarded = as_root("sh")?;
        guarded.args(["-ec", INSTALL_WITHOUT_CLUSTER, "sh", "env"]);
        run(apt_get(guarded).args(INSTALL).args(packages))
    }

    pub fn update(&mut self) -> anyhow::Result<()> {
        if !self.updated {
            println!("fetching the lists of packages");
            run(apt_get(as_root("env")?).args(["update", "-qq"]))?;
            self.updated = true;
        }
        Ok(())
    }

    /// The major version of the distribution's PostgreSQL, if there is apt-get.
    pub fn postgresql_major(&mut self) -> anyhow::Result<Option<u16>> {
        if !Self::is_available() {
            return Ok(None);
        }
        if let Some(major) = offered_major().or_else(installed_major) {
            return Ok(Some(major));
        }
        self.update()?;
        offered_major().map(Some).context("apt-get knows no package `postgresql`")
    }
}

/// Appends `NAME=value… apt-get` to a command that ends with `env`.
fn apt_get(mut env: Command) -> Command {
    env.args(ENVIRONMENT).arg("apt-get");
    env
}

fn is_server(package: &str) -> bool {
    package.strip_prefix("postgresql-").is_some_and(|rest| rest.parse::<u16>().is_ok())
}

fn offered_major() -> Option<u16> {
    major_in(&capture(command("apt-cache").args(["depends", "postgresql"]).env("LC_ALL", "C")).ok()?)
}

/// The major version that the package `postgresql` depends on.
fn major_in(dependencies: &str) -> Option<u16> {
    let prefix = "Depends: postgresql-";
    dependencies.lines().find_map(|line| line.trim().strip_prefix(prefix)?.parse().ok())
}

/// Without lists of packages, the lowest installed version is the best guess at the distribution's: others
/// come from elsewhere, and are newer.
fn installed_major() -> Option<u16> {
    let names = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let majors = names.filter(|entry| entry.path().join("bin/postgres").exists());
    majors.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_major_is_what_its_metapackage_depends_on() {
        let text = "postgresql\n  Depends: postgresql-15\n  Suggests: postgresql-doc\n";
        assert_eq!(major_in(text), Some(15));
        assert_eq!(major_in("postgresql\n  Depends: postgresql-common\n"), None);
    }

    #[test]
    fn only_a_server_would_create_a_cluster() {
        assert!(is_server("postgresql-15"));
        assert!(!is_server("postgresql-server-dev-15") && !is_server("postgresql-common"));
    }

    #[test]
    fn nothing_is_done_when_nothing_is_missing() {
        let mut apt = Apt::default();
        apt.ensure(&[Need::programs("dash", "a shell", &["sh"])]).unwrap();
        assert!(!apt.updated);
    }
}
