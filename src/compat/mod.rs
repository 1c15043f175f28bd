//! Whether tables here fit those of another environment.

mod compared;
mod error;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::{Result, required};
use crate::pg::remote::{self, Access};
use crate::pg::session;
pub use compared::{Compared, LocalTable, columns};
use error::CompatError;

/// Compares tables with those of the same name on a registered environment.
///
/// `tables` are names as in SQL; NULL means every table of this database. One row per table, column, index
/// and constraint: aspect is table_structure, column_types, indexes or constraints; verdict is identical,
/// widening (every value fits), narrowing (some are refused), lossy (some are altered), incompatible or
/// missing; blocking means that rows cannot be sent unless their values turn out to fit, which
/// verify_column_mapping tells. Only catalogs are read.
/// Errors: 22004 for a NULL environment or table, 42704 for an unknown environment, 08001 or 28P01 if it
/// cannot be reached, 42P01 for an unknown table here, 42809 for something that is no table.
#[pg_extern(requires = ["environment_tables", "ingest_tables"])]
#[allow(clippy::type_complexity)]
fn check_compatibility(
    environment: Option<&str>,
    tables: default!(Option<Vec<Option<String>>>, "NULL"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(table_name, String),
            name!(aspect, String),
            name!(object, String),
            name!(verdict, String),
            name!(local, Option<String>),
            name!(remote, Option<String>),
            name!(detail, String),
            name!(blocking, bool),
        ),
    >,
    ErrorReport,
> {
    let environment = required("environment", environment)?;
    let tables = tables.map(local_tables).transpose()?;
    let findings = session::pinned(|| {
        let tables = tables.map_or_else(LocalTable::all, Ok)?;
        remote::with(environment, Access::Snapshot, |remote| {
            let compared = Compared::new(remote, &tables)?;
            Ok(tables
                .iter()
                .flat_map(|table| compared.findings(table, &table.kept_here()))
                .collect::<Vec<_>>())
        })
    })?;
    Ok(TableIterator::new(findings.into_iter().map(|finding| {
        (
            finding.table,
            finding.aspect.as_str().to_owned(),
            finding.object,
            finding.verdict.as_str().to_owned(),
            finding.local,
            finding.remote,
            finding.detail,
            finding.blocking,
        )
    })))
}

/// Shows, column by column, where the values of a table would go on an environment, and whether they fit.
///
/// Verdicts as in check_compatibility. Where a type is narrower there, the present values are tried in one
/// scan and evidence says how many do not fit, with an example.
/// Errors: as check_compatibility, and 42P01 if the table does not exist there.
#[pg_extern(requires = ["environment_tables", "ingest_tables"])]
#[allow(clippy::type_complexity)]
fn verify_column_mapping(
    environment: Option<&str>,
    table: Option<&str>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(local_column, String),
            name!(local_type, String),
            name!(remote_column, Option<String>),
            name!(remote_type, Option<String>),
            name!(verdict, String),
            name!(evidence, String),
        ),
    >,
    ErrorReport,
> {
    let (environment, table) = (required("environment", environment)?, required("table", table)?);
    let table = LocalTable::named(table)?;
    let mapping = session::pinned(|| {
        table.hold()?;
        let tables = std::slice::from_ref(&table);
        let compared = remote::with(environment, Access::Snapshot, |remote| Compared::new(remote, tables))?;
        compared.check_exists_there(&table, environment)?;
        compared.mapping(&table, &table.kept_here(), None)
    })?;
    Ok(TableIterator::new(mapping.into_iter().map(|column| {
        (
            column.local_column,
            column.local_type,
            column.remote_column,
            column.remote_type,
            column.verdict.as_str().to_owned(),
            column.evidence,
        )
    })))
}

/// The tables that a caller named, each once, found in the caller's search_path.
pub fn local_tables(names: Vec<Option<String>>) -> Result<Vec<LocalTable>> {
    let mut tables: Vec<LocalTable> = Vec::new();
    for name in names {
        let table = LocalTable::named(&required("tables", name)?)?;
        if !tables.iter().any(|known| known.relation == table.relation) {
            tables.push(table);
        }
    }
    if tables.is_empty() {
        return Err(CompatError::NoTables.into());
    }
    Ok(tables)
}
