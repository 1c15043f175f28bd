//! Foreign keys whose rows no index finds.

use pgrx::pg_sys;
use pgrx::spi::SpiHeapTupleData;

use super::creation::{self, Names, Table};
use super::finding::{Fault, Finding};
use super::statistics::Statistics;
use super::{Advice, Kind};
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::spi;
use crate::pg::types::Regclass;

struct ForeignKey {
    name: String,
    table: pg_sys::Oid,
    referenced: String,
    columns: Vec<String>,
    /// Bytes of a key.
    width: f64,
    /// As pg_stats has n_distinct.
    distinct: Option<f64>,
    deletes: i64,
    updates: i64,
}

pub fn advice(findings: &[Finding], statistics: &Statistics, names: &Names) -> Result<Vec<Advice>> {
    let found = findings.iter().filter(|finding| finding.fault == Fault::UnindexedForeignKey);
    let oids: Vec<pg_sys::Oid> = found.filter_map(|finding| finding.other).collect();
    if oids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = include_str!("../../../sql/maintain/index_foreign_keys.sql");
    let keys: Vec<ForeignKey> = spi::read(sql, &[oids.into()], foreign_key)?.into_iter().flatten().collect();
    let tables = creation::tables(keys.iter().map(|key| key.table).collect(), None)?;
    let mut advice = Vec::new();
    for key in &keys {
        if let Some(table) = tables.get(&key.table) {
            advice.extend(key.advice(table, statistics, names)?);
        }
    }
    Ok(advice)
}

fn foreign_key(row: SpiHeapTupleData) -> pgrx::spi::Result<Option<ForeignKey>> {
    let Some(table) = row.get(2)? else { return Ok(None) };
    Ok(Some(ForeignKey {
        name: row.get(1)?.unwrap_or_default(),
        table,
        referenced: row.get(3)?.unwrap_or_default(),
        columns: row.get(4)?.unwrap_or_default(),
        width: row.get(5)?.unwrap_or(0.0),
        distinct: row.get(6)?,
        deletes: row.get(7)?.unwrap_or(0),
        updates: row.get(8)?.unwrap_or(0),
    }))
}

impl ForeignKey {
    #[allow(clippy::cast_precision_loss)]
    fn advice(&self, table: &Table, statistics: &Statistics, names: &Names) -> Result<Option<Advice>> {
        let list: Vec<String> = self.columns.iter().map(identifier).collect();
        let Some(creation) = table.create(&self.columns, &list.join(", "), names)? else { return Ok(None) };
        let pages = table.pages();
        Ok(Some(Advice {
            kind: Kind::UnindexedForeignKey,
            table: Regclass(self.table),
            object: creation.name.sql(),
            ddl: creation.ddl,
            undo: Some(creation.undo),
            reason: format!(
                "foreign key {}: for each row of {} that is deleted, or whose key changes, all of {} is read, {pages} \
                 pages; {} rows were deleted and {} updated {}",
                identifier(&self.name),
                self.referenced,
                table.name().map_or_else(String::new, crate::pg::name::Qualified::sql),
                self.deletes,
                self.updates,
                statistics.period()
            ),
            bytes: table.rows().map(|rows| self.bytes(rows)),
            write_cost: statistics.per_second(Some(table.writes())),
            gain: None,
            columns: self.columns.clone(),
            rank: (self.deletes + self.updates + 1) as f64 * (pages + 1) as f64,
        }))
    }

    /// What an index of so many rows takes: an entry for each, or one for each key with a list of its rows.
    #[allow(clippy::cast_possible_truncation)]
    fn bytes(&self, rows: f64) -> i64 {
        const PAGE: f64 = pg_sys::BLCKSZ as f64;
        let entry = ((8.0 + self.width) / 8.0).ceil() * 8.0 + 4.0;
        let keys = match self.distinct {
            Some(share) if share < 0.0 => -share * rows,
            Some(count) if count > 0.0 => count.min(rows),
            _ => rows,
        };
        let entries = if keys * 2.0 <= rows { keys * entry + rows * 6.0 } else { rows * entry };
        let pages = (entries / (PAGE * 0.9 - 40.0)).ceil().max(1.0) + 1.0;
        (pages * PAGE) as i64
    }
}
