//! How good the rows of a table are, as a score that can be trusted.

mod error;
mod implied;
mod options;
mod record;
mod rule;
mod run;
mod scorer;
mod suggest;

use num_rational::BigRational;
use num_traits::Zero;
use opdb_core::quality::{Dimension, is_ratio, parse_decimal, to_decimal};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AnyNumeric, JsonB};

use crate::pg::error::{Result, required};
use crate::pg::name::{self, Qualified};
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi};
use error::QualityError;
use options::Options;
use rule::Check;
pub use run::Run;
use scorer::Scorer;

/// Adds a rule to a table, beside those that the table implies (see quality_score).
///
/// `dimension` is completeness, accuracy, consistency or integrity. `rule` with its `args`: not_null;
/// not_blank {placeholders}; unique; range {min, max}; length {min, max}; regex {pattern}; accepted_values
/// {values}; foreign_key {table, columns}; expression {expression}, a row condition that names its columns
/// itself. `weight` counts within the dimension; below `threshold` (0..1) the rule fails the run if
/// `severity` is error and is reported if it is warning.
/// Result: the rule's id.
/// Errors: 22004 for NULL, 22023 for an unknown dimension, rule or argument, 42703 for an unknown column,
/// 42601 for an expression that is none, 42611 if the rule cannot be evaluated on the table, 42501 unless
/// the caller owns the table.
#[pg_extern(requires = ["quality_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments)]
fn add_quality_rule(
    table: Option<Regclass>,
    dimension: Option<&str>,
    rule: Option<&str>,
    columns: Option<Vec<Option<String>>>,
    args: default!(Option<JsonB>, "'{}'"),
    weight: default!(Option<AnyNumeric>, "1"),
    threshold: default!(Option<AnyNumeric>, "NULL"),
    severity: default!(Option<&str>, "'error'"),
) -> std::result::Result<i64, ErrorReport> {
    let table = required("table", table)?;
    let name = name::of(table)?;
    let dimension = required("dimension", dimension)?;
    let columns = required("columns", columns)?;
    let columns =
        columns.into_iter().map(|column| required("columns", column)).collect::<Result<Vec<_>>>()?;
    let args = required("args", args)?.0;
    let (weight, severity) = (required("weight", weight)?, required("severity", severity)?);
    Dimension::from_name(dimension).ok_or_else(|| QualityError::UnknownDimension(dimension.to_owned()))?;
    let arguments = args.as_object().ok_or(QualityError::OutOfRange("args must be a JSON object"))?;
    check_owner(table, &name)?;
    check_numbers(&weight, threshold.as_ref(), severity)?;
    check_columns(table, &name, &columns)?;
    let rule = Check::read(required("rule", rule)?, &columns, arguments)?;
    check_evaluable(table, &name, &rule, &columns)?;
    let rule_id = own::write_value::<i64>(
        "INSERT INTO opdb.quality_rule
             (table_name, dimension, rule, columns, args, weight, threshold, severity, created_by, table_owner)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
                 (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = $1))
         RETURNING rule_id",
        &[
            table.into(),
            dimension.into(),
            rule.name().into(),
            columns.into(),
            JsonB(args).into(),
            weight.into(),
            threshold.into(),
            severity.into(),
            own::caller()?.into(),
        ],
    )?;
    Ok(rule_id.unwrap_or_default())
}

/// Scores the rows of a table and records the run.
///
/// The rules are those the table implies (required columns are filled; times are finite, numbers are
/// numbers; CHECK, UNIQUE, primary and foreign keys hold, proven by a validated constraint or measured; an
/// event table's source_id is unique and its keys are right) and those added by add_quality_rule. Options:
/// threshold (0.95), min_coverage (0.5), weights ({"completeness": 0.3, "accuracy": 0.3, "consistency": 0.2,
/// "integrity": 0.2}). One row: run_id, rows, the four dimensions and the score (0..1, NULL where nothing
/// could be evaluated), coverage (share of the weights with evidence), passed and reason. An empty table
/// never passes.
/// Errors: 22004 for NULL, 22023 for an unknown option, 42809 for something that is no table, and
/// whatever a rule's expression raises.
#[pg_extern(requires = ["quality_tables", "ingest_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn quality_score(
    table: Option<Regclass>,
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(run_id, i64),
            name!(rows, i64),
            name!(completeness, Option<AnyNumeric>),
            name!(accuracy, Option<AnyNumeric>),
            name!(consistency, Option<AnyNumeric>),
            name!(integrity, Option<AnyNumeric>),
            name!(score, Option<AnyNumeric>),
            name!(coverage, Option<AnyNumeric>),
            name!(passed, bool),
            name!(reason, String),
        ),
    >,
    ErrorReport,
