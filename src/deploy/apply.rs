//! The one transaction on the other server: stage, verify, upsert, verify again, commit.

use opdb_core::deploy::RowDigest;

use super::error::DeployError;
use super::options::Options;
use super::shipment::Shipment;
use crate::pg::error::{Failure, Result};
use crate::pg::remote::{self, Remote};
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
        xid: String,
        failure: Failure,
    },
}

pub fn apply(environment: &str, shipments: &[Shipment], options: &Options) -> Outcome {
    let mut prepared: Option<(Vec<Applied>, String)> = None;
    let result = remote::with(environment, |remote| {
        remote.use_own_search_path()?;
        remote.execute("BEGIN ISOLATION LEVEL READ COMMITTED")?;
        let applied = prepare(remote, shipments, options)?;
        let xid = remote.query_row("SELECT pg_catalog.pg_current_xact_id()", 1)?.pop().flatten();
        prepared = Some((applied, xid.unwrap_or_default()));
        remote.execute("COMMIT")?;
        Ok(())
    });
    match (result, prepared) {
        (Ok(()), prepared) => Outcome::Committed(prepared.map(|(applied, _)| applied).unwrap_or_default()),
        (Err(failure), None) => Outcome::RolledBack(failure),
        (Err(failure), Some((applied, xid))) => match was_committed(environment, &xid) {
            Ok(Some(true)) => Outcome::Committed(applied),
            Ok(Some(false)) => Outcome::RolledBack(failure),
            Ok(None) | Err(_) => Outcome::InDoubt { applied, xid, failure },
        },
    }
}

/// Whether a transaction of the other server committed; `None` while it has not ended there.
/// Errors: the server cannot be reached, or has forgotten the transaction.
pub fn was_committed(environment: &str, xid: &str) -> Result<Option<bool>> {
    let sql = format!("SELECT pg_catalog.pg_xact_status({}::xid8)", crate::pg::name::literal(xid));
    let status = remote::with(environment, |remote| Ok(remote.query_row(&sql, 1)?.pop().flatten()))?;
    Ok(match status.as_deref() {
        Some("committed") => Some(true),
        Some("aborted") => Some(false),
        _ => None,
    })
}

/// Everything up to the commit.
fn prepare(remote: &Remote, shipments: &[Shipment], options: &Options) -> Result<Vec<Applied>> {
    let digests =
        shipments.iter().map(|shipment| stage(remote, shipment, options)).collect::<Result<Vec<_>>>()?;
    let applied = shipments
        .iter()
        .zip(digests)
        .map(|(shipment, digest)| upsert(remote, shipment, digest, options))
        .collect::<Result<Vec<_>>>()?;
    // What a deferred constraint or a trigger of a later table did to an earlier one shows only now.
    remote.execute("SET CONSTRAINTS ALL IMMEDIATE")?;
    for shipment in shipments {
        let deviating = text(remote.query_row(&shipment.count_deviating(), 1)?);
        if deviating != "0" {
            return Err(DeployError::ResultDiffers { table: shipment.table.clone(), rows: deviating }.into());
        }
    }
    Ok(applied)
}

/// Sends the rows and makes sure that they arrived as they are.
fn stage(remote: &Remote, shipment: &Shipment, options: &Options) -> Result<RowDigest> {
    remote.execute(&shipment.create_stage())?;
    let mut sent = RowDigest::default();
    let mut batch: Vec<String> = Vec::new();
    let mut bytes = 0;
    let flush = |batch: &mut Vec<String>| -> Result<()> {
        if !batch.is_empty() {
            remote.execute(&shipment.fill_stage(&format!("[{}]", batch.join(","))))?;
            batch.clear();
        }
        Ok(())
    };
    spi::for_each_text(&shipment.read_rows(), |row| {
        sent.add(&row);
        bytes += row.len();
        batch.push(row);
        if batch.len() >= options.batch_size || bytes >= BATCH_BYTES {
            bytes = 0;
            flush(&mut batch)?;
        }
        Ok(())
    })?;
    flush(&mut batch)?;
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
        table: shipment.table.clone(),
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
    if inserted > 0 {
        for advance in shipment.advance_sequences() {
            remote.query(&advance, 1)?;
        }
    }
    Ok(Applied { table: shipment.table.clone(), rows: digest.rows, inserted, updated, digest: digest.hex() })
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
    let table = shipment.table.clone();
    Err(DeployError::TooManyChanges { table, changed, present, limit: options.max_change_ratio }.into())
}

fn text(row: remote::Row) -> String {
    row.into_iter().next().flatten().unwrap_or_default()
}
