//! What the sample says about each column.

use std::collections::HashMap;

use opdb_core::suggest::{Count, Fence};
use pgrx::JsonB;
use serde::Deserialize;

use super::relation::{Class, Column, Relation};
use super::sample::Sample;
use crate::pg::error::Result;
use crate::pg::name::literal;
use crate::pg::spi;

/// Stand for a value that nobody had.
pub const PLACEHOLDERS: [&str; 9] = ["n/a", "na", "null", "none", "nil", "-", "--", "unknown", "?"];

/// Longer texts are told apart, but not looked at.
pub const MAX_BYTES: usize = 256;
/// So many values of a column are looked at: the most common ones, and then any.
pub const MAX_LISTED: i64 = 1000;
const MOST_COMMON: usize = 200;
/// What is sorted at the same time takes memory, up to work_mem for each column.
const COLUMNS_PER_STATEMENT: usize = 20;

/// A value with its rows; no value for a text that is too long.
pub type Listed = (Option<String>, i64);

/// A column and what its values are like.
pub struct Profile<'a> {
    pub column: &'a Column,
    pub summary: Summary,
    /// The most common values, most common first, and some of the others.
    pub values: Vec<Listed>,
    /// How many values there are; 0 where they cannot be compared, or need not be.
    pub distinct: i64,
    /// Numbers and times: between what they lie.
    pub bounds: Option<Bounds>,
    /// What ANALYZE says about the whole table: distinct values, negative as a share of the rows.
    pub analyzed_distinct: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Rows with a value.
    pub present: i64,
    /// Text: which placeholders there are.
    pub placeholders: Vec<String>,
    /// Text: values with a blank in them.
    pub spaced: i64,
    low: Option<f64>,
    high: Option<f64>,
    quartiles: Option<[f64; 2]>,
}

/// Between what numbers, or seconds since 1970, lie.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub low: f64,
    pub high: f64,
    /// The quartiles, if there are outliers: the bounds are those of the others.
    pub without_outliers: Option<[f64; 2]>,
}

impl Profile<'_> {
    /// The values whose text is known, with their rows.
    pub fn texts(&self) -> Vec<Count> {
        self.values.iter().filter_map(|(value, rows)| Some((value.clone()?, *rows))).collect()
    }

    /// The listed values, each with as many rows as it stands for: those that are not among the most common ones stand
    /// for what is not listed, too. What is too long has no text.
    #[allow(clippy::cast_precision_loss)]
    pub fn weights(&self) -> Vec<(String, f64)> {
        let (common, others) = self.values.split_at(self.values.len().min(MOST_COMMON));
        let rows = |values: &[Listed]| values.iter().map(|(_, rows)| *rows).sum::<i64>();
        let rest = (self.summary.present - rows(common)) as f64 / rows(others).max(1) as f64;
        let weigh = |listed: &[Listed], by: f64| -> Vec<(String, f64)> {
            listed
                .iter()
                .map(|(value, rows)| (value.clone().unwrap_or_default(), *rows as f64 * by))
                .collect()
        };
        [weigh(common, 1.0), weigh(others, rest)].concat()
    }

    /// Whether all values are in the list.
    pub fn is_listed(&self) -> bool {
        self.distinct <= MAX_LISTED
    }
}

pub fn profiles<'a>(relation: &'a Relation, sample: &Sample) -> Result<Vec<Profile<'a>>> {
    let mut analyzed = match sample.is_all() {
        true => HashMap::new(),
        false => statistics(relation)?,
    };
    let mut profiles = Vec::new();
    for columns in relation.columns.chunks(COLUMNS_PER_STATEMENT) {
        for (column, summary) in columns.iter().zip(summaries(columns, sample)?) {
            let analyzed = analyzed.remove(&column.name).unwrap_or_default();
            let (values, distinct) = values(column, sample)?;
            let bounds = bounds(column, &summary, &analyzed.values, sample)?;
            profiles.push(Profile {
                column,
                summary,
                values,
                distinct,
                bounds,
                analyzed_distinct: analyzed.distinct,
            });
        }
    }
    Ok(profiles)
}

fn summaries(columns: &[Column], sample: &Sample) -> Result<Vec<Summary>> {
    let list: Vec<String> = columns.iter().map(summary).collect();
    let sql = format!("SELECT {} FROM spool", list.join(", "));
    let mut found = sample.rows.read(&sql, &[], |row| {
        (1..=columns.len()).map(|place| row.get::<JsonB>(place)).collect::<pgrx::spi::Result<Vec<_>>>()
    })?;
    let summaries = found.pop().unwrap_or_default().into_iter();
    Ok(summaries
        .map(|json| json.and_then(|json| serde_json::from_value(json.0).ok()).unwrap_or_default())
        .collect())
}

fn summary(column: &Column) -> String {
    let cell = column.cell();
    let more = match column.class {
        Class::Text => {
            let plain = format!("lower(btrim({cell}))");
            let listed: Vec<String> = PLACEHOLDERS.iter().map(literal).collect();
            let is_placeholder = format!("{plain} IN ({})", listed.join(", "));
            format!(
                ", 'spaced', count(*) FILTER (WHERE strpos({cell}, ' ') > 0),
                   'placeholders', coalesce(array_agg(DISTINCT {plain}) FILTER (WHERE {is_placeholder}), '{{}}')"
            )
        }
        class if class.is_number() || class == Class::Time => {
            let value = column.magnitude();
            format!(
                ", 'low', min({value}), 'high', max({value}),
                   'quartiles', percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY {value})"
            )
        }
        _ => String::new(),
    };
    format!("jsonb_build_object('present', count({cell}){more})")
}

