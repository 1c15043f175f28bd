//! Pages of relations, as they stand in the buffers.

use pgrx::pg_sys;

use super::error::Result;
use super::types::Regclass;
use super::{lock, subtransaction};

/// The bytes of a page.
pub const PAGE_BYTES: usize = pg_sys::BLCKSZ as usize;

/// The pages of a relation that nobody can drop or rebuild meanwhile.
pub struct Pages {
    relation: pg_sys::Relation,
    strategy: pg_sys::BufferAccessStrategy,
}

/// Lets `work` look at the pages of a relation. None, without waiting, if another session holds it, or it is gone.
#[allow(unsafe_code)]
pub fn of<T>(relation: Regclass, work: impl FnOnce(&Pages) -> Result<T>) -> Result<Option<T>> {
    subtransaction::discarded(|| {
        if !lock::try_against_alter(relation) {
            return Ok(None);
        }
        // SAFETY: main thread in a transaction; the lock is held until the subtransaction is rolled back.
        let opened = unsafe { pg_sys::try_relation_open(relation.0, pg_sys::NoLock as pg_sys::LOCKMODE) };
        if opened.is_null() {
            return Ok(None);
        }
        // SAFETY: a ring of buffers, so that looking does not drive out what others use; freed with its context.
        let strategy = unsafe { pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD) };
        let result = work(&Pages { relation: opened, strategy });
        // SAFETY: closes what was opened above; after an error the rollback does.
        unsafe { pg_sys::relation_close(opened, pg_sys::NoLock as pg_sys::LOCKMODE) };
        result.map(Some)
    })
}

impl Pages {
    #[allow(unsafe_code)]
    pub fn count(&self) -> u32 {
        // SAFETY: the relation is open.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }

    /// Copies page `number`, which there must be.
    #[allow(unsafe_code)]
    pub fn read(&self, number: u32, page: &mut [u8; PAGE_BYTES]) {
        let (fork, mode) = (pg_sys::ForkNumber::MAIN_FORKNUM, pg_sys::ReadBufferMode::RBM_NORMAL);
        // SAFETY: the relation is open; the buffer is pinned and locked while its page, which is PAGE_BYTES long, is
        // copied, and released then.
        unsafe {
            let buffer = pg_sys::ReadBufferExtended(self.relation, fork, number, mode, self.strategy);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let bytes = pg_sys::BufferGetPage(buffer).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes, page.as_mut_ptr(), PAGE_BYTES);
            pg_sys::UnlockReleaseBuffer(buffer);
        }
        pgrx::check_for_interrupts!();
    }
}
