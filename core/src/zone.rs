//! Between instants and what a clock on the wall shows.

/// A time zone, as far as schedules and partitions need to know one.
pub trait Zone {
    /// Seconds east of UTC at an instant, which is given in seconds since 1970 UTC.
    fn offset_at(&self, instant: i64) -> i64;
}

/// The instants at which a clock shows one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolved {
    Once(i64),
    /// It is put back over this time, which so comes twice.
    Twice(i64, i64),
    /// It is put forward over this time.
    Never,
}

/// No zone is further from UTC, and none changes its clock twice in so short a time.
const DAY: i64 = 86_400;

/// When a clock in `zone` shows `local`, both in seconds.
pub(crate) fn resolve(zone: &impl Zone, local: i64) -> Resolved {
    let at = |offset: i64| Some(local - offset).filter(|instant| zone.offset_at(*instant) == offset);
    let (before, after) = (zone.offset_at(local - DAY), zone.offset_at(local + DAY));
    match (at(before), at(after)) {
        (Some(first), Some(second)) if first != second => {
            Resolved::Twice(first.min(second), first.max(second))
        }
        (Some(instant), _) | (_, Some(instant)) => Resolved::Once(instant),
        (None, None) => Resolved::Never,
    }
}

/// The first instant at which a clock in `zone` shows `local` or more: the end of the gap that `local` is in,
/// otherwise the first time that it shows `local`.
pub fn first_instant(zone: &impl Zone, local: i64) -> i64 {
    match resolve(zone, local) {
        Resolved::Once(instant) | Resolved::Twice(instant, _) => instant,
        // The clock jumps from below `local` to above it, once, in between.
        Resolved::Never => {
            let (earlier, later) = (local - DAY, local + DAY);
            let (below, above) = (earlier - zone.offset_at(earlier), later - zone.offset_at(later));
            first(below, above, |instant| self::local(zone, instant) >= local)
        }
    }
}

/// When the clock is changed next, if that is within a day after `instant`.
pub(crate) fn change_within_a_day(zone: &impl Zone, instant: i64) -> Option<i64> {
    let offset = zone.offset_at(instant);
    let is_changed = |at| zone.offset_at(at) != offset;
    is_changed(instant + DAY).then(|| first(instant, instant + DAY, is_changed))
}

/// The first instant after `below` at which `condition` holds; it holds at `above` and does not at `below`.
fn first(mut below: i64, mut above: i64, condition: impl Fn(i64) -> bool) -> i64 {
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if condition(middle) { above = middle } else { below = middle }
    }
    above
}

/// What a clock in `zone` shows at an instant, both in seconds.
pub(crate) fn local(zone: &impl Zone, instant: i64) -> i64 {
    instant + zone.offset_at(instant)
}

/// Zones for tests: those of the IANA database.
#[cfg(test)]
pub(crate) mod iana {
    use chrono::{Offset as _, TimeZone as _};

    impl super::Zone for chrono_tz::Tz {
        fn offset_at(&self, instant: i64) -> i64 {
            let utc = chrono::DateTime::from_timestamp(instant, 0).unwrap().naive_utc();
            self.offset_from_utc_datetime(&utc).fix().local_minus_utc().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn seconds(text: &str) -> i64 {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp()
    }

    #[test]
    fn a_time_that_is_skipped_or_repeated_is_known() {
        let paris = Tz::Europe__Paris;
        let first = seconds("2024-10-27 00:30:00");
        assert_eq!(resolve(&paris, seconds("2024-10-27 02:30:00")), Resolved::Twice(first, first + 3600));
        assert_eq!(resolve(&paris, seconds("2024-03-31 02:30:00")), Resolved::Never);
        assert_eq!(first_instant(&paris, seconds("2024-03-31 02:30:00")), seconds("2024-03-31 01:00:00"));
        assert_eq!(first_instant(&paris, seconds("2024-10-27 02:30:00")), first);
    }

    #[test]
    fn a_whole_day_can_be_skipped() {
        // Samoa had no 30 December 2011.
        let apia = Tz::Pacific__Apia;
        assert_eq!(resolve(&apia, seconds("2011-12-30 12:00:00")), Resolved::Never);
        assert_eq!(first_instant(&apia, seconds("2011-12-30 12:00:00")), seconds("2011-12-30 10:00:00"));
    }
}
