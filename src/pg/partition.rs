//! What the server keeps in memory about the partitions of a table.

use pgrx::pg_sys;

use super::error::Result;
use super::spi;
use super::time;
use super::types::Regclass;

/// Whether each of these instants (microseconds since 1970) has a partition of its own of a table by ranges of
/// timestamptz, whatever their number: nothing is read but what the server has for routing rows. False for other
/// tables, too. The default partition does not count.
#[allow(unsafe_code)]
pub fn holds_all(parent: Regclass, instants: &[i64]) -> Result<bool> {
    let sql =
        "SELECT p.partstrat = 'r' AND p.partnatts = 1 AND a.atttypid = 'timestamptz'::pg_catalog.regtype
               FROM pg_catalog.pg_partitioned_table p
               JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
               WHERE p.partrelid = $1";
    if spi::read_one_now(sql, &[parent.into()], |row| row.get::<bool>(1))?.flatten() != Some(true) {
        return Ok(false);
    }
    // SAFETY: main thread in a transaction. The partition key cannot change, so all bounds are of one timestamptz; they
    // live as long as the relation is open, and no error is raised before it is closed.
    unsafe {
        let relation = pg_sys::relation_open(parent.0, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let bounds = (*pg_sys::RelationGetPartitionDesc(relation, true)).boundinfo;
        let held = !bounds.is_null() && instants.iter().all(|instant| holds(&*bounds, *instant));
        pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        Ok(held)
    }
}

/// The bounds are in order; "indexes" says which partition, if any, begins at each and ends at the next.
#[allow(unsafe_code)]
unsafe fn holds(bounds: &pg_sys::PartitionBoundInfoData, instant: i64) -> bool {
    use pg_sys::PartitionRangeDatumKind::{PARTITION_RANGE_DATUM_MINVALUE, PARTITION_RANGE_DATUM_VALUE};
    let count = usize::try_from(bounds.ndatums).unwrap_or_default();
    // SAFETY: "kind" and "datums" have "ndatums" entries of one column each, "indexes" one more.
    unsafe {
        let is_reached = |place: usize| match **bounds.kind.add(place) {
            PARTITION_RANGE_DATUM_MINVALUE => true,
            PARTITION_RANGE_DATUM_VALUE => {
                let bound = (**bounds.datums.add(place)).value() as i64;
                time::of_server(bound) <= instant
            }
            _ => false,
        };
        let reached = partition_point(count, is_reached);
        *bounds.indexes.add(reached) >= 0
    }
}

/// How many of the first `count` places fulfil a condition that those after them do not.
fn partition_point(count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
