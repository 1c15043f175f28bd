//! The free-space map of a table.

use opdb_core::maintain::vacuum::{FreeSpace, runs};
use pgrx::pg_sys;

use super::relation::Relation;

/// Of a larger table (1 GB) a part is looked at, in runs: neighbours stand on the same page of the map.
const AT_MOST: u32 = 131_072;
const RUN: u32 = 1_024;

/// What the map has recorded. It speaks of the last VACUUM, and of pages that were filled since.
#[allow(unsafe_code)]
pub fn read(relation: &Relation) -> FreeSpace {
    let blocks = relation.blocks();
    let mut space = FreeSpace::new(pg_sys::BLCKSZ, blocks);
    for run in runs(blocks, AT_MOST, RUN) {
        pgrx::check_for_interrupts!();
        for block in run {
            // SAFETY: the relation is open; a block that the map does not know has no recorded space.
            space.add(unsafe { pg_sys::GetRecordedFreeSpace(relation.0, block) });
        }
    }
    space
}
