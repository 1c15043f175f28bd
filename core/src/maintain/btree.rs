//! What the pages of a B-tree hold, and how many a fresh build would take. The layout is that of PostgreSQL
//! (src/include/storage/bufpage.h, src/include/access/nbtree.h), version 4, which every B-tree has since PostgreSQL 13
//! but one that pg_upgrade brought from before; those merge no duplicates.

const PAGE_HEADER: usize = 24;
const ITEM_POINTER: usize = 4;
const TUPLE_HEADER: usize = 8;
/// What nbtree keeps at the end of every page.
const SPECIAL: usize = 16;
const ROW_IDENTIFIER: usize = 6;
/// With so many entries on a page, what is left at its end counts for nothing.
const FEW: f64 = 20.0;

const MAGIC: u32 = 0x05_3162;
const VERSION: u32 = 4;

const IS_LEAF: u16 = 1;
const IS_DELETED: u16 = 1 << 2;
const IS_META: u16 = 1 << 3;
const IS_HALF_DEAD: u16 = 1 << 4;

const SIZE_MASK: u16 = 0x1FFF;
const ALTERNATIVE: u16 = 0x2000;
const IS_POSTING: u16 = 0x2000;
const COUNT_MASK: u16 = 0x0FFF;

/// How REINDEX would build the index.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    pub page_bytes: usize,
    /// In per cent.
    pub fillfactor: usize,
    /// Whether entries of the same key are merged to posting lists.
    pub deduplicates: bool,
}

/// Pages of an index, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub leaf: u64,
    pub internal: u64,
    /// Deleted, about to be, or never used.
    pub unused: u64,
    /// What the entries of the leaf pages would take, merged as a fresh build merges them.
    pub entry_bytes: u64,
    /// How many entries that are.
    pub entries: u64,
}

impl Counts {
    pub fn pages(&self) -> u64 {
        self.leaf + self.internal + self.unused
    }

    /// Adds one page; one that is none of a B-tree counts for nothing.
    pub fn add(&mut self, page: &[u8], build: &Build) {
        // A page that was never written is all zeros.
        if u16_at(page, 14) == Some(0) {
            self.unused += 1;
            return;
        }
        let Some(flags) = special(page).and_then(|special| u16_at(page, special + 12)) else {
            return;
        };
        if flags & IS_META != 0 {
            return;
        }
        if flags & (IS_DELETED | IS_HALF_DEAD) != 0 {
            self.unused += 1;
        } else if flags & IS_LEAF == 0 {
            self.internal += 1;
        } else if let Some((entries, bytes)) = fresh_entries(page, build) {
            self.leaf += 1;
            self.entries += entries;
            self.entry_bytes += bytes;
        }
    }

    /// How many pages a fresh build of the whole index takes, if it has `pages` now, of which these are a sample.
    /// None without a sample.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn fresh_pages(&self, pages: u64, build: &Build) -> Option<u64> {
        let counted = self.pages();
        if counted == 0 {
            return None;
        }
        let reserved = build.page_bytes * (100 - build.fillfactor.min(100)) / 100;
        let capacity = build.page_bytes.saturating_sub(PAGE_HEADER + SPECIAL + reserved).max(1);
        let share = pages.saturating_sub(1) as f64 / counted as f64;
        let mut leaf = self.entry_bytes as f64 / capacity as f64;
        // Few entries fill a page: it holds whole ones, one at least.
        let per_page = capacity as f64 * self.entries as f64 / (self.entry_bytes as f64).max(1.0);
        if per_page < FEW {
            leaf = self.entries as f64 / per_page.floor().max(1.0);
        }
        let leaf = (leaf * share).ceil().max(1.0);
        let internal = leaf * self.internal as f64 / (self.leaf + self.unused).max(1) as f64;
        Some((1.0 + leaf + internal).ceil() as u64)
    }
}

/// Whether entries of this index may be merged, by its first page. None if that is not the first page of a B-tree.
pub fn may_deduplicate(meta: &[u8]) -> Option<bool> {
    if u32_at(meta, PAGE_HEADER)? != MAGIC {
        return None;
    }
    Some(u32_at(meta, PAGE_HEADER + 4)? == VERSION && *meta.get(PAGE_HEADER + 40)? != 0)
}

/// One entry of a leaf page: a key with the rows that have it.
struct Entry<'page> {
    key: &'page [u8],
    /// Nulls and variable widths, which are part of the key.
    info: u16,
    rows: u64,
}

