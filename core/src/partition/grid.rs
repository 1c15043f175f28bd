//! Where ranges begin.

use chrono::{DateTime, Datelike as _, NaiveDate};

use super::{Range, Span};
use crate::zone::{Zone, first_instant, local};

const DAY: i64 = 86_400;
const MICROS: i64 = 1_000_000;
/// 2000-01-01, from which PostgreSQL counts, too; and the Monday after it. In days since 1970.
const SATURDAY: i64 = 10_957;
const MONDAY: i64 = 10_959;

/// All ranges of one span, one after the other, without a gap.
///
/// A range of days begins with the first instant that its zone calls by that date; so days of 23 and 25 hours are
/// whole, a day that a zone skipped has no range, and an hour that comes twice is one range of two hours.
pub struct Grid<Z> {
    span: Span,
    zone: Z,
    /// What spans that no calendar knows are counted from: seconds on the zone's clock.
    origin: i64,
}

impl<Z: Zone> Grid<Z> {
    /// `start` is where the counting of spans begins that no calendar knows; it is given as a place on the line.
    pub fn new(span: Span, zone: Z, start: Option<i64>) -> Self {
        let days_before = match span {
            Span::Days(days) if days % 7 == 0 => MONDAY,
            _ => SATURDAY,
        };
        let origin = match start.filter(|_| !span.is_of_the_calendar()) {
            Some(start) => local(&zone, start.div_euclid(MICROS)),
            None => days_before * DAY,
        };
        Self { span, zone, origin }
    }

    pub fn span(&self) -> Span {
        self.span
    }

    pub fn zone(&self) -> &Z {
        &self.zone
    }

    /// The range that a place is in. None at the ends of the line.
    pub fn range_at(&self, place: i64) -> Option<Range> {
        let mut number = self.guess(place)?;
        // A clock that is changed makes the guess wrong by a few ranges at most.
        while self.start(number)? > place {
            number -= 1;
        }
        loop {
            let (lower, upper) = (self.start(number)?, self.start(number.checked_add(1)?)?);
            if upper > place {
                return Some(Range { lower, upper });
            }
            number += 1;
        }
    }

    /// The range that begins at `lower` or, if none does, the one that `lower` is in.
    pub fn after(&self, range: Range) -> Option<Range> {
        self.range_at(range.upper)
    }

    /// Where range `number` begins.
    fn start(&self, number: i64) -> Option<i64> {
        let on_the_clock = match self.span {
            Span::Numbers(width) => return number.checked_mul(width),
            Span::Seconds(seconds) if !self.span.is_of_the_calendar() => {
                let origin = first_instant(&self.zone, self.origin);
                return number.checked_mul(seconds)?.checked_add(origin)?.checked_mul(MICROS);
            }
            Span::Seconds(seconds) => number.checked_mul(seconds)?,
            Span::Days(days) => {
                let first = self.origin.div_euclid(DAY);
                number.checked_mul(days)?.checked_add(first)?.checked_mul(DAY)?
            }
            Span::Months(months) => {
                first_of_month(number.checked_mul(months)?.checked_add(month_of(self.origin)?)?)?
            }
        };
        first_instant(&self.zone, on_the_clock).checked_mul(MICROS)
    }

    fn guess(&self, place: i64) -> Option<i64> {
        let on_the_clock = || local(&self.zone, place.div_euclid(MICROS));
        Some(match self.span {
            Span::Numbers(width) => place.div_euclid(width),
            Span::Seconds(seconds) if !self.span.is_of_the_calendar() => {
                (place.div_euclid(MICROS) - first_instant(&self.zone, self.origin)).div_euclid(seconds)
            }
            Span::Seconds(seconds) => on_the_clock().div_euclid(seconds),
            Span::Days(days) => {
                (on_the_clock().div_euclid(DAY) - self.origin.div_euclid(DAY)).div_euclid(days)
            }
            Span::Months(months) => (month_of(on_the_clock())? - month_of(self.origin)?).div_euclid(months),
        })
    }
}

/// The months since the year 0.
fn month_of(on_the_clock: i64) -> Option<i64> {
    let date = DateTime::from_timestamp(on_the_clock, 0)?.date_naive();
    Some(i64::from(date.year()) * 12 + i64::from(date.month0()))
}

