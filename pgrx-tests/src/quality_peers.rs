//! opdb's quality scoring beside Great Expectations and Soda Core: the same rules on the same table, and where their
//! results differ, and why.
//!
//! The rules, the table and the scripts that run the peers are in `xtask/peers/quality`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use postgres::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::{Cluster, command, temporary_directory};

/// Makes the table `orders`, empty, and the function `made_orders`, which makes rows for it.
pub const ORDERS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/peers/quality/orders.sql"));
const RULES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/peers/quality/rules.json"));

/// A rule as opdb names it. The scripts say it in the words of the peers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rule {
    pub name: String,
    pub dimension: String,
    pub rule: String,
    pub columns: Vec<String>,
    #[serde(default = "no_arguments")]
    pub args: Value,
    /// The least share of values that must pass.
    pub threshold: Value,
    /// A constraint of the table guarantees it, so that opdb need not measure it.
    #[serde(default)]
    pub proven: bool,
}

fn no_arguments() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The rules for the table `orders`.
pub fn rules() -> anyhow::Result<Vec<Rule>> {
    Ok(serde_json::from_str(RULES)?)
}

/// What a tool says of one rule.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Finding {
    /// How many values it was about; the peers do not always tell.
    pub evaluated: Option<i64>,
    pub failed: i64,
    pub passed: bool,
}

/// By the name of the rule.
pub type Findings = BTreeMap<String, Finding>;

/// Has opdb know the rules.
pub fn add_rules(client: &mut Client, table: &str, rules: &[Rule]) -> anyhow::Result<()> {
    let sql = "SELECT opdb.add_quality_rule($1::text::regclass, $2, $3, $4, $5::text::jsonb,
                                            threshold => $6::text::numeric, name => $7)";
    for rule in rules {
        let (args, threshold) = (rule.args.to_string(), rule.threshold.to_string());
        client
            .execute(
                sql,
                &[&table, &rule.dimension, &rule.rule, &rule.columns, &args, &threshold, &rule.name],
            )
            .with_context(|| format!("opdb refuses the rule {}", rule.name))?;
    }
    Ok(())
}

/// What a run of opdb found.
pub fn opdb(client: &mut Client, run: i64, rules: &[Rule]) -> anyhow::Result<Findings> {
    let sql = "SELECT evaluated, evaluated - passed, status IN ('passed', 'partial')
               FROM opdb.quality_report($1) WHERE name = $2";
    let finding = |rule: &Rule| {
        let row = client
            .query_one(sql, &[&run, &rule.name])
            .with_context(|| format!("opdb reports nothing of the rule {}", rule.name))?;
        let finding = Finding { evaluated: row.get(0), failed: row.get(1), passed: row.get(2) };
        Ok((rule.name.clone(), finding))
    };
    rules.iter().map(finding).collect()
}

/// A tool that does the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    GreatExpectations,
    Soda,
}

impl Peer {
    pub const ALL: [Self; 2] = [Self::GreatExpectations, Self::Soda];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GreatExpectations => "Great Expectations",
            Self::Soda => "Soda Core",
        }
    }

    const fn script(self) -> &'static str {
        match self {
            Self::GreatExpectations => "run_gx.py",
            Self::Soda => "run_soda.py",
        }
    }
}

/// The directory of the peers' scripts.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/peers/quality")
}

/// Has a peer of the virtual `environment` check `rules` on a table of schema public.
pub fn run(
    environment: &Path,
    peer: Peer,
    cluster: &Cluster,
    database: &str,
    table: &str,
    rules: &[Rule],
) -> anyhow::Result<Findings> {
    let place = temporary_directory()?;
    let file = place.path().join("rules.json");
    fs::write(&file, serde_json::to_string(rules)?)?;
    let url =
        format!("postgresql://{}@{}:{}/{database}", cluster.superuser(), cluster.host(), cluster.port());
    let mut python = Command::new(environment.join("bin/python"));
    // What the scripts import must not leave compiled files in the source tree (-B).
    python.arg("-B").arg(directory().join(peer.script())).args([&url, table]).arg(&file);
    python.env_clear().env("PGPASSWORD", cluster.password()).current_dir(place.path());
    let printed = command::run(&mut python)?;
    let line = printed.lines().last().unwrap_or_default();
    let findings: Findings =
        serde_json::from_str(line).with_context(|| format!("{} printed {printed:?}", peer.name()))?;
    for rule in rules {
        anyhow::ensure!(findings.contains_key(&rule.name), "{} says nothing of {}", peer.name(), rule.name);
    }
    Ok(findings)
}

/// A rule of which a peer counts other rows than opdb.
pub struct Difference {
    pub peer: Peer,
    pub rule: &'static str,
    /// Counts what the peer counts.
    pub failed: &'static str,
    pub why: &'static str,
}

pub const DIFFERENCES: [Difference; 5] = [
    Difference {
        peer: Peer::GreatExpectations,
        rule: "sku_not_blank",
        failed: r"SELECT count(*) FROM orders WHERE sku !~ '\S'",
        why: "blank is a regular expression there, and NULL is not held against one",
    },
    Difference {
        peer: Peer::GreatExpectations,
        rule: "sku_unique",
        failed: "SELECT coalesce(sum(copies), 0)::bigint
                 FROM (SELECT count(*) AS copies FROM orders WHERE sku IS NOT NULL GROUP BY sku) c WHERE copies > 1",
        why: "every copy of a repeated value fails; of opdb's, all but one",
    },
    Difference {
        peer: Peer::Soda,
        rule: "sku_unique",
        failed: "SELECT count(*)
                 FROM (SELECT count(*) AS copies FROM orders WHERE sku IS NOT NULL GROUP BY sku) c WHERE copies > 1",
        why: "the values that are repeated are counted, however often they are",
    },
    Difference {
        peer: Peer::GreatExpectations,
        rule: "sku_length",
        failed: "SELECT count(*) FROM orders WHERE char_length(sku) <> 14",
        why: "a blank is a value there; of opdb it is missing, and held against sku_not_blank alone",
    },
    Difference {
        peer: Peer::Soda,
        rule: "sku_length",
        failed: "SELECT count(*) FROM orders WHERE char_length(sku) <> 14",
        why: "a blank is a value there; of opdb it is missing, and held against sku_not_blank alone",
    },
];

/// How the finding of a peer stands to that of opdb.
#[derive(Debug, PartialEq, Eq)]
pub enum Comparison {
    Same,
    /// The counts differ as they must.
    Explained(&'static str),
    Unexplained,
}

/// Compares what opdb and a peer found in the table `orders`.
pub fn compare(
    client: &mut Client,
    peer: Peer,
    rule: &str,
    opdb: &Finding,
    theirs: &Finding,
) -> anyhow::Result<Comparison> {
    if opdb.passed != theirs.passed {
        return Ok(Comparison::Unexplained);
    }
    let difference = DIFFERENCES.iter().find(|difference| (difference.peer, difference.rule) == (peer, rule));
    let (expected, comparison) = match difference {
        None => (opdb.failed, Comparison::Same),
        Some(difference) => {
            (client.query_one(difference.failed, &[])?.get(0), Comparison::Explained(difference.why))
        }
    };
    Ok(if theirs.failed == expected { comparison } else { Comparison::Unexplained })
}
