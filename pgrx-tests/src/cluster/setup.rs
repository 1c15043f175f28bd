//! Everything between an empty directory and a server that can be started.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::account::Account;
use super::{HOST, Installation, command};

/// The settings of every cluster. It holds nothing worth an fsync. It has no Unix socket, whose path
/// could get longer than the 107 bytes that the system allows.
const SETTINGS: [(&str, &str); 5] = [
    ("listen_addresses", HOST),
    ("unix_socket_directories", ""),
    ("fsync", "off"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
];

/// Runs initdb in `dir/data`.
pub(super) fn initialize(
    installation: &Installation,
    account: &Account,
    dir: &Path,
    superuser: &str,
    password: &str,
) -> anyhow::Result<()> {
    let password_file = dir.join("password");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&password_file)?;
    file.write_all(password.as_bytes())?;
    account.give(&password_file)?;
    command::run(
        account
            .command(&installation.bin.join("initdb"))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--no-instructions"])
            .arg(format!("--locale={}", locale()))
            .arg(format!("--username={superuser}"))
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(dir.join("data")),
    )
    .with_context(|| format!("cannot create a cluster in {}", dir.display()))?;
    fs::remove_file(&password_file)?;
    configure(&dir.join("data"), &SETTINGS)
}

/// Adds settings to the cluster's postgresql.conf, where the last word counts.
pub(super) fn configure(data: &Path, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    let path = data.join("postgresql.conf");
    OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(lines(settings).as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn lines(settings: &[(&str, &str)]) -> String {
    settings.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = '{}'", value.replace('\\', r"\\").replace('\'', "''"));
        text
    })
}

/// 128 random bits in hexadecimal digits, which need no quoting anywhere.
pub(super) fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((HOST, 0)).with_context(|| format!("cannot listen on {HOST}"))?;
    Ok(listener.local_addr()?.port())
}

fn locale() -> &'static str {
    let known = command::run(Command::new("locale").arg("-a")).unwrap_or_default();
    if known.lines().any(|name| matches!(name, "C.UTF-8" | "C.utf8")) { "C.UTF-8" } else { "C" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_reach_the_server_as_they_are() {
        assert_eq!(lines(&[("a.b", "it's"), ("path", r"c:\x")]), "a.b = 'it''s'\npath = 'c:\\\\x'\n");
    }

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
