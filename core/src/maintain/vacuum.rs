//! What the free-space map and a sample of its pages say about a table.

use std::ops::Range;

const PAGE_HEADER: f64 = 24.0;
const LINE_POINTER: f64 = 4.0;
/// No row is smaller, with its line pointer.
const SMALLEST_ROW: f64 = 28.0;
/// The free-space map knows the space of a page in this many steps.
const STEPS: usize = 256;

/// Blocks to look at, in runs of `run` blocks spread evenly over a table of `blocks`; all of them if they are not more
/// than `at_most`.
pub fn runs(blocks: u32, at_most: u32, run: u32) -> Vec<Range<u32>> {
    if blocks <= at_most {
        return std::iter::once(0..blocks).filter(|all| !all.is_empty()).collect();
    }
    let count = u64::from((at_most / run).max(1));
    let start = |number: u64| (u64::from(blocks - run) * number / (count - 1).max(1)) as u32;
    (0..count).map(|number| start(number)..start(number) + run).collect()
}

/// At most `at_most` of the items, spread evenly.
pub fn spread<T: Copy>(items: &[T], at_most: usize) -> Vec<T> {
    let taken = items.len().min(at_most);
    (0..taken).filter_map(|number| items.get(number * items.len() / taken).copied()).collect()
}

/// How many pages of a table have how much free space.
#[derive(Debug, Clone)]
pub struct FreeSpace {
    page_bytes: u32,
    blocks: u32,
    pages: [u32; STEPS],
}

impl FreeSpace {
    /// Of a table of `blocks` pages, none of which was looked at yet.
    pub fn new(page_bytes: u32, blocks: u32) -> Self {
        Self { page_bytes, blocks, pages: [0; STEPS] }
    }

    /// Counts one page, with the free space that the map has recorded for it.
    pub fn add(&mut self, free_bytes: usize) {
        let step = (free_bytes / self.step()).min(STEPS - 1);
        if let Some(pages) = self.pages.get_mut(step) {
            *pages += 1;
        }
    }

    /// The size of the table.
    pub fn bytes(&self) -> u64 {
        u64::from(self.blocks) * u64::from(self.page_bytes)
    }

    /// The space that no live row needs: free space in which another row would fit beyond what `fillfactor` keeps free,
    /// and the space of `dead` rows. `row` is how many bytes one takes (see `row_bytes`), 0 if there are none.
    pub fn reclaimable_bytes(&self, row: f64, dead: f64, fillfactor: u32) -> u64 {
        let reserve = f64::from(self.page_bytes) * f64::from(100 - fillfactor.min(100)) / 100.0;
        let usable = |free: f64| {
            let spare = (free - reserve).max(0.0);
            // The map has left out the line pointer of the first row to come.
            let fitting = if row > 0.0 { ((spare + LINE_POINTER) / row).floor() * row } else { spare };
            fitting.min(spare)
        };
        let bytes = self.of_each(usable) * self.scale() + dead * row;
        bytes.min(self.bytes() as f64) as u64
    }

    /// What a row really takes, with its header, its alignment, its dropped columns and its line pointer, if `rows`
    /// share the space that is not free.
    pub fn row_bytes(&self, rows: f64) -> f64 {
        if rows <= 0.0 {
            return 0.0;
        }
        let used = self.of_each(|free| f64::from(self.page_bytes) - PAGE_HEADER - free) * self.scale();
        (used / rows).max(SMALLEST_ROW)
    }

    fn step(&self) -> usize {
        self.page_bytes as usize / STEPS
    }

    /// The sum of a function of the free space of each page that was looked at.
    fn of_each(&self, function: impl Fn(f64) -> f64) -> f64 {
        let steps = self.pages.iter().enumerate();
        steps.map(|(step, pages)| f64::from(*pages) * function((step * self.step()) as f64)).sum()
    }

    /// From the pages that were looked at to all of them.
    fn scale(&self) -> f64 {
        let looked_at: u32 = self.pages.iter().sum();
        if looked_at == 0 { 0.0 } else { f64::from(self.blocks) / f64::from(looked_at) }
    }
}

/// Below this share of what it should do, a VACUUM is not worth its while; from it on, what it has to leave is worth a
/// word.
const RELEVANT: f64 = 0.1;

/// What VACUUM would find on some of the pages that are not marked as visible to all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Dead rows that it could remove now.
    pub removable: u64,
    /// Dead rows that somebody may still want to see.
    pub held: u64,
    pub pages: u64,
    /// Pages that it could mark as visible to all.
    pub clearable_pages: u64,
    /// Rows with their contents, dead or alive, and what they take with their line pointers.
    pub rows: u64,
    pub row_bytes: u64,
    /// How many pages of the table stand for one of the sample.
    pub scale: f64,
}

