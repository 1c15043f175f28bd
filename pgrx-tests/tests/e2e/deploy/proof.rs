//! What a deployment promises, whatever is in its way: production is as it was, to the byte, or has everything.

mod around_it;
mod changed_tables;
mod constraints;
mod feed;
mod kinds;
mod majors;
mod together;
mod writers;

use postgres::Client;

use super::rollback::roll_back;
use super::{applied, content, deploy};
use crate::fixture::{Pair, rows, text};

/// Every row of every table, with the place it stands at and the transaction that wrote it, and every sequence: the same
/// twice only if nobody has changed anything. Without what deployments leave.
fn image(client: &mut Client) -> Vec<String> {
    let relations = rows(
        client,
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind, c.relfilenode
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'opdb_deploy')
           AND c.relkind IN ('r', 'p', 'm', 'S') ORDER BY 1",
    );
    let mut image = rows(
        client,
        "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'opdb_deploy' ORDER BY 1",
    )
    .concat();
    for relation in relations {
        let [name, kind, file] = relation.try_into().unwrap();
        let rows = match kind.as_str() {
            "p" => String::new(),
            "S" => text(client, &format!("SELECT (last_value, is_called) FROM {name}")),
            _ => text(client, &rows_of(&name)),
        };
        image.push(format!("{name} {kind} {file} {rows}"));
    }
    image
}

fn rows_of(table: &str) -> String {
    format!(
        "SELECT count(*) || ' ' || md5(coalesce(string_agg(concat(whole.ctid, whole.xmin, whole), '|' ORDER BY whole.ctid), ''))
         FROM {table} whole"
    )
}

/// What deployments keep there for a rollback.
fn kept(client: &mut Client) -> String {
    text(
        client,
        r"SELECT count(*) FROM pg_catalog.pg_class
          WHERE relnamespace = to_regnamespace('opdb_deploy') AND relkind = 'r' AND relname ~ '^(rows|before)_'",
    )
}

/// Deploys, and nothing there may be another afterwards. Returns the state and the error.
fn leaves_everything(pair: &mut Pair, tables: &str, options: &str) -> (String, String) {
    let before = image(&mut pair.there);
    let [state, inserted, .., error] = deploy(&mut pair.here, tables, options);
    assert_eq!(image(&mut pair.there), before, "{tables}: {state}, {error}");
    assert_eq!((inserted.as_str(), kept(&mut pair.there).as_str()), ("NULL", "0"), "{state}, {error}");
    (state, error)
}

/// As before, and a check stops it before it makes anything of its own there.
fn is_refused(pair: &mut Pair, tables: &str, reason: &str) {
    let (state, error) = leaves_everything(pair, tables, "{}");
    assert_eq!(state, "refused", "{error}");
    assert!(error.contains(reason), "{error}");
    let schema = text(&mut pair.there, "SELECT to_regnamespace('opdb_deploy')");
    assert_eq!(schema, "NULL", "what is refused leaves no schema");
}

/// Takes the last deployment back: every table holds the same rows as before it.
fn takes_back(pair: &mut Pair, before: &[(&str, String)]) {
    let skipped: Vec<String> = roll_back(pair).into_iter().map(|mut row| row.remove(2)).collect();
    assert!(skipped.iter().all(|rows| rows == "0"), "{skipped:?}");
    for (table, rows) in before {
        assert_eq!(content(&mut pair.there, table), *rows, "{table}");
    }
    assert_eq!(kept(&mut pair.there), "0");
}

/// Deploys tables that are then alike on both sides, has nothing to do the second time, and takes the first back.
fn goes_there_and_back(pair: &mut Pair, names: &[&str], options: &str) {
    let before: Vec<(&str, String)> =
        names.iter().map(|name| (*name, content(&mut pair.there, name))).collect();
    let list = array(names);
    let [state, .., error] = deploy(&mut pair.here, &list, options);
    assert_eq!(state, "applied", "{error}");
    for name in names {
        assert_eq!(content(&mut pair.there, name), content(&mut pair.here, name), "{name}");
    }
    let first = text(&mut pair.here, "SELECT max(deployment_id) FROM opdb.deployments");
    assert_eq!(deploy(&mut pair.here, &list, options)[..3], applied(0, 0, 0)[..3], "nothing is left to do");
    let id = text(&mut pair.here, "SELECT max(deployment_id) FROM opdb.deployments");
    assert_ne!(id, first);
    // Nothing was changed by the second: taking it back changes nothing either.
    assert!(roll_back(pair).iter().all(|row| row[1..] == ["0", "0"]));
    let rolled = rows(
        &mut pair.here,
        &format!("SELECT table_name, skipped_changed FROM opdb.rollback_deployment({first})"),
    );
    assert!(rolled.iter().all(|row| row[1] == "0"), "{rolled:?}");
    for (table, rows) in &before {
        assert_eq!(content(&mut pair.there, table), *rows, "{table}");
    }
    assert_eq!(kept(&mut pair.there), "0");
}

/// As the text of an array of names that are SQL.
fn array(names: &[&str]) -> String {
    let quoted =
        |name: &&str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "''"));
    format!("{{{}}}", names.iter().map(quoted).collect::<Vec<_>>().join(","))
}
