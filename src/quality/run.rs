//! One scoring of a table: all rules in one statement, the score, the gate, the record.

use num_rational::BigRational;
use num_traits::{One, Zero};
use opdb_core::quality::{Dimension, Outcome, Score, parse_decimal, score, to_decimal};
use pgrx::JsonB;
use serde_json::{Map, Value};

use super::error::QualityError;
use super::implied;
use super::options::Options;
use super::rule::Check;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::spi;
use crate::pg::types::Regclass;

/// How a rule's result is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A validated constraint guarantees it; nothing was read.
    Constraint,
    /// The rows were read.
    Measured,
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub rule_id: Option<i64>,
    pub dimension: Dimension,
    pub check: Check,
    pub columns: Vec<String>,
    pub weight: BigRational,
    pub threshold: Option<BigRational>,
    pub is_warning: bool,
    pub is_primary_key: bool,
    pub evidence: Evidence,
}

impl Rule {
    pub fn new(dimension: Dimension, check: Check, columns: Vec<String>, evidence: Evidence) -> Self {
        Self {
            rule_id: None,
            dimension,
            check,
            columns,
            weight: BigRational::one(),
            threshold: None,
            is_warning: false,
            is_primary_key: false,
            evidence,
        }
    }

    pub fn implied(dimension: Dimension, check: Check, column: &str, evidence: Evidence) -> Self {
        Self::new(dimension, check, vec![column.to_owned()], evidence)
    }

    /// A row condition; `columns` only says what it is about.
    pub fn implied_expression(dimension: Dimension, condition: &str, columns: &[String]) -> Result<Self> {
        let expression = crate::pg::expression::parenthesised(condition)?;
        Ok(Self::new(
            dimension,
            Check::Expression { expression },
            columns.to_vec(),
            Evidence::Measured,
        ))
    }
}

/// A rule and what it found.
pub struct Finding {
    pub rule: Rule,
    pub outcome: Outcome,
}

/// A finished run.
pub struct Run {
    pub run_id: i64,
    pub rows: i64,
    pub score: Score,
    pub passed: bool,
    pub reason: String,
}

/// Scores `table` on the snapshot of the calling statement and records the run.
pub fn run(table: Regclass, name: &Qualified, options: &Options) -> Result<Run> {
    let mut rules = implied::rules(table)?;
    rules.extend(added(table)?);
    let (rows, results) = evaluate(name, rules)?;
    let outcomes: Vec<Outcome> = results.iter().map(|result| result.outcome.clone()).collect();
    let score = score(&outcomes, &options.weights);
    let (passed, reason) = gate(rows, &score, &results, options);
    let run_id = record(table, rows, &score, passed, &reason, &results)?;
    Ok(Run {
        run_id,
        rows,
        score,
        passed,
        reason,
    })
}

/// The rules that were added to the table. One whose column is gone is read all the same, and fails the run.
fn added(table: Regclass) -> Result<Vec<Rule>> {
    let rows = spi::read(
        "SELECT rule_id, dimension, rule, columns, args, weight::text, threshold::text, severity
         FROM opdb.quality_rule WHERE table_name = $1 ORDER BY rule_id",
        &[table.into()],
        |row| {
            let text = |column| row.get::<String>(column).map(Option::unwrap_or_default);
            let args = row.get::<JsonB>(5)?.map(|args| args.0).unwrap_or_default();
            Ok((
                row.get::<i64>(1)?,
                (text(2)?, text(3)?),
                row.get::<Vec<String>>(4)?.unwrap_or_default(),
                args.as_object()
                    .cloned()
                    .unwrap_or_else(Map::<String, Value>::new),
                (text(6)?, row.get::<String>(7)?, text(8)?),
            ))
        },
    )?;
    rows.into_iter()
        .map(
            |(rule_id, (dimension, rule), columns, args, (weight, threshold, severity))| {
                let dimension =
                    Dimension::from_name(&dimension).ok_or(QualityError::UnknownDimension(dimension))?;
                let check = Check::read(&rule, &columns, &args)?;
                Ok(Rule {
                    rule_id,
                    weight: parse_decimal(&weight).unwrap_or_else(BigRational::one),
                    threshold: threshold.as_deref().and_then(parse_decimal),
                    is_warning: severity == "warning",
                    ..Rule::new(dimension, check, columns, Evidence::Measured)
                })
            },
        )
        .collect()
}

/// Evaluates every rule in one statement, so that all speak of the same rows.
fn evaluate(name: &Qualified, rules: Vec<Rule>) -> Result<(i64, Vec<Finding>)> {
    let table = name.sql();
    let measured = |rule: &&Rule| rule.evidence == Evidence::Measured;
    let counts: Vec<String> = rules
        .iter()
        .filter(measured)
        .map(|rule| {
            let counts = rule.check.counts(&table, &rule.columns);
            format!(", {}, {}", counts.evaluated, counts.passed)
        })
        .collect();
    let sql = format!("SELECT pg_catalog.count(*){} FROM {table} t", counts.concat());
    let numbers = spi::read_one(&sql, &[], |row| {
        (1..=1 + 2 * counts.len())
            .map(|column| row.get::<i64>(column).map(|count| count.unwrap_or(0)))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })?
    .unwrap_or_default();
    let rows = numbers.first().copied().unwrap_or(0);
    let mut measured_counts = numbers.get(1..).unwrap_or_default().chunks_exact(2);
    let results = rules
        .into_iter()
        .map(|rule| {
            let (evaluated, passed) = match rule.evidence {
                Evidence::Constraint => (rows, rows),
                Evidence::Measured => measured_counts
                    .next()
                    .map_or((0, 0), |counts| (counts[0], counts[1])),
            };
            let outcome = Outcome {
                dimension: rule.dimension,
                weight: rule.weight.clone(),
                evaluated,
                passed,
            };
            Finding { rule, outcome }
        })
        .collect();
    Ok((rows, results))
}

