//! Indexes to drop or, where they are invalid, to rebuild.

use std::collections::{HashMap, HashSet};

use pgrx::pg_sys;

use super::definition::{self, Tree};
use super::finding::{Fault, Finding};
use super::statistics::Statistics;
use super::{Advice, Kind};
use crate::pg::error::Result;
use crate::pg::spi;

/// The advice that follows from each finding about an index. One that cannot be described now is left out: without its
/// undo nobody should drop it.
pub fn advice(findings: &[Finding], statistics: &Statistics) -> Result<Vec<Advice>> {
    let found: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.fault.is_to_drop() || finding.fault == Fault::Invalid)
        .collect();
    let trees = definition::read(found.iter().filter_map(|finding| finding.index).collect())?;
    let others = names(found.iter().filter_map(|finding| finding.other).collect())?;
    let advice = found.into_iter().filter_map(|finding| {
        let tree = trees.get(&finding.index?)?;
        let other = finding.other.and_then(|oid| others.get(&oid));
        of_finding(finding, tree, other.map_or("", String::as_str), statistics)
    });
    Ok(advice.collect())
}

#[allow(clippy::cast_precision_loss)]
fn of_finding(finding: &Finding, tree: &Tree, other: &str, statistics: &Statistics) -> Option<Advice> {
    let top = tree.top()?;
    let kind = match finding.fault {
        Fault::LeftOver | Fault::Twin => Kind::InvalidToDrop,
        Fault::Invalid => Kind::InvalidToRebuild,
        Fault::Duplicate => Kind::Duplicate,
        Fault::Redundant => Kind::Redundant,
        Fault::Unused => Kind::Unused,
        Fault::Childless | Fault::UnindexedForeignKey => return None,
    };
    let rebuilds = kind == Kind::InvalidToRebuild;
    // A rebuild of an invalid index gives nothing back.
    let bytes = if rebuilds { None } else { tree.bytes() };
    Some(Advice {
        kind,
        table: finding.table,
        object: top.name.sql(),
        ddl: vec![if rebuilds { top.rebuild_statement() } else { top.drop_statement() }],
        undo: if rebuilds { None } else { Some(tree.creation()?) },
        reason: reason(finding.fault, tree, other, statistics),
        bytes,
        write_cost: statistics.per_second(tree.writes()),
        gain: None,
        columns: Vec::new(),
        rank: bytes.unwrap_or(0) as f64,
    })
}

fn reason(fault: Fault, tree: &Tree, other: &str, statistics: &Statistics) -> String {
    let is_unique = tree.top().is_some_and(|top| top.is_unique);
    let elsewhere = match statistics.is_of_standby() {
        true => "; a standby does not see whether the primary is building it: ask there first",
        false => "",
    };
    match fault {
        Fault::LeftOver => {
            format!(
                "an interrupted CONCURRENTLY left it: it is invalid, written to and never read{elsewhere}"
            )
        }
        Fault::Twin => {
            format!("invalid: written to and never read; {other} is valid and the same{elsewhere}")
        }
        Fault::Invalid => {
            let unique =
                if is_unique { "; duplicates in the table, if any, make the rebuild fail" } else { "" };
            format!("invalid: written to and never read{unique}{elsewhere}")
        }
        Fault::Duplicate => format!("the same as {other}, which stays"),
        Fault::Redundant => {
            format!("{other}, which stays, begins with the same columns and can do all it does")
        }
        Fault::Unused => {
            let expressions = match tree.top().is_some_and(|top| top.has_expressions) {
                true => "; the planner also loses the statistics that it keeps for the expressions",
                false => "",
            };
            format!(
                "not scanned once {}, when statistics began; an index made lately looks unused too; {}{expressions}",
                statistics.period(),
                statistics.blind_spot()
            )
        }
        Fault::Childless | Fault::UnindexedForeignKey => String::new(),
    }
}

/// The indexes that go, with their parts.
pub fn parts(findings: &[Finding]) -> Result<HashSet<pg_sys::Oid>> {
    let going: Vec<pg_sys::Oid> = findings
        .iter()
        .filter(|finding| finding.fault.is_to_drop())
        .filter_map(|finding| finding.index)
        .collect();
    let parts = spi::read(
        "WITH RECURSIVE part AS (
             SELECT i.oid FROM pg_catalog.unnest($1) i (oid)
             UNION ALL
             SELECT h.inhrelid FROM part p JOIN pg_catalog.pg_inherits h ON h.inhparent = p.oid)
         SELECT p.oid FROM part p",
        &[going.into()],
        |row| row.get::<pg_sys::Oid>(1),
    )?;
    Ok(parts.into_iter().flatten().collect())
}

/// Names of relations, with their schemas, quoted.
fn names(relations: Vec<pg_sys::Oid>) -> Result<HashMap<pg_sys::Oid, String>> {
    let named = spi::read(
        "SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1)",
        &[relations.into()],
        |row| Ok(row.get::<pg_sys::Oid>(1)?.zip(row.get::<String>(2)?)),
    )?;
    Ok(named.into_iter().flatten().collect())
}
