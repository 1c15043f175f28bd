//! The process that has due jobs of one database run, and writes down what became of them. It is there only while
//! something is due or runs; the launcher starts it.

use std::collections::BTreeMap;
use std::time::Duration;

use opdb_core::schedule::{DAY, HOUR, MINUTE, SECOND};
use pgrx::prelude::*;

use super::job::Job;
use super::ledger::{self, Ending, Entry};
use super::{JOB, NEVER};
use crate::pg::error::{Failure, Result};
use crate::pg::process::{self, Process};
use crate::pg::segment::Segment;
use crate::pg::shared::{self, Run, Stage};
use crate::pg::{subtransaction, time};
use crate::settings;

/// A job that is later than this was missed, and its policy says what then.
const LATE: i64 = MINUTE;
/// It stays for what is due so soon, instead of being started again.
const LINGER: Duration = Duration::from_secs(1);
/// While jobs run it looks around so often, even if nobody wakes it.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What is due and cannot begin is tried again so often, and whenever a run ends.
const SHORTAGE: Duration = Duration::from_secs(1);
const GATHER_MS: u32 = 10;
/// After so many failures in a row, one a second, it leaves the rest to another one, later.
const MAX_FAILURES: u32 = 5;
const PAUSE: i64 = 10 * SECOND;

/// Runs until nothing is to be done here.
pub fn main(database: pg_sys::Oid) {
    // First of all: whatever comes of this one, it is no reason to start the next one at once.
    shared::take_changed(database);
    shared::set_dispatcher(database, process::own_pid());
    process::connect(database, pg_sys::InvalidOid);
    let entered = process::transaction(|| {
        // The owner of the database may have set anything for it.
        process::set_for_session("role", "none")?;
        process::set_for_session("search_path", "pg_catalog, pg_temp")?;
        // Nobody may keep all jobs waiting by a lock.
        process::set_for_session("lock_timeout", "2s")?;
        // Nothing that is written here is worth waiting for a standby, which would delay a shutdown.
        process::set_for_session("synchronous_commit", "local")?;
        process::set_application_name("opdb dispatcher")?;
        Ok((ledger::extension()?, ledger::database()?))
    });
    let ((extension, jobs), name) = match entered {
        Ok((Some(found), name)) => (found, name),
        Ok((None, _)) => return shared::report(database, clear_away(database)),
        Err(failure) => return complain("the dispatcher cannot begin", &failure),
    };
    // Two of them would have the same jobs run.
    if !process::lock_for_life(jobs.into(), 0) {
        return;
    }
    let mut dispatcher = Dispatcher {
        database,
        name,
        extension,
        jobs,
        processes: BTreeMap::new(),
        failures: 0,
        is_first: true,
    };
    loop {
        match dispatcher.turn() {
            Next::Wait(time) => {
                process::wait(time);
            }
            Next::WaitForRoom => wait_for_room(),
            Next::Leave(next_due) => return shared::report(database, next_due),
        }
    }
}

enum Next {
    Wait(Duration),
    /// Something is due, and every place, or every process that the server has to spare, is in use.
    WaitForRoom,
    /// When there will be something to do again.
    Leave(i64),
}

struct Dispatcher {
    database: pg_sys::Oid,
    name: String,
    extension: u32,
    jobs: u32,
    /// The processes that this one started, by their runs' places, and what they are told.
    processes: BTreeMap<usize, (Process, Segment)>,
    failures: u32,
    is_first: bool,
}

/// What one transaction decided.
#[derive(Default)]
struct Turn {
    /// The places of runs that may begin, with the runs' numbers.
    cleared: Vec<(usize, i64)>,
    /// The places of runs whose ending was written down.
    ended: Vec<usize>,
    /// When the next of the jobs is due that do not run.
    next_due: Option<i64>,
    /// Whether some did when that was asked.
    runs: bool,
    looked_at: i64,
}

impl Dispatcher {
    fn turn(&mut self) -> Next {
        shared::take_changed(self.database);
        process::show(Some("looking for due jobs"));
        let mut reserved = Vec::new();
        let result = process::transaction(|| self.look(&mut reserved));
        process::show(None);
        process::report_statistics();
        match result {
            Ok(Some(turn)) => self.go_on(turn),
            // Dropped, and perhaps created anew since: those are another dispatcher's jobs.
            Ok(None) => Next::Leave(time::now()),
            Err(failure) => {
                reserved.iter().for_each(|place| cancel(*place));
                self.after_failure(&failure)
            }
        }
    }

