//! A plain table in use becomes a partitioned one.

mod copy;
mod course;
mod error;
mod finish;
mod options;
mod plan;
mod prepare;
mod source;
mod state;
mod swap;

use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::required;
use crate::pg::session;
use crate::pg::types::Regclass;
use course::Request;

/// Begins to convert a table, or finds a conversion that was begun. For partition_table.
///
/// The arguments are those of partition_table; one that was begun goes on as it was told then. Columns: source, the plain
/// table; wait_seconds, how long to wait for others.
/// Errors: 22004 for NULL, 42501 unless the caller owns the table, 42703 for an unknown column, 0A000 for what cannot be
/// converted, 22023 for more than 1000 partitions and for arguments that manage_partitions would refuse, 55000 if the
/// table was altered since, 55P03 if its lock is not to be had.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn begin_partition_table(
    table: Option<Regclass>,
    column: Option<&str>,
    every: Option<Interval>,
    premake: Option<i32>,
    timezone: Option<&str>,
    options: Option<JsonB>,
) -> std::result::Result<
    TableIterator<'static, (name!(source, Regclass), name!(wait_seconds, i64))>,
    ErrorReport,
> {
    let request = Request::of(table, column, every, premake, timezone, options)?;
    let begun = session::pinned(|| course::begin(&request))?;
    Ok(TableIterator::once(begun))
}

/// Does the next step of a conversion. For partition_table, which commits each.
///
/// Columns: state (copying, analyzing, applying, swapped, done); waits_for, why it did not get further; pauses, whether
/// others are in the way, who may be gone in a moment; and the sqlstate, message, detail and hint of an error, which is
/// written down, too. Errors: 22004 for NULL, 42704 if there is no conversion,
/// 42501 unless the caller owns the table.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn continue_partition_table(
    table: Option<Regclass>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(state, String),
            name!(waits_for, Option<String>),
            name!(pauses, bool),
            name!(sqlstate, Option<String>),
            name!(message, Option<String>),
            name!(detail, Option<String>),
            name!(hint, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let table = required("table", table)?;
    let (state, wait, failure) = session::pinned(|| course::go_on(table))?;
    let failure = failure.map(|it| (it.sqlstate_text(), it.message, it.detail, it.hint));
    let (sqlstate, message, detail, hint) = match failure {
        Some((sqlstate, message, detail, hint)) => (Some(sqlstate), Some(message), detail, hint),
        None => Default::default(),
    };
    let pauses = wait.as_ref().is_some_and(|it| it.is_for_others);
    let waits_for = wait.map(|it| it.why);
    Ok(TableIterator::once((state.name().to_owned(), waits_for, pauses, sqlstate, message, detail, hint)))
}

/// What partition_table would do, step by step. Changes nothing.
///
/// The arguments are those of partition_table. Columns: step (create, partition, capture, copy, analyze, apply, swap, finish), ddl,
/// lock (what is taken, on which table) and note. The rows are looked through for the partitions that they need.
/// Errors: 0A000 for what cannot be converted, with every reason; the others of partition_table.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn plan_partition_table(
    table: Option<Regclass>,
    column: Option<&str>,
    every: default!(Option<Interval>, "'1 day'"),
    premake: default!(Option<i32>, "7"),
    timezone: default!(Option<&str>, "'UTC'"),
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(step, String),
            name!(ddl, Option<String>),
            name!(lock, Option<String>),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let request = Request::of(table, column, every, premake, timezone, options)?;
    let rows = session::pinned(|| plan::plan(&request))?;
    Ok(TableIterator::new(rows.into_iter().map(|row| (row.step.to_owned(), row.ddl, row.lock, row.note))))
}

/// Undoes an unfinished conversion: the table is as it was, and the new one is gone.
///
/// Of a conversion that came to its end before it only forgets it.
/// Errors: 22004 for NULL, 42704 if there is none, 55000 if the new table is in its place already, 42501 unless the caller
/// owns the table, 55P03 if its lock is not to be had within 2 seconds.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn cancel_partition_table(table: Option<Regclass>) -> std::result::Result<(), ErrorReport> {
    let table = required("table", table)?;
    Ok(session::pinned(|| course::cancel(table))?)
}

/// How many changes of a table that is being converted are written down and not applied. For the view
/// partition_conversions. NULL if that cannot be seen without waiting.
///
/// Errors: 22004 for NULL.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn pending_partition_changes(source: Option<Regclass>) -> std::result::Result<Option<i64>, ErrorReport> {
    let source = required("source", source)?;
    Ok(session::pinned(|| course::pending(source))?)
}
