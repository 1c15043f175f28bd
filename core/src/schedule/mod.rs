//! When a job runs: a cron expression, or every so often, in a time zone.
//!
//! Instants are microseconds since 1970 UTC. Time zones come from outside (see [`Zone`]): the server has one.

mod cron;
mod every;
mod window;

pub use crate::zone::Zone;
pub use cron::{Cron, CronError};
pub use every::{Every, EveryError};
pub use window::Window;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// When a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Cron(Cron),
    Every(Every),
}

impl Schedule {
    /// The first time after `after`. What repeats counts from `anchor`. None if there is none for centuries.
    pub fn next(&self, zone: &impl Zone, anchor: i64, after: i64) -> Option<i64> {
        match self {
            Self::Cron(cron) => cron.next(zone, after),
            Self::Every(every) => every.next(zone, anchor, after),
        }
    }

    /// The cron expression of the same times, if there is one: of five fields, as every cron takes them.
    pub fn as_cron(&self, zone: &impl Zone, anchor: i64) -> Option<String> {
        match self {
            Self::Cron(cron) => Some(cron.expression()),
            Self::Every(every) => every.as_cron(zone, anchor),
        }
    }
}

/// How long to wait before attempt `attempt` + 1 (the first is 1): `delay` doubled each time, at most an hour or
/// `delay`, and between half and all of it, so that jobs which failed together do not come back together.
/// `random` is from 0 to 1. Source: "Exponential Backoff And Jitter", equal jitter.
pub fn backoff(delay: i64, attempt: u32, random: f64) -> i64 {
    let doubled = delay.saturating_mul(1_i64.checked_shl(attempt.saturating_sub(1)).unwrap_or(i64::MAX));
    let doubled = if doubled < 0 { i64::MAX } else { doubled };
    let longest = doubled.min(HOUR.max(delay));
    let half = longest / 2;
    half + (half as f64 * random.clamp(0.0, 1.0)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_is_never_less_than_half() {
        let waits = |random| [1, 2, 3, 20, 90].map(|attempt| backoff(30 * SECOND, attempt, random) / SECOND);
        assert_eq!(waits(1.0), [30, 60, 120, 3600, 3600]);
        assert_eq!(waits(0.0), [15, 30, 60, 1800, 1800]);
        assert_eq!(backoff(2 * DAY, 3, 1.0), 2 * DAY);
    }
}
