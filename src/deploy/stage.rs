//! Sending rows to the target: in parts that are committed there one by one, so that what was sent before an interruption
//! need not be sent again.

use std::cell::Cell;

use opdb_core::compat::digest::Digest;
use pgrx::spi::SpiHeapTupleData;

use super::database::Database;
use super::error::DeployError;
use super::ledger::{self, Part};
use super::options::Options;
use super::plan::Planned;
use super::row_errors::{RowErrors, isolating};
use super::shipment::{Inbox, Shipment};
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::Remote;
use crate::pg::spool::Spool;
use crate::pg::{session, subtransaction};
use crate::quality;

/// Rows and bytes of a part, which is what is committed at a time. It must not become another one because of `batch_size`.
const PART_ROWS: i64 = 200_000;
const PART_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of rows after which a batch ends, however few they are.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The same order of rows each time, as long as nobody changes the table.
const READING: [(&str, &str); 3] =
    [("synchronize_seqscans", "off"), ("max_parallel_workers_per_gather", "0"), ("jit", "off")];

/// What stands in the stage, if everything that was sent arrived.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The table.
    pub stage: String,
    pub digest: Digest,
    /// Everything that is deployed, with what need not be sent.
    pub total: Digest,
    /// Rows that were there before this call sent any.
    pub resumed: i64,
}

/// How the rows of a table get to the transaction that changes the target.
pub enum Rows {
    Staged(Staged),
    /// They come in that transaction; what they were is known then.
    Loaded(Cell<Digest>),
}

/// The rows that are to be sent, on the snapshot that the checks were made on.
///
/// Transformations are somebody's code. They run as the owner of the table whose code they are, and whose rows they see.
pub fn read(planned: &Planned) -> Result<Spool> {
    let shipment = &planned.shipment;
    let sql = shipment.read_rows(planned.restriction.here.as_deref());
    let read = || session::pinned_with(&READING, || Spool::fill(&sql));
    if !shipment.is_transformed() {
        return read();
    }
    quality::as_scored(planned.relation, shipment.condition.as_deref().unwrap_or("true"), read)
}

/// Sends the rows of one table, and commits.
pub fn push(
    remote: &Remote,
    planned: &Planned,
    rows: &Spool,
    options: &Options,
    errors: &RowErrors,
) -> Result<Staged> {
    let (shipment, stage) = (&planned.shipment, &planned.stage);
    let known = leftover(remote, shipment, stage)?;
    let first_row = known.iter().map(|part| part.last_row).max().unwrap_or(0) + 1;
    let mut sending = Sending {
        remote,
        shipment,
        stage,
        inbox: shipment.inbox(stage),
        batch_size: options.batch_size,
        errors,
        known,
        next_row: first_row,
        sent: Digest::default(),
        staged: Digest::default(),
        resumed: 0,
    };
    rows.in_parts(PART_ROWS, PART_BYTES, |part| sending.part(part))?;
    sending.drop_the_rest()?;
    let total = planned.all_of(sending.sent)?;
    Ok(Staged { stage: stage.clone(), digest: sending.staged, total, resumed: sending.resumed })
}

/// What an interrupted call has left of the same stage; makes the stage if there is none.
fn leftover(remote: &Remote, shipment: &Shipment, stage: &str) -> Result<Vec<Part>> {
    let there = Database::There(remote);
    let exists = format!("SELECT (pg_catalog.to_regclass({}) IS NOT NULL)::text", literal(stage));
    if there.value(&exists)? == "true" {
        return ledger::parts(&there, stage);
    }
    there.execute(&ledger::forget_parts(stage))?;
    there.execute(&shipment.create_stage(stage))?;
    remote.commit()?;
    Ok(Vec::new())
}

struct Sending<'a> {
    remote: &'a Remote,
    shipment: &'a Shipment,
    stage: &'a str,
    inbox: Option<Inbox>,
    batch_size: usize,
    errors: &'a RowErrors<'a>,
    /// Parts of the stage that nobody has asked for yet.
    known: Vec<Part>,
    next_row: i64,
    /// Everything that was read.
    sent: Digest,
    /// The same without what was refused.
    staged: Digest,
    resumed: i64,
}

