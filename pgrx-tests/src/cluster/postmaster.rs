//! The server's first process, as its `postmaster.pid` names it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::command;

const POLL: Duration = Duration::from_millis(50);

/// The process id of the postmaster of a data directory, if it runs or did not say goodbye.
pub(super) fn pid(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

/// Kills the postmaster with SIGKILL and waits until its backends have noticed and left.
pub(super) fn kill(data: &Path) -> anyhow::Result<()> {
    let pid = pid(data).with_context(|| format!("no server runs in {}", data.display()))?;
    signal(pid, "KILL")?;
    anyhow::ensure!(
        wait(|| !is_in_use(data), Duration::from_secs(20)),
        "the backends of the killed server of {} stay",
        data.display()
    );
    // The first process of a container may collect the dead late or never, and PostgreSQL takes a dead process
    // that was not collected for a running server.
    let entry = format!("/proc/{pid}");
    if !wait(|| !Path::new(&entry).exists(), Duration::from_millis(200)) {
        fs::remove_file(data.join("postmaster.pid"))?;
    }
    Ok(())
}

/// Whether the process works in the data directory, as only the server's processes do.
pub(super) fn works_in(pid: &str, data: &Path) -> bool {
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
    cwd.is_ok_and(|cwd| data.canonicalize().is_ok_and(|data| data == cwd))
}

fn is_in_use(data: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.into_iter().any(|entry| entry.file_name().to_str().is_some_and(|pid| works_in(pid, data)))
}

/// The processes of all servers, and what they do, as their titles tell.
pub(super) fn server_processes() -> Vec<(String, String)> {
    let title = |entry: fs::DirEntry| {
        let title = fs::read(entry.path().join("cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title).replace('\0', " ").trim().to_owned();
        let pid = entry.file_name().to_string_lossy().into_owned();
        title.starts_with("postgres: ").then_some((pid, title))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(title).collect()
}

/// Sends a signal. `kill` is a shell builtin, whereas the program of that name may not be installed.
pub(super) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    command::run(Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &pid.to_string()]))
        .map(drop)
}

/// Whether the condition becomes true in the given time.
pub(super) fn wait(condition: impl Fn() -> bool, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(POLL);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_names_the_process() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(pid(dir.path()), None);
        fs::write(dir.path().join("postmaster.pid"), "4711\n/data\n1700000000\n5433\n\n").unwrap();
        assert_eq!(pid(dir.path()), Some(4711));
    }
}
