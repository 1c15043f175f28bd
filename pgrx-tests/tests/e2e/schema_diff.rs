//! Comparing with another server, on which nothing is installed.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::{Pair, execute, on_production, refused, role, rows, servers, text};

const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TYPE app.mood AS ENUM ('sad', 'happy');
    CREATE TABLE app.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s varchar(9) CHECK (s IN ('a', 'b')),
                        m app.mood DEFAULT 'sad');
    CREATE INDEX t_s_idx ON app.t (lower(s));
    CREATE VIEW app.v AS SELECT t.id, t.s FROM app.t WHERE t.s <> 'x';
    CREATE FUNCTION app.f(a int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT a'";

/// The whole databases differ in the extensions that opdb needs here.
const DIFFERENCES: &str = "SELECT object, aspect, change FROM opdb.diff_schema('env:production', 'live')
    WHERE kind NOT IN ('extension', 'foreign_data_wrapper') ORDER BY object, aspect";

fn pair() -> Pair {
    let mut pair = Pair::with_plain_production();
    execute(&mut pair.here, SCHEMA);
    execute(&mut pair.there, SCHEMA);
    pair
}

#[test]
fn another_server_is_compared_with_nothing_installed_there() {
    let mut pair = pair();
    let two = r#"{"host": "a", "external": {"host": "b"}}"#;
    let call = format!(r#"SELECT opdb.register_environment('two', 'test', '{two}', '{{"user": "u"}}')"#);
    execute(&mut pair.here, &call);
    let others = "SELECT kind, object, change FROM opdb.diff_schema('env:production', 'live') ORDER BY 1, 2";
    let names: Vec<String> = rows(&mut pair.here, others).into_iter().map(|row| row.join(" ")).collect();
    assert_eq!(
        names,
        ["extension postgres_fdw unexpected"],
        "not opdb, nor the servers and mappings that it made"
    );
    execute(
        &mut pair.here,
        "DROP VIEW app.v; ALTER TABLE app.t ALTER s TYPE text; DROP INDEX app.t_s_idx; CREATE TABLE app.new ();
         CREATE VIEW app.v AS SELECT t.id, t.s FROM app.t WHERE t.s <> 'y'; ALTER TYPE app.mood ADD VALUE 'angry' BEFORE 'happy'",
    );
    let expected = [
        "app.mood data_types changed",
        "app.new objects unexpected",
        "app.t.s data_types changed",
        "app.t.t_s_check constraints changed",
        "app.t.t_s_idx indexes missing",
        "app.v objects changed",
        "app.v.s data_types changed",
    ];
    let names = |rows: Vec<Vec<String>>| rows.into_iter().map(|row| row.join(" ")).collect::<Vec<_>>();
    assert_eq!(names(rows(&mut pair.here, DIFFERENCES)), expected);
    let mirrored = text(
        &mut pair.here,
        "SELECT string_agg(object || ' ' || change || ' ' || hazard, ', ' ORDER BY object)
         FROM opdb.diff_schema('live', 'env:production') WHERE object IN ('app.new', 'app.t.t_s_idx')",
    );
    assert_eq!(mirrored, "app.new missing data_loss, app.t.t_s_idx unexpected performance");

    execute(&mut pair.here, "SELECT opdb.capture_schema('mine', '{app}')");
    let captured = "SELECT count(*) FROM opdb.diff_schema('env:production', 'mine')";
    assert_eq!(text(&mut pair.here, captured), "7", "in the schemas that were captured");
    assert_eq!(text(&mut pair.here, "SELECT count(*) FROM opdb.diff_schema('mine', 'live')"), "0");
    assert_eq!(
        text(&mut pair.here, "SELECT count(*) FROM opdb.diff_schema('env:production', 'env:production')"),
        "0"
    );
}

#[test]
fn what_the_role_there_may_not_see_is_unknown_and_named() {
    let mut pair = pair();
    let mapping =
        "CREATE EXTENSION IF NOT EXISTS postgres_fdw; CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw;
        CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (user 'u')";
    execute(&mut pair.here, mapping);
    execute(&mut pair.there, mapping);
    assert_eq!(rows(&mut pair.here, DIFFERENCES), Vec::<Vec<String>>::new());
    let weak = role(&servers().production, &[]);
    let mut pair = pair.register("weak", "staging", &weak, &weak);
    let unknown = "SELECT object || ' ' || change || ' ' || (expected -> 'options' ->> 'unknown')
        FROM opdb.diff_schema('env:weak', 'live') WHERE kind NOT IN ('extension', 'foreign_data_wrapper')";
    let unknown = text(&mut pair.here, unknown);
    assert_eq!(unknown, format!("FOR public SERVER other unknown not visible to role {weak}"));
}

#[test]
fn a_schema_opdb_there_that_the_role_may_not_use_is_in_nobodys_way() {
    let mut pair = Pair::with_opdb_on_both();
    let weak = role(&servers().production, &[]);
    execute(&mut pair.there, "CREATE SCHEMA app; CREATE TABLE app.t ()");
    execute(&mut pair.here, "CREATE SCHEMA app; CREATE TABLE app.t (a int)");
    let mut pair = pair.register("weak", "staging", &weak, &weak);
    let found =
        text(&mut pair.here, "SELECT object FROM opdb.diff_schema('env:weak', 'live') WHERE kind = 'column'");
    assert_eq!(found, "app.t.a");
}

#[test]
fn what_only_looks_like_opdb_there_is_not_asked() {
    let mut pair = pair();
    execute(
        &mut pair.there,
        "CREATE EXTENSION postgres_fdw; CREATE SERVER hidden FOREIGN DATA WRAPPER postgres_fdw; CREATE SCHEMA opdb;
         CREATE FUNCTION opdb.f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''ran''; END';
         CREATE VIEW opdb.environment AS SELECT opdb.f() AS server;
         GRANT USAGE ON SCHEMA opdb TO PUBLIC; GRANT SELECT ON opdb.environment TO PUBLIC",
    );
    let found = "SELECT change FROM opdb.diff_schema('env:production', 'live') WHERE object = 'hidden'";
    assert_eq!(text(&mut pair.here, found), "missing");
}

#[test]
fn in_some_schemas_an_extension_counts_by_its_version_too() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE SCHEMA app; CREATE EXTENSION hstore SCHEMA app VERSION '1.4';
         SELECT opdb.capture_schema('app', '{app}'); ALTER EXTENSION hstore UPDATE TO '1.8'",
    );
    let drift =
        "SELECT string_agg(kind || ' ' || object || ' ' || change, ', ') FROM opdb.schema_drift('app')";
    assert_eq!(text(&mut pair.here, drift), "extension hstore changed");
    let covers =
        "SELECT v -> 'covers' ? 'table' AND NOT v -> 'covers' ? 'server' FROM opdb.validate_schema('app') v";
    assert_eq!(text(&mut pair.here, covers), "t");
}

