//! The record of deployments, and what became of those whose call did not live to say it.

use serde_json::{Value, json};

use super::apply::{Applied, settled};
use super::database::Database;
use super::ledger;
use super::recorder::Recorder;
use crate::pg::error::Result;
use crate::pg::name::literal;
use crate::pg::remote::{self, Access, Remote, Row};
use crate::pg::{lock, own, spi};

/// A deployment that is in the history.
pub struct Deployment {
    pub id: i64,
    /// What the target knows it by.
    pub key: String,
    recorder: Recorder,
}

impl Deployment {
    /// Begins one, in the state checking. `entry` says what it is of.
    pub fn begin(mut entry: Value) -> Result<Self> {
        let id = own::write_value::<i64>(
            "SELECT pg_catalog.nextval('opdb.deployment_deployment_id_seq'::pg_catalog.regclass)",
            &[],
        )?
        .unwrap_or_default();
        let fresh = spi::read_one(
            "SELECT pg_catalog.gen_random_uuid()::text, pg_catalog.clock_timestamp()::text",
            &[],
            |row| Ok((row.get::<String>(1)?, row.get::<String>(2)?)),
        )?;
        let (key, now) = fresh.unwrap_or_default();
        let key = key.unwrap_or_default();
        // Whoever can have this lock knows that nobody is at work on the deployment.
        lock::deployment(id)?;
        entry["key"] = key.as_str().into();
        entry["state"] = "checking".into();
        entry["started_at"] = now.into();
        entry["deployed_by"] = own::caller()?.into();
        let recorder = Recorder::default();
        recorder.record(id, &entry)?;
        Ok(Self { id, key, recorder })
    }

    pub fn record(&self, entry: &Value) -> Result<()> {
        self.recorder.record(self.id, entry)
    }
}

/// The counts of all tables, as the history has them.
pub fn totals(applied: &[Applied]) -> Value {
    let sum = |part: fn(&Applied) -> i64| applied.iter().map(part).sum::<i64>();
    let digests: Vec<String> = applied.iter().map(|table| table.digest.clone()).collect();
    json!({
        "rows": sum(|table| table.rows),
        "inserted": sum(|table| table.inserted),
        "updated": sum(|table| table.updated),
        "unchanged": sum(|table| table.unchanged),
        "deleted": sum(|table| table.deleted),
        "digest": (!digests.is_empty()).then(|| opdb_core::deploy::combined(&digests)),
        "errors": applied.iter().map(|table| table.left_out.len()).sum::<usize>(),
        "row_errors": applied.iter().flat_map(|table| table.left_out.clone()).collect::<Vec<_>>(),
        "details": applied,
    })
}

/// The server, and the database: what a ledger is the ledger of.
pub const SERVER: &str = "SELECT pg_catalog.concat_ws('/',
    (SELECT system_identifier FROM pg_catalog.pg_control_system()),
    (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))";

/// What the target says of a deployment.
pub enum Verdict {
    /// With the counts of its tables.
    Committed(Vec<Applied>),
    NotCommitted,
    /// Why it cannot be told.
    Unknown(String),
}

/// Looks the deployment up in the ledger of the environment, once nobody works on it there any more.
pub fn ask(environment: &str, key: &str, server: &str) -> Verdict {
    let asked = remote::with(environment, Access::Read, |remote| {
        if value(remote, SERVER)? != server {
            return Ok(Verdict::Unknown(format!(
                "environment \"{environment}\" is another server, or another database, than it was"
            )));
        }
        remote.query(&settled(key), 1)?;
        if value(remote, "SELECT (pg_catalog.to_regclass('opdb_deploy.ledger') IS NOT NULL)::text")? != "true"
        {
            return Ok(Verdict::NotCommitted);
        }
        ledger::check(&Database::There(remote))?;
        let sql =
            format!("SELECT counts::text FROM opdb_deploy.ledger WHERE deployment = {}::uuid", literal(key));
        let found: Vec<Row> = remote.query(&sql, 1)?;
        let Some(counts) = found.into_iter().flatten().flatten().next() else {
            return Ok(Verdict::NotCommitted);
        };
        Ok(match serde_json::from_str(&counts) {
            Ok(counts) => Verdict::Committed(counts),
            Err(error) => Verdict::Unknown(format!("its ledger could not be read: {error}")),
        })
    });
    asked.unwrap_or_else(|failure| Verdict::Unknown(failure.told()))
}

