//! A rule that might hold, and whether it does.

use opdb_core::quality::Dimension;
use opdb_core::suggest::{grouped, wilson_lower_bound};
use serde_json::Value;

use super::options::Options;
use super::sample::Sample;
use crate::pg::error::Result;

/// A SELECT can return 1,664 columns, and each candidate takes three.
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

struct Counted {
    evaluated: i64,
    passed: i64,
    example: Option<String>,
}

/// Those of the candidates that hold as often as the options demand.
pub fn proposals(candidates: Vec<Candidate>, sample: &Sample, options: &Options) -> Result<Vec<Proposal>> {
    let mut proposals = Vec::new();
    let mut rest = candidates.into_iter().peekable();
    while rest.peek().is_some() {
        let some: Vec<Candidate> = rest.by_ref().take(CANDIDATES_PER_STATEMENT).collect();
        let counted = count(&some, sample)?;
        proposals.extend(
            some.into_iter()
                .zip(counted)
                .filter(|(_, counted)| is_enough(counted, options))
                .map(|(candidate, counted)| proposal(candidate, &counted, sample)),
        );
    }
    Ok(proposals)
}

#[allow(clippy::cast_precision_loss)]
fn is_enough(counted: &Counted, options: &Options) -> bool {
    counted.evaluated >= options.min_rows
        && counted.passed as f64 >= options.min_ratio * counted.evaluated as f64
}

fn count(candidates: &[Candidate], sample: &Sample) -> Result<Vec<Counted>> {
    let list: Vec<String> = candidates.iter().map(|candidate| aggregates(&candidate.measure)).collect();
    let sql = format!("SELECT {} FROM sample", list.join(", "));
    let found = sample.rows.read(&sql, &[], |row| {
        (0..candidates.len())
            .map(|place| {
                Ok(Counted {
                    evaluated: row.get::<i64>(3 * place + 1)?.unwrap_or(0),
                    passed: row.get::<i64>(3 * place + 2)?.unwrap_or(0),
                    example: row.get::<String>(3 * place + 3)?,
                })
            })
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })?;
    Ok(found.into_iter().next().unwrap_or_default())
}

fn aggregates(measure: &Measure) -> String {
    match measure {
        Measure::Known { evaluated, passed } => format!("{evaluated}::bigint, {passed}::bigint, NULL::text"),
        Measure::Conditions { evaluated, passed, example } => {
            let example = example.as_ref().map_or("NULL::text".to_owned(), |example| {
                format!(
                    "min(left({example}, 60) COLLATE \"C\") FILTER (WHERE ({evaluated}) AND NOT ({passed}))"
                )
            });
            format!(
                "count(*) FILTER (WHERE {evaluated}), count(*) FILTER (WHERE ({evaluated}) AND ({passed})), {example}"
            )
        }
    }
}

fn proposal(candidate: Candidate, counted: &Counted, sample: &Sample) -> Proposal {
    let Counted { evaluated, passed, example } = counted;
    let count = match evaluated - passed {
        0 => format!("all {}", grouped(*evaluated)),
        _ => format!("{} of {}", grouped(*passed), grouped(*evaluated)),
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
        confidence: wilson_lower_bound(*passed, *evaluated),
        why: format!("{count} {} {}{exceptions} ({})", candidate.noun, candidate.claim, sample.told()),
    }
}
