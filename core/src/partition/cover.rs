//! What partitions cover, and what they do not.

use serde::{Deserialize, Serialize};

use super::Grid;
use crate::zone::Zone;

/// From `lower` up to, and without, `upper`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    pub lower: i64,
    pub upper: i64,
}

impl Range {
    pub fn holds(self, place: i64) -> bool {
        (self.lower..self.upper).contains(&place)
    }

    pub fn meets(self, other: Self) -> bool {
        self.lower < other.upper && other.lower < self.upper
    }
}

/// A range that cannot be made, because a partition holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InTheWay {
    pub range: Range,
    /// That of the partition.
    pub by: Range,
}

/// Up to where a place is covered without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runway {
    /// The place itself is in no partition.
    None,
    Until(i64),
    /// By a partition without an upper bound.
    Endless,
}

/// So many ranges are taken for missed; a longer gap was left on purpose.
const MOST_MISSED: usize = 100;

/// The ranges around `now` that no partition covers: that of `now` and `premake` after it, in order; then, backwards,
/// those that were missed since the last partition before, if they are not more than a hundred. `partitions` are in
/// order.
///
/// With it, the first range of which partitions hold a part, and not all: it cannot be made.
pub fn missing<Z: Zone>(
    grid: &Grid<Z>,
    partitions: &[Range],
    now: i64,
    premake: usize,
) -> (Vec<Range>, Option<InTheWay>) {
    let Some(current) = grid.range_at(now) else { return (Vec::new(), None) };
    let ahead = std::iter::successors(Some(current), |range| grid.after(*range)).take(premake + 1);
    let last = partitions.iter().rev().map(|it| it.upper).find(|upper| *upper <= current.lower);
    let missed: Vec<Range> = std::iter::successors(before(grid, current), |range| before(grid, *range))
        .take_while(|range| last.is_some_and(|last| range.upper > last))
        .take(MOST_MISSED + 1)
        .collect();
    let is_outage = missed.len() <= MOST_MISSED;
    let missed = missed.into_iter().filter(|_| is_outage);
    let (mut found, mut in_the_way) = (Vec::new(), None);
    for range in ahead.chain(missed) {
        match covered(partitions, range, now) {
            Covered::No => found.push(range),
            Covered::Whole => {}
            Covered::Part(by) => {
                in_the_way.get_or_insert(InTheWay { range, by });
            }
        }
    }
    (found, in_the_way)
}

fn before<Z: Zone>(grid: &Grid<Z>, range: Range) -> Option<Range> {
    grid.range_at(range.lower.checked_sub(1)?)
}

enum Covered {
    No,
    Whole,
    Part(Range),
}

/// Partitions never overlap each other, and are in order. Of a range that has begun, what is before `now` may be missing:
/// another width was in use then.
fn covered(partitions: &[Range], range: Range, now: i64) -> Covered {
    let first = partitions.partition_point(|it| it.upper <= range.lower);
    let inside = partitions[first..].iter().take_while(|it| it.lower < range.upper);
    let mut reached = if range.holds(now) { now } else { range.lower };
    let mut met = None;
    for partition in inside {
        met = met.or(Some(*partition));
        if partition.lower > reached {
            return Covered::Part(*partition);
        }
        reached = reached.max(partition.upper);
    }
    match met {
        None => Covered::No,
        Some(_) if reached >= range.upper => Covered::Whole,
        Some(partition) => Covered::Part(partition),
    }
}

/// Up to where `now` is covered without a gap.
pub fn runway(partitions: &[Range], now: i64) -> Runway {
    let first = partitions.partition_point(|it| it.upper <= now);
    let mut reached = None;
    for partition in &partitions[first..] {
        if partition.lower > reached.unwrap_or(now) {
            break;
        }
        reached = Some(partition.upper);
    }
    match reached {
        None => Runway::None,
        Some(i64::MAX) => Runway::Endless,
        Some(until) => Runway::Until(until),
    }
}

