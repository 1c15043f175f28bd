//! What is measured of a table: its free space, its dead rows, and how far a freeze would come.

use opdb_core::maintain::vacuum::{Freeze, Sample};
use pgrx::pg_sys;

use super::vacuum::Listed;
use super::vacuum_blocker::{Blockers, Horizon};
use crate::pg::error::{Failure, Result};
use crate::pg::relation::{self, Relation, Seen};
use crate::pg::types::Regclass;
use crate::pg::{free_space, heap, subtransaction, xid};

/// A table and its TOAST table.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    pub bytes: u64,
    pub reclaimable_bytes: Option<u64>,
    /// The part of it that is free already.
    pub free_bytes: Option<u64>,
    pub sample: Option<Sample>,
    pub freezes: Vec<Freeze>,
    pub holder: Option<String>,
}

pub enum Outcome {
    Measured(Measured),
    /// With the reason.
    NotMeasured(String),
    Gone,
}

/// Looks at the table, unless it would have to wait. An unreadable page is a reason, too: other tables need their turn.
pub fn measure(table: &Listed, blockers: &mut Blockers) -> Result<Outcome> {
    let Some(fillfactor) = table.fillfactor else {
        return Ok(Outcome::NotMeasured("its pages are not those of a heap".into()));
    };
    let result = subtransaction::discarded(|| {
        let seen = relation::read_now(table.name, |relation| {
            let horizon = blockers.horizon(&table.horizon, relation)?;
            let main = part(table, relation, &horizon, (table.rows, table.dead), fillfactor);
            Ok((main, horizon))
        })?;
        let (main, horizon) = match seen {
            Seen::Read(read) => read,
            Seen::Locked => return Ok(Outcome::NotMeasured("locked".into())),
            Seen::Gone => return Ok(Outcome::Gone),
        };
        let toast = match table.toast {
            Some(toast) => relation::read_now(Regclass(toast), |relation| {
                Ok(Some(part(table, relation, &horizon, (table.toast_rows, table.toast_dead), 100)))
            })?,
            None => Seen::Read(None),
        };
        Ok(match toast {
            Seen::Read(toast) => Outcome::Measured(main.with(toast, table, horizon)),
            Seen::Locked => Outcome::NotMeasured("its TOAST table is locked".into()),
            Seen::Gone => Outcome::Gone,
        })
    });
    result.or_else(
        |failure| if is_damage(&failure) { Ok(Outcome::NotMeasured(failure.message)) } else { Err(failure) },
    )
}

/// Corrupted data, or a file that cannot be read.
fn is_damage(failure: &Failure) -> bool {
    matches!(failure.class().as_str(), "XX" | "58")
}

fn part(
    table: &Listed,
    relation: &Relation,
    horizon: &Horizon,
    (rows, dead): (Option<f64>, i64),
    fillfactor: u32,
) -> Measured {
    let space = free_space::read(relation);
    let sample = table.is_due("dead") || table.is_due("insert");
    let sample = sample.then(|| heap::sample(relation, horizon.xid));
    let row = sample.and_then(|sample| sample.bytes_per_row()).or_else(|| Some(space.row_bytes(rows?)));
    Measured {
        bytes: space.bytes(),
        reclaimable_bytes: row.map(|row| space.reclaimable_bytes(row, dead as f64, fillfactor)),
        free_bytes: row.map(|row| space.reclaimable_bytes(row, 0.0, fillfactor)),
        sample,
        ..Measured::default()
    }
}

impl Measured {
    fn with(self, toast: Option<Self>, table: &Listed, horizon: Horizon) -> Self {
        let freezes = freezes(table, horizon.xid);
        let holder = horizon.holder;
        let Some(toast) = toast else { return Self { freezes, holder, ..self } };
        let sum = |main: Option<u64>, toast: Option<u64>| Some(main? + toast?);
        Self {
            bytes: self.bytes + toast.bytes,
            reclaimable_bytes: sum(self.reclaimable_bytes, toast.reclaimable_bytes),
            free_bytes: sum(self.free_bytes, toast.free_bytes),
            sample: self.sample.zip(toast.sample).map(|(main, toast)| main.and(toast)),
            freezes,
            holder,
        }
    }

    /// Whether the VACUUM that is due would do what it is due for, or some of it.
    pub fn vacuum_helps(&self, table: &Listed) -> bool {
        let removes = self.sample.is_some_and(|sample| sample.removing_helps());
        table.is_due("dead") && removes
            || table.is_due("insert") && !self.rows_are_too_new(table)
            || self.freezes.iter().any(Freeze::vacuum_helps)
    }

    /// Whether somebody keeps it from doing all of it.
    pub fn is_held(&self, table: &Listed) -> bool {
        self.sample.is_some_and(|sample| sample.are_held())
            || self.rows_are_too_new(table)
            || self.freezes.iter().any(Freeze::is_held)
    }

    /// Whether somebody may not see the inserted rows yet, so that their pages cannot be marked.
    pub fn rows_are_too_new(&self, table: &Listed) -> bool {
        table.is_due("insert") && self.sample.is_some_and(|sample| !sample.marking_helps())
    }
}

fn freezes(table: &Listed, horizon: pg_sys::TransactionId) -> Vec<Freeze> {
    let freeze =
        |what, age: Option<i32>, limit: Option<f64>, horizon_age: fn(pg_sys::TransactionId) -> i64| {
            let (age, limit) =
                age.zip(limit).filter(|(age, limit)| table.is_due(what) && f64::from(*age) > *limit)?;
            Some(Freeze { age: age.into(), limit: limit as i64, horizon_age: horizon_age(horizon) })
        };
    let xids = freeze("freeze", table.xid_age, table.freeze_limit, xid::age_of);
    let multixacts =
        freeze("multixact", table.multixact_age, table.multixact_limit, |_| xid::oldest_multixact_age());
    xids.into_iter().chain(multixacts).collect()
}
