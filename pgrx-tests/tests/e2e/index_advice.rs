//! Advice about indexes: what is advised, and that it can be followed and undone.

mod bloat;
mod hypothetical;
mod kinds;
mod ledger;
mod partitions;
mod quietly;
mod safety;

use postgres::Client;

use crate::fixture::{execute, rows};

/// Kind and name of what is advised now for a database made by a test; statistics of any age will do.
fn advised(client: &mut Client) -> Vec<String> {
    advised_where(client, "'0'", "true")
}

fn advised_where(client: &mut Client, min_age: &str, condition: &str) -> Vec<String> {
    execute(client, "SELECT pg_stat_force_next_flush()");
    let sql = format!(
        "SELECT kind || ' ' || action || ' ' || object FROM opdb.index_advice({min_age}) WHERE {condition}
         ORDER BY kind, object COLLATE \"C\""
    );
    rows(client, &sql).concat()
}

/// Runs each statement of a `ddl` or an `undo` alone, as psql does.
fn follow(client: &mut Client, statements: &str) {
    statements.split(";\n").for_each(|statement| execute(client, statement));
}

/// The `ddl` and the `undo` of the only advice about an index.
fn advice(client: &mut Client, object: &str) -> (String, String) {
    execute(client, "SELECT pg_stat_force_next_flush()");
    let sql = format!("SELECT ddl, undo FROM opdb.index_advice('0') WHERE object = '{object}'");
    let mut found = rows(client, &sql);
    assert_eq!(found.len(), 1, "{object}: {found:?}");
    let mut row = found.remove(0);
    (row.remove(0), row.remove(0))
}

fn fingerprint(client: &mut Client) -> String {
    crate::fixture::text(client, "SELECT opdb.schema_fingerprint()")
}
