//! Reading a schema from the catalogs: one statement, here through SPI or elsewhere through dblink.

use opdb_core::schema::{Facets, Fact, Kind, label};

use super::error::SchemaError;
use crate::pg::error::Result;
use crate::pg::name::{Qualified, literal};
use crate::pg::remote::Remote;
use crate::pg::spi;

const FACTS: &str = include_str!("../../sql/schema/facts.sql");

/// Which tables are looked at.
pub enum Scope<'a> {
    /// Everything but the system's schemas and opdb's own.
    Database,
    Schemas(&'a [String]),
    Tables(&'a [Qualified]),
}

impl Scope<'_> {
    fn sql(&self) -> String {
        let condition = match self {
            Scope::Database => {
                "n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'opdb')".to_owned()
            }
            Scope::Schemas(schemas) => format!("n.nspname IN ({})", literals(schemas)),
            Scope::Tables(tables) => {
                let pairs: Vec<String> = tables
                    .iter()
                    .map(|table| format!("({}, {})", literal(&table.schema), literal(&table.name)))
                    .collect();
                format!("(n.nspname, c.relname) IN ({})", pairs.join(", "))
            }
        };
        FACTS.replace("/*tables*/", &condition)
    }
}

/// Facts of this database, on the snapshot of the calling statement.
pub fn local(scope: &Scope) -> Result<Vec<Fact>> {
    let rows = spi::read(&scope.sql(), &[], |row| (1..=5).map(|column| row.get::<String>(column)).collect())?;
    rows.into_iter().map(|row| fact("this database", row)).collect()
}

/// Facts of another server.
pub fn remote(remote: &Remote, scope: &Scope) -> Result<Vec<Fact>> {
    remote.query(&scope.sql(), 5)?.into_iter().map(|row| fact("the environment", row)).collect()
}

fn fact(place: &str, row: Vec<Option<String>>) -> Result<Fact> {
    let unreadable = |reason: String| SchemaError::Unreadable { place: place.to_owned(), reason };
    let [kind, schema, table, name, facets] = <[Option<String>; 5]>::try_from(row)
        .map(|row| row.map(Option::unwrap_or_default))
        .map_err(|row| unreadable(format!("{} columns", row.len())))?;
    let kind = Kind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(|| unreadable(format!("kind \"{kind}\"")))?;
    let facets: Facets = serde_json::from_str(&facets).map_err(|error| unreadable(error.to_string()))?;
    let table = label(&schema, &table);
    Ok(Fact { kind, schema, table, name, facets })
}

fn literals(names: &[String]) -> String {
    names.iter().map(literal).collect::<Vec<_>>().join(", ")
}
