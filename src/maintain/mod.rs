//! Maintenance: what a database needs so that it stays as fast and as small as it is.

mod schedule;
mod vacuum;
mod vacuum_blocker;
mod vacuum_measure;

use pgrx::AnyNumeric;
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::required;
use crate::pg::types::Regclass;

/// Which tables need VACUUM, ANALYZE or a freeze now, why, whether it would help now, and who is in the way.
///
/// By the rules and settings of autovacuum, of each table and of the server; with `everything` also the tables that
/// need nothing. One row per table: the command; the reason; who blocks it; reclaimable_bytes, space in the table and
/// its TOAST table that no live row needs, from the free-space map; helps, measured on a sample of its pages, NULL if
/// it could not be; removable_rows of dead_rows; need, 1 at the threshold; table_bytes with TOAST; xid_age; last_vacuum
/// and last_analyze, by anybody. The most needy first, before them those in danger of wraparound; then what is not due,
/// longest without a manual VACUUM first.
/// Waits for no lock and runs on a standby, where only ages are known.
/// Errors: 22004 for NULL.
#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn vacuum_plan(
    everything: default!(Option<bool>, "false"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(table_name, Regclass),
            name!(command, String),
            name!(reason, String),
            name!(blocked_by, Option<String>),
            name!(reclaimable_bytes, Option<i64>),
            name!(helps, Option<bool>),
            name!(removable_rows, Option<i64>),
            name!(dead_rows, Option<i64>),
            name!(need, Option<AnyNumeric>),
            name!(table_bytes, Option<i64>),
            name!(xid_age, Option<i32>),
            name!(last_vacuum, Option<TimestampWithTimeZone>),
            name!(last_analyze, Option<TimestampWithTimeZone>),
        ),
    >,
    ErrorReport,
> {
    let plan = vacuum::plan(required("everything", everything)?)?;
    Ok(TableIterator::new(plan.into_iter().map(|table| {
        (
            table.name,
            table.command,
            table.reason,
            table.blocked_by,
            table.reclaimable_bytes,
            table.helps,
            table.removable_rows,
            table.dead_rows,
            table.need,
            table.table_bytes,
            table.xid_age,
            table.last_vacuum,
            table.last_analyze,
        )
    })))
}

/// Adds the jobs that keep a database's tables in order: one a night, and one a week.
///
/// `opdb vacuum daily` runs, from Monday to Saturday, what vacuum_plan() lists and would help; `opdb vacuum weekly`
/// runs, on Sundays, VACUUM (ANALYZE) of every table, first those that waited longest. Both begin at `window_start` and
/// stop at `window_end`, times of day in `timezone`; what is left is done the next time. `options` are those of add_job,
/// for both, such as role and max_active. Where the worker is off, they are plain VACUUM (ANALYZE) of the database
/// without an end, which pg_cron can run.
/// One row for each job: job, schedule, command.
/// Errors: 22004 for NULL, 42710 if they exist, 22007 for a time that is none, 22023 for a window without length; those
/// of add_job.
#[pg_extern(requires = ["worker_tables", vacuum_plan])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn add_maintenance_jobs(
    window_start: default!(Option<Time>, "'01:00'"),
    window_end: default!(Option<Time>, "'05:00'"),
    timezone: default!(Option<&str>, "'UTC'"),
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<'static, (name!(job, String), name!(schedule, String), name!(command, String))>,
    ErrorReport,
> {
    let window = (required("window_start", window_start)?, required("window_end", window_end)?);
    let timezone = required("timezone", timezone)?;
    let added = schedule::add(window, timezone, required("options", options)?.0)?;
    Ok(TableIterator::new(added.into_iter().map(|job| (job.name, job.schedule, job.command))))
}
