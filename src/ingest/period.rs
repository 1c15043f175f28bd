//! What the partitions of an event table span while nobody manages them.

use opdb_core::partition::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
    Week,
    Month,
}

impl Period {
    pub const ALL: [Period; 4] = [Period::Hour, Period::Day, Period::Week, Period::Month];

    /// The name of the unit; with a 1 before it, of the interval.
    pub fn unit(self) -> &'static str {
        match self {
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    pub fn from_unit(unit: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.unit() == unit)
    }

    pub fn span(self) -> Span {
        match self {
            Period::Hour => Span::Seconds(3600),
            Period::Day => Span::Days(1),
            Period::Week => Span::Days(7),
            Period::Month => Span::Months(1),
        }
    }

    /// The longest suffix of a partition's name, in bytes.
    pub fn suffix_bytes(self) -> usize {
        match self {
            Period::Hour => "_YYYY_MM_DD_HH".len(),
            Period::Day | Period::Week => "_YYYY_MM_DD".len(),
            Period::Month => "_YYYY_MM".len(),
        }
    }
}
