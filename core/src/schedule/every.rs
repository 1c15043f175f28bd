//! Schedules of the form `every 5 minutes`.

use chrono::{DateTime, Datelike as _, Months, NaiveDateTime, Timelike as _};

use super::{DAY, HOUR, MINUTE, SECOND, Zone};
use crate::zone::{first_instant, local};

/// What is wrong with an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EveryError {
    #[error("the interval is zero or negative")]
    NotPositive,
    #[error("the interval is shorter than a second")]
    TooShort,
    #[error("the interval is longer than a hundred years")]
    TooLong,
}

/// An interval as PostgreSQL has it. Months and days are those of the calendar: the time of day stays through
/// changes of the clock. What is shorter than a day is elapsed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    months: i32,
    days: i32,
    micros: i64,
}

impl Every {
    pub fn new(months: i32, days: i32, micros: i64) -> Result<Self, EveryError> {
        let every = Self { months, days, micros };
        if months < 0 || days < 0 || micros < 0 || every.shortest() == 0 {
            return Err(EveryError::NotPositive);
        }
        match every.shortest() {
            ..SECOND => Err(EveryError::TooShort),
            length if length > 36_500 * DAY => Err(EveryError::TooLong),
            _ => Ok(every),
        }
    }

    /// As short as it can be: months of 28 days.
    fn shortest(&self) -> i64 {
        let days = i64::from(self.months) * 28 + i64::from(self.days);
        days.saturating_mul(DAY).saturating_add(self.micros)
    }

    pub(super) fn next(&self, zone: &impl Zone, anchor: i64, after: i64) -> Option<i64> {
        // Nothing before `anchor`, and `anchor` itself is when the counting begins.
        let passed = (after - anchor).max(0);
        // No interval is longer than 31/28 of its shortest and the hours that clocks are changed by.
        let longest = self.shortest() + self.shortest() / 8 + i64::from(self.is_of_days()) * DAY;
        let mut count = (passed / longest).max(1);
        if !self.is_of_days() {
            count = passed / self.micros + 1;
        }
        (count..).map(|count| self.nth(zone, anchor, count)).find(|at| at.is_none_or(|at| at > after))?
    }

    const fn is_of_days(&self) -> bool {
        self.months > 0 || self.days > 0
    }

    fn nth(&self, zone: &impl Zone, anchor: i64, count: i64) -> Option<i64> {
        let micros = self.micros.checked_mul(count)?;
        if !self.is_of_days() {
            return anchor.checked_add(micros);
        }
        let start = clock(zone, anchor)?;
        let months = Months::new(u32::try_from(i64::from(self.months).checked_mul(count)?).ok()?);
        let days = chrono::TimeDelta::try_days(i64::from(self.days).checked_mul(count)?)?;
        let day = start.checked_add_months(months)?.checked_add_signed(days)?;
        let instant = first_instant(zone, day.and_utc().timestamp());
        (instant * SECOND + anchor.rem_euclid(SECOND)).checked_add(micros)
    }

    pub(super) fn as_cron(&self, zone: &impl Zone, anchor: i64) -> Option<String> {
        let start = clock(zone, anchor)?;
        let (minute, hour) = (start.minute(), start.hour());
        match (self.months, self.days, self.micros) {
            (0, 0, MINUTE) => Some("* * * * *".into()),
            (0, 0, HOUR) => Some(format!("{minute} * * * *")),
            (0, 0, micros) if micros % MINUTE == 0 && HOUR % micros == 0 => {
                Some(format!("*/{} * * * *", micros / MINUTE))
            }
            (0, 0, micros) if micros % HOUR == 0 && DAY % micros == 0 && micros < DAY => {
                Some(format!("{minute} */{} * * *", micros / HOUR))
            }
            (0, 1, 0) => Some(format!("{minute} {hour} * * *")),
            (0, 7, 0) => Some(format!("{minute} {hour} * * {}", start.weekday().num_days_from_sunday())),
            (1, 0, 0) if start.day() <= 28 => Some(format!("{minute} {hour} {} * *", start.day())),
            _ => None,
        }
    }
}

