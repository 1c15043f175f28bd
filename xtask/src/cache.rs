//! Where tools and builds are kept from one run to the next: outside `target`, which people delete.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

use anyhow::Context;

/// The cache directory, held by one command at a time: two of them would install the extension over each
/// other's.
pub struct Cache {
    root: PathBuf,
    _lock: File,
}

impl Cache {
    pub fn open() -> anyhow::Result<Self> {
        let root =
            root(|name| env::var_os(name).filter(|value| !value.is_empty()), opdb_e2e::cluster::is_root()?)?;
        let pgrx_home = root.join("pgrx");
        fs::create_dir_all(&pgrx_home).with_context(|| format!("cannot create {}", pgrx_home.display()))?;
        let lock = lock(root.join("lock"))?;
        Ok(Self { root, _lock: lock })
    }

    /// Where `cargo install` puts cargo-pgrx, in `bin`.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// What cargo-pgrx calls `PGRX_HOME`, so that it leaves the user's own `~/.pgrx` alone.
    pub fn pgrx_home(&self) -> PathBuf {
        self.root.join("pgrx")
    }

    /// The PostgreSQL 18 that was built here.
    pub fn postgresql_18(&self) -> PathBuf {
        self.root.join("postgresql-18")
    }

    /// The source that it was built from.
    pub fn postgresql_18_source(&self) -> PathBuf {
        self.root.join("postgresql-18-src")
    }

    /// The virtual environment of the tools of this name that opdb is compared with.
    pub fn peers(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}-peers"))
    }

    /// A place for something unfinished or for a log.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// Root's home is closed to user `postgres`, who must be able to read what is installed in the cache.
fn root(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> anyhow::Result<PathBuf> {
    if let Some(chosen) = variable("OPDB_CACHE") {
        return Ok(std::path::absolute(chosen)?);
    }
    if is_root {
        return Ok("/var/cache/opdb".into());
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    Ok(cache.context("found no place for a cache: set OPDB_CACHE to a directory")?.join("opdb"))
}

fn lock(path: PathBuf) -> anyhow::Result<File> {
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("waiting for another `cargo xtask` to end");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn with(variables: &[(&str, &str)], is_root: bool) -> Option<PathBuf> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        root(find, is_root).ok()
    }

    #[test]
    fn the_cache_is_where_its_user_can_keep_it() {
        let home = ("HOME", "/home/u");
        assert_eq!(with(&[home], true).as_deref(), Some(Path::new("/var/cache/opdb")));
        assert_eq!(with(&[home], false).as_deref(), Some(Path::new("/home/u/.cache/opdb")));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "/x")], false).as_deref(), Some(Path::new("/x/opdb")));
        assert_eq!(with(&[home, ("OPDB_CACHE", "/o")], true).as_deref(), Some(Path::new("/o")));
        assert_eq!(with(&[], false), None);
    }
}
