//! Capturing the schema, and telling where it is no longer so.

mod compare;
mod error;
pub mod extract;
mod memory;
mod snapshot;
mod state;

use opdb_core::schema::{Aspect, Change, Difference, Kind, RawFact};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::{Value, json};

use crate::pg::error::{Result, required};
use crate::pg::spi;
use compare::{Comparison, Reference, compare};
use error::SchemaError;
use extract::Scope;
use snapshot::{NAMED, Printed, Snapshot, check_name};
use state::State;

/// Captures the schema of this database, to be validated against later.
///
/// `name` is what it is stored under (replacing what was there); `schemas` limits it to what stands in some
/// schemas, NULL means everything but the system's schemas and opdb's own. Everything that CREATE, ALTER, GRANT
/// and COMMENT can change is captured, but for partitions of a range of time, which come and go: of them, only
/// what their parent has not.
/// Result: the fingerprint.
/// Errors: 22004 for a NULL name, 42602 for an empty, overlong or reserved one, 3F000 for an unknown schema, 22023
/// for an empty list, 55P03 if another session has locked what must be described, 42501 if the extension's owner
/// may not see something.
#[pg_extern(requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn capture_schema(
    name: default!(Option<&str>, "'expected'"),
    schemas: default!(Option<Vec<Option<String>>>, "NULL"),
) -> std::result::Result<String, ErrorReport> {
    let name = required("name", name)?;
    check_name(name)?;
    Ok(Snapshot::capture(name, checked(schemas)?)?)
}

/// Forgets a captured schema.
///
/// Errors: 22004 for NULL, 42704 if nothing was captured under that name.
#[pg_extern(requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn drop_schema_snapshot(name: Option<&str>) -> std::result::Result<(), ErrorReport> {
    Ok(Snapshot::forget(required("name", name)?)?)
}

/// The fingerprint of the schema as it is: SHA-256 in hex, the root of a Merkle tree over its objects.
///
/// `schemas` as in capture_schema. Two databases with the same schema have the same fingerprint, whatever the
/// settings of the session, whoever asks, and also after pg_dump and restore.
/// Errors: 3F000 for an unknown schema, 22023 for an empty list, 55P03 and 42501 as capture_schema.
#[pg_extern(stable, requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn schema_fingerprint(
    schemas: default!(Option<Vec<Option<String>>>, "NULL"),
) -> std::result::Result<String, ErrorReport> {
    let schemas = checked(schemas)?;
    let state = State::now()?;
    if let Some(known) = Snapshot::known_fingerprint(schemas.as_deref(), &state)? {
        return Ok(known);
    }
    let scope = Scope::of(schemas.as_deref());
    let (printed, _) =
        extract::local(state, scope, |printed: &mut Printed, fact: RawFact| printed.add(&fact).map(drop))?;
    Ok(printed.finish()?)
}

/// Compares the schema as it is with a captured one.
///
/// Result: an object with valid, columns_match, data_types_match, constraints_match, indexes_match,
/// objects_match, differences (as the rows of schema_drift), expected_fingerprint, actual_fingerprint (null if
/// something could not be read), unknown (how many differences are of the change unknown), schema_version (null:
/// there are no migrations yet) and covers, the kinds of object that were compared.
/// Errors: 22004 for NULL, 42704 if nothing was captured under that name, 55000 if it was captured by an
/// opdb of another format.
#[pg_extern(stable, requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn validate_schema(
    expected: default!(Option<&str>, "'expected'"),
) -> std::result::Result<JsonB, ErrorReport> {
    Ok(JsonB(Validation::against(required("expected", expected)?)?.to_json()))
}

/// Raises an error if the schema is not as captured: for scripts, migrations and tests.
///
/// Errors: P0004 (assert_failure, which WHEN OTHERS of PL/pgSQL does not catch) with the first differences in its
/// DETAIL; those of validate_schema.
#[pg_extern(stable, requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn assert_schema(expected: default!(Option<&str>, "'expected'")) -> std::result::Result<(), ErrorReport> {
    let name = required("expected", expected)?;
    let found = Validation::against(name)?.differences;
    if found.is_empty() {
        return Ok(());
    }
    let first = found.iter().take(NAMED).map(described).collect();
    Err(SchemaError::Drifted { name: name.to_owned(), count: found.len(), first }.into())
}

