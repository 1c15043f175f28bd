//! A job as opdb.job has it.

use opdb_core::schedule::{Cron, Every, Schedule, Window, backoff};
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::{self as pgrx_spi, SpiHeapTupleData};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::WorkerError;
use crate::pg::error::{Failure, Result};
use crate::pg::zone::Zone;
use crate::pg::{role, spi, subtransaction, time};

/// A run that was interrupted is begun again, by the policy run_once, at least so often; then the next regular
/// time must do. A job that takes the server down with it would do so for ever.
const ATTEMPTS_AFTER_INTERRUPTION: i32 = 3;

/// When a job runs, in which zone, counted from when.
pub struct Timing {
    pub schedule: Schedule,
    pub zone: Zone,
    pub anchor: i64,
}

impl Timing {
    /// Errors: 22023 for a schedule or a zone that is none.
    pub fn read(schedule: &str, timezone: &str, anchor: i64) -> Result<Self> {
        let zone = zone(timezone)?;
        Ok(Self { schedule: parse(schedule)?, zone, anchor })
    }

    /// The first time after `after`.
    pub fn next(&self, after: i64) -> Option<i64> {
        self.schedule.next(&self.zone, self.anchor, after)
    }
}

/// Errors: 22023 for a zone that the server does not know.
pub fn zone(name: &str) -> Result<Zone> {
    Ok(Zone::named(name)?.ok_or_else(|| WorkerError::UnknownZone(name.to_owned()))?)
}

fn parse(text: &str) -> Result<Schedule> {
    let trimmed = text.trim();
    match trimmed.split_once(char::is_whitespace) {
        Some((word, interval)) if word.eq_ignore_ascii_case("every") => {
            let sql = "SELECT $1::pg_catalog.interval";
            let interval = subtransaction::run(|| spi::read_value::<Interval>(sql, &[interval.into()]))
                .ok()
                .flatten()
                .ok_or_else(|| WorkerError::NoInterval(text.to_owned()))?;
            let every = Every::new(interval.months(), interval.days(), interval.micros());
            Ok(Schedule::Every(every.map_err(|error| WorkerError::Every { text: text.to_owned(), error })?))
        }
        _ => {
            let cron = Cron::parse(text);
            Ok(Schedule::Cron(cron.map_err(|error| WorkerError::Cron { text: text.to_owned(), error })?))
        }
    }
}

/// A job that may be due. Times are in microseconds.
pub struct Job {
    pub job_id: i64,
    pub schedule: String,
    pub timezone: String,
    pub added_at: i64,
    /// When it is to run; None before that was ever decided.
    pub next_run_at: Option<i64>,
    pub attempt: i32,
    pub role: String,
    /// Why it cannot run as that role, with the SQLSTATE.
    pub unfit: Option<(String, String)>,
    pub role_oid: pg_sys::Oid,
    pub skips_missed: bool,
    pub max_runtime: Option<i64>,
    pub window: Option<Window>,
    pub retries: i32,
    pub retry_delay: i64,
    /// Whether opdb.job_state knows it.
    pub has_state: bool,
    pub work: Work,
}

/// What the process of a run is told.
#[derive(Serialize, Deserialize)]
pub struct Work {
    pub name: String,
    pub command: String,
    pub gexec: bool,
    /// In microseconds.
    pub timeout: Option<i64>,
    pub max_active: Option<i32>,
    pub settings: Value,
}

impl Job {
    /// What `read` reads, of `opdb.job j LEFT JOIN opdb.job_state s LEFT JOIN pg_catalog.pg_roles r`.
    pub const COLUMNS: &str = "j.job_id, j.name, j.schedule, j.timezone, j.added_at, s.next_run_at,
        coalesce(s.attempt, 1), j.role::text, coalesce(r.oid, 0),
        CASE WHEN r.oid <> s.role_oid THEN 'role \"' || j.role || '\" is not the one that the job was added for'
             WHEN r.oid IS NULL THEN 'role \"' || j.role || '\" does not exist'
             WHEN r.oid = 10 THEN 'a job cannot run as the bootstrap superuser \"' || j.role || '\"'
             WHEN NOT r.rolcanlogin THEN 'role \"' || j.role || '\" may not log in'
             WHEN NOT pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT')
             THEN 'role \"' || j.role || '\" may not connect to this database' END,
        j.catch_up = 'skip',
        (1000000 * extract(epoch FROM j.max_runtime))::bigint,
        (1000000 * extract(epoch FROM j.window_start))::bigint,
        (1000000 * extract(epoch FROM j.window_end))::bigint,
        j.retries,
        (1000000 * extract(epoch FROM j.retry_delay))::bigint,
        s.job_id IS NOT NULL, j.command, j.gexec, (1000000 * extract(epoch FROM j.timeout))::bigint, j.max_active, j.settings";

