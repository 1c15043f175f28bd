//! Whether a table is still as it was, without reading it.

use pgrx::pg_sys;

use super::error::Result;
use super::relation::{self, Relation, Seen};
use super::types::Regclass;
use super::version;

/// A text that another one replaces whenever a row of the table has changed (and sometimes if none has). `None` while that
/// cannot be told.
///
/// It can be told of a heap in whose visibility map every page is marked as visible to all, as VACUUM leaves it: whoever
/// changes a row takes the mark off its page, and whoever puts it back stamps the page of the map with its place in the
/// WAL. So the same file with the same pages, all marked, in a map that has not been stamped since, holds the same rows.
/// Two things are exceptions: the map of a table without WAL is not stamped, and COPY FREEZE adds rows to pages that are
/// marked. Both need a table that is unlogged or that this transaction has made or truncated.
pub fn unchanged_mark(relation: Regclass) -> Result<Option<String>> {
    Ok(match relation::read_now(relation, |relation| Ok(relation.mark()))? {
        Seen::Read(mark) => mark,
        Seen::Locked | Seen::Gone => None,
    })
}

#[allow(unsafe_code)]
impl Relation {
    fn mark(&self) -> Option<String> {
        // SAFETY: the relation is open, and so are its cached entries.
        let (file, persistence) = unsafe {
            let form = &*(*self.0).rd_rel;
            (form.relfilenode, form.relpersistence as u8)
        };
        if persistence != pg_sys::RELPERSISTENCE_PERMANENT || version::is_new_in_transaction(self) {
            return None;
        }
        let (mut visible, mut frozen) = (0, 0);
        // SAFETY: the relation is open and a heap; both counters live through the call.
        unsafe { pg_sys::visibilitymap_count(self.0, &raw mut visible, &raw mut frozen) };
        let blocks = self.blocks();
        (visible == blocks).then(|| format!("{}:{blocks}:{:X}", file.to_u32(), self.map_stamp()))
    }

    /// The latest place in the WAL that a page of the visibility map is stamped with.
    fn map_stamp(&self) -> pg_sys::XLogRecPtr {
        let fork = pg_sys::ForkNumber::VISIBILITYMAP_FORKNUM;
        // SAFETY: the relation is open; each page is pinned and locked while its header is read.
        unsafe {
            if !pg_sys::smgrexists(pg_sys::RelationGetSmgr(self.0), fork) {
                return 0;
            }
            let pages = pg_sys::RelationGetNumberOfBlocksInFork(self.0, fork);
            let stamp = |page| {
                let mode = pg_sys::ReadBufferMode::RBM_NORMAL;
                let buffer = pg_sys::ReadBufferExtended(self.0, fork, page, mode, std::ptr::null_mut());
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let header = pg_sys::BufferGetPage(buffer).cast::<pg_sys::PageHeaderData>();
                let stamp = (*header).pd_lsn;
                pg_sys::UnlockReleaseBuffer(buffer);
                (u64::from(stamp.xlogid) << 32) | u64::from(stamp.xrecoff)
            };
            (0..pages).map(stamp).max().unwrap_or(0)
        }
    }
}
