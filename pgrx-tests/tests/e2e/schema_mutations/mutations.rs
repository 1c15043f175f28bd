//! The mutations themselves.

use std::collections::BTreeSet;

use opdb_core::schema::{Kind, catalog};
use postgres::Client;

use super::case::Case;
use super::fixture::{Fixture, capture, drift, fingerprint};
use super::{code, columns, details, elsewhere, relations, remarks, rights, types};
use crate::fixture::{execute, refused, rows, text};

const ALL: [&[Case]; 24] = [
    relations::TABLES,
    relations::FAMILIES,
    relations::VIEWS,
    relations::SEQUENCES,
    relations::ATTACHED,
    relations::TRIGGERS,
    columns::COLUMNS,
    columns::CONSTRAINTS,
    columns::INDEXES,
    code::FUNCTIONS,
    code::AGGREGATES,
    code::OUTSIDE,
    types::TYPES,
    types::OPERATORS,
    types::LANGUAGES,
    elsewhere::FOREIGN,
    elsewhere::REPLICATION,
    remarks::COMMENTS,
    remarks::LABELS,
    details::AGGREGATES,
    details::BASE_TYPES,
    rights::OWNERS,
    rights::GRANTS,
    rights::PRIVILEGES,
];

#[test]
fn every_single_change_is_named_alone_and_undoing_it_restores_the_fingerprint() {
    let mut fixture = Fixture::new();
    let client = &mut fixture.client;
    assert_eq!(kinds(client), Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect());
    let major: u32 =
        text(client, "SELECT current_setting('server_version_num')::int / 10000").parse().unwrap();
    let cases: Vec<&Case> = ALL.iter().copied().flatten().filter(|case| case.is_for(major)).collect();
    assert!(cases.len() >= 150, "only {} changes", cases.len());
    let touched = assert_all_are_named(client, cases);
    let untouched: Vec<&&str> = catalog::COVERED.iter().filter(|name| !touched.contains(**name)).collect();
    assert!(untouched.is_empty(), "no change touches {untouched:?}");
}

/// Makes and undoes each change; all that go wrong are reported together. Returns the catalogs that were written to.
pub fn assert_all_are_named<'a>(
    client: &mut Client,
    cases: impl IntoIterator<Item = &'a Case>,
) -> BTreeSet<String> {
    let mut touched = BTreeSet::new();
    let mut failures = Vec::new();
    let mut before = fingerprint(client);
    for case in cases {
        if let Err(failure) = mutate(client, case, &before, &mut touched) {
            failures.push(failure);
            capture(client);
            before = fingerprint(client);
        }
    }
    assert!(failures.is_empty(), "{} changes:\n{}", failures.len(), failures.join("\n"));
    touched
}

/// The kinds of object that the fixture has.
fn kinds(client: &mut Client) -> BTreeSet<String> {
    capture(client);
    rows(client, "SELECT DISTINCT kind FROM opdb.schema_fact WHERE snapshot = 'before'")
        .into_iter()
        .flatten()
        .collect()
}

fn mutate(
    client: &mut Client,
    case: &Case,
    before: &str,
    touched: &mut BTreeSet<String>,
) -> Result<(), String> {
    let failed = |what: String| Err(format!("{}\n    {what}", case.change));
    if let Err(failure) = change(client, case.change, touched) {
        return failed(failure);
    }
    let (changed, found) = (fingerprint(client), drift(client));
    if let Err(error) = client.batch_execute(case.undo) {
        return failed(format!("undoing: {error:?}"));
    }
    if fingerprint(client) != before {
        return failed(format!("undoing it left {:?}", drift(client)));
    }
    if found != case.found {
        return failed(format!("{found:?}\n    instead of {:?}", case.found));
    }
    if changed == before { failed("the same fingerprint".into()) } else { Ok(()) }
}

/// Makes a change, and notes which catalogs it wrote to.
fn change(client: &mut Client, sql: &str, touched: &mut BTreeSet<String>) -> Result<(), String> {
    let sql = format!("BEGIN; {sql}");
    if let Err(error) = client.batch_execute(&sql) {
        execute(client, "ROLLBACK");
        return Err(format!("{error:?}"));
    }
    let catalogs = "SELECT relname FROM pg_stat_xact_sys_tables
                    WHERE schemaname = 'pg_catalog' AND n_tup_ins + n_tup_upd + n_tup_del > 0";
    touched.extend(rows(client, catalogs).into_iter().flatten());
    client.batch_execute("COMMIT").map_err(|error| format!("{error:?}"))
}

#[test]
fn every_catalog_is_either_read_or_known_to_hold_nothing_of_a_schema() {
    let mut client = crate::fixture::on_test("with_opdb");
    let there: BTreeSet<String> = rows(
        &mut client,
        "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'",
    )
    .into_iter()
    .flatten()
    .collect();
    let others = catalog::NOT_SCHEMA.iter().map(|(name, _)| name);
    let known: BTreeSet<String> =
        catalog::COVERED.iter().chain(others).map(|name| (*name).to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn a_catalog_that_nobody_reads_is_an_error_and_never_clean() {
    let mut fixture = Fixture::new();
    let client = &mut fixture.client;
    capture(client);
    // The server finds its catalogs by number: this one is now what a later version might have.
    execute(client, "UPDATE pg_class SET relname = 'pg_novelty' WHERE relname = 'pg_largeobject_metadata'");
    assert_eq!(drift(client), [""; 0], "it is empty");
    execute(client, "SELECT lo_create(1)");
    for call in
        ["schema_fingerprint()", "capture_schema()", "validate_schema('before')", "schema_drift('before')"]
    {
        let refusal = refused(client, &format!("SELECT opdb.{call}"));
        assert_eq!(refusal.sqlstate, "0A000", "{call}: {}", refusal.message);
        assert!(refusal.message.contains("pg_novelty"), "{}", refusal.message);
    }
}
