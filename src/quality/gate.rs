//! Whether a table is good enough, and why not.

use num_rational::BigRational;
use num_traits::{One, Zero};
use opdb_core::quality::interval::wilson_lower;
use opdb_core::quality::{Dimension, Outcome, Score, to_decimal};

use super::options::{Gate, Options};
use super::run::{Finding, Measured};
use super::table::Table;

/// What came of a run.
pub struct Verdict {
    pub passed: bool,
    pub reason: String,
}

/// What a finding is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Passed,
    /// Not all values are good, and no threshold says how many must be.
    Partial,
    Failed,
    Warning,
    NotEvaluated,
    /// The rule no longer fits the table.
    Broken,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Warning => "warning",
            Self::NotEvaluated => "not_evaluated",
            Self::Broken => "broken",
        }
    }
}

impl Finding {
    pub fn status(&self, is_sample: bool) -> Status {
        let ratio = self.outcome.ratio();
        match (self.fails(is_sample), ratio) {
            _ if self.rule.check.is_err() => Status::Broken,
            (true, _) if self.rule.is_warning => Status::Warning,
            (true, _) => Status::Failed,
            (false, None) => Status::NotEvaluated,
            (false, Some(ratio)) if ratio.is_one() => Status::Passed,
            (false, Some(_)) => Status::Partial,
        }
    }

    /// Of a sample the rule must hold for the least share that it tells of the whole.
    fn fails(&self, is_sample: bool) -> bool {
        let Ok(check) = &self.rule.check else { return true };
        // What a sample cannot show it does not refute either.
        if is_sample && !check.can_be_sampled() {
            return false;
        }
        let share = if is_sample { self.outcome.lower_bound() } else { self.outcome.ratio() };
        match (&self.rule.threshold, share) {
            (Some(threshold), Some(share)) => share < *threshold,
            (Some(_), None) => true,
            (None, share) => {
                let is_hard = self.rule.is_primary_key || check.is_verdict();
                is_hard && share.is_some() && self.outcome.ratio().is_some_and(|ratio| !ratio.is_one())
            }
        }
    }

    /// What is wrong, for a person.
    fn complaint(&self) -> String {
        let rule = self.rule.label();
        if let Err(reason) = &self.rule.check {
            return format!("{rule} is broken: {reason}");
        }
        if let Some(detail) = &self.detail {
            return format!("{rule}: {detail}");
        }
        let share = self.outcome.ratio().map_or("no value was evaluated".to_owned(), |ratio| {
            format!("{} of the values passed", to_decimal(&ratio, 4))
        });
        match &self.rule.threshold {
            Some(threshold) => format!("{rule}: {share}, {} is required", to_decimal(threshold, 4)),
            None => format!("{rule}: {share}, all must"),
        }
    }
}

/// An empty table is not good enough: nothing was seen to be good.
pub fn judge(
    table: &Table,
    measured: &Measured,
    score: &Score,
    least: &Score,
    options: &Options,
    unusual: Option<&str>,
) -> Verdict {
    let is_sample = options.sample.is_some();
    let mut reasons = Vec::new();
    if measured.rows == 0 {
        reasons.push(if is_sample { "the sample is empty" } else { "the table is empty" }.to_owned());
    }
    if measured.rows > 0 && score.total.is_none() {
        reasons.push("there is no score: no rule could be evaluated".to_owned());
    }
    reasons.extend(too_low("the score", &score.total, &least.total, &options.threshold, is_sample));
    reasons.extend(incomplete(measured, score, least, options));
    if measured.rows > 0 && score.coverage < options.min_coverage {
        let missing: Vec<&str> = Dimension::ALL
            .into_iter()
            .filter(|dimension| score.of(*dimension).is_none())
            .map(Dimension::as_str)
            .collect();
        reasons.push(format!("nothing says anything about {}: add rules", missing.join(", ")));
    }
    let complaints = |wanted: Status| {
        let of_status = move |finding: &&Finding| finding.status(is_sample) == wanted;
        measured.findings.iter().filter(of_status).map(Finding::complaint)
    };
    reasons.extend(complaints(Status::Failed));
    let broken = measured.findings.iter().filter(|finding| finding.rule.check.is_err());
    reasons.extend(broken.filter(|finding| !finding.rule.is_warning).map(Finding::complaint));
    let passed = reasons.is_empty();
    if passed {
        let perfect = measured.findings.iter().filter(|f| f.status(is_sample) == Status::Passed).count();
        reasons.push(format!("{perfect} of {} rules passed in full", measured.findings.len()));
        reasons.extend(complaints(Status::Warning));
    }
    reasons.extend(columns_below(measured, &options.min_completeness));
    reasons.extend(unusual.map(str::to_owned));
    reasons.extend(table.other_than_table.map(|what| format!("{} is {what}", table.name.sql())));
    if let Some(share) = &options.sample {
        reasons.push(format!("of a sample of {} of the blocks", to_decimal(share, 6)));
    }
    Verdict { passed, reason: reasons.join("; ") }
}

