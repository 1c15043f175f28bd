//! What the statistics of this server can tell.

use pgrx::prelude::*;

use crate::pg::error::Result;
use crate::pg::spi;

pub struct Statistics {
    /// NULL if nobody knows.
    pub since: Option<TimestampWithTimeZone>,
    day: Option<String>,
    seconds: Option<f64>,
    in_recovery: bool,
    standbys: i64,
}

impl Statistics {
    pub fn read() -> Result<Self> {
        let found = spi::read_one(include_str!("../../../sql/maintain/index_statistics.sql"), &[], |row| {
            Ok(Self {
                since: row.get(1)?,
                day: row.get(2)?,
                seconds: row.get(3)?,
                in_recovery: row.get(4)?.unwrap_or(false),
                standbys: row.get(5)?.unwrap_or(0),
            })
        })?;
        Ok(found.unwrap_or(Self { since: None, day: None, seconds: None, in_recovery: false, standbys: 0 }))
    }

    /// So many of something, as a rate per second, to four digits after the point.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_second(&self, count: Option<i64>) -> Option<f64> {
        let rate = count? as f64 / self.seconds.filter(|seconds| *seconds > 0.0)?;
        Some((rate * 10_000.0).round() / 10_000.0)
    }

    /// "in the 34 days since 2024-05-01".
    pub fn period(&self) -> String {
        match (&self.day, self.seconds) {
            (Some(day), Some(seconds)) => format!("in the {} since {day}", duration(seconds)),
            _ => "since statistics are collected".to_owned(),
        }
    }

    /// What this server's statistics do not see.
    pub fn blind_spot(&self) -> String {
        if self.in_recovery {
            return "these are the statistics of this standby only: ask the primary too".to_owned();
        }
        match self.standbys {
            0 => "a standby would have statistics of its own, none is known here".to_owned(),
            1 => "1 standby has statistics of its own: ask there too".to_owned(),
            count => format!("{count} standbys have statistics of their own: ask there too"),
        }
    }

    pub fn is_of_standby(&self) -> bool {
        self.in_recovery
    }
}

fn duration(seconds: f64) -> String {
    let (count, unit) = match seconds {
        _ if seconds >= 2.0 * 86_400.0 => (seconds / 86_400.0, "days"),
        _ if seconds >= 2.0 * 3_600.0 => (seconds / 3_600.0, "hours"),
        _ => (seconds / 60.0, "minutes"),
    };
    format!("{} {unit}", count.floor())
}
