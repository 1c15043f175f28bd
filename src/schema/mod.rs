//! Capturing the schema, and validating that it is still so.

mod error;
pub mod extract;

use opdb_core::schema::{Aspect, Difference, Fact, Kind, differences, fingerprint};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::{Value, json};

use crate::pg::error::{Result, required};
use crate::pg::name::MAX_IDENTIFIER_BYTES;
use crate::pg::{own, session, spi};
use error::SchemaError;
use extract::Scope;

/// The shape of the facts that `capture_schema` stores.
const FORMAT: i32 = 1;

/// Captures the schema of this database, to be validated against later.
///
/// `name` is what it is stored under (replacing what was there); `schemas` limits it to some schemas, NULL
/// means all but the system's and opdb's own. Tables, columns, constraints and indexes are captured;
/// partitions are not, their parents are.
/// Result: the fingerprint.
/// Errors: 22004 for a NULL name, 42602 for an empty or overlong one, 3F000 for an unknown schema, 22023 for
/// an empty list.
#[pg_extern(requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn capture_schema(
    name: default!(Option<&str>, "'expected'"),
    schemas: default!(Option<Vec<Option<String>>>, "NULL"),
) -> std::result::Result<String, ErrorReport> {
    let name = required("name", name)?;
    if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES {
        return Err(SchemaError::InvalidName(name.to_owned()).into());
    }
    let schemas = checked(schemas)?;
    let facts = facts_of(schemas.as_deref())?;
    let fingerprint = fingerprint(&facts);
    own::write(
        "INSERT INTO opdb.schema_snapshot (name, fingerprint, schemas, format, facts, captured_by)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name) DO UPDATE
         SET fingerprint = excluded.fingerprint, schemas = excluded.schemas, format = excluded.format,
             facts = excluded.facts, captured_at = excluded.captured_at, captured_by = excluded.captured_by",
        &[
            name.into(),
            fingerprint.as_str().into(),
            schemas.into(),
            FORMAT.into(),
            JsonB(json!(facts)).into(),
            own::caller()?.into(),
        ],
    )?;
    Ok(fingerprint)
}

/// The fingerprint of the schema as it is: SHA-256 in hex, the root of a Merkle tree over its objects.
///
/// `schemas` as in capture_schema. Two databases with the same tables, columns, constraints and indexes have
/// the same fingerprint, whatever the settings of the session.
/// Errors: 3F000 for an unknown schema, 22023 for an empty list.
#[pg_extern(stable, requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn schema_fingerprint(
    schemas: default!(Option<Vec<Option<String>>>, "NULL"),
) -> std::result::Result<String, ErrorReport> {
    Ok(fingerprint(&facts_of(checked(schemas)?.as_deref())?))
}

/// Compares the schema as it is with a captured one.
///
/// Result: an object with valid, columns_match, data_types_match, constraints_match, indexes_match,
/// objects_match, differences (aspect, kind, object, change, expected, actual), expected_fingerprint,
/// actual_fingerprint, schema_version (NULL: there are no migrations yet) and covers, the kinds of object
/// that were compared. Views, functions, triggers and whatever else is not in covers were not looked at.
/// Errors: 22004 for NULL, 42704 if nothing was captured under that name, 55000 if it was captured by an
/// opdb of another format.
#[pg_extern(stable, requires = ["schema_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn validate_schema(
    expected: default!(Option<&str>, "'expected'"),
) -> std::result::Result<JsonB, ErrorReport> {
    Ok(JsonB(Validation::against(required("expected", expected)?)?.to_json()))
}

/// How the schema compares with a captured one.
pub struct Validation {
    pub differences: Vec<Difference>,
    expected_fingerprint: String,
    actual_fingerprint: String,
}

impl Validation {
    /// Errors: 42704 if nothing was captured under `name`.
    pub fn against(name: &str) -> Result<Self> {
        let (expected_fingerprint, schemas, expected) = captured(name)?;
        let actual = facts_of(schemas.as_deref())?;
        Ok(Self {
            differences: differences(&expected, &actual),
            expected_fingerprint,
            actual_fingerprint: fingerprint(&actual),
        })
    }

    pub fn is_valid(&self) -> bool {
        self.differences.is_empty()
    }

    fn to_json(&self) -> Value {
        let matches = |aspect: Aspect| !self.differences.iter().any(|difference| difference.aspect == aspect);
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
            "schema_version": null,
            "covers": Kind::ALL,
        })
    }
}

/// The schemas that were captured under `name` (`Some(None)`: all), or nothing.
pub fn captured_schemas(name: &str) -> Result<Option<Option<Vec<String>>>> {
    spi::read_one("SELECT schemas FROM opdb.schema_snapshot WHERE name = $1", &[name.into()], |row| {
        row.get::<Vec<String>>(1)
    })
}

fn captured(name: &str) -> Result<(String, Option<Vec<String>>, Vec<Fact>)> {
    let row = spi::read_one(
        "SELECT fingerprint, schemas, format, facts FROM opdb.schema_snapshot WHERE name = $1",
        &[name.into()],
        |row| {
            Ok((row.get::<String>(1)?, row.get::<Vec<String>>(2)?, row.get::<i32>(3)?, row.get::<JsonB>(4)?))
        },
    )?;
    let Some((Some(fingerprint), schemas, Some(format), Some(facts))) = row else {
        return Err(SchemaError::UnknownSnapshot(name.to_owned()).into());
    };
    if format != FORMAT {
        return Err(SchemaError::OtherFormat { name: name.to_owned(), found: format, known: FORMAT }.into());
    }
    let facts = serde_json::from_value(facts.0).map_err(|error| SchemaError::Unreadable {
        place: format!("the schema captured as \"{name}\""),
        reason: error.to_string(),
    })?;
    Ok((fingerprint, schemas, facts))
}

fn facts_of(schemas: Option<&[String]>) -> Result<Vec<Fact>> {
    session::pinned(|| extract::local(&schemas.map_or(Scope::Database, Scope::Schemas)))
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
        assert_eq!(value("covers"), r#"["table", "column", "constraint", "index"]"#);
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
