//! cargo-pgrx, which builds, installs and tests extensions, and its list of PostgreSQLs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use opdb_e2e::cluster::Installation;

use crate::cache::Cache;
use crate::process::{capture, cargo, command, find, run};

/// cargo-pgrx refuses to work with any other version of pgrx than its own.
const VERSION: &str = "0.18.1";

/// The program, installed into the cache unless it is there or on `PATH`.
pub fn ensure(cache: &Cache) -> anyhow::Result<PathBuf> {
    let own = cache.tools().join("bin/cargo-pgrx");
    if let Some(program) = find("cargo-pgrx").into_iter().chain([own.clone()]).find(|path| is_right(path)) {
        return Ok(program);
    }
    println!("installing cargo-pgrx {VERSION}: it builds and tests the extension (takes some minutes)");
    run(cargo()
        .args(["install", "cargo-pgrx", "--quiet", "--locked", "--force", "--version", VERSION, "--root"])
        .arg(cache.tools()))?;
    Ok(own)
}

fn is_right(program: &Path) -> bool {
    program.is_file()
        && capture(command(program).args(["pgrx", "--version"]))
            .is_ok_and(|text| text.split_whitespace().last() == Some(VERSION))
}

/// Adds the PostgreSQL to the list in `config.toml`, where pgrx finds it by its major version.
pub fn register(cache: &Cache, installation: &Installation) -> anyhow::Result<()> {
    let path = cache.pgrx_home().join("config.toml");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = merge(&old, installation.major, &installation.pg_config, Path::exists);
    if new != old {
        fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The configuration with one more PostgreSQL and without those that are gone.
fn merge(old: &str, major: u16, pg_config: &Path, exists: impl Fn(&Path) -> bool) -> String {
    let mut configs: BTreeMap<String, PathBuf> = old
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, path)| (name.trim().to_owned(), PathBuf::from(path.trim().trim_matches('"'))))
        .filter(|(name, path)| name.starts_with("pg") && exists(path))
        .collect();
    configs.insert(format!("pg{major}"), pg_config.to_owned());
    configs.iter().fold(String::from("[configs]\n"), |mut text, (name, path)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = \"{}\"", path.display());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_gets_its_first_entry() {
        assert_eq!(merge("", 15, Path::new("/a"), |_| true), "[configs]\npg15 = \"/a\"\n");
    }

    #[test]
    fn others_stay_if_they_exist() {
        let old = "[configs]\npg15 = \"/old\"\npg16 = \"/gone\"\npg18 = \"/kept\"\n";
        let new = merge(old, 15, Path::new("/new"), |path| path != Path::new("/gone"));
        assert_eq!(new, "[configs]\npg15 = \"/new\"\npg18 = \"/kept\"\n");
        assert_eq!(merge(&new, 15, Path::new("/new"), |_| true), new);
    }
}
