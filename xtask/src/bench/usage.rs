//! What a process has cost.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use postgres::Client;

use super::report::{median, milliseconds};

/// The unit of times in `/proc/<pid>/stat`: USER_HZ is 100 on every machine that PostgreSQL's packages are made for.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used since it began, as Linux counts it.
pub struct Usage {
    pub nanoseconds: u64,
    pub switches: u64,
}

impl Usage {
    pub fn of(pid: i32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("process {pid} is gone"))
        };
        let (schedule, status) = (read("schedstat")?, read("status")?);
        let nanoseconds = schedule.split(' ').next().context("schedstat is empty")?.parse()?;
        let switches = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .context("status names no switches")?
            .trim()
            .parse()?;
        Ok(Self { nanoseconds, switches })
    }
}

/// The processor time of those children of a process that it has seen end, and of theirs.
pub fn of_ended_children(pid: u32) -> anyhow::Result<Duration> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    ended_children(&stat).with_context(|| format!("cannot read the times of process {pid}"))
}

/// `cutime` and `cstime` of proc(5), the 14th and 15th after the name, which may have spaces and parentheses in it.
fn ended_children(stat: &str) -> Option<Duration> {
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace().skip(13);
    let ticks = rest.next()?.parse::<u32>().ok()? + rest.next()?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// What a backend spent on something.
#[derive(Clone, Copy)]
pub struct Cost {
    pub cpu: Duration,
    pub wall: Duration,
}

impl Cost {
    /// Of `work`, in the session that it is given.
    pub fn of(
        client: &mut Client,
        work: impl FnOnce(&mut Client) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[])?.get(0);
        let (before, begun) = (Usage::of(pid)?, Instant::now());
        work(client)?;
        let wall = begun.elapsed();
        let cpu = Duration::from_nanos(Usage::of(pid)?.nanoseconds - before.nanoseconds);
        Ok(Self { cpu, wall })
    }

    pub fn of_sql(client: &mut Client, sql: &str) -> anyhow::Result<Self> {
        Self::of(client, |client| Ok(client.batch_execute(sql)?))
    }

    pub fn median(costs: &[Self]) -> Self {
        let of = |part: fn(&Self) -> Duration| median(&costs.iter().map(part).collect::<Vec<_>>());
        Self { cpu: of(|cost| cost.cpu), wall: of(|cost| cost.wall) }
    }

    pub fn print(self, name: &str) {
        println!("{name:<52} {:>10.1} {:>10.1}", milliseconds(self.cpu), milliseconds(self.wall));
    }
}

pub fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_children_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 130 20 20 0 1 0 99 1 1";
        assert_eq!(ended_children(stat), Some(Duration::from_millis(1500)));
        assert_eq!(ended_children("7 (a) S 1"), None);
        assert!(of_ended_children(std::process::id()).is_ok());
    }
}
