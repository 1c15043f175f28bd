//! The SQL of the README and of the docs pages does what they say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use opdb_e2e::cluster::Cluster;

use crate::fixture::{database, execute, installation, plain_database, servers};

#[test]
fn every_sql_block_runs_as_documented() {
    static DEPLOYER: Once = Once::new();
    DEPLOYER.call_once(|| {
        let mut production = servers().production.connect_as_superuser("postgres").unwrap();
        execute(&mut production, "CREATE ROLE deployer LOGIN PASSWORD 'secret'");
    });
    let pages = pages();
    assert!(pages.len() > 5, "{pages:?}");
    let blocks: usize = pages.iter().map(|page| run_page(page)).sum();
    assert!(blocks > 30, "only {blocks} blocks were found");
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

/// Runs the blocks of one page, in order, on two databases of its own; returns how many there were.
fn run_page(page: &Path) -> usize {
    let (here, there) = (database(&servers().test), plain_database(&servers().production));
    let blocks = sql_blocks(&fs::read_to_string(page).unwrap());
    for (line, block) in &blocks {
        let block = block
            .replace("\"port\": 5433", &format!("\"port\": {}", servers().production.port()))
            .replace("\"dbname\": \"events\"", &format!("\"dbname\": \"{there}\""));
        let outcome = match block.starts_with("-- on production") {
            true => psql(&servers().production, &there, &block),
            false => psql(&servers().test, &here, &block),
        };
        let expected = block.lines().find_map(|line| line.strip_prefix("-- fails: "));
        let place = format!("{}:{line}\n{block}", page.display());
        match (outcome, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(sqlstate)) => assert!(error.contains(sqlstate.trim()), "{place}\n{error}"),
            (Ok(()), Some(sqlstate)) => panic!("{place}\ndid not fail with {sqlstate}"),
            (Err(error), None) => panic!("{place}\n{error}"),
        }
    }
    blocks.len()
}

/// The fenced blocks in SQL, each with the number of its first line.
fn sql_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```sql" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

fn psql(cluster: &Cluster, database: &str, sql: &str) -> Result<(), String> {
    let mut child = Command::new(installation().bin.join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"])
        .args([
            "-h",
            cluster.host(),
            "-p",
            &cluster.port().to_string(),
            "-U",
            cluster.superuser(),
            "-d",
            database,
        ])
        .env("PGPASSWORD", cluster.password())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