    fn go_on(&mut self, turn: Turn) -> Next {
        (self.failures, self.is_first) = (0, false);
        for (place, run_id) in turn.cleared {
            let run = shared::with_run(place, |run| (run.run_id, run.stage) = (run_id, Stage::Cleared));
            process::wake(run.worker);
        }
        for place in turn.ended {
            self.processes.remove(&place);
            shared::free(place);
        }
        let next_due = turn.next_due.unwrap_or(NEVER);
        let until_due = micros(next_due.saturating_sub(time::now()).max(0));
        if turn.next_due.is_some_and(|due| due <= turn.looked_at) && self.is_chosen() {
            return Next::WaitForRoom;
        }
        match (turn.runs, self.is_chosen()) {
            (true, true) => Next::Wait(HEARTBEAT.min(until_due)),
            (true, false) => Next::Wait(HEARTBEAT),
            (false, true) if until_due <= LINGER => Next::Wait(until_due),
            (false, _) => Next::Leave(next_due),
        }
    }

    /// Whether jobs are to run here, by the setting opdb.databases.
    fn is_chosen(&self) -> bool {
        settings::databases().is_none_or(|chosen| chosen.contains(&self.name))
    }

    /// Nothing was written down, so nothing is lost: outcomes stay in shared memory, and what was due is due.
    fn after_failure(&mut self, failure: &Failure) -> Next {
        complain("the dispatcher failed and will try again", failure);
        self.failures += 1;
        if self.failures >= MAX_FAILURES && shared::runs_of(self.database).is_empty() {
            return Next::Leave(time::now() + PAUSE);
        }
        Next::Wait(micros(SECOND))
    }

    /// One transaction: writes down endings, begins what is due, plans what comes next. None if the extension is gone.
    fn look(&mut self, reserved: &mut Vec<usize>) -> Result<Option<Turn>> {
        if ledger::extension()? != Some((self.extension, self.jobs)) {
            return Ok(None);
        }
        let mut turn = Turn { looked_at: time::now(), ..Turn::default() };
        self.write_endings(&mut turn)?;
        self.begin_due(&mut turn, reserved)?;
        let busy = self.busy(&turn.ended);
        (turn.next_due, turn.runs) = (ledger::next_due(&busy)?, !busy.is_empty());
        if let Some(keep) = settings::job_run_retention_days()
            && shared::purge_is_due(self.database)
        {
            ledger::purge(time::now() - i64::from(keep) * DAY)?;
        }
        Ok(Some(turn))
    }

    /// The jobs that run, or whose end is not written down.
    fn busy(&self, ended: &[usize]) -> Vec<i64> {
        let is_busy = |place: usize, run: &Run| {
            run.extension == self.extension && run.stage != Stage::Cancelled && !ended.contains(&place)
        };
        let runs = shared::runs_of(self.database);
        runs.iter().filter(|(place, run)| is_busy(*place, run)).map(|(_, run)| run.job_id).collect()
    }

    fn write_endings(&self, turn: &mut Turn) -> Result<()> {
        let runs = shared::runs_of(self.database);
        let mut endings: Vec<(i64, i32, Ending)> = Vec::new();
        for (place, run) in &runs {
            if let Some(ending) = self.ending(*place, run) {
                turn.ended.push(*place);
                if run.extension == self.extension && run.run_id != 0 {
                    endings.push((run.job_id, run.attempt, ending));
                }
            }
        }
        if self.is_first {
            let alive: Vec<i64> = runs.iter().map(|(_, run)| run.run_id).collect();
            endings.extend(ledger::abandoned(&alive)?.into_iter().map(|(run_id, job_id, attempt)| {
                (job_id, attempt, interrupted(run_id, "the server was restarted or crashed during the run"))
            }));
        }
        for (job_id, attempt, ending) in &endings {
            self.plan_retry(*job_id, *attempt, ending)?;
        }
        ledger::end(&endings.into_iter().map(|(_, _, ending)| ending).collect::<Vec<_>>())
    }