fn value(remote: &Remote, sql: &str) -> Result<String> {
    Ok(remote.query_row(sql, 1)?.into_iter().next().flatten().unwrap_or_default())
}

/// A deployment that has no end in the history.
struct Open {
    id: i64,
    key: String,
    state: String,
    server: String,
    is_push: bool,
    details: Vec<Value>,
}

/// Finds out what became of deployments to an environment that were interrupted. What cannot be told stays in doubt, with
/// a warning, and is in nobody's way.
pub fn settle(environment: &str) -> Result<()> {
    let sql = "SELECT deployment_id FROM opdb.deployment
               WHERE environment = $1 AND state IN ('checking', 'staging', 'applying', 'in_doubt')
               ORDER BY deployment_id";
    let open = own::read_latest(|| spi::read(sql, &[environment.into()], |row| row.get::<i64>(1)))?;
    let recorder = Recorder::default();
    for id in open.into_iter().flatten() {
        if !lock::deployment(id)? {
            continue;
        }
        if let Some(open) = Open::read(id)? {
            open.settle(environment, &recorder)?;
        }
    }
    Ok(())
}

impl Open {
    /// None if it has ended meanwhile.
    fn read(id: i64) -> Result<Option<Self>> {
        let sql = "SELECT key::text, state, coalesce(target_server, ''), direction = 'push', details
                   FROM opdb.deployment
                   WHERE deployment_id = $1 AND state IN ('checking', 'staging', 'applying', 'in_doubt')";
        own::read_latest(|| {
            spi::read_one(sql, &[id.into()], |row| {
                let details = row.get::<pgrx::JsonB>(5)?.map(|details| details.0);
                Ok(Self {
                    id,
                    key: spi::known(&row, 1)?,
                    state: spi::known(&row, 2)?,
                    server: spi::known(&row, 3)?,
                    is_push: spi::known(&row, 4)?,
                    details: details.and_then(|all| all.as_array().cloned()).unwrap_or_default(),
                })
            })
        })
    }

    fn settle(&self, environment: &str, recorder: &Recorder) -> Result<()> {
        let may_be_committed = self.is_push && matches!(self.state.as_str(), "applying" | "in_doubt");
        let verdict = match may_be_committed {
            true => ask(environment, &self.key, &self.server),
            false => Verdict::NotCommitted,
        };
        match verdict {
            Verdict::Committed(counts) => {
                let applied = with_undo(counts, &self.details);
                let mut entry = totals(&applied);
                entry["state"] = "applied".into();
                entry["error"] = Value::Null;
                recorder.record(self.id, &entry)
            }
            Verdict::NotCommitted => {
                let error = format!("interrupted while {}; nothing was changed there", self.state);
                recorder.record(self.id, &json!({"state": "failed", "error": error}))
            }
            Verdict::Unknown(reason) => {
                pgrx::warning!("deployment {} stays in doubt: {reason}", self.id);
                if self.state == "in_doubt" {
                    return Ok(());
                }
                recorder.record(self.id, &json!({"state": "in_doubt", "error": reason}))
            }
        }
    }
}

/// The counts of the ledger, with what was written down before the commit of how to undo it.
pub fn with_undo(mut counts: Vec<Applied>, planned: &[Value]) -> Vec<Applied> {
    for table in &mut counts {
        let is_changed = table.inserted + table.updated + table.deleted > 0;
        let undo = planned.iter().find(|planned| planned["table"] == table.table.as_str());
        table.undo = undo
            .filter(|_| is_changed)
            .and_then(|planned| serde_json::from_value(planned["undo"].clone()).ok());
    }
    counts
}
