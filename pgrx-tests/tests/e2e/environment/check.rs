//! What check_environment measures.

use std::thread;

use serde_json::json;

use super::{at, register_at, until, with};
use crate::fixture::{
    Pair, database, execute, on_production, on_test, refused, role, rows, servers, sockets, text,
};

#[test]
fn the_rights_of_the_role_there_are_counted() {
    let mut pair = Pair::with_plain_production();
    let deployer = role(&servers().production, &["pg_monitor"]);
    execute(
        &mut pair.there,
        &format!(
            "CREATE TABLE readable (a int); CREATE TABLE writable (a int); CREATE TABLE hidden (a int);
             CREATE SCHEMA closed; CREATE TABLE closed.unreachable (a int); CREATE SCHEMA own;
             CREATE TABLE parts (a int) PARTITION BY RANGE (a);
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (2);
             GRANT CREATE ON SCHEMA own TO {deployer};
             GRANT SELECT ON readable, closed.unreachable TO {deployer};
             GRANT SELECT, INSERT, UPDATE ON writable TO {deployer}"
        ),
    );
    let credentials = json!({"user": deployer, "password": deployer});
    let options = at(&servers().production, &pair.there_name);
    execute(
        &mut pair.here,
        &format!("SELECT opdb.register_environment('plain', 'staging', '{options}', '{credentials}')"),
    );
    let rights = "SELECT unnest(rights) FROM opdb.check_environment('plain')";
    assert_eq!(
        rows(&mut pair.here, rights).concat(),
        [
            "temporary on database",
            "pg_monitor",
            "create on 1 of 3 schemas",
            "select on 2 of 5 tables",
            "insert and update on 1 of 5 tables"
        ]
    );
    let detail = "SELECT detail FROM opdb.check_environment('plain')";
    assert_eq!(text(&mut pair.here, detail), "NULL");
    execute(
        &mut pair.there,
        &format!(
            "ALTER ROLE {deployer} CREATEDB CREATEROLE REPLICATION BYPASSRLS;
             REVOKE TEMPORARY ON DATABASE {there} FROM PUBLIC; GRANT CREATE ON DATABASE {there} TO {deployer}",
            there = pair.there_name
        ),
    );
    assert_eq!(
        rows(&mut pair.here, rights).concat()[..6],
        ["replication", "bypassrls", "createrole", "createdb", "create on database", "pg_monitor"]
    );
    execute(&mut pair.there, &format!("ALTER ROLE {deployer} SUPERUSER"));
    assert_eq!(text(&mut pair.here, rights), "superuser");
    assert!(text(&mut pair.here, detail).contains("superuser"));
    execute(&mut pair.there, &format!("ALTER ROLE {deployer} NOSUPERUSER"));
}

#[test]
fn who_answered_and_how_is_told() {
    let mut pair = Pair::with_plain_production();
    let found = rows(
        &mut pair.here,
        "SELECT host, port, address, tls, tls_version, tls_cipher, server_version
         FROM opdb.check_environment('production')",
    );
    let port = servers().production.port().to_string();
    let version = text(&mut pair.there, "SHOW server_version");
    assert_eq!(found, [["127.0.0.1", port.as_str(), "internal", "f", "NULL", "NULL", version.as_str()]]);
}

#[test]
fn a_clock_that_is_off_is_measured_within_half_a_round_trip() {
    let mut pair = Pair::with_plain_production();
    // The same clock: it must be between the question and the answer. A microsecond is lost by rounding.
    let on_time = "SELECT abs(clock_skew_ms) <= latency_ms / 2 + 0.002
                   FROM opdb.check_environment('production')";
    for _ in 0..5 {
        assert_eq!(text(&mut pair.here, on_time), "t");
    }
    for (offset, told) in
        [("+ interval '1 hour'", "3600.0 s ahead of"), ("- interval '1 hour'", "3600.0 s behind")]
    {
        execute(
            &mut pair.there,
            &format!(
                "ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO right_clock;
                 CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                     AS $$ SELECT pg_catalog.right_clock() {offset} $$"
            ),
        );
        let skew = format!(
            "SELECT abs(clock_skew_ms - extract(epoch FROM interval '0' {offset}) * 1000) <= latency_ms / 2 + 0.002
                    AND detail LIKE '%its clock is {told}%'
             FROM opdb.check_environment('production')"
        );
        assert_eq!(text(&mut pair.here, &skew), "t");
        execute(
            &mut pair.there,
            "DROP FUNCTION pg_catalog.clock_timestamp(); ALTER FUNCTION pg_catalog.right_clock() RENAME TO clock_timestamp",
        );
    }
    assert_eq!(text(&mut pair.here, on_time), "t");
}

