//! Keeping what a run found, and looking at earlier ones.

use num_rational::BigRational;
use num_traits::ToPrimitive;
use opdb_core::quality::anomaly::unusual as is_unusual;
use opdb_core::quality::{Dimension, Score, to_decimal};
use pgrx::JsonB;
use serde_json::{Value, json};

use super::distribution::Profile;
use super::gate::Verdict;
use super::options::Options;
use super::rule::{Check, Evidence};
use super::run::{Finding, KeptScan, Measured};
use super::table::Table;
use super::trial::bare;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{own, spi};
use crate::settings;

/// Earlier runs that a run is compared with.
const EARLIER_RUNS: i64 = 30;
/// A tenth more or fewer rows, and a hundredth of score, are not worth a word, however stable they were.
const TOLERATED_ROWS: f64 = 0.1;
const TOLERATED_SCORE: f64 = 0.01;

/// A run, as it is kept.
pub struct Record<'a> {
    pub table: &'a Table,
    pub measured: &'a Measured,
    pub score: &'a Score,
    pub verdict: &'a Verdict,
    pub options: &'a Options,
    pub unusual: Option<String>,
    /// Whether all rows of the table were scored, so that later runs can be compared with it.
    pub is_whole: bool,
}

/// Scores are kept with six decimals, rounded down; the gate compared the exact ones.
fn shown(value: Option<&BigRational>) -> Option<String> {
    value.map(|value| to_decimal(value, 6))
}

impl Record<'_> {
    /// Writes the run and its results, and returns the run's id.
    pub fn write(&self) -> Result<i64> {
        let run_id = self.write_run()?;
        let is_sample = self.options.sample.is_some();
        let results: Vec<Value> =
            self.measured.findings.iter().map(|finding| finding.to_json(is_sample)).collect();
        own::write(
            "INSERT INTO opdb.quality_result
                 (run_id, position, rule_id, name, dimension, rule, columns, evaluated, passed, ratio, threshold,
                  status, evidence, profile)
             SELECT $1, r.place, d.rule_id, d.name, d.dimension, d.rule, d.columns, d.evaluated, d.passed, d.ratio,
                    d.threshold, d.status, d.evidence, nullif(d.profile, 'null')
             FROM pg_catalog.jsonb_array_elements($2) WITH ORDINALITY r (detail, place),
                  pg_catalog.jsonb_to_record(r.detail) d (rule_id bigint, name text, dimension text, rule text,
                      columns text[], evaluated bigint, passed bigint, ratio numeric, threshold numeric, status text,
                      evidence text, profile jsonb)",
            &[run_id.into(), JsonB(Value::Array(results)).into()],
        )?;
        self.measured.scans.iter().try_for_each(|scan| self.write_scan(run_id, scan))?;
        forget_failures(self.table.relation, run_id)?;
        Ok(run_id)
    }

    fn write_run(&self) -> Result<i64> {
        let dimension = |dimension| shown(self.score.of(dimension));
        let run_id = own::write_value::<i64>(
            "INSERT INTO opdb.quality_run
                 (table_name, rows, completeness, accuracy, consistency, integrity, score, coverage, passed, reason,
                  is_whole, sample, digest, snapshot, unusual, options)
             VALUES ($1, $2, $3::numeric, $4::numeric, $5::numeric, $6::numeric, $7::numeric, $8::numeric, $9, $10,
                     $11, $12::numeric, $13, $14, $15, $16)
             RETURNING run_id",
            &[
                self.table.relation.into(),
                self.measured.rows.into(),
                dimension(Dimension::Completeness).into(),
                dimension(Dimension::Accuracy).into(),
                dimension(Dimension::Consistency).into(),
                dimension(Dimension::Integrity).into(),
                shown(self.score.total.as_ref()).into(),
                to_decimal(&self.score.coverage, 6).into(),
                self.verdict.passed.into(),
                self.verdict.reason.as_str().into(),
                self.is_whole.into(),
                shown(self.options.sample.as_ref()).into(),
                self.measured.digest.map(|digest| digest.to_hex()).into(),
                self.measured.snapshot.as_str().into(),
                self.unusual.clone().into(),
                JsonB(self.options.given.clone()).into(),
            ],
        )?;
        Ok(run_id.unwrap_or_default())
    }

    /// Results are numbered from 1.
    fn write_scan(&self, run_id: i64, scan: &KeptScan) -> Result<()> {
        let positions: Vec<i32> = scan.positions.iter().map(|position| position + 1).collect();
        own::write(
            "INSERT INTO opdb.quality_run_scan (run_id, scan_id, positions) VALUES ($1, $2, $3)",
            &[run_id.into(), scan.scan_id.into(), positions.into()],
        )?;
        Ok(())
    }
}

