//! The one transaction on the other server: stage, verify, upsert, verify again, commit.

use opdb_core::deploy::RowDigest;

use super::error::DeployError;
use super::options::Options;
use super::shipment::{Shipment, Values};
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::{self, Access, Remote};
use crate::pg::spi;

/// Bytes of rows after which a batch is sent, however few they are.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What became of one table.
pub struct Applied {
    pub table: String,
    pub rows: i64,
    pub inserted: i64,
    pub updated: i64,
    pub digest: String,
}

/// How the transaction on the other server ended.
pub enum Outcome {
    Committed(Vec<Applied>),
    /// Nothing changed there.
    RolledBack(Failure),
    /// The connection broke while it committed; its transaction id there settles it later.
    InDoubt {
        applied: Vec<Applied>,
        transaction: Transaction,
        failure: Failure,
    },
}

pub fn apply(environment: &str, shipments: &[Planned], options: &Options) -> Outcome {
    let mut prepared: Option<(Vec<Applied>, Transaction)> = None;
    let result = remote::with(environment, Access::Write, |remote| {
        remote.use_own_search_path()?;
        let applied = prepare(remote, shipments, options)?;
        prepared = Some((applied, Transaction::current(remote)?));
        remote.execute("COMMIT")?;
        Ok(())
    });
    match (result, prepared) {
        (Ok(()), prepared) => Outcome::Committed(prepared.map(|(applied, _)| applied).unwrap_or_default()),
        (Err(failure), None) => Outcome::RolledBack(failure),
        (Err(failure), Some((applied, transaction))) => match transaction.was_committed(environment) {
            Ok(Some(true)) => Outcome::Committed(applied),
            Ok(Some(false)) => Outcome::RolledBack(failure),
            Ok(None) | Err(_) => Outcome::InDoubt { applied, transaction, failure },
        },
    }
}

/// A transaction of another server: its number means something only in the same history of the same server.
pub struct Transaction {
    pub server: String,
    pub xid: String,
}

/// The server, the branch of its history, and the database.
const SERVER: &str = "SELECT pg_catalog.concat_ws('/',
    (SELECT system_identifier FROM pg_catalog.pg_control_system()),
    (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
    (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))";

impl Transaction {
    fn current(remote: &Remote) -> Result<Self> {
        let server = text(remote.query_row(SERVER, 1)?);
        Ok(Self { server, xid: text(remote.query_row("SELECT pg_catalog.pg_current_xact_id()", 1)?) })
    }

    /// Whether it committed; `None` if it has not ended, or if the environment is another server by now.
    /// Errors: the server cannot be reached, or knows no such transaction.
    pub fn was_committed(&self, environment: &str) -> Result<Option<bool>> {
        let sql = format!("SELECT pg_catalog.pg_xact_status({}::xid8)", literal(&self.xid));
        let status = remote::with(environment, Access::Read, |remote| {
            if text(remote.query_row(SERVER, 1)?) != self.server {
                return Ok(String::new());
            }
            Ok(text(remote.query_row(&sql, 1)?))
        })?;
        Ok(match status.as_str() {
            "committed" => Some(true),
            "aborted" => Some(false),
            _ => None,
        })
    }
}

/// A shipment, and which rows were scored and so must be sent.
pub struct Planned {
    pub shipment: Shipment,
    pub scored_rows: i64,
    /// Where a condition chose the rows: of the rows that it chose for the scoring.
    pub scored_digest: Option<RowDigest>,
}

/// Everything up to the commit.
fn prepare(remote: &Remote, shipments: &[Planned], options: &Options) -> Result<Vec<Applied>> {
    let in_table = |planned: &Planned, failure: Failure| failure.at(&planned.shipment.label);
    let digests = shipments
        .iter()
        .map(|planned| stage(remote, planned, options).map_err(|failure| in_table(planned, failure)))
        .collect::<Result<Vec<_>>>()?;
    let applied = shipments
        .iter()
        .zip(digests)
        .map(|(planned, digest)| {
            upsert(remote, &planned.shipment, digest, options).map_err(|failure| in_table(planned, failure))
        })
        .collect::<Result<Vec<_>>>()?;
    // What a deferred constraint or a trigger of a later table did to an earlier one shows only now.
    remote.execute("SET CONSTRAINTS ALL IMMEDIATE")?;
    for Planned { shipment, .. } in shipments {
        let deviating = text(remote.query_row(&shipment.count_deviating(), 1)?);
        if deviating != "0" {
            return Err(DeployError::ResultDiffers { table: shipment.label.clone(), rows: deviating }.into());
        }
    }
    // Sequences do not roll back: they move when nothing but the commit can fail any more.
    for (Planned { shipment, .. }, _) in
        shipments.iter().zip(&applied).filter(|(_, there)| there.inserted > 0)
    {
        for advance in shipment.advance_sequences() {
            remote.query(&advance, 1)?;
        }
    }
    Ok(applied)
}

