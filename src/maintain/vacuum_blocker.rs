//! Who keeps VACUUM from doing its work.

use std::collections::HashMap;

use opdb_core::maintain::vacuum::age;
use pgrx::pg_sys;

use crate::pg::error::Result;
use crate::pg::relation::Relation;
use crate::pg::types::Regclass;
use crate::pg::{heap, own, spi, xid};

const UNSEEN: &str = "a transaction that ended just now or that cannot be seen";

/// What was deleted before `xid` can be removed; what was deleted later, `holder` keeps.
#[derive(Debug, Clone)]
pub struct Horizon {
    pub xid: pg_sys::TransactionId,
    pub holder: Option<String>,
}

/// The locks on tables, and the horizon of each kind of table once it was asked for.
pub struct Blockers {
    locks: HashMap<pg_sys::Oid, String>,
    horizons: HashMap<String, Horizon>,
}

/// A row of sql/maintain/vacuum_blockers.sql.
struct Blocker {
    scope: String,
    relation: Option<pg_sys::Oid>,
    xid: u32,
    is_own: bool,
    label: String,
}

impl Blockers {
    pub fn now() -> Result<Self> {
        let rows = read()?;
        let locks = rows.into_iter().filter_map(|row| Some((row.relation?, row.label))).collect();
        Ok(Self { locks, horizons: HashMap::new() })
    }

    /// Whose lock would make VACUUM skip the table.
    pub fn lock_on(&self, table: Regclass) -> Option<&str> {
        self.locks.get(&table.0).map(String::as_str)
    }

    /// The horizon of tables of this kind (data, catalog or shared), of which `relation` is one.
    pub fn horizon(&mut self, kind: &str, relation: &Relation) -> Result<Horizon> {
        if let Some(known) = self.horizons.get(kind) {
            return Ok(known.clone());
        }
        // First the number, then who has it: whoever is older than the number does not count, as another VACUUM.
        let oldest = heap::oldest_nonremovable(relation);
        let holders = read()?.into_iter().filter(|row| row.holds(kind)).collect::<Vec<_>>();
        let horizon = horizon(oldest.into_inner(), &holders);
        self.horizons.insert(kind.to_owned(), horizon.clone());
        Ok(horizon)
    }
}

/// The server counts the caller's own transaction too; VACUUM cannot run in it, so it will be gone by then.
fn horizon(oldest: u32, holders: &[Blocker]) -> Horizon {
    let held_by = |row: &Blocker| Horizon { xid: row.xid.into(), holder: Some(row.label.clone()) };
    let (own, others): (Vec<&Blocker>, Vec<&Blocker>) = holders.iter().partition(|row| row.is_own);
    if let Some(row) = others.iter().find(|row| row.xid == oldest) {
        return held_by(row);
    }
    if own.iter().any(|row| age(oldest, row.xid) >= 0) {
        let later = others.iter().filter(|row| age(row.xid, oldest) > 0);
        // The oldest: of two, the one that is further from the start.
        let next = later.max_by_key(|row| age(xid::next().into_inner(), row.xid));
        return next.map_or(Horizon { xid: xid::next(), holder: None }, |row| held_by(row));
    }
    let is_held = oldest != xid::next().into_inner();
    Horizon { xid: oldest.into(), holder: is_held.then(|| UNSEEN.to_owned()) }
}

impl Blocker {
    fn holds(&self, kind: &str) -> bool {
        match kind {
            "data" => matches!(self.scope.as_str(), "all" | "data"),
            "catalog" => matches!(self.scope.as_str(), "all" | "data" | "catalog"),
            _ => self.scope != "lock",
        }
    }
}

fn read() -> Result<Vec<Blocker>> {
    own::read_as_owner(|| {
        // Within a transaction the server would show what it showed before.
        spi::read("SELECT pg_catalog.pg_stat_clear_snapshot()", &[], |_| Ok(()))?;
        spi::read(include_str!("../../sql/maintain/vacuum_blockers.sql"), &[], |row| {
            Ok(Blocker {
                scope: row.get(1)?.unwrap_or_default(),
                relation: row.get(2)?,
                xid: row.get::<i64>(3)?.and_then(|xid| u32::try_from(xid).ok()).unwrap_or_default(),
                is_own: row.get(4)?.unwrap_or_default(),
                label: row.get(5)?.unwrap_or_default(),
            })
        })
    })
}