/// Forgets which rows failed in runs that are older than they are kept, but never those of this run, and what passes
/// found out that no run refers to any more.
fn forget_failures(relation: Regclass, run_id: i64) -> Result<()> {
    let Some(days) = settings::quality_failure_retention_days() else { return Ok(()) };
    own::write(
        "DELETE FROM opdb.quality_run_scan s USING opdb.quality_run r
         WHERE r.run_id = s.run_id AND r.table_name = $1 AND r.run_id <> $2
           AND r.at < pg_catalog.now() - pg_catalog.make_interval(days => $3)",
        &[relation.into(), run_id.into(), days.into()],
    )?;
    own::write(
        "WITH unused AS (
             SELECT s.scan_id FROM opdb.quality_scan s
             WHERE NOT EXISTS (SELECT FROM opdb.quality_run_scan r WHERE r.scan_id = s.scan_id)
             FOR UPDATE SKIP LOCKED),
         forgotten AS (
             DELETE FROM opdb.quality_scan s USING unused u WHERE s.scan_id = u.scan_id RETURNING s.scan_id)
         DELETE FROM opdb.quality_failure f USING forgotten g WHERE f.scan_id = g.scan_id",
        &[],
    )?;
    Ok(())
}

impl Finding {
    fn to_json(&self, is_sample: bool) -> Value {
        let evidence = match (self.rule.evidence, &self.rule.check) {
            (_, Err(reason)) => format!("broken: {reason}"),
            (Evidence::Constraint, _) => "constraint".to_owned(),
            (Evidence::Measured, Ok(Check::Expression { expression })) => {
                format!("measured: {}", bare(expression))
            }
            (Evidence::Measured, _) => match &self.detail {
                Some(detail) => format!("measured: {detail}"),
                None => "measured".to_owned(),
            },
        };
        json!({
            "rule_id": self.rule.rule_id,
            "name": self.rule.name,
            "dimension": self.rule.dimension.as_str(),
            "rule": self.rule.kind,
            "columns": self.rule.columns,
            "evaluated": self.outcome.evaluated,
            "passed": self.outcome.passed,
            "ratio": shown(self.outcome.ratio().as_ref()),
            "threshold": shown(self.rule.threshold.as_ref()),
            "status": self.status(is_sample).as_str(),
            "evidence": evidence,
            "profile": self.profile,
        })
    }
}

/// What is unusual about a run, beside the runs before it.
pub fn unusual(relation: Regclass, rows: i64, score: &Score) -> Result<Option<String>> {
    let earlier = spi::read_now(
        "SELECT rows::float8, score::float8 FROM opdb.quality_run WHERE table_name = $1 AND is_whole
         ORDER BY run_id DESC LIMIT $2",
        &[relation.into(), EARLIER_RUNS.into()],
        |row| Ok((spi::known::<f64>(&row, 1)?, row.get::<f64>(2)?)),
    )?;
    let counts: Vec<f64> = earlier.iter().map(|(rows, _)| *rows).collect();
    let scores: Vec<f64> = earlier.iter().filter_map(|(_, score)| *score).collect();
    let most = counts.iter().copied().fold(0.0, f64::max);
    let mut unusual = Vec::new();
    if let Some(median) = is_unusual(&counts, rows as f64, most * TOLERATED_ROWS) {
        unusual.push(format!("{rows} rows where {median:.0} were usual in {} runs", counts.len()));
    }
    let total = score.total.as_ref().and_then(BigRational::to_f64);
    if let Some((total, median)) =
        total.and_then(|total| Some((total, is_unusual(&scores, total, TOLERATED_SCORE)?)))
    {
        unusual.push(format!("a score of {total:.4} where {median:.4} was usual in {} runs", scores.len()));
    }
    Ok((!unusual.is_empty()).then(|| format!("unusual: {}", unusual.join(", "))))
}

/// How many rows the last run over all of a table saw.
pub fn rows_before(relation: Regclass) -> Result<Option<(i64, i64)>> {
    spi::read_one_now(
        "SELECT run_id, rows FROM opdb.quality_run WHERE table_name = $1 AND is_whole ORDER BY run_id DESC LIMIT 1",
        &[relation.into()],
        |row| Ok((spi::known(&row, 1)?, spi::known(&row, 2)?)),
    )
}

/// How values were distributed in a certain run, or else in the first one that looked.
pub fn profile(
    relation: Regclass,
    rule_id: Option<i64>,
    run_id: Option<i64>,
) -> Result<Option<(i64, Profile)>> {
    let found = own::read_as_owner(|| {
        spi::read_one_now(
            "SELECT r.run_id, s.profile FROM opdb.quality_run r JOIN opdb.quality_result s USING (run_id)
             WHERE r.table_name = $1 AND s.rule_id = $2 AND s.profile IS NOT NULL AND ($3 IS NULL OR r.run_id = $3)
             ORDER BY r.run_id LIMIT 1",
            &[relation.into(), rule_id.into(), run_id.into()],
            |row| Ok((spi::known::<i64>(&row, 1)?, spi::known::<JsonB>(&row, 2)?.0)),
        )
    })?;
    Ok(found.and_then(|(run_id, profile)| Some((run_id, serde_json::from_value(profile).ok()?))))
}
