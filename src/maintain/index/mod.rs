//! Advice about indexes.

mod bloat;
mod creation;
mod definition;
mod finding;
mod foreign_key;
mod hypothetical;
mod ledger;
mod removal;
mod search;
mod statement;
mod statistics;

use pgrx::AnyNumeric;
use pgrx::datum::Interval;

use super::error::MaintainError;
use crate::pg::error::{Failure, Result};
use crate::pg::types::Regclass;
use crate::pg::{own, session, subtransaction};
use creation::Names;
pub use ledger::{drop_advised, has_index};
use statistics::Statistics;

/// In the order of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A leftover, or one with a valid twin.
    InvalidToDrop,
    InvalidToRebuild,
    /// A partitioned index that lacks indexes of partitions.
    InvalidToComplete,
    Duplicate,
    Redundant,
    UnindexedForeignKey,
    Bloated,
    Missing,
    Unused,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidToDrop | Self::InvalidToRebuild | Self::InvalidToComplete => "invalid",
            Self::Duplicate => "duplicate",
            Self::Redundant => "redundant",
            Self::UnindexedForeignKey => "unindexed_foreign_key",
            Self::Bloated => "bloated",
            Self::Missing => "missing",
            Self::Unused => "unused",
        }
    }

    pub fn action(self) -> &'static str {
        match self {
            Self::InvalidToDrop | Self::Duplicate | Self::Redundant | Self::Unused => "drop",
            Self::InvalidToRebuild | Self::Bloated => "rebuild",
            Self::InvalidToComplete | Self::UnindexedForeignKey | Self::Missing => "create",
        }
    }
}

/// One thing to do.
#[derive(Debug)]
pub struct Advice {
    pub kind: Kind,
    pub table: Regclass,
    /// The index, with its schema, quoted.
    pub object: String,
    /// One statement each.
    pub ddl: Vec<String>,
    pub undo: Option<Vec<String>>,
    pub reason: String,
    pub bytes: Option<i64>,
    pub write_cost: Option<f64>,
    pub gain: Option<AnyNumeric>,
    /// Of an index to be created.
    pub columns: Vec<String>,
    /// Among advice of its kind, the greatest comes first.
    pub rank: f64,
}

/// How long a read of the catalogs waits for a lock that came between its asking for locks and its reading.
const LOCK_TIMEOUT: (&str, &str) = ("lock_timeout", "50ms");
/// Compiling these statements takes longer than running them.
const NO_JIT: (&str, &str) = ("jit", "off");
/// How often it tries.
const ATTEMPTS: u32 = 3;

pub fn joined(statements: &[String]) -> String {
    statements.join(";\n")
}

/// Errors: 22023 for an interval that is negative or longer than anything has been known.
pub fn check_age(min_age: Interval) -> Result<Interval> {
    const LONGEST: i128 = 100 * 366 * 86_400 * 1_000_000;
    match (0..=LONGEST).contains(&min_age.as_micros()) {
        true => Ok(min_age),
        false => Err(MaintainError::AgeOutOfRange.into()),
    }
}

pub fn advice(min_age: Interval) -> Result<Vec<Advice>> {
    session::uncounted(|| uncounted_advice(min_age))
}

fn uncounted_advice(min_age: Interval) -> Result<Vec<Advice>> {
    let names = Names::default();
    let statistics = catalogued(Statistics::read)?;
    let mut advice = catalogued(|| {
        let findings = finding::read(min_age, &statistics, None)?;
        let mut advice = removal::advice(&findings, &statistics)?;
        advice.extend(creation::completions(&findings, &names)?);
        advice.extend(foreign_key::advice(&findings, &statistics, &names)?);
        advice.extend(bloat::advice(&removal::parts(&findings)?, &statistics)?);
        Ok(advice)
    })?;
    advice.extend(hypothetical::advice(&advice, &statistics, &names)?);
    advice.sort_by(|one, other| {
        one.kind.cmp(&other.kind).then(other.rank.total_cmp(&one.rank)).then(one.object.cmp(&other.object))
    });
    Ok(advice)
}

/// Runs `read`, which reads catalogs and pages, as the owner: whoever asks gets the same answer.
fn catalogued<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    session::pinned_with(&[LOCK_TIMEOUT, NO_JIT], || own::read_as_owner(read))
}

/// Runs `read` again if a lock came between.
fn attempts<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match subtransaction::discarded(&mut read) {
            Err(failure) if is_lock_timeout(&failure) => {}
            result => return result,
        }
    }
    subtransaction::discarded(read)
}

fn is_lock_timeout(failure: &Failure) -> bool {
    failure.sqlstate == pgrx::PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
}