    pub fn read(row: &SpiHeapTupleData) -> pgrx_spi::Result<Self> {
        let text = |column| Ok::<_, pgrx_spi::SpiError>(row.get::<String>(column)?.unwrap_or_default());
        let instant = |column| {
            Ok::<_, pgrx_spi::SpiError>(row.get::<TimestampWithTimeZone>(column)?.map(time::from_sql))
        };
        let role_oid = row.get::<pg_sys::Oid>(9)?.unwrap_or(pg_sys::InvalidOid);
        let sqlstate = if role_oid == pg_sys::InvalidOid { "42704" } else { "28000" };
        Ok(Self {
            job_id: row.get(1)?.unwrap_or_default(),
            schedule: text(3)?,
            timezone: text(4)?,
            added_at: instant(5)?.unwrap_or_default(),
            next_run_at: instant(6)?,
            attempt: row.get(7)?.unwrap_or(1),
            role: text(8)?,
            role_oid,
            unfit: row.get::<String>(10)?.map(|why| (sqlstate.to_owned(), why)),
            skips_missed: row.get(11)?.unwrap_or_default(),
            max_runtime: row.get(12)?,
            window: row.get(13)?.zip(row.get(14)?).map(|(start, end)| Window { start, end }),
            retries: row.get(15)?.unwrap_or_default(),
            retry_delay: row.get(16)?.unwrap_or_default(),
            has_state: row.get(17)?.unwrap_or_default(),
            work: Work {
                name: text(2)?,
                command: text(18)?,
                gexec: row.get(19)?.unwrap_or_default(),
                timeout: row.get(20)?,
                max_active: row.get(21)?,
                settings: row.get::<pgrx::JsonB>(22)?.map(|settings| settings.0).unwrap_or_default(),
            },
        })
    }

    pub fn timing(&self) -> Result<Timing> {
        Timing::read(&self.schedule, &self.timezone, self.added_at)
    }

    /// When to try again after a run that failed or was interrupted; None to leave it to the schedule.
    pub fn retry_at(&self, attempt: i32, was_interrupted: bool, now: i64) -> Option<i64> {
        let attempts = match (was_interrupted, self.skips_missed) {
            (true, true) => 1,
            (true, false) => ATTEMPTS_AFTER_INTERRUPTION.max(self.retries.saturating_add(1)),
            (false, _) => self.retries.saturating_add(1),
        };
        (attempt < attempts)
            .then(|| now + backoff(self.retry_delay, attempt.unsigned_abs(), opdb_core::random()))
    }
}

/// The number of a job that the caller may change: as one who may become its role, or as a member of opdb_admin.
///
/// Errors: 42704 for an unknown job, 42501 for somebody else's.
pub fn own(name: &str) -> Result<i64> {
    find(name).map(|(job_id, _)| job_id)
}

/// The same for a job that opdb's worker runs.
///
/// Errors: those of `own`, 55000 for a job that pg_cron runs.
pub fn of_worker(name: &str) -> Result<i64> {
    match find(name)? {
        (_, runner) if runner == "pg_cron" => Err(WorkerError::OfPgCron(name.to_owned()).into()),
        (job_id, _) => Ok(job_id),
    }
}

fn find(name: &str) -> Result<(i64, String)> {
    let job = spi::read_one(
        "SELECT j.job_id, j.role::text,
                coalesce(pg_catalog.pg_has_role(current_user, r.oid, $2), false)
                OR pg_catalog.pg_has_role(current_user, 'opdb_admin', 'MEMBER'), j.runner
         FROM opdb.job j LEFT JOIN pg_catalog.pg_roles r ON r.rolname = j.role WHERE j.name = $1",
        &[name.into(), role::RIGHT_TO_BECOME.into()],
        |row| {
            let text = |column| Ok::<_, pgrx_spi::SpiError>(row.get::<String>(column)?.unwrap_or_default());
            Ok((row.get::<i64>(1)?, text(2)?, row.get::<bool>(3)?, text(4)?))
        },
    )?;
    match job {
        Some((Some(job_id), _, Some(true), runner)) => Ok((job_id, runner)),
        Some((_, role, ..)) => Err(WorkerError::NotOwner { name: name.to_owned(), role }.into()),
        None => Err(Failure::from(WorkerError::Unknown(name.to_owned()))),
    }
}
