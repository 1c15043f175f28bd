//! Stops a server whose owner is gone, even when the owner was killed and could not clean up.
//!
//! The watchdog is a shell that reads a pipe whose other end only the owner has. The system closes that end
//! when the owner ends, however it ends.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// The first argument is the directory to remove or nothing, the others are the command that stops the
/// server. The owner may be gone while the server still starts, hence the three attempts.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
directory=$1
shift
read -r order
[ "$order" = dismissed ] && exit
for pause in 0 1 5; do
    sleep $pause
    "$@" && break
done
[ -z "$directory" ] || rm -rf -- "$directory"
"#;

pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Has `stop` run, and then `directory` removed, when this process ends without dismissing the watchdog.
    pub(super) fn start(stop: &Command, directory: Option<&Path>) -> anyhow::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(directory.unwrap_or(Path::new("")))
            .arg(stop.get_program())
            .args(stop.get_args())
            .env_clear()
            .envs(stop.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir("/")
            .stdin(Stdio::piped())
            // Whoever reads the owner's output must not have to wait for the watchdog.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C reaches the whole process group of the terminal, and the watchdog must survive it.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        Ok(Self { shell })
    }

    /// Sends the watchdog away: the server stays as it is.
    pub(super) fn dismiss(&mut self) -> anyhow::Result<()> {
        if let Some(mut pipe) = self.shell.stdin.take() {
            pipe.write_all(b"dismissed\n").context("the watchdog is gone")?;
            self.shell.wait()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(order: impl FnOnce(&mut Watchdog)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let (mark, kept) = (dir.path().join("mark"), dir.path().join("kept"));
        std::fs::create_dir(&kept).unwrap();
        let mut stop = Command::new("touch");
        stop.arg(&mark).env("PATH", std::env::var_os("PATH").unwrap());
        let mut watchdog = Watchdog::start(&stop, Some(&kept)).unwrap();
        order(&mut watchdog);
        drop(watchdog.shell.stdin.take());
        watchdog.shell.wait().unwrap();
        assert_eq!(mark.exists(), !kept.exists());
        mark.exists()
    }

    #[test]
    fn it_stops_the_server_of_an_owner_that_vanished() {
        assert!(watch(|_| {}));
    }

    #[test]
    fn it_leaves_the_server_of_an_owner_that_dismissed_it() {
        assert!(!watch(|watchdog| watchdog.dismiss().unwrap()));
    }
}