impl Sending<'_> {
    fn part(&mut self, part: &Spool) -> Result<()> {
        let digest = digest(part)?;
        self.sent.add(digest);
        if let Some(place) = self.known.iter().position(|known| known.digest == digest) {
            self.known.swap_remove(place);
            self.staged.add(digest);
            self.resumed += digest.rows;
            return Ok(());
        }
        let first_row = self.next_row;
        self.next_row += part.count();
        let staged = self.batches(part, first_row, digest)?;
        let done = Part { first_row, last_row: self.next_row - 1, digest: staged };
        self.remote.execute(&ledger::add_part(self.stage, &done))?;
        self.remote.commit()?;
        self.staged.add(staged);
        Ok(())
    }

    /// Sends a part, and returns the digest of what of it the target took.
    fn batches(&self, part: &Spool, first_row: i64, all: Digest) -> Result<Digest> {
        let create = |inbox: &Inbox| self.remote.execute(&inbox.create);
        self.inbox.as_ref().map(create).transpose()?;
        let staged = Cell::new(all);
        let mut number = first_row;
        let batch_size = i64::try_from(self.batch_size).unwrap_or(i64::MAX);
        part.in_parts(batch_size, BATCH_BYTES, |batch| {
            self.batch(batch, number, &staged)?;
            number += batch.count();
            Ok(())
        })?;
        let drop = |inbox: &Inbox| self.remote.execute(&inbox.drop);
        self.inbox.as_ref().map(drop).transpose()?;
        Ok(staged.get())
    }

    /// Sends rows, and where they are refused as a whole, finds those that they are refused for.
    fn batch(&self, rows: &Spool, number: i64, staged: &Cell<Digest>) -> Result<()> {
        let there = Database::There(self.remote);
        let all = (0, rows.count() - 1);
        let some = |first: i64, last: i64| {
            rows.select(&format!("SELECT * FROM spool OFFSET {first} LIMIT {}", last - first + 1))
        };
        let send = |first: i64, last: i64| {
            there.attempt(|| match (first, last) == all {
                true => self.copy(rows, number),
                false => self.copy(&some(first, last)?, number + first),
            })
        };
        let refuse = |row: i64, failure: &Failure| {
            refuse(self.shipment, &some(row, row)?, staged, self.errors, failure)
        };
        isolating(all, &send, &refuse)
    }

    fn copy(&self, rows: &Spool, number: i64) -> Result<()> {
        let format = self.shipment.format();
        let copy = |table: &str| {
            self.remote.copy_in(&self.shipment.copy_into(table), |connection| {
                rows.copy(format, number, |bytes| connection.put(bytes))
            })
        };
        let Some(inbox) = &self.inbox else { return copy(self.stage).map(drop) };
        copy(&inbox.table)?;
        self.remote.execute(&inbox.store)?;
        self.remote.execute(&inbox.empty).map(drop)
    }

    /// Takes out of the stage what is no longer on the source.
    fn drop_the_rest(&self) -> Result<()> {
        for part in &self.known {
            let rows = (part.first_row, part.last_row);
            self.remote.execute(&self.shipment.delete_staged(self.stage, rows))?;
            self.remote.execute(&ledger::forget_part(self.stage, part.first_row))?;
        }
        if self.known.is_empty() { Ok(()) } else { self.remote.commit() }
    }
}

/// Of rows that were read: how many, and the sum of their hashes.
fn digest(rows: &Spool) -> Result<Digest> {
    let sql = "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(h), 0)::text FROM spool";
    let found = rows.read(sql, &[], |row: SpiHeapTupleData| {
        Ok((row.get::<i64>(1)?.unwrap_or(0), row.get::<String>(2)?.unwrap_or_default()))
    })?;
    let (found, sum) = found.into_iter().next().unwrap_or_default();
    if found != rows.count() {
        let message = format!("{found} of {} rows that were kept aside can be read", rows.count());
        return Err(Failure::new(pgrx::PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, message));
    }
    Ok(Digest { rows: found, sum: sum.parse().unwrap_or(0) })
}

/// Leaves out a row.
fn refuse(
    shipment: &Shipment,
    row: &Spool,
    staged: &Cell<Digest>,
    errors: &RowErrors,
    failure: &Failure,
) -> Result<()> {
    let mut left = staged.get();
    left.subtract(digest(row)?);
    staged.set(left);
    errors.add(&shipment.label, key(shipment, row)?, failure)
}

fn key(shipment: &Shipment, row: &Spool) -> Result<String> {
    let keys = row.read(&shipment.key_of_spool(), &[], |row| row.get::<String>(1))?;
    Ok(keys.into_iter().flatten().next().unwrap_or_default())
}

/// Makes sure that what stands in the stage is what was sent.
pub fn verify(database: &Database, shipment: &Shipment, staged: &Staged) -> Result<i64> {
    let [rows, sum, last] = database.row::<3>(&shipment.stage_digest(&staged.stage))?;
    let found = Digest {
        rows: rows.unwrap_or_default().parse().unwrap_or(-1),
        sum: sum.unwrap_or_default().parse().unwrap_or(0),
    };
    if found != staged.digest {
        return Err(DeployError::StagedDiffers {
            sent: staged.digest.rows,
            staged: found.rows,
            digest: if found.sum == staged.digest.sum { "the same" } else { "another" },
        }
        .into());
    }
    Ok(last.unwrap_or_default().parse().unwrap_or(0))
}

/// The rows of an environment that are to come here, as the transaction there sees them; nothing of this database runs
/// meanwhile.
pub fn fetch(remote: &Remote, planned: &Planned, options: &Options) -> Result<Spool> {
    let shipment = &planned.shipment;
    remote.execute(&format!("DECLARE opdb_rows NO SCROLL CURSOR FOR {}", shipment.read_rows(None)))?;
    let fetch = format!("FETCH {} FROM opdb_rows", options.batch_size);
    let size = i64::try_from(options.batch_size).unwrap_or(i64::MAX);
    let (mut rows, definition) = (None, shipment.definition());
    while remote.ask(&[(&fetch, 1)])?.store(&mut rows, &definition)? == size {}
    remote.execute("CLOSE opdb_rows")?;
    rows.map_or_else(|| Spool::fill("SELECT NULL::bigint AS h WHERE false"), Ok)
}

/// Puts rows that came from an environment into a stage of this database.
pub fn put(planned: &Planned, rows: &Spool, errors: &RowErrors) -> Result<Staged> {
    let (shipment, stage) = (&planned.shipment, &planned.stage);
    Database::Here.execute(&shipment.create_stage(stage))?;
    let sent = digest(rows)?;
    let staged = Cell::new(sent);
    let put = |first: i64, last: i64| {
        subtransaction::run(|| {
            rows.write(&shipment.take_into_stage(stage, (first, last)), &[], |_| Ok(())).map(drop)
        })
    };
    let refuse = |row: i64, failure: &Failure| {
        let row = rows.select(&format!("SELECT * FROM spool OFFSET {} LIMIT 1", row - 1))?;
        refuse(shipment, &row, &staged, errors, failure)
    };
    if sent.rows > 0 {
        isolating((1, sent.rows), &put, &refuse)?;
    }
    Ok(Staged { stage: stage.clone(), digest: staged.get(), total: sent, resumed: 0 })
}
