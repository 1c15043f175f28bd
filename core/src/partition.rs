//! Calendar periods that partitions span, in UTC.

/// One partition's worth of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
    Week,
    Month,
}

impl Period {
    pub const ALL: [Period; 4] = [Period::Hour, Period::Day, Period::Week, Period::Month];

    /// The name of the unit in `date_trunc`, and of the interval when a 1 stands before it.
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

    /// The `to_char` format of a partition's suffix: as fine as its period needs and no finer.
    pub fn suffix_format(self) -> &'static str {
        match self {
            Period::Hour => "YYYY_MM_DD_HH24",
            Period::Day | Period::Week => "YYYY_MM_DD",
            Period::Month => "YYYY_MM",
        }
    }

    /// The length of `_` and the longest suffix, in bytes.
    pub fn suffix_bytes(self) -> usize {
        match self {
            Period::Hour => 14,
            Period::Day | Period::Week => 11,
            Period::Month => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_back() {
        for period in Period::ALL {
            assert_eq!(Period::from_unit(period.unit()), Some(period));
            assert_eq!(
                period.suffix_bytes(),
                1 + period.suffix_format().replace("HH24", "HH").len(),
                "{period:?}"
            );
        }
        assert_eq!(Period::from_unit("fortnight"), None);
    }
}