impl Finding {
    fn fails_its_threshold(&self) -> bool {
        match (&self.rule.threshold, self.outcome.ratio()) {
            (Some(threshold), Some(ratio)) => ratio < *threshold,
            (Some(_), None) => true,
            (None, _) => self.rule.is_primary_key && self.outcome.passed < self.outcome.evaluated,
        }
    }

    fn status(&self) -> &'static str {
        match (self.fails_its_threshold(), self.outcome.ratio()) {
            (true, _) if self.rule.is_warning => "warning",
            (true, _) => "failed",
            (false, None) => "not_evaluated",
            (false, Some(ratio)) if ratio.is_one() => "passed",
            (false, Some(_)) => "partial",
        }
    }

    fn label(&self) -> String {
        format!("{}({})", self.rule.check.name(), self.rule.columns.join(", "))
    }
}

/// Whether the run is good enough, and why not. An empty table is not: nothing was seen to be good.
fn gate(rows: i64, score: &Score, results: &[Finding], options: &Options) -> (bool, String) {
    let mut reasons = Vec::new();
    if rows == 0 {
        reasons.push("the table is empty".to_owned());
    }
    match &score.total {
        Some(total) if *total < options.threshold => reasons.push(format!(
            "the score {} is below {}",
            to_decimal(total, 4),
            to_decimal(&options.threshold, 4)
        )),
        _ => {}
    }
    if rows > 0 && score.coverage < options.min_coverage {
        let missing: Vec<&str> = Dimension::ALL
            .into_iter()
            .filter(|dimension| score.of(*dimension).is_none())
            .map(Dimension::as_str)
            .collect();
        reasons.push(format!(
            "nothing says anything about {}: add rules",
            missing.join(", ")
        ));
    }
    reasons.extend(
        results
            .iter()
            .filter(|result| result.fails_its_threshold() && !result.rule.is_warning)
            .map(|result| {
                let share = result
                    .outcome
                    .ratio()
                    .map_or("no value".to_owned(), |ratio| to_decimal(&ratio, 4));
                format!("{} passed for {share} of the values", result.label())
            }),
    );
    match reasons.is_empty() {
        true => (true, summary(results)),
        false => (false, reasons.join("; ")),
    }
}

fn summary(results: &[Finding]) -> String {
    let perfect = results
        .iter()
        .filter(|result| result.status() == "passed")
        .count();
    format!("{perfect} of {} rules passed in full", results.len())
}

/// Scores are kept with six decimals, rounded down; the gate compared the exact ones.
fn shown(value: Option<&BigRational>) -> Option<String> {
    value.map(|value| to_decimal(value, 6))
}

fn record(
    table: Regclass,
    rows: i64,
    score: &Score,
    passed: bool,
    reason: &str,
    results: &[Finding],
) -> Result<i64> {
    let dimension = |dimension| shown(score.of(dimension));
    let run_id = spi::write_value::<i64>(
        "INSERT INTO opdb.quality_run
             (table_name, rows, completeness, accuracy, consistency, integrity, score, coverage, passed, reason)
         VALUES ($1, $2, $3::numeric, $4::numeric, $5::numeric, $6::numeric, $7::numeric, $8::numeric, $9, $10)
         RETURNING run_id",
        &[
            table.into(),
            rows.into(),
            dimension(Dimension::Completeness).into(),
            dimension(Dimension::Accuracy).into(),
            dimension(Dimension::Consistency).into(),
            dimension(Dimension::Integrity).into(),
            shown(score.total.as_ref()).into(),
            to_decimal(&score.coverage, 6).into(),
            passed.into(),
            reason.into(),
        ],
    )?
    .unwrap_or_default();
    let details: Vec<Value> = results.iter().map(Finding::to_json).collect();
    spi::write(
        "INSERT INTO opdb.quality_result
             (run_id, position, rule_id, dimension, rule, columns, evaluated, passed, ratio, threshold, status, evidence)
         SELECT $1, r.place, d.rule_id, d.dimension, d.rule, d.columns, d.evaluated, d.passed, d.ratio, d.threshold,
                d.status, d.evidence
         FROM pg_catalog.jsonb_array_elements($2) WITH ORDINALITY r (detail, place),
              pg_catalog.jsonb_to_record(r.detail) d (rule_id bigint, dimension text, rule text, columns text[],
                  evaluated bigint, passed bigint, ratio numeric, threshold numeric, status text, evidence text)",
        &[run_id.into(), JsonB(Value::Array(details)).into()],
    )?;
    Ok(run_id)
}

impl Finding {
    fn to_json(&self) -> Value {
        let evidence = match (self.rule.evidence, &self.rule.check) {
            (Evidence::Constraint, _) => "constraint".to_owned(),
            (Evidence::Measured, Check::Expression { expression }) => {
                let inner = expression
                    .strip_prefix('(')
                    .and_then(|text| text.strip_suffix("\n)"));
                format!("measured: {}", inner.unwrap_or(expression))
            }
            (Evidence::Measured, _) => "measured".to_owned(),
        };
        serde_json::json!({
            "rule_id": self.rule.rule_id,
            "dimension": self.rule.dimension.as_str(),
            "rule": self.rule.check.name(),
            "columns": self.rule.columns,
            "evaluated": self.outcome.evaluated,
            "passed": self.outcome.passed,
            "ratio": shown(self.outcome.ratio().as_ref()),
            "threshold": shown(self.rule.threshold.as_ref()),
            "status": self.status(),
            "evidence": evidence,
        })
    }
}

/// Whether a weight can be one.
pub fn is_weight(weight: &BigRational) -> bool {
    *weight > BigRational::zero()
}
