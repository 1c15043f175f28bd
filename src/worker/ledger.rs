//! What the dispatcher writes down: claims, outcomes, what comes next. Each is one statement for many jobs.

use pgrx::prelude::*;

use super::job::Job;
use crate::pg::error::Result;
use crate::pg::{own, spi, time};

/// A run that is to be written down.
pub struct Entry {
    pub job_id: i64,
    pub name: String,
    pub role: String,
    pub scheduled_at: i64,
    pub attempt: i32,
    pub status: &'static str,
    pub sqlstate: Option<String>,
    pub detail: Option<String>,
}

/// How a run ended.
pub struct Ending {
    pub run_id: i64,
    pub status: &'static str,
    pub sqlstate: Option<String>,
    pub detail: Option<String>,
}

/// Writes down runs that begin, or that never will; gives the runs' numbers in the order of `entries`.
pub fn begin(entries: &[Entry]) -> Result<Vec<i64>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let rows = own::write_returning(
        "WITH entry AS (
             SELECT * FROM ROWS FROM (
                 pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                 pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8)
             ) AS e (job_id, name, role, scheduled_at, attempt, status, sqlstate, detail)
         )
         INSERT INTO opdb.job_run (job_id, name, role, scheduled_at, attempt, started_at, finished_at, status,
                                   sqlstate, detail)
         SELECT job_id, name, role, scheduled_at, attempt, n.now, CASE WHEN status <> 'running' THEN n.now END,
                status, sqlstate, detail
         FROM entry, (SELECT pg_catalog.clock_timestamp()) n (now)
         RETURNING job_id, run_id",
        &[
            column(entries, |entry| entry.job_id).into(),
            column(entries, |entry| entry.name.clone()).into(),
            column(entries, |entry| entry.role.clone()).into(),
            column(entries, |entry| time::to_sql(entry.scheduled_at)).into(),
            column(entries, |entry| entry.attempt).into(),
            column(entries, |entry| entry.status.to_owned()).into(),
            column(entries, |entry| entry.sqlstate.clone()).into(),
            column(entries, |entry| entry.detail.clone()).into(),
        ],
        |row| Ok((row.get::<i64>(1)?, row.get::<i64>(2)?)),
    )?;
    let run_of = |entry: &Entry| {
        rows.iter().find(|(job_id, _)| *job_id == Some(entry.job_id)).and_then(|(_, run_id)| *run_id)
    };
    Ok(entries.iter().filter_map(run_of).collect())
}

/// Writes down how runs ended. One that has its ending already keeps it.
pub fn end(endings: &[Ending]) -> Result<()> {
    if endings.is_empty() {
        return Ok(());
    }
    own::write(
        "UPDATE opdb.job_run r
         SET finished_at = pg_catalog.clock_timestamp(), status = e.status, sqlstate = e.sqlstate, detail = e.detail
         FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
              AS e (run_id, status, sqlstate, detail)
         WHERE r.run_id = e.run_id AND r.status = 'running'",
        &[
            column(endings, |ending| ending.run_id).into(),
            column(endings, |ending| ending.status.to_owned()).into(),
            column(endings, |ending| ending.sqlstate.clone()).into(),
            column(endings, |ending| ending.detail.clone()).into(),
        ],
    )?;
    Ok(())
}

