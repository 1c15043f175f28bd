//! Doing what is planned: each step by itself, what came of it written down.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;

use super::error::PartitionError;
use super::parent::Parent;
use super::plan;
use super::recipe::{LOCK_TIMEOUT, Statement};
use super::retired::{self, Retired};
use super::set::Set;
use super::state;
use super::step::{Step, Steps, Then};
use super::task::{Look, Obstacle, Phase, Task};
use crate::pg::error::{Failure, Result};
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{lock, role, session, spi, subtransaction};

/// What came of a step.
pub struct Outcome {
    pub action: &'static str,
    pub partition: Option<String>,
    pub status: &'static str,
    pub detail: Option<String>,
    pub sqlstate: Option<String>,
    pub duration_ms: f64,
    pub lower: Option<String>,
    pub upper: Option<String>,
    /// Who held the lock that was not to be had.
    pub blockers: Option<String>,
}

impl Outcome {
    /// Whether trying again soon may help: only others were in the way.
    pub fn is_passing(&self) -> bool {
        matches!(self.sqlstate.as_deref(), Some("55P03" | "40P01" | "40001"))
    }

    pub fn of_obstacle(set: &Set, obstacle: Obstacle) -> Self {
        let action = if obstacle.failure.sqlstate == PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
        {
            "detach"
        } else {
            "create"
        };
        let (lower, upper) = obstacle.range.and_then(|range| set.bounds(range, 0)).unzip();
        let mut outcome = Self { lower, upper, ..Self::failed(action, &obstacle.failure) };
        // A hold is somebody's will; it is no failure that retention heeds it.
        if action == "detach" {
            outcome.status = "skipped";
        }
        outcome
    }

    fn failed(action: &'static str, failure: &Failure) -> Self {
        Self {
            status: "failed",
            detail: Some(failure.told()),
            sqlstate: Some(failure.sqlstate_text()),
            blockers: failure.detail.clone().filter(|_| failure.sqlstate_text() == "55P03"),
            ..Self::done(action)
        }
    }

    fn done(action: &'static str) -> Self {
        Self {
            action,
            partition: None,
            status: "done",
            detail: None,
            sqlstate: None,
            duration_ms: 0.0,
            lower: None,
            upper: None,
            blockers: None,
        }
    }
}

