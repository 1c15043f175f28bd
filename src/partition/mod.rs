//! Partitions: made before they are needed, retired when they are not.

mod archive;
mod children;
mod column;
mod convert;
mod drift;
mod error;
mod event;
mod hold;
mod job;
mod manage;
mod moving;
mod options;
mod parent;
mod plan;
mod recipe;
mod retired;
mod run;
mod set;
mod state;
mod status;
mod step;
mod stray;
mod task;

use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::required;
use crate::pg::session;
use crate::pg::types::Regclass;
pub use event::{Created, create_for};
use manage::Wanted;
use options::Options;
use task::Phase;

/// Makes and retires the partitions of a table from now on, and makes those that are missing at once.
///
/// `parent` is partitioned by range of one column: timestamptz, timestamp, date, uuid (version 7), or an integer.
/// `every` is what a partition spans: an interval of one unit, such as 1 hour, 1 day, 7 days, 1 month, 3 months, 1 year.
/// `premake`: how many partitions are kept ahead of the current one (0 to 1000). What ends earlier than now less
/// `retention` is retired by run_partitions and run_partition_maintenance, never here; `retention_action` is detach,
/// drop or archive. `timezone` says when days begin. With `start_at` partitions are made from then on, and intervals
/// that no calendar knows, such as 10 days, are counted from there. `options`: width and retention_width (for ids),
/// unit (s, ms or us: integers that are times since 1970), archive_schema, archive_tablespace, archive_environment (an
/// expired partition moves there, into archive_schema if given, and a foreign table takes its place), storage
/// (parameters of new partitions; by default those of the newest), analyze.
/// Called again, it replaces what was said before. Partitions are known by their bounds, whatever they are called.
/// Errors: 22004 for NULL, 42809 if the table is not partitioned by range of one column, 0A000 for a key of another
/// type, 22023 for an interval, a premake, a retention, a time zone or an option that cannot be, 42P17 if a partition
/// is in the way or has no upper bound, 42P07 if a name is taken, 42704 for a place to archive to that does not exist,
/// 0A000 if no partition of the table can be a foreign table, 42501 unless the caller owns the table and, with
/// archive_environment, its owner can use the environment, 55P03 if its locks are not to be had within 2 seconds.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments)]
fn manage_partitions(
    parent: Option<Regclass>,
    every: default!(Option<Interval>, "'1 day'"),
    premake: default!(Option<i32>, "7"),
    retention: default!(Option<Interval>, "NULL"),
    retention_action: default!(Option<String>, "'detach'"),
    timezone: default!(Option<String>, "'UTC'"),
    start_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<(), ErrorReport> {
    let parent = required("parent", parent)?;
    let wanted = Wanted {
        every: required("every", every)?,
        premake: required("premake", premake)?,
        retention,
        retention_action: required("retention_action", retention_action)?,
        timezone: required("timezone", timezone)?,
        start_at,
        options: Options::read(&required("options", options)?.0)?,
    };
    Ok(session::pinned(|| manage::manage(parent, &wanted))?)
}

/// Leaves the partitions of a table alone from now on. They stay as they are.
///
/// Errors: 22004 for NULL, 42704 if they are not managed, 42501 unless the caller owns the table.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn unmanage_partitions(parent: Option<Regclass>) -> std::result::Result<(), ErrorReport> {
    Ok(session::pinned(|| manage::unmanage(required("parent", parent)?))?)
}

/// What run_partitions would do now, or at a time, in this order. Changes nothing.
///
/// One row each: parent, action (create, move_rows, check, analyze, detach, drop, archive), partition, its bounds as
/// SQL reads them, ddl (the statements, separated by a semicolon and a line break), lock (what is taken on which table,
/// in order; a lock is asked for in short turns), and note: what to know about it, or why it cannot be done. A check is a
/// constraint on a large default partition that spares it being scanned while it is locked. NULL for all managed tables.
/// Errors: 42704 if the table is not managed.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn plan_partitions(
    parent: default!(Option<Regclass>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(parent, Regclass),
            name!(action, String),
            name!(partition, Option<String>),
            name!(lower_bound, Option<String>),
            name!(upper_bound, Option<String>),
            name!(ddl, Option<String>),
            name!(lock, Option<String>),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let rows = session::pinned(|| plan::plan(parent, at))?;
    Ok(TableIterator::new(rows.into_iter().map(|row| {
        (row.parent, row.action, row.partition, row.lower, row.upper, row.ddl, row.lock, row.note)
    })))
}

