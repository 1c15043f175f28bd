//! The hours in which a job may run.

use super::{DAY, SECOND, Zone};
use crate::zone::{Resolved, first_instant, local, resolve};

/// From one time of day to another, perhaps over midnight; both in microseconds since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

impl Window {
    /// When the window that `now` is in closes, if it is in one. Where both times are the same, it never closes
    /// for longer than a moment: it is the whole day.
    pub fn closes(&self, zone: &impl Zone, now: i64) -> Option<i64> {
        let shown = local(zone, now.div_euclid(SECOND)) * SECOND + now.rem_euclid(SECOND);
        let (midnight, time) = (shown - shown.rem_euclid(DAY), shown.rem_euclid(DAY));
        let closes_at = match (self.start < self.end, time >= self.start, time < self.end) {
            (true, true, true) | (false, false, true) => midnight + self.end,
            (false, true, _) => midnight + DAY + self.end,
            _ => return None,
        };
        let closes_at = closes_at.div_euclid(SECOND);
        let closes = match resolve(zone, closes_at) {
            // The clock shows that time again.
            Resolved::Twice(first, second) if first * SECOND <= now => second,
            _ => first_instant(zone, closes_at),
        };
        Some(closes * SECOND)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::schedule::HOUR;

    fn closes(start: i64, end: i64, now: &str) -> Option<String> {
        let now = chrono::DateTime::parse_from_rfc3339(now).unwrap().timestamp_micros();
        let window = Window { start: start * HOUR, end: end * HOUR };
        let closes = window.closes(&Tz::Europe__Berlin, now)?;
        Some(chrono::DateTime::from_timestamp_micros(closes).unwrap().format("%d %H:%M").to_string())
    }

    #[test]
    fn a_window_is_open_from_its_start_until_its_end() {
        assert_eq!(closes(1, 5, "2024-06-05T22:59:59Z"), None);
        assert_eq!(closes(1, 5, "2024-06-05T23:00:00Z").as_deref(), Some("06 03:00"));
        assert_eq!(closes(1, 5, "2024-06-06T02:59:59Z").as_deref(), Some("06 03:00"));
        assert_eq!(closes(1, 5, "2024-06-06T03:00:00Z"), None);
    }

    #[test]
    fn a_window_may_go_over_midnight() {
        assert_eq!(closes(22, 4, "2024-06-05T20:30:00Z").as_deref(), Some("06 02:00"));
        assert_eq!(closes(22, 4, "2024-06-06T01:30:00Z").as_deref(), Some("06 02:00"));
        assert_eq!(closes(22, 4, "2024-06-06T02:30:00Z"), None);
    }

    #[test]
    fn its_end_is_a_time_of_the_clock() {
        // The night is an hour shorter, and an hour longer.
        assert_eq!(closes(1, 5, "2024-03-31T00:30:00Z").as_deref(), Some("31 03:00"));
        assert_eq!(closes(1, 5, "2024-10-26T23:30:00Z").as_deref(), Some("27 04:00"));
    }

    #[test]
    fn in_an_hour_that_comes_twice_it_closes_twice() {
        let window = Window { start: 2 * HOUR, end: 2 * HOUR + HOUR / 4 * 3 };
        let closes = |now: &str| {
            let now = chrono::DateTime::parse_from_rfc3339(now).unwrap().timestamp_micros();
            window.closes(&Tz::Europe__Berlin, now).map(|closes| (closes - now) / crate::schedule::MINUTE)
        };
        assert_eq!(closes("2026-10-25T00:05:00Z"), Some(40));
        assert_eq!(closes("2026-10-25T01:05:00Z"), Some(40));
    }

    #[test]
    fn the_same_start_and_end_is_the_whole_day() {
        assert_eq!(closes(3, 3, "2024-06-05T20:30:00Z").as_deref(), Some("06 01:00"));
        assert_eq!(closes(3, 3, "2024-06-05T00:30:00Z").as_deref(), Some("05 01:00"));
    }
}
