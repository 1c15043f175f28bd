//! What others do while rows are compared, and what they see of it.

use std::thread;

use super::differences;
use crate::fixture::{Pair, execute, on_production, on_test, rows, sockets, text};

/// A function on both sides that waits there, at a stage of the comparison that its queries tell apart, for a lock that
/// the test holds.
fn gated(pair: &mut Pair, stage: &str) {
    execute(&mut pair.here, "CREATE FUNCTION gate() RETURNS boolean STABLE LANGUAGE sql AS 'SELECT true'");
    execute(
        &mut pair.there,
        &format!(
            "CREATE FUNCTION gate() RETURNS boolean STABLE LANGUAGE plpgsql AS $$ BEGIN
                 IF current_query() LIKE '%{stage}%' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN true; END $$;
             SELECT pg_advisory_lock(1)"
        ),
    );
}

/// Waits until `sql` is true.
fn until(client: &mut postgres::Client, sql: &str) {
    while text(client, sql) != "t" {
        text(client, "SELECT pg_sleep(0.01)");
    }
}

const IS_WAITING: &str = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database())";
const GATED: &str = r#"'t', '{"where": "public.gate()"}'"#;

fn tables(pair: &mut Pair) {
    for client in [&mut pair.here, &mut pair.there] {
        execute(
            client,
            "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i",
        );
    }
}

#[test]
fn what_was_only_on_its_way_is_no_difference() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    execute(
        &mut pair.there,
        "UPDATE t SET a = 'b' WHERE id IN (5, 6); DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (200, 'x')",
    );
    gated(&mut pair, "opdb_rows");
    let (here_name, there_name) = (pair.here_name.clone(), pair.there_name.clone());
    let compared = thread::spawn(move || differences(&mut on_test(&here_name), GATED));
    let mut other = on_production(&there_name);
    until(&mut other, IS_WAITING);
    // The keys of the rows that differ are being read, as they were before this.
    execute(
        &mut other,
        "UPDATE t SET a = 'a' WHERE id = 5; INSERT INTO t VALUES (7, 'a'); DELETE FROM t WHERE id = 200",
    );
    execute(&mut pair.there, "SELECT pg_advisory_unlock(1)");
    assert_eq!(compared.join().unwrap(), [r#"changed {"id": 6} {a}"#]);
}

#[test]
fn others_see_how_far_it_is_and_can_end_it() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    gated(&mut pair, "GROUP BY");
    let here_name = pair.here_name.clone();
    let compared = thread::spawn(move || {
        let mut client = on_test(&here_name);
        let sql = format!("SELECT FROM opdb.compare_data('production', {GATED})");
        let code = client.batch_execute(&sql).unwrap_err().code().unwrap().code().to_owned();
        (code, sockets(&mut client))
    });
    let mut other = on_production(&pair.there_name);
    until(&mut other, IS_WAITING);
    let seen = rows(
        &mut pair.here,
        "SELECT database, table_name, phase, buckets, differing_buckets FROM opdb.compare_progress WHERE database = current_database()",
    );
    assert_eq!(seen, [[pair.here_name.as_str(), "t", "hashing", "16", "0"]]);
    text(
        &mut pair.here,
        "SELECT pg_cancel_backend(pid) FROM opdb.compare_progress WHERE database = current_database()",
    );
    // It does not wait for the other server.
    assert_eq!(compared.join().unwrap(), ("57014".to_owned(), 1));
    assert!(
        rows(&mut pair.here, "SELECT FROM opdb.compare_progress WHERE database = current_database()")
            .is_empty()
    );
}

#[test]
fn while_it_waits_nothing_is_held_back_there_and_nothing_ends_the_wait_early() {
    let mut pair = Pair::with_plain_production();
    tables(&mut pair);
    execute(&mut pair.there, "UPDATE t SET a = 'b' WHERE id = 5");
    let here_name = pair.here_name.clone();
    let compared = thread::spawn(move || {
        let mut client = on_test(&here_name);
        let sql = r#"SELECT FROM opdb.compare_data('production', 't', '{"recheck_after": "1 day"}')"#;
        client.batch_execute(sql).unwrap_err().code().unwrap().code().to_owned()
    });
    until(
        &mut pair.here,
        "SELECT coalesce(bool_and(candidates = 1), false) FROM opdb.compare_progress WHERE database = current_database()",
    );
    until(
        &mut pair.there,
        "SELECT coalesce(bool_and(state = 'idle' AND backend_xmin IS NULL), false) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    text(&mut pair.here, "SELECT pg_reload_conf()");
    text(&mut pair.here, "SELECT pg_sleep(0.3)");
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT count(*) FROM opdb.compare_progress WHERE database = current_database()"
        ),
        "1"
    );
    text(
        &mut pair.here,
        "SELECT pg_cancel_backend(pid) FROM opdb.compare_progress WHERE database = current_database()",
    );
    assert_eq!(compared.join().unwrap(), "57014");
}
