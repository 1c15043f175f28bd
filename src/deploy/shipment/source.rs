//! The SQL that reads rows on the source, and groups of rows on both sides.

use opdb_core::compat::digest::Digest;
use opdb_core::compat::form::Side;

use super::{Shipment, hash_of};
use crate::deploy::column::Column;
use crate::pg::error::Result;
use crate::pg::name::{identifier, literal};
use crate::pg::spi;

/// Of a row, t: what is sent of it, or what came of that.
fn value(side: Side, column: &Column) -> String {
    match side {
        Side::Local => column.value(),
        Side::Remote => format!("t.{}", identifier(&column.name)),
    }
}

impl Shipment {
    /// The rows on the source: the hash of each, then what is sent of it as c1, c2, …
    pub fn read_rows(&self, restriction: Option<&str>) -> String {
        let values: Vec<String> = self
            .sent()
            .enumerate()
            .map(|(place, column)| format!("{} AS c{}", column.value(), place + 1))
            .collect();
        let hash = hash_of(self.sent(), Side::Local, |place, _| format!("r.c{}", place + 1));
        format!(
            "SELECT {hash} AS h, r.* FROM (SELECT {} FROM {} t WHERE {}{}) r",
            values.join(", "),
            self.table,
            self.condition.as_deref().unwrap_or("true"),
            restriction.map_or(String::new(), |more| format!(" AND {more}")),
        )
    }

    /// Whether rows can be compared on both sides before any are sent: all of them, as they are.
    pub fn can_be_compared(&self) -> bool {
        self.condition.is_none() && !self.is_transformed() && !self.has_references()
    }

    /// Of rows in groups by their key, as one text: the number of each group, how many rows it has and the sum of their
    /// hashes.
    pub fn buckets(&self, side: Side, of: i64) -> String {
        let hash = hash_of(self.columns.iter(), side, |_, column| value(side, column));
        format!(
            "SELECT pg_catalog.string_agg(d.bucket || ':' || d.rows || ':' || d.sum, ',')
             FROM (SELECT {} AS bucket, pg_catalog.count(*) AS rows, pg_catalog.sum({hash}) AS sum
                   FROM {} t GROUP BY 1) d",
            self.bucket(side, of),
            self.table
        )
    }

    /// Of a row, t, whether it is in one of these groups.
    pub fn in_buckets(&self, side: Side, of: i64, buckets: &[i64]) -> String {
        let list: Vec<String> = buckets.iter().map(i64::to_string).collect();
        format!("({} = ANY ('{{{}}}'::bigint[]))", self.bucket(side, of), list.join(","))
    }

    fn bucket(&self, side: Side, of: i64) -> String {
        let keys = self.columns.iter().filter(|column| self.key.contains(&column.name));
        let hashes: Vec<String> = keys
            .enumerate()
            .map(|(place, column)| column.bucket_hash(side, &value(side, column), place + 1))
            .collect();
        format!("({}) & {}", hashes.join(" # "), of - 1)
    }

    /// The number of rows and the sum of their hashes, on the source.
    pub fn read_digest(&self) -> Result<Digest> {
        let sql = format!(
            "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(h), 0)::text FROM ({}) d",
            self.read_rows(None)
        );
        let found = spi::read_one(&sql, &[], |row| Ok((row.get::<i64>(1)?, row.get::<String>(2)?)))?;
        let (rows, sum) = found.unwrap_or_default();
        Ok(Digest { rows: rows.unwrap_or(0), sum: sum.and_then(|sum| sum.parse().ok()).unwrap_or(0) })
    }

    /// What `read_rows` returns, where it comes from another server.
    pub fn definition(&self) -> String {
        let columns: Vec<String> = self
            .sent()
            .enumerate()
            .map(|(place, column)| format!("c{} {}", place + 1, column.read_type()))
            .collect();
        format!("h bigint, {}", columns.join(", "))
    }

    /// From a spool, the key of its first row, as JSON.
    pub fn key_of_spool(&self) -> String {
        // A reference that is part of the key is shown by what it was sent as.
        let is_shown = |column: &&Column| {
            self.key.contains(&column.name) || !self.columns.iter().any(|own| own.name == column.name)
        };
        let members: Vec<String> = self
            .sent()
            .enumerate()
            .filter(|(_, column)| is_shown(column))
            .map(|(place, column)| format!("{}, c{}", literal(&column.name), place + 1))
            .collect();
        format!("SELECT pg_catalog.jsonb_build_object({})::text FROM spool LIMIT 1", members.join(", "))
    }
}