#[test]
fn an_older_major_is_told_and_nothing_else_is_done_with_it() {
    let mut pair = Pair::with_plain_production();
    // What a server before 14 says of its version, and of a setting that it does not know.
    execute(
        &mut pair.there,
        "ALTER FUNCTION pg_catalog.current_setting(text) RENAME TO right_setting;
         ALTER FUNCTION pg_catalog.current_setting(text, boolean) RENAME TO right_setting;
         ALTER FUNCTION pg_catalog.set_config(text, text, boolean) RENAME TO right_config;
         CREATE FUNCTION pg_catalog.current_setting(text) RETURNS text LANGUAGE sql STABLE
             AS $$ SELECT CASE $1 WHEN 'server_version' THEN '13.9' WHEN 'server_version_num' THEN '130009'
                                  ELSE pg_catalog.right_setting($1) END $$;
         CREATE FUNCTION pg_catalog.current_setting(text, boolean) RETURNS text LANGUAGE sql STABLE
             AS $$ SELECT CASE WHEN $1 <> 'client_connection_check_interval'
                               THEN pg_catalog.right_setting($1, $2) END $$;
         CREATE FUNCTION pg_catalog.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql
             AS $$ BEGIN IF $1 = 'client_connection_check_interval' THEN RAISE undefined_object; END IF;
                         RETURN pg_catalog.right_config($1, $2, $3); END $$",
    );
    let found = rows(
        &mut pair.here,
        "SELECT reachable, server_version, detail LIKE 'PostgreSQL older than 15 is not supported%'
         FROM opdb.check_environment('production')",
    );
    assert_eq!(found, [["t", "13.9", "t"]]);
    execute(&mut pair.here, "CREATE TABLE t (id int PRIMARY KEY)");
    for call in [
        "check_compatibility('production', '{t}')",
        "verify_column_mapping('production', 't')",
        "diff_schema('env:production', 'live')",
        "plan_deploy('production', '{t}')",
        "deploy('production', '{t}', '{\"raise\": true}')",
    ] {
        let refusal = refused(&mut pair.here, &format!("SELECT * FROM opdb.{call}"));
        assert_eq!(refusal.sqlstate, "0A000", "{call}: {refusal:?}");
        assert_eq!(refusal.message, "environment \"production\" is PostgreSQL 13.9, which is older than 15");
        assert!(refusal.hint.contains("upgrade"), "{refusal:?}");
    }
}

/// The pid of the backend of `database` there that waits for a lock.
fn waiting(database: &str) -> i32 {
    let mut there = on_production("postgres");
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
    );
    until(&mut there, &waits, "1");
    let pid =
        format!("SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'");
    text(&mut there, &pid).parse().unwrap()
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut pair = Pair::with_plain_production();
    let mut locker = on_production(&pair.there_name);
    execute(&mut locker, "BEGIN; LOCK TABLE pg_catalog.pg_stat_ssl");
    let mut here = on_test(&pair.here_name);
    let mut found = Vec::new();
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            rows(
                &mut here,
                "SELECT reachable, address, latency_ms, detail FROM opdb.check_environment('production', '3 seconds')",
            )
        });
        // From here on not even its own limits end the wait there.
        let _suspended = servers().production.suspend_backend(waiting(&pair.there_name)).unwrap();
        found = call.join().unwrap();
    });
    assert_eq!(found[0][..3], ["f", "internal", "NULL"]);
    assert!(found[0][3].contains("did not answer in time"), "{found:?}");
    execute(&mut locker, "ROLLBACK");
    assert_eq!(sockets(&mut here), 1, "its own client's");
    assert_eq!(text(&mut here, "SELECT reachable FROM opdb.check_environment('production')"), "t");
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        pair.there_name
    );
    drop(locker);
    until(&mut pair.there, &open, "0");
}