/// The most common values and some others, and how many there are. Chance decides, the same in every call.
fn values(column: &Column, sample: &Sample) -> Result<(Vec<Listed>, i64)> {
    let cell = column.cell();
    let sql = match column.class {
        Class::Comparable => {
            let sql = format!(
                "SELECT count(*) FROM (SELECT FROM spool WHERE {cell} IS NOT NULL GROUP BY {cell}) g"
            );
            let distinct = sample.rows.read(&sql, &[], |row| spi::known::<i64>(&row, 1))?;
            return Ok((Vec::new(), distinct.first().copied().unwrap_or(0)));
        }
        class if !class.has_values() => return Ok((Vec::new(), 0)),
        Class::Text => format!(
            "SELECT CASE WHEN octet_length({cell}) <= {MAX_BYTES} THEN {cell} COLLATE \"C\" END AS value,
                    CASE WHEN octet_length({cell}) > {MAX_BYTES} THEN hashtextextended({cell} COLLATE \"C\", 0) END AS hash
             FROM spool WHERE {cell} IS NOT NULL"
        ),
        _ => format!("SELECT {cell}::text COLLATE \"C\" AS value, NULL AS hash FROM spool WHERE {cell} IS NOT NULL"),
    };
    let sql = format!(
        "SELECT value, rows, distinct_values
         FROM (SELECT value, hash, count(*) AS rows, count(*) OVER () AS distinct_values,
                      row_number() OVER (ORDER BY count(*) DESC, hashtextextended(value, 0), hash) AS place
               FROM ({sql}) v GROUP BY value, hash) g
         ORDER BY place > {MOST_COMMON}, hashtextextended(value, 1), hash LIMIT {MAX_LISTED}"
    );
    let rows = sample.rows.read(&sql, &[], |row| {
        Ok((row.get::<String>(1)?, spi::known::<i64>(&row, 2)?, spi::known::<i64>(&row, 3)?))
    })?;
    let distinct = rows.first().map_or(0, |(.., distinct)| *distinct);
    let mut values: Vec<Listed> = rows.into_iter().map(|(value, rows, _)| (value, rows)).collect();
    values.sort_by(|(value, rows), (other, more)| more.cmp(rows).then_with(|| value.cmp(other)));
    Ok((values, distinct))
}

/// Outliers are left out if they are no more than one value in a hundred. `analyzed` are values of rows that the sample
/// may not have.
fn bounds(column: &Column, summary: &Summary, analyzed: &[f64], sample: &Sample) -> Result<Option<Bounds>> {
    let (Some(low), Some(high)) = (summary.low, summary.high) else { return Ok(None) };
    let fence = summary.quartiles.and_then(|[first, third]| Fence::around(first, third));
    let mut bounds = Bounds { low, high, without_outliers: None };
    if let Some(fence) = fence.filter(|fence| !(fence.holds(low) && fence.holds(high))) {
        let value = column.magnitude();
        let sql = format!(
            "SELECT count(*), min(v), max(v), (SELECT count({value}) FROM spool)
             FROM (SELECT {value} AS v FROM spool) s WHERE v BETWEEN $1 AND $2"
        );
        let inside = sample.rows.read(&sql, &[fence.low.into(), fence.high.into()], |row| {
            Ok((
                spi::known::<i64>(&row, 1)?,
                spi::known::<f64>(&row, 2)?,
                spi::known::<f64>(&row, 3)?,
                spi::known::<i64>(&row, 4)?,
            ))
        })?;
        if let Some(&(rows, low, high, all)) = inside.first()
            && (all - rows) * 100 <= all
        {
            bounds = Bounds { low, high, without_outliers: summary.quartiles };
        }
    }
    let may_hold =
        |value: &&f64| bounds.without_outliers.is_none() || fence.is_none_or(|fence| fence.holds(**value));
    for value in analyzed.iter().filter(may_hold) {
        bounds.low = bounds.low.min(*value);
        bounds.high = bounds.high.max(*value);
    }
    Ok(Some(bounds))
}

/// What ANALYZE found of a column.
#[derive(Default)]
struct Analyzed {
    distinct: Option<f64>,
    values: Vec<f64>,
}

fn statistics(relation: &Relation) -> Result<HashMap<String, Analyzed>> {
    let named = |is: fn(Class) -> bool| -> Vec<String> {
        relation.columns.iter().filter(|column| is(column.class)).map(|column| column.name.clone()).collect()
    };
    let (schema, table) = (relation.name.schema.as_str(), relation.name.name.as_str());
    let rows = spi::read(
        include_str!("../../../sql/quality/suggest_statistics.sql"),
        &[
            schema.into(),
            table.into(),
            named(Class::is_number).into(),
            named(|class| class == Class::Time).into(),
        ],
        |row| {
            let values = row.get::<Vec<f64>>(3)?.unwrap_or_default();
            Ok((spi::known::<String>(&row, 1)?, Analyzed { distinct: row.get::<f64>(2)?, values }))
        },
    )?;
    Ok(rows.into_iter().collect())
}
