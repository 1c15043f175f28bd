//! The partitions that a table has: known by their bounds, whatever they are called.

use opdb_core::partition::{Key, Range};
use pgrx::pg_sys;

use super::error::PartitionError;
use super::parent::Parent;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{session, spi};

#[derive(Clone)]
pub struct Partition {
    pub table: Regclass,
    pub name: Qualified,
    pub range: Range,
    /// As in `FROM (…) TO (…)`.
    pub lower: String,
    pub upper: String,
    /// pg_class.relkind: a table, a partitioned table or a foreign table.
    pub kind: String,
    pub owner: pg_sys::Oid,
}

pub struct DefaultPartition {
    pub table: Regclass,
    pub name: Qualified,
    pub kind: String,
    pub owner: pg_sys::Oid,
}

#[derive(Default)]
pub struct Children {
    /// In order.
    pub partitions: Vec<Partition>,
    /// Whose DETACH CONCURRENTLY was interrupted: they hold no row of the table any more.
    pub half_detached: Vec<Partition>,
    pub default: Option<DefaultPartition>,
    /// How bounds that are UUIDs go on after the time.
    pub uuid_rest: u128,
}

/// A row of the catalog.
struct Row {
    table: Regclass,
    name: Qualified,
    bound: String,
    kind: String,
    owner: pg_sys::Oid,
    is_half_detached: bool,
}

impl Children {
    /// Errors: 22023 for a bound that cannot be read as one of `key`.
    pub fn of(parent: &Parent, key: Key) -> Result<Self> {
        let rows = session::pinned(|| read(parent.table))?;
        let mut children =
            Self { uuid_rest: Key::uuid_rest(rows.iter().map(|row| row.bound.as_str())), ..Self::default() };
        for row in rows {
            children.add(row, key)?;
        }
        children.partitions.sort_by_key(|partition| partition.range);
        Ok(children)
    }

    fn add(&mut self, row: Row, key: Key) -> Result<()> {
        if row.bound == "DEFAULT" {
            let Row { table, name, kind, owner, .. } = row;
            self.default = Some(DefaultPartition { table, name, kind, owner });
            return Ok(());
        }
        let range = key.range(&row.bound).map_err(|error| PartitionError::Unreadable {
            partition: row.name.sql(),
            why: error.to_string(),
        })?;
        let (lower, upper) = ends(&row.bound);
        let Row { table, name, kind, owner, is_half_detached, .. } = row;
        let partition = Partition { table, name, range, lower, upper, kind, owner };
        if is_half_detached {
            self.half_detached.push(partition);
        } else {
            self.partitions.push(partition);
        }
        Ok(())
    }

    pub fn ranges(&self) -> Vec<Range> {
        self.partitions.iter().map(|partition| partition.range).collect()
    }

    pub fn with_range(&self, range: Range) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.range == range)
    }

    /// The partition that new ones take after in what the parent cannot give: the last of them.
    pub fn model(&self) -> Option<pg_sys::Oid> {
        self.partitions.iter().rev().find(|partition| partition.kind != "f").map(|it| it.table.0)
    }
}

fn read(parent: Regclass) -> Result<Vec<Row>> {
    // A bound has no columns; told whose it is, the server would lock the partition to print it.
    spi::read_now(
        "SELECT c.oid::pg_catalog.regclass, n.nspname::text, c.relname::text,
                pg_catalog.pg_get_expr(c.relpartbound, 0), c.relkind::text, i.inhdetachpending, c.relowner
         FROM pg_catalog.pg_inherits i
         JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE i.inhparent = $1",
        &[parent.into()],
        |row| {
            Ok(Row {
                table: spi::known(&row, 1)?,
                name: Qualified { schema: spi::known(&row, 2)?, name: spi::known(&row, 3)? },
                bound: row.get::<String>(4)?.unwrap_or_default(),
                kind: spi::known(&row, 5)?,
                is_half_detached: spi::known(&row, 6)?,
                owner: spi::known(&row, 7)?,
            })
        },
    )
}

/// The two ends of `FOR VALUES FROM (…) TO (…)`, without quotes.
fn ends(bound: &str) -> (String, String) {
    let inner = bound.trim_start_matches("FOR VALUES FROM (").trim_end_matches(')');
    let (lower, upper) = inner.split_once(") TO (").unwrap_or((inner, ""));
    (lower.trim_matches('\'').to_owned(), upper.trim_matches('\'').to_owned())
}
