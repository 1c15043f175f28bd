//! The process that writes the history of deployments: in transactions of its own, so that what is known of a deployment
//! does not depend on how the call that runs it ends.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::{JsonB, log, pg_sys};
use serde_json::{Value, json};

use super::error::DeployError;
use crate::pg::channel::{Channel, Received};
use crate::pg::error::Result;
use crate::pg::process::{self, Kind};
use crate::pg::{own, session, spi};

const RECORDER: Kind = Kind { name: "opdb recorder", function: "opdb_recorder" };

crate::process_entry!(opdb_recorder, |argument| main(u32::try_from(argument).unwrap_or(0)));

/// How long a process is waited for where the server has no place for one.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A process that has had nothing to write for so long leaves its place to others.
const LONGEST_IDLE: Duration = Duration::from_secs(5);

const WRITTEN: &[u8] = b"written";

/// Has such a process as long as this value lives, from the first thing that there is to write.
#[derive(Default)]
pub struct Recorder(Cell<Option<Channel>>);

impl Recorder {
    /// Writes what `entry` says of the deployment, and tells who listens. Whatever `entry` does not say stays.
    ///
    /// Errors: 53400 where the server has no place for a process, 58000 if it could not write.
    pub fn record(&self, deployment_id: i64, entry: &Value) -> Result<()> {
        let order = json!({"deployment_id": deployment_id, "entry": entry}).to_string();
        let state = entry["state"].as_str().unwrap_or_default();
        // One that has gone may have written it before.
        let is_done = |channel| -> Result<bool> {
            Ok(self.writes(channel, &order) || is_written(deployment_id, state)?)
        };
        if self.0.take().map(is_done).transpose()? == Some(true) || is_done(start()?)? {
            return Ok(());
        }
        Err(DeployError::NotRecorded { deployment_id, state: state.to_owned() }.into())
    }

    /// Keeps the process for the next time.
    fn writes(&self, mut channel: Channel, order: &str) -> bool {
        if !channel.send(order.as_bytes()) {
            return false;
        }
        loop {
            match channel.receive(Duration::from_secs(1)) {
                Received::Nothing => {}
                Received::Gone => return false,
                Received::Message(answer) => {
                    self.0.set(Some(channel));
                    return answer == WRITTEN;
                }
            }
        }
    }
}

fn is_written(deployment_id: i64, state: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM opdb.deployment WHERE deployment_id = $1 AND state = $2)";
    let found = own::read_latest(|| spi::read_value::<bool>(sql, &[deployment_id.into(), state.into()]))?;
    Ok(found == Some(true))
}

fn start() -> Result<Channel> {
    let begun = Instant::now();
    loop {
        if let Some(channel) = Channel::start(&RECORDER) {
            return Ok(channel);
        }
        if begun.elapsed() > LONGEST_WAIT {
            return Err(DeployError::NoProcess.into());
        }
        session::wait(Duration::from_millis(100));
    }
}

fn main(argument: u32) {
    // Whoever wanted something written is gone.
    let Some((mut channel, database)) = Channel::attach(argument) else { return };
    process::connect(database, pg_sys::InvalidOid);
    while let Received::Message(order) = channel.receive(LONGEST_IDLE) {
        process::show(Some("recording a deployment"));
        let order: Value = serde_json::from_slice(&order).unwrap_or_default();
        let id = order["deployment_id"].as_i64().unwrap_or(0);
        let written = process::transaction(|| write(id, &order["entry"]));
        if let Err(failure) = &written {
            log!("opdb: deployment {id} could not be recorded: {}", failure.told());
        }
        process::show(None);
        if !channel.send(if written.is_ok() { WRITTEN } else { b"failed" }) {
            return;
        }
    }
}

/// Writes it in the transaction of the caller.
pub fn write(deployment_id: i64, entry: &Value) -> Result<()> {
    own::write(INSERT, &[deployment_id.into(), JsonB(entry.clone()).into()])?;
    own::write(UPDATE, &[deployment_id.into(), JsonB(entry.clone()).into()])?;
    own::write(ERRORS, &[deployment_id.into(), JsonB(entry.clone()).into()])?;
    own::write(ORIGINAL, &[deployment_id.into()])?;
    own::write_value::<String>(NOTIFY, &[deployment_id.into()]).map(drop)
}

const INSERT: &str = "
    INSERT INTO opdb.deployment (deployment_id, key, kind, rolls_back, environment, direction, tables, options, state,
                                 started_at, deployed_by)
    OVERRIDING SYSTEM VALUE
    SELECT $1, r.key, coalesce(r.kind, 'deploy'), r.rolls_back, r.environment, coalesce(r.direction, 'push'), r.tables,
           coalesce(r.options, '{}'), r.state, r.started_at, r.deployed_by
    FROM pg_catalog.jsonb_populate_record(NULL::opdb.deployment, $2) r
    WHERE r.key IS NOT NULL AND NOT EXISTS (SELECT FROM opdb.deployment d WHERE d.deployment_id = $1)";

const UPDATE: &str = "
    UPDATE opdb.deployment d
    SET (state, rows, inserted, updated, unchanged, deleted, errors, quality_score, quality_runs, validation_ms, digest,
         error, details, horizon, source_server, target_server, finished_at)
      = (SELECT r.state, r.rows, r.inserted, r.updated, r.unchanged, r.deleted, r.errors, r.quality_score, r.quality_runs,
                r.validation_ms, r.digest, r.error, r.details, r.horizon, r.source_server, r.target_server,
                CASE WHEN r.state NOT IN ('checking', 'staging', 'applying')
                     THEN coalesce(d.finished_at, pg_catalog.clock_timestamp()) END
         FROM pg_catalog.jsonb_populate_record(d, $2) r)
    WHERE d.deployment_id = $1";

const ERRORS: &str = "
    INSERT INTO opdb.deployment_error (deployment_id, table_name, key, sqlstate, error)
    SELECT $1, e.table_name, e.key, e.sqlstate, e.error
    FROM pg_catalog.jsonb_to_recordset($2 -> 'row_errors')
        AS e (table_name text, key jsonb, sqlstate text, error text)";

/// A rollback that was applied ends the deployment that it is of.
const ORIGINAL: &str = "
    UPDATE opdb.deployment o SET state = 'rolled_back', rolled_back_by = r.deployment_id
    FROM opdb.deployment r
    WHERE r.deployment_id = $1 AND r.kind = 'rollback' AND r.state = 'applied' AND o.deployment_id = r.rolls_back
      AND o.state = 'applied'";

/// What a message may be long, so tables that do not fit are left out. No error text: it may repeat a row's values, and
/// everybody may listen.
const NOTIFY: &str = "
    SELECT pg_catalog.pg_notify('opdb_events', (CASE WHEN pg_catalog.octet_length(whole::text) < 7900 THEN whole
                                                     ELSE whole - 'tables' END)::text)::text
    FROM (SELECT pg_catalog.jsonb_build_object(
                     'event', 'deployment', 'deployment_id', deployment_id, 'kind', kind, 'environment', environment,
                     'direction', direction, 'state', state, 'tables', tables, 'rows', rows, 'inserted', inserted,
                     'updated', updated, 'deleted', deleted, 'errors', errors, 'rolls_back', rolls_back,
                     'deployed_by', deployed_by, 'at', pg_catalog.clock_timestamp()) AS whole
          FROM opdb.deployment WHERE deployment_id = $1) d";
