//! Who is in the way, and for how long.

use opdb_e2e::cluster::Cluster;
use postgres::Client;

use super::{burn_transaction_ids, change, due, is_due, scene, settle, table};
use crate::fixture::{execute, installation, on_test, text};

/// A deletion that somebody holds back does not help; when that somebody is gone it does.
#[track_caller]
fn held_back(client: &mut Client, holder: &str, release: impl FnOnce(&mut Client)) {
    change(client, "DELETE FROM t WHERE id <= 600");
    let row = due(client, "t");
    assert_eq!([&row.helps, &row.removable], ["f", "0"], "{}", row.reason);
    assert!(row.blocked_by.starts_with(holder), "{} is not {holder}", row.blocked_by);
    assert!(row.reason.contains("100 % of the dead rows cannot be removed yet"), "{}", row.reason);
    execute(client, &row.command);
    assert!(is_due(client, "t"), "VACUUM did not help");
    release(client);
    let row = due(client, "t");
    assert_eq!([&row.helps, &row.removable, &row.blocked_by], ["t", "600", "NULL"]);
    settle(client, "t");
}

#[test]
fn a_backend_with_an_old_snapshot_is_in_the_way() {
    let (name, mut client) = scene();
    table(&mut client, "t", 1_000);
    let mut holder = on_test(&name);
    execute(
        &mut holder,
        "SET application_name = 'slow report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t",
    );
    let pid = text(&mut holder, "SELECT pg_backend_pid()");
    // In another database, everybody may be as old as he likes.
    let mut elsewhere = on_test("postgres");
    execute(&mut elsewhere, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class");
    let label = format!(
        "backend {pid}, user postgres, application \"slow report\", idle in transaction, in a transaction since 2"
    );
    held_back(&mut client, &label, |_| execute(&mut holder, "COMMIT"));
}

#[test]
fn a_backend_that_writes_is_in_the_way_and_a_part_can_go() {
    let (name, mut client) = scene();
    table(&mut client, "t", 1_000);
    change(&mut client, "DELETE FROM t WHERE id <= 100");
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN; INSERT INTO t VALUES (0)");
    change(&mut client, "DELETE FROM t WHERE id BETWEEN 501 AND 800");
    let row = due(&mut client, "t");
    assert_eq!([&row.helps, &row.removable, &row.dead], ["t", "100", "400"]);
    assert!(row.reason.contains("75 % of the dead rows cannot be removed yet"), "{}", row.reason);
    assert!(row.blocked_by.starts_with("backend "), "{}", row.blocked_by);
}

#[test]
fn a_prepared_transaction_is_in_the_way() {
    let (_, mut client) = scene();
    table(&mut client, "t", 1_000);
    execute(&mut client, "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'for''gotten'");
    let label = "prepared transaction \"for'gotten\", owner postgres, since 2";
    held_back(&mut client, label, |client| execute(client, "ROLLBACK PREPARED 'for''gotten'"));
}

#[test]
fn the_callers_own_transaction_is_not_in_the_way() {
    let (name, mut client) = scene();
    table(&mut client, "t", 1_000);
    execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
    change(&mut on_test(&name), "DELETE FROM t WHERE id <= 600");
    let row = due(&mut client, "t");
    assert_eq!([row.helps, row.removable, row.blocked_by], ["t", "600", "NULL"]);
    execute(&mut client, "COMMIT");
}

#[test]
fn a_freeze_is_held_back_too() {
    let (name, mut client) = scene();
    table(&mut client, "t", 10);
    execute(&mut client, "ALTER TABLE t SET (autovacuum_freeze_max_age = 100000)");
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
    burn_transaction_ids(&mut client, 101_000);
    let row = due(&mut client, "t");
    assert_eq!(row.helps, "f");
    assert!(row.blocked_by.starts_with("backend "), "{}", row.blocked_by);
    assert!(row.reason.contains("VACUUM can bring the age down to 10"), "{}", row.reason);
    execute(&mut holder, "COMMIT");
    assert_eq!(due(&mut client, "t").helps, "t");
}

#[test]
fn inserted_rows_that_are_too_new_for_somebody_wait_for_him() {
    let (name, mut client) = scene();
    table(&mut client, "t", 1_000);
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t");
    change(&mut client, "INSERT INTO t SELECT i, 'row' FROM generate_series(1001, 9000) i");
    let row = due(&mut client, "t");
    assert_eq!(row.helps, "f", "{}", row.reason);
    assert!(row.reason.contains("too new to be marked as visible to all"), "{}", row.reason);
    assert!(row.blocked_by.starts_with("backend "), "{}", row.blocked_by);
    execute(&mut holder, "COMMIT");
    let row = due(&mut client, "t");
    assert_eq!([&row.helps, &row.blocked_by], ["t", "NULL"], "{}", row.reason);
    settle(&mut client, "t");
}

/// On a server of its own: its slots would hold back the catalogs of every database.
#[test]
fn a_replication_slot_is_in_the_way_of_catalogs_only() {
    let settings = [("autovacuum", "off"), ("wal_level", "logical")];
    let cluster = Cluster::start_temporary(&installation(), &settings).unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut client, "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE");
    execute(&mut client, "VACUUM ANALYZE");
    execute(&mut client, "SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')");
    table(&mut client, "t", 1_000);
    change(
        &mut client,
        "DELETE FROM t WHERE id <= 600;
         DO $$ BEGIN FOR i IN 1..300 LOOP CREATE TEMP TABLE x (a int, b int); DROP TABLE x; END LOOP; END $$",
    );
    assert_eq!(due(&mut client, "t").helps, "t");
    let row = due(&mut client, "pg_attribute");
    assert_eq!(
        [row.helps.as_str(), &row.blocked_by],
        ["f", "replication slot \"forgotten\", logical, inactive"]
    );
    execute(&mut client, "SELECT pg_drop_replication_slot('forgotten')");
    let row = due(&mut client, "pg_attribute");
    assert_eq!([row.helps.as_str(), &row.blocked_by], ["t", "NULL"]);
    settle(&mut client, "pg_attribute");
}

