//! Holding a table as it is.

use pgrx::pg_sys;

use super::error::Result;
use super::name::{self, NameError, Qualified};
use super::spi;
use super::types::Regclass;

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
