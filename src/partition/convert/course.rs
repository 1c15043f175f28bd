//! A conversion from its beginning to its end, step by step.

use pgrx::JsonB;
use pgrx::datum::Interval;

use super::error::ConvertError;
use super::options::ConvertOptions;
use super::source::Source;
use super::state::{self, Conversion, State};
use super::{copy, finish, prepare, swap};
use crate::partition::manage::Wanted;
use crate::partition::parent;
use crate::partition::recipe::{Lock, Statement};
use crate::partition::run;
use crate::pg::error::{Failure, Result, required};
use crate::pg::lock::Mode;
use crate::pg::types::Regclass;
use crate::pg::{name, own, relation, spi, subtransaction};

/// The arguments of partition_table.
pub struct Request {
    pub table: Regclass,
    pub column: String,
    pub every: Interval,
    pub premake: i32,
    pub timezone: String,
    pub options: serde_json::Value,
}

impl Request {
    pub fn of(
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

    pub fn options(&self) -> Result<ConvertOptions> {
        ConvertOptions::read(&self.options)
    }

    pub fn wanted(&self) -> Result<Wanted> {
        Ok(state::wanted(self.every, self.premake, &self.timezone, self.options()?))
    }
}

/// Why a step did not get further.
pub struct Wait {
    pub why: String,
    /// They may be gone in a moment; without them there is something to do at once.
    pub is_for_others: bool,
}

impl Wait {
    pub fn for_others(why: String) -> Self {
        Self { why, is_for_others: true }
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

pub fn begin(request: &Request) -> Result<(Regclass, i64)> {
    check_isolation()?;
    let options = request.options()?;
    if let Some(begun) = Conversion::find(request.table)? {
        parent::check_owner_of(request.table)?;
        // The old table of a conversion that has come to its end is a table like others, perhaps put back into its place.
        if begun.state == State::Done && begun.source == request.table {
            begun.forget()?;
            return begin(request);
        }
        if !begun.state.is_swapped() {
            begun.check_definition(&begun.source()?)?;
            begun.expect_fewer()?;
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

/// The state after a step, why it did not get further, and why it failed.
pub fn go_on(table: Regclass) -> Result<(State, Option<Wait>, Option<Failure>)> {
    check_isolation()?;
    let found = Conversion::get(table)?;
    run::alone(found.source)?;
    let conversion = Conversion::get(table)?;
    parent::check_owner_of(match conversion.state.is_swapped() {
        true => conversion.target,
        false => conversion.source,
    })?;
    match subtransaction::run(|| step(&conversion)) {
        Ok(wait) => {
            conversion.failed(wait.as_ref().map(|it| it.why.as_str()))?;
            Ok((Conversion::get(conversion.target)?.state, wait, None))
        }
        Err(failure) if failure.is_interrupt => Err(failure),
        Err(failure) if failure.is_of_locks() => {
            conversion.failed(Some(&failure.message))?;
            Ok((conversion.state, Some(Wait::for_others(failure.message)), None))
        }
        Err(failure) => {
            let failure = because_altered(&conversion).unwrap_or(failure);
            conversion.failed(Some(&failure.message))?;
            Ok((conversion.state, None, Some(failure)))
        }
    }
}

/// A table that was altered is the reason of whatever fails since.
fn because_altered(conversion: &Conversion) -> Option<Failure> {
    let check = || conversion.check_definition(&conversion.source()?);
    if conversion.state.is_swapped() { None } else { subtransaction::run(check).err() }
}

fn step(conversion: &Conversion) -> Result<Option<Wait>> {
    match conversion.state {
        State::Copying => copy::next_blocks(conversion, &conversion.source()?).map(|()| None),
        State::Analyzing => copy::analyze(conversion, &conversion.source()?).map(|()| None),
        State::Applying => swap::approach(conversion, &conversion.source()?),
        State::Swapped => finish::next(conversion).map(|()| None),
        State::Done => Ok(None),
    }
}

pub fn cancel(table: Regclass) -> Result<()> {
    let found = Conversion::get(table)?;
    run::alone(found.source)?;
    let conversion = Conversion::get(table)?;
    parent::check_owner_of(table)?;
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

pub fn pending(source: Regclass) -> Result<Option<i64>> {
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