/// Does what plan_partitions lists, in the caller's transaction: for scripts and by hand.
///
/// One row for each step: parent, action, partition, status (done, failed, skipped), detail, duration_ms. A step that
/// fails leaves nothing behind and does not stop the others. Its locks are held until the transaction ends: what pg_cron
/// or a job calls is run_partition_maintenance. Tables of other owners are skipped.
/// Errors: 42704 if the table is not managed, 42501 unless the caller owns it.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn run_partitions(
    parent: default!(Option<Regclass>, "NULL"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(parent, Regclass),
            name!(action, String),
            name!(partition, Option<String>),
            name!(status, String),
            name!(detail, Option<String>),
            name!(duration_ms, f64),
        ),
    >,
    ErrorReport,
> {
    let rows = session::pinned(|| run::every(parent))?;
    Ok(TableIterator::new(rows.into_iter().map(|(parent, row)| {
        (parent, row.action.to_owned(), row.partition, row.status.to_owned(), row.detail, row.duration_ms)
    })))
}

/// Keeps retention from a partition or, for a partitioned table, from all its partitions: a legal hold.
///
/// Placed on the same relation again it only changes the reason.
/// Errors: 22004 for NULL or an empty reason, 42809 for something else, 42501 unless the caller owns it.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn hold_partitions(relation: Option<Regclass>, reason: Option<&str>) -> std::result::Result<(), ErrorReport> {
    let relation = required("relation", relation)?;
    let reason = required("reason", reason.filter(|reason| !reason.trim().is_empty()))?;
    Ok(session::pinned(|| hold::place(relation, reason))?)
}

/// Ends a hold that hold_partitions placed on this very relation.
///
/// Errors: 22004 for NULL, 42704 if there is none, 42501 unless the caller owns it.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn release_partitions(relation: Option<Regclass>) -> std::result::Result<(), ErrorReport> {
    Ok(session::pinned(|| hold::release(required("relation", relation)?))?)
}

/// Where partitions differ from the table they belong to, with the statements that would make them equal.
///
/// Of a managed table, or all of them for NULL. One row each: parent, partition, aspect (owner, privileges,
/// row_security, policies, replica_identity, storage, indexes, triggers, persistence), detail, ddl. Foreign tables are
/// left out. Errors: 42704 if the table is not managed.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn partition_drift(
    parent: default!(Option<Regclass>, "NULL"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(parent, Regclass),
            name!(partition, String),
            name!(aspect, String),
            name!(detail, String),
            name!(ddl, String),
        ),
    >,
    ErrorReport,
> {
    let rows = session::pinned(|| drift::find(parent))?;
    Ok(TableIterator::new(
        rows.into_iter().map(|row| (row.parent, row.partition, row.aspect, row.detail, row.ddl)),
    ))
}

/// Adds the job that keeps partitions: run_partition_maintenance by a schedule and, before it retires anything, a DETACH
/// CONCURRENTLY for each expired partition that allows it.
///
/// The job is called `opdb partitions`. `schedule`, `timezone` and `options` are those of add_job. Where the worker is
/// off it is a plain CALL, which pg_cron can run and which detaches under a short lock.
/// Errors: 22004 for NULL, 42710 if it exists, 22023 for the option gexec; those of add_job.
#[pg_extern(requires = ["worker_tables", "partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn add_partition_job(
    schedule: default!(Option<&str>, "'5 0 * * *'"),
    timezone: default!(Option<&str>, "'UTC'"),
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<(), ErrorReport> {
    let (schedule, timezone) = (required("schedule", schedule)?, required("timezone", timezone)?);
    Ok(job::add(schedule, timezone, required("options", options)?.0)?)
}

/// The statements of the job `opdb partitions`, one by one, for the worker, which runs each at top level.
///
/// Partitions that are to be detached are written down as retired. Column: command.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn partition_commands() -> std::result::Result<TableIterator<'static, (name!(command, String),)>, ErrorReport>
{
    let commands = session::pinned(job::commands)?;
    Ok(TableIterator::new(commands.into_iter().map(|command| (command,))))
}

