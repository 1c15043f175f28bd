//! Environments behind PgBouncer.
//!
//! Needs Debian's `pgbouncer`, which `cargo xtask test` installs.

use std::io::{Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use opdb_e2e::cluster::{Bouncer, Cluster, PoolMode};
use postgres::Client;
use serde_json::json;

use super::{register_at, until};
use crate::fixture::{Pair, execute, installation, on_test, refused, role, rows, servers, text};

fn bouncer(mode: PoolMode, pool_size: usize) -> Option<Bouncer> {
    if !Bouncer::is_installed() {
        // Not by a macro: what those print of a test that passes is not shown.
        stderr().write_all(b"not run: pgbouncer is not installed\n").unwrap();
        return None;
    }
    Some(Bouncer::start(&servers().production, mode, pool_size, &[]).unwrap())
}

/// A pair whose environment "pooled" leads to the production database through a pooler.
fn behind(bouncer: &Bouncer) -> Pair {
    let mut pair = Pair::with_plain_production();
    let options = json!({"host": "127.0.0.1", "port": bouncer.port(), "dbname": pair.there_name});
    register_at(&mut pair.here, "pooled", &options, &servers().production);
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'one'), (2, 'two');
                 SELECT opdb.capture_schema()";
    execute(&mut pair.here, table);
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY, a text)");
    pair
}

/// Everything that a session may have of its own, as the next client of a pool finds it.
const STATE: &str = "SELECT string_agg(setting, ' ')
        || (SELECT count(*) FROM pg_class WHERE relpersistence = 't')
        || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
        || (SELECT count(*) FROM pg_prepared_statements) || (SELECT count(*) FROM pg_cursors)
        || (SELECT count(*) FROM pg_listening_channels())
    FROM (SELECT name || '=' || setting AS setting FROM pg_settings
          WHERE name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable')
          UNION ALL SELECT 'role=' || current_user || session_user ORDER BY 1) s";

const COMPATIBLE: &str =
    "SELECT bool_and(verdict = 'identical') FROM opdb.check_compatibility('pooled', '{t}')";

fn works(pair: &mut Pair) {
    let here = &mut pair.here;
    assert_eq!(
        rows(here, "SELECT reachable, database FROM opdb.check_environment('pooled')"),
        [["t", pair.there_name.as_str()]]
    );
    assert_eq!(text(here, COMPATIBLE), "t");
    assert_eq!(text(here, "SELECT count(*) > 0 FROM opdb.verify_column_mapping('pooled', 't')"), "t");
    rows(here, "SELECT * FROM opdb.diff_schema('env:pooled', 'live')");
    let deployed = text(here, "SELECT opdb.deploy('pooled', '{t}', '{\"raise\": true}')");
    assert_eq!(
        text(here, &format!("SELECT state FROM opdb.deployments WHERE deployment_id = {deployed}")),
        "applied"
    );
    assert_eq!(text(&mut pair.there, "SELECT string_agg(a, ' ' ORDER BY id) FROM t"), "one two");
}

fn pooled(bouncer: &Bouncer, database: &str) -> Client {
    let production = &servers().production;
    bouncer.connect(database, production.superuser(), production.password()).unwrap()
}

#[test]
fn everything_works_while_sessions_are_pooled() {
    let Some(bouncer) = bouncer(PoolMode::Session, 1) else { return };
    works(&mut behind(&bouncer));
}

#[test]
fn everything_works_while_transactions_are_pooled_and_leaves_nothing_in_the_session() {
    let Some(bouncer) = bouncer(PoolMode::Transaction, 1) else { return };
    let mut pair = behind(&bouncer);
    // Both are other than what opdb sets, and it would keep what it finds.
    execute(&mut pair.there, &format!("ALTER DATABASE {} SET synchronous_commit = off", pair.there_name));
    let mut other = pooled(&bouncer, &pair.there_name);
    let session = "SELECT pg_backend_pid()";
    let (pid, before) = (text(&mut other, session), text(&mut other, STATE));
    works(&mut pair);
    assert_eq!(text(&mut other, STATE), before);
    assert_eq!(text(&mut other, session), pid, "it is the session that opdb used");

    // What fails takes the session with it, or leaves it clean.
    let failing = "SELECT opdb.deploy('pooled', '{t}', '{\"raise\": true, \"max_change_ratio\": 0}')";
    execute(&mut pair.here, "UPDATE t SET a = 'changed'");
    assert_eq!(refused(&mut pair.here, failing).sqlstate, "21000", "in the middle of its transaction");
    execute(&mut pair.here, "CREATE TABLE only_here (a int)");
    let reading = "SELECT * FROM opdb.verify_column_mapping('pooled', 'only_here')";
    assert_eq!(refused(&mut pair.here, reading).sqlstate, "42P01");
    assert_eq!(text(&mut other, STATE), before);
    until(&mut pair.there, &transactions(&pair.there_name), "0");
}

/// Counts transactions that somebody left open.
fn transactions(database: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = '{database}' AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"
    )
}

