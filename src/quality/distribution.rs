//! How the values of a column are distributed, beside how they were in an earlier run.

use opdb_core::quality::drift::{Method, distance};
use serde::{Deserialize, Serialize};

use super::error::QualityError;
use super::scan::{NOT_PULLED_UP, Source};
use super::table::Column;
use super::trial::plan;
use crate::pg::error::Result;
use crate::pg::name::literal;
use crate::pg::spi;

/// Bins of a column whose values are in an order.
const BINS: i32 = 20;
/// The most frequent values of one whose values are not; the rest is one more bin.
const VALUES: i32 = 50;

/// The values of a column, counted in bins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    bins: Bins,
    counts: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bins {
    /// Where bins begin, as texts; what is smaller than the first is in a bin of its own.
    Edges(Vec<String>),
    /// A bin for each value, and one for all others.
    Values(Vec<String>),
}

impl Profile {
    /// Counts the values of a column in bins of their own: as many in each, or one for each frequent value.
    pub fn new(column: &Column, filter: Option<&str>, source: &Source) -> Result<Self> {
        let (values, number) = match column.is_ordered() {
            true => (counted(&column.number(), filter, source), BINS),
            false => (counted(&column.text(), filter, source), VALUES),
        };
        let sql = match column.is_ordered() {
            // A bin begins where the share of smaller values passes another twentieth.
            true => format!(
                "WITH counted AS MATERIALIZED ({values}),
                      summed AS (SELECT v, n, pg_catalog.sum(n) OVER (ORDER BY v) AS upto,
                                        pg_catalog.sum(n) OVER () AS total FROM counted)
                 SELECT pg_catalog.array_agg(v::text ORDER BY v) FROM summed
                 WHERE pg_catalog.floor((upto - n) * {number} / total) <> pg_catalog.floor(upto * {number} / total)"
            ),
            false => format!(
                "SELECT pg_catalog.array_agg(v ORDER BY v)
                 FROM ({values} ORDER BY 2 DESC, 1 LIMIT {number}) f"
            ),
        };
        let found = spi::read_value::<Vec<String>>(&sql, &[])?.unwrap_or_default();
        let bins = if column.is_ordered() { Bins::Edges(found) } else { Bins::Values(found) };
        let counts = bins.count(column, filter, source)?;
        Ok(Self { bins, counts })
    }

    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// Counts the values in the same bins.
    pub fn again(&self, column: &Column, filter: Option<&str>, source: &Source) -> Result<Self> {
        Ok(Self { bins: self.bins.clone(), counts: self.bins.count(column, filter, source)? })
    }

    pub fn distance(&self, method: Method, now: &Self) -> Option<f64> {
        distance(method, &self.counts, &now.counts)
    }
}

impl Bins {
    fn count(&self, column: &Column, filter: Option<&str>, source: &Source) -> Result<Vec<i64>> {
        let (value, bins, bin) = match self {
            Self::Edges(edges) => {
                let edges_sql = list(edges, "numeric");
                // The server has no bins for no edges.
                let bin = match edges.is_empty() {
                    true => "0".to_owned(),
                    false => format!("pg_catalog.width_bucket(v, {edges_sql})"),
                };
                (column.number(), edges.len() + 1, bin)
            }
            Self::Values(values) => {
                let values_sql = list(values, "text");
                let bin =
                    format!("coalesce(pg_catalog.array_position({values_sql}, v) - 1, {})", values.len());
                (column.text(), values.len() + 1, bin)
            }
        };
        let sql = format!(
            "SELECT {bin}, pg_catalog.sum(n)::bigint FROM ({}) c GROUP BY 1",
            counted(&value, filter, source)
        );
        let mut counts = vec![0; bins];
        for (bin, count) in
            spi::read(&sql, &[], |row| Ok((spi::known::<i32>(&row, 1)?, spi::known::<i64>(&row, 2)?)))?
        {
            if let Some(sum) = usize::try_from(bin).ok().and_then(|bin| counts.get_mut(bin)) {
                *sum += count;
            }
        }
        Ok(counts)
    }
}

impl Column {
    /// Whether its values can be put into bins as numbers.
    fn is_ordered(&self) -> bool {
        self.is_time || self.is_number
    }

    /// As a number; NULL for what is none, NaN or infinity.
    fn number(&self) -> String {
        let value = self.sql();
        match self.is_time {
            true => format!(
                "CASE WHEN pg_catalog.isfinite({value}) THEN pg_catalog.date_part('epoch', {value})::numeric END"
            ),
            false => {
                let number = format!("{value}::numeric");
                format!("CASE WHEN {number} > '-Infinity' AND {number} < 'Infinity' THEN {number} END")
            }
        }
    }
}

/// How often each value is there.
fn counted(value: &str, filter: Option<&str>, source: &Source) -> String {
    let filter = filter.map(|filter| format!(" AND {filter}")).unwrap_or_default();
    format!(
        "SELECT v, pg_catalog.count(*) AS n FROM (SELECT {value} AS v FROM {} WHERE true{filter} {NOT_PULLED_UP}) t
         WHERE v IS NOT NULL GROUP BY v",
        source.sql()
    )
}

fn list(items: &[String], data_type: &str) -> String {
    let items: Vec<String> = items.iter().map(literal).collect();
    format!("ARRAY[{}]::{data_type}[]", items.join(", "))
}

/// Errors: 22023 for a method that needs an order which the column's type does not have.
pub fn trial(method: Method, column: &Column, none: &Source) -> Result<()> {
    if method == Method::Ks && !column.is_ordered() {
        return Err(QualityError::NotOrdered(column.name.clone()).into());
    }
    let value = if column.is_ordered() { column.number() } else { column.text() };
    plan(&counted(&value, None, none))
}
