//! What was measured, and what of the promises it keeps.

use std::time::Duration;

use super::memory::Growth;
use super::rounds::{Times, What};

/// The tables that the promise about memory is made for.
const TABLES_OF_MEMORY: u32 = 10_000;
const MAX_MEGABYTES: f64 = 100.0;

/// How long one takes in terms of another.
struct Promise {
    what: What,
    than: What,
    bound: Bound,
}

enum Bound {
    /// So many times faster.
    Faster(f64),
    /// At most so many times as long.
    AtMost(f64),
}

const PROMISES: [Promise; 7] = [
    Promise { what: What::Fingerprint, than: What::PgDump, bound: Bound::Faster(5.0) },
    Promise { what: What::FingerprintUnchanged, than: What::PgDump, bound: Bound::Faster(5.0) },
    Promise { what: What::Capture, than: What::PgDump, bound: Bound::Faster(5.0) },
    Promise { what: What::Fingerprint, than: What::BareSql, bound: Bound::AtMost(1.5) },
    Promise { what: What::ValidateAgain, than: What::Validate, bound: Bound::AtMost(1.0 / 3.0) },
    Promise { what: What::ValidateElsewhere, than: What::Validate, bound: Bound::AtMost(1.0 / 3.0) },
    Promise { what: What::ValidateUnchanged, than: What::Validate, bound: Bound::AtMost(1.0 / 3.0) },
];

/// One line for each contender.
pub fn times(times: &Times) {
    println!("{:<48} {:>10} {:>10}", "milliseconds", "best", "median");
    for (what, times) in times {
        println!(
            "{:<48} {:>10.1} {:>10.1}",
            what.name(),
            milliseconds(best(times)),
            milliseconds(median(times))
        );
    }
}

/// One line for each function.
pub fn memory(growths: &[(&str, Growth)]) {
    println!("{:<48} {:>8} {:>8} {:>8} {:>8}", "MB of the backend", "before", "peak", "after", "VmHWM");
    for (sql, growth) in growths {
        let [before, peak, after, with_shared] =
            [growth.before, growth.peak, growth.after, growth.with_shared].map(|kilobytes| kilobytes / 1024);
        println!("{sql:<48} {before:>8} {peak:>8} {after:>8} {with_shared:>8}");
    }
}

/// One line for each promise.
pub fn promises(tables: u32, times: &Times, growths: &[(&str, Growth)]) {
    for promise in &PROMISES {
        promise.print(times);
    }
    for (sql, growth) in growths {
        let grown = growth.megabytes();
        let promised = format!("< {MAX_MEGABYTES:.0} MB at {TABLES_OF_MEMORY} tables");
        let verdict = if tables == TABLES_OF_MEMORY { verdict(grown < MAX_MEGABYTES) } else { "-" };
        println!("{verdict:<12} {promised}: {grown:.0} MB at {tables}: {sql}");
    }
}

impl Promise {
    /// By the medians, with those of the best runs beside them.
    fn print(&self, times: &Times) {
        let (Some(what), Some(than)) = (times.get(&self.what), times.get(&self.than)) else { return };
        let (what_name, than_name) = (self.what.name(), self.than.name());
        let ratio = |of: fn(&[Duration]) -> Duration| of(what).as_secs_f64() / of(than).as_secs_f64();
        let (by_median, by_best) = (ratio(median), ratio(best));
        match self.bound {
            Bound::Faster(factor) => {
                let (median, best) = (1.0 / by_median, 1.0 / by_best);
                let verdict = verdict(median >= factor);
                println!(
                    "{verdict:<12} >= {factor}x faster: {median:.2}x (best {best:.2}x): {what_name} than {than_name}"
                );
            }
            Bound::AtMost(factor) => {
                let verdict = verdict(by_median <= factor);
                println!(
                    "{verdict:<12} <= {factor:.2}x the time: {by_median:.2}x (best {by_best:.2}x): {what_name} of {than_name}"
                );
            }
        }
    }
}

/// What was promised of something, and whether it is so.
#[derive(Default)]
pub struct Promises(Vec<String>);

impl Promises {
    pub fn add(&mut self, is_kept: bool, text: &str) {
        self.0.push(format!("{:<12} {text}", verdict(is_kept)));
    }

    pub fn print(&self) {
        println!("\n== promises ==");
        self.0.iter().for_each(|promise| println!("{promise}"));
    }
}

pub fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "NOT REACHED" }
}

pub fn best(times: &[Duration]) -> Duration {
    times.iter().copied().min().unwrap_or_default()
}

/// Of an even number, the mean of the two in the middle.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = |place: usize| sorted.get(place).copied().unwrap_or_default();
    (middle(sorted.len().saturating_sub(1) / 2) + middle(sorted.len() / 2)) / 2
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |times: &[u64]| {
            let times: Vec<Duration> = times.iter().copied().map(Duration::from_millis).collect();
            (milliseconds(best(&times)), milliseconds(median(&times)))
        };
        assert_eq!(of(&[30, 10, 20]), (10.0, 20.0));
        assert_eq!(of(&[40, 10, 20, 30]), (10.0, 25.0));
        assert_eq!(of(&[]), (0.0, 0.0));
    }
}
