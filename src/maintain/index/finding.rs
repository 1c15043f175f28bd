//! What is wrong with indexes, as the catalogs and statistics tell it.

use pgrx::datum::Interval;
use pgrx::pg_sys;

use super::statistics::Statistics;
use crate::pg::error::Result;
use crate::pg::spi;
use crate::pg::types::Regclass;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What an interrupted CREATE INDEX, REINDEX or DROP INDEX CONCURRENTLY left.
    LeftOver,
    /// Invalid, and there is a valid one of the same kind.
    Twin,
    Invalid,
    /// A partitioned index that is invalid because partitions lack theirs.
    Childless,
    Duplicate,
    Redundant,
    Unused,
    UnindexedForeignKey,
}

#[derive(Debug, Clone, Copy)]
pub struct Finding {
    pub fault: Fault,
    /// None for a foreign key.
    pub index: Option<pg_sys::Oid>,
    pub table: Regclass,
    /// The index that stays, or the foreign key.
    pub other: Option<pg_sys::Oid>,
}

impl Fault {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "left_over" => Self::LeftOver,
            "twin" => Self::Twin,
            "invalid" => Self::Invalid,
            "childless" => Self::Childless,
            "duplicate" => Self::Duplicate,
            "redundant" => Self::Redundant,
            "unused" => Self::Unused,
            "unindexed_foreign_key" => Self::UnindexedForeignKey,
            _ => return None,
        })
    }

    pub fn is_to_drop(self) -> bool {
        matches!(self, Self::LeftOver | Self::Twin | Self::Duplicate | Self::Redundant | Self::Unused)
    }
}

/// Of the whole database, or of one table with its partitions.
pub fn read(min_age: Interval, statistics: &Statistics, table: Option<Regclass>) -> Result<Vec<Finding>> {
    let found = spi::read(
        include_str!("../../../sql/maintain/index_findings.sql"),
        &[min_age.into(), statistics.since.into(), table.map(|table| table.0).into()],
        |row| {
            let fault = row.get::<String>(1)?.as_deref().and_then(Fault::from_name);
            Ok((fault, row.get(2)?, row.get::<pg_sys::Oid>(3)?, row.get(4)?))
        },
    )?;
    let findings = found.into_iter().filter_map(|(fault, index, table, other)| {
        Some(Finding { fault: fault?, index, table: Regclass(table?), other })
    });
    Ok(findings.collect())
}
