//! The process that runs one job, connected as the job's role.

use std::time::Duration;

use opdb_core::schedule::{MINUTE, SECOND};
use pgrx::prelude::*;

use super::job::Work;
use super::leftovers::{self, Repaired};
use crate::pg::error::{Failure, Result};
use crate::pg::segment::Segment;
use crate::pg::shared::{self, Outcome, Run, Stage};
use crate::pg::{own, process, session, spi, statement, time, top_level};

/// How often a process that is not yet cleared looks whether its dispatcher is still there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// While the server is busier than `max_active` allows, it looks so often, and gives up after so long.
const BUSY_WAIT: Duration = Duration::from_secs(5);
const LONGEST_BUSY: i64 = 10 * MINUTE;

/// Runs what stands on the board at the place that this process is told, and writes its outcome there.
pub fn main(told: u32) {
    let Some(run) = shared::with_own_run(told, |run| run.worker = process::own_pid()) else { return };
    process::connect(run.database.into(), run.role.into());
    let Some(run) = wait_for_clearance(told) else {
        return shared::free_own(told);
    };
    let outcome = if process::lock_for_life(run.jobs.into(), run.job_id) {
        carry_out(&run)
    } else {
        failed("55P03", "another process runs this job already".into())
    };
    // The dispatcher is woken when this process has ended.
    shared::with_own_run(told, |run| {
        run.set_outcome(&outcome);
        run.stage = Stage::Over;
    });
}

/// None if the run was never written down.
fn wait_for_clearance(told: u32) -> Option<Run> {
    loop {
        let run = shared::with_own_run(told, |run| {
            if run.stage == Stage::Cleared {
                run.stage = Stage::Running;
            }
        })?;
        match run.stage {
            Stage::Running => return Some(run),
            Stage::Waiting if process::is_alive(run.dispatcher) => {
                process::wait(HEARTBEAT);
            }
            _ => return None,
        }
    }
}

fn carry_out(run: &Run) -> Outcome {
    let work = Segment::read(run.segment).and_then(|bytes| serde_json::from_slice::<Work>(&bytes).ok());
    let Some(work) = work else {
        return failed("08006", "its dispatcher ended before it began".into());
    };
    if let Err(failure) = process::transaction(|| prepare(&work)) {
        return of_failure(&failure);
    }
    process::show(Some(&work.command));
    let outcome = if work.gexec { run_all(&work, run) } else { run_one(&work, run) };
    process::show(None);
    if !outcome.succeeded {
        let detail = outcome.detail.as_deref().unwrap_or_default();
        log!("opdb: job \"{}\" failed: {detail}", work.name);
    }
    outcome
}

fn prepare(work: &Work) -> Result<()> {
    process::set_application_name(&format!("opdb job {}", work.name))?;
    for (name, value) in work.settings.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        process::set_for_session(name, &value)?;
    }
    Ok(())
}

fn run_one(work: &Work, run: &Run) -> Outcome {
    match execute(&work.command, work, run) {
        Ok(notes) => {
            Outcome { succeeded: true, sqlstate: None, detail: (!notes.is_empty()).then(|| notes.join("; ")) }
        }
        Err(failure) => of_failure(&explain(failure, run)),
    }
}

/// Runs the statements in the column "command" of a query's rows, one after the other. One that fails does not stop
/// the others; the end of the run's time does.
fn run_all(work: &Work, run: &Run) -> Outcome {
    let commands = match commands(work, run) {
        Ok(commands) => commands,
        Err(failure) => return of_failure(&explain(failure, run)),
    };
    let mut progress = Progress { total: commands.len(), ..Progress::default() };
    for command in &commands {
        if let Some(why) = must_stop(work, run) {
            progress.stopped = Some(why);
            break;
        }
        process::show(Some(command));
        process::report_statistics();
        match execute(command, work, run) {
            Ok(notes) => progress.done(notes),
            Err(_) if is_past_deadline(run) => {
                progress.stopped = Some(end_of(run).to_owned());
                break;
            }
            Err(failure) => progress.failed(command, &failure),
        }
    }
    progress.outcome()
}

#[derive(Default)]
struct Progress {
    total: usize,
    succeeded: usize,
    failures: usize,
    sqlstate: Option<String>,
    notes: Vec<String>,
    stopped: Option<String>,
}

