//! A plain table in use becomes a partitioned one.

mod copy;
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

use super::recipe::{Lock, Statement};
use super::run;
use crate::pg::error::{Failure, Result, required};
use crate::pg::lock::Mode;
use crate::pg::types::Regclass;
use crate::pg::{name, own, relation, session, spi, subtransaction};
use error::ConvertError;
use options::ConvertOptions;
use source::Source;
use state::{Conversion, State};

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
    let begun = session::pinned(|| begin(&request))?;
    Ok(TableIterator::once(begun))
}

/// Does the next step of a conversion. For partition_table, which commits each.
///
/// Columns: state (copying, analyzing, applying, swapped, done); waits_for, who is in the way; and the sqlstate, message,
/// detail and hint of an error, which is written down, too. Errors: 22004 for NULL, 42704 if there is no conversion,
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
            name!(sqlstate, Option<String>),
            name!(message, Option<String>),
            name!(detail, Option<String>),
            name!(hint, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let table = required("table", table)?;
    let (state, waits_for, failure) = session::pinned(|| go_on(table))?;
    let failure = failure.map(|it| (it.sqlstate_text(), it.message, it.detail, it.hint));
    let (sqlstate, message, detail, hint) = match failure {
        Some((sqlstate, message, detail, hint)) => (Some(sqlstate), Some(message), detail, hint),
        None => Default::default(),
    };
    Ok(TableIterator::once((state.name().to_owned(), waits_for, sqlstate, message, detail, hint)))
}

/// What partition_table would do, step by step. Changes nothing.
///
/// The arguments are those of partition_table. Columns: step (create, partition, capture, copy, apply, swap, finish), ddl,
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
    Ok(session::pinned(|| cancel(table))?)
}

/// How many changes of a table that is being converted are written down and not applied. For the view
/// partition_conversions. NULL if that cannot be seen without waiting.
///
/// Errors: 22004 for NULL.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn pending_partition_changes(source: Option<Regclass>) -> std::result::Result<Option<i64>, ErrorReport> {
    let source = required("source", source)?;
    Ok(session::pinned(|| pending(source))?)
}

/// The arguments of partition_table.
struct Request {
    table: Regclass,
    column: String,
    every: Interval,
    premake: i32,
    timezone: String,
    options: serde_json::Value,
}

impl Request {
    fn of(
        table: Option<Regclass>,
        column: Option<&str>,
        every: Option<Interval>,
        premake: Option<i32>,
        timezone: Option<&str>,
        options: Option<JsonB>,
    ) -> Result<Self> {
        Ok(Self {
            table: required("table", table)?,
            column: required("column", column)?.to_owned(),
            every: required("every", every)?,
            premake: required("premake", premake)?,
            timezone: required("timezone", timezone)?.to_owned(),
            options: required("options", options)?.0,
        })
    }

    fn options(&self) -> Result<ConvertOptions> {
        ConvertOptions::read(&self.options)
    }

    fn wanted(&self) -> Result<super::manage::Wanted> {
        Ok(state::wanted(self.every, self.premake, &self.timezone, self.options()?))
    }
}

/// After a lock was waited for, what others committed meanwhile must be seen.
///
/// Errors: 25001 for another isolation level.
fn check_isolation() -> Result<()> {
    let sql = "SELECT pg_catalog.current_setting('transaction_isolation')";
    match spi::read_value::<String>(sql, &[])? {
        Some(level) if level != "read committed" => Err(ConvertError::Isolation(level).into()),
        _ => Ok(()),
    }
}

fn begin(request: &Request) -> Result<(Regclass, i64)> {
    check_isolation()?;
    let options = request.options()?;
    if let Some(begun) = Conversion::find(request.table)? {
        super::parent::check_owner_of(request.table)?;
        // The old table of a conversion that has come to its end is a table like others, perhaps put back into its place.
        if begun.state == State::Done && begun.source == request.table {
            begun.forget()?;
            return begin(request);
        }
        if !begun.state.is_swapped() {
            begun.check_definition(&begun.source()?)?;
        }
        return Ok((begun.source, options.wait_seconds));
    }
    let source = Source::of(request.table, &request.column, options.weaker_keys)?;
    source.parent.check_owner()?;
    run::alone(request.table)?;
    // Another session may have begun meanwhile.
    if Conversion::find(request.table)?.is_some() {
        return Ok((request.table, options.wait_seconds));
    }
    prepare::prepare(&source, &request.wanted()?, &options, &request.options)?;
    Ok((request.table, options.wait_seconds))
}