impl Sample {
    /// How many dead rows of the whole table VACUUM could remove now.
    pub fn removable_rows(&self) -> u64 {
        (self.removable as f64 * self.scale).round() as u64
    }

    /// What a row takes; unknown if there was none.
    pub fn bytes_per_row(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.row_bytes as f64 / self.rows as f64)
    }

    /// Whether VACUUM would do something about the dead rows. Where the sample holds none of them the counter is out of
    /// date, which VACUUM puts right.
    pub fn removing_helps(&self) -> bool {
        self.share_held() <= 1.0 - RELEVANT
    }

    /// Whether somebody keeps VACUUM from removing a relevant part.
    pub fn are_held(&self) -> bool {
        self.share_held() >= RELEVANT
    }

    /// The share of the dead rows that cannot be removed.
    pub fn share_held(&self) -> f64 {
        let dead = self.removable + self.held;
        if dead == 0 { 0.0 } else { self.held as f64 / dead as f64 }
    }

    /// Whether VACUUM could mark some of the pages, which is what it does about inserted rows. Where every page is
    /// marked already the counter is out of date.
    pub fn marking_helps(&self) -> bool {
        self.pages == 0 || self.clearable_pages as f64 >= RELEVANT * self.pages as f64
    }

    /// A sample of a table and one of its TOAST table.
    pub fn and(self, other: Self) -> Self {
        let sum = |of: fn(&Self) -> u64| {
            [self, other].iter().map(|sample| (of(sample) as f64 * sample.scale).round() as u64).sum()
        };
        Self {
            removable: sum(|sample| sample.removable),
            held: sum(|sample| sample.held),
            pages: sum(|sample| sample.pages),
            clearable_pages: sum(|sample| sample.clearable_pages),
            rows: sum(|sample| sample.rows),
            row_bytes: sum(|sample| sample.row_bytes),
            scale: 1.0,
        }
    }
}

/// The age of a table's oldest transaction id or multixact, and how far VACUUM could bring it down now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    pub age: i64,
    /// From this age on something is to be done.
    pub limit: i64,
    /// The age of what somebody may still need: no VACUUM gets below it.
    pub horizon_age: i64,
}

impl Freeze {
    pub fn vacuum_helps(&self) -> bool {
        !self.is_held() || (self.age - self.horizon_age) as f64 >= RELEVANT * self.age as f64
    }

    /// Whether the table stays over the limit whatever VACUUM does.
    pub fn is_held(&self) -> bool {
        self.horizon_age > self.limit
    }
}

/// How far back `xid` is, of a counter that goes on with `next` and starts again at 2³².
pub fn age(next: u32, xid: u32) -> i64 {
    i64::from(next.wrapping_sub(xid) as i32)
}

