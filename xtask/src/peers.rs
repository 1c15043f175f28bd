//! The Python tools that opdb is compared with, in virtual environments of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::apt::{Apt, Need};
use crate::cache::Cache;
use crate::process::{capture, command, repository, run};

/// Tools that are installed together.
pub struct Peers {
    /// Of their directory in `xtask/peers`, which has the list of their versions.
    name: &'static str,
    tools: &'static str,
    why: &'static str,
}

pub const QUALITY: Peers = Peers {
    name: "quality",
    tools: "Great Expectations and Soda Core",
    why: "quality scores are compared with theirs",
};
pub const COMPARE: Peers =
    Peers { name: "compare", tools: "reladiff", why: "the comparison of rows is measured beside it" };

impl Peers {
    /// The virtual environment with what `requirements.txt` names, made unless it is there.
    pub fn ensure(&self, cache: &Cache) -> anyhow::Result<PathBuf> {
        let environment = cache.peers(self.name);
        let wanted = repository().join("xtask/peers").join(self.name).join("requirements.txt");
        if is_right(&environment, &fs::read(&wanted)?) {
            return Ok(environment);
        }
        println!("installing {}: {}", self.tools, self.why);
        let can_make_one = capture(command("python3").args(["-c", "import ensurepip, venv"])).is_ok();
        Apt::default().ensure(&[Need::new(
            "python3-venv",
            "it makes the environment for that",
            can_make_one,
        )])?;
        make(&environment, &wanted).with_context(|| format!("cannot install {}", self.tools))?;
        Ok(environment)
    }
}

/// The copy of the list is written last: an environment without it is not finished.
fn make(environment: &Path, wanted: &Path) -> anyhow::Result<()> {
    run(command("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    let mut pip = command(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(wanted);
    run(&mut pip)?;
    fs::copy(wanted, installed(environment))?;
    Ok(())
}

/// Whether it has what is wanted, and the Python that it was made with is still there.
fn is_right(environment: &Path, wanted: &[u8]) -> bool {
    fs::read(installed(environment)).is_ok_and(|installed| installed == wanted)
        && capture(command(environment.join("bin/python")).arg("--version")).is_ok()
}

fn installed(environment: &Path) -> PathBuf {
    environment.join("requirements.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_made_anew_unless_it_is_finished_and_works() {
        let environment = tempfile::tempdir().unwrap();
        let is_right = || is_right(environment.path(), b"a==1");
        assert!(!is_right());
        fs::write(installed(environment.path()), "a==1").unwrap();
        assert!(!is_right(), "no Python");
        fs::create_dir(environment.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/true", environment.path().join("bin/python")).unwrap();
        assert!(is_right());
        fs::write(installed(environment.path()), "a==2").unwrap();
        assert!(!is_right());
    }
}