/// Sends the rows and makes sure that they arrived as they are.
fn stage(remote: &Remote, planned: &Planned, options: &Options) -> Result<RowDigest> {
    let shipment = &planned.shipment;
    remote.execute(&shipment.create_stage())?;
    let mut sent = RowDigest::default();
    let mut batch: Vec<Values> = Vec::new();
    let mut bytes = 0;
    let flush = |batch: &mut Vec<Values>| -> Result<()> {
        if !batch.is_empty() {
            remote.execute(&shipment.fill_stage(batch))?;
            batch.clear();
        }
        Ok(())
    };
    spi::for_each_text(&shipment.read_rows(), |row| {
        sent.add(&row);
        bytes += row.len();
        batch.push(values(&row)?);
        if batch.len() >= options.batch_size || bytes >= BATCH_BYTES {
            bytes = 0;
            flush(&mut batch)?;
        }
        Ok(())
    })?;
    flush(&mut batch)?;
    let is_as_scored = planned.scored_digest.as_ref().is_none_or(|scored| *scored == sent);
    if sent.rows != planned.scored_rows || !is_as_scored {
        let table = shipment.label.clone();
        return Err(DeployError::NotAsScored { table, sent: sent.rows, scored: planned.scored_rows }.into());
    }
    verify_stage(remote, shipment, &sent)?;
    remote.execute(&shipment.key_stage())?;
    remote.execute(&shipment.analyze_stage())?;
    Ok(sent)
}

fn verify_stage(remote: &Remote, shipment: &Shipment, sent: &RowDigest) -> Result<()> {
    let [rows, first, second] =
        <[Option<String>; 3]>::try_from(remote.query_row(&shipment.stage_digest(), 3)?).unwrap_or_default();
    let staged = RowDigest::from_sums(
        &rows.unwrap_or_default(),
        &first.unwrap_or_default(),
        &second.unwrap_or_default(),
    )
    .unwrap_or_default();
    if staged == *sent {
        return Ok(());
    }
    Err(DeployError::StagedDiffers {
        sent: sent.rows,
        staged: staged.rows,
        digest: if staged.hex() == sent.hex() { "the same" } else { "another" },
    }
    .into())
}

fn upsert(remote: &Remote, shipment: &Shipment, digest: RowDigest, options: &Options) -> Result<Applied> {
    remote.query(&shipment.lock(), 1)?;
    if let Some(create) = shipment.create_partitions() {
        remote.query(&create, 1)?;
    }
    let updated = shipment.update().map_or(Ok(0), |update| remote.execute(&update))?;
    check_change_ratio(remote, shipment, updated, options)?;
    let inserted = remote.execute(&shipment.insert())?;
    Ok(Applied { table: shipment.label.clone(), rows: digest.rows, inserted, updated, digest: digest.hex() })
}

/// Counts the target only if anything changed at all.
fn check_change_ratio(remote: &Remote, shipment: &Shipment, changed: i64, options: &Options) -> Result<()> {
    if changed == 0 {
        return Ok(());
    }
    let present: i64 = text(remote.query_row(&shipment.count(), 1)?).parse().unwrap_or(0);
    if changed as f64 <= options.max_change_ratio * present as f64 {
        return Ok(());
    }
    Err(DeployError::TooManyChanges { changed, present, limit: options.max_change_ratio }.into())
}

/// A row as `read_rows` gives it.
fn values(row: &str) -> Result<Values> {
    serde_json::from_str(row).map_err(|error| DeployError::UnreadableRow(error.to_string()).into())
}

fn text(row: remote::Row) -> String {
    row.into_iter().next().flatten().unwrap_or_default()
}
