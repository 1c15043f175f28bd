//! Servers that follow another one.

use std::path::Path;

use super::{Cluster, temporary_directory};

impl Cluster {
    /// Starts a standby that streams from this server, in a directory of its own. Its roles, passwords and databases are
    /// those of this server.
    pub fn start_standby(&self) -> anyhow::Result<Self> {
        let temporary = temporary_directory()?;
        let dir = temporary.path().to_owned();
        let mut standby = Self::watched(&self.installation, dir, self.password.clone(), Some(temporary))?;
        let data = standby.data_dir();
        self.run_client(
            Path::new("pg_basebackup"),
            &[
                "-D".as_ref(),
                data.as_ref(),
                "-R".as_ref(),
                "--checkpoint=fast".as_ref(),
                "--no-sync".as_ref(),
            ],
        )?;
        standby.start_on_a_free_port()?;
        Ok(standby)
    }
}