fn described(difference: &Difference) -> String {
    let facets: Vec<&str> = match (&difference.change, &difference.expected) {
        (Change::Changed | Change::Unknown, Some(facets)) => facets.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let facets = if facets.is_empty() { String::new() } else { format!(": {}", facets.join(", ")) };
    let change: &str = difference.change.into();
    let hazard: &str = difference.hazard.into();
    let kind = difference.kind.as_str().replace('_', " ");
    format!("{change} {kind} {}{facets} ({hazard})", difference.object)
}

/// aspect, kind, object, change, expected, actual and hazard.
type Row = (String, String, String, String, Option<JsonB>, Option<JsonB>, String);

/// Where the schema is not as captured: one row per object and aspect, none if it is as captured.
///
/// aspect is objects, columns, data_types, constraints or indexes; change is missing, unexpected, changed, or
/// unknown where it could not be found out; expected and actual hold the properties that differ (of a missing or
/// unexpected object, all); hazard is what the difference may do to those who rely on the captured schema:
/// data_loss, breaks_clients, security, integrity, behavior, index_missing, performance, cosmetic, unknown.
/// Errors: as validate_schema.
#[pg_extern(stable, requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn schema_drift(
    expected: default!(Option<&str>, "'expected'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(aspect, String),
            name!(kind, String),
            name!(object, String),
            name!(change, String),
            name!(expected, Option<JsonB>),
            name!(actual, Option<JsonB>),
            name!(hazard, String),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(rows(Validation::against(required("expected", expected)?)?.differences)))
}

/// Compares two schemas, one of which may be another server's.
///
/// Each of `from_ref` and `to_ref` is live (this database as it is), the name of a captured schema, or
/// env:<environment> (the database of a registered environment, which needs nothing of opdb). Rows as of
/// schema_drift: what is missing is in from_ref only.
/// Errors: 22004 for NULL, 42704 for an unknown name or environment, 55000 as validate_schema, 22023 if both were
/// captured, but not of the same schemas, 08001 or 28P01 if the environment cannot be reached.
#[pg_extern(requires = ["schema_tables", "environment_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn diff_schema(
    from_ref: Option<&str>,
    to_ref: Option<&str>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(aspect, String),
            name!(kind, String),
            name!(object, String),
            name!(change, String),
            name!(expected, Option<JsonB>),
            name!(actual, Option<JsonB>),
            name!(hazard, String),
        ),
    >,
    ErrorReport,
> {
    let from = Reference::parse(required("from_ref", from_ref)?)?;
    let to = Reference::parse(required("to_ref", to_ref)?)?;
    Ok(TableIterator::new(rows(compare(&from, &to)?.differences)))
}

fn rows(differences: Vec<Difference>) -> impl Iterator<Item = Row> {
    let text = |word: &'static str| word.to_owned();
    differences.into_iter().map(move |found| {
        (
            text(found.aspect.into()),
            text(found.kind.as_str()),
            found.object,
            text(found.change.into()),
            found.expected.map(|facets| JsonB(json!(facets))),
            found.actual.map(|facets| JsonB(json!(facets))),
            text(found.hazard.into()),
        )
    })
}

/// How the schema compares with a captured one.
pub struct Validation {
    pub differences: Vec<Difference>,
    expected_fingerprint: String,
    actual_fingerprint: Option<String>,
    covers: Vec<Kind>,
}

impl Validation {
    /// Errors: 42704 if nothing was captured under `name`.
    pub fn against(name: &str) -> Result<Self> {
        let snapshot = Snapshot::find(name)?;
        let expected_fingerprint = snapshot.fingerprint.clone();
        let is_whole = snapshot.schemas.is_none();
        let covers = Kind::ALL.iter().copied().filter(|kind| is_whole || kind.is_of_schemas()).collect();
        let Comparison { differences, fingerprint, .. } = memory::comparison(snapshot, |snapshot, state| {
            compare(&Reference::Captured(snapshot), &Reference::Live(state))
        })?;
        Ok(Self { differences, expected_fingerprint, actual_fingerprint: fingerprint, covers })
    }

    pub fn is_valid(&self) -> bool {
        self.differences.is_empty()
    }

    fn to_json(&self) -> Value {
        let matches = |aspect: Aspect| !self.differences.iter().any(|difference| difference.aspect == aspect);
        let unknown = self.differences.iter().filter(|difference| difference.change == Change::Unknown);
        json!({
            "valid": self.is_valid(),
            "columns_match": matches(Aspect::Columns),
            "data_types_match": matches(Aspect::DataTypes),
            "constraints_match": matches(Aspect::Constraints),
            "indexes_match": matches(Aspect::Indexes),
            "objects_match": matches(Aspect::Objects),
            "differences": self.differences,
            "expected_fingerprint": self.expected_fingerprint,
            "actual_fingerprint": self.actual_fingerprint,
            "unknown": unknown.count(),
            "schema_version": null,
            "covers": self.covers,
        })
    }
}

/// The schemas that were captured under `name` (`Some(None)`: all), or nothing.
pub fn captured_schemas(name: &str) -> Result<Option<Option<Vec<String>>>> {
    spi::read_one("SELECT schemas FROM opdb.schema_snapshot WHERE name = $1", &[name.into()], |row| {
        row.get::<Vec<String>>(1)
    })
}

