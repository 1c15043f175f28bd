//! `cargo xtask demo`: the main job, shown on two throwaway clusters.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use opdb_e2e::cluster::{Cluster, is_reachable, is_root, remove_left_over};
use opdb_e2e::main_job::{self, DATABASE};

use crate::extension;
use crate::machine::Machine;
use crate::process::repository;

const CLUSTERS: [&str; 2] = ["test", "production"];
const STOP: &str = "cargo xtask demo --stop";

/// Runs the demo; with `keep`, the clusters stay for a look around.
pub fn run(pg: Option<u16>, keep: bool) -> anyhow::Result<()> {
    println!("[1/4] preparing the machine");
    let machine = Machine::prepare(pg)?;
    println!("[2/4] building and installing the extension");
    extension::install(&machine)?;
    println!("[3/4] starting two clusters");
    remove_left_overs()?;
    let home = home()?;
    let start = |name: &str| {
        let cluster = Cluster::start(&machine.installation, &home.join(name), &[])?;
        println!("  {name}: 127.0.0.1:{}", cluster.port());
        anyhow::Ok(cluster)
    };
    let [test, production] = CLUSTERS;
    let (test, production) = (start(test)?, start(production)?);
    println!("[4/4] doing the main job");
    main_job::run(&test, &production, &mut std::io::stdout())?;
    if keep {
        return keep_running([test, production]);
    }
    drop((test, production));
    remove_left_overs()?;
    println!("done; both clusters are gone (--keep leaves them running)");
    Ok(())
}

fn keep_running(clusters: [Cluster; 2]) -> anyhow::Result<()> {
    println!("the clusters keep running; connect with");
    for cluster in &clusters {
        println!("  {}", cluster.psql_command(DATABASE));
    }
    println!("stop and remove them with\n  {STOP}");
    clusters.into_iter().try_for_each(Cluster::keep)
}

/// Stops and removes the clusters that an earlier demo left.
pub fn stop() -> anyhow::Result<()> {
    if remove_left_overs()? == 0 {
        println!("no demo cluster was left");
    }
    Ok(())
}

fn remove_left_overs() -> anyhow::Result<usize> {
    let mut removed = 0;
    for home in [Some(own_home()), other_home()?.filter(|home| is_ours(home))].into_iter().flatten() {
        for dir in CLUSTERS.map(|name| home.join(name)) {
            if remove_left_over(&dir)? {
                println!("  stopped and removed {}", dir.display());
                removed += 1;
            }
        }
        // An empty directory is no use; one that is not empty holds something else, and stays.
        let _ = fs::remove_dir(&home);
    }
    Ok(removed)
}

/// Where the clusters go: below `target`, unless the servers' account cannot get there.
fn home() -> anyhow::Result<PathBuf> {
    let own = own_home();
    fs::create_dir_all(&own)?;
    if is_reachable(&own)? {
        return Ok(own);
    }
    let other = other_home()?.with_context(|| format!("the servers cannot reach {}", own.display()))?;
    println!("  user postgres cannot reach {}: using {}", own.display(), other.display());
    if !other.exists() {
        fs::create_dir(&other).with_context(|| format!("cannot create {}", other.display()))?;
    }
    anyhow::ensure!(is_ours(&other), "{} is not a directory of root's: remove it", other.display());
    Ok(other)
}

fn own_home() -> PathBuf {
    repository().join("target/demo")
}

/// Only root needs another place, because its servers run under another account than itself.
fn other_home() -> anyhow::Result<Option<PathBuf>> {
    if !is_root()? {
        return Ok(None);
    }
    let temporary = env::temp_dir();
    let place = if is_reachable(&temporary).unwrap_or(false) { temporary } else { Path::new("/tmp").into() };
    Ok(Some(place.join("opdb-demo")))
}

/// Anybody can make a directory in a temporary directory before root does, and exchange what is in it.
fn is_ours(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0)
}
