//! B-trees that a rebuild would make much smaller, by what their pages hold.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use opdb_core::maintain::btree::{Build, Counts, may_deduplicate};
use pgrx::pg_sys;
use pgrx::spi::SpiHeapTupleData;

use super::definition;
use super::statistics::Statistics;
use super::{Advice, Kind};
use crate::pg::error::Result;
use crate::pg::pages::{self, PAGE_BYTES, Pages};
use crate::pg::spi;
use crate::pg::types::Regclass;

/// Smaller indexes are not worth it: 1 MB.
const MIN_PAGES: i32 = 1024 * 1024 / PAGE_BYTES as i32;
/// Keys that come in no order leave a healthy B-tree a quarter to a third free.
const MIN_SHARE: f64 = 0.4;
/// Pages that tell whether more are worth looking at.
const FIRST_LOOK: u32 = 64;
/// The share from which on they are.
const SUSPICIOUS_SHARE: f64 = 0.25;
/// Pages that the answer is taken from. Of this many, the share is right to three per cent of the index, in 19 of 20.
const SECOND_LOOK: u32 = 1024;
/// When this much time is over, the smaller ones are not looked at any more.
const TIME: Duration = Duration::from_millis(500);

struct Target {
    index: pg_sys::Oid,
    build: Build,
}

struct Bloat {
    index: pg_sys::Oid,
    pages: u32,
    fresh_pages: u32,
    looked_at: u64,
    unused: u64,
}

/// Advice for indexes that do not go anyway.
pub fn advice(going: &HashSet<pg_sys::Oid>, statistics: &Statistics) -> Result<Vec<Advice>> {
    let sql = include_str!("../../../sql/maintain/index_pages.sql");
    let targets = spi::read(sql, &[MIN_PAGES.into()], target)?;
    let mut bloated = Vec::new();
    let mut passed_over = 0_usize;
    let began = Instant::now();
    for target in targets.into_iter().flatten().filter(|target| !going.contains(&target.index)) {
        if began.elapsed() > TIME {
            passed_over += 1;
            continue;
        }
        // One that another session holds: nothing is known.
        match pages::of(Regclass(target.index), |pages| Ok(look(pages, &target))) {
            Ok(found) => bloated.extend(found.flatten()),
            Err(failure) if failure.is_interrupt => return Err(failure),
            // A damaged page is not for this function to report on every call; the rest is.
            Err(_) => passed_over += 1,
        }
    }
    if passed_over > 0 {
        pgrx::notice!("{passed_over} indexes were not looked at for bloat");
    }
    let trees = definition::read(bloated.iter().map(|bloat| bloat.index).collect())?;
    let advice = bloated.iter().filter_map(|bloat| bloat.advice(trees.get(&bloat.index)?, statistics));
    Ok(advice.collect())
}

fn target(row: SpiHeapTupleData) -> pgrx::spi::Result<Option<Target>> {
    let Some(index) = row.get(1)? else { return Ok(None) };
    let is_unique = row.get::<bool>(3)?.unwrap_or(false);
    let fillfactor = usize::try_from(row.get::<i32>(4)?.unwrap_or(90)).unwrap_or(90);
    // CREATE INDEX merges no entries of a unique index.
    let deduplicates = row.get::<bool>(5)?.unwrap_or(true) && !is_unique;
    Ok(Some(Target { index, build: Build { page_bytes: PAGE_BYTES, fillfactor, deduplicates } }))
}

fn look(pages: &Pages, target: &Target) -> Option<Bloat> {
    let count = pages.count();
    if count < 2 {
        return None;
    }
    let mut page = [0; PAGE_BYTES];
    pages.read(0, &mut page);
    let mut build = target.build;
    build.deduplicates &= may_deduplicate(&page)?;
    let mut look = |size| {
        let counts = sample(pages, count, size, &build, &mut page);
        let fresh = u32::try_from(counts.fresh_pages(count.into(), &build)?).unwrap_or(u32::MAX);
        let share = f64::from(count.saturating_sub(fresh)) / f64::from(count);
        Some((
            share,
            Bloat {
                index: target.index,
                pages: count,
                fresh_pages: fresh,
                looked_at: counts.pages(),
                unused: counts.unused,
            },
        ))
    };
    let (share, _) = look(FIRST_LOOK)?;
    if share < SUSPICIOUS_SHARE {
        return None;
    }
    let (share, bloat) = look(SECOND_LOOK)?;
    (share > MIN_SHARE).then_some(bloat)
}

/// So many pages, or all but the first if there are not more: the same on every call, so that they are soon in memory.
fn sample(pages: &Pages, count: u32, size: u32, build: &Build, page: &mut [u8; PAGE_BYTES]) -> Counts {
    let mut counts = Counts::default();
    let mut add = |number| {
        pages.read(number, page);
        counts.add(page, build);
    };
    match count - 1 <= size {
        true => (1..count).for_each(&mut add),
        false => {
            let numbers: HashSet<u32> = (0..size).map(|place| 1 + scattered(place) % (count - 1)).collect();
            let mut numbers: Vec<u32> = numbers.into_iter().collect();
            numbers.sort_unstable();
            numbers.into_iter().for_each(&mut add);
        }
    }
    counts
}

/// A number that looks random but is the same every time (the finalizer of MurmurHash3).
fn scattered(place: u32) -> u32 {
    let mut hash = place.wrapping_add(0x9E37_79B9);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

impl Bloat {
    #[allow(clippy::cast_precision_loss)]
    fn advice(&self, tree: &definition::Tree, statistics: &Statistics) -> Option<Advice> {
        let top = tree.top()?;
        let bytes = i64::from(self.pages - self.fresh_pages) * PAGE_BYTES as i64;
        let share = bytes as f64 / (f64::from(self.pages) * PAGE_BYTES as f64);
        let lock = match top.is_exclusion {
            true => "; the index of an exclusion constraint is rebuilt under a lock that keeps others out",
            false => "",
        };
        Some(Advice {
            kind: Kind::Bloated,
            table: top.table,
            object: top.name.sql(),
            ddl: vec![top.rebuild_statement()],
            undo: None,
            reason: format!(
                "{:.0} % of its {} pages would be given back, by the entries on {} of them; {} of these hold nothing{lock}",
                share * 100.0,
                self.pages,
                self.looked_at,
                self.unused
            ),
            bytes: Some(bytes),
            write_cost: statistics.per_second(tree.writes()),
            gain: None,
            columns: Vec::new(),
            rank: bytes as f64,
        })
    }
}
