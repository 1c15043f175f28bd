//! Installs the extension into a PostgreSQL, as a user of it would.

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::Machine;
use crate::process::{as_root, run};

const NAME: &str = "opdb";

/// Builds the extension for release and installs it.
pub fn install(machine: &Machine) -> anyhow::Result<()> {
    remove_library(machine)?;
    let mut command = machine.cargo_pgrx();
    command.args(["install", "--release", "--pg-config"]).arg(&machine.installation.pg_config);
    command.args(machine.features());
    if needs_root(machine) {
        command.arg("--sudo");
    }
    run(&mut command)
}

/// Whether this user may not install extensions into this PostgreSQL.
pub fn needs_root(machine: &Machine) -> bool {
    let extensions = machine.installation.share.join("extension");
    [&machine.installation.pkglib, &extensions].into_iter().any(|dir| !is_writable(dir))
}

/// Removes the installed library. Installing with sudo copies over the file that is there, and a server that
/// has it loaded would crash; it keeps a file that is only unlinked.
pub fn remove_library(machine: &Machine) -> anyhow::Result<()> {
    let library: PathBuf = machine.installation.pkglib.join(format!("{NAME}.so"));
    if !library.exists() {
        return Ok(());
    }
    if needs_root(machine) {
        return run(as_root("rm")?.arg("-f").arg(&library));
    }
    Ok(fs::remove_file(&library)?)
}

fn is_writable(dir: &Path) -> bool {
    tempfile::tempfile_in(dir).is_ok()
}
