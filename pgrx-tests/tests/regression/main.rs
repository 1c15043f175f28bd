//! The database that PostgreSQL's own regression tests leave: objects of every kind that its authors thought of, most
//! of them odd. Its schema is the same after pg_dump.
//!
//! Needs the source that the server was built from, with pg_regress: `OPDB_REGRESS_DIR` is its `src/test/regress`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::env;
use std::ffi::OsStr;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};

use opdb_e2e::cluster::{Cluster, Installation, temporary_directory};

/// What the tests leave is less when many of them failed.
const AT_LEAST: [(&str, i64); 6] =
    [("table", 600), ("column", 2500), ("function", 250), ("constraint", 180), ("view", 30), ("index", 120)];

#[test]
fn the_schema_of_postgresqls_own_tests_is_the_same_after_pg_dump() {
    let Some(source) = env::var_os("OPDB_REGRESS_DIR").map(PathBuf::from) else {
        // Not by a macro: what those print of a test that passes is not shown.
        let why = "not run: OPDB_REGRESS_DIR names no source of this PostgreSQL, as `cargo xtask test --pg 18` builds it\n";
        stderr().write_all(why.as_bytes()).unwrap();
        return;
    };
    let installation = Installation::from_env().unwrap();
    let cluster = Cluster::start_temporary(&installation, &[("wal_level", "logical")]).unwrap();
    run_postgresqls_tests(&cluster, &installation, &source);

    let mut original = cluster.connect_as_superuser("regression").unwrap();
    original
        .batch_execute(
            "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE; SELECT opdb.capture_schema()",
        )
        .unwrap();
    for (kind, least) in AT_LEAST {
        let sql = "SELECT count(*) FROM opdb.schema_fact WHERE snapshot = 'expected' AND kind = $1";
        let count: i64 = original.query_one(sql, &[&kind]).unwrap().get(0);
        assert!(count >= least, "{count} objects of kind {kind}: the tests did not run as they should");
    }

    cluster.create_database("restored").unwrap();
    cluster.restore_to("regression", &cluster, "restored").unwrap();
    let mut restored = cluster.connect_as_superuser("restored").unwrap();
    let differences = "SELECT to_jsonb(d)::text FROM opdb.schema_drift('expected') d";
    let differences: Vec<String> =
        restored.query(differences, &[]).unwrap().into_iter().map(|row| row.get(0)).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    let mut fingerprint = |sql: &str| restored.query_one(sql, &[]).unwrap().get::<_, String>(0);
    assert_eq!(
        fingerprint("SELECT opdb.schema_fingerprint()"),
        fingerprint("SELECT fingerprint FROM opdb.schema_snapshots")
    );
}

/// As `make installcheck-parallel` does. That the output of some tests is not as expected, for example because there
/// is a password, does not matter: what matters is the database that they leave.
fn run_postgresqls_tests(cluster: &Cluster, installation: &Installation, source: &Path) {
    let output = temporary_directory().unwrap();
    let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
    let arguments = [
        option("inputdir", source),
        option("expecteddir", source),
        option("dlpath", source),
        option("outputdir", output.path()),
        option("bindir", &installation.bin),
        option("schedule", &source.join("parallel_schedule")),
        "--max-connections=20".into(),
    ];
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    if let Err(error) = cluster.run_client(&source.join("pg_regress"), &arguments) {
        let text = format!("{error:#}");
        assert!(text.contains("tests failed"), "{text}");
        eprintln!("{text}");
    }
}
