//! Holding a table as it is.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::error::{Failure, Result};
use super::name::{self, NameError, Qualified};
use super::relation::{self, Seen};
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

/// Whether one of the relations that this transaction has locked to read them was rewritten (by TRUNCATE, too) after the
/// snapshot that is read on, which shows no rows of it then. While it is locked that cannot happen any more.
pub fn was_one_rewritten() -> Result<bool> {
    let stored = spi::read_one(
        "SELECT coalesce(pg_catalog.array_agg(c.oid), '{}'), coalesce(pg_catalog.array_agg(c.relfilenode), '{}')
         FROM pg_catalog.pg_class c
         WHERE c.relkind IN ('r', 'm') AND c.oid IN (
             SELECT l.relation FROM pg_catalog.pg_locks l
             WHERE l.locktype = 'relation' AND l.mode = 'AccessShareLock' AND l.pid = pg_catalog.pg_backend_pid()
               AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                 WHERE d.datname = pg_catalog.current_database()))",
        &[],
        |row| Ok((spi::known::<Vec<pg_sys::Oid>>(&row, 1)?, spi::known::<Vec<pg_sys::Oid>>(&row, 2)?)),
    )?;
    let (relations, files) = stored.unwrap_or_default();
    let found = spi::on_latest_snapshot(|| {
        spi::read_value::<bool>(
            "SELECT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) o (oid, file)
                            JOIN pg_catalog.pg_class c ON c.oid = o.oid WHERE c.relfilenode <> o.file)",
            &[relations.into(), files.into()],
        )
    })?;
    Ok(found == Some(true))
}

/// How a table is locked; each excludes others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Readers and writers go on; nobody else alters.
    ShareUpdate,
    /// Readers go on.
    ShareRow,
    /// Readers go on that lock no rows.
    Exclusive,
    /// Nobody else does anything.
    Access,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::ShareUpdate => "SHARE UPDATE EXCLUSIVE",
            Self::ShareRow => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::Access => "ACCESS EXCLUSIVE",
        }
    }

    fn number(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            Self::ShareUpdate => pg_sys::ShareUpdateExclusiveLock,
            Self::ShareRow => pg_sys::ShareRowExclusiveLock,
            Self::Exclusive => pg_sys::ExclusiveLock,
            Self::Access => pg_sys::AccessExclusiveLock,
        };
        mode as pg_sys::LOCKMODE
    }
}

/// How long one turn in the queue is: whoever comes after waits no longer than that for us.
const TURN: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: f64 = 0.06;
/// As long as the server itself leaves an autovacuum alone that is in somebody's way.
const AUTOVACUUM_MAY_GO_ON: Duration = Duration::from_secs(1);

/// Takes a lock by asking for it in short turns: a lock that is waited for keeps everybody who comes later waiting,
/// too. False if it was not to be had within `limit`.
pub fn in_turns(relation: Regclass, mode: Mode, limit: Duration) -> Result<bool> {
    Ok(all_in_turns(&[(relation, mode)], limit)?.is_none())
}

/// Takes several locks, all or none: while one of them is asked for again, nobody has to wait for the others, or comes
/// into a deadlock by them. If they were not to be had within `limit`, it says which of them was missed last.
pub fn all_in_turns(locks: &[(Regclass, Mode)], limit: Duration) -> Result<Option<usize>> {
    let begun = Instant::now();
    let mut is_autovacuum_asked = false;
    loop {
        let Some(missed) = all_in_one_turn(locks)? else { return Ok(None) };
        if begun.elapsed() >= limit {
            return Ok(Some(missed));
        }
        // The server would ask it to end for whoever waits in the queue for so long.
        if !is_autovacuum_asked && begun.elapsed() >= AUTOVACUUM_MAY_GO_ON {
            cancel_autovacuum(locks[missed].0)?;
            is_autovacuum_asked = true;
        }
        session::wait(Duration::from_secs_f64(LONGEST_PAUSE * (0.25 + 0.75 * opdb_core::random())));
    }
}

/// Which lock was not to be had; then there is none of them.
fn all_in_one_turn(locks: &[(Regclass, Mode)]) -> Result<Option<usize>> {
    let mut missed = None;
    let taken = subtransaction::run(|| {
        for (place, (relation, mode)) in locks.iter().enumerate() {
            if !(now(*relation, *mode) || one_turn(*relation, *mode)?) {
                missed = Some(place);
                return Err(Failure::lock_not_available("a lock is missing"));
            }
        }
        Ok(())
    });
    match (taken, missed) {
        (Err(_), Some(missed)) => Ok(Some(missed)),
        (taken, _) => taken.map(|()| None),
    }
}

