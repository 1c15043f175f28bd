//! How good the rows of a table are, as a score that can be trusted.

mod careful;
mod castable;
mod distribution;
mod error;
mod failures;
mod format;
mod gate;
mod grouping;
mod implied;
mod json_schema;
mod kept;
mod members;
mod options;
mod proof;
mod quarantine;
mod record;
mod rule;
mod rules;
mod run;
mod scan;
mod scorer;
mod suggest;
mod table;
mod trial;
mod whole;

use num_rational::BigRational;
use num_traits::Zero;
use opdb_core::quality::{Dimension, is_ratio, parse_decimal, to_decimal};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AnyNumeric, JsonB};

use crate::pg::error::{Result, required};
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi};
use error::QualityError;
use options::Options;
use rule::{Check, Evidence, Rule};
pub use run::Run;
use scorer::Scorer;
use table::Table;

/// Adds a rule to a table, beside those that the table implies (see quality_score).
///
/// `dimension` is completeness, accuracy, consistency or integrity. `rule` with its `args`: not_null;
/// not_blank {placeholders}; unique; range {min, max}; length {min, max}; regex {pattern}; accepted_values
/// {values}; format {format}; castable {type}; json_schema {schema}; finite; foreign_key {table, columns};
/// expression {expression}, a row condition that names its columns itself; reconcile {query, against,
/// environment}; freshness {max_age}; row_count {min, max, max_change}; distribution {method, max, baseline}. Each
/// but reconcile and row_count also takes {where}, a condition for the rows that it looks at. `weight` counts
/// within the dimension; below `threshold` (0..1) the rule fails the run if `severity` is error and is reported
/// if it is warn. `name` is what people call it.
/// Result: the rule's id.
/// Errors: 22004 for NULL, 22023 for an unknown dimension, rule or argument, 42703 for an unknown column,
/// 42601 for an expression that is none, 42611 if the rule cannot be evaluated on the table, 42P17 for a volatile
/// function, 42710 for a name that the table has, 42501 unless the caller owns the table.
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
    name: default!(Option<&str>, "NULL"),
) -> std::result::Result<i64, ErrorReport> {
    let table = required("table", table)?;
    let dimension = required("dimension", dimension)?;
    let columns = required("columns", columns)?;
    let columns =
        columns.into_iter().map(|column| required("columns", column)).collect::<Result<Vec<_>>>()?;
    let args = required("args", args)?.0;
    let weight = required("weight", weight)?;
    let severity = severity_of(required("severity", severity)?)?;
    let dimension = Dimension::from_name(dimension)
        .ok_or_else(|| QualityError::UnknownDimension(dimension.to_owned()))?;
    let arguments = args.as_object().ok_or(QualityError::OutOfRange("args must be a JSON object"))?;
    let table = Table::read(table)?;
    check_owner(table.relation, &table.name)?;
    check_numbers(&weight, threshold.as_ref())?;
    let check = session::pinned(|| tried(&table, dimension, required("rule", rule)?, &columns, arguments))?;
    check_name(&table, name)?;
    let rule_id = own::write_value::<i64>(
        "INSERT INTO opdb.quality_rule
             (table_name, dimension, rule, columns, args, weight, threshold, severity, created_by, name, table_owner)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                 (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = $1))
         RETURNING rule_id",
        &[
            table.relation.into(),
            dimension.as_str().into(),
            check.name().into(),
            columns.into(),
            JsonB(args).into(),
            weight.into(),
            threshold.into(),
            severity.into(),
            own::caller()?.into(),
            name.into(),
        ],
    )?;
    Ok(rule_id.unwrap_or_default())
}

/// Scores the rows of a table and records the run.
///
/// The rules are those the table implies (required columns have a value; times and numbers are finite; CHECK,
/// UNIQUE, primary and foreign keys hold, proven by a validated constraint or measured; an event table's source_id
/// is unique and its keys are right) and those added by add_quality_rule. All rules about rows are evaluated in one
/// pass; those about equal rows take one more for each set of columns. Options: threshold (0.95), min_coverage
/// (0.5), min_completeness (0.95) with gate (mean, min or row), weights ({"completeness": 0.3, "accuracy": 0.3,
/// "consistency": 0.2, "integrity": 0.2}), required (column names, or an object of names and weights), implied
/// (true), failures (true: keep the keys of rows that fail), digest (true), sample (the share of blocks to read).
/// One row: run_id, rows, the four dimensions and the score (0..1, NULL where nothing could be evaluated),
/// coverage (share of the weights with evidence), passed and reason. An empty table never passes.
/// Errors: 22004 for NULL, 22023 for an unknown option, 42809 for what has no rows or cannot be sampled, 42501
/// without SELECT on the table, 40001 if it was altered since a transaction that keeps its snapshot began.
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
    let options = Options::read(&options.0)?;
    let run = session::pinned(|| run::run(table, &options))?;
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
/// failed, warning, not_evaluated, or broken where the rule no longer fits the table) and evidence (constraint:
/// nothing had to be read; measured, with what was measured); and the rule's name.
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
            name!(name, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let run_id = required("run_id", run_id)?;
    let rows = spi::read(
        "SELECT rule_id, dimension, rule, columns, evaluated, passed, ratio, threshold, status, evidence, name
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
                row.get(11)?,
            ))
        },
    )?;
    if rows.is_empty() {
        return Err(QualityError::UnknownRun(run_id).into());
    }
    Ok(TableIterator::new(rows))
}

