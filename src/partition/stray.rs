//! Rows in the default partition, and how new partitions come past it.

use std::collections::BTreeMap;

use opdb_core::partition::Range;

use super::children::{Children, DefaultPartition};
use super::column;
use super::error::PartitionError;
use super::set::Set;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::relation::{self, Seen};
use crate::pg::spi;

/// A default partition of up to so many pages (2 MB) is scanned in a few milliseconds when a partition is attached.
const SMALL: u32 = 256;
const AHEAD: &str = "opdb_ahead_";

/// What is in the default partition.
#[derive(Debug, Default, Clone)]
pub struct Strays {
    /// By the range that the rows belong to, in order.
    pub rows: BTreeMap<Range, i64>,
    /// Without a place in any range: NULL, infinite, or beyond what a key can be.
    pub unplaced: i64,
}

impl Strays {
    pub fn count(&self) -> i64 {
        self.rows.values().sum::<i64>() + self.unplaced
    }

    /// Whether any lies within a range, but for those that are moved before.
    pub fn any_within(&self, range: Range, moved: &[Range]) -> bool {
        self.rows.keys().any(|stray| stray.meets(range) && !moved.contains(stray))
    }
}

/// The rows of the default partition, counted without waiting for anybody. None if there is no default partition, or
/// one whose rows cannot be counted here: a partitioned or a foreign table.
///
/// Errors: 55P03 if it is locked.
pub fn find(set: &Set, children: &Children) -> Result<Option<Strays>> {
    let Some(default) = children.default.as_ref().filter(|default| default.kind == "r") else {
        return Ok(None);
    };
    match relation::read_now(default.table, |table| Ok(table.blocks()))? {
        Seen::Read(0) => Ok(Some(Strays::default())),
        Seen::Read(_) => Ok(Some(count(set, &default.name, default.owner)?)),
        Seen::Gone => Err(PartitionError::Changed(default.name.sql()).into()),
        Seen::Locked => {
            let blockers = crate::pg::lock::holders(default.table)?;
            Err(PartitionError::Locked { relation: default.name.sql(), seconds: 0, blockers }.into())
        }
    }
}

/// The rows of a table, without those of tables below it.
pub fn count(set: &Set, table: &Qualified, owner: pgrx::pg_sys::Oid) -> Result<Strays> {
    let (group, is_placed) = column::group(&set.parent, set.key, set.grid.span());
    let column = crate::pg::name::identifier(&set.parent.column.name);
    let place = |aggregate: &str| {
        let value = match aggregate {
            // There is no minimum of UUIDs before PostgreSQL 18, but one of their texts.
            _ if set.key == opdb_core::partition::Key::Uuid7 => {
                format!("{aggregate}({column}::text) FILTER (WHERE {is_placed})")
            }
            _ => format!("{aggregate}({column}) FILTER (WHERE {is_placed})"),
        };
        column::place(set.key, &value)
    };
    let sql = format!(
        "SELECT count(*) FILTER (WHERE {is_placed}), count(*), {}, {} FROM ONLY {} GROUP BY {group}",
        place("min"),
        place("max"),
        table.sql()
    );
    let mut strays = Strays::default();
    let groups = column::as_owner(owner, || {
        spi::read_now(&sql, &[], |row| {
            Ok((row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?.zip(row.get::<i64>(4)?)))
        })
    })?;
    for (placed, all, places) in groups {
        let (placed, all) = (placed.unwrap_or_default(), all.unwrap_or_default());
        // In some old zones a quarter of an hour is in two days.
        let ranges = places.map(|(first, last)| (set.grid.range_at(first), set.grid.range_at(last)));
        let Some((Some(first), last)) = ranges else {
            strays.unplaced += all;
            continue;
        };
        strays.unplaced += all - placed;
        *strays.rows.entry(first).or_default() += placed;
        if let Some(last) = last {
            strays.rows.entry(last).or_default();
        }
    }
    Ok(strays)
}

/// A CHECK that opdb has put on the default partition: no row of `range` is in it, so that attaching need not look.
pub struct Ahead {
    pub range: Option<Range>,
    pub is_validated: bool,
}

impl Ahead {
    pub fn name_for(range: Range) -> String {
        format!("{AHEAD}{}_{}", range.lower, range.upper)
    }

    fn range(name: &str) -> Option<Range> {
        let (lower, upper) = name.strip_prefix(AHEAD)?.split_once('_')?;
        Some(Range { lower: lower.parse().ok()?, upper: upper.parse().ok()? })
    }

    /// Those that there are; more than what a run needs is what an interrupted one has left.
    pub fn all(default: &DefaultPartition) -> Result<Vec<Self>> {
        let found = spi::read_now(
            "SELECT conname::text, convalidated FROM pg_catalog.pg_constraint
             WHERE conrelid = $1 AND contype = 'c' AND pg_catalog.starts_with(conname::text, $2) ORDER BY 1",
            &[default.table.into(), AHEAD.into()],
            |row| Ok((row.get::<String>(1)?.unwrap_or_default(), row.get::<bool>(2)? == Some(true))),
        )?;
        let ahead = |(name, is_validated): (String, bool)| {
            let range = Self::range(&name);
            Self { range, is_validated }
        };
        Ok(found.into_iter().map(ahead).collect())
    }
}

/// Whether the default partition is so large that attaching should not scan it.
pub fn is_large(default: &DefaultPartition) -> Result<bool> {
    // Others have no pages of their own.
    if default.kind != "r" {
        return Ok(false);
    }
    let seen = relation::read_now(default.table, |table| Ok(table.blocks()))?;
    Ok(!matches!(seen, Seen::Read(..=SMALL)))
}