#[test]
fn a_server_that_accepts_nobody_is_given_up_after_the_time_to_connect() {
    let cluster = opdb_e2e::cluster::Cluster::start_temporary(&crate::fixture::installation(), &[]).unwrap();
    let mut client = on_test(&database(&servers().test));
    register_at(
        &mut client,
        "hangs",
        &with(at(&cluster, "postgres"), json!({"connect_timeout": 2})),
        &cluster,
    );
    let check = "SELECT reachable, detail FROM opdb.check_environment('hangs', '1 second')";
    {
        let _suspended = cluster.suspend_postmaster().unwrap();
        let found = rows(&mut client, check).remove(0);
        assert_eq!(found[0], "f");
        assert!(found[1].contains("timeout expired"), "{found:?}");
    }
    assert_eq!(text(&mut client, "SELECT reachable FROM opdb.check_environment('hangs', '1 hour')"), "t");
}

#[test]
fn a_timeout_is_longer_than_zero() {
    let mut pair = Pair::with_plain_production();
    for (timeout, sqlstate) in [("'0'", "22023"), ("'-1 second'", "22023"), ("NULL", "22004")] {
        let refusal =
            refused(&mut pair.here, &format!("SELECT opdb.check_environment('production', {timeout})"));
        assert_eq!(refusal.sqlstate, sqlstate, "{refusal:?}");
        assert!(refusal.message.contains("timeout"), "{refusal:?}");
    }
    let longest = "SELECT reachable FROM opdb.check_environment('production', '178000000 years')";
    assert_eq!(text(&mut pair.here, longest), "t");
}

#[test]
fn options_of_libpq_and_postgres_fdw_are_passed_through() {
    let mut pair = Pair::with_plain_production();
    let production = &servers().production;
    let options = with(
        at(production, &pair.there_name),
        json!({
            "fetch_size": 7, "application_name": "opdb here", "options": "-c work_mem=7MB", "sslmode": "disable",
            "target_session_attrs": "primary", "connect_timeout": 3,
        }),
    );
    register_at(&mut pair.here, "passed", &options, production);
    execute(&mut pair.here, "CREATE EXTENSION dblink");
    let asked = "SELECT a || ' ' || m FROM dblink('passed',
        'SELECT current_setting(''application_name''), current_setting(''work_mem'')') AS t (a text, m text)";
    assert_eq!(text(&mut pair.here, asked), "opdb here 7MB");
    assert_eq!(text(&mut pair.here, "SELECT reachable FROM opdb.check_environment('passed')"), "t");
    execute(&mut pair.there, "CREATE TABLE numbers AS SELECT i FROM generate_series(1, 20) i");
    execute(&mut pair.here, "CREATE FOREIGN TABLE numbers (i int) SERVER passed");
    let explained = "SELECT string_agg(i::text, ' ' ORDER BY i) FROM numbers";
    assert!(text(&mut pair.here, explained).ends_with(" 20"));
    let kept = "SELECT option_value FROM pg_foreign_server, pg_options_to_table(srvoptions)
                WHERE srvname = 'passed' AND option_name = 'fetch_size'";
    assert_eq!(text(&mut pair.here, kept), "7");

    let unknown = r#"SELECT opdb.register_environment('x', 'test', '{"target_session_attr": "any"}')"#;
    let refusal = refused(&mut pair.here, unknown);
    assert_eq!(refusal.sqlstate, "HV00D");
    assert!(refusal.message.contains("\"target_session_attr\""), "{refusal:?}");
    assert!(refusal.hint.contains("target_session_attrs"), "{refusal:?}");
}
