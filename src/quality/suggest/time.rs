//! When things happened, and which of two came first.

use opdb_core::quality::Dimension;
use opdb_core::suggest::{Hint, direction, first_day, looks_ahead, without_implied};
use serde_json::json;

use super::candidate::{Candidate, Measure};
use super::profile::{Bounds, Profile};
use super::relation::Class;
use super::sample::Sample;
use crate::pg::error::Result;
use crate::pg::name::{identifier, literal};
use crate::pg::spi;

/// More columns of times are compared with each other no more: their pairs are too many.
const MAX_COLUMNS: usize = 8;
const DAY: f64 = 86_400.0;

/// Since the year of the first, and, unless there are later ones, not in the future.
pub fn candidates(profile: &Profile, now: f64) -> Vec<Candidate> {
    let Some(bounds) = profile.bounds else { return Vec::new() };
    let is_ahead = bounds.high > now + DAY;
    let mut candidates: Vec<Candidate> = range(profile, bounds, is_ahead).into_iter().collect();
    if !is_ahead && !looks_ahead(&profile.column.name) {
        candidates.push(not_ahead(profile));
    }
    candidates
}

fn range(profile: &Profile, bounds: Bounds, is_ahead: bool) -> Option<Candidate> {
    let cell = profile.column.cell();
    let min = first_day(bounds.low, 0)?;
    let max = if is_ahead { Some(first_day(bounds.high, 1)?) } else { None };
    let mut condition = format!("{cell} >= {}", literal(&min));
    let mut args = json!({"min": min});
    let mut claim = format!("are not before {min}, the year of the first");
    if let Some(max) = max {
        condition += &format!(" AND {cell} <= {}", literal(&max));
        args["max"] = json!(max);
        claim += &format!(", and not after {max}");
    }
    if bounds.without_outliers.is_some() {
        claim += ", outliers left out (farther than three interquartile ranges from the quartiles)";
    }
    Some(Candidate {
        dimension: Dimension::Accuracy,
        rule: "range",
        columns: vec![profile.column.name.clone()],
        args,
        measure: Measure::of_cell(&cell, condition),
        noun: "values",
        claim,
    })
}

/// A time without a zone may be a zone's difference ahead.
fn not_ahead(profile: &Profile) -> Candidate {
    let latest = match profile.column.type_name.as_str() {
        "date" => "current_date + 1",
        "timestamp" => "localtimestamp + interval '1 day'",
        _ => "now()",
    };
    let condition = |column: &str| format!("{column} <= {latest}");
    let column = identifier(&profile.column.name);
    Candidate {
        dimension: Dimension::Accuracy,
        rule: "expression",
        columns: Vec::new(),
        args: json!({"expression": condition(&column)}),
        measure: Measure::of_cell(&profile.column.cell(), condition(&profile.column.cell())),
        noun: "values",
        claim: format!("of {column} are not in the future"),
    }
}

/// Pairs of times of one type of which one is not after the other.
pub fn orders(profiles: &[Profile], sample: &Sample, min_ratio: f64) -> Result<Vec<Candidate>> {
    let times: Vec<&Profile> = profiles
        .iter()
        .filter(|profile| profile.column.class == Class::Time && profile.bounds.is_some())
        .take(MAX_COLUMNS)
        .collect();
    let pairs: Vec<(usize, usize)> = (0..times.len())
        .flat_map(|one| (one + 1..times.len()).map(move |other| (one, other)))
        .filter(|(one, other)| times[*one].column.type_name == times[*other].column.type_name)
        .collect();
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let hints = hints(&times, &pairs, sample)?;
    let ordered: Vec<(usize, usize)> = pairs
        .into_iter()
        .zip(hints)
        .filter_map(|((one, other), hint)| in_order(&times, one, other, hint, min_ratio))
        .collect();
    let kept = without_implied(&ordered);
    Ok(kept.into_iter().map(|(first, second)| not_after(times[first], times[second])).collect())
}

#[allow(clippy::cast_precision_loss)]
fn in_order(
    times: &[&Profile],
    one: usize,
    other: usize,
    hint: Hint,
    min_ratio: f64,
) -> Option<(usize, usize)> {
    let ascending = direction(&times[one].column.name, &times[other].column.name, hint)?;
    let (pair, rows) =
        if ascending { ((one, other), hint.ascending) } else { ((other, one), hint.descending) };
    (rows as f64 >= min_ratio * hint.both as f64).then_some(pair)
}

fn hints(times: &[&Profile], pairs: &[(usize, usize)], sample: &Sample) -> Result<Vec<Hint>> {
    let counts: Vec<String> = pairs
        .iter()
        .map(|(one, other)| {
            let (one, other) = (times[*one].column.cell(), times[*other].column.cell());
            format!(
                "count(*) FILTER (WHERE {one} IS NOT NULL AND {other} IS NOT NULL),
                 count(*) FILTER (WHERE {one} <= {other}), count(*) FILTER (WHERE {other} <= {one})"
            )
        })
        .collect();
    let sql = format!("SELECT ARRAY[{}] FROM spool", counts.join(", "));
    let counts = sample
        .rows
        .read(&sql, &[], |row| spi::known::<Vec<i64>>(&row, 1))?
        .into_iter()
        .next()
        .unwrap_or_default();
    let is_apart = |one: &Profile, other: &Profile| match (one.bounds, other.bounds) {
        (Some(one), Some(other)) => one.high <= other.low || other.high <= one.low,
        _ => true,
    };
    let hint = |(pair, counts): (&(usize, usize), &[i64])| Hint {
        both: counts[0],
        ascending: counts[1],
        descending: counts[2],
        is_apart: is_apart(times[pair.0], times[pair.1]),
    };
    Ok(pairs.iter().zip(counts.chunks_exact(3)).map(hint).collect())
}

fn not_after(first: &Profile, second: &Profile) -> Candidate {
    let names = [first, second].map(|profile| identifier(&profile.column.name));
    let [one, other] = [first, second].map(|profile| profile.column.cell());
    let expression = format!("{} <= {}", names[0], names[1]);
    Candidate {
        dimension: Dimension::Consistency,
        rule: "expression",
        columns: Vec::new(),
        measure: Measure::Conditions {
            evaluated: format!("{one} IS NOT NULL AND {other} IS NOT NULL"),
            passed: format!("{one} <= {other}"),
            example: Some(format!("({one}::text || ' and ' || {other}::text)")),
        },
        noun: "rows",
        claim: format!("have {} not after {}", names[0], names[1]),
        args: json!({"expression": expression}),
    }
}
