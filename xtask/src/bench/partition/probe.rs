//! How long others wait for a lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::Database;

/// A reader asks again soon after it had the lock.
const PAUSE: Duration = Duration::from_micros(200);
/// The server's own clock tells how long a lock was waited for, and not how long a busy machine kept a client waiting. It
/// writes waits of 1 ms and more into its log.
const SETTINGS: &str = "SET log_lock_waits = on; SET deadlock_timeout = '1ms'";

/// Does `work` while somebody takes again and again what a reader takes of `relations`, and no row; returns the longest
/// that he waited. Less than a millisecond is nothing.
pub fn longest_wait(
    database: &Database,
    relations: &str,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let mut reader = database.session()?;
    reader.batch_execute(SETTINGS)?;
    let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let sql = format!("BEGIN; LOCK TABLE {relations} IN ACCESS SHARE MODE; COMMIT");
    reader.batch_execute(&sql)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                reader.batch_execute(&sql)?;
                thread::sleep(PAUSE);
            }
            anyhow::Ok(())
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        result.and(reading.join().ok().context("the thread that read is gone")?)
    })?;
    Ok(longest(&database.cluster.log(), pid))
}

/// By lines such as `… LOG:  process 7 acquired AccessShareLock on relation 8 of database 9 after 12.345 ms`.
fn longest(log: &str, pid: i32) -> Duration {
    let acquired = format!("process {pid} acquired AccessShareLock ");
    let waits = log
        .lines()
        .filter(|line| line.contains(&acquired))
        .filter_map(|line| line.rsplit_once(" after ")?.1.strip_suffix(" ms")?.parse().ok());
    Duration::from_secs_f64(waits.fold(0.0, f64::max) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_the_longest_wait_of_a_process() {
        let log = "\
            [7] LOG:  process 7 still waiting for AccessShareLock on relation 8 of database 9 after 1.002 ms\n\
            [7] LOG:  process 7 acquired AccessShareLock on relation 8 of database 9 after 2.500 ms\n\
            [7] LOG:  process 7 acquired AccessShareLock on relation 8 of database 9 after 1.250 ms\n\
            [77] LOG:  process 77 acquired AccessShareLock on relation 8 of database 9 after 99.000 ms\n";
        assert_eq!(longest(log, 7), Duration::from_micros(2500));
        assert_eq!(longest(log, 1), Duration::ZERO);
    }
}