#[test]
fn two_sessions_share_one_pooled_session() {
    for pool_size in [1, 2] {
        let Some(bouncer) = bouncer(PoolMode::Transaction, pool_size) else { return };
        let mut pair = behind(&bouncer);
        works(&mut pair);
        thread::scope(|scope| {
            for caller in 0..3 {
                let here = pair.here_name.clone();
                let there = &pair.there_name;
                scope.spawn(move || {
                    let mut client = on_test(&here);
                    for call in 0..10 {
                        let found = match (caller + call) % 3 {
                            0 => text(&mut client, "SELECT database FROM opdb.check_environment('pooled')"),
                            1 => text(&mut client, COMPATIBLE),
                            _ => {
                                let deploy = "SELECT state FROM opdb.deployments WHERE deployment_id = ";
                                let id = text(
                                    &mut client,
                                    "SELECT opdb.deploy('pooled', '{t}', '{\"raise\": true}')",
                                );
                                text(&mut client, &format!("{deploy}{id}"))
                            }
                        };
                        assert!([there.as_str(), "t", "applied"].contains(&found.as_str()), "{found}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_pool_that_is_used_up_is_given_up() {
    let Some(bouncer) = bouncer(PoolMode::Transaction, 1) else { return };
    let mut pair = behind(&bouncer);
    let mut other = pooled(&bouncer, &pair.there_name);
    execute(&mut other, "BEGIN; SELECT 1");
    let found = rows(
        &mut pair.here,
        "SELECT reachable, detail LIKE '%did not answer in time%' FROM opdb.check_environment('pooled', '300 ms')",
    );
    assert_eq!(found, [["f", "t"]]);

    // Without a limit it waits for its turn.
    let is_over = AtomicBool::new(false);
    let mut here = on_test(&pair.here_name);
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            let found = text(&mut here, COMPATIBLE);
            assert!(is_over.load(Ordering::SeqCst));
            found
        });
        let waits = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Extension'",
            pair.here_name
        );
        until(&mut on_test("postgres"), &waits, "1");
        is_over.store(true, Ordering::SeqCst);
        execute(&mut other, "COMMIT");
        assert_eq!(call.join().unwrap(), "t");
    });
}

#[test]
fn pooling_of_statements_is_refused_with_the_reason() {
    let Some(bouncer) = bouncer(PoolMode::Statement, 1) else { return };
    let mut pair = behind(&bouncer);
    for call in [
        "opdb.check_compatibility('pooled', '{t}')",
        "opdb.verify_column_mapping('pooled', 't')",
        "opdb.diff_schema('env:pooled', 'live')",
        "opdb.deploy('pooled', '{t}', '{\"raise\": true}')",
    ] {
        let refusal = refused(&mut pair.here, &format!("SELECT * FROM {call}"));
        assert_eq!(refusal.sqlstate, "0A000", "{call}: {refusal:?}");
        assert!(refusal.message.contains("\"pooled\" is behind a pooler"), "{refusal:?}");
        assert!(refusal.hint.contains("pool_mode"), "{refusal:?}");
    }
    let found = rows(&mut pair.here, "SELECT reachable, detail FROM opdb.check_environment('pooled')");
    assert_eq!(found[0][0], "f");
    assert!(found[0][1].contains("pools statements"), "{found:?}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    assert_eq!(text(&mut pair.there, &transactions(&pair.there_name)), "0");
}

#[test]
fn a_wrong_password_and_a_server_that_is_down_are_told_through_a_pooler() {
    let Some(bouncer) = bouncer(PoolMode::Transaction, 1) else { return };
    let mut pair = behind(&bouncer);
    let options = json!({"host": "127.0.0.1", "port": bouncer.port(), "dbname": pair.there_name});
    let wrong = format!(
        r#"SELECT opdb.register_environment('wrong', 'test', '{options}', '{{"user": "postgres", "password": "no"}}')"#
    );
    execute(&mut pair.here, &wrong);
    let refusal = refused(&mut pair.here, "SELECT opdb.check_compatibility('wrong')");
    assert_eq!(refusal.sqlstate, "28P01", "{refusal:?}");

    let cluster = Cluster::start_temporary(&installation(), &[]).unwrap();
    let bouncer = Bouncer::start(&cluster, PoolMode::Transaction, 1, &[]).unwrap();
    let options = json!({"host": "127.0.0.1", "port": bouncer.port(), "dbname": "postgres"});
    register_at(&mut pair.here, "down", &options, &cluster);
    let check = "SELECT reachable, detail FROM opdb.check_environment('down', '3 seconds')";
    assert_eq!(rows(&mut pair.here, check)[0][0], "t");
    cluster.stop().unwrap();
    let down = rows(&mut pair.here, check).remove(0);
    assert!(down[0] == "f" && down[1].contains("\"down\""), "{down:?}");
}

#[test]
fn roles_that_are_no_superusers_are_pooled_too() {
    if !Bouncer::is_installed() {
        drop(bouncer(PoolMode::Transaction, 1));
        return;
    }
    let (operator, deployer) = (role(&servers().test, &["opdb_operator"]), role(&servers().production, &[]));
    let bouncer = Bouncer::start(&servers().production, PoolMode::Transaction, 1, &[&deployer]).unwrap();
    let mut pair = behind(&bouncer);
    execute(&mut pair.here, &format!("GRANT SELECT ON t TO {operator}"));
    execute(&mut pair.there, &format!("GRANT SELECT, INSERT, UPDATE ON t TO {deployer}"));
    let mut session = servers().test.connect(&pair.here_name, &operator, &operator).unwrap();
    let options = json!({"host": "127.0.0.1", "port": bouncer.port(), "dbname": pair.there_name});
    let call = format!(
        r#"SELECT opdb.register_environment('pooled', 'staging', '{options}', '{{"user": "{deployer}", "password": "{deployer}"}}')"#
    );
    execute(&mut session, &call);
    let found = "SELECT reachable, role, detail FROM opdb.check_environment('pooled')";
    assert_eq!(rows(&mut session, found), [["t", deployer.as_str(), "NULL"]]);
    assert_eq!(text(&mut session, COMPATIBLE), "t");
}
