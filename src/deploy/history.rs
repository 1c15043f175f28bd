//! The record of deployments.

use opdb_core::deploy::combined;
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use serde_json::{Value, json};

use super::apply::{Applied, Transaction};
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
    pub transaction: Option<Transaction>,
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
                                      quality_score, digest, started_at, error, details, remote_xid, remote_server, deployed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::numeric, $9, $10, $11, $12, $13, $14, $15)
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
            entry.transaction.as_ref().map(|there| there.xid.clone()).into(),
            entry.transaction.as_ref().map(|there| there.server.clone()).into(),
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

/// Asks the environment what became of deployments whose commit was in doubt. What cannot be told stays in
/// doubt, with a warning, and is in nobody's way.
pub fn settle(environment: &str) -> Result<()> {
    let open = spi::read(
        "SELECT deployment_id, remote_xid, remote_server FROM opdb.deployment
         WHERE state = 'in_doubt' AND environment = $1",
        &[environment.into()],
        |row| {
            let text = |column| row.get::<String>(column).map(Option::unwrap_or_default);
            Ok((row.get::<i64>(1)?.unwrap_or_default(), Transaction { xid: text(2)?, server: text(3)? }))
        },
    )?;
    for (id, transaction) in open {
        let state = match transaction.was_committed(environment) {
            Ok(Some(true)) => "applied",
            Ok(Some(false)) => "failed",
            Ok(None) => {
                pgrx::warning!(
                    "deployment {id} stays in doubt: the environment does not know its transaction"
                );
                continue;
            }
            Err(failure) => {
                pgrx::warning!("deployment {id} stays in doubt: {}", failure.message);
                continue;
            }
        };
        own::write(
            "UPDATE opdb.deployment SET state = $2 WHERE deployment_id = $1",
            &[id.into(), state.into()],
        )?;
    }
    Ok(())
}
