//! Loading an empty table: its rows need no stage. They are read, hashed, sent and stored at the same time, in the one
//! transaction that changes the target; what cannot be done so goes by the stage, where rows are told apart.

use opdb_core::compat::digest::Digest;

use super::database::Database;
use super::differing::FEW_ROWS;
use super::error::DeployError;
use super::row_errors::is_of_a_row;
use super::scope::leaves;
use super::shipment::Shipment;
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::Remote;
use crate::pg::{copy, session, spi};

/// What is sent again after an interruption, because nothing is kept of it. More than that goes by a stage.
const MOST_BYTES: i64 = 512 * 1024 * 1024;

/// One reader: the other server needs the processors that are left to store what it gets.
const READING: [(&str, &str); 2] = [("max_parallel_workers_per_gather", "0"), ("jit", "off")];

/// Then that server has nothing else to do: it looks at what it stored with all of its processors, although the planner
/// takes the rows of one transaction for few.
const KEEPING: [(&str, &str); 3] =
    [("parallel_setup_cost", "0"), ("parallel_tuple_cost", "0"), ("jit", "off")];

/// Whether the table there has no rows, nobody is to see only some of them, and COPY does what INSERT does.
///
/// So many rows there are here; an interrupted call may have sent some of them to `stage`.
pub fn is_possible(remote: &Remote, shipment: &Shipment, rows: i64, stage: &str) -> Result<bool> {
    if rows < FEW_ROWS || !shipment.can_be_loaded() || bytes(shipment)? > MOST_BYTES {
        return Ok(false);
    }
    let table = format!("{}::regclass", literal(&shipment.table));
    let sql = format!(
        "SELECT (NOT EXISTS (SELECT FROM {}) AND pg_catalog.to_regclass({}) IS NULL
                 AND NOT pg_catalog.row_security_active({table}::oid)
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = {table} AND r.ev_type = '3')
                 AND NOT EXISTS (SELECT FROM {} l JOIN pg_catalog.pg_class c ON c.oid = l.oid WHERE c.relkind <> 'r'))::text",
        shipment.table,
        literal(stage),
        leaves(&table)
    );
    Ok(Database::There(remote).value(&sql)? == "true")
}

fn bytes(shipment: &Shipment) -> Result<i64> {
    let sql = format!(
        "SELECT pg_catalog.sum(pg_catalog.pg_table_size(l.oid))::bigint FROM {} l",
        leaves(&format!("{}::regclass", literal(&shipment.table)))
    );
    Ok(spi::read_value::<i64>(&sql, &[])?.unwrap_or(0))
}

/// Whether a load failed for what the stage is there for: rows that the target refuses, or changes, and rows that somebody
/// else was faster with.
pub fn may_go_by_the_stage(failure: &Failure) -> bool {
    is_of_a_row(failure) || failure.class() == "0A"
}

/// Reads and sends all rows. Returns what they are.
pub fn load(remote: &Remote, shipment: &Shipment) -> Result<Digest> {
    let found = Database::There(remote).value(&shipment.has_rows())?;
    if found == "true" {
        return Err(DeployError::NotEmpty.into());
    }
    let mut sent = Digest::default();
    remote.copy_in(&shipment.copy_all(), |connection| {
        let read =
            || copy::stream(&shipment.read_rows(None), shipment.format(), |bytes| connection.put(bytes));
        let (rows, sum) = session::pinned_with(&READING, read)?;
        sent = Digest { rows, sum };
        Ok(())
    })?;
    remote.set_local(&KEEPING);
    Ok(sent)
}

/// Makes sure that what this transaction put into the table is what was sent, and keeps of each row what tells whether it
/// still is that.
pub fn verify(database: &Database, shipment: &Shipment, rows: &str, sent: Digest) -> Result<()> {
    let transaction = database.value("SELECT pg_catalog.pg_current_xact_id()::xid::text")?;
    database.execute(&shipment.keep_loaded(rows, &transaction))?;
    let [count, sum] = database.row::<2>(&shipment.loaded_digest(rows))?;
    let number = |text: Option<String>| text.unwrap_or_default().parse::<i128>().unwrap_or(-1);
    let there = Digest { rows: i64::try_from(number(count)).unwrap_or(-1), sum: number(sum) };
    if there == sent {
        return Ok(());
    }
    Err(DeployError::LoadDiffers { sent: sent.rows, there: there.rows }.into())
}
