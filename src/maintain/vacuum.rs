//! The plan: what the counters say is due, and what a look at the tables makes of it.

use opdb_core::maintain::vacuum::{Sample, pretty};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::spi::{self, SpiHeapTupleData};
use pgrx::{AnyNumeric, pg_sys};

use super::vacuum_blocker::Blockers;
use super::vacuum_measure::{self, Measured, Outcome};
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{memory, session, spi as read, xid};

/// After so many tables the server's cache of their descriptions is emptied.
const REMEMBERED: usize = 1_000;
/// From this size on it is worth a word that most of a table is free space.
const BIG: u64 = 100 << 20;

pub struct Planned {
    pub name: Regclass,
    pub command: String,
    pub reason: String,
    pub blocked_by: Option<String>,
    pub reclaimable_bytes: Option<i64>,
    pub helps: Option<bool>,
    pub removable_rows: Option<i64>,
    pub dead_rows: Option<i64>,
    pub need: Option<AnyNumeric>,
    pub table_bytes: Option<i64>,
    pub xid_age: Option<i32>,
    pub last_vacuum: Option<TimestampWithTimeZone>,
    pub last_analyze: Option<TimestampWithTimeZone>,
}

/// A row of sql/maintain/vacuum_plan.sql: a table as the catalogs and counters describe it.
pub struct Listed {
    pub name: Regclass,
    command: String,
    reason: String,
    due: Vec<String>,
    need: Option<AnyNumeric>,
    /// Whose transactions hold its dead rows: data, catalog or shared.
    pub horizon: String,
    /// None for a table that is no heap.
    pub fillfactor: Option<u32>,
    pub dead: i64,
    pub toast: Option<pg_sys::Oid>,
    pub toast_dead: i64,
    /// Live and dead; None if nobody counted.
    pub rows: Option<f64>,
    pub toast_rows: Option<f64>,
    pub xid_age: Option<i32>,
    pub multixact_age: Option<i32>,
    pub freeze_limit: Option<f64>,
    pub multixact_limit: Option<f64>,
    last_vacuum: Option<TimestampWithTimeZone>,
    last_analyze: Option<TimestampWithTimeZone>,
    has_storage: bool,
}

pub fn plan(everything: bool) -> Result<Vec<Planned>> {
    // Compiling the query takes ten times as long as running it.
    session::pinned_with(&[("jit", "off")], || {
        let on_standby = xid::on_standby();
        if on_standby {
            pgrx::notice!(
                "on a standby only ages and partitioned tables are judged: the primary counts the changed rows"
            );
        }
        let mut blockers = Blockers::now()?;
        let mut plan = Vec::new();
        for (number, table) in Listed::read(everything, on_standby)?.into_iter().enumerate() {
            if on_standby {
                plan.push(table.on_standby());
            } else if !table.has_storage {
                plan.push(table.without_storage(&blockers));
            } else {
                let outcome = vacuum_measure::measure(&table, &mut blockers)?;
                plan.extend(table.judged(outcome, &blockers));
            }
            if (number + 1).is_multiple_of(REMEMBERED) {
                memory::forget_catalogs();
            }
        }
        Ok(plan)
    })
}

impl Listed {
    fn read(everything: bool, on_standby: bool) -> Result<Vec<Self>> {
        // A standby need not know how many members of multixacts there are, and would then say 0.
        let limit = if on_standby { None } else { Some(xid::multixact_freeze_max_age()) };
        let sql = include_str!("../../sql/maintain/vacuum_plan.sql");
        read::read(sql, &[everything.into(), limit.into()], |row| Self::from_row(&row))
    }

    fn from_row(row: &SpiHeapTupleData) -> spi::Result<Self> {
        Ok(Self {
            name: row.get(1)?.unwrap_or(Regclass(pg_sys::InvalidOid)),
            command: row.get(2)?.unwrap_or_default(),
            reason: row.get(3)?.unwrap_or_default(),
            due: row.get(4)?.unwrap_or_default(),
            need: row.get(5)?,
            has_storage: row.get(6)?.unwrap_or_default(),
            horizon: row.get(7)?.unwrap_or_default(),
            fillfactor: row.get::<i32>(8)?.and_then(|percent| u32::try_from(percent).ok()),
            dead: row.get(9)?.unwrap_or_default(),
            toast: row.get(10)?,
            toast_dead: row.get(11)?.unwrap_or_default(),
            rows: row.get(12)?,
            toast_rows: row.get(13)?,
            xid_age: row.get(14)?,
            multixact_age: row.get(15)?,
            freeze_limit: row.get(16)?,
            multixact_limit: row.get(17)?,
            last_vacuum: row.get(18)?,
            last_analyze: row.get(19)?,
        })
    }