/// The rows that failed in a run, by their keys: for one rule, or for all.
///
/// A key is the primary key, or a unique key without NULL, as a JSON object; where there is none, the place of the
/// row (ctid); of a view or a foreign table all of the row. A row comes once for each rule that it fails. Of rows with
/// the same values in the columns of a `unique` rule, the one with the lowest key does not fail.
/// Errors: 22004 for NULL, 42704 for an unknown run or a rule that was not in it, 42501 without SELECT on the table or
/// where row security hides rows, 55000 once it is not kept any more which rows failed.
#[pg_extern(
    requires = ["quality_tables"],
    // pgrx would return the rows one by one, and keep of each what was made for it.
    sql = "CREATE FUNCTION quality_failures(run_id bigint, rule_id bigint DEFAULT NULL)
           RETURNS TABLE (rule_id bigint, key jsonb, rule text, columns text[]) STABLE
           SET search_path TO pg_catalog, pg_temp
           LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
)]
fn quality_failures(
    run_id: Option<i64>,
    rule_id: Option<i64>,
    call: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    Ok(failures::answer(call, required("run_id", run_id)?, rule_id)?)
}

/// Which rules rows failed together in a run, and how many rows did.
///
/// rule_ids has a NULL for each rule that the table implies. Rows that fail a rule about equal rows are counted apart:
/// that is another pass.
/// Errors: 22004 for NULL, 42704 for an unknown run, 55000 once it is not kept any more which rows failed.
#[pg_extern(stable, requires = ["quality_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn quality_failures_together(
    run_id: Option<i64>,
) -> std::result::Result<
    TableIterator<'static, (name!(rules, Vec<String>), name!(rule_ids, Vec<Option<i64>>), name!(rows, i64))>,
    ErrorReport,
> {
    let together = failures::together(required("run_id", run_id)?)?;
    Ok(TableIterator::new(together.into_iter().map(|row| (row.rules, row.rule_ids, row.rows))))
}

/// Sets the rows that failed in a run aside: for one rule, or for all.
///
/// They are copied to a table beside theirs, which is called as it is with _quarantine at the end, belongs to the same
/// owner and is made if there is none; with "delete" they are deleted from theirs in the same transaction. Only rows
/// that still fail are taken. A row that was set aside before and still fails is copied again.
/// One row: the table, how many rows were copied and deleted, and how many were skipped because they are gone or do
/// not fail any more.
/// Errors: 22004 for NULL, 42704 for an unknown run or rule, 42501 unless the caller has the rights of the table's
/// owner, 0A000 for a view, a foreign table or a parent whose children have more columns, 42701 if a column has the name
/// of one of the other table's own, 42804 if it has another type there, 55000 once it is not kept any more which rows
/// failed, or if a trigger keeps rows from being deleted.
#[pg_extern(requires = ["quality_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn quarantine_failures(
    run_id: Option<i64>,
    rule_id: default!(Option<i64>, "NULL"),
    delete: default!(Option<bool>, "false"),
) -> std::result::Result<
    TableIterator<
        'static,
        (name!(quarantine, String), name!(copied, i64), name!(deleted, i64), name!(skipped, i64)),
    >,
    ErrorReport,
> {
    let moved = quarantine::run(required("run_id", run_id)?, rule_id, required("delete", delete)?)?;
    Ok(TableIterator::once((moved.table.sql(), moved.copied, moved.deleted, moved.skipped)))
}

/// The runs of a table, latest first, with what was unusual about each beside the runs before it.
///
/// A number of rows or a score is unusual if its modified z-score among up to 30 earlier runs, at least 7, is above 3.5
/// (Iglewicz and Hoaglin 1993), and it differs by more than a tenth of the rows or a hundredth of score. Only runs over
/// all rows count. digest and snapshot say what exactly was scored; sample is the share of the blocks that was read.
/// Errors: 22004 for NULL.
#[pg_extern(stable, requires = ["quality_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn quality_history(
    table: Option<Regclass>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(run_id, Option<i64>),
            name!(at, Option<TimestampWithTimeZone>),
            name!(score, Option<AnyNumeric>),
            name!(completeness, Option<AnyNumeric>),
            name!(accuracy, Option<AnyNumeric>),
            name!(consistency, Option<AnyNumeric>),
            name!(integrity, Option<AnyNumeric>),
            name!(rows, Option<i64>),
            name!(passed, Option<bool>),
            name!(unusual, Option<String>),
            name!(digest, Option<String>),
            name!(snapshot, Option<String>),
            name!(sample, Option<AnyNumeric>),
        ),
    >,
    ErrorReport,
