//! Keeping what a run found.

use num_rational::BigRational;
use opdb_core::quality::{Dimension, Score, to_decimal};
use pgrx::JsonB;
use serde_json::Value;

use super::rule::Check;
use super::run::{Evidence, Finding};
use crate::pg::error::Result;
use crate::pg::own;
use crate::pg::types::Regclass;

/// Scores are kept with six decimals, rounded down; the gate compared the exact ones.
fn shown(value: Option<&BigRational>) -> Option<String> {
    value.map(|value| to_decimal(value, 6))
}

/// Writes the run and its results, and returns the run's id.
pub fn record(
    table: Regclass,
    rows: i64,
    score: &Score,
    passed: bool,
    reason: &str,
    results: &[Finding],
) -> Result<i64> {
    let dimension = |dimension| shown(score.of(dimension));
    let run_id = own::write_value::<i64>(
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
    own::write(
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
            (_, Err(reason)) => format!("broken: {reason}"),
            (Evidence::Constraint, _) => "constraint".to_owned(),
            (Evidence::Measured, Ok(Check::Expression { expression })) => {
                let inner = expression.strip_prefix('(').and_then(|text| text.strip_suffix("\n)"));
                format!("measured: {}", inner.unwrap_or(expression))
            }
            (Evidence::Measured, _) => "measured".to_owned(),
        };
        serde_json::json!({
            "rule_id": self.rule.rule_id,
            "dimension": self.rule.dimension.as_str(),
            "rule": self.rule.name,
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
