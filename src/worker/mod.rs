//! Jobs: what is to be done when, and the processes that do it.

mod dispatcher;
mod error;
mod job;
mod launcher;
mod ledger;
mod leftovers;
mod options;
mod pg_cron;
mod run;
mod wake;

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value;

use crate::pg::error::{Result, required};
use crate::pg::process::Kind;
use crate::pg::{own, role, session, shared, spi, statement, time};
use crate::settings;
use error::WorkerError;
use job::Timing;
use options::Options;

/// What has nothing to do says it is due then.
const NEVER: i64 = i64::MAX / 2;
const MAX_NAME: usize = 100;
/// A command goes to its process through shared memory.
const MAX_COMMAND: usize = 1 << 20;

const LAUNCHER: Kind = Kind { name: "opdb launcher", function: "opdb_launcher_main" };
const DISPATCHER: Kind = Kind { name: "opdb dispatcher", function: "opdb_dispatcher_main" };
const JOB: Kind = Kind { name: "opdb job", function: "opdb_job_main" };

/// With shared_preload_libraries: shared memory and the launcher.
pub fn initialize() {
    shared::initialize();
    LAUNCHER.register();
}

crate::process_entry!(opdb_launcher_main, |_| launcher::main());
crate::process_entry!(opdb_dispatcher_main, |database: usize| dispatcher::main((database as u32).into()));
crate::process_entry!(opdb_job_main, |told: usize| run::main(told as u32));

/// Adds a job: one SQL statement that opdb's worker runs by a schedule, as the role that added it.
///
/// `schedule` is a cron expression of five fields (minute, hour, day of month, month, day of week; or @hourly,
/// @daily, @weekly, @monthly, @yearly), or `every` and an interval. It is meant in `timezone`, with its changes of the
/// clock: 5 0 * * * comes once on every day, of 23 or 25 hours too. `command` runs at top level, so that VACUUM,
/// CREATE INDEX CONCURRENTLY and procedures that commit are allowed. `options`: role, enabled, catch_up (run_once or
/// skip, for times that were missed), timeout (of each statement), max_runtime (of the run), retries and
/// retry_delay (doubled each time, with jitter), window {start, end}, max_active, gexec (run the statements in the
/// column "command" of the command's rows), settings.
/// Warns if the worker is off.
/// Errors: 22004 for NULL, 42602 for an invalid name, 42710 for a name that exists, 22023 for a schedule, a time zone
/// or an option that cannot be, 42601 for a command that is not one statement, 0A000 for one that needs a client,
/// 42704, 28000 and 42501 for a role that does not exist, may not log in or is not the caller's.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn add_job(
    name: Option<&str>,
    schedule: Option<&str>,
    command: Option<&str>,
    timezone: default!(Option<&str>, "'UTC'"),
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<(), ErrorReport> {
    let (name, schedule) = (required("name", name)?, required("schedule", schedule)?);
    let (command, timezone) = (required("command", command)?, required("timezone", timezone)?);
    add(name, schedule, command, timezone, &required("options", options)?.0)?;
    warn_if_off()?;
    Ok(())
}

/// What `add_job` does, but for the warning.
pub fn add(name: &str, schedule: &str, command: &str, timezone: &str, options: &Value) -> Result<()> {
    let options = Options::read(options)?;
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(WorkerError::InvalidName(name.to_owned()).into());
    }
    let added_at = time::now();
    let timing = Timing::read(schedule, timezone, added_at)?;
    if command.len() > MAX_COMMAND {
        return Err(WorkerError::TooLong(command.len()).into());
    }
    statement::check(command)?;
    if options.gexec {
        statement::check(&run::query_of(command)).map_err(|failure| WorkerError::NoQuery(failure.message))?;
    }
    let (role, role_oid) = role_for(options.role.as_deref())?;
    let (start, end) = options.window.clone().unzip();
    let job_id = own::write_value::<i64>(
        "INSERT INTO opdb.job (name, schedule, timezone, command, role, enabled, gexec, catch_up, timeout,
             max_runtime, retries, retry_delay, window_start, window_end, max_active, settings, added_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9 * interval '1 microsecond', $10 * interval '1 microsecond', $11,
                 $12 * interval '1 microsecond', $13::time, $14::time, $15, $16, $17)
         ON CONFLICT (name) DO NOTHING RETURNING job_id",
        &[
            name.into(),
            schedule.trim().into(),
            timezone.into(),
            command.into(),
            role.as_str().into(),
            options.enabled.into(),
            options.gexec.into(),
            options.catch_up.as_str().into(),
            options.timeout.into(),
            options.max_runtime.into(),
            options.retries.into(),
            options.retry_delay.into(),
            start.into(),
            end.into(),
            options.max_active.into(),
            JsonB(options.settings.clone()).into(),
            time::to_sql(added_at).into(),
        ],
    )?
    .ok_or_else(|| WorkerError::Exists(name.to_owned()))?;
    ledger::plan(&[(job_id, timing.next(added_at), 1)])?;
    ledger::bind_role(job_id, role_oid)
}

