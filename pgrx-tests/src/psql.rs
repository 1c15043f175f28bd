//! Talking to a database as psql does: every value is text, and what fails stops the test.

#![allow(clippy::panic)]

use postgres::{Client, SimpleQueryMessage};

/// Runs statements.
pub fn execute(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}\n{}", describe(&error)));
}

/// The first column of the first row; "NULL" for none.
pub fn text(client: &mut Client, sql: &str) -> String {
    rows(client, sql)
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next())
        .unwrap_or_else(|| "no row".into())
}

/// All rows.
pub fn rows(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}\n{}", describe(&error)));
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or("NULL").to_owned()).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// Everything that the server said about an error.
pub fn describe(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{error:?}"))
}
