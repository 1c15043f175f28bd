//! The record of deployments.

use opdb_core::deploy::combined;
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use serde_json::{Value, json};

use super::apply::{Applied, was_committed};
use crate::pg::error::Result;
use crate::pg::{own, spi};

/// What is known of a deployment when it ends.
pub struct Entry<'a> {
    pub environment: &'a str,
    pub tables: Vec<String>,
    pub state: &'static str,
    pub started_at: Option<TimestampWithTimeZone>,
    pub quality_score: Option<String>,
    pub applied: &'a [Applied],
    pub error: Option<String>,
    pub remote_xid: Option<String>,
}

pub fn now() -> Result<Option<TimestampWithTimeZone>> {
    spi::read_value::<TimestampWithTimeZone>("SELECT pg_catalog.clock_timestamp()", &[])
}

/// Writes the row and returns its id.
pub fn record(entry: Entry) -> Result<i64> {
    let total = |part: fn(&Applied) -> i64| {
        (!entry.applied.is_empty()).then(|| entry.applied.iter().map(part).sum::<i64>())
    };
    let digests: Vec<String> = entry.applied.iter().map(|table| table.digest.clone()).collect();
    let digest = (!digests.is_empty()).then(|| combined(&digests));
    let id = own::write_value::<i64>(
        "INSERT INTO opdb.deployment (environment, tables, state, rows, inserted, updated, unchanged,
                                      quality_score, digest, started_at, error, details, remote_xid, deployed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::numeric, $9, $10, $11, $12, $13, $14)
         RETURNING deployment_id",
        &[
            entry.environment.into(),
            entry.tables.into(),
            entry.state.into(),
            total(|table| table.rows).into(),
            total(|table| table.inserted).into(),
            total(|table| table.updated).into(),
            total(Applied::unchanged).into(),
            entry.quality_score.into(),
            digest.into(),
            entry.started_at.into(),
            entry.error.into(),
            JsonB(Value::Array(entry.applied.iter().map(Applied::to_json).collect())).into(),
            entry.remote_xid.into(),
            own::caller()?.into(),
        ],
    )?;
    Ok(id.unwrap_or_default())
}

impl Applied {
    fn unchanged(&self) -> i64 {
        self.rows - self.inserted - self.updated
    }

    fn to_json(&self) -> Value {
        json!({
            "table": self.table,
            "rows": self.rows,
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged(),
            "digest": self.digest,
        })
    }
}

/// Asks the environment what became of deployments whose commit was in doubt.
pub fn settle(environment: &str) -> Result<()> {
    let open = spi::read(
        "SELECT deployment_id, remote_xid FROM opdb.deployment WHERE state = 'in_doubt' AND environment = $1",
        &[environment.into()],
        |row| Ok((row.get::<i64>(1)?, row.get::<String>(2)?)),
    )?;
    for (id, xid) in open {
        let state = match was_committed(environment, &xid.unwrap_or_default())? {
            Some(true) => "applied",
            Some(false) => "failed",
            None => continue,
        };
        own::write(
            "UPDATE opdb.deployment SET state = $2 WHERE deployment_id = $1",
            &[id.into(), state.into()],
        )?;
    }
    Ok(())
}
