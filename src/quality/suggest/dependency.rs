//! What one column says about another.

use opdb_core::quality::Dimension;
use opdb_core::suggest::{Dependency, MAX_PAIRS, dependency};
use serde_json::json;

use super::candidate::{Candidate, Measure};
use super::profile::Profile;
use super::relation::Class;
use super::sample::Sample;
use crate::pg::error::Result;
use crate::pg::name::{identifier, literal};
use crate::pg::spi;

/// More columns are compared with each other no more: their pairs are too many.
const MAX_COLUMNS: usize = 12;

pub fn candidates(profiles: &[Profile], sample: &Sample) -> Result<Vec<Candidate>> {
    let columns = columns(profiles);
    let mut candidates = Vec::new();
    for (place, one) in columns.iter().enumerate() {
        for other in &columns[place + 1..] {
            let counts = counts(one, other, sample)?;
            let forth = dependency(&counts);
            let back = match &forth {
                // It says the same once more.
                Some(forth) if forth.is_mutual => None,
                _ => dependency(&counts.into_iter().map(|(a, b, rows)| (b, a, rows)).collect::<Vec<_>>()),
            };
            candidates.extend(forth.map(|found| candidate(one, other, &found)));
            candidates.extend(back.map(|found| candidate(other, one, &found)));
        }
    }
    Ok(candidates)
}

/// Those that take few values, the fewest first if there are too many.
fn columns<'a, 'b>(profiles: &'a [Profile<'b>]) -> Vec<&'a Profile<'b>> {
    let few = 2..=i64::try_from(MAX_PAIRS).unwrap_or(i64::MAX);
    let mut columns: Vec<&Profile> = profiles
        .iter()
        .filter(|profile| matches!(profile.column.class, Class::Text | Class::Integer))
        .filter(|profile| few.contains(&profile.distinct) && profile.distinct < profile.summary.present)
        .filter(|profile| profile.values.iter().all(|(value, _)| value.is_some()))
        .collect();
    columns.sort_by_key(|profile| profile.distinct);
    columns.truncate(MAX_COLUMNS);
    columns.sort_by_key(|profile| profile.column.number);
    columns
}

fn counts(one: &Profile, other: &Profile, sample: &Sample) -> Result<Vec<(String, String, i64)>> {
    let sql = format!(
        "SELECT one COLLATE \"C\", other COLLATE \"C\", count(*)
         FROM (SELECT {}::text AS one, {}::text AS other FROM spool) s
         WHERE one IS NOT NULL AND other IS NOT NULL GROUP BY 1, 2",
        one.column.cell(),
        other.column.cell()
    );
    sample.rows.read(&sql, &[], |row| Ok((spi::known(&row, 1)?, spi::known(&row, 2)?, spi::known(&row, 3)?)))
}

fn candidate(first: &Profile, second: &Profile, found: &Dependency) -> Candidate {
    let expression = |first: &str, second: &str| {
        let cases: Vec<String> = found
            .pairs
            .iter()
            .map(|(one, other)| format!("WHEN {} THEN {second} = {}", literal(one), literal(other)))
            .collect();
        format!("CASE {first} {} END", cases.join(" "))
    };
    let [one, other] = [first, second].map(|profile| identifier(&profile.column.name));
    let [here, there] = [first, second].map(|profile| profile.column.cell());
    let on_sample = expression(&here, &there);
    Candidate {
        dimension: Dimension::Consistency,
        rule: "expression",
        columns: Vec::new(),
        args: json!({"expression": expression(&one, &other)}),
        measure: Measure::Conditions {
            evaluated: format!("({on_sample}) IS NOT NULL"),
            passed: on_sample,
            example: Some(format!("({here}::text || ' and ' || {there}::text)")),
        },
        noun: "rows",
        claim: format!("have the {other} that belongs to their {one}, of {} values", found.pairs.len()),
    }
}
