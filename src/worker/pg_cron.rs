//! Jobs that pg_cron runs, because the server does not preload opdb.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;

use super::error::WorkerError;
use super::job::{self, Timing};
use crate::pg::error::Result;
use crate::pg::{own, spi, subtransaction, time};

/// How pg_cron calls opdb's jobs.
const PREFIX: &str = "opdb: ";

/// What pg_cron was told of a job, or why it was not.
pub struct Scheduled {
    pub name: String,
    pub schedule: Option<String>,
    pub command: Option<String>,
    pub note: Option<String>,
}

/// A job as pg_cron needs to know it.
struct Job {
    job_id: i64,
    name: String,
    schedule: String,
    timezone: String,
    command: String,
    role: String,
    added_at: i64,
    enabled: bool,
    gexec: bool,
    /// What pg_cron does not know: options that are set and count.
    unknown: Vec<String>,
}

/// Errors: 55000 if pg_cron is not installed here.
pub fn check_installed() -> Result<()> {
    if is_installed()? {
        return Ok(());
    }
    let database = spi::read_value::<String>("SELECT pg_catalog.current_database()::text", &[])?;
    Err(WorkerError::NoPgCron(database.unwrap_or_default()).into())
}

/// Whether the schema cron is pg_cron's: its tables are read with the rights of opdb's owner.
fn is_installed() -> Result<bool> {
    let sql = "SELECT count(*) = 2 FROM pg_catalog.pg_extension x
        JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
             AND d.refobjid = x.oid AND d.deptype = 'e' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        WHERE x.extname = 'pg_cron'
          AND d.objid IN (pg_catalog.to_regclass('cron.job'), pg_catalog.to_regclass('cron.job_run_details'))";
    Ok(spi::read_value::<bool>(sql, &[])? == Some(true))
}

/// pg_cron's own time zone: that of its setting, GMT in versions that have none.
fn timezone() -> Result<String> {
    let zone = spi::read_value::<String>("SELECT pg_catalog.current_setting('cron.timezone', true)", &[])?;
    Ok(zone.filter(|zone| !zone.is_empty()).unwrap_or_else(|| "GMT".into()))
}

pub fn schedule_all() -> Result<Vec<Scheduled>> {
    check_installed()?;
    let cron_zone = timezone()?;
    jobs(None)?.iter().map(|job| schedule_one(job, &cron_zone)).collect()
}

fn jobs(only_pg_cron: Option<&str>) -> Result<Vec<Job>> {
    let sql = "SELECT job_id, name, schedule, timezone, command, role::text, added_at, enabled, gexec,
                      array_remove(ARRAY[
                          CASE WHEN timeout IS NOT NULL THEN 'timeout' END,
                          CASE WHEN max_runtime IS NOT NULL THEN 'max_runtime' END,
                          CASE WHEN retries > 0 THEN 'retries' END,
                          CASE WHEN window_start IS NOT NULL THEN 'window' END,
                          CASE WHEN max_active IS NOT NULL THEN 'max_active' END,
                          CASE WHEN settings <> '{}' THEN 'settings' END], NULL)
               FROM opdb.job WHERE runner = coalesce($1, runner) ORDER BY name";
    own::read_as_owner(|| spi::read(sql, &[only_pg_cron.into()], |row| read(&row)))
}

fn read(row: &SpiHeapTupleData) -> pgrx::spi::Result<Job> {
    let text = |column| Ok::<_, pgrx::spi::SpiError>(row.get::<String>(column)?.unwrap_or_default());
    Ok(Job {
        job_id: row.get(1)?.unwrap_or_default(),
        name: text(2)?,
        schedule: text(3)?,
        timezone: text(4)?,
        command: text(5)?,
        role: text(6)?,
        added_at: row.get::<TimestampWithTimeZone>(7)?.map(time::from_sql).unwrap_or_default(),
        enabled: row.get(8)?.unwrap_or_default(),
        gexec: row.get(9)?.unwrap_or_default(),
        unknown: row.get(10)?.unwrap_or_default(),
    })
}