#[test]
fn a_table_locked_there_is_not_waited_for() {
    let mut pair = pair();
    let mut other = on_production(&pair.there_name);
    execute(&mut other, "BEGIN; LOCK TABLE app.t");
    let found = rows(&mut pair.here, DIFFERENCES);
    let unknown: Vec<&str> =
        found.iter().filter(|row| row[2] == "unknown").map(|row| row[0].as_str()).collect();
    assert_eq!(unknown, ["app.t.t_s_check", "app.t.t_s_idx", "app.v"]);
    assert_eq!(found.len(), unknown.len(), "{found:?}");
}

#[test]
fn an_environment_that_goes_down_in_the_middle_is_an_error_that_names_it() {
    let mut pair = pair();
    let is_done = AtomicBool::new(false);
    let there = pair.there_name.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut killer = on_production("postgres");
            let kill = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = '{there}' AND query LIKE '%opdb_facts%'"
            );
            while !is_done.load(Ordering::Relaxed) {
                execute(&mut killer, &kill);
            }
        });
        let refusal = loop {
            let call = pair.here.batch_execute("SELECT * FROM opdb.diff_schema('env:production', 'live')");
            if let Err(error) = call {
                break error;
            }
        };
        is_done.store(true, Ordering::Relaxed);
        let error = refusal.as_db_error().unwrap();
        assert!(error.message().contains("\"production\""), "{error:?}");
        assert!(["57P01", "08006", "08001", "08003"].contains(&error.code().code()), "{error:?}");
    });
    assert_eq!(rows(&mut pair.here, DIFFERENCES), Vec::<Vec<String>>::new(), "and works again afterwards");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let mut pair = pair();
    execute(
        &mut pair.here,
        "SELECT opdb.capture_schema('all'); SELECT opdb.capture_schema('app', '{app}');
         SELECT opdb.capture_schema('old'); UPDATE opdb.schema_snapshot SET format = 1 WHERE name = 'old'",
    );
    let refusal = refused(&mut pair.here, "SELECT * FROM opdb.diff_schema('all', 'app')");
    assert_eq!(refusal.sqlstate, "22023");
    assert!(refusal.whole.contains("all schemas; \\\"app\\\": app"), "{refusal:?}");
    for call in [
        "opdb.validate_schema('old')",
        "opdb.schema_drift('old')",
        "opdb.assert_schema('old')",
        "opdb.diff_schema('old', 'live')",
        "opdb.diff_schema('live', 'old')",
    ] {
        let refusal = refused(&mut pair.here, &format!("SELECT * FROM {call}"));
        assert_eq!(refusal.sqlstate, "55000", "{call}");
        assert!(refusal.hint.contains("capture_schema('old')"), "{refusal:?}");
    }
}