    /// How a run ended, if it did.
    fn ending(&self, place: usize, run: &Run) -> Option<Ending> {
        // What has said its last word may still have to tidy up, and holds the job's lock until then.
        if self.is_alive(place, run) {
            return None;
        }
        if run.stage == Stage::Over {
            let outcome = run.outcome();
            let status = if outcome.succeeded { "succeeded" } else { "failed" };
            return Some(Ending {
                run_id: run.run_id,
                status,
                sqlstate: outcome.sqlstate,
                detail: outcome.detail,
            });
        }
        // It may have said so, or left the place, in between.
        let now = shared::run(place);
        if now.stage == Stage::Over || (now.database, now.job_id) != (run.database, run.job_id) {
            return (now.stage == Stage::Over).then(|| self.ending(place, &now)).flatten();
        }
        Some(match run.stage {
            Stage::Running => interrupted(run.run_id, "its process was terminated"),
            _ => Ending {
                run_id: run.run_id,
                status: "failed",
                sqlstate: None,
                detail: Some("its process ended before the job began: the server's log says why".into()),
            },
        })
    }

    fn is_alive(&self, place: usize, run: &Run) -> bool {
        match self.processes.get(&place) {
            Some((process, _)) => !process.is_over(),
            // Started by a dispatcher that is gone. A process that waits for it leaves by itself.
            None => run.worker != 0 && process::is_alive(run.worker),
        }
    }

    fn plan_retry(&self, job_id: i64, attempt: i32, ending: &Ending) -> Result<()> {
        let was_interrupted = ending.status == "interrupted";
        if !was_interrupted && ending.status != "failed" {
            return Ok(());
        }
        let job = ledger::jobs("j.enabled AND j.job_id = $1", &[job_id.into()])?.pop();
        match job.and_then(|job| job.retry_at(attempt, was_interrupted, time::now())) {
            Some(at) => ledger::retry(job_id, at, attempt + 1),
            None => Ok(()),
        }
    }