/// Makes a lock stronger without waiting for a holder who is waiting, perhaps for us: nobody can come into a deadlock with
/// us by it. False if it was not to be had within `limit`.
pub fn when_free(relation: Regclass, mode: Mode, limit: Duration) -> Result<bool> {
    let begun = Instant::now();
    // Only a holder who waits himself may wait for us. In the queue we go before those who do.
    while !(now(relation, mode) || !is_held_by_waiter(relation)? && one_turn(relation, mode)?) {
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        session::wait(Duration::from_millis(5));
    }
    Ok(true)
}

/// Whether nobody keeps others from reading a relation, or ceases to within `limit`.
pub fn is_readable_within(relation: Regclass, limit: Duration) -> Result<bool> {
    let begun = Instant::now();
    while matches!(relation::read_now(relation, |_| Ok(()))?, Seen::Locked) {
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        session::wait(Duration::from_millis(10));
    }
    Ok(true)
}

/// The locks of others on a relation, as SQL reads them from pg_locks.
const OF_OTHERS: &str =
    "locktype = 'relation' AND relation = $1 AND granted AND pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

fn is_held_by_waiter(relation: Regclass) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE {OF_OTHERS}
                        AND pid IN (SELECT w.pid FROM pg_catalog.pg_locks w WHERE NOT w.granted))"
    );
    let held = spi::read_one_now(&sql, &[relation.0.into()], |row| row.get::<bool>(1))?;
    Ok(held.flatten() == Some(true))
}

/// Has autovacuum leave a relation, unless it keeps transaction ids from running out.
fn cancel_autovacuum(relation: Regclass) -> Result<()> {
    let sql = format!(
        "SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
         WHERE a.backend_type = 'autovacuum worker' AND a.query NOT LIKE '%(to prevent wraparound)%'
           AND a.pid IN (SELECT pid FROM pg_catalog.pg_locks WHERE {OF_OTHERS})"
    );
    own::read_as_owner(|| spi::read_now(&sql, &[relation.0.into()], |_| Ok(())).map(drop))
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

/// pg_rewrite, of which nobody locks an entry by the number of a table.
const REWRITE: pg_sys::Oid = pg_sys::Oid::from_u32(2618);

/// The setting aside of a table's rows, which one transaction at a time does. As `partitions`.
#[allow(unsafe_code)]
pub fn quarantine(table: Regclass) {
    let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as in `take`.
    unsafe { pg_sys::LockDatabaseObject(REWRITE, table.0, 0, mode) };
}

/// A deployment of this database, which one transaction at a time works on. False if another one has it.
pub fn deployment(id: i64) -> Result<bool> {
    let table =
        spi::read_value::<pg_sys::Oid>("SELECT 'opdb.deployment'::pg_catalog.regclass::pg_catalog.oid", &[])?;
    let number = (u64::from(table.unwrap_or(pg_sys::InvalidOid).to_u32()) << 32) | u64::from(id as u32);
    Ok(advisory(DEPLOYMENT, number, false))
}

/// What is sent to one table of a target, which one transaction at a time does. Waits for it as long as it takes.
pub fn stage(number: u64) {
    advisory(STAGE, number, true);
}

/// `locktag_field4` of locks that no role can take by SQL, whose have 1 and 2 there. 3 is that of processes.
const DEPLOYMENT: u16 = 4;
const STAGE: u16 = 5;

/// Whether the lock was to be had. The end of the transaction releases it.
#[allow(unsafe_code)]
fn advisory(kind: u16, number: u64, waits: bool) -> bool {
    // SAFETY: main thread in a transaction; a tag as SET_LOCKTAG_ADVISORY makes it, which the lock table copies.
    let taken = unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: (number >> 32) as u32,
            locktag_field3: number as u32,
            locktag_field4: kind,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::LockAcquire(&raw const tag, mode, false, !waits)
    };
    taken != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
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
        Err(failure) if failure.is_of_locks() => Ok(false),
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
    let sql = format!(
        "SELECT pg_catalog.string_agg(pg_catalog.format(
                        '%s%s%s holds %s%s', coalesce('process ' || l.pid, 'a prepared transaction (pg_prepared_xacts)'), ' of role ' || a.usename,
                        ' (' || nullif(a.application_name, '') || ')', l.modes,
                        ', in its transaction since ' || a.xact_start), '; ' ORDER BY l.pid)
             FROM (SELECT pid, pg_catalog.string_agg(DISTINCT mode, ', ') AS modes FROM pg_catalog.pg_locks
                   WHERE {OF_OTHERS} GROUP BY pid) l
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    );
    let holders =
        own::read_as_owner(|| spi::read_one_now(&sql, &[relation.0.into()], |row| row.get::<String>(1)))?;
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