fn column<T, V>(rows: &[T], value: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// When jobs run next. One that is gone has no next time.
pub fn plan(next: &[(i64, Option<i64>, i32)]) -> Result<()> {
    if next.is_empty() {
        return Ok(());
    }
    own::write(
        "INSERT INTO opdb.job_state AS s (job_id, next_run_at, attempt)
         SELECT j.job_id, n.next_run_at, n.attempt
         FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
              AS n (job_id, next_run_at, attempt)
         JOIN opdb.job j USING (job_id)
         FOR KEY SHARE OF j
         ON CONFLICT (job_id) DO UPDATE SET next_run_at = excluded.next_run_at, attempt = excluded.attempt",
        &[
            column(next, |(job_id, _, _)| *job_id).into(),
            column(next, |(_, at, _)| at.and_then(time::to_sql)).into(),
            column(next, |(_, _, attempt)| *attempt).into(),
        ],
    )?;
    Ok(())
}

/// Remembers which role the name of a job's role means.
pub fn bind_role(job_id: i64, role: pg_sys::Oid) -> Result<()> {
    own::write("UPDATE opdb.job_state SET role_oid = $2 WHERE job_id = $1", &[job_id.into(), role.into()])?;
    Ok(())
}

/// Of the jobs that are due and do not run, the first `room` whose state nobody else is changing, kept from others until
/// the transaction ends. What somebody holds open must not stop the rest.
pub fn lock_due(now: i64, running: &[i64], room: usize) -> Result<Vec<i64>> {
    let due = own::read_as_owner(|| {
        spi::read_now(
            "SELECT s.job_id FROM opdb.job_state s JOIN opdb.job j USING (job_id)
             WHERE j.runner = 'worker' AND j.enabled AND s.next_run_at <= $1 AND s.job_id <> ALL ($2)
             ORDER BY s.next_run_at LIMIT $3 FOR NO KEY UPDATE OF s SKIP LOCKED",
            &[
                time::to_sql(now).into(),
                running.to_vec().into(),
                i64::try_from(room).unwrap_or(i64::MAX).into(),
            ],
            |row| row.get::<i64>(1),
        )
    })?;
    Ok(due.into_iter().flatten().collect())
}

/// Brings the next run of a job forward to `at`, as attempt `attempt`, unless the schedule comes before that, or
/// somebody else is at work on it.
pub fn retry(job_id: i64, at: i64, attempt: i32) -> Result<()> {
    own::write(
        "UPDATE opdb.job_state SET next_run_at = $2, attempt = $3
         WHERE job_id = (SELECT s.job_id FROM opdb.job_state s
                         WHERE s.job_id = $1 AND coalesce(s.next_run_at > $2, true)
                         FOR NO KEY UPDATE SKIP LOCKED)",
        &[job_id.into(), time::to_sql(at).into(), attempt.into()],
    )?;
    Ok(())
}

/// The jobs that opdb's worker runs, of which `condition` holds, the longest due first.
pub fn jobs(condition: &str, args: &[pgrx::datum::DatumWithOid<'_>]) -> Result<Vec<Job>> {
    let sql = format!(
        "SELECT {} FROM opdb.job j LEFT JOIN opdb.job_state s USING (job_id)
         LEFT JOIN pg_catalog.pg_roles r ON r.rolname = j.role
         WHERE j.runner = 'worker' AND {condition}",
        Job::COLUMNS
    );
    own::read_as_owner(|| spi::read_now(&sql, args, |row| Job::read(&row)))
}

/// When the next of the jobs is due that do not run already. Sees what this transaction wrote.
pub fn next_due(running: &[i64]) -> Result<Option<i64>> {
    let next = own::read_as_owner(|| {
        spi::read_one_now(
            "SELECT min(coalesce(s.next_run_at, '-infinity'))
             FROM opdb.job j LEFT JOIN opdb.job_state s USING (job_id)
             WHERE j.runner = 'worker' AND j.enabled AND j.job_id <> ALL ($1)
               AND (s.job_id IS NULL OR s.next_run_at IS NOT NULL)",
            &[running.to_vec().into()],
            |row| row.get::<TimestampWithTimeZone>(1),
        )
    })?
    .flatten();
    Ok(next.map(time::from_sql))
}

/// Runs that are written down as running and are not among `alive`: what a crash left.
pub fn abandoned(alive: &[i64]) -> Result<Vec<(i64, i64, i32)>> {
    let rows = own::read_as_owner(|| {
        spi::read(
            "SELECT run_id, job_id, attempt FROM opdb.job_run WHERE status = 'running' AND run_id <> ALL ($1)",
            &[alive.to_vec().into()],
            |row| Ok((row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<i32>(3)?)),
        )
    })?;
    Ok(rows.into_iter().filter_map(|(run, job, attempt)| Some((run?, job?, attempt?))).collect())
}

/// Deletes runs that ended before `before`, but for the last one of each job that is there.
pub fn purge(before: i64) -> Result<usize> {
    own::write(
        "DELETE FROM opdb.job_run r
         WHERE r.finished_at < $1
           AND NOT EXISTS (SELECT FROM opdb.job j WHERE j.job_id = r.job_id
                             AND r.run_id = (SELECT max(l.run_id) FROM opdb.job_run l WHERE l.job_id = j.job_id))",
        &[time::to_sql(before).into()],
    )
}

/// The extension of this database and the table of its jobs; None where there is none.
pub fn extension() -> Result<Option<(u32, u32)>> {
    let found = spi::read_one(
        "SELECT x.oid, d.objid
         FROM pg_catalog.pg_extension x
         JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
              AND d.refobjid = x.oid AND d.deptype = 'e' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
         WHERE x.extname = 'opdb' AND d.objid = pg_catalog.to_regclass('opdb.job')",
        &[],
        |row| Ok((row.get::<pg_sys::Oid>(1)?, row.get::<pg_sys::Oid>(2)?)),
    )?;
    Ok(found.and_then(|(extension, jobs)| Some((extension?.to_u32(), jobs?.to_u32()))))
}

/// The name of this database.
pub fn database() -> Result<String> {
    Ok(spi::read_value::<String>("SELECT pg_catalog.current_database()::text", &[])?.unwrap_or_default())
}
