//! Pages of relations, as they stand in the buffers.

use pgrx::pg_sys;

use super::error::Result;
use super::relation::{self, Relation, Seen, Strategy};
use super::subtransaction;
use super::types::Regclass;

/// The bytes of a page.
pub const PAGE_BYTES: usize = pg_sys::BLCKSZ as usize;

/// The pages of a relation that nobody can drop or rebuild meanwhile.
pub struct Pages<'open> {
    relation: &'open Relation,
    strategy: Strategy,
}

/// Lets `work` look at the pages of a relation. None, without waiting, if another session holds it, or it is gone.
pub fn of<T>(relation: Regclass, work: impl FnOnce(&Pages) -> Result<T>) -> Result<Option<T>> {
    subtransaction::discarded(|| {
        let seen = relation::read_now(relation, |relation| {
            let pages = Pages { relation, strategy: Strategy::bulk_read() };
            let result = work(&pages);
            pages.strategy.free();
            result
        })?;
        Ok(match seen {
            Seen::Read(value) => Some(value),
            Seen::Locked | Seen::Gone => None,
        })
    })
}

impl Pages<'_> {
    pub fn count(&self) -> u32 {
        self.relation.blocks()
    }

    /// Copies page `number`, which there must be.
    #[allow(unsafe_code)]
    pub fn read(&self, number: u32, page: &mut [u8; PAGE_BYTES]) {
        let (fork, mode) = (pg_sys::ForkNumber::MAIN_FORKNUM, pg_sys::ReadBufferMode::RBM_NORMAL);
        // SAFETY: the relation is open; the buffer is pinned and locked while its page, which is PAGE_BYTES long, is
        // copied, and released then.
        unsafe {
            let buffer = pg_sys::ReadBufferExtended(self.relation.0, fork, number, mode, self.strategy.0);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let bytes = pg_sys::BufferGetPage(buffer).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes, page.as_mut_ptr(), PAGE_BYTES);
            pg_sys::UnlockReleaseBuffer(buffer);
        }
        pgrx::check_for_interrupts!();
    }
}