impl Progress {
    fn done(&mut self, notes: Vec<String>) {
        self.succeeded += 1;
        self.notes.extend(notes);
    }

    fn failed(&mut self, command: &str, failure: &Failure) {
        self.failures += 1;
        self.sqlstate.get_or_insert_with(|| failure.sqlstate_text());
        self.notes.push(format!("{command}: {}", failure.message));
    }

    fn outcome(self) -> Outcome {
        let mut detail = format!("{} of {} statements done", self.succeeded, self.total);
        if let Some(why) = &self.stopped {
            detail += &format!(", stopped: {why}; the rest is for the next run");
        }
        for note in &self.notes {
            detail += "; ";
            detail += note;
        }
        Outcome { succeeded: self.failures == 0, sqlstate: self.sqlstate, detail: Some(detail) }
    }
}

fn commands(work: &Work, run: &Run) -> Result<Vec<String>> {
    let sql = query_of(&work.command);
    let limit = limit(work, run);
    let rows = top_level::within(limit, || {
        process::transaction(|| spi::write_returning(&sql, &[], |row| row.get::<String>(1)))
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// The query whose rows are the statements of a job with gexec.
pub fn query_of(command: &str) -> String {
    format!("SELECT command FROM ({}\n) plan", command.trim().trim_end_matches(';'))
}

/// Why no further statement may begin.
fn must_stop(work: &Work, run: &Run) -> Option<String> {
    let begun = time::now();
    loop {
        if is_past_deadline(run) {
            return Some(end_of(run).to_owned());
        }
        let most = i64::from(work.max_active?);
        let active = process::transaction(|| session::pinned(active_sessions)).unwrap_or(i64::MAX);
        if active <= most {
            return None;
        }
        if time::now() - begun > LONGEST_BUSY {
            return Some(format!("{active} sessions were at work for ten minutes, at most {most} may be"));
        }
        process::show(Some("waiting for fewer active sessions"));
        process::wait(BUSY_WAIT);
    }
}

fn active_sessions() -> Result<i64> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity
               WHERE backend_type = 'client backend' AND state IN ('active', 'fastpath function call')";
    Ok(own::read_as_owner(|| spi::read_value::<i64>(sql, &[]))?.unwrap_or_default())
}

/// Runs one statement at top level, after clearing away what an interrupted one has left; says what it did of that.
fn execute(command: &str, work: &Work, run: &Run) -> Result<Vec<String>> {
    let find = || leftovers::find(&statement::check(command)?);
    let Repaired { statements, is_done } = process::transaction(find)?;
    let mut notes = Vec::new();
    for repair in statements {
        top_level::execute(&repair, limit(work, run))?;
        notes.push(format!("left by an interrupted run, repaired: {repair}"));
    }
    if !is_done {
        top_level::execute(command, limit(work, run))?;
    }
    Ok(notes)
}

/// The time that the next statement has. Where the job says nothing, its role's statement_timeout does, which the
/// server heeds for clients only.
fn limit(work: &Work, run: &Run) -> Option<Duration> {
    let left = (run.deadline != 0).then(|| (run.deadline - time::now()).max(SECOND / 1000));
    work.timeout
        .or_else(top_level::statement_timeout)
        .into_iter()
        .chain(left)
        .min()
        .map(|micros| Duration::from_micros(micros.unsigned_abs()))
}

fn is_past_deadline(run: &Run) -> bool {
    run.deadline != 0 && time::now() >= run.deadline
}

fn end_of(run: &Run) -> &'static str {
    if run.deadline_is_window { "its window closed" } else { "its max_runtime was over" }
}

/// "statement timeout" is only how it is done.
fn explain(failure: Failure, run: &Run) -> Failure {
    if failure.sqlstate == PgSqlErrorCode::ERRCODE_QUERY_CANCELED && is_past_deadline(run) {
        return Failure { message: format!("cancelled: {}", end_of(run)), ..failure };
    }
    failure
}

fn of_failure(failure: &Failure) -> Outcome {
    failed(&failure.sqlstate_text(), failure.told())
}

fn failed(sqlstate: &str, detail: String) -> Outcome {
    Outcome { succeeded: false, sqlstate: Some(sqlstate.to_owned()), detail: Some(detail) }
}
