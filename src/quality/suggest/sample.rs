//! Some rows of a relation, or all of a small one.

use opdb_core::suggest::grouped;

use super::options::Options;
use super::relation::{Column, Relation};
use crate::pg::error::Result;
use crate::pg::spool::Spool;
use crate::pg::{planning, spi};

/// How many values are looked at in a table of many columns.
const CELLS: usize = 5_000_000;
const ROWS: i64 = 100_000;
/// A table of fewer bytes is read whole for a sample: of few blocks a choice of some is no fair one.
const FEW_BYTES: i64 = 16 << 20;

pub struct Sample {
    pub rows: Spool,
    extent: Extent,
}

/// What of the relation is in the sample.
enum Extent {
    All,
    /// Blocks of it, of about so many rows.
    Some {
        of: i64,
    },
    /// Those that came first.
    First,
}

impl Sample {
    /// Reads the rows once, whatever is asked of them later. `relation` has a column.
    pub fn take(relation: &Relation, options: &Options) -> Result<Self> {
        let columns = relation.columns.len();
        let by_columns = i64::try_from(CELLS / columns.max(1)).unwrap_or(ROWS).min(ROWS);
        let wanted = options.sample_rows.unwrap_or(by_columns);
        let table = relation.name.sql();
        let list: Vec<String> = relation.columns.iter().map(stored_as).collect();
        let select = format!("SELECT {} FROM {table} t", list.join(", "));
        if !relation.has_blocks {
            let rows = Spool::fill(&format!("{select} LIMIT {wanted}"))?;
            let extent = if rows.count() < wanted { Extent::All } else { Extent::First };
            return Ok(Self { rows, extent });
        }
        if !has_more_than(&table, wanted)? {
            return Ok(Self { rows: Spool::fill(&select)?, extent: Extent::All });
        }
        let method = if relation.bytes < FEW_BYTES { "BERNOULLI" } else { "SYSTEM" };
        let of = about(&table, method, wanted)?;
        let rows = Spool::fill(&format!("{select} {}", sampled(method, wanted, of)))?;
        Ok(Self { rows, extent: Extent::Some { of: of.max(wanted + 1) } })
    }

    /// What was looked at, for a person.
    pub fn told(&self) -> String {
        let rows = grouped(self.rows.count());
        match self.extent {
            Extent::All => format!("all {rows} rows were read"),
            Extent::Some { of } => format!("a sample of {rows} of about {} rows", grouped(of)),
            Extent::First => format!("the first {rows} rows were read"),
        }
    }

    pub fn is_all(&self) -> bool {
        matches!(self.extent, Extent::All)
    }
}

fn stored_as(column: &Column) -> String {
    format!("{} AS {}", column.stored(), column.cell())
}

/// Reads no more rows than that.
fn has_more_than(table: &str, rows: i64) -> Result<bool> {
    let sql = format!("SELECT pg_catalog.count(*) FROM (SELECT FROM {table} LIMIT {}) t", rows + 1);
    Ok(spi::read_value::<i64>(&sql, &[])? > Some(rows))
}

/// About how many rows a table has: what the planner expects, corrected if the sample that it expects to have `wanted`
/// rows has many more, or fewer.
#[allow(clippy::cast_precision_loss)]
fn about(table: &str, method: &str, wanted: i64) -> Result<i64> {
    let plan = planning::generic(&format!("SELECT FROM {table}"), |_| Ok(true))?;
    let expected = plan.and_then(|plan| plan.get(0)?.get("Plan")?.get("Plan Rows")?.as_f64()).unwrap_or(0.0);
    let expected = (expected as i64).max(wanted);
    let sql = format!("SELECT pg_catalog.count(*) FROM {table} t {}", sampled(method, wanted, expected));
    let found = spi::read_value::<i64>(&sql, &[])?.unwrap_or(0);
    match (found - wanted).abs() * 5 <= wanted {
        true => Ok(expected),
        false => Ok((found as f64 * expected as f64 / wanted as f64) as i64),
    }
}

/// The same rows in every call, as long as they stay where they are.
#[allow(clippy::cast_precision_loss)]
fn sampled(method: &str, wanted: i64, of: i64) -> String {
    let percent = 100.0 * wanted as f64 / of.max(wanted) as f64;
    format!("TABLESAMPLE {method} ({percent:.9}) REPEATABLE (0)")
}