fn schedule_one(job: &Job, cron_zone: &str) -> Result<Scheduled> {
    let refused =
        |note: String| Scheduled { name: job.name.clone(), schedule: None, command: None, note: Some(note) };
    if job.gexec {
        return Ok(refused("it runs several statements (gexec), and a job of pg_cron runs one".into()));
    }
    let timing = Timing::read(&job.schedule, &job.timezone, job.added_at)?;
    let Some(schedule) = timing.schedule.as_cron(&job::zone(cron_zone)?, job.added_at) else {
        return Ok(refused(format!("no cron expression says \"{}\"", job.schedule)));
    };
    match subtransaction::run(|| tell(job, &schedule)) {
        Ok(()) => Ok(Scheduled {
            name: job.name.clone(),
            schedule: Some(schedule),
            command: Some(job.command.clone()),
            note: differences(job, cron_zone),
        }),
        Err(failure) if failure.is_interrupt || failure.class() == "53" => Err(failure),
        Err(failure) => Ok(refused(format!("pg_cron refused it: {}", failure.message))),
    }
}

/// Registers the job with the caller's rights, if pg_cron does not have it like that already.
fn tell(job: &Job, schedule: &str) -> Result<()> {
    let name = format!("{PREFIX}{}", job.name);
    let is_told = own::read_as_owner(|| {
        spi::read_value::<bool>(
            "SELECT EXISTS (SELECT FROM cron.job
                            WHERE jobname = $1 AND schedule = $2 AND command = $3 AND username = $4
                              AND database = pg_catalog.current_database() AND active = $5)",
            &[
                name.as_str().into(),
                schedule.into(),
                job.command.as_str().into(),
                job.role.as_str().into(),
                job.enabled.into(),
            ],
        )
    })?;
    if is_told != Some(true) {
        let is_own = own::caller()?.as_deref() == Some(&job.role) && job.enabled;
        let args: [DatumWithOid; 5] = [
            name.as_str().into(),
            schedule.into(),
            job.command.as_str().into(),
            job.role.as_str().into(),
            job.enabled.into(),
        ];
        // Everybody may call the one, superusers the other.
        if is_own {
            spi::write("SELECT cron.schedule($1, $2, $3)", &args[..3])?;
        } else {
            let sql = "SELECT cron.schedule_in_database($1, $2, $3, pg_catalog.current_database(), $4, $5)";
            spi::write(sql, &args)?;
        }
    }
    own::write(
        "UPDATE opdb.job SET runner = 'pg_cron' WHERE job_id = $1 AND runner <> 'pg_cron'",
        &[job.job_id.into()],
    )?;
    Ok(())
}

