//! Servers and directories that an earlier process left, on purpose or not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::postmaster;

/// Stops the server of a cluster that [`Cluster::start`](super::Cluster::start) made in `dir`, if it still
/// runs, and removes the directory. Returns whether there was one.
pub fn remove_left_over(dir: &Path) -> anyhow::Result<bool> {
    if !dir.exists() {
        return Ok(false);
    }
    stop_left_over(&dir.join("data"))?;
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(true)
}

/// Stops the server of a data directory if it still runs. Returns whether it did.
pub fn stop_left_over(data: &Path) -> anyhow::Result<bool> {
    let Some(pid) = postmaster::pid(data).filter(|pid| belongs_to(*pid, data)) else {
        return Ok(false);
    };
    let gone = || postmaster::pid(data) != Some(pid) || !belongs_to(pid, data);
    // SIGINT and SIGQUIT are what `pg_ctl stop` sends in its modes fast and immediate.
    for signal in ["INT", "QUIT"] {
        postmaster::signal(pid, signal)?;
        if postmaster::wait(gone, Duration::from_secs(20)) {
            return Ok(true);
        }
    }
    anyhow::bail!("the server of {} (process {pid}) does not stop", data.display())
}

/// After a crash or a reboot the pid file may name a process that has nothing to do with PostgreSQL.
fn belongs_to(pid: u32, data: &Path) -> bool {
    postmaster::works_in(&pid.to_string(), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_process_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
        assert!(!stop_left_over(&data).unwrap());
        assert!(remove_left_over(dir.path()).unwrap());
        assert!(!remove_left_over(dir.path()).unwrap());
    }
}
