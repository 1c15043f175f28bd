//! What a process has cost.

use std::fs;

use anyhow::Context;

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