fn clock(zone: &impl Zone, instant: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp(local(zone, instant.div_euclid(SECOND)), 0)?.naive_utc())
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn micros(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn shown(instant: Option<i64>) -> String {
        DateTime::from_timestamp_micros(instant.unwrap()).unwrap().to_rfc3339()
    }

    #[test]
    fn elapsed_time_neither_drifts_nor_looks_at_the_clock() {
        let every = Every::new(0, 0, 5 * MINUTE).unwrap();
        let anchor = micros("2024-03-30T23:58:30.5Z");
        let mut at = anchor;
        for count in 1..1000 {
            at = every.next(&Tz::Europe__Berlin, anchor, at).unwrap();
            assert_eq!(at, anchor + count * 5 * MINUTE);
        }
        // Whatever was missed is missed.
        let late = anchor + 1_000_000 * MINUTE + 7;
        let next = every.next(&Tz::Europe__Berlin, anchor, late).unwrap();
        assert!(next > late && next - late <= 5 * MINUTE);
    }

    #[test]
    fn days_and_months_keep_the_time_of_day() {
        let berlin = Tz::Europe__Berlin;
        let anchor = micros("2024-03-29T23:05:00Z"); // five past midnight on the 30th
        let day = Every::new(0, 1, 0).unwrap();
        assert_eq!(shown(day.next(&berlin, anchor, anchor)), "2024-03-30T23:05:00+00:00");
        assert_eq!(
            shown(day.next(&berlin, anchor, micros("2024-03-31T00:00:00Z"))),
            "2024-03-31T22:05:00+00:00"
        );
        let month = Every::new(1, 0, 0).unwrap();
        let anchor = micros("2024-01-31T11:00:00Z");
        assert_eq!(shown(month.next(&berlin, anchor, anchor)), "2024-02-29T11:00:00+00:00");
        assert_eq!(
            shown(month.next(&berlin, anchor, micros("2044-05-20T11:00:00Z"))),
            "2044-05-31T10:00:00+00:00"
        );
    }

    #[test]
    fn an_interval_must_be_a_second_at_least() {
        assert_eq!(Every::new(0, 0, 0), Err(EveryError::NotPositive));
        assert_eq!(Every::new(0, 1, -5), Err(EveryError::NotPositive));
        assert_eq!(Every::new(0, 0, 999_999), Err(EveryError::TooShort));
        assert_eq!(Every::new(i32::MAX, 0, 0), Err(EveryError::TooLong));
    }

    #[test]
    fn some_intervals_have_a_cron_expression() {
        let anchor = micros("2024-06-05T10:20:30Z"); // a Wednesday, 12:20 in Berlin
        let cron = |months, days, micros| {
            Every::new(months, days, micros).unwrap().as_cron(&Tz::Europe__Berlin, anchor)
        };
        assert_eq!(cron(0, 0, 5 * MINUTE).as_deref(), Some("*/5 * * * *"));
        assert_eq!(cron(0, 0, MINUTE).as_deref(), Some("* * * * *"));
        assert_eq!(cron(0, 0, HOUR).as_deref(), Some("20 * * * *"));
        assert_eq!(cron(0, 0, 6 * HOUR).as_deref(), Some("20 */6 * * *"));
        assert_eq!(cron(0, 1, 0).as_deref(), Some("20 12 * * *"));
        assert_eq!(cron(0, 7, 0).as_deref(), Some("20 12 * * 3"));
        assert_eq!(cron(1, 0, 0).as_deref(), Some("20 12 5 * *"));
        assert_eq!(cron(0, 0, 7 * MINUTE), None);
        assert_eq!(cron(0, 0, 30 * SECOND), None);
        assert_eq!(cron(0, 2, 0), None);
    }
}
