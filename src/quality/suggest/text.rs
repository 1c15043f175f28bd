//! What texts look like: a list of values, a format, a pattern, a length.

use std::collections::BTreeMap;

use opdb_core::quality::Dimension;
use opdb_core::suggest::{Count, accepted, pattern};
use serde_json::{Value, json};

use super::candidate::{Candidate, Measure};
use super::format::{Format, Formats};
use super::options::Options;
use super::profile::{Listed, MAX_BYTES, MAX_LISTED, Profile};
use super::relation::Class;
use super::sample::Sample;
use crate::pg::error::Result;
use crate::pg::name::literal;
use crate::pg::spi;

pub struct Context<'a> {
    pub sample: &'a Sample,
    pub options: &'a Options,
    pub formats: &'a Formats,
}

/// One rule beside a format: what a list of values says, a pattern says no better.
pub fn candidates(profile: &Profile, context: &Context) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    let list = accepted_values(profile);
    let format = context.formats.of(profile, context.options)?;
    if let Some(format) = &format {
        candidates.push(formatted(profile, format));
    }
    if let Some(list) = list {
        candidates.push(list);
    } else if format.is_none() {
        candidates.extend(match regex(profile, context)? {
            Some(pattern) => Some(pattern),
            None => length(profile, context.options),
        });
    }
    Ok(candidates)
}

/// The values of a text or of whole numbers that are few. What not_blank refuses is none of them.
pub fn accepted_values(profile: &Profile) -> Option<Candidate> {
    let column = profile.column;
    let is_missing = |value: &str| {
        value.trim().is_empty() || profile.summary.placeholders.contains(&value.trim().to_lowercase())
    };
    let (missing, values): (Vec<Count>, Vec<Count>) =
        profile.texts().into_iter().partition(|(value, _)| column.class == Class::Text && is_missing(value));
    let missing_rows: i64 = missing.iter().map(|(_, rows)| rows).sum();
    let is_rare = missing_rows * 20 <= profile.summary.present;
    let (values, missing_rows, missing) =
        if is_rare { (values, missing_rows, missing.len()) } else { (profile.texts(), 0, 0) };
    let distinct = profile.distinct - i64::try_from(missing).unwrap_or(0);
    let list = accepted(&values, distinct, profile.summary.present - missing_rows)?;
    let condition = format!("{}::text IN ({})", column.cell(), literals(&list));
    let claim = match list.as_slice() {
        [only] => format!("are '{only}'"),
        several => format!("are one of {} values, each of which is seen often", several.len()),
    };
    Some(accuracy(profile, "accepted_values", json!({"values": list}), condition, claim))
}

fn formatted(profile: &Profile, format: &Format) -> Candidate {
    let key = if format.rule == "castable" { "type" } else { "format" };
    let args = json!({key: format.argument});
    let condition = format.condition(&profile.column.cell());
    accuracy(profile, format.rule, args, condition, format.what.clone())
}

fn regex(profile: &Profile, context: &Context) -> Result<Option<Candidate>> {
    let values = profile.weights();
    let Some(mut found) = pattern(&values, context.options.min_ratio) else { return Ok(None) };
    if !profile.is_listed() {
        // Only the most common values were looked at, and some of the others. Look at those that do not fit, too.
        let misfits = misfits(profile, &found, context.sample)?;
        found = match pattern(&together(&values, &misfits), context.options.min_ratio) {
            Some(better) => better,
            None => return Ok(None),
        };
    }
    let condition = format!("{} ~ {}", profile.column.cell(), literal(&found));
    let claim = format!("match {found}");
    Ok(Some(accuracy(profile, "regex", json!({"pattern": found}), condition, claim)))
}

/// The most common values that do not fit a pattern, with their rows, and how many rows there are of them in all.
struct Misfits {
    values: Vec<Listed>,
    rows: i64,
}

fn misfits(profile: &Profile, pattern: &str, sample: &Sample) -> Result<Misfits> {
    let cell = profile.column.cell();
    let sql = format!(
        "SELECT value, count(*), sum(count(*)) OVER ()::bigint
         FROM (SELECT CASE WHEN octet_length({cell}) <= {MAX_BYTES} THEN {cell} COLLATE \"C\" END AS value
               FROM spool WHERE {cell} !~ $1) v
         GROUP BY value ORDER BY count(*) DESC, hashtextextended(value, 0) LIMIT {MAX_LISTED}"
    );
    let rows = sample.rows.read(&sql, &[pattern.into()], |row| {
        Ok((row.get::<String>(1)?, spi::known::<i64>(&row, 2)?, spi::known::<i64>(&row, 3)?))
    })?;
    let all = rows.first().map_or(0, |(.., all)| *all);
    Ok(Misfits { values: rows.into_iter().map(|(value, rows, _)| (value, rows)).collect(), rows: all })
}

/// The values looked at, and of those that do not fit as many as there are.
#[allow(clippy::cast_precision_loss)]
fn together(values: &[(String, f64)], misfits: &Misfits) -> Vec<(String, f64)> {
    let seen: i64 = misfits.values.iter().map(|(_, rows)| rows).sum();
    let share = misfits.rows as f64 / seen.max(1) as f64;
    let is_misfit = |value: &str| misfits.values.iter().any(|(misfit, _)| misfit.as_deref() == Some(value));
    let fitting = values.iter().filter(|(value, _)| !is_misfit(value)).cloned();
    // A text that is too long counts, but has no shape.
    let weigh = |(value, rows): &Listed| (value.clone().unwrap_or_default(), *rows as f64 * share);
    fitting.chain(misfits.values.iter().map(weigh)).collect()
}

/// All of one length, which then is that of a code.
#[allow(clippy::cast_precision_loss)]
fn length(profile: &Profile, options: &Options) -> Option<Candidate> {
    let mut lengths: BTreeMap<usize, f64> = BTreeMap::new();
    for (value, rows) in profile.weights() {
        *lengths.entry(value.chars().count()).or_default() += rows;
    }
    let (length, rows) = lengths.into_iter().max_by(|(_, rows), (_, others)| rows.total_cmp(others))?;
    if length < 2 || rows < options.min_ratio.max(0.99) * profile.summary.present as f64 {
        return None;
    }
    let condition = format!("char_length({}) = {length}", profile.column.cell());
    let args = json!({"min": length, "max": length});
    Some(accuracy(profile, "length", args, condition, format!("have {length} characters")))
}

fn accuracy(profile: &Profile, rule: &'static str, args: Value, passed: String, claim: String) -> Candidate {
    Candidate {
        dimension: Dimension::Accuracy,
        rule,
        columns: vec![profile.column.name.clone()],
        args,
        measure: Measure::of_cell(&profile.column.cell(), passed),
        noun: "values",
        claim,
    }
}

fn literals(values: &[String]) -> String {
    values.iter().map(literal).collect::<Vec<_>>().join(", ")
}
