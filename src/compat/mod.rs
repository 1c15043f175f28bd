//! Whether tables here fit those of another environment.

mod compared;
mod data;
mod error;
mod mapping;

use pgrx::JsonB;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::{Result, required};
use crate::pg::remote::{self, Access};
use crate::pg::session;
pub use compared::{Compared, LocalTable, columns, primary_key};
use data::Options;
pub use data::column_names;
use error::CompatError;
pub use mapping::{Data, Mapping, Renames};
use opdb_core::compat::Verdict;
use opdb_core::compat::table::{Aspect, Finding};
use opdb_core::schema::{Fact, Kind};

/// Compares tables with those of the same name on a registered environment.
///
/// `tables` are names as in SQL; NULL means every table of this database. `exclude_columns` are not sent. One row per
/// table, column, index and constraint: aspect is table_structure, column_types, indexes or constraints; verdict is
/// identical, widening (every value fits), narrowing (some are refused), lossy (some are altered), incompatible or
/// missing; blocking means that rows cannot be sent unless their values turn out to fit. fix is what would have to be
/// run there, fix_lock the strongest table lock that it takes, fix_cost what it does while it holds it: catalog only,
/// scan, rebuilds indexes, builds an index, or rewrite. Only catalogs are read, unless `check_data`: then the values of
/// each column whose verdict is narrowing or lossy are looked at, detail has what was found, and what is safe for this
/// data does not block.
/// Errors: 22004 for a NULL environment or table, 42704 for an unknown environment, 08001 or 28P01 if it
/// cannot be reached, 42P01 for an unknown table here, 42809 for something that is no table, 42703 for an excluded column
/// that no table has; with check_data 42501 without SELECT.
#[pg_extern(requires = ["environment_tables", "ingest_tables"])]
#[allow(clippy::type_complexity)]
fn check_compatibility(
    environment: Option<&str>,
    tables: default!(Option<Vec<Option<String>>>, "NULL"),
    exclude_columns: default!(Option<Vec<Option<String>>>, "NULL"),
    check_data: default!(Option<bool>, "false"),
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
            name!(fix, Option<String>),
            name!(fix_lock, Option<String>),
            name!(fix_cost, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let findings = findings(environment, tables, exclude_columns, check_data)?;
    Ok(TableIterator::new(findings.into_iter().map(|finding| {
        let (fix, lock, cost) = finding.fix.map_or((None, None, None), |fix| {
            (Some(fix.sql), Some(fix.lock.to_owned()), Some(fix.cost.as_str().to_owned()))
        });
        (
            finding.table,
            finding.aspect.as_str().to_owned(),
            finding.object,
            finding.verdict.as_str().to_owned(),
            finding.local,
            finding.remote,
            finding.detail,
            finding.blocking,
            fix,
            lock,
            cost,
        )
    })))
}

/// Whether rows of these tables can be sent to an environment: check_compatibility finds nothing that blocks.
///
/// Arguments and errors as there.
#[pg_extern(requires = ["environment_tables", "ingest_tables"])]
fn is_compatible(
    environment: Option<&str>,
    tables: default!(Option<Vec<Option<String>>>, "NULL"),
    exclude_columns: default!(Option<Vec<Option<String>>>, "NULL"),
    check_data: default!(Option<bool>, "false"),
) -> std::result::Result<bool, ErrorReport> {
    let findings = findings(environment, tables, exclude_columns, check_data)?;
    Ok(!findings.iter().any(|finding| finding.blocking))
}

fn findings(
    environment: Option<&str>,
    tables: Option<Vec<Option<String>>>,
    exclude_columns: Option<Vec<Option<String>>>,
    check_data: Option<bool>,
) -> Result<Vec<Finding>> {
    let environment = required("environment", environment)?;
    let tables = tables.map(local_tables).transpose()?;
    let excluded = exclude_columns.unwrap_or_default().into_iter();
    let excluded = excluded.map(|column| required("exclude_columns", column)).collect::<Result<Vec<_>>>()?;
    let check_data = required("check_data", check_data)?;
    session::pinned(|| {
        let tables = tables.map_or_else(LocalTable::all, Ok)?;
        if check_data {
            tables.iter().try_for_each(LocalTable::hold_to_read)?;
        }
        let compared = remote::with(environment, Access::Snapshot, |remote| Compared::new(remote, &tables))?;
        check_excluded(&compared, &excluded)?;
        let of_table = |table: &LocalTable| {
            let kept_here = [table.kept_here(), excluded.clone()].concat();
            let mut findings = compared.findings(table, &kept_here);
            if check_data {
                judge(&compared, table, &kept_here, &mut findings)?;
            }
            Ok(findings)
        };
        Ok(tables.iter().map(of_table).collect::<Result<Vec<_>>>()?.concat())
    })
}

fn check_excluded(compared: &Compared, excluded: &[String]) -> Result<()> {
    let is_known = |column: &&String| {
        let is_it = |fact: &Fact| fact.kind() == Kind::Column && fact.name() == **column;
        compared.local.iter().chain(&compared.remote).any(|fact| is_it(fact))
    };
    match excluded.iter().find(|column| !is_known(column)) {
        Some(column) => Err(CompatError::UnknownExcluded(column.clone()).into()),
        None => Ok(()),
    }
}

/// Has the data say what the types leave open.
fn judge(
    compared: &Compared,
    table: &LocalTable,
    kept_here: &[String],
    findings: &mut [Finding],
) -> Result<()> {
    let is_open = |finding: &Finding| {
        finding.blocking
            && finding.aspect == Aspect::ColumnTypes
            && matches!(finding.verdict, Verdict::Narrowing | Verdict::Lossy)
    };
    if !findings.iter().any(is_open) {
        return Ok(());
    }
    let mapping = compared.mapping(table, kept_here, &Renames::default(), Data::Asked(None))?;
    for finding in findings.iter_mut().filter(|finding| is_open(finding)) {
        if let Some(column) = mapping.iter().find(|column| column.local_column == finding.object) {
            finding.detail.clone_from(&column.evidence);
            finding.blocking = column.fits != Some(true);
        }
    }
    Ok(())
}

/// Shows, column by column, where the values of a table would go on an environment, and whether they fit.
///
/// `mapping` names columns there by columns here, where they are called otherwise. Verdicts as in check_compatibility;
/// conversion is the cast that a value goes through. Where a type is narrower there or loses something, the present
/// values are tried in one scan (unless `check_data` is false): evidence says how many do not fit, with an example and,
/// where there is one, a figure beside its limit; fits is NULL where only the other server can tell.
/// Errors: as check_compatibility, 42P01 if the table does not exist there, 22023, 42701 and 42703 for a mapping that
/// cannot be.
#[pg_extern(requires = ["environment_tables", "ingest_tables"])]
#[allow(clippy::type_complexity)]
fn verify_column_mapping(
    environment: Option<&str>,
    table: Option<&str>,
    mapping: default!(Option<JsonB>, "'{}'"),
    check_data: default!(Option<bool>, "true"),
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
            name!(conversion, Option<String>),
            name!(fits, Option<bool>),
        ),
    >,
    ErrorReport,
> {
    let (environment, table) = (required("environment", environment)?, required("table", table)?);
    let renames = Renames::read(&required("mapping", mapping)?.0)?;
    let data = if required("check_data", check_data)? { Data::Asked(None) } else { Data::NotAsked };
    let table = LocalTable::named(table)?;
    let mapping = session::pinned(|| {
        if matches!(data, Data::Asked(_)) {
            table.hold_to_read()?;
        }
        let tables = std::slice::from_ref(&table);
        let compared = remote::with(environment, Access::Snapshot, |remote| Compared::new(remote, tables))?;
        compared.check_exists_there(&table, environment)?;
        compared.mapping(&table, &table.kept_here(), &renames, data)
    })?;
    Ok(TableIterator::new(mapping.into_iter().map(|column| {
        (
            column.local_column,
            column.local_type,
            column.remote_column,
            column.remote_type,
            column.verdict.as_str().to_owned(),
            column.evidence,
            column.conversion,
            column.fits,
        )
    })))
}

/// Finds the rows of a table that are not the same on an environment.
///
/// One row for each row that differs: key (as JSON; NULL where the table has none), difference (missing: not there;
/// extra: only there; changed), columns (those that differ, of a changed row), local and remote (the values of these
/// columns, or the whole row of one that is missing or extra). Both servers hash their rows at the same time, in
/// buckets by the hash of the key; only keys of buckets that differ are sent, and only columns that differ.
/// Options: key, columns, exclude_columns, where, as_written, recheck_after, connections, statement_timeout.
/// Both sides are read as of now; rows that differ are looked at again, recheck_after later.
/// Errors: 22004 for NULL, 22023 for an unknown option, 42704 for an unknown environment, 08001 or 28P01 if it cannot
/// be reached, 42P01 for a table that is not on both sides, 42809 for something that is no table, 42703 without a
/// column in common, 42501 where a policy hides rows, 21000 for a key option that is not unique.
/// Source: digests by hash buckets, as in the Merkle trees of Dynamo (DeCandia et al., 2007), flattened to two levels.
#[pg_extern(
    requires = ["environment_tables", "ingest_tables"],
    sql = "CREATE FUNCTION compare_data(environment text, \"table\" text, options jsonb DEFAULT '{}')
           RETURNS TABLE (key jsonb, difference text, columns text[], local jsonb, remote jsonb)
           VOLATILE PARALLEL UNSAFE LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
)]
fn compare_data(
    environment: Option<&str>,
    table: Option<&str>,
    options: default!(Option<JsonB>, "'{}'"),
    call: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    let (environment, table) = (required("environment", environment)?, required("table", table)?);
    let table = LocalTable::named(table)?;
    let options = Options::read(&required("options", options)?.0)?;
    Ok(data::answer(call, environment, &table, &options)?)
}