/// The role that a job runs as, if the caller may have it do so.
fn role_for(named: Option<&str>) -> Result<(String, pg_sys::Oid)> {
    let caller = own::caller()?.unwrap_or_default();
    let name = named.unwrap_or(&caller);
    let found = spi::read_one(
        "SELECT rolcanlogin, oid = 10, pg_catalog.pg_has_role(current_user, oid, $2),
                pg_catalog.has_database_privilege(oid, pg_catalog.current_database(), 'CONNECT'),
                pg_catalog.current_database()::text, oid
         FROM pg_catalog.pg_roles WHERE rolname = $1",
        &[name.into(), role::RIGHT_TO_BECOME.into()],
        |row| {
            let is = |column| Ok::<_, pgrx::spi::SpiError>(row.get::<bool>(column)?.unwrap_or_default());
            let oid = row.get::<pg_sys::Oid>(6)?.unwrap_or(pg_sys::InvalidOid);
            Ok(([is(1)?, is(2)?, is(3)?, is(4)?], row.get::<String>(5)?.unwrap_or_default(), oid))
        },
    )?;
    let name = name.to_owned();
    let Some(([may_log_in, is_bootstrap, may_become, may_connect], database, oid)) = found else {
        return Err(WorkerError::NoRole(name).into());
    };
    let error = match (may_become, is_bootstrap, may_log_in, may_connect) {
        (false, ..) => WorkerError::NotMember(name),
        (_, true, ..) => WorkerError::Bootstrap(name),
        (_, _, false, _) => WorkerError::NoLogin(name),
        (.., false) => WorkerError::NoConnect { role: name, database },
        _ => return Ok((name, oid)),
    };
    Err(error.into())
}

/// Whether the server preloads opdb.
pub fn is_on() -> bool {
    shared::is_on()
}

/// Nobody should find out by a job that never ran.
pub fn warn_if_off() -> Result<()> {
    let database = spi::read_value::<String>("SELECT pg_catalog.current_database()::text", &[])?;
    let database = database.unwrap_or_default();
    let why = if !shared::is_on() {
        "opdb is not in shared_preload_libraries".to_owned()
    } else if settings::databases().is_some_and(|chosen| !chosen.contains(&database)) {
        format!("opdb.databases does not name \"{database}\"")
    } else {
        return Ok(());
    };
    let message = format!("the worker is off here, so the job does not run: {why}");
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "opdb")
        .set_hint("pg_cron can run it: SELECT * FROM opdb.schedule_with_pg_cron();")
        .report(PgLogLevel::WARNING);
    Ok(())
}

/// Drops a job. A run that has begun goes on; the history of its runs stays.
///
/// If pg_cron runs it, it is unscheduled there, too.
/// Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn drop_job(name: Option<&str>) -> std::result::Result<(), ErrorReport> {
    let job_id = job::own(required("name", name)?)?;
    pg_cron::unschedule(Some(job_id))?;
    own::write("DELETE FROM opdb.job WHERE job_id = $1", &[job_id.into()])?;
    Ok(())
}

/// Lets a job run by its schedule again, from now on.
///
/// Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of, 55000
/// for one that pg_cron runs.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn enable_job(name: Option<&str>) -> std::result::Result<(), ErrorReport> {
    let job_id = job::of_worker(required("name", name)?)?;
    own::write("UPDATE opdb.job SET enabled = true WHERE job_id = $1 AND NOT enabled", &[job_id.into()])?;
    // Nothing that it would have done meanwhile is missed.
    plan_first(job_id)?;
    Ok(())
}

fn plan_first(job_id: i64) -> Result<()> {
    let jobs = own::write_returning(
        "SELECT schedule, timezone, added_at FROM opdb.job WHERE job_id = $1",
        &[job_id.into()],
        |row| Ok((row.get::<String>(1)?, row.get::<String>(2)?, row.get::<TimestampWithTimeZone>(3)?)),
    )?;
    for (schedule, timezone, added_at) in jobs {
        let added_at = added_at.map_or_else(time::now, time::from_sql);
        let timing = Timing::read(&schedule.unwrap_or_default(), &timezone.unwrap_or_default(), added_at)?;
        ledger::plan(&[(job_id, timing.next(time::now()), 1)])?;
    }
    Ok(())
}

