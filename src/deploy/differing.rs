//! Which rows need not be sent: those of groups that are the same on both sides. And whether they need a stage.

use opdb_core::compat::digest::{Buckets, Digest};
use opdb_core::compat::form::Side;

use super::database::Database;
use super::load;
use super::plan::{Planned, Restriction};
use crate::pg::error::Result;
use crate::pg::remote::{Remote, Row};
use crate::pg::{session, spi};

/// So few rows are sent at once.
pub const FEW_ROWS: i64 = 2000;
/// Rows of a group: of each that differs all are sent, and of each a digest comes here.
const ROWS_PER_BUCKET: i64 = 8;
const MOST_BUCKETS: i64 = 1 << 17;

/// What the planner knows of the groups is wrong: as many as rows. So it would sort, and never work in parallel.
/// Groups that have no room are written to files.
const SETTINGS: [(&str, &str); 5] = [
    ("jit", "off"),
    ("enable_sort", "off"),
    ("parallel_setup_cost", "0"),
    ("parallel_tuple_cost", "0"),
    ("work_mem", "64MB"),
];

/// Whether a table is compared at all.
pub fn is_worth_it(planned: &Planned) -> bool {
    planned.shipment.can_be_compared() && planned.scored_rows >= FEW_ROWS
}

/// Compares both sides of a table in groups, and restricts what is sent to those that differ. Both servers work at the same
/// time, which they may where nobody's code runs: without transformations, and without a condition.
pub fn restrict(remote: &Remote, planned: &mut Planned) -> Result<()> {
    let shipment = &planned.shipment;
    if !is_worth_it(planned) {
        return Ok(());
    }
    if Database::There(remote).value(&shipment.has_rows())? != "true" {
        planned.is_loaded = load::is_possible(remote, shipment, planned.scored_rows, &planned.stage)?;
        return Ok(());
    }
    let of = buckets(planned.scored_rows);
    remote.set_local(&SETTINGS);
    let there = shipment.buckets(Side::Remote, of);
    let asked = remote.ask(&[(&there, 1)])?;
    let here = session::pinned_with(&SETTINGS, || {
        spi::read_value::<String>(&shipment.buckets(Side::Local, of), &[])
    })?;
    let there = asked.answers()?.pop().unwrap_or_default().into_iter().next().and_then(first);
    let (here, there) = (read(here), read(there));
    let (differing, rows) = here.differing(&there);
    // To tell most of the groups is not worth it.
    if rows * 2 > planned.scored_rows {
        return Ok(());
    }
    let others = here.without(&differing);
    planned.restriction = Restriction {
        here: Some(shipment.in_buckets(Side::Local, of, &differing)),
        there: Some(shipment.in_buckets(Side::Remote, of, &differing)),
        others,
    };
    Ok(())
}

fn buckets(rows: i64) -> i64 {
    let mut power = 16;
    while power < rows / ROWS_PER_BUCKET && power < MOST_BUCKETS {
        power *= 2;
    }
    power
}

fn first(row: Row) -> Option<String> {
    row.into_iter().next().flatten()
}

/// From `number:rows:sum` of each group.
fn read(text: Option<String>) -> Buckets {
    let mut buckets = Buckets::default();
    for group in text.iter().flat_map(|text| text.split(',')) {
        let mut parts = group.split(':');
        let mut next = || parts.next().unwrap_or_default();
        if let (Ok(bucket), Ok(rows), Ok(sum)) = (next().parse(), next().parse(), next().parse()) {
            buckets.add(bucket, Digest { rows, sum });
        }
    }
    buckets
}
