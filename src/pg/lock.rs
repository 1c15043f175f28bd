//! Holding a table as it is.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::error::Result;
use super::name::{self, NameError, Qualified};
use super::types::Regclass;
use super::{own, session, spi, subtransaction};

/// Keeps others from altering, renaming or dropping a table until the transaction ends; readers and writers go
/// on. What was looked up before the lock must be looked up again after it: see [`still`].
pub fn against_alter(relation: Regclass) {
    take(relation, pg_sys::AccessShareLock);
}

/// What DROP INDEX takes on the index's table: nobody else reads or writes.
pub fn exclusively(relation: Regclass) {
    take(relation, pg_sys::AccessExclusiveLock);
}

/// What INSERT takes: keeps others from adding triggers, too.
pub fn as_writer(relation: Regclass) {
    take(relation, pg_sys::RowExclusiveLock);
}

#[allow(unsafe_code)]
fn take(relation: Regclass, mode: u32) {
    // SAFETY: main thread in a transaction; the lock manager raises its own errors, and a relation that is gone
    // is only a number to it.
    unsafe { pg_sys::LockRelationOid(relation.0, mode as pg_sys::LOCKMODE) };
}

/// How a table is locked; each excludes others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Readers and writers go on; nobody else alters.
    ShareUpdate,
    /// Readers go on.
    ShareRow,
    /// Nobody else does anything.
    Access,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::ShareUpdate => "SHARE UPDATE EXCLUSIVE",
            Self::ShareRow => "SHARE ROW EXCLUSIVE",
            Self::Access => "ACCESS EXCLUSIVE",
        }
    }

    fn number(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            Self::ShareUpdate => pg_sys::ShareUpdateExclusiveLock,
            Self::ShareRow => pg_sys::ShareRowExclusiveLock,
            Self::Access => pg_sys::AccessExclusiveLock,
        };
        mode as pg_sys::LOCKMODE
    }
}

/// How long one turn in the queue is: whoever comes after waits no longer than that for us.
const TURN: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: f64 = 0.06;

/// Takes a lock by asking for it in short turns: a lock that is waited for keeps everybody who comes later waiting,
/// too. False if it was not to be had within `limit`.
pub fn in_turns(relation: Regclass, mode: Mode, limit: Duration) -> Result<bool> {
    let begun = Instant::now();
    loop {
        if now(relation, mode) || one_turn(relation, mode)? {
            return Ok(true);
        }
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        session::wait(Duration::from_secs_f64(LONGEST_PAUSE * (0.25 + 0.75 * opdb_core::random())));
    }
}

/// Takes a lock at a moment at which nobody is in the way, without ever being in the queue: nobody can come into a deadlock
/// with us by it. False if there was no such moment within `limit`.
pub fn when_free(relation: Regclass, mode: Mode, limit: Duration) -> Result<bool> {
    let begun = Instant::now();
    while !now(relation, mode) {
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        session::wait(Duration::from_millis(2));
    }
    Ok(true)
}

fn one_turn(relation: Regclass, mode: Mode) -> Result<bool> {
    within(TURN, || take(relation, mode.number() as u32))
}

/// pg_partitioned_table, whose rows nobody else locks.
const PARTITIONED_TABLE: pg_sys::Oid = pg_sys::Oid::from_u32(3350);

/// The making and retiring of a table's partitions, which one transaction at a time does. It is a lock that no role can
/// take by SQL, as it could an advisory one. Waits for it as long as it takes.
#[allow(unsafe_code)]
pub fn partitions(parent: Regclass) {
    let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as in `take`.
    unsafe { pg_sys::LockDatabaseObject(PARTITIONED_TABLE, parent.0, 0, mode) };
}

/// False if it was not to be had within `limit`.
pub fn partitions_within(parent: Regclass, limit: Duration) -> Result<bool> {
    within(limit, || partitions(parent))
}

/// Whether `take`, which waits for one lock, got it in time.
fn within(limit: Duration, take: impl FnOnce()) -> Result<bool> {
    let limit = limit.as_millis().to_string();
    let waited = subtransaction::run(|| {
        session::pinned_with(&[("lock_timeout", &limit)], || {
            take();
            Ok(())
        })
    });
    match waited {
        Ok(()) => Ok(true),
        Err(failure) if matches!(failure.sqlstate_text().as_str(), "55P03" | "40P01") => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Takes a lock if that takes no waiting.
#[allow(unsafe_code)]
fn now(relation: Regclass, mode: Mode) -> bool {
    // SAFETY: main thread in a transaction; a relation that is gone is only a number to the lock manager.
    unsafe { pg_sys::ConditionalLockRelationOid(relation.0, mode.number()) }
}

/// Who holds a lock on a relation, for a person to read; empty if nobody does.
pub fn holders(relation: Regclass) -> Result<String> {
    let holders = own::read_as_owner(|| {
        spi::read_one_now(
            "SELECT pg_catalog.string_agg(pg_catalog.format(
                        'process %s%s%s holds %s%s', l.pid, ' of role ' || a.usename,
                        ' (' || nullif(a.application_name, '') || ')', l.modes,
                        ', in its transaction since ' || a.xact_start), '; ' ORDER BY l.pid)
             FROM (SELECT pid, pg_catalog.string_agg(DISTINCT mode, ', ') AS modes FROM pg_catalog.pg_locks
                   WHERE locktype = 'relation' AND relation = $1 AND granted AND pid <> pg_catalog.pg_backend_pid()
                     AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                   GROUP BY pid) l
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid",
            &[relation.0.into()],
            |row| row.get::<String>(1),
        )
    })?;
    Ok(holders.flatten().unwrap_or_default())
}

/// What building an index concurrently takes, if nobody has what conflicts with it; never waits.
#[allow(unsafe_code)]
pub fn as_builder_if_free(relation: Regclass) -> bool {
    let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: main thread in a transaction; a relation that is gone is only a number to the lock manager.
    unsafe { pg_sys::ConditionalLockRelationOid(relation.0, mode) }
}

/// Errors: 42P01 if `relation` has gone by another name while the lock was waited for.
pub fn still(relation: Regclass, name: &Qualified) -> Result<()> {
    let now = spi::read_one_now("SELECT pg_catalog.to_regclass($1)", &[name.sql().into()], |row| {
        row.get::<Regclass>(1)
    })?;
    match now.flatten() {
        Some(found) if found == relation => name::of_table(relation).map(drop),
        _ => Err(NameError::NoRelation(name.label()).into()),
    }
}
