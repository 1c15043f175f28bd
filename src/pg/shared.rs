//! What opdb's processes tell each other: in shared memory, which is there only with shared_preload_libraries.
//!
//! A crash of the server empties it, and with it ends every process that could have been meant.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, pg_shmem_init};

/// So many jobs can run at once.
pub const MAX_RUNS: usize = 64;
/// So many databases can be spoken of; if more change at once, all of them are looked at.
const MAX_DATABASES: usize = 256;
const MAX_TEXT: usize = 2000;

static BOARD: PgLwLock<Board> = {
    // SAFETY: the name is unique among the server's libraries, and the one definition of the lock is here.
    #[allow(unsafe_code)]
    unsafe {
        PgLwLock::new(c"opdb")
    }
};
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Everything that is shared.
#[derive(Clone, Copy)]
struct Board {
    launcher: i32,
    /// How many runs there were: each has a ticket of its own.
    tickets: u32,
    /// More databases changed than fit.
    is_overfull: bool,
    databases: [Database; MAX_DATABASES],
    runs: [Run; MAX_RUNS],
}

/// What is to be said of a database.
#[derive(Clone, Copy)]
struct Database {
    oid: u32,
    /// Its jobs changed, and nobody has looked since.
    is_changed: bool,
    /// What the last dispatcher said when it ended: when the next job is due there, in microseconds since 1970.
    report: Option<i64>,
    /// The last dispatcher that began there.
    dispatcher: i32,
    /// When the history of its runs was last shortened, in microseconds since 1970.
    purged_at: i64,
}

/// A run of a job, from when its process is started until its outcome has been recorded.
#[derive(Clone, Copy)]
pub struct Run {
    pub stage: Stage,
    /// Which of all the runs that this place has seen.
    ticket: u32,
    pub database: u32,
    pub role: u32,
    /// The extension that the job belongs to: it may have been created anew since.
    pub extension: u32,
    /// The table of the jobs, whose OID makes locks on jobs unique.
    pub jobs: u32,
    pub job_id: i64,
    /// The segment of shared memory that says what is to be run.
    pub segment: u32,
    pub run_id: i64,
    pub attempt: i32,
    pub dispatcher: i32,
    /// The process that runs it; 0 until it has begun.
    pub worker: i32,
    /// When it must end, in microseconds since 1970; 0 for never.
    pub deadline: i64,
    /// The deadline is the end of the job's window.
    pub deadline_is_window: bool,
    outcome: SharedOutcome,
}

/// An outcome without pointers.
#[derive(Clone, Copy)]
struct SharedOutcome {
    succeeded: bool,
    sqlstate: [u8; 5],
    length: usize,
    text: [u8; MAX_TEXT],
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody uses this slot.
    Free,
    /// Its process was asked for, and waits for the claim to be committed.
    Waiting,
    /// It may begin.
    Cleared,
    /// Its SQL runs.
    Running,
    /// It is over and its outcome stands here.
    Over,
    /// The claim failed: its process is to leave.
    Cancelled,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub succeeded: bool,
    pub sqlstate: Option<String>,
    pub detail: Option<String>,
}

// SAFETY: plain numbers, no references, no ownership; every bit pattern that is read was written by this code.
#[allow(unsafe_code)]
unsafe impl PGRXSharedMemory for Board {}

impl Default for Board {
    fn default() -> Self {
        let database = Database { oid: 0, is_changed: false, report: None, dispatcher: 0, purged_at: 0 };
        Self {
            launcher: 0,
            tickets: 0,
            is_overfull: false,
            databases: [database; MAX_DATABASES],
            runs: [Run::FREE; MAX_RUNS],
        }
    }
}

impl Run {
    const FREE: Self = Self {
        stage: Stage::Free,
        ticket: 0,
        database: 0,
        role: 0,
        extension: 0,
        jobs: 0,
        job_id: 0,
        segment: 0,
        run_id: 0,
        attempt: 0,
        dispatcher: 0,
        worker: 0,
        deadline: 0,
        deadline_is_window: false,
        outcome: SharedOutcome { succeeded: false, sqlstate: [0; 5], length: 0, text: [0; MAX_TEXT] },
    };