/// The managed tables that have something to do now, or may have. For run_partition_maintenance.
///
/// Columns: parent; is_callers, whether the caller may do it.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn due_partition_sets() -> std::result::Result<
    TableIterator<'static, (name!(parent, Regclass), name!(is_callers, bool))>,
    ErrorReport,
> {
    Ok(TableIterator::new(state::due()?))
}

/// What is to be done for a table in a phase, create or retire, one task a row. For run_partition_maintenance.
///
/// Columns: task, or NULL with the status, detail and blockers of what could not even begin.
/// Errors: 22004 for NULL, 22023 for an unknown phase.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn partition_tasks(
    parent: Option<Regclass>,
    phase: Option<&str>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(task, Option<JsonB>),
            name!(status, Option<String>),
            name!(detail, Option<String>),
            name!(blockers, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let (parent, phase) = (required("parent", parent)?, Phase::named(required("phase", phase)?)?);
    let planned = session::pinned(|| run::planned(parent, phase))?;
    let tasks =
        planned.tasks.into_iter().map(|task| (serde_json::to_value(task).ok().map(JsonB), None, None, None));
    let outcomes = planned.outcomes.into_iter();
    let outcomes = outcomes.map(|it| (None, Some(it.status.to_owned()), it.detail, it.blockers));
    Ok(TableIterator::new(outcomes.chain(tasks).collect::<Vec<_>>()))
}

/// Does one task of partition_tasks. For run_partition_maintenance.
///
/// `may_retry`: a failure that may pass is not written down. Columns: status, detail, blockers, and passing, whether
/// trying again soon may help.
/// Errors: 22004 for NULL, 22023 for what is no task.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn run_partition_task(
    parent: Option<Regclass>,
    task: Option<JsonB>,
    may_retry: Option<bool>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(status, String),
            name!(detail, Option<String>),
            name!(blockers, Option<String>),
            name!(passing, bool),
        ),
    >,
    ErrorReport,
> {
    let (parent, task) = (required("parent", parent)?, task::read(required("task", task)?.0)?);
    let may_retry = required("may_retry", may_retry)?;
    let outcome = session::pinned(|| run::recorded(parent, task, may_retry))?;
    let passing = outcome.is_passing();
    Ok(TableIterator::once((outcome.status.to_owned(), outcome.detail, outcome.blockers, passing)))
}

/// Writes down how a run went for a table, and when there will be something to do again. For run_partition_maintenance.
///
/// Errors: 22004 for a NULL parent, 42501 unless the caller owns it.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn finish_partition_run(
    parent: Option<Regclass>,
    last_error: Option<&str>,
    blockers: Option<&str>,
) -> std::result::Result<(), ErrorReport> {
    let parent = required("parent", parent)?;
    Ok(session::pinned(|| run::finished(parent, last_error, blockers))?)
}

/// How each managed table stands; the view opdb.partition_status shows it.
///
/// Columns: parent; partitions; premade_until, and as a value of the key; is_endless; default_rows; stray_rows, those of
/// the default partition by the range that they belong to; gaps; misaligned, partitions that begin or end amid a range; expired; note. Waits for no lock.
#[pg_extern(requires = ["partition_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn partition_overview() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(parent, Regclass),
            name!(partitions, Option<i64>),
            name!(premade_until, Option<TimestampWithTimeZone>),
            name!(premade_until_value, Option<String>),
            name!(is_endless, bool),
            name!(default_rows, Option<i64>),
            name!(stray_rows, Option<JsonB>),
            name!(gaps, Vec<String>),
            name!(misaligned, Vec<String>),
            name!(expired, Option<i64>),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let rows = status::all()?.into_iter().map(|(parent, it)| {
        (
            parent,
            it.partitions,
            it.premade_until,
            it.premade_until_value,
            it.is_endless,
            it.default_rows,
            it.stray_rows,
            it.gaps,
            it.misaligned,
            it.expired,
            it.note,
        )
    });
    Ok(TableIterator::new(rows.collect::<Vec<_>>()))
}
