//! What a statement adds to the memory of its backend.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use postgres::Client;

const PAUSE: Duration = Duration::from_millis(2);

/// Anonymous memory of a backend, in kB: shared buffers are not a part of it.
pub struct Growth {
    pub before: u64,
    pub peak: u64,
    pub after: u64,
    /// The most memory that the backend ever had, shared buffers and the program itself included.
    pub with_shared: u64,
}

impl Growth {
    /// Runs `sql` in a session that ends then.
    pub fn of(mut client: Client, sql: &str) -> anyhow::Result<Self> {
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[])?.get(0);
        let before = anonymous(pid)?;
        let is_over = AtomicBool::new(false);
        let (result, peak) = thread::scope(|scope| {
            let sampler = scope.spawn(|| peak(pid, &is_over));
            let result = client.query(sql, &[]);
            is_over.store(true, Ordering::Relaxed);
            (result, sampler.join())
        });
        result?;
        let peak = peak.ok().context("the thread that looked at the memory is gone")??;
        let after = anonymous(pid)?;
        Ok(Self { before, peak: peak.max(after), after, with_shared: kilobytes(&status(pid)?, "VmHWM")? })
    }

    pub fn megabytes(&self) -> f64 {
        self.peak.saturating_sub(self.before) as f64 / 1024.0
    }
}

fn peak(pid: i32, is_over: &AtomicBool) -> anyhow::Result<u64> {
    let mut peak = 0;
    while !is_over.load(Ordering::Relaxed) {
        peak = peak.max(anonymous(pid)?);
        thread::sleep(PAUSE);
    }
    Ok(peak)
}

fn anonymous(pid: i32) -> anyhow::Result<u64> {
    kilobytes(&status(pid)?, "RssAnon")
}

fn status(pid: i32) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/status");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

fn kilobytes(status: &str, name: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
        .with_context(|| format!("/proc tells no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let status = "VmHWM:\t   9000 kB\nRssAnonymous:\t1 kB\nRssAnon:\t    4711 kB\n";
        assert_eq!(kilobytes(status, "RssAnon").unwrap(), 4711);
        assert!(kilobytes(status, "Rss").is_err());
    }
}
