//! PostgreSQL 18 from Debian's source package, for distributions that do not have it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::Context;

use crate::apt::{Apt, Need};
use crate::cache::Cache;
use crate::machine::complete;
use crate::process::{capture, command, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const CONFIGURE: [&str; 4] = ["--enable-cassert", "--with-icu", "--with-openssl", "--without-readline"];

/// The `pg_config` of the PostgreSQL 18 in the cache, built if it is not there.
pub fn ensure(cache: &Cache, apt: &mut Apt) -> anyhow::Result<PathBuf> {
    let pg_config = cache.postgresql_18().join("bin/pg_config");
    if complete(&pg_config).is_ok() {
        return Ok(pg_config);
    }
    println!("PostgreSQL 18 is not installed: building it once, which takes 3 to 9 minutes on 2 cores");
    apt.ensure(&build_dependencies())?;
    let log = cache.file("postgresql-18.log");
    println!("the log is {}", log.display());
    fetch(cache, apt, &log)?;
    build(cache, &log)?;
    Ok(pg_config)
}

fn build_dependencies() -> [Need; 7] {
    let why = "PostgreSQL 18 is built with it";
    [
        Need::programs("bison", why, &["bison"]),
        Need::programs("flex", why, &["flex"]),
        Need::programs("perl", why, &["perl"]),
        Need::programs("dpkg-dev", "it unpacks the source of PostgreSQL 18", &["dpkg-source"]),
        Need::file("libicu-dev", why, "/usr/include/unicode/ucol.h"),
        Need::file("libssl-dev", why, "/usr/include/openssl/ssl.h"),
        Need::file("zlib1g-dev", why, "/usr/include/zlib.h"),
    ]
}

/// Unpacks the source package of Debian unstable, without touching the system's list of sources.
fn fetch(cache: &Cache, apt: &mut Apt, log: &Path) -> anyhow::Result<()> {
    let archive = match archive()? {
        Some(archive) => archive,
        None => {
            apt.update()?;
            archive()?.context(
                "apt-get knows no Debian archive to take the source of PostgreSQL 18 from: install \
                 PostgreSQL 18 with its server headers, or set PG_CONFIG",
            )?
        }
    };
    let scratch = tempfile::tempdir_in(cache.file(""))?;
    fs::create_dir_all(scratch.path().join("lists/partial"))?;
    fs::create_dir_all(scratch.path().join("cache/archives/partial"))?;
    fs::write(scratch.path().join("sources.list"), archive.source_line())?;
    let apt_get = |arguments: &[&str]| {
        let mut command = command("apt-get");
        command.current_dir(scratch.path()).args(options(scratch.path())).args(arguments);
        command
    };
    step("fetching the list of source packages", log, &mut apt_get(&["update"]))?;
    step("fetching the source", log, &mut apt_get(&["source", "--only-source", "postgresql-18"]))?;
    let unpacked = unpacked(scratch.path()).context("apt-get source has unpacked nothing")?;
    remove(&cache.postgresql_18_source())?;
    Ok(fs::rename(unpacked, cache.postgresql_18_source())?)
}

/// Everything that apt-get writes goes to the scratch directory.
fn options(scratch: &Path) -> Vec<String> {
    let dir = scratch.display();
    [
        format!("Dir::Etc::sourcelist={dir}/sources.list"),
        "Dir::Etc::sourceparts=-".into(),
        format!("Dir::State::lists={dir}/lists"),
        format!("Dir::Cache={dir}/cache"),
        "APT::Sandbox::User=root".into(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".into(), option])
    .collect()
}

fn unpacked(dir: &Path) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).find(|path| path.join("configure").is_file())
}

/// Builds and installs under another name first, so that an interrupted build is not taken for a complete one.
fn build(cache: &Cache, log: &Path) -> anyhow::Result<()> {
    let (source, prefix) = (cache.postgresql_18_source(), cache.postgresql_18());
    let staging = cache.file("postgresql-18.unfinished");
    remove(&staging)?;
    let cores = available_parallelism().map_or(1, usize::from);
    let mut configure = in_source(&source, "./configure");
    configure.arg(format!("--prefix={}", prefix.display())).args(CONFIGURE).arg("CFLAGS=-O2 -g1");
    step("configuring", log, &mut configure)?;
    step("compiling", log, in_source(&source, "make").arg("-s").arg(format!("-j{cores}")).arg("world-bin"))?;
    let destination = format!("DESTDIR={}", staging.display());
    step("installing", log, in_source(&source, "make").args(["-s", "install-world-bin", &destination]))?;
    remove(&prefix)?;
    fs::rename(staging.join(prefix.strip_prefix("/")?), &prefix)?;
    remove(&staging)
}

/// User `postgres` must be able to read what root builds, whatever root's umask is.
fn in_source(source: &Path, program: &str) -> Command {
    let mut shell = command("sh");
    shell.current_dir(source).args(["-c", r#"umask 022 && exec "$@""#, "sh", program]);
    shell
}

fn step(what: &str, log: &Path, command: &mut Command) -> anyhow::Result<()> {
    println!("  {what}");
    let started = Instant::now();
    let output = File::options().create(true).append(true).open(log)?;
    command.stdout(output.try_clone()?).stderr(output);
    run(command).with_context(|| format!("{what} failed; the end of {}:\n{}", log.display(), tail(log)))?;
    println!("  {what}: done in {} s", started.elapsed().as_secs());
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

/// Where this machine gets Debian's packages from, and how it knows that they are Debian's.
#[derive(Debug, PartialEq, Eq)]
struct Archive {
    uri: String,
    keyring: String,
}

impl Archive {
    fn source_line(&self) -> String {
        format!("deb-src [signed-by={}] {} unstable main\n", self.keyring, self.uri)
    }
}

fn archive() -> anyhow::Result<Option<Archive>> {
    let targets =
        capture(
            command("apt-get")
                .args(["indextargets", "--format", "$(REPO_URI) $(LABEL) $(SOURCESENTRY)"])
                .args(["Created-By: Packages", "Origin: Debian", "Component: main"]),
        )?;
    Ok(choose(&targets, |path| fs::read_to_string(path).unwrap_or_default()))
}

fn choose(targets: &str, read: impl Fn(&str) -> String) -> Option<Archive> {
    let mut lines = targets.lines().map(|line| line.split(' '));
    lines.find_map(|mut words| {
        let (uri, label) = (words.next()?, words.next()?);
        // A CD and the archive of security updates have no unstable.
        if label != "Debian" || uri.starts_with("cdrom:") {
            return None;
        }
        let entry = words.next().and_then(|entry| entry.rsplit_once(':'));
        let keyring = entry.and_then(|(path, _)| signed_by(&read(path)));
        Some(Archive { uri: uri.to_owned(), keyring: keyring.unwrap_or_else(|| KEYRING.to_owned()) })
    })
}

/// The keyring file that a list of sources names, in either of the two formats of such lists.
fn signed_by(list: &str) -> Option<String> {
    list.lines().filter(|line| !line.trim_start().starts_with('#')).find_map(|line| {
        let lower = line.to_ascii_lowercase();
        let start = lower.find("signed-by")? + "signed-by".len();
        let value = line[start..].trim_start_matches(['=', ':', ' ']);
        let path = value.split([' ', ']', ',']).next()?;
        path.starts_with('/').then(|| path.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_machines_own() {
        let targets =
            "https://m/debian-security/ Debian-Security /etc/s:1\nhttps://m/debian/ Debian /etc/s:1\n";
        let archive = choose(targets, |_| String::new()).unwrap();
        assert_eq!(
            archive.source_line(),
            format!("deb-src [signed-by={KEYRING}] https://m/debian/ unstable main\n")
        );
        assert_eq!(choose("cdrom://x/ Debian /etc/s:1\n", |_| String::new()), None);
    }

    #[test]
    fn its_keyring_is_the_one_that_the_machine_trusts() {
        let deb822 = "# Signed-By: /no\nTypes: deb\nSigned-By: /keys/a.gpg\n";
        assert_eq!(signed_by(deb822).as_deref(), Some("/keys/a.gpg"));
        assert_eq!(
            signed_by("deb [arch=amd64 signed-by=/keys/b.gpg] u s m\n").as_deref(),
            Some("/keys/b.gpg")
        );
        assert_eq!(signed_by("Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n"), None);
    }
}