> {
    let table = required("table", table)?;
    let options = required("options", options)?;
    let run = scored(table, None, &options.0)?;
    let shown =
        |value: Option<&_>| value.and_then(|value| AnyNumeric::try_from(to_decimal(value, 4).as_str()).ok());
    let dimension = |dimension| shown(run.score.of(dimension));
    Ok(TableIterator::once((
        run.run_id,
        run.rows,
        dimension(Dimension::Completeness),
        dimension(Dimension::Accuracy),
        dimension(Dimension::Consistency),
        dimension(Dimension::Integrity),
        shown(run.score.total.as_ref()),
        shown(Some(&run.score.coverage)),
        run.passed,
        run.reason,
    )))
}

/// What each rule of a run found: evaluated and passed values, ratio, threshold, status (passed, partial,
/// failed, warning, not_evaluated, or broken where the rule no longer fits the table) and evidence (constraint: nothing had to be read; measured).
///
/// rule_id is NULL for a rule that the table implies.
/// Errors: 22004 for NULL, 42704 for an unknown run.
#[pg_extern(stable, requires = ["quality_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn quality_report(
    run_id: Option<i64>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(rule_id, Option<i64>),
            name!(dimension, Option<String>),
            name!(rule, Option<String>),
            name!(columns, Option<Vec<String>>),
            name!(evaluated, Option<i64>),
            name!(passed, Option<i64>),
            name!(ratio, Option<AnyNumeric>),
            name!(threshold, Option<AnyNumeric>),
            name!(status, Option<String>),
            name!(evidence, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let run_id = required("run_id", run_id)?;
    let rows = spi::read(
        "SELECT rule_id, dimension, rule, columns, evaluated, passed, ratio, threshold, status, evidence
         FROM opdb.quality_result WHERE run_id = $1 ORDER BY position",
        &[run_id.into()],
        |row| {
            Ok((
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
                row.get(6)?,
                row.get(7)?,
                row.get(8)?,
                row.get(9)?,
                row.get(10)?,
            ))
        },
    )?;
    if rows.is_empty() {
        return Err(QualityError::UnknownRun(run_id).into());
    }
    Ok(TableIterator::new(rows))
}

/// Runs `work` as the rules of a table are evaluated beside a `condition`: as the same role, with the same names.
pub fn as_scored<T>(
    table: Regclass,
    name: &Qualified,
    condition: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    Scorer::new(table, name, Some(condition))?.run(work)
}

/// Scores the rows of a table for which `condition` (in parentheses) holds, on the snapshot of the calling
/// statement, and records the run.
pub fn scored(table: Regclass, condition: Option<&str>, options: &serde_json::Value) -> Result<Run> {
    let name = name::of_table(table)?;
    let options = Options::read(options)?;
    session::pinned(|| run::run(table, &name, condition, &options))
}

fn check_owner(table: Regclass, name: &Qualified) -> Result<()> {
    let owner = spi::read_value::<bool>(
        "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $1",
        &[table.into()],
    )?;
    if owner == Some(true) { Ok(()) } else { Err(QualityError::NotOwner(name.sql()).into()) }
}

fn check_numbers(weight: &AnyNumeric, threshold: Option<&AnyNumeric>, severity: &str) -> Result<()> {
    if parse_decimal(&weight.to_string()).is_none_or(|weight| weight <= BigRational::zero()) {
        return Err(QualityError::OutOfRange("weight must be a number greater than 0").into());
    }
    let threshold = threshold.map(|threshold| parse_decimal(&threshold.to_string()));
    if !threshold.is_none_or(|threshold| threshold.as_ref().is_some_and(is_ratio)) {
        return Err(QualityError::OutOfRange("threshold must be between 0 and 1").into());
    }
    if !matches!(severity, "error" | "warning") {
        return Err(QualityError::OutOfRange("severity must be error or warning").into());
    }
    Ok(())
}

fn check_columns(table: Regclass, name: &Qualified, columns: &[String]) -> Result<()> {
    let unknown = spi::read_value::<String>(
        "SELECT c FROM pg_catalog.unnest($2) c
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                           WHERE a.attrelid = $1 AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1",
        &[table.into(), columns.to_vec().into()],
    )?;
    match unknown {
        Some(column) => Err(QualityError::UnknownColumn { table: name.sql(), column }.into()),
        None => Ok(()),
    }
}

fn check_evaluable(table: Regclass, name: &Qualified, rule: &Check, columns: &[String]) -> Result<()> {
    let scorer = Scorer::new(table, name, None)?;
    scorer.run(|| run::try_on_no_rows(&name.sql(), rule, columns)).map_err(|failure| {
        QualityError::NotEvaluable { rule: rule.name(), table: name.sql(), reason: failure.message }
    })?;
    Ok(())
}
