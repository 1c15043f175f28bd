//! What a partition is called.

use chrono::{DateTime, Datelike as _, Timelike as _};
use sha2::{Digest as _, Sha256};

use super::{Grid, Range, Span};
use crate::hex;
use crate::zone::{Zone, local};

/// A shortened name keeps itself apart from others that begin alike by so many characters of its digest.
const DIGEST_CHARS: usize = 8;

/// The name of the partition for `range`: the parent's, and where the range begins, as fine as its span needs.
/// Where that is longer than `limit` bytes, the parent's name is cut and a part of its digest takes the place.
pub fn name<Z: Zone>(parent: &str, grid: &Grid<Z>, range: Range, limit: usize) -> String {
    let suffix = suffix(grid, range);
    if parent.len() + suffix.len() <= limit {
        return format!("{parent}{suffix}");
    }
    let digest = hex(&Sha256::digest(parent.as_bytes()));
    let mut room = limit.saturating_sub(suffix.len() + 1 + DIGEST_CHARS).min(parent.len());
    while !parent.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}_{}{suffix}", &parent[..room], &digest[..DIGEST_CHARS])
}

fn suffix<Z: Zone>(grid: &Grid<Z>, range: Range) -> String {
    if let Span::Numbers(_) = grid.span() {
        let sign = if range.lower < 0 { "m" } else { "" };
        return format!("_{sign}{}", range.lower.unsigned_abs());
    }
    // Where midnight is skipped, a day begins later and is called by its date all the same.
    let Some(clock) = DateTime::from_timestamp(local(grid.zone(), range.lower.div_euclid(1_000_000)), 0)
    else {
        return format!("_{}", range.lower);
    };
    let year = match clock.year() {
        year if year > 0 => format!("{year:04}"),
        year => format!("{:04}bc", 1 - year),
    };
    let (month, day) = (clock.month(), clock.day());
    let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
    match grid.span() {
        Span::Months(months) if months % 12 == 0 => format!("_{year}"),
        Span::Months(3) => format!("_{year}_q{}", month.div_ceil(3)),
        Span::Months(_) => format!("_{year}_{month:02}"),
        Span::Days(_) | Span::Numbers(_) => format!("_{year}_{month:02}_{day:02}"),
        Span::Seconds(seconds) => {
            let mut suffix = format!("_{year}_{month:02}_{day:02}_{hour:02}");
            if seconds % 3600 != 0 {
                suffix += &format!("_{minute:02}");
            }
            if seconds % 60 != 0 {
                suffix += &format!("_{second:02}");
            }
            suffix
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn named(parent: &str, span: Span, zone: Tz, place: &str) -> String {
        let grid = Grid::new(span, zone, None);
        let place = DateTime::parse_from_rfc3339(place).unwrap().timestamp_micros();
        name(parent, &grid, grid.range_at(place).unwrap(), 63)
    }

    #[test]
    fn a_name_is_as_fine_as_its_span_and_in_its_zone() {
        let at = "2026-11-19T23:30:15Z";
        for (span, expected) in [
            (Span::Months(12), "e_2026"),
            (Span::Months(3), "e_2026_q4"),
            (Span::Months(1), "e_2026_11"),
            (Span::Days(7), "e_2026_11_16"),
            (Span::Days(1), "e_2026_11_20"),
            (Span::Seconds(3600), "e_2026_11_20_00"),
            (Span::Seconds(900), "e_2026_11_20_00_30"),
            (Span::Seconds(15), "e_2026_11_20_00_30_15"),
        ] {
            assert_eq!(named("e", span, Tz::Europe__Paris, at), expected);
        }
        assert_eq!(named("e", Span::Days(1), Tz::UTC, at), "e_2026_11_19");
        let ids = Grid::new(Span::Numbers(1000), Tz::UTC, None);
        assert_eq!(name("e", &ids, ids.range_at(5000).unwrap(), 63), "e_5000");
        assert_eq!(name("e", &ids, ids.range_at(-1).unwrap(), 63), "e_m1000");
    }

    #[test]
    fn no_two_ranges_of_a_year_share_a_name() {
        for zone in [Tz::Europe__Paris, Tz::Australia__Lord_Howe, Tz::America__St_Johns, Tz::Pacific__Apia] {
            for span in [900, 3600, 7200, 6 * 3600, 7 * 3600].map(Span::Seconds) {
                let grid = Grid::new(span, zone, None);
                let mut range = grid.range_at(1_293_840_000_000_000).unwrap();
                let mut names = std::collections::HashSet::new();
                while range.lower < 1_325_500_000_000_000 {
                    let name = name("e", &grid, range, 63);
                    assert!(names.insert(name.clone()), "{zone} {span:?} {name}");
                    range = grid.after(range).unwrap();
                }
            }
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_and_stay_apart() {
        let at = "2026-11-20T00:00:00Z";
        let (one, other) = ("ä".repeat(31) + "1", "ä".repeat(31) + "2");
        let (first, second) =
            (named(&one, Span::Days(1), Tz::UTC, at), named(&other, Span::Days(1), Tz::UTC, at));
        assert!(first.len() <= 63 && first.ends_with("_2026_11_20") && first.starts_with("äää"), "{first}");
        assert_ne!(first, second);
    }
}
