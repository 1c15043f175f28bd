//! What is to be deployed, once it was checked.

use opdb_core::compat::digest::Digest;

use serde_json::Value;

use super::error::DeployError;
use super::shipment::{Shipment, Undo};
use crate::pg::error::Result;
use crate::pg::types::Regclass;

/// A shipment, and which of its rows are sent.
pub struct Planned {
    pub relation: Regclass,
    pub shipment: Shipment,
    /// The table on the target that they are sent to.
    pub stage: String,
    pub scored_rows: i64,
    /// Where a condition chose the rows: of the rows that it chose for the scoring.
    pub scored_digest: Option<Digest>,
    /// Where the rows come from and what was done to them.
    pub lineage: Value,
    pub restriction: Restriction,
    /// They are not staged, but loaded into the table, which is empty.
    pub is_loaded: bool,
}

/// Which rows may differ: the others are the same on both sides, and stay where they are.
#[derive(Default)]
pub struct Restriction {
    /// Conditions in parentheses, on the source and on the target; none for all rows.
    pub here: Option<String>,
    pub there: Option<String>,
    /// What the rows are that are not sent.
    pub others: Digest,
}

impl Planned {
    /// How the deployment is taken back, of which these tables are kept there.
    pub fn undo(&self, rows: String, before: String) -> Undo {
        match self.is_loaded {
            true => self.shipment.undo_of_load(rows, before),
            false => self.shipment.undo(rows, before),
        }
    }

    /// From the digest of what was sent, that of everything that is deployed. Errors: 22000 if that is not what was scored.
    pub fn all_of(&self, sent: Digest) -> Result<Digest> {
        let mut all = self.restriction.others;
        all.add(sent);
        let is_as_scored = self.scored_digest.is_none_or(|scored| scored == all);
        if all.rows == self.scored_rows && is_as_scored {
            return Ok(all);
        }
        let table = self.shipment.label.clone();
        Err(DeployError::NotAsScored { table, sent: all.rows, scored: self.scored_rows }.into())
    }
}