    /// A run whose process is about to be started by this one.
    pub fn new(database: pg_sys::Oid, role: pg_sys::Oid, job_id: i64, attempt: i32) -> Self {
        Self {
            stage: Stage::Waiting,
            database: database.to_u32(),
            role: role.to_u32(),
            job_id,
            attempt,
            dispatcher: super::process::own_pid(),
            ..Self::FREE
        }
    }

    pub fn outcome(&self) -> Outcome {
        let SharedOutcome { succeeded, sqlstate, length, text } = &self.outcome;
        let owned = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome {
            succeeded: *succeeded,
            sqlstate: (*sqlstate != [0; 5]).then(|| owned(sqlstate)),
            detail: (*length > 0).then(|| owned(&text[..*length])),
        }
    }

    /// What is too long of the detail is cut off.
    pub fn set_outcome(&mut self, outcome: &Outcome) {
        let shared = &mut self.outcome;
        shared.succeeded = outcome.succeeded;
        let sqlstate = outcome.sqlstate.as_deref().unwrap_or_default().as_bytes();
        shared.sqlstate = sqlstate.try_into().unwrap_or_default();
        let detail = outcome.detail.as_deref().unwrap_or_default();
        shared.length = detail.floor_char_boundary(MAX_TEXT);
        shared.text[..shared.length].copy_from_slice(&detail.as_bytes()[..shared.length]);
    }
}

/// Only while the server starts.
#[allow(unsafe_code, unexpected_cfgs)] // the macro asks for versions of PostgreSQL that this crate has no features for
pub fn initialize() {
    pg_shmem_init!(BOARD);
    IS_ON.store(true, Ordering::Relaxed);
}

/// Whether the server has loaded opdb when it started.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

pub fn set_launcher(pid: i32) {
    BOARD.exclusive().launcher = pid;
}

/// Marks the database for the launcher; gives the launcher's number, to be woken.
pub fn mark_changed(database: pg_sys::Oid) -> i32 {
    let mut board = BOARD.exclusive();
    let known = board.entry(database.to_u32());
    match known {
        Some(place) => board.databases[place].is_changed = true,
        None => board.is_overfull = true,
    }
    board.launcher
}

/// A dispatcher looks: what changed until now it will see.
pub fn take_changed(database: pg_sys::Oid) -> bool {
    let mut board = BOARD.exclusive();
    let place = board.entry(database.to_u32());
    place.is_some_and(|place| std::mem::take(&mut board.databases[place].is_changed))
}

/// A dispatcher begins.
pub fn set_dispatcher(database: pg_sys::Oid, pid: i32) {
    let mut board = BOARD.exclusive();
    if let Some(place) = board.entry(database.to_u32()) {
        board.databases[place].dispatcher = pid;
    }
}

/// The dispatcher of a database, if there is one.
pub fn dispatcher(database: u32) -> Option<i32> {
    let board = BOARD.share();
    let entry = board.databases.iter().find(|entry| entry.oid == database)?;
    Some(entry.dispatcher).filter(|pid| *pid != 0 && super::process::is_in_database(*pid, database.into()))
}

/// The last word of a dispatcher.
pub fn report(database: pg_sys::Oid, next_due: i64) {
    let mut board = BOARD.exclusive();
    if let Some(place) = board.entry(database.to_u32()) {
        board.databases[place].report = Some(next_due);
        board.databases[place].dispatcher = 0;
    }
}

pub fn take_report(database: u32) -> Option<i64> {
    let mut board = BOARD.exclusive();
    let place = board.entry(database)?;
    board.databases[place].report.take()
}

pub fn is_changed(database: u32) -> bool {
    BOARD.share().databases.iter().any(|entry| entry.oid == database && entry.is_changed)
}