fn checked(schemas: Option<Vec<Option<String>>>) -> Result<Option<Vec<String>>> {
    let Some(schemas) = schemas else { return Ok(None) };
    let schemas =
        schemas.into_iter().map(|schema| required("schemas", schema)).collect::<Result<Vec<_>>>()?;
    if schemas.is_empty() {
        return Err(SchemaError::NoSchemas.into());
    }
    let unknown = spi::read_value::<String>(
        "SELECT s FROM pg_catalog.unnest($1) s
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = s) LIMIT 1",
        &[schemas.clone().into()],
    )?;
    match unknown {
        Some(schema) => Err(SchemaError::UnknownSchema(schema).into()),
        None => Ok(Some(schemas)),
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::pg::spi;
    use pgrx::prelude::*;

    fn value(path: &str) -> String {
        let sql = format!("SELECT opdb.validate_schema('s') #>> '{{{path}}}'");
        spi::write_value::<String>(&sql, &[]).unwrap().unwrap_or_default()
    }

    fn fixture() {
        spi::write(
            "CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, a text, b int CHECK (b > 0));
             CREATE INDEX t_a ON app.t (a); SELECT opdb.capture_schema('s', '{app}')",
            &[],
        )
        .unwrap();
    }

    #[pg_test]
    fn an_unchanged_schema_is_valid_and_says_what_was_compared() {
        fixture();
        assert_eq!(value("valid"), "true");
        assert_eq!(value("differences"), "[]");
        assert_eq!(value("covers,1"), "table");
        assert_eq!(value("unknown"), "0");
        assert_eq!(value("expected_fingerprint"), value("actual_fingerprint"));
    }

    #[pg_test]
    fn each_change_fails_its_own_flag_and_undoing_it_passes_again() {
        fixture();
        for (change, undo, flag) in [
            ("ALTER TABLE app.t ADD c int", "ALTER TABLE app.t DROP c", "columns_match"),
            (
                "ALTER TABLE app.t ALTER a SET DEFAULT 'x'",
                "ALTER TABLE app.t ALTER a DROP DEFAULT",
                "columns_match",
            ),
            (
                "ALTER TABLE app.t ALTER a TYPE varchar(5)",
                "ALTER TABLE app.t ALTER a TYPE text",
                "data_types_match",
            ),
            (
                "ALTER TABLE app.t ALTER a SET NOT NULL",
                "ALTER TABLE app.t ALTER a DROP NOT NULL",
                "constraints_match",
            ),
            (
                "ALTER TABLE app.t ADD CONSTRAINT u UNIQUE (a)",
                "ALTER TABLE app.t DROP CONSTRAINT u",
                "constraints_match",
            ),
            ("CREATE INDEX extra ON app.t (b)", "DROP INDEX app.extra", "indexes_match"),
            ("CREATE TABLE app.other ()", "DROP TABLE app.other", "objects_match"),
        ] {
            spi::write(change, &[]).unwrap();
            for other in
                ["columns_match", "data_types_match", "constraints_match", "indexes_match", "objects_match"]
            {
                assert_eq!(value(other), (other != flag).to_string(), "{change}: {other}");
            }
            assert_eq!(value("valid"), "false", "{change}");
            spi::write(undo, &[]).unwrap();
            assert_eq!(value("valid"), "true", "{undo}");
        }
    }

    #[pg_test]
    fn settings_of_the_session_do_not_change_the_fingerprint() {
        let print = || spi::write_value::<String>("SELECT opdb.schema_fingerprint('{app}')", &[]).unwrap();
        spi::write(
            "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('a');
             CREATE TABLE app.t (at timestamptz DEFAULT '2024-01-01 00:00+00', m app.mood DEFAULT 'a', f float8 DEFAULT 0.1)",
            &[],
        )
        .unwrap();
        let before = print();
        for set in [
            "SET LOCAL TimeZone = 'Asia/Tokyo'",
            "SET LOCAL DateStyle = 'German'",
            "SET LOCAL search_path = app",
            "SET LOCAL extra_float_digits = -5",
            "SET LOCAL quote_all_identifiers = on",
        ] {
            spi::write(set, &[]).unwrap();
            assert_eq!(print(), before, "{set}");
        }
    }

    #[pg_test(error = "no schema was captured as \"nothing\"")]
    fn validating_against_nothing_is_an_error() {
        spi::write("SELECT opdb.validate_schema('nothing')", &[]).unwrap();
    }

    #[pg_test(error = "schema \"nowhere\" does not exist")]
    fn an_unknown_schema_is_an_error() {
        spi::write("SELECT opdb.capture_schema('x', '{nowhere}')", &[]).unwrap();
    }
}