/// Keeps a job from running until it is enabled again. A run that has begun goes on.
///
/// Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of, 55000
/// for one that pg_cron runs.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn disable_job(name: Option<&str>) -> std::result::Result<(), ErrorReport> {
    let job_id = job::of_worker(required("name", name)?)?;
    own::write("UPDATE opdb.job SET enabled = false WHERE job_id = $1", &[job_id.into()])?;
    Ok(())
}

/// Has the worker run a job now, beside its schedule, as soon as the transaction commits.
///
/// It runs by its own rules: not while it runs already, not outside its window, not while it is disabled.
/// Errors: 22004 for NULL, 42704 for an unknown job, 42501 for one of a role that the caller is no member of, 55000
/// if the worker is off or pg_cron runs the job.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn run_job(name: Option<&str>) -> std::result::Result<(), ErrorReport> {
    let job_id = job::of_worker(required("name", name)?)?;
    if !shared::is_on() {
        return Err(WorkerError::Off.into());
    }
    ledger::plan(&[(job_id, Some(time::now()), 1)])?;
    wake::at_commit();
    Ok(())
}

/// When a schedule comes next: the first time after `after`.
///
/// `schedule` and `timezone` as in add_job. What repeats by an interval counts from `after`. NULL if it never comes.
/// Errors: 22004 for NULL, 22023 for a schedule or a time zone that cannot be.
#[pg_extern(stable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn next_run(
    schedule: Option<&str>,
    timezone: default!(Option<&str>, "'UTC'"),
    after: default!(Option<TimestampWithTimeZone>, "now()"),
) -> std::result::Result<Option<TimestampWithTimeZone>, ErrorReport> {
    let (schedule, timezone) = (required("schedule", schedule)?, required("timezone", timezone)?);
    let after = time::from_sql(required("after", after)?);
    let timing = Timing::read(schedule, timezone, after)?;
    Ok(timing.next(after).and_then(time::to_sql))
}

/// Hands opdb's jobs over to pg_cron: registers each as a pg_cron job named `opdb: ` and its name, or brings that one
/// up to date.
///
/// For servers that do not preload opdb. Jobs of other roles need a superuser. One row for each job: job, schedule and
/// command as pg_cron has them (NULL if it cannot run the job), and note: why not, or what is different there. pg_cron
/// knows no time zones of jobs, timeouts, retries, windows and settings. Calling it again changes nothing that is up to
/// date.
/// Errors: 55000 if pg_cron is not installed in this database.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn schedule_with_pg_cron() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(job, String),
            name!(schedule, Option<String>),
            name!(command, Option<String>),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let scheduled = session::pinned(pg_cron::schedule_all)?;
    Ok(TableIterator::new(scheduled.into_iter().map(|job| (job.name, job.schedule, job.command, job.note))))
}

/// Takes the jobs that pg_cron runs back to opdb's worker. Returns how many.
///
/// Only those of roles that the caller is a member of. Errors: 55000 if pg_cron is not installed in this database.
#[pg_extern(requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn unschedule_from_pg_cron() -> std::result::Result<i64, ErrorReport> {
    pg_cron::check_installed()?;
    Ok(session::pinned(|| pg_cron::unschedule(None))?)
}

/// How the jobs stand that pg_cron runs; the view opdb.jobs shows it.
///
/// Columns: job_id, when it should run next, and the status, times and detail of its last run there.
#[pg_extern(stable, requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn pg_cron_jobs() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(job_id, i64),
            name!(next_run_at, Option<TimestampWithTimeZone>),
            name!(last_status, Option<String>),
            name!(last_started_at, Option<TimestampWithTimeZone>),
            name!(last_finished_at, Option<TimestampWithTimeZone>),
            name!(last_detail, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let jobs = session::pinned(pg_cron::standing)?;
    Ok(TableIterator::new(
        jobs.into_iter().map(|job| {
            (job.job_id, job.next_run_at, job.status, job.started_at, job.finished_at, job.detail)
        }),
    ))
}

/// What pg_cron keeps of the runs of opdb's jobs; the view opdb.job_runs shows it.
///
/// Columns: job_id, pg_cron's number of the run, its times, its status in opdb's words, its detail.
#[pg_extern(stable, requires = ["worker_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn pg_cron_runs() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(job_id, i64),
            name!(run_id, Option<i64>),
            name!(started_at, Option<TimestampWithTimeZone>),
            name!(finished_at, Option<TimestampWithTimeZone>),
            name!(status, Option<String>),
            name!(detail, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let runs = session::pinned(pg_cron::runs)?;
    Ok(TableIterator::new(
        runs.into_iter()
            .map(|run| (run.job_id, run.run_id, run.started_at, run.finished_at, run.status, run.detail)),
    ))
}
