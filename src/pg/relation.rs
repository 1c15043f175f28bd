//! Looking into a table without ever waiting for it.

use pgrx::pg_sys;

use super::error::Result;
use super::types::Regclass;

/// An open relation with storage.
pub struct Relation(pub(super) pg_sys::Relation);

/// What came of looking at a relation.
pub enum Seen<T> {
    Read(T),
    /// Somebody holds a lock against readers, or waits for one.
    Locked,
    /// It was dropped.
    Gone,
}

/// Opens a relation for reading, if that takes no waiting, and closes it after `work`.
#[allow(unsafe_code)]
pub fn read_now<T>(relation: Regclass, work: impl FnOnce(&Relation) -> Result<T>) -> Result<Seen<T>> {
    let mode = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: main thread in a transaction. The relation is opened under the lock just taken, and closed with it;
    // after an error the abort of the (sub)transaction does both.
    unsafe {
        if !pg_sys::ConditionalLockRelationOid(relation.0, mode) {
            return Ok(Seen::Locked);
        }
        let open = pg_sys::try_relation_open(relation.0, pg_sys::NoLock as pg_sys::LOCKMODE);
        if open.is_null() {
            pg_sys::UnlockRelationOid(relation.0, mode);
            return Ok(Seen::Gone);
        }
        let result = work(&Relation(open));
        pg_sys::relation_close(open, mode);
        result.map(Seen::Read)
    }
}

impl Relation {
    /// The pages of its main fork.
    #[allow(unsafe_code)]
    pub fn blocks(&self) -> u32 {
        // SAFETY: the relation is open and has storage.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.0, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }
}

/// As a sequential scan reads: few buffers of the cache are used, again and again.
pub struct Strategy(pub(super) pg_sys::BufferAccessStrategy);

#[allow(unsafe_code)]
impl Strategy {
    pub fn bulk_read() -> Self {
        // SAFETY: allocates in the current memory context.
        Self(unsafe { pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD) })
    }

    pub fn free(self) {
        // SAFETY: made above, and nobody has it any more.
        unsafe { pg_sys::FreeAccessStrategy(self.0) };
    }
}