/// The state after a step, who it waits for, and why it failed.
fn go_on(table: Regclass) -> Result<(State, Option<String>, Option<Failure>)> {
    check_isolation()?;
    let found = Conversion::get(table)?;
    run::alone(found.source)?;
    let conversion = Conversion::get(table)?;
    super::parent::check_owner_of(match conversion.state.is_swapped() {
        true => conversion.target,
        false => conversion.source,
    })?;
    match subtransaction::run(|| step(&conversion)) {
        Ok(waits_for) => {
            conversion.failed(waits_for.as_deref())?;
            Ok((Conversion::get(conversion.target)?.state, waits_for, None))
        }
        Err(failure) if failure.is_interrupt => Err(failure),
        Err(failure) if matches!(failure.sqlstate_text().as_str(), "55P03" | "40P01") => {
            conversion.failed(Some(&failure.message))?;
            Ok((conversion.state, Some(failure.message), None))
        }
        Err(failure) => {
            conversion.failed(Some(&failure.message))?;
            Ok((conversion.state, None, Some(failure)))
        }
    }
}

fn step(conversion: &Conversion) -> Result<Option<String>> {
    match conversion.state {
        State::Copying => copy::next_blocks(conversion, &conversion.source()?).map(|()| None),
        State::Analyzing => copy::analyze(conversion, &conversion.source()?).map(|()| None),
        State::Applying => swap::approach(conversion, &conversion.source()?),
        State::Swapped => finish::next(conversion).map(|()| None),
        State::Done => Ok(None),
    }
}

fn cancel(table: Regclass) -> Result<()> {
    let found = Conversion::get(table)?;
    run::alone(found.source)?;
    let conversion = Conversion::get(table)?;
    super::parent::check_owner_of(table)?;
    match conversion.state {
        State::Swapped => return Err(ConvertError::Swapped(name::of(conversion.target)?.sql()).into()),
        State::Done => return conversion.forget(),
        _ => {}
    }
    undo(&conversion)?;
    conversion.forget()
}

/// Of a conversion whose tables somebody has dropped, moved or given away, what is left of it.
fn undo(conversion: &Conversion) -> Result<()> {
    if let Ok(name) = name::of(conversion.source) {
        Statement::Lock(Lock { relation: conversion.source, name, mode: Mode::Access }).run()?;
    }
    // Triggers first; then what they call; then what that writes to.
    let left = spi::read_now(
        "SELECT pg_catalog.format('DROP TRIGGER %I ON %I.%I', t.tgname, n.nspname, c.relname)
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgname IN ('opdb_capture_insert', 'opdb_capture_update', 'opdb_capture_delete')
         UNION ALL
         SELECT pg_catalog.format('DROP FUNCTION %I.%I()', n.nspname, f.proname)
         FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
         JOIN pg_catalog.pg_class c ON c.oid = $2 AND c.relnamespace = f.pronamespace AND c.relowner = f.proowner
         WHERE f.proname = 'opdb_capture_' || $1::pg_catalog.oid::text AND f.pronargs = 0
         UNION ALL
         SELECT pg_catalog.format('DROP TABLE %I.%I', n.nspname, c.relname)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN ($2, $3)",
        &[conversion.source.into(), conversion.changes.into(), conversion.target.into()],
        |row| row.get::<String>(1),
    )?;
    // They may belong to somebody else by now.
    own::read_as_owner(|| left.into_iter().flatten().try_for_each(|sql| spi::write(&sql, &[]).map(drop)))
}

fn pending(source: Regclass) -> Result<Option<i64>> {
    let Some(conversion) = Conversion::find(source)?.filter(|it| !it.state.is_swapped()) else {
        return Ok(None);
    };
    let count = || copy::pending(&conversion, &conversion.source()?, i64::MAX).map(Some);
    // No lock stays, which the swap would wait for.
    // A conversion that something has happened to is not known; it must not hide the others.
    let seen =
        relation::read_now(conversion.changes, |_| Ok(subtransaction::discarded(count).ok().flatten()))?;
    Ok(match seen {
        relation::Seen::Read(count) => count,
        _ => None,
    })
}
