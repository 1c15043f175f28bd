//! What one partition spans.

/// One partition's worth of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Calendar months: 1, 3 for a quarter, 12 for a year, or any number.
    Months(i64),
    /// Calendar days: 1, 7 for a week from Monday, or any number.
    Days(i64),
    /// Less than a day, or a number of hours that is no number of days; in seconds.
    Seconds(i64),
    /// A width of numbers.
    Numbers(i64),
}

/// What is wrong with an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    #[error("the interval is zero or negative")]
    NotPositive,
    #[error("the interval is not of whole seconds")]
    TooFine,
    #[error("the interval is of months and days, or of days and hours, at once")]
    Mixed,
    #[error("the interval is longer than a thousand years")]
    TooLong,
}

const DAY: i64 = 86_400;
const MICROS: i64 = 1_000_000;

impl Span {
    /// An interval as PostgreSQL has it. 24 hours are a day: of a calendar, with its changes of the clock.
    pub fn of_interval(months: i32, days: i32, micros: i64) -> Result<Self, SpanError> {
        let (months, days) = (i64::from(months), i64::from(days));
        if months < 0 || days < 0 || micros < 0 || (months, days, micros) == (0, 0, 0) {
            return Err(SpanError::NotPositive);
        }
        if micros % MICROS != 0 {
            return Err(SpanError::TooFine);
        }
        if months > 12_000 || days > 366_000 || micros > 366_000 * DAY * MICROS {
            return Err(SpanError::TooLong);
        }
        match (months, days, micros / MICROS) {
            (months, 0, 0) => Ok(Self::Months(months)),
            (0, days, 0) => Ok(Self::Days(days)),
            (0, 0, seconds) if seconds % DAY == 0 => Ok(Self::Days(seconds / DAY)),
            (0, 0, seconds) => Ok(Self::Seconds(seconds)),
            _ => Err(SpanError::Mixed),
        }
    }

    /// Whether its ranges begin where everybody's calendar does, and not where counting was begun.
    pub fn is_of_the_calendar(self) -> bool {
        match self {
            Self::Months(months) => 12 % months == 0,
            Self::Days(days) => matches!(days, 1 | 7),
            Self::Seconds(seconds) => DAY % seconds == 0,
            Self::Numbers(_) => true,
        }
    }

    /// Whether whole days are all that it knows.
    pub fn is_of_days(self) -> bool {
        matches!(self, Self::Months(_) | Self::Days(_))
    }

    /// How long it can be at most, on the key's line.
    pub fn longest(self) -> i64 {
        match self {
            Self::Months(months) => months * 31 * DAY * MICROS,
            Self::Days(days) => days * DAY * MICROS,
            Self::Seconds(seconds) => seconds * MICROS,
            Self::Numbers(width) => width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_of_one_kind() {
        assert_eq!(Span::of_interval(3, 0, 0), Ok(Span::Months(3)));
        assert_eq!(Span::of_interval(0, 7, 0), Ok(Span::Days(7)));
        assert_eq!(Span::of_interval(0, 0, 86_400_000_000), Ok(Span::Days(1)));
        assert_eq!(Span::of_interval(0, 0, 900_000_000), Ok(Span::Seconds(900)));
        assert_eq!(Span::of_interval(1, 1, 0), Err(SpanError::Mixed));
        assert_eq!(Span::of_interval(0, 1, 1_000_000), Err(SpanError::Mixed));
        assert_eq!(Span::of_interval(0, 0, 0), Err(SpanError::NotPositive));
        assert_eq!(Span::of_interval(1, -1, 0), Err(SpanError::NotPositive));
        assert_eq!(Span::of_interval(0, 0, 1), Err(SpanError::TooFine));
        assert_eq!(Span::of_interval(i32::MAX, 0, 0), Err(SpanError::TooLong));
    }

    #[test]
    fn what_divides_the_calendar_is_of_the_calendar() {
        for (span, expected) in [
            (Span::Months(5), false),
            (Span::Months(6), true),
            (Span::Days(10), false),
            (Span::Days(7), true),
            (Span::Seconds(7 * 3600), false),
            (Span::Seconds(900), true),
        ] {
            assert_eq!(span.is_of_the_calendar(), expected, "{span:?}");
        }
    }
}
