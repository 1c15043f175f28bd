//! Connections that are encrypted, to a server that proves who it is.

use opdb_e2e::cluster::{Certificate, Cluster};
use serde_json::json;

use super::{at, register_at, with};
use crate::fixture::{database, installation, on_test, refused, rows, servers, text};

#[test]
fn a_server_must_show_the_certificate_that_is_asked_of_it() {
    let (certificate, other) =
        (Certificate::new("127.0.0.1").unwrap(), Certificate::new("127.0.0.1").unwrap());
    let file = |path: std::path::PathBuf| path.display().to_string();
    let settings = [
        ("ssl", "on"),
        ("ssl_cert_file", &file(certificate.file())),
        ("ssl_key_file", &file(certificate.key())),
    ];
    let cluster = Cluster::start_temporary(&installation(), &settings).unwrap();
    let mut client = on_test(&database(&servers().test));
    let mut register = |name: &str, options| {
        register_at(&mut client, name, &with(at(&cluster, "postgres"), options), &cluster);
    };
    register("verified", json!({"sslmode": "verify-full", "sslrootcert": file(certificate.file())}));
    register("other", json!({"sslmode": "verify-full", "sslrootcert": file(other.file())}));
    register("plain", json!({"sslmode": "disable"}));

    let check = |name: &str| {
        format!(
            "SELECT reachable, tls, tls_version LIKE 'TLSv1%', tls_cipher IS NOT NULL
             FROM opdb.check_environment('{name}')"
        )
    };
    assert_eq!(rows(&mut client, &check("verified")), [["t", "t", "t", "t"]]);
    assert_eq!(rows(&mut client, &check("plain")), [["t", "f", "NULL", "f"]]);
    assert_eq!(rows(&mut client, &check("other")), [["f", "NULL", "NULL", "f"]]);
    let detail = text(&mut client, "SELECT detail FROM opdb.check_environment('other')");
    assert!(detail.contains("certificate verify failed"), "{detail}");
    let refusal = refused(&mut client, "SELECT opdb.check_compatibility('other')");
    assert_eq!(refusal.sqlstate, "08001");
    assert!(refusal.whole.contains("certificate verify failed"), "{refusal:?}");
}
