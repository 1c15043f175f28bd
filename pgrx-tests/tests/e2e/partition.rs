//! Partitions that opdb makes and retires.

mod creation;
mod default;
mod isolation;
mod ranges;
mod retention;
mod safety;
mod status;

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use crate::fixture::{database, execute, on_test, rows, servers, text};

/// Ends what other threads repeat, whatever becomes of this one.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A session on a new database.
fn new_session() -> (Client, String) {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(&mut client, "SET client_min_messages = error; SET TimeZone = 'UTC'");
    (client, name)
}

/// The partitions of a table and their bounds, in order of their names.
fn partitions(client: &mut Client, parent: &str) -> Vec<String> {
    let sql = format!(
        "SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = '{parent}'::regclass ORDER BY c.relname COLLATE \"C\""
    );
    rows(client, &sql).concat()
}

fn names(client: &mut Client, parent: &str) -> Vec<String> {
    partitions(client, parent).iter().map(|it| it.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn maintain(client: &mut Client) {
    execute(client, "CALL opdb.run_partition_maintenance()");
}

/// What was done for a table, in order: action, partition and status.
fn done(client: &mut Client, parent: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', action, split_part(partition, '.', 2), status) FROM opdb.partition_runs
         WHERE parent = '{parent}'::regclass ORDER BY run_id"
    );
    rows(client, &sql).concat()
}

fn status(client: &mut Client, parent: &str, column: &str) -> String {
    text(client, &format!("SELECT {column} FROM opdb.partition_status WHERE parent = '{parent}'::regclass"))
}