/// What lies between partitions and belongs to none.
pub fn gaps(partitions: &[Range]) -> Vec<Range> {
    let pairs = partitions.windows(2).map(|pair| Range { lower: pair[0].upper, upper: pair[1].lower });
    pairs.filter(|gap| gap.lower < gap.upper).collect()
}

/// Whether a partition begins and ends where ranges of the grid do.
pub fn fits<Z: Zone>(grid: &Grid<Z>, partition: Range) -> bool {
    let begins = |place| {
        matches!(place, i64::MIN | i64::MAX) || grid.range_at(place).is_some_and(|it| it.lower == place)
    };
    begins(partition.lower) && begins(partition.upper)
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::*;
    use chrono_tz::Tz;

    fn grid(width: i64) -> Grid<Tz> {
        Grid::new(Span::Numbers(width), Tz::UTC, None)
    }

    fn partitions(ranges: &[(i64, i64)]) -> Vec<Range> {
        ranges.iter().map(|(lower, upper)| Range { lower: *lower, upper: *upper }).collect()
    }

    fn starts(ranges: &[(i64, i64)], now: i64, premake: usize) -> Vec<i64> {
        let found = missing(&grid(10), &partitions(ranges), now, premake);
        found.0.into_iter().map(|range| range.lower).collect()
    }

    #[test]
    fn what_is_ahead_comes_first_and_then_what_was_missed() {
        assert_eq!(starts(&[], 25, 2), [20, 30, 40]);
        assert_eq!(starts(&[(0, 10)], 35, 1), [30, 40, 20, 10]);
        assert_eq!(starts(&[(20, 30), (40, 50)], 25, 3), [30, 50]);
        assert_eq!(starts(&[(i64::MIN, 30)], 25, 1), [30]);
        // A gap before the partition that ends before now is not ours to fill.
        assert_eq!(starts(&[(0, 10), (20, 30)], 35, 0), [30]);
    }

    #[test]
    fn a_partition_of_another_width_covers_or_is_in_the_way() {
        assert_eq!(starts(&[(0, 40)], 25, 2), [40]);
        assert_eq!(starts(&[(20, 25), (25, 30)], 25, 1), [30]);
        let (found, in_the_way) = missing(&grid(10), &partitions(&[(0, 35)]), 25, 2);
        assert_eq!(found, [Range { lower: 40, upper: 50 }]);
        let in_the_way = in_the_way.unwrap();
        assert_eq!(in_the_way.range, Range { lower: 30, upper: 40 });
        assert_eq!(in_the_way.by, Range { lower: 0, upper: 35 });
        assert!(missing(&grid(10), &partitions(&[(20, 24), (26, 30)]), 25, 0).1.is_some());
        // Of the range that has begun, only the rest counts.
        assert!(missing(&grid(10), &partitions(&[(22, 24), (25, 30)]), 25, 0).1.is_none());
        assert!(missing(&grid(10), &partitions(&[(25, 29)]), 25, 0).1.is_some());
    }

    #[test]
    fn one_far_partition_is_no_reason_to_make_those_between() {
        assert_eq!(starts(&[(20, 30), (100_000, 100_010)], 25, 2), [30, 40]);
        assert_eq!(starts(&[(-1_000_000, -999_990)], 25, 1), [20, 30]);
    }

    #[test]
    fn the_runway_ends_with_the_first_gap() {
        let ranges = partitions(&[(0, 10), (10, 20), (30, 40)]);
        assert_eq!(runway(&ranges, 5), Runway::Until(20));
        assert_eq!(runway(&ranges, 25), Runway::None);
        assert_eq!(runway(&partitions(&[(0, i64::MAX)]), 5), Runway::Endless);
        assert_eq!(gaps(&ranges), [Range { lower: 20, upper: 30 }]);
        assert!(fits(&grid(10), Range { lower: i64::MIN, upper: 10 }));
        assert!(!fits(&grid(10), Range { lower: 10, upper: 15 }));
    }
}