fn differences(job: &Job, cron_zone: &str) -> Option<String> {
    let mut notes = Vec::new();
    let is_utc = |zone: &str| matches!(zone.to_uppercase().as_str(), "UTC" | "GMT" | "ETC/UTC" | "ETC/GMT");
    let same = job.timezone.eq_ignore_ascii_case(cron_zone) || (is_utc(&job.timezone) && is_utc(cron_zone));
    if !same {
        notes.push(format!(
            "pg_cron runs it by the clock of {cron_zone} (cron.timezone), not of {}",
            job.timezone
        ));
    }
    if !job.unknown.is_empty() {
        notes.push(format!("pg_cron does not know {}", job.unknown.join(", ")));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// Takes jobs away from pg_cron: that one, or all that the caller may.
pub fn unschedule(job_id: Option<i64>) -> Result<i64> {
    let jobs: Vec<Job> = jobs(Some("pg_cron"))?
        .into_iter()
        .filter(|job| job_id.is_none_or(|job_id| job.job_id == job_id) && job::own(&job.name).is_ok())
        .collect();
    let ids: Vec<i64> = jobs.iter().map(|job| job.job_id).collect();
    if !ids.is_empty() && is_installed()? {
        let names: Vec<String> = jobs.iter().map(|job| format!("{PREFIX}{}", job.name)).collect();
        let roles: Vec<String> = jobs.iter().map(|job| job.role.clone()).collect();
        // As the owner: a member of the job's role may do this, and pg_cron asks for the role itself.
        own::write(
            "SELECT cron.unschedule(c.jobid)
             FROM cron.job c
             JOIN ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS j (name, role)
               ON c.jobname = j.name AND c.username = j.role
             WHERE c.database = pg_catalog.current_database()",
            &[names.into(), roles.into()],
        )?;
    }
    own::write("UPDATE opdb.job SET runner = 'worker' WHERE job_id = ANY ($1)", &[ids.clone().into()])?;
    ids.iter().try_for_each(|job_id| super::plan_first(*job_id))?;
    i64::try_from(ids.len()).map_or(Ok(i64::MAX), Ok)
}

/// How a job of pg_cron stands.
#[derive(Default)]
pub struct Standing {
    pub job_id: i64,
    pub run_id: Option<i64>,
    pub next_run_at: Option<TimestampWithTimeZone>,
    pub status: Option<String>,
    pub started_at: Option<TimestampWithTimeZone>,
    pub finished_at: Option<TimestampWithTimeZone>,
    pub detail: Option<String>,
}

const RUN: &str = "r.runid, r.start_time, r.end_time,
    CASE r.status WHEN 'starting' THEN 'running' WHEN 'sending' THEN 'running' WHEN 'connecting' THEN 'running' ELSE r.status END,
    r.return_message";
const OF_PG_CRON: &str = "FROM opdb.job j
    LEFT JOIN cron.job c ON c.jobname = 'opdb: ' || j.name AND c.database = pg_catalog.current_database()
         AND c.username = j.role";

/// All runs that pg_cron keeps of opdb's jobs.
pub fn runs() -> Result<Vec<Standing>> {
    if jobs(Some("pg_cron"))?.is_empty() || !is_installed()? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT j.job_id, {RUN} {OF_PG_CRON} JOIN cron.job_run_details r ON r.jobid = c.jobid
         WHERE j.runner = 'pg_cron'"
    );
    own::read_as_owner(|| spi::read(&sql, &[], |row| standing_of(&row)))
}

/// The last run of each job that pg_cron runs, and when the next one should be.
pub fn standing() -> Result<Vec<Standing>> {
    let jobs = jobs(Some("pg_cron"))?;
    if jobs.is_empty() || !is_installed()? {
        return Ok(jobs.iter().map(|job| Standing { job_id: job.job_id, ..Standing::default() }).collect());
    }
    let cron_zone = timezone()?;
    let sql = format!(
        "SELECT j.job_id, r.*, CASE WHEN c.active THEN c.schedule END {OF_PG_CRON}
         LEFT JOIN LATERAL (SELECT {RUN} FROM cron.job_run_details r WHERE r.jobid = c.jobid
                            ORDER BY r.runid DESC LIMIT 1) r ON true
         WHERE j.runner = 'pg_cron'"
    );
    let rows =
        own::read_as_owner(|| spi::read(&sql, &[], |row| Ok((standing_of(&row)?, row.get::<String>(7)?))))?;
    rows.into_iter()
        .map(|(mut standing, schedule)| {
            let job = jobs.iter().find(|job| job.job_id == standing.job_id);
            if let (Some(schedule), Some(job)) = (schedule, job) {
                // From its last run, or from when it was added: a job that never ran is overdue some time.
                let last = standing.started_at.map_or(job.added_at, time::from_sql);
                let next = Timing::read(&schedule, &cron_zone, job.added_at)?.next(last);
                standing.next_run_at = next.and_then(time::to_sql);
            }
            Ok(standing)
        })
        .collect()
}

fn standing_of(row: &SpiHeapTupleData) -> pgrx::spi::Result<Standing> {
    Ok(Standing {
        job_id: row.get(1)?.unwrap_or_default(),
        run_id: row.get(2)?,
        started_at: row.get(3)?,
        finished_at: row.get(4)?,
        status: row.get(5)?,
        detail: row.get(6)?,
        next_run_at: None,
    })
}