/// Bytes as a person reads them.
pub fn pretty(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut rest = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while rest >= 10_240.0 {
        let Some(next) = units.next() else { break };
        (rest, unit) = (rest / 1024.0, Some(next));
    }
    format!("{rest:.0} {}", unit.unwrap_or(&"kB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `blocks` pages with `free` bytes each, as the map rounds them.
    fn uniform(blocks: u32, free: usize) -> FreeSpace {
        let mut space = FreeSpace::new(8192, blocks);
        (0..blocks).for_each(|_| space.add(free));
        space
    }

    #[test]
    fn blocks_are_looked_at_in_runs_from_the_first_to_the_last() {
        assert!(runs(0, 100, 10).is_empty());
        let whole = runs(100, 100, 10);
        assert_eq!((whole.len(), whole[0].clone()), (1, 0..100));
        let some = runs(1_000_000, 1_000, 100);
        assert_eq!((some.len(), some[0].clone(), some[9].clone()), (10, 0..100, 999_900..1_000_000));
        assert!(some.windows(2).all(|pair| pair[0].end <= pair[1].start), "{some:?}");
        let hardly = runs(1_001, 1_000, 100);
        assert!(hardly.iter().all(|run| run.end <= 1_001) && hardly.len() == 10, "{hardly:?}");
        assert_eq!(runs(u32::MAX, 131_072, 1_024).len(), 128);
    }

    #[test]
    fn items_are_spread() {
        assert_eq!(spread(&[1, 2, 3], 5), [1, 2, 3]);
        assert_eq!(spread(&(0..100).collect::<Vec<_>>(), 4), [0, 25, 50, 75]);
        assert!(spread::<u8>(&[], 4).is_empty());
    }

    /// Reclaimable bytes when `rows` share the space, of which `dead` are.
    fn reclaimable(space: &FreeSpace, rows: f64, dead: f64, fillfactor: u32) -> u64 {
        space.reclaimable_bytes(space.row_bytes(rows), dead, fillfactor)
    }

    #[test]
    fn free_space_into_which_no_row_fits_is_not_reclaimable() {
        // Two rows of 2,750 bytes to a page.
        let wide = uniform(1_000, 8_168 - 2 * 2_756);
        assert_eq!(reclaimable(&wide, 2_000.0, 0.0, 100), 0);
        // One row of 4,200 bytes.
        assert_eq!(reclaimable(&uniform(1_000, 3_960), 1_000.0, 0.0, 100), 0);
        // 226 rows of 32 bytes; the map leaves out the next line pointer.
        assert_eq!(reclaimable(&uniform(1_000, 28), 226_000.0, 0.0, 100), 0);
    }

    #[test]
    fn what_the_fillfactor_keeps_free_is_not_reclaimable() {
        let half = uniform(1_000, 4_128);
        assert_eq!(reclaimable(&half, 100_000.0, 0.0, 50), 0);
        let all = reclaimable(&half, 100_000.0, 0.0, 100);
        assert!((4_000_000..=4_128_000).contains(&all), "{all}");
    }

    #[test]
    fn dead_rows_count_with_their_real_width() {
        // Nothing was vacuumed, so the map knows of nothing: half of the rows are dead.
        let space = uniform(1_000, 0);
        assert_eq!(reclaimable(&space, 200_000.0, 100_000.0, 100), 4_084_000);
        // No more than there is.
        assert_eq!(reclaimable(&space, 10.0, 1e12, 100), 8_192_000);
    }

    #[test]
    fn an_empty_table_is_all_free() {
        assert_eq!(reclaimable(&uniform(10, 8_160), 0.0, 0.0, 100), 81_600);
        assert_eq!(reclaimable(&FreeSpace::new(8192, 0), 0.0, 0.0, 100), 0);
    }

    #[test]
    fn a_part_stands_for_the_whole() {
        let mut space = FreeSpace::new(8192, 1_000);
        (0..100).for_each(|_| space.add(4_096));
        assert_eq!((space.bytes(), space.reclaimable_bytes(0.0, 0.0, 100)), (8_192_000, 4_096_000));
    }

    #[test]
    fn a_vacuum_helps_if_a_tenth_of_the_dead_rows_can_go() {
        let dead = |removable, held| Sample { removable, held, scale: 2.5, ..Sample::default() };
        assert!(dead(0, 0).removing_helps() && !dead(0, 0).are_held());
        assert!(dead(10, 90).removing_helps() && dead(10, 90).are_held());
        assert!(!dead(9, 91).removing_helps());
        assert!(!dead(95, 5).are_held());
        assert_eq!(dead(10, 0).removable_rows(), 25);
        let both = dead(10, 2).and(Sample { removable: 1, scale: 1.0, ..Sample::default() });
        assert_eq!((both.removable, both.held, both.removable_rows()), (26, 5, 26));
    }

    #[test]
    fn a_vacuum_helps_if_a_tenth_of_the_pages_can_be_marked() {
        let pages = |pages, clearable_pages| Sample { pages, clearable_pages, ..Sample::default() };
        assert!(pages(0, 0).marking_helps() && pages(10, 1).marking_helps());
        assert!(!pages(11, 1).marking_helps());
        let rows = Sample { rows: 2, row_bytes: 80, ..Sample::default() };
        assert_eq!((rows.bytes_per_row(), pages(1, 1).bytes_per_row()), (Some(40.0), None));
    }

    #[test]
    fn a_freeze_helps_if_it_gets_below_the_limit_or_far() {
        let freeze = |age, horizon_age| Freeze { age, limit: 150, horizon_age };
        assert!(freeze(160, 0).vacuum_helps() && !freeze(160, 0).is_held());
        assert!(freeze(160, 149).vacuum_helps());
        assert!(!freeze(160, 155).vacuum_helps() && freeze(160, 155).is_held());
        assert!(freeze(300, 160).vacuum_helps() && freeze(300, 160).is_held());
    }

    #[test]
    fn ages_go_over_the_end_of_the_counter() {
        assert_eq!(age(100, 40), 60);
        assert_eq!(age(5, u32::MAX), 6);
        assert_eq!(age(40, 100), -60);
    }

    #[test]
    fn bytes_are_readable() {
        assert_eq!(pretty(0), "0 kB");
        assert_eq!(pretty(8_192 * 100), "800 kB");
        assert_eq!(pretty(130 << 20), "130 MB");
        assert_eq!(pretty(u64::MAX), "16384 PB");
    }
}