fn first_of_month(month: i64) -> Option<i64> {
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn instant(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn hours(grid: &Grid<Tz>, place: &str) -> f64 {
        let range = grid.range_at(instant(place)).unwrap();
        (range.upper - range.lower) as f64 / 3_600e6
    }

    #[test]
    fn days_are_as_long_as_the_zone_makes_them() {
        let paris = Grid::new(Span::Days(1), Tz::Europe__Paris, None);
        assert_eq!(hours(&paris, "2026-03-29T10:00:00Z"), 23.0);
        assert_eq!(hours(&paris, "2026-10-25T10:00:00Z"), 25.0);
        assert_eq!(hours(&paris, "2026-11-20T10:00:00Z"), 24.0);
        assert_eq!(
            paris.range_at(instant("2026-11-20T23:00:00Z")).unwrap().lower,
            instant("2026-11-20T23:00:00Z")
        );
        // Midnight does not exist there on that day.
        let beirut = Grid::new(Span::Days(1), Tz::Asia__Beirut, None);
        assert_eq!(hours(&beirut, "2024-03-31T10:00:00Z"), 23.0);
        // Samoa had no 30 December 2011.
        let apia = Grid::new(Span::Days(1), Tz::Pacific__Apia, None);
        let before = apia.range_at(instant("2011-12-30T09:00:00Z")).unwrap();
        assert_eq!(apia.after(before).unwrap().upper - before.upper, 24 * 3_600_000_000);
    }

    #[test]
    fn weeks_begin_on_monday_quarters_and_years_with_their_first_month() {
        let lower = |span, place: &str| {
            let range = Grid::new(span, Tz::UTC, None).range_at(instant(place)).unwrap();
            DateTime::from_timestamp_micros(range.lower).unwrap().to_rfc3339()[..10].to_owned()
        };
        assert_eq!(lower(Span::Days(7), "2026-11-20T00:00:00Z"), "2026-11-16");
        assert_eq!(lower(Span::Months(3), "2026-11-20T00:00:00Z"), "2026-10-01");
        assert_eq!(lower(Span::Months(12), "2026-11-20T00:00:00Z"), "2026-01-01");
        assert_eq!(lower(Span::Months(1), "1969-12-31T23:59:59Z"), "1969-12-01");
    }

    #[test]
    fn what_no_calendar_knows_is_counted_from_the_start() {
        let grid = |start: Option<&str>| Grid::new(Span::Days(10), Tz::Europe__Paris, start.map(instant));
        let begins = |grid: &Grid<Tz>| grid.range_at(instant("2026-11-20T12:00:00Z")).unwrap().lower;
        assert_eq!(begins(&grid(Some("2026-10-31T23:00:00Z"))), instant("2026-11-10T23:00:00Z"));
        assert_ne!(begins(&grid(None)), begins(&grid(Some("2026-10-31T23:00:00Z"))));
    }

    #[test]
    fn numbers_have_ranges_below_zero_and_none_beyond_the_end() {
        let grid = Grid::new(Span::Numbers(1000), Tz::UTC, None);
        assert_eq!(grid.range_at(-1), Some(Range { lower: -1000, upper: 0 }));
        assert_eq!(grid.range_at(1000), Some(Range { lower: 1000, upper: 2000 }));
        assert_eq!(grid.range_at(i64::MAX), None);
        assert_eq!(grid.range_at(i64::MIN), None);
    }

    /// Minute by minute: every instant is in exactly the range whose bounds it is between, ranges follow each other
    /// without a gap, and two instants of one local date are never in two daily ranges.
    #[test]
    fn ranges_cover_a_year_in_every_zone_without_a_gap() {
        let zones = [
            Tz::Europe__Paris,
            Tz::America__New_York,
            Tz::Australia__Lord_Howe,
            Tz::Asia__Beirut,
            Tz::America__St_Johns,
            Tz::America__Havana,
            Tz::Asia__Kathmandu,
            Tz::Pacific__Apia,
        ];
        let spans = [
            Span::Seconds(900),
            Span::Seconds(3600),
            Span::Seconds(6 * 3600),
            Span::Seconds(7 * 3600),
            Span::Days(1),
            Span::Days(7),
            Span::Months(1),
        ];
        let (from, to) = (instant("2011-01-01T00:00:00Z"), instant("2012-01-10T00:00:00Z"));
        for zone in zones {
            for span in spans {
                let grid = Grid::new(span, zone, None);
                let mut range = grid.range_at(from).unwrap();
                for place in (from..to).step_by(7 * 60_000_000) {
                    while place >= range.upper {
                        let next = grid.after(range).unwrap();
                        assert_eq!(next.lower, range.upper, "{zone} {span:?}");
                        assert!(next.upper > next.lower, "{zone} {span:?}");
                        range = next;
                    }
                    assert_eq!(grid.range_at(place), Some(range), "{zone} {span:?} {place}");
                }
            }
        }
    }

    #[test]
    fn a_daily_range_holds_its_date_and_a_repeated_hour_is_in_one_range() {
        let zone = Tz::Europe__Paris;
        let day = Grid::new(Span::Days(1), zone, None);
        let hour = Grid::new(Span::Seconds(3600), zone, None);
        let twice = instant("2026-10-25T00:30:00Z");
        assert_eq!(hour.range_at(twice), hour.range_at(twice + 3_600_000_000));
        let date = |place: i64| local(&zone, place / MICROS).div_euclid(DAY);
        for place in (instant("2026-10-24T00:00:00Z")..instant("2026-10-27T00:00:00Z")).step_by(60_000_000) {
            let range = day.range_at(place).unwrap();
            assert_eq!(date(range.lower), date(place));
            assert_eq!(date(range.upper - MICROS), date(place));
        }
    }
}