/// How many entries a fresh build makes of those on a leaf page, and what they take.
fn fresh_entries(page: &[u8], build: &Build) -> Option<(u64, u64)> {
    let (lower, special) = (usize::from(u16_at(page, 12)?), special(page)?);
    let is_rightmost = u32_at(page, special + 4)? == 0;
    // Every page but the last of its level begins with the key that it ends before.
    let first = PAGE_HEADER + if is_rightmost { 0 } else { ITEM_POINTER };
    let (mut entries, mut total) = (0, 0);
    let mut close = |entry: Option<Entry>| {
        let (more, bytes) = entry.map_or((0, 0), |entry| entry.fresh(build));
        entries += more;
        total += bytes;
    };
    let mut run: Option<Entry> = None;
    for place in (first..lower).step_by(ITEM_POINTER) {
        let Some(entry) = entry(page, place) else { continue };
        match &mut run {
            Some(open) if build.deduplicates && open.info == entry.info && open.key == entry.key => {
                open.rows += entry.rows;
            }
            _ => close(run.replace(entry)),
        }
    }
    close(run);
    Some((entries, total))
}

/// The entry that the item pointer at `place` points to, unless it is known to be dead.
fn entry(page: &[u8], place: usize) -> Option<Entry<'_>> {
    let (offset, is_normal) = item(u32_at(page, place)?);
    if !is_normal {
        return None;
    }
    let (position, info) = (u16_at(page, offset + 4)?, u16_at(page, offset + 6)?);
    let flags = info & !(SIZE_MASK | ALTERNATIVE);
    let is_posting = info & ALTERNATIVE != 0 && position & IS_POSTING != 0;
    let (end, rows) = match is_posting {
        // Where a single entry has the row's block, a posting list has where its rows begin.
        true => {
            let begin = usize::from(u16_at(page, offset)?) << 16 | usize::from(u16_at(page, offset + 2)?);
            (begin, u64::from(position & COUNT_MASK))
        }
        false => (usize::from(info & SIZE_MASK), 1),
    };
    Some(Entry { key: page.get(offset + TUPLE_HEADER..offset + end)?, info: flags, rows })
}

impl Entry<'_> {
    /// How many entries a fresh build makes of it, and what they take, item pointers included.
    fn fresh(&self, build: &Build) -> (u64, u64) {
        let single = aligned(TUPLE_HEADER + self.key.len());
        if self.rows <= 1 || !build.deduplicates {
            return (self.rows, self.rows * (single + ITEM_POINTER) as u64);
        }
        // CREATE INDEX fills posting lists up to a tenth of a page.
        let longest = (build.page_bytes / 10 / 8 * 8).saturating_sub(ITEM_POINTER) / 8 * 8;
        let rows_per_list = (longest.saturating_sub(single) / ROW_IDENTIFIER).max(1) as u64;
        let list = |rows: u64| match rows {
            0 => 0,
            1 => (single + ITEM_POINTER) as u64,
            rows => (aligned(single + rows as usize * ROW_IDENTIFIER) + ITEM_POINTER) as u64,
        };
        let bytes = self.rows / rows_per_list * list(rows_per_list) + list(self.rows % rows_per_list);
        (self.rows.div_ceil(rows_per_list), bytes)
    }
}

fn aligned(bytes: usize) -> usize {
    bytes.div_ceil(8) * 8
}

/// Where a page's special space begins, if it is one of a B-tree.
fn special(page: &[u8]) -> Option<usize> {
    let special = usize::from(u16_at(page, 16)?);
    (special + SPECIAL == page.len()).then_some(special)
}

/// Where an item is, and whether it is in use and alive. The compiler lays the three fields of an item pointer out from
/// the low bits or from the high ones, as the machine is.
fn item(pointer: u32) -> (usize, bool) {
    let (offset, flags) = match cfg!(target_endian = "big") {
        true => (pointer >> 17, pointer >> 15 & 3),
        false => (pointer & 0x7FFF, pointer >> 15 & 3),
    };
    (offset as usize, flags == 1)
}

