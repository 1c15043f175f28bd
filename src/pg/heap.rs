//! The rows of a heap as VACUUM sees them.

use opdb_core::maintain::vacuum::{Sample, age, runs, spread};
use pgrx::pg_sys;

use super::relation::{Relation, Strategy};

/// Pages that are read of a table.
const PAGES: usize = 200;
/// Of a larger table (1 GB) a part of the visibility map is looked at, in runs.
const MAP_AT_MOST: u32 = 131_072;
const RUN: u32 = 1_024;
/// Rows begin at multiples of it; MAXALIGN.
const ALIGNMENT: u64 = pg_sys::MAXIMUM_ALIGNOF as u64;
const LINE_POINTER: u64 = size_of::<pg_sys::ItemIdData>() as u64;

/// The oldest transaction id whose view of this table still counts: what was deleted later cannot be removed.
#[allow(unsafe_code)]
pub fn oldest_nonremovable(relation: &Relation) -> pg_sys::TransactionId {
    // SAFETY: the relation is open.
    unsafe { pg_sys::GetOldestNonRemovableTransactionId(relation.0) }
}

/// Looks at some of the pages that are not marked as visible to all, as VACUUM would if nobody needed what was deleted
/// before `horizon`: only they can have dead rows.
pub fn sample(relation: &Relation, horizon: pg_sys::TransactionId) -> Sample {
    let (candidates, looked_at) = not_all_visible(relation);
    let pages = spread(&candidates, PAGES);
    if pages.is_empty() {
        return Sample::default();
    }
    let whole = candidates.len() as f64 * f64::from(relation.blocks()) / f64::from(looked_at);
    let mut sample = Sample { scale: whole / pages.len() as f64, ..Sample::default() };
    let strategy = Strategy::bulk_read();
    for page in pages {
        pgrx::check_for_interrupts!();
        add_page(relation, page, horizon, &strategy, &mut sample);
    }
    strategy.free();
    sample
}

/// The pages without the mark in the visibility map that every row on them is alive, and how many were looked up.
#[allow(unsafe_code)]
fn not_all_visible(relation: &Relation) -> (Vec<u32>, u32) {
    let mut map_page = pg_sys::InvalidBuffer as pg_sys::Buffer;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for run in runs(relation.blocks(), MAP_AT_MOST, RUN) {
        pgrx::check_for_interrupts!();
        for block in run {
            looked_at += 1;
            // SAFETY: the relation is open; the map's page stays pinned from call to call and is released below.
            let status = unsafe { pg_sys::visibilitymap_get_status(relation.0, block, &raw mut map_page) };
            if u32::from(status) & pg_sys::VISIBILITYMAP_ALL_VISIBLE == 0 {
                found.push(block);
            }
        }
    }
    if map_page != pg_sys::InvalidBuffer as pg_sys::Buffer {
        // SAFETY: pinned by the last lookup.
        unsafe { pg_sys::ReleaseBuffer(map_page) };
    }
    (found, looked_at)
}

#[allow(unsafe_code)]
fn add_page(
    relation: &Relation,
    block: u32,
    horizon: pg_sys::TransactionId,
    strategy: &Strategy,
    sample: &mut Sample,
) {
    let mut is_clearable = true;
    // SAFETY: the block exists, because nobody truncates a table that is locked for reading. The page is pinned, and
    // locked against change while it is read; an abort releases both.
    unsafe {
        let buffer = pg_sys::ReadBufferExtended(
            relation.0,
            pg_sys::ForkNumber::MAIN_FORKNUM,
            block,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            strategy.0,
        );
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as _);
        let page = pg_sys::BufferGetPage(buffer);
        let rows = if pg_sys::PageIsNew(page) { 0 } else { pg_sys::PageGetMaxOffsetNumber(page) };
        for place in 1..=rows {
            let item = pg_sys::PageGetItemId(page, place);
            match (*item).lp_flags() {
                pg_sys::LP_DEAD => sample.removable += 1,
                pg_sys::LP_NORMAL => {
                    let mut row = row_at(relation, buffer, (block, place), item);
                    is_clearable &= add_row(&mut row, buffer, horizon, sample);
                }
                _ => {}
            }
        }
        pg_sys::UnlockReleaseBuffer(buffer);
    }
    sample.pages += 1;
    sample.clearable_pages += u64::from(is_clearable);
}

/// # Safety
/// `item` is the line pointer of the row at `place`, with storage, on the page of `buffer`, which is pinned and locked.
#[allow(unsafe_code)]
unsafe fn row_at(
    relation: &Relation,
    buffer: pg_sys::Buffer,
    place: (u32, pg_sys::OffsetNumber),
    item: pg_sys::ItemId,
) -> pg_sys::HeapTupleData {
    // SAFETY: as the caller promises.
    unsafe {
        let mut row = pg_sys::HeapTupleData {
            t_len: (*item).lp_len(),
            t_tableOid: (*relation.0).rd_id,
            t_data: pg_sys::PageGetItem(pg_sys::BufferGetPage(buffer), item).cast(),
            ..Default::default()
        };
        pgrx::itemptr::item_pointer_set_all(&mut row.t_self, place.0, place.1);
        row
    }
}

/// Whether VACUUM would remove the row or find it visible to all.
///
/// # Safety
/// `row` is on the page of `buffer`, which is pinned and locked.
#[allow(unsafe_code)]
unsafe fn add_row(
    row: &mut pg_sys::HeapTupleData,
    buffer: pg_sys::Buffer,
    horizon: pg_sys::TransactionId,
    sample: &mut Sample,
) -> bool {
    sample.rows += 1;
    sample.row_bytes += LINE_POINTER + (u64::from(row.t_len)).next_multiple_of(ALIGNMENT);
    // SAFETY: as the caller promises. What the server may change under this lock are hint bits.
    match unsafe { pg_sys::HeapTupleSatisfiesVacuum(row, horizon, buffer) } {
        pg_sys::HTSV_Result::HEAPTUPLE_DEAD => sample.removable += 1,
        pg_sys::HTSV_Result::HEAPTUPLE_RECENTLY_DEAD => {
            sample.held += 1;
            return false;
        }
        // SAFETY: as above.
        pg_sys::HTSV_Result::HEAPTUPLE_LIVE => return unsafe { is_older(row.t_data, horizon) },
        _ => return false,
    }
    true
}

/// # Safety
/// `row` is a row of a pinned page.
#[allow(unsafe_code)]
unsafe fn is_older(row: pg_sys::HeapTupleHeader, horizon: pg_sys::TransactionId) -> bool {
    // SAFETY: as the caller promises; a row on a page has the heap's fields, not those of a datum.
    let (flags, inserted_by) = unsafe { ((*row).t_infomask, (*row).t_choice.t_heap.t_xmin) };
    let frozen = pg_sys::HEAP_XMIN_FROZEN as u16;
    flags & frozen == frozen || age(horizon.into_inner(), inserted_by.into_inner()) > 0
}