    pub fn is_due(&self, what: &str) -> bool {
        self.due.iter().any(|due| due == what)
    }

    /// No command runs there, and the counters are those of the standby, which counts nothing.
    fn on_standby(self) -> Planned {
        Planned {
            blocked_by: Some("this server is a standby: run it on the primary".into()),
            helps: Some(false),
            dead_rows: None,
            ..self.planned(Vec::new())
        }
    }

    /// A partitioned table: its statistics are its partitions'.
    fn without_storage(self, blockers: &Blockers) -> Planned {
        let lock = blockers.lock_on(self.name).map(str::to_owned);
        let helps = (!self.due.is_empty()).then_some(lock.is_none());
        Planned { blocked_by: lock, helps, dead_rows: None, ..self.planned(Vec::new()) }
    }

    fn judged(self, outcome: Outcome, blockers: &Blockers) -> Option<Planned> {
        let lock = blockers.lock_on(self.name).map(str::to_owned);
        match outcome {
            Outcome::Gone => None,
            Outcome::NotMeasured(reason) => Some(Planned {
                helps: lock.is_some().then_some(false),
                blocked_by: lock,
                ..self.planned(vec![format!("not measured: {reason}")])
            }),
            Outcome::Measured(measured) => Some(self.measured(&measured, lock)),
        }
    }

    fn measured(self, measured: &Measured, lock: Option<String>) -> Planned {
        let helps = if lock.is_some() { Some(false) } else { self.helps(measured) };
        let holder = measured.holder.clone().filter(|_| measured.is_held(&self));
        let findings = findings(&self, measured);
        Planned {
            helps,
            blocked_by: lock.or(holder),
            reclaimable_bytes: measured.reclaimable_bytes.and_then(|bytes| bytes.try_into().ok()),
            removable_rows: measured.sample.and_then(|sample| sample.removable_rows().try_into().ok()),
            table_bytes: measured.bytes.try_into().ok(),
            ..self.planned(findings)
        }
    }

    /// NULL if nothing is due that could be helped.
    fn helps(&self, measured: &Measured) -> Option<bool> {
        match self.due.as_slice() {
            [] => None,
            [only] if only == "analyze" => Some(true),
            _ => Some(measured.vacuum_helps(self)),
        }
    }

    fn planned(self, findings: Vec<String>) -> Planned {
        let due = if self.reason.is_empty() { "nothing is due".to_owned() } else { self.reason };
        Planned {
            name: self.name,
            command: self.command,
            reason: std::iter::once(due).chain(findings).collect::<Vec<_>>().join("; "),
            blocked_by: None,
            reclaimable_bytes: None,
            helps: None,
            removable_rows: None,
            dead_rows: Some(self.dead + self.toast_dead),
            need: self.need,
            table_bytes: None,
            xid_age: self.xid_age,
            last_vacuum: self.last_vacuum,
            last_analyze: self.last_analyze,
        }
    }
}

/// What the look at the table adds to the reason.
fn findings(table: &Listed, measured: &Measured) -> Vec<String> {
    let held = measured.sample.filter(Sample::are_held).map(|sample| {
        format!("{:.0} % of the dead rows cannot be removed yet", (sample.share_held() * 100.0).floor())
    });
    let too_new = measured.rows_are_too_new(table);
    let too_new = too_new.then(|| "the inserted rows are too new to be marked as visible to all".to_owned());
    let not_frozen = measured
        .freezes
        .iter()
        .filter(|freeze| freeze.is_held())
        .map(|freeze| format!("VACUUM can bring the age down to {} only", freeze.horizon_age));
    let most = measured.free_bytes.filter(|free| measured.bytes >= BIG && *free > measured.bytes / 2);
    let free = most.map(|free| {
        format!(
            "{} of its {} are free: new rows will use them, but only VACUUM FULL (which locks the table) or \
             pg_repack gives them back",
            pretty(free),
            pretty(measured.bytes)
        )
    });
    held.into_iter().chain(too_new).chain(not_frozen).chain(free).collect()
}
