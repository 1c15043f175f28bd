//! Processes of a server that are there and do nothing, as those of a machine that hangs.

use anyhow::Context;

use super::{Cluster, postmaster};

/// Goes on when the value is dropped.
pub struct Suspended {
    pid: u32,
}

impl Cluster {
    /// Has the server accept no connections: the system still does.
    pub fn suspend_postmaster(&self) -> anyhow::Result<Suspended> {
        Suspended::new(postmaster::pid(&self.data_dir()).context("the server does not run")?)
    }

    /// Has one of the server's processes answer nothing.
    pub fn suspend_backend(&self, pid: i32) -> anyhow::Result<Suspended> {
        anyhow::ensure!(
            postmaster::works_in(&pid.to_string(), &self.data_dir()),
            "process {pid} is none of this server"
        );
        Suspended::new(u32::try_from(pid)?)
    }
}

impl Suspended {
    fn new(pid: u32) -> anyhow::Result<Self> {
        postmaster::signal(pid, "STOP")?;
        Ok(Self { pid })
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        // A process that is gone needs nothing.
        let _ = postmaster::signal(self.pid, "CONT");
    }
}