#[test]
fn a_locked_table_is_marked_and_nothing_waits() {
    let (name, mut client) = scene();
    for table_name in ["open", "closed", "busy"] {
        table(&mut client, table_name, 1_000);
        change(&mut client, &format!("DELETE FROM {table_name} WHERE id <= 600"));
    }
    let mut other = on_test(&name);
    execute(&mut other, "BEGIN; LOCK TABLE busy IN SHARE UPDATE EXCLUSIVE MODE; LOCK TABLE closed");
    let pid = text(&mut other, "SELECT pg_backend_pid()");
    execute(&mut client, "SET statement_timeout = '10s'");
    let closed = due(&mut client, "closed");
    let holder = format!("AccessExclusiveLock held by backend {pid}, user postgres");
    assert!(closed.blocked_by.starts_with(&holder), "{}", closed.blocked_by);
    assert!(closed.reason.contains("not measured: locked"), "{}", closed.reason);
    assert_eq!(
        [&closed.helps, &closed.reclaimable, &closed.removable, &closed.dead],
        ["f", "NULL", "NULL", "600"]
    );
    let busy = due(&mut client, "busy");
    assert!(busy.blocked_by.starts_with("ShareUpdateExclusiveLock held by backend"), "{}", busy.blocked_by);
    assert_eq!([&busy.helps, &busy.removable], ["f", "600"]);
    assert_eq!(due(&mut client, "open").helps, "t");
    // What SKIP_LOCKED makes of it.
    execute(&mut client, &busy.command);
    assert!(is_due(&mut client, "busy"));
    execute(&mut other, "ROLLBACK");
    settle(&mut client, "busy");
    settle(&mut client, "closed");
}
