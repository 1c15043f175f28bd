//! Who is measured, and what each of them has spent.

use std::fs;
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use opdb_e2e::cluster::Cluster;
use opdb_e2e::quality_peers::{self, Findings, Peer, Rule};

use super::{Bench, Database, SCORE, by_hand, by_hand_with_digest};
use crate::bench::report::median;
use crate::bench::usage::{Cost, of_ended_children};

/// How long a backend may take to be gone after its client.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    ByHand,
    ByHandWithDigest,
    Opdb,
    OpdbWithoutDigest,
    OpdbCountsOnly,
    Peer(Peer),
    /// Without the rules that constraints guarantee, which opdb need not measure.
    PeerMeasured(Peer),
}

impl Contender {
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::ByHand,
            Self::ByHandWithDigest,
            Self::Opdb,
            Self::OpdbWithoutDigest,
            Self::OpdbCountsOnly,
        ];
        for peer in Peer::ALL {
            all.extend([Self::Peer(peer), Self::PeerMeasured(peer)]);
        }
        all
    }

    pub fn name(self) -> String {
        match self {
            Self::ByHand => "by hand".into(),
            Self::ByHandWithDigest => "by hand, with a digest".into(),
            Self::Opdb => "opdb".into(),
            Self::OpdbWithoutDigest => "opdb, without the digest".into(),
            Self::OpdbCountsOnly => "opdb, without digest and failing keys".into(),
            Self::Peer(peer) => peer.name().into(),
            Self::PeerMeasured(peer) => format!("{}, without proven rules", peer.name()),
        }
    }

    /// In fresh sessions, connecting included for the peers. Those tell what they found.
    pub fn run(self, bench: &Bench, database: &Database) -> anyhow::Result<(Spent, Option<Findings>)> {
        let options = |options: &str| format!("SELECT * FROM opdb.quality_score('orders', '{options}')");
        let sql = match self {
            Self::ByHand => by_hand("orders"),
            Self::ByHandWithDigest => by_hand_with_digest(),
            Self::Opdb => SCORE.to_owned(),
            Self::OpdbWithoutDigest => options(r#"{"digest": false}"#),
            Self::OpdbCountsOnly => options(r#"{"digest": false, "failures": false}"#),
            Self::Peer(peer) => return of_peer(bench, database, peer, &bench.rules),
            Self::PeerMeasured(peer) => {
                let rules: Vec<Rule> = bench.rules.iter().filter(|rule| !rule.proven).cloned().collect();
                return of_peer(bench, database, peer, &rules);
            }
        };
        let Cost { cpu, wall } = Cost::of_sql(&mut bench.session(database)?, &sql)?;
        Ok((Spent { client: Duration::ZERO, server: cpu, wall }, None))
    }
}

/// Processor time and wall clock time.
#[derive(Clone, Copy)]
pub struct Spent {
    /// Of the tool itself.
    pub client: Duration,
    /// Of its backends.
    pub server: Duration,
    pub wall: Duration,
}

impl Spent {
    pub const NOTHING: Self = Self { client: Duration::ZERO, server: Duration::ZERO, wall: Duration::ZERO };

    pub fn total(self) -> Duration {
        self.client + self.server
    }

    pub fn median(all: &[Self]) -> Self {
        let of = |part: fn(&Self) -> Duration| median(&all.iter().map(part).collect::<Vec<_>>());
        Self { client: of(|it| it.client), server: of(|it| it.server), wall: of(|it| it.wall) }
    }
}

/// Of a program and all its backends: whoever started them has counted them once they are gone. No session of ours may
/// be open.
fn of_peer(
    bench: &Bench,
    database: &Database,
    peer: Peer,
    rules: &[Rule],
) -> anyhow::Result<(Spent, Option<Findings>)> {
    let postmaster = bench.postmaster()?;
    let spent_so_far = || {
        wait_for_backends(&bench.cluster, postmaster)?;
        anyhow::Ok((of_ended_children(process::id())?, of_ended_children(postmaster)?))
    };
    let ((client, server), begun) = (spent_so_far()?, Instant::now());
    let Bench { environment, cluster, .. } = bench;
    let findings = quality_peers::run(environment, peer, cluster, &database.name, "orders", rules)?;
    let wall = begun.elapsed();
    let (client_after, server_after) = spent_so_far()?;
    let spent = Spent { client: client_after - client, server: server_after - server, wall };
    Ok((spent, Some(findings)))
}

/// Until the postmaster has seen the backend of every client end.
fn wait_for_backends(cluster: &Cluster, postmaster: u32) -> anyhow::Result<()> {
    let begun = Instant::now();
    while has_backends(cluster, postmaster)? {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "a backend does not end");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// By their titles, such as `postgres: postgres bench 127.0.0.1(40000) idle`; one that has ended has none any more.
fn has_backends(cluster: &Cluster, postmaster: u32) -> anyhow::Result<bool> {
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))
        .context("cannot read which backends there are")?;
    let client = format!(" {}(", cluster.host());
    let is_backend = |child: &str| {
        fs::read_to_string(format!("/proc/{child}/cmdline"))
            .is_ok_and(|title| title.is_empty() || title.contains(&client))
    };
    Ok(children.split_whitespace().any(is_backend))
}