/// Says of each table whether its rows are the same on an environment, by one digest of each side.
///
/// `tables` are names as in SQL; NULL means every table of this database. state is equal, different (also where a
/// column is on one side only), or unknown, with the reason in detail: a table that cannot be compared does not keep the
/// others from being compared. local_rows and remote_rows are counts; digests are 48 hexadecimal digits (rows, and the
/// sum of the rows' hashes), which mean something only beside each other. Options as in compare_data.
/// Errors: 22004 for a NULL environment or table, 22023 for an unknown option, 42704 for an unknown environment, 08001 or
/// 28P01 if it cannot be reached, 42P01 for an unknown table here, 42809 for something that is no table.
#[pg_extern(requires = ["environment_tables", "ingest_tables"])]
#[allow(clippy::type_complexity)]
fn compare_summary(
    environment: Option<&str>,
    tables: default!(Option<Vec<Option<String>>>, "NULL"),
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(table_name, String),
            name!(state, String),
            name!(local_rows, Option<i64>),
            name!(remote_rows, Option<i64>),
            name!(local_digest, Option<String>),
            name!(remote_digest, Option<String>),
            name!(detail, String),
        ),
    >,
    ErrorReport,
> {
    let environment = required("environment", environment)?;
    let tables = tables.map(local_tables).transpose()?.map_or_else(LocalTable::all, Ok)?;
    let options = Options::read(&required("options", options)?.0)?;
    let summaries = data::summary(environment, &tables, &options)?;
    Ok(TableIterator::new(summaries.into_iter().map(|summary| {
        let (here, there) = summary.digests.unzip();
        (
            summary.table,
            summary.state.to_owned(),
            here.map(|digest| digest.rows),
            there.map(|digest| digest.rows),
            here.map(|digest| digest.hex()),
            there.map(|digest| digest.hex()),
            summary.detail,
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
