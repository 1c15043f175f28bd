//! A rule that might hold, and whether it does.

use std::collections::HashMap;

use opdb_core::quality::Dimension;
use opdb_core::suggest::{grouped, wilson_lower_bound};
use serde_json::Value;

use super::options::Options;
use super::sample::Sample;
use crate::pg::error::Result;

/// A SELECT can return 1,664 columns, and each candidate takes two.
const CANDIDATES_PER_STATEMENT: usize = 500;

pub struct Candidate {
    pub dimension: Dimension,
    pub rule: &'static str,
    pub columns: Vec<String>,
    pub args: Value,
    pub measure: Measure,
    /// What is counted: values or rows.
    pub noun: &'static str,
    /// What is said of them: "are not NULL".
    pub claim: String,
}

/// How many values a rule speaks of, and how many of them pass.
pub enum Measure {
    /// Conditions on the rows of the sample.
    Conditions { evaluated: String, passed: String, example: Option<String> },
    /// It is known already.
    Known { evaluated: i64, passed: i64 },
}

impl Measure {
    /// What holds for a cell of the sample, if there is a value.
    pub fn of_cell(cell: &str, passed: String) -> Self {
        Self::Conditions {
            evaluated: format!("{cell} IS NOT NULL"),
            passed,
            example: Some(format!("{cell}::text")),
        }
    }

    /// The aggregate that finds a value that does not pass.
    fn example(&self) -> Option<String> {
        let Self::Conditions { evaluated, passed, example: Some(example) } = self else { return None };
        Some(format!(
            "min(left({example}, 60) COLLATE \"C\") FILTER (WHERE ({evaluated}) AND NOT ({passed}))"
        ))
    }
}

/// A rule that holds on the sample.
pub struct Proposal {
    pub dimension: Dimension,
    pub rule: &'static str,
    pub columns: Vec<String>,
    pub args: Value,
    pub confidence: f64,
    pub why: String,
}

#[derive(Clone, Copy)]
struct Counted {
    evaluated: i64,
    passed: i64,
}

/// Those of the candidates that hold as often as the options demand.
pub fn proposals(candidates: Vec<Candidate>, sample: &Sample, options: &Options) -> Result<Vec<Proposal>> {
    let mut held = Vec::new();
    let mut rest = candidates.into_iter().peekable();
    while rest.peek().is_some() {
        let some: Vec<Candidate> = rest.by_ref().take(CANDIDATES_PER_STATEMENT).collect();
        let counted = count(&some, sample)?;
        held.extend(some.into_iter().zip(counted).filter(|(_, counted)| is_enough(*counted, options)));
    }
    let mut examples = examples(&held, sample)?;
    let proposals = held.into_iter().enumerate();
    Ok(proposals
        .map(|(place, (candidate, counted))| proposal(candidate, counted, examples.remove(&place), sample))
        .collect())
}

#[allow(clippy::cast_precision_loss)]
fn is_enough(counted: Counted, options: &Options) -> bool {
    counted.evaluated >= options.min_rows
        && counted.passed as f64 >= options.min_ratio * counted.evaluated as f64
}

fn count(candidates: &[Candidate], sample: &Sample) -> Result<Vec<Counted>> {
    let list: Vec<String> = candidates.iter().map(|candidate| counts(&candidate.measure)).collect();
    let sql = format!("SELECT {} FROM spool", list.join(", "));
    let found = sample.rows.read(&sql, &[], |row| {
        let number = |column| row.get::<i64>(column).map(|number| number.unwrap_or(0));
        (0..candidates.len())
            .map(|place| Ok(Counted { evaluated: number(2 * place + 1)?, passed: number(2 * place + 2)? }))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })?;
    Ok(found.into_iter().next().unwrap_or_default())
}

fn counts(measure: &Measure) -> String {
    match measure {
        Measure::Known { evaluated, passed } => format!("{evaluated}::bigint, {passed}::bigint"),
        Measure::Conditions { evaluated, passed, .. } => format!(
            "count(*) FILTER (WHERE {evaluated}), count(*) FILTER (WHERE ({evaluated}) AND ({passed}))"
        ),
    }
}

/// Of each candidate that has exceptions one of them, by its place.
fn examples(held: &[(Candidate, Counted)], sample: &Sample) -> Result<HashMap<usize, String>> {
    let wanted: Vec<(usize, String)> = held
        .iter()
        .enumerate()
        .filter(|(_, (_, counted))| counted.passed < counted.evaluated)
        .filter_map(|(place, (candidate, _))| Some((place, candidate.measure.example()?)))
        .collect();
    let mut examples = HashMap::new();
    for wanted in wanted.chunks(CANDIDATES_PER_STATEMENT) {
        let list: Vec<&str> = wanted.iter().map(|(_, sql)| sql.as_str()).collect();
        let sql = format!("SELECT {} FROM spool", list.join(", "));
        let found = sample.rows.read(&sql, &[], |row| {
            (1..=wanted.len()).map(|column| row.get::<String>(column)).collect::<pgrx::spi::Result<Vec<_>>>()
        })?;
        let found = found.into_iter().flatten();
        examples.extend(wanted.iter().zip(found).filter_map(|((place, _), found)| Some((*place, found?))));
    }
    Ok(examples)
}

fn proposal(candidate: Candidate, counted: Counted, example: Option<String>, sample: &Sample) -> Proposal {
    let Counted { evaluated, passed } = counted;
    let count = match evaluated - passed {
        0 => format!("all {}", grouped(evaluated)),
        _ => format!("{} of {}", grouped(passed), grouped(evaluated)),
    };
    let failed = match evaluated - passed {
        1 => "; 1 does not fit".to_owned(),
        failed => format!("; {} do not fit", grouped(failed)),
    };
    let exceptions = match example {
        _ if passed == evaluated => String::new(),
        Some(example) => format!("{failed}, such as '{example}'"),
        None => failed,
    };
    Proposal {
        dimension: candidate.dimension,
        rule: candidate.rule,
        columns: candidate.columns,
        args: candidate.args,
        confidence: wilson_lower_bound(passed, evaluated),
        why: format!("{count} {} {}{exceptions} ({})", candidate.noun, candidate.claim, sample.told()),
    }
}