fn u16_at(page: &[u8], at: usize) -> Option<u16> {
    page.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(page: &[u8], at: usize) -> Option<u32> {
    page.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: Build = Build { page_bytes: 8192, fillfactor: 90, deduplicates: true };

    /// A page with these entries: key, rows, whether dead.
    fn page(flags: u16, entries: &[(u64, u16, bool)]) -> Vec<u8> {
        let mut page = vec![0_u8; 8192];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        let mut upper = 8192 - SPECIAL;
        for (number, (key, rows, is_dead)) in entries.iter().enumerate() {
            let size = if *rows == 1 { 16 } else { aligned(16 + 6 * usize::from(*rows)) };
            upper -= size;
            let (position, info) = match *rows {
                1 => (1, size as u16),
                rows => (IS_POSTING | rows, ALTERNATIVE | size as u16),
            };
            put(upper + 2, &16_u16.to_ne_bytes());
            put(upper + 4, &position.to_ne_bytes());
            put(upper + 6, &info.to_ne_bytes());
            put(upper + 8, &key.to_ne_bytes());
            let pointer = upper as u32 | if *is_dead { 3 << 15 } else { 1 << 15 } | (size as u32) << 17;
            put(PAGE_HEADER + ITEM_POINTER * number, &pointer.to_ne_bytes());
        }
        put(12, &((PAGE_HEADER + ITEM_POINTER * entries.len()) as u16).to_ne_bytes());
        put(14, &(upper as u16).to_ne_bytes());
        put(16, &((8192 - SPECIAL) as u16).to_ne_bytes());
        put(8192 - SPECIAL + 12, &flags.to_ne_bytes());
        page
    }

    fn counted(build: &Build, pages: &[Vec<u8>]) -> Counts {
        pages.iter().fold(Counts::default(), |mut counts, page| {
            counts.add(page, build);
            counts
        })
    }

    #[test]
    fn entries_count_as_a_fresh_build_merges_them() {
        let leaf = page(IS_LEAF, &[(1, 1, false), (2, 1, false), (2, 1, false), (2, 3, false), (3, 1, true)]);
        // One alone; five of the same key: 16 for the key, 30 for the rows, aligned.
        assert_eq!(counted(&BUILD, std::slice::from_ref(&leaf)).entry_bytes, 20 + 52);
        let apart = Build { deduplicates: false, ..BUILD };
        assert_eq!(counted(&apart, &[leaf]).entry_bytes, 6 * 20);
    }

    #[test]
    fn long_lists_are_split() {
        let entry = Entry { key: &[0; 8], info: 0, rows: 264 };
        assert_eq!(entry.fresh(&BUILD), (2, 2 * (aligned(16 + 6 * 132) + 4) as u64));
    }

    #[test]
    fn pages_are_told_apart() {
        let pages = [
            page(IS_LEAF, &[(1, 1, false)]),
            page(0, &[(1, 1, false)]),
            page(IS_LEAF | IS_DELETED, &[]),
            page(IS_LEAF | IS_HALF_DEAD, &[]),
            page(IS_META, &[]),
            vec![0; 8192],
            vec![1; 8192],
        ];
        let counts = counted(&BUILD, &pages);
        assert_eq!(counts, Counts { leaf: 1, internal: 1, unused: 3, entry_bytes: 20, entries: 1 });
        assert_eq!(Counts::default().fresh_pages(10, &BUILD), None);
    }

    #[test]
    fn a_sample_stands_for_the_whole() {
        // Ten leaves of a hundred, each half of what a fresh one takes.
        let counts = Counts { leaf: 10, internal: 0, unused: 0, entry_bytes: 10 * 7333 / 2, entries: 1833 };
        assert_eq!(counts.fresh_pages(101, &BUILD), Some(1 + 50));
        let empty = Counts { leaf: 0, internal: 0, unused: 10, entry_bytes: 0, entries: 0 };
        assert_eq!(empty.fresh_pages(101, &BUILD), Some(2));
    }

    #[test]
    fn few_entries_fill_whole_pages() {
        // A hundred leaves, each with one entry of 1268 bytes: at a fillfactor of 30 a fresh build does the same.
        let counts = Counts { leaf: 100, internal: 0, unused: 0, entry_bytes: 100 * 1268, entries: 100 };
        assert_eq!(counts.fresh_pages(101, &Build { fillfactor: 30, ..BUILD }), Some(1 + 100));
        assert_eq!(counts.fresh_pages(101, &Build { fillfactor: 90, ..BUILD }), Some(1 + 20));
    }

    #[test]
    fn what_is_no_page_is_no_reason_to_fail() {
        assert_eq!(may_deduplicate(&[0; 8192]), None);
        assert_eq!(may_deduplicate(&[]), None);
        let mut counts = Counts::default();
        for bytes in [vec![], vec![0xFF; 100], vec![0xFF; 8192], vec![0x10; 8192]] {
            counts.add(&bytes, &BUILD);
        }
        assert_eq!(counts.leaf, 0);
        let mut broken = page(IS_LEAF, &[(1, 1, false)]);
        broken[12..14].copy_from_slice(&u16::MAX.to_ne_bytes());
        broken[8100..8192 - SPECIAL].fill(0xFF);
        counts.add(&broken, &BUILD);
    }
}