> {
    let rows = spi::read(
        "SELECT run_id, at, score, completeness, accuracy, consistency, integrity, rows, passed, unusual, digest,
                snapshot, sample
         FROM opdb.quality_run WHERE table_name = $1 ORDER BY run_id DESC",
        &[required("table", table)?.into()],
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
                row.get(11)?,
                row.get(12)?,
                row.get(13)?,
            ))
        },
    )?;
    Ok(TableIterator::new(rows))
}

/// Runs `work` as the rules of a table are evaluated beside a `condition`: as the same role, with the same names.
pub fn as_scored<T>(table: Regclass, condition: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    Scorer::new(&Table::read(table)?, Some(condition))?.run(work)
}

/// Scores the rows of a table for which `condition` (in parentheses) holds, on the snapshot of the calling
/// statement, and records the run. Errors: 40001 if the table was altered after it.
pub fn scored(table: Regclass, condition: Option<&str>, options: &serde_json::Value) -> Result<Run> {
    let options = Options::read(options)?;
    session::pinned(|| run::run_where(table, condition, &options))
}

/// The same on a snapshot of now, which sees what this transaction has written.
pub fn scored_now(table: Regclass, condition: &str) -> Result<Run> {
    let options = Options::read(&serde_json::json!({}))?;
    session::pinned(|| run::run_now(table, condition, &options))
}

/// A rule that was tried on the table. Errors: what is wrong with it.
fn tried(
    table: &Table,
    dimension: Dimension,
    rule: &str,
    columns: &[String],
    args: &serde_json::Map<String, serde_json::Value>,
) -> Result<Check> {
    let check = Check::read(rule, columns, args)?;
    let filter = rules::filter(args)?;
    let rule = Rule { filter, ..Rule::new(dimension, check.clone(), columns.to_vec(), Evidence::Measured) };
    let scorer = Scorer::new(table, None)?;
    scorer.check_may_evaluate(table, &check)?;
    match scorer.run(|| trial::run(&rule, table)) {
        Ok(()) => Ok(check),
        Err(failure) if failure.is_interrupt || failure.hint.is_some() => Err(failure),
        Err(failure) => Err(QualityError::NotEvaluable {
            rule: check.name(),
            table: table.name.sql(),
            reason: failure.message,
        }
        .into()),
    }
}

fn check_name(table: &Table, name: Option<&str>) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    let is_taken = spi::read_value::<bool>(
        "SELECT EXISTS (SELECT FROM opdb.quality_rule WHERE table_name = $1 AND name = $2)",
        &[table.relation.into(), name.into()],
    )?;
    match is_taken {
        Some(true) => Err(QualityError::NameTaken { table: table.name.sql(), name: name.to_owned() }.into()),
        _ => Ok(()),
    }
}

fn check_owner(table: Regclass, name: &Qualified) -> Result<()> {
    let owner = spi::read_value::<bool>(
        "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $1",
        &[table.into()],
    )?;
    if owner == Some(true) { Ok(()) } else { Err(QualityError::NotOwner(name.sql()).into()) }
}

/// Scores are computed in exact fractions, which must not take forever.
const MOST_DIGITS: usize = 40;

fn check_numbers(weight: &AnyNumeric, threshold: Option<&AnyNumeric>) -> Result<()> {
    let weight = weight.to_string();
    if weight.len() > MOST_DIGITS || parse_decimal(&weight).is_none_or(|weight| weight <= BigRational::zero())
    {
        return Err(
            QualityError::OutOfRange("weight must be a number greater than 0, of at most 40 digits").into()
        );
    }
    let threshold = threshold.map(|threshold| parse_decimal(&threshold.to_string()));
    if !threshold.is_none_or(|threshold| threshold.as_ref().is_some_and(is_ratio)) {
        return Err(QualityError::OutOfRange("threshold must be between 0 and 1").into());
    }
    Ok(())
}

/// As it is kept; the long word is taken too.
fn severity_of(severity: &str) -> Result<&'static str> {
    match severity {
        "error" => Ok("error"),
        "warn" | "warning" => Ok("warning"),
        _ => Err(QualityError::OutOfRange("severity must be error or warn").into()),
    }
}
