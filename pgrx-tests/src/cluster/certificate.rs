//! Certificates for servers that speak TLS.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::account::Account;
use super::{command, temporary_directory};

/// A certificate that signed itself, and its key, in files that servers can read.
pub struct Certificate {
    dir: TempDir,
}

impl Certificate {
    /// For a server at an IP address. Needs the program openssl.
    pub fn new(address: &str) -> anyhow::Result<Self> {
        let certificate = Self { dir: temporary_directory()? };
        let mut openssl = Account::current()?.command(Path::new("openssl"));
        openssl
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", &format!("/CN={address}")])
            .args(["-addext", &format!("subjectAltName=IP:{address}")])
            .arg("-keyout")
            .arg(certificate.key())
            .arg("-out")
            .arg(certificate.file());
        command::run(&mut openssl)?;
        Ok(certificate)
    }

    /// The certificate, which is also the one to trust.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("server.crt")
    }

    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }
}