/// Does all that is to be done for one table in one phase, in the caller's transaction; one step that fails does not
/// stop the others.
pub fn all(parent: Regclass, phase: Phase) -> Result<Vec<Outcome>> {
    let Planned { tasks, mut outcomes } = planned(parent, phase)?;
    for task in tasks {
        let outcome = one(parent, task)?;
        state::record(parent, &outcome)?;
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Does all that is to be done, for one table or for all managed ones, of which others' are skipped.
pub fn every(parent: Option<Regclass>) -> Result<Vec<(Regclass, Outcome)>> {
    let mut outcomes = Vec::new();
    let mut tables = Vec::new();
    for table in parent.map_or_else(plan::managed, |parent| Ok(vec![parent]))? {
        match Parent::get(table).and_then(|table| table.check_owner()) {
            Ok(()) => tables.push(table),
            Err(failure) if parent.is_some() => return Err(failure),
            Err(failure) => {
                outcomes.push((table, Outcome { status: "skipped", ..Outcome::failed("plan", &failure) }));
            }
        }
    }
    if let Some(parent) = parent {
        Set::get(parent, None)?;
    }
    let mut last_errors = HashMap::new();
    for phase in [Phase::Create, Phase::Retire] {
        for table in &tables {
            for outcome in all(*table, phase)? {
                if outcome.status == "failed" {
                    last_errors.insert(table.0, (outcome.detail.clone(), outcome.blockers.clone()));
                }
                outcomes.push((*table, outcome));
            }
        }
    }
    for table in tables {
        let (last_error, blockers) = last_errors.remove(&table.0).unwrap_or_default();
        state::finish(table, last_error.as_deref(), blockers.as_deref())?;
    }
    Ok(outcomes)
}

/// Does one thing and writes down what came of it, unless it is to be tried again.
pub fn recorded(parent: Regclass, task: Task, may_retry: bool) -> Result<Outcome> {
    // One that was dropped meanwhile belongs to nobody; that is an outcome like others.
    if let Ok(parent) = Parent::get(parent) {
        parent.check_owner()?;
    }
    let outcome = one(parent, task)?;
    if !(may_retry && outcome.is_passing()) {
        state::record(parent, &outcome)?;
    }
    Ok(outcome)
}

/// The end of a run that was done task by task.
pub fn finished(parent: Regclass, last_error: Option<&str>, blockers: Option<&str>) -> Result<()> {
    // Dropped meanwhile, it has no state.
    let is_there = spi::read_one_now(
        "SELECT relowner FROM pg_catalog.pg_class WHERE oid = $1",
        &[parent.into()],
        |row| row.get::<pgrx::pg_sys::Oid>(1),
    )?;
    if is_there.is_none() {
        return Ok(());
    }
    Parent::get(parent)?.check_owner()?;
    state::finish(parent, last_error, blockers)
}

pub struct Planned {
    pub tasks: Vec<Task>,
    /// What has come of that which could not even begin; written down already.
    pub outcomes: Vec<Outcome>,
}

/// The tasks of one table. A plan that cannot be made is an outcome, too.
pub fn planned(parent: Regclass, phase: Phase) -> Result<Planned> {
    let plan = || {
        let set = Set::get(parent, None)?;
        let children = set.children()?;
        if phase == Phase::Retire {
            retired::tidy(&set.parent)?;
        }
        let tasks = Look::at(&set, &children, phase)?.tasks(phase)?;
        let obstacles = tasks.obstacles.into_iter().map(|it| Outcome::of_obstacle(&set, it)).collect();
        Ok(Planned { tasks: tasks.tasks, outcomes: obstacles })
    };
    let planned = match subtransaction::run(plan) {
        Ok(planned) => planned,
        Err(failure) if failure.is_interrupt => return Err(failure),
        Err(failure) => Planned { tasks: Vec::new(), outcomes: vec![Outcome::failed("plan", &failure)] },
    };
    for outcome in &planned.outcomes {
        state::record(parent, outcome)?;
    }
    Ok(planned)
}

/// Does one thing, or leaves everything as it was.
pub fn one(parent: Regclass, task: Task) -> Result<Outcome> {
    let begun = Instant::now();
    let mut outcome = Outcome { partition: task.partition_name(), ..Outcome::done(task.action()) };
    let result = subtransaction::run(|| attempt(parent, task, &mut outcome));
    outcome = match result {
        Ok(()) => outcome,
        Err(failure) if failure.is_interrupt => return Err(failure),
        Err(failure) => {
            let Outcome { action, partition, lower, upper, .. } = outcome;
            let status = if is_done_already(&failure) { "skipped" } else { "failed" };
            Outcome { status, partition, lower, upper, ..Outcome::failed(action, &failure) }
        }
    };
    Ok(Outcome { duration_ms: begun.elapsed().as_secs_f64() * 1000.0, ..outcome })
}

/// Does one thing and says in `outcome` what. Errors: whatever kept it from being done.
fn attempt(parent: Regclass, task: Task, outcome: &mut Outcome) -> Result<()> {
    attempt_all(parent, &[task], |step| {
        outcome.action = step.action;
        outcome.partition = step.partition.as_ref().map(Qualified::sql);
        (outcome.lower, outcome.upper) = (step.lower.clone(), step.upper.clone());
    })
}

/// Does several things of one plan in one transaction; `begin` is told each before it is done. What they are made of is
/// looked up once: none of them changes what another one is about, and the first has locked the table.
///
/// Errors: whatever kept one of them from being done.
pub fn attempt_all(parent: Regclass, tasks: &[Task], mut begin: impl FnMut(&Step)) -> Result<()> {
    alone(parent)?;
    let timeout = LOCK_TIMEOUT.as_millis().to_string();
    session::pinned_with(&[("lock_timeout", &timeout)], || {
        let mut tasks = tasks;
        if let Some((first, others)) = tasks.split_first()
            && begun(parent, *first, &mut begin)?
        {
            tasks = others;
        }
        if tasks.is_empty() {
            return Ok(());
        }
        let set = Set::get(parent, None)?;
        set.parent.check_owner()?;
        let children = set.children()?;
        // Strays are counted for a person who reads the plan.
        let look = Look::without_strays(&set, &children)?;
        let steps = Steps::of(&look);
        for task in tasks {
            let step = steps.step(*task)?;
            begin(&step);
            carry_out(&set, &step)?;
            note(&set, step.then)?;
        }
        Ok(())
    })
}

/// Nobody is waited for without a limit, nor without saying for whom: the server prints definitions of a table under a lock.
///
/// Errors: 55P03 if somebody keeps readers away for longer than `limit`.
pub fn check_readable(parent: Regclass, limit: Duration) -> Result<()> {
    if lock::is_readable_within(parent, limit)? {
        return Ok(());
    }
    let (relation, blockers) = (crate::pg::name::of(parent)?.sql(), lock::holders(parent)?);
    Err(PartitionError::Locked { relation, seconds: limit.as_secs(), blockers }.into())
}

/// Takes the locks that a task begins with. What it does is made of what is there then: while a lock is waited for, others
/// may alter the table. One that makes sure itself, under its locks, that all is as it was is done at once, and true is
/// returned: nobody waits for a second look.
fn begun(parent: Regclass, task: Task, begin: &mut impl FnMut(&Step)) -> Result<bool> {
    check_readable(parent, LOCK_TIMEOUT)?;
    let set = Set::get(parent, None)?;
    set.parent.check_owner()?;
    let children = set.children()?;
    let look = Look::without_strays(&set, &children)?;
    let step = Steps::of(&look).step(task)?;
    begin(&step);
    if step.statements.iter().any(|it| matches!(it, Statement::Still(_))) {
        carry_out(&set, &step)?;
        return note(&set, step.then).map(|()| true);
    }
    let locks = step.statements.iter().take_while(|it| it.is_lock()).count();
    Statement::run_all(&step.statements[..locks]).map(|()| false)
}

/// Another run, or a person, was faster; or a hold was placed meanwhile.
fn is_done_already(failure: &Failure) -> bool {
    failure.sqlstate == PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
}

/// Keeps other runs from this table until the transaction ends.
///
/// Errors: 55P03 if another run does not end in time.
pub fn alone(parent: Regclass) -> Result<()> {
    match lock::partitions_within(parent, LOCK_TIMEOUT)? {
        true => Ok(()),
        false => Err(PartitionError::Busy(crate::pg::name::of(parent)?.sql()).into()),
    }
}

fn carry_out(set: &Set, step: &Step) -> Result<()> {
    as_owner(set.parent.owner, || Statement::run_all(&step.statements))
}

/// Runs `work` as a table's owner, with the settings that decide what is made.
pub fn as_owner<T>(owner: pgrx::pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let timeout = LOCK_TIMEOUT.as_millis().to_string();
    let settings = [
        ("lock_timeout", timeout.as_str()),
        ("row_security", "off"),
        ("default_tablespace", ""),
        ("default_table_access_method", "heap"),
    ];
    session::pinned_with(&settings, || role::acting_as_owner_of_rows(owner, work))
}

fn note(set: &Set, then: Then) -> Result<()> {
    match then {
        Then::Nothing => Ok(()),
        Then::MustAnalyze => state::must_analyze(set.parent.table, true),
        Then::Analyzed => state::must_analyze(set.parent.table, false),
        Then::Retired { partition, action } => {
            let state = if action == "detach" { "done" } else { "detached" };
            retired::register(&set.parent, &partition, action, state)
        }
        Then::Finished { retired, detail } => retired.done(&detail),
        Then::Shipped(partition) => retired::register(&set.parent, &partition, "archive", "shipped"),
        Then::Archived { partition, detail } => {
            retired::register(&set.parent, &partition, "archive", "done")?;
            Retired::of(&partition).done(&detail)
        }
    }
}
