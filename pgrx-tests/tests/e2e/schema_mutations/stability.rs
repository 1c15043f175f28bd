//! The fingerprint is the schema's alone: not of who asks, with which settings, or how the schema came about.

use super::fixture::{Fixture, capture, database, drift, fill, fingerprint};
use crate::fixture::{execute, text};

/// What changes how the server prints or finds something.
const SETTINGS: [(&str, &str); 29] = [
    ("DateStyle", "ISO, DMY"),
    ("DateStyle", "SQL, DMY"),
    ("DateStyle", "Postgres, MDY"),
    ("DateStyle", "German, YMD"),
    ("TimeZone", "Asia/Tokyo"),
    ("TimeZone", "America/St_Johns"),
    ("TimeZone", "<+03>-03:30"),
    ("IntervalStyle", "sql_standard"),
    ("IntervalStyle", "postgres_verbose"),
    ("IntervalStyle", "iso_8601"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("quote_all_identifiers", "on"),
    ("extra_float_digits", "-15"),
    ("extra_float_digits", "3"),
    ("lc_monetary", "POSIX"),
    ("lc_numeric", "POSIX"),
    ("lc_time", "POSIX"),
    ("search_path", ""),
    ("search_path", "app, more, public"),
    ("search_path", "more, app, pg_catalog"),
    ("row_security", "off"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("default_table_access_method", "app_heap"),
    ("default_tablespace", "app_space"),
    ("statement_timeout", "60s"),
    ("client_encoding", "LATIN1"),
];

#[test]
fn neither_settings_nor_who_asks_change_the_fingerprint() {
    let mut fixture = Fixture::new();
    let client = &mut fixture.client;
    // Nothing is captured: it could be known from there.
    let before = fingerprint(client);
    for (name, value) in SETTINGS {
        execute(client, &format!("SET {name} = '{value}'"));
        assert_eq!(fingerprint(client), before, "{name} = {value}");
        execute(client, &format!("RESET {name}"));
    }
    let mut reader = fixture.cluster.connect("first", "app_user", "app_user").unwrap();
    assert_eq!(fingerprint(&mut reader), before);

    capture(client);
    execute(client, "COMMENT ON SCHEMA app IS 'x'");
    for (name, value) in SETTINGS {
        execute(client, &format!("SET {name} = '{value}'; COMMENT ON SCHEMA app IS '{name}'"));
        assert_eq!(drift(client), ["objects schema app changed: comment"], "{name} = {value}");
        execute(client, &format!("RESET {name}"));
    }
    assert_eq!(drift(&mut reader), ["objects schema app changed: comment"]);
}

/// What hangs on columns, whose numbers are others after one was dropped.
const ON_COLUMNS: &str = "
    CREATE INDEX gap_b ON app.gap (b) INCLUDE (c);
    CREATE INDEX gap_lower ON app.gap (lower(c)) WHERE b > 0;
    ALTER TABLE app.gap ADD CONSTRAINT gap_key UNIQUE (c, b), ADD CONSTRAINT gap_check CHECK (b > 0),
        ADD CONSTRAINT gap_ref FOREIGN KEY (b) REFERENCES app.target (b), ALTER c SET STATISTICS 7;
    CREATE STATISTICS app.gap_statistics ON b, c FROM app.gap;
    CREATE VIEW app.gap_view AS SELECT g FROM app.gap g;
    CREATE TRIGGER gap_watch AFTER UPDATE OF c, b ON app.gap EXECUTE FUNCTION app.on_row();
    CREATE POLICY gap_policy ON app.gap USING (b > 0);
    COMMENT ON COLUMN app.gap.c IS 'x';
    GRANT SELECT (c) ON app.gap TO app_reader;
    ALTER PUBLICATION app_publication ADD TABLE app.gap (c, b) WHERE (b > 0);
    ALTER TABLE app.list ATTACH PARTITION app.gap_list FOR VALUES IN (7);
    ALTER TABLE app.gap_child INHERIT app.gap_parent";

#[test]
fn a_dropped_column_leaves_no_trace() {
    let mut fixture = Fixture::new();
    let client = &mut fixture.client;
    execute(
        client,
        "CREATE TABLE app.gap (gone integer, b integer, lost text, c text, last integer);
         ALTER TABLE app.gap DROP gone, DROP lost, DROP last;
         CREATE TABLE app.gap_list (gone integer, a integer); ALTER TABLE app.gap_list DROP gone;
         CREATE TABLE app.gap_parent (gone integer, a integer); ALTER TABLE app.gap_parent DROP gone;
         CREATE TABLE app.gap_child (a integer);
         CREATE TYPE app.gap_type AS (gone integer, a integer); ALTER TYPE app.gap_type DROP ATTRIBUTE gone",
    );
    execute(client, ON_COLUMNS);

    let mut fresh = database(&fixture.cluster, "second");
    fill(&mut fresh);
    execute(
        &mut fresh,
        "CREATE TYPE app.gap_type AS (a integer); CREATE TABLE app.gap_parent (a integer);
         CREATE TABLE app.gap_child (a integer); CREATE TABLE app.gap_list (a integer);
         CREATE TABLE app.gap (b integer, c text)",
    );
    execute(&mut fresh, ON_COLUMNS);
    let dropped = "SELECT count(*) FROM pg_attribute WHERE attisdropped AND attrelid >= 16384";
    assert_eq!((text(client, dropped), text(&mut fresh, dropped)), ("6".into(), "0".into()));
    assert_eq!(fingerprint(client), fingerprint(&mut fresh));
}
