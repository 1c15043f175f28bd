//! Maintenance: what a database needs so that it stays as fast and as small as it is.

mod error;
mod index;
mod schedule;
mod vacuum;
mod vacuum_blocker;
mod vacuum_measure;

use pgrx::AnyNumeric;
use pgrx::JsonB;
use pgrx::datum::Interval;
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

/// What should be done about the indexes of this database, with the statements that do it and undo it. Does nothing.
///
/// `min_age`: how long statistics must have been collected before an index that was never scanned counts as unused.
/// One row each: action (drop, create, rebuild), object (the index), ddl, undo (NULL for rebuild), reason, bytes (what
/// is given back; for create, what it is estimated to take; NULL if unknown), table_name, kind (invalid, duplicate,
/// redundant, unindexed_foreign_key, bloated, missing, unused), write_cost (index entries per second that the table's
/// writes have cost, or would, since statistics began), gain (for missing: which share, 0 to 1, of the cost of the
/// statements named in reason the planner expects to save). Statements are separated by a semicolon and a line break.
/// Where hypopg and pg_stat_statements are installed, indexes for the ten slowest statements are tried as hypothetical
/// ones. Works on a standby; waits for no lock, but up to 50 ms for each slow statement whose table is locked.
/// Errors: 22004 for NULL, 22023 for an interval that is negative or longer than 100 years.
#[pg_extern(requires = ["maintain_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn index_advice(
    min_age: default!(Option<Interval>, "'7 days'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(action, &'static str),
            name!(object, String),
            name!(ddl, String),
            name!(undo, Option<String>),
            name!(reason, String),
            name!(bytes, Option<i64>),
            name!(table_name, Regclass),
            name!(kind, &'static str),
            name!(write_cost, Option<f64>),
            name!(gain, Option<AnyNumeric>),
        ),
    >,
    ErrorReport,
> {
    let min_age = index::check_age(required("min_age", min_age)?)?;
    let rows = index::advice(min_age)?.into_iter().map(|advice| {
        (
            advice.kind.action(),
            advice.object,
            index::joined(&advice.ddl),
            advice.undo.as_deref().map(index::joined),
            advice.reason,
            advice.bytes,
            advice.table,
            advice.kind.name(),
            advice.write_cost,
            advice.gain,
        )
    });
    Ok(TableIterator::new(rows.collect::<Vec<_>>()))
}

/// Drops an index that index_advice advises to drop right now, and keeps in opdb.index_ledger how to bring it back.
///
/// `reason`: why; what index_advice says if NULL. `min_age` as in index_advice. Result: the ledger_id. Waits at most
/// two seconds for its locks, so that nobody queues behind it for longer.
/// Errors: 22004 for NULL, 22023 for an interval that is negative or longer than 100 years, 42809 for what is no index of a user's table or belongs to a
/// partitioned index, 55000 if the index is not advised to be dropped, 42501 unless the caller owns the table, 55P03 if
/// the locks are not to be had, 25006 on a standby or in a read-only transaction.
#[pg_extern(requires = ["maintain_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn drop_advised_index(
    index: Option<Regclass>,
    reason: default!(Option<&str>, "NULL"),
    min_age: default!(Option<Interval>, "'7 days'"),
) -> std::result::Result<i64, ErrorReport> {
    let index = required("index", index)?;
    let min_age = index::check_age(required("min_age", min_age)?)?;
    Ok(index::drop_advised(index, reason, min_age)?)
}

/// Whether a table has a valid index of this definition, under whatever name. For opdb.index_ledger.
///
/// `table_name` is a name with its schema, quoted where needed; `definition` is what pg_get_indexdef says of an index.
/// NULL if it cannot be told without waiting for a lock. Errors: 22004 for NULL.
#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn has_index(
    table_name: Option<&str>,
    definition: Option<&str>,
) -> std::result::Result<Option<bool>, ErrorReport> {
    let table_name = required("table_name", table_name)?;
    Ok(index::has_index(table_name, required("definition", definition)?)?)
}