fn too_low(
    what: &str,
    seen: &Option<BigRational>,
    least: &Option<BigRational>,
    limit: &BigRational,
    is_sample: bool,
) -> Option<String> {
    let (seen, least) = (seen.as_ref()?, least.as_ref()?);
    (least < limit).then(|| {
        let (seen, limit) = (to_decimal(seen, 4), to_decimal(limit, 4));
        match is_sample {
            true => format!(
                "{what} is {seen} in the sample, and so may be {} in all, below {limit}",
                to_decimal(least, 4)
            ),
            false => format!("{what} {seen} is below {limit}"),
        }
    })
}

/// Completeness has a limit of its own, which the other dimensions cannot make up for.
fn incomplete(measured: &Measured, score: &Score, least: &Score, options: &Options) -> Option<String> {
    let is_sample = options.sample.is_some();
    let limit = &options.min_completeness;
    let mean = score.of(Dimension::Completeness)?;
    match options.gate {
        Gate::Mean => {
            let least = least.of(Dimension::Completeness).cloned();
            too_low("the completeness", &Some(mean.clone()), &least, limit, is_sample)
        }
        Gate::Min => {
            let shares = columns(measured);
            let lowest = |of: fn(&Outcome) -> Option<BigRational>| {
                shares.iter().filter_map(|(_, outcome)| of(outcome)).min()
            };
            let least = if is_sample { lowest(Outcome::lower_bound) } else { lowest(Outcome::ratio) };
            too_low("the completeness of a column,", &lowest(Outcome::ratio), &least, limit, is_sample)
        }
        Gate::Row => {
            let complete = measured.rows - measured.incomplete;
            let seen = match measured.rows {
                0 => BigRational::zero(),
                rows => BigRational::new(complete.into(), rows.into()),
            };
            let least = if is_sample { wilson_lower(complete, measured.rows) } else { Some(seen.clone()) };
            too_low("the share of complete rows,", &Some(seen), &least, limit, is_sample)
        }
    }
}

/// The required columns, each with how many rows have a value.
fn columns(measured: &Measured) -> Vec<(String, Outcome)> {
    let required =
        measured.findings.iter().filter(|finding| finding.outcome.dimension == Dimension::Completeness);
    required
        .flat_map(|finding| match finding.by_column.is_empty() {
            false => finding.by_column.clone(),
            true => vec![(finding.rule.columns.join(", "), finding.outcome.clone())],
        })
        .collect()
}

/// A mean can hide a column that is half empty.
fn columns_below(measured: &Measured, limit: &BigRational) -> Option<String> {
    let mut below: Vec<String> = columns(measured)
        .into_iter()
        .filter_map(|(column, outcome)| {
            let ratio = outcome.ratio().filter(|ratio| ratio < limit)?;
            Some(format!("{column} ({})", to_decimal(&ratio, 4)))
        })
        .collect();
    below.sort();
    below.dedup();
    (!below.is_empty())
        .then(|| format!("columns with less than {}: {}", to_decimal(limit, 4), below.join(", ")))
}