    fn begin_due(&mut self, turn: &mut Turn, reserved: &mut Vec<usize>) -> Result<()> {
        let room = if self.is_chosen() { shared::free_runs(settings::max_running_jobs()) } else { 0 };
        let busy = self.busy(&[]);
        let due = ledger::lock_due(turn.looked_at, &busy, room)?;
        let condition = "(j.job_id = ANY ($1) OR j.enabled AND s.job_id IS NULL AND j.job_id <> ALL ($2)) ORDER BY s.next_run_at";
        let due = ledger::jobs(condition, &[due.into(), busy.into()])?;
        let (mut entries, mut next, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let unbound: Vec<_> =
            due.iter().filter(|job| !job.has_state).map(|job| (job.job_id, job.role_oid)).collect();
        for job in due {
            let now = time::now();
            let Some(decision) = self.decide(&job, now) else { continue };
            match decision {
                Decision::Plan => {}
                Decision::Write { status, sqlstate, detail } => {
                    entries.push(Entry { status, sqlstate, detail: Some(detail), ..entry_of(&job, now) });
                    places.push(None);
                }
                Decision::Begin(place) => {
                    reserved.push(place);
                    entries.push(entry_of(&job, now));
                    places.push(Some(place));
                }
            }
            // One that cannot be read may be readable after the next update of the time zones.
            let next_time = match job.timing() {
                Ok(timing) => timing.next(now),
                Err(_) => Some(now + HOUR),
            };
            next.push((job.job_id, next_time, 1));
        }
        let run_ids = ledger::begin(&entries)?;
        turn.cleared =
            places.into_iter().zip(run_ids).filter_map(|(place, run_id)| Some((place?, run_id))).collect();
        ledger::plan(&next)?;
        // Jobs of a restored dump: whoever has the name now is meant.
        unbound
            .into_iter()
            .filter(|(_, role)| *role != pg_sys::InvalidOid)
            .try_for_each(|(job_id, role)| ledger::bind_role(job_id, role))
    }

    /// What becomes of a job that is due; None if it must wait for a process.
    fn decide(&mut self, job: &Job, now: i64) -> Option<Decision> {
        let Some(due_at) = job.next_run_at else {
            return Some(Decision::Plan);
        };
        let timing = match job.timing() {
            Ok(timing) => timing,
            Err(failure) => return Some(Decision::failed(failure.sqlstate_text(), failure.message)),
        };
        if let Some((sqlstate, why)) = &job.unfit {
            return Some(Decision::failed(sqlstate.clone(), why.clone()));
        }
        if job.skips_missed && now - due_at > LATE {
            let why = "missed: neither the server nor a free process was there in time";
            return Some(Decision::skipped(why));
        }
        let closes = job.window.map(|window| window.closes(&timing.zone, now));
        if closes == Some(None) {
            return Some(Decision::skipped("outside its window"));
        }
        self.start(job, closes.flatten(), now)
    }

    fn start(&mut self, job: &Job, closes: Option<i64>, now: i64) -> Option<Decision> {
        let limit = job.max_runtime.map(|limit| now.saturating_add(limit));
        let deadline = limit.into_iter().chain(closes).min();
        let mut run = Run::new(self.database, job.role_oid, job.job_id, job.attempt);
        (run.extension, run.jobs) = (self.extension, self.jobs);
        (run.deadline, run.deadline_is_window) =
            (deadline.unwrap_or_default(), deadline.is_some() && deadline == closes);
        let work = serde_json::to_vec(&job.work).unwrap_or_default();
        let segment = match subtransaction::run(|| Ok(Segment::with(&work))) {
            Ok(segment) => segment,
            // Memory may be free again in a moment.
            Err(failure) if failure.class() == "53" => return None,
            Err(failure) => return Some(Decision::failed(failure.sqlstate_text(), failure.message)),
        };
        run.segment = segment.handle();
        let (place, told) = shared::add_run(&run, settings::max_running_jobs())?;
        let Some(process) = JOB.start(told) else {
            shared::free(place);
            return None;
        };
        self.processes.insert(place, (process, segment));
        Some(Decision::Begin(place))
    }
}

enum Decision {
    /// Only decide when it runs first.
    Plan,
    /// It does not run.
    Write { status: &'static str, sqlstate: Option<String>, detail: String },
    /// It runs, in this place.
    Begin(usize),
}

impl Decision {
    fn skipped(why: &str) -> Self {
        Self::Write { status: "skipped", sqlstate: None, detail: why.to_owned() }
    }

    fn failed(sqlstate: String, why: String) -> Self {
        Self::Write { status: "failed", sqlstate: Some(sqlstate), detail: why }
    }
}

/// Where there is no extension, nobody writes down how runs end that began when there was one. When to look again.
fn clear_away(database: pg_sys::Oid) -> i64 {
    let runs = shared::runs_of(database);
    let mut is_any_left = false;
    for (place, run) in runs {
        if run.worker != 0 && process::is_alive(run.worker) {
            is_any_left = true;
        } else {
            shared::free(place);
        }
    }
    if is_any_left { time::now() + PAUSE } else { NEVER }
}

/// Until a run ends, and a moment longer: where many end, what each look costs is shared by several.
fn wait_for_room() {
    process::wait(SHORTAGE);
    let places = settings::max_running_jobs();
    for _ in 0..GATHER_MS {
        if shared::free_runs(places) * 4 >= places {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A run that begins.
fn entry_of(job: &Job, now: i64) -> Entry {
    Entry {
        job_id: job.job_id,
        name: job.work.name.clone(),
        role: job.role.clone(),
        scheduled_at: job.next_run_at.unwrap_or(now),
        attempt: job.attempt,
        status: "running",
        sqlstate: None,
        detail: None,
    }
}

fn interrupted(run_id: i64, why: &str) -> Ending {
    Ending { run_id, status: "interrupted", sqlstate: None, detail: Some(why.to_owned()) }
}

/// The process of a run that was not written down leaves, and frees the place.
fn cancel(place: usize) {
    let run = shared::with_run(place, |run| run.stage = Stage::Cancelled);
    process::wake(run.worker);
}

fn micros(time: i64) -> Duration {
    Duration::from_micros(time.unsigned_abs())
}

fn complain(what: &str, failure: &Failure) {
    log!("opdb: {what}: {} ({})", failure.message, failure.sqlstate_text());
}
