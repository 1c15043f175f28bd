//! What keeps rows from being compared.

use std::thread;

use super::differences;
use crate::fixture::{Pair, execute, on_production, on_test, refused, register, role, servers, text};

fn tables(pair: &mut Pair) {
    for client in [&mut pair.here, &mut pair.there] {
        execute(
            client,
            "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 1000) i",
        );
    }
}

const COMPARE: &str = "SELECT FROM opdb.compare_data('production', 't')";

#[test]
fn rights_to_read_are_enough_and_needed() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    let (operator, reader) = (role(&servers().test, &["opdb_operator"]), role(&servers().production, &[]));
    let mut session = servers().test.connect(&pair.here_name, &operator, &operator).unwrap();
    let there_name = pair.there_name.clone();
    register(&mut session, "production", "production", &there_name, &reader, &reader);
    let refusal = refused(&mut session, COMPARE);
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.message.contains("production")),
        ("42501", false),
        "{refusal:?}"
    );
    execute(&mut pair.here, &format!("GRANT SELECT ON t TO {operator}"));
    let refusal = refused(&mut session, COMPARE);
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.message.contains("production")),
        ("42501", true),
        "{refusal:?}"
    );
    execute(&mut pair.there, &format!("GRANT SELECT ON t TO {reader}; UPDATE t SET a = 'b' WHERE id = 9"));
    assert_eq!(differences(&mut session, "'t'"), [r#"changed {"id": 9} {a}"#]);
    assert_eq!(
        text(&mut session, "SELECT state FROM opdb.compare_summary('production', '{t}')"),
        "different"
    );
}

#[test]
fn rows_that_a_policy_hides_are_not_taken_for_missing() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    let reader = role(&servers().production, &[]);
    execute(
        &mut pair.there,
        &format!("GRANT SELECT ON t TO {reader}; ALTER TABLE t ENABLE ROW LEVEL SECURITY"),
    );
    let there_name = pair.there_name.clone();
    register(&mut pair.here, "production", "production", &there_name, &reader, &reader);
    let refusal = refused(&mut pair.here, COMPARE);
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("row-level security"), "{refusal:?}");
}

#[test]
fn what_the_role_there_is_set_to_does_not_matter_and_limits_are_the_callers() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    let there_name = pair.there_name.clone();
    execute(
        &mut pair.there,
        &format!(
            "ALTER DATABASE {there_name} SET statement_timeout = '1h'; ALTER DATABASE {there_name} SET row_security = off;
             ALTER DATABASE {there_name} SET search_path = nowhere;
             ALTER DATABASE {there_name} SET default_transaction_isolation = serializable;
             CREATE FUNCTION limits() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN
                 IF current_setting('statement_timeout') <> '15min' THEN RAISE 'not 15 minutes'; END IF; RETURN true; END $$"
        ),
    );
    execute(&mut pair.here, "CREATE FUNCTION limits() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'");
    assert!(differences(&mut pair.here, r#"'t', '{"where": "public.limits()"}'"#).is_empty());
    execute(&mut on_production("postgres"), &format!("ALTER DATABASE {there_name} RESET ALL"));
    execute(&mut pair.here, "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'");
    execute(
        &mut pair.there,
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(600); RETURN true; END $$",
    );
    let sql = r#"SELECT FROM opdb.compare_data('production', 't', '{"where": "public.slow()", "statement_timeout": "50 ms"}')"#;
    let refusal = refused(&mut pair.here, sql);
    assert_eq!(refusal.sqlstate, "57014");
    assert!(refusal.message.contains("environment \"production\""), "{refusal:?}");
}

#[test]
fn a_connection_that_breaks_is_an_error_and_the_next_call_works() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    execute(&mut pair.here, "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'");
    execute(
        &mut pair.there,
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$; SELECT pg_advisory_lock(1)",
    );
    let here_name = pair.here_name.clone();
    let compared = thread::spawn(move || {
        let mut client = on_test(&here_name);
        let refusal = refused(
            &mut client,
            r#"SELECT FROM opdb.compare_data('production', 't', '{"where": "public.slow()"}')"#,
        );
        (refusal, differences(&mut client, "'t'"))
    });
    let waiting =
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                   WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()";
    while text(&mut pair.there, waiting) != "t" {
        text(&mut pair.there, "SELECT pg_sleep(0.01)");
    }
    let (refusal, then) = compared.join().unwrap();
    assert_eq!(refusal.sqlstate, "08006", "{refusal:?}");
    assert!(then.is_empty());
}

#[test]
fn as_many_connections_are_used_as_there_are() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    execute(&mut pair.there, "UPDATE t SET a = 'b' WHERE id IN (1, 1000)");
    let expected = [r#"changed {"id": 1000} {a}"#, r#"changed {"id": 1} {a}"#];
    assert_eq!(differences(&mut pair.here, r#"'t', '{"connections": 4}'"#), expected);
    let reader = role(&servers().production, &[]);
    execute(
        &mut pair.there,
        &format!("GRANT SELECT ON t TO {reader}; ALTER ROLE {reader} CONNECTION LIMIT 2"),
    );
    let there_name = pair.there_name.clone();
    register(&mut pair.here, "production", "production", &there_name, &reader, &reader);
    assert_eq!(differences(&mut pair.here, r#"'t', '{"connections": 4}'"#), expected);
    let told = pair.notices(r#"SELECT FROM opdb.compare_data('production', 't', '{"connections": 4}')"#);
    assert!(told.contains("goes on with 2 of 4 connections"), "{told}");
}

#[test]
fn a_transaction_that_keeps_its_snapshot_sees_the_present_too() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    execute(&mut pair.here, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t");
    let here_name = pair.here_name.clone();
    execute(&mut on_test(&here_name), "UPDATE t SET a = 'c' WHERE id = 4");
    assert_eq!(differences(&mut pair.here, "'t'"), [r#"changed {"id": 4} {a}"#]);
    execute(&mut pair.here, "COMMIT");
}