/// Once an hour and database: whether the history of its runs is to be shortened.
pub fn purge_is_due(database: pg_sys::Oid) -> bool {
    const HOUR: i64 = 3_600_000_000;
    let mut board = BOARD.exclusive();
    let Some(place) = board.entry(database.to_u32()) else { return false };
    let (entry, now) = (&mut board.databases[place], super::time::now());
    let is_due = now - entry.purged_at >= HOUR;
    if is_due {
        entry.purged_at = now;
    }
    is_due
}

/// The databases whose jobs changed, and whether there were more than fit.
pub fn changed() -> (Vec<u32>, bool) {
    let mut board = BOARD.exclusive();
    let is_overfull = std::mem::take(&mut board.is_overfull);
    (board.databases.iter().filter(|entry| entry.is_changed).map(|entry| entry.oid).collect(), is_overfull)
}

/// Forgets everything of databases that are gone, but for what still runs.
pub fn retain(is_there: impl Fn(u32) -> bool) {
    let mut board = BOARD.exclusive();
    for entry in &mut board.databases {
        if entry.oid != 0 && !is_there(entry.oid) {
            *entry = Database { oid: 0, is_changed: false, report: None, dispatcher: 0, purged_at: 0 };
        }
    }
    for run in &mut board.runs {
        if run.stage != Stage::Free && !is_there(run.database) && !super::process::is_alive(run.worker) {
            *run = Run::FREE;
        }
    }
}

impl Board {
    fn unfinished(&self) -> usize {
        self.runs.iter().filter(|run| !matches!(run.stage, Stage::Free | Stage::Over)).count()
    }

    /// The place of a database, a new one if it has none and there is room.
    fn entry(&mut self, oid: u32) -> Option<usize> {
        let place = self
            .databases
            .iter()
            .position(|entry| entry.oid == oid)
            .or_else(|| self.databases.iter().position(|entry| entry.oid == 0))?;
        self.databases[place].oid = oid;
        Some(place)
    }
}

/// Puts a run on the board, if fewer than `limit` are there that are not over. Gives its place, and what its process
/// is to be told.
pub fn add_run(run: &Run, limit: usize) -> Option<(usize, u32)> {
    let mut board = BOARD.exclusive();
    let place = board.runs.iter().position(|run| run.stage == Stage::Free)?;
    if board.unfinished() >= limit {
        return None;
    }
    // As many as fit beside the place into the argument of a process.
    board.tickets = (board.tickets + 1) % (u32::MAX / MAX_RUNS as u32);
    let ticket = board.tickets;
    board.runs[place] = Run { ticket, ..*run };
    Some((place, ticket * MAX_RUNS as u32 + place as u32))
}

/// What a process does to the run that it was started for; gives the run as it is then. None if a dispatcher has
/// given that run up meanwhile: the place may be another's.
pub fn with_own_run(told: u32, change: impl FnOnce(&mut Run)) -> Option<Run> {
    let (ticket, place) = (told / MAX_RUNS as u32, told as usize % MAX_RUNS);
    let mut board = BOARD.exclusive();
    let run = &mut board.runs[place];
    if run.stage == Stage::Free || run.ticket != ticket {
        return None;
    }
    change(run);
    Some(*run)
}

pub fn run(place: usize) -> Run {
    BOARD.share().runs[place]
}

/// Changes a run; gives it as it is then.
pub fn with_run(place: usize, change: impl FnOnce(&mut Run)) -> Run {
    let mut board = BOARD.exclusive();
    change(&mut board.runs[place]);
    board.runs[place]
}

/// The runs of a database, with their places.
pub fn runs_of(database: pg_sys::Oid) -> Vec<(usize, Run)> {
    let board = BOARD.share();
    let is_of = |run: &Run| run.stage != Stage::Free && run.database == database.to_u32();
    board.runs.iter().enumerate().filter(|(_, run)| is_of(run)).map(|(place, run)| (place, *run)).collect()
}

/// How many more runs there may be.
pub fn free_runs(limit: usize) -> usize {
    limit.saturating_sub(BOARD.share().unfinished())
}

pub fn free(place: usize) {
    BOARD.exclusive().runs[place] = Run::FREE;
}

/// As `free`, for the process of the run.
pub fn free_own(told: u32) {
    with_own_run(told, |run| *run = Run::FREE);
}
