//! What must be true before rows go anywhere.

use std::cell::Cell;

use opdb_core::compat::digest::Digest;
use opdb_core::quality::to_decimal;
use opdb_core::schema::Kind;

use serde_json::{Value, json};

use super::database::Database;
use super::error::DeployError;
use super::options::{Direction, Options};
use super::plan::{Planned, Restriction};
use super::run::{merged, stage_here};
use super::scope::{Known, Scope};
use super::shipment::{Shipment, ordered, parents};
use super::table_checks;
use super::target_checks::{other_database, target_kind, target_writable};
use super::transformation::Transformations;
use crate::compat::{Compared, LocalTable};
use crate::configure;
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::{self, Access};
use crate::pg::{own, spi, subtransaction};
use crate::{environment, quality, schema, settings};

/// Every check, in the order in which they are shown.
pub const CHECKS: [&str; 18] = [
    "source_environment",
    "source_encoding",
    "session_target",
    "error_rate",
    "target_reachable",
    "other_database",
    "target_kind",
    "target_writable",
    "compatible",
    "column_mapping",
    "key_unique_there",
    "privileges",
    "rollback_plan",
    "pre_images",
    "row_security",
    "transformations",
    "schema_valid",
    "quality",
];
/// Without these there is nothing that could be deployed, or it would not be known where to.
const INDISPENSABLE: [&str; 4] = ["target_reachable", "other_database", "compatible", "key_unique_there"];
/// One check and what it found.
pub struct Check {
    pub name: &'static str,
    /// None if nobody knows.
    pub passed: Option<bool>,
    pub detail: String,
    pub is_required: bool,
}

/// Everything the checks found out, for the deployment that follows.
pub struct Checked {
    pub checks: Vec<Check>,
    pub planned: Vec<Planned>,
    /// The lowest score of the tables.
    pub quality_score: Option<String>,
    pub quality_runs: Vec<i64>,
    /// How long it took to validate the schema.
    pub validation_ms: f64,
    /// See [`Scope`].
    pub known: Option<Known>,
    /// Why the environment could not be asked.
    pub unreachable: Option<Failure>,
}

impl Checked {
    /// What of it goes into the history.
    pub fn found(&self) -> Value {
        json!({
            "quality_score": self.quality_score,
            "quality_runs": self.quality_runs,
            "validation_ms": self.validation_ms,
        })
    }

    pub fn failures(&self) -> Option<String> {
        let failed: Vec<String> = self
            .checks
            .iter()
            .filter(|check| check.is_required && check.passed != Some(true))
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }
}

/// The schema that tables are validated against before they are deployed.
const EXPECTED: &str = "expected";

/// Runs every check; one that fails does not hide the others.
///
/// Rules and policies are other people's code, which may take any time: scores come when the connection is closed, and
/// tables with row security are not read while there is one.
/// Errors: an environment that is unknown, a table without a key.
pub fn run(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Checked> {
    tables.iter().try_for_each(LocalTable::hold)?;
    let transformations = Transformations::read(tables)?;
    let scope = Scope::new(environment, tables, options, &transformations, &on_statement_snapshot)?;
    let row_security = row_security(tables)?;
    let mut checks =
        vec![source(environment)?, source_encoding()?, session_target(environment), error_rate(environment)?];
    let is_reached = Cell::new(false);
    let looked = remote::with(environment, Access::Read, |remote| {
        let compared = Compared::new(remote, tables)?;
        is_reached.set(true);
        let shipments = shipments(tables, &compared, options, &scope, &transformations)?;
        let mut checks = vec![
            passed("target_reachable", format!("connected to the {} address", remote.address().as_str())),
            other_database(remote)?,
            target_kind(remote, environment)?,
            target_writable(&Database::There(remote))?,
        ];
        let readable = row_security.passed == Some(true);
        checks.extend(table_checks::run(
            (&Database::Here, &Database::There(remote)),
            environment,
            tables,
            &shipments,
            &compared,
            readable,
            options,
        )?);
        Ok((ordered(shipments, &compared)?, checks))
    });
    let mut unreachable = None;
    let shipments = match looked {
        Ok((shipments, looked)) => {
            checks.extend(looked);
            shipments
        }
        Err(failure) if is_unreachable(&failure, is_reached.get()) => {
            checks.push(failed("target_reachable", failure.told()));
            unreachable = Some(failure);
            Vec::new()
        }
        Err(failure) => return Err(failure),
    };
    let scores = if row_security.passed == Some(true) { scores(tables, &scope)? } else { Vec::new() };
    let begun = std::time::Instant::now();
    let valid = valid_schema(tables)?;
    let validation_ms = begun.elapsed().as_secs_f64() * 1000.0;
    checks.push(transformed(tables, &shipments, &row_security)?);
    checks.extend([valid, quality(&scores, &row_security), row_security]);
    if unreachable.is_some() {
        not_looked_at(&mut checks, "the target");
    }
    arrange(&mut checks, options)?;
    Ok(Checked {
        planned: planned(environment, tables, options, shipments, (&scope, &scores))?,
        quality_score: lowest(&scores),
        quality_runs: scores.iter().map(|score| score.run.run_id).collect(),
        checks,
        validation_ms,
        known: scope.known,
        unreachable,
    })
}

/// What would be deployed of each table, in the order of the deployment.
pub fn shipments_of(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Vec<Shipment>> {
    tables.iter().try_for_each(LocalTable::hold)?;
    tables.iter().try_for_each(|table| options.check_condition(&table.name.sql()))?;
    let transformations = Transformations::read(tables)?;
    remote::with(environment, Access::Snapshot, |remote| {
        let compared = Compared::new(remote, tables)?;
        tables.iter().try_for_each(|table| compared.check_exists_there(table, environment))?;
        let (compared, scope) = match options.direction {
            Direction::Push => {
                let ask = &on_statement_snapshot;
                (compared, Scope::new(environment, tables, options, &transformations, ask)?)
            }
            Direction::Pull => {
                let ask = |sql: &str| Database::There(remote).row::<1>(sql).map(|[value]| value);
                (compared.turned(), Scope::new(environment, tables, options, &transformations, &ask)?)
            }
        };
        ordered(shipments(tables, &compared, options, &scope, &transformations)?, &compared)
    })
}

/// One value of a query here.
fn on_statement_snapshot(sql: &str) -> Result<Option<String>> {
    spi::read_value::<String>(sql, &[])
}

/// In their order, and which are required: those that the settings name, and those that the call names.
pub fn arrange(checks: &mut [Check], options: &Options) -> Result<()> {
    let required = configure::list("deploy.required_checks")?;
    for check in checks.iter_mut() {
        let is = |names: &[String]| names.iter().any(|name| name == check.name);
        check.is_required = INDISPENSABLE.contains(&check.name) || is(&required) || is(&options.require);
    }
    checks.sort_by_key(|check| CHECKS.iter().position(|name| *name == check.name));
    Ok(())
}

/// Whether the target could not be asked: not at all, or as long as it was.
pub fn is_unreachable(failure: &Failure, is_reached: bool) -> bool {
    let class = failure.class();
    !failure.is_interrupt && (class == "08" || (!is_reached && matches!(class.as_str(), "28" | "0A")))
}

fn planned(
    environment: &str,
    tables: &[LocalTable],
    options: &Options,
    shipments: Vec<Shipment>,
    (scope, scores): (&Scope, &[Scored]),
) -> Result<Vec<Planned>> {
    shipments
        .into_iter()
        .filter_map(|shipment| Some((tables.iter().find(|table| table.name == shipment.name)?, shipment)))
        .map(|(table, shipment)| {
            let scored = scores.iter().find(|score| score.table.name == shipment.name);
            let scored_digest =
                scored.map(|score| scored_digest(score.table, &shipment, options)).transpose()?.flatten();
            Ok(Planned {
                relation: table.relation,
                stage: stage_here(environment, &shipment)?,
                scored_rows: scored.map_or(0, |score| score.run.rows),
                scored_digest,
                lineage: merged(scope.ground(&shipment.name), json!({
                    "sources": sources(table, &shipment)?,
                    "transformations": shipment.transformations(),
                    "quality_run": scored.map(|score| score.run.run_id),
                    "quality_score": scored.and_then(|score| score.run.score.total.as_ref().map(|it| to_decimal(it, 6))),
                })),
                restriction: Restriction::default(),
                is_loaded: false,
                shipment,
            })
        })
        .collect()
}

/// Where the rows come from: of an event table how many from which source, of another the table itself.
fn sources(table: &LocalTable, shipment: &Shipment) -> Result<Value> {
    let sql = match table.is_event_table {
        true => format!(
            "SELECT pg_catalog.jsonb_object_agg(s.source, s.rows) FROM (
                 SELECT source, pg_catalog.count(*) AS rows FROM {} WHERE {} GROUP BY source) s",
            shipment.table,
            shipment.condition.as_deref().unwrap_or("true")
        ),
        false => format!(
            "SELECT pg_catalog.jsonb_build_object(pg_catalog.current_database() || '.' || {}, NULL)",
            literal(table.name.label())
        ),
    };
    Ok(spi::read_value::<pgrx::JsonB>(&sql, &[])?.map_or(Value::Null, |sources| sources.0))
}

/// A condition may mean other rows to the owner, as whom they are scored, than to the caller, who sends them.
fn scored_digest(table: &LocalTable, shipment: &Shipment, options: &Options) -> Result<Option<Digest>> {
    let (Some(condition), Some(_)) = (&shipment.condition, &options.condition) else { return Ok(None) };
    quality::as_scored(table.relation, condition, || shipment.read_digest().map(Some))
}

pub fn shipments(
    tables: &[LocalTable],
    compared: &Compared,
    options: &Options,
    scope: &Scope,
    transformations: &Transformations,
) -> Result<Vec<Shipment>> {
    let known = |column: &String| {
        compared.local.iter().any(|fact| fact.kind() == Kind::Column && fact.name() == column)
    };
    if let Some(column) = options.exclude_columns.iter().find(|column| !known(column)) {
        return Err(DeployError::UnknownExcluded(column.clone()).into());
    }
    let parents = parents(tables, compared, options)?;
    tables
        .iter()
        .zip(&scope.conditions)
        .map(|(table, condition)| {
            Shipment::new(table, compared, options, condition.clone(), transformations, &parents)
        })
        .collect()
}

pub fn passed(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, passed: Some(true), detail: detail.into(), is_required: true }
}

pub fn failed(name: &'static str, detail: impl Into<String>) -> Check {
    Check { passed: Some(false), ..passed(name, detail) }
}

/// What was not looked at.
pub fn unknown(name: &'static str, detail: impl Into<String>) -> Check {
    Check { passed: None, ..passed(name, detail) }
}

/// Adds the checks that nobody made, because `side` cannot be reached.
pub fn not_looked_at(checks: &mut Vec<Check>, side: &str) {
    for name in CHECKS {
        if !checks.iter().any(|check| check.name == name) {
            checks.push(unknown(name, format!("not looked at: {side} cannot be reached")));
        }
    }
}

/// Passes if nothing is wrong.
pub fn unless(name: &'static str, wrong: &[String], fine: impl Into<String>) -> Check {
    if wrong.is_empty() { passed(name, fine) } else { failed(name, wrong.join("; ")) }
}

fn source(environment: &str) -> Result<Check> {
    const NAME: &str = "source_environment";
    Ok(match environment::own()? {
        None => failed(NAME, "this database has not been declared: SELECT opdb.set_environment(name, kind)"),
        Some((name, kind)) if kind == "production" => {
            failed(NAME, format!("this database is \"{name}\", production itself"))
        }
        Some((name, _)) if name == environment => {
            failed(NAME, format!("this database is \"{name}\", the target itself"))
        }
        Some((name, kind)) => passed(NAME, format!("this database is \"{name}\" ({kind})")),
    })
}

/// A session that said what it writes to does not write to something else.
fn session_target(environment: &str) -> Check {
    const NAME: &str = "session_target";
    match settings::target() {
        Some(target) if target != environment => {
            failed(NAME, format!("the setting opdb.target of this session names \"{target}\""))
        }
        Some(_) => passed(NAME, "the setting opdb.target names it"),
        None => passed(NAME, "the call names it"),
    }
}

/// A circuit breaker: who deploys into the same failure again and again should look first.
pub fn error_rate(environment: &str) -> Result<Check> {
    const NAME: &str = "error_rate";
    let limit: f64 = configure::number("deploy.max_error_rate")?;
    let sql = "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE state = 'failed'
                      OR (state = 'rolled_back' AND rolled_back_by IS NULL))
               FROM (SELECT state, rolled_back_by FROM opdb.deployment
                     WHERE environment = $1 AND kind = 'deploy' AND finished_at > pg_catalog.now() - interval '24 hours'
                       AND state IN ('applied', 'failed', 'rolled_back')
                     ORDER BY deployment_id DESC LIMIT 20) last";
    let counts = own::read_latest(|| {
        spi::read_one(sql, &[environment.into()], |row| Ok((row.get::<i64>(1)?, row.get::<i64>(2)?)))
    })?;
    let (all, bad) = counts.map_or((0, 0), |(all, bad)| (all.unwrap_or(0), bad.unwrap_or(0)));
    let told = format!("{bad} of the last {all} deployments within 24 hours failed");
    // One of two says little.
    if all < 5 || bad as f64 <= limit * all as f64 {
        return Ok(passed(NAME, told));
    }
    Ok(failed(
        NAME,
        format!(
            "{told}, more than the share of {limit}: see opdb.deployments, and when the cause is gone, \
                             deploy.max_error_rate of opdb.settings"
        ),
    ))
}

/// Tries the transformations on the rows that would be sent, as the owner of the table: they are his code.
fn transformed(tables: &[LocalTable], shipments: &[Shipment], row_security: &Check) -> Result<Check> {
    const NAME: &str = "transformations";
    if row_security.passed != Some(true) {
        return Ok(unknown(NAME, "not tried, because row security may hide rows"));
    }
    let (mut wrong, mut rows, mut count) = (Vec::new(), 0, 0);
    for shipment in shipments.iter().filter(|shipment| shipment.is_transformed()) {
        let Some(table) = tables.iter().find(|table| table.name == shipment.name) else { continue };
        count += shipment.transformed().count();
        let tried = subtransaction::run(|| {
            quality::as_scored(table.relation, shipment.condition.as_deref().unwrap_or("true"), || {
                shipment.read_digest()
            })
        });
        match tried {
            Ok(digest) => rows += digest.rows,
            Err(failure) if failure.is_interrupt => return Err(failure),
            Err(failure) => wrong.push(format!(
                "{} ({}): {}",
                shipment.label,
                shipment.transformed().collect::<Vec<_>>().join(", "),
                failure.message
            )),
        }
    }
    if shipments.is_empty() {
        return Ok(unknown(NAME, "not tried: the target cannot be reached"));
    }
    let fine = match count {
        0 => "there are none".to_owned(),
        _ => format!("{count} gave a value of their column's type for each of {rows} rows"),
    };
    Ok(unless(NAME, &wrong, fine))
}

/// pgrx hands text to Rust as UTF-8.
fn source_encoding() -> Result<Check> {
    const NAME: &str = "source_encoding";
    let encoding = spi::read_value::<String>("SELECT pg_catalog.current_setting('server_encoding')", &[])?;
    Ok(match encoding.as_deref() {
        Some("UTF8") => passed(NAME, "this database is in UTF8"),
        other => failed(NAME, format!("this database is in {}, only UTF8 can be sent", other.unwrap_or("?"))),
    })
}

/// A part of a table is not the table.
fn row_security(tables: &[LocalTable]) -> Result<Check> {
    let mut wrong = Vec::new();
    for table in tables {
        let hidden = spi::read_one_now(
            "SELECT pg_catalog.row_security_active(c.oid) OR (c.relrowsecurity AND c.relforcerowsecurity)
             FROM pg_catalog.pg_class c WHERE c.oid = $1",
            &[table.relation.into()],
            |row| row.get::<bool>(1),
        )?;
        if hidden.flatten() != Some(false) {
            wrong.push(format!("row security may hide rows of {}", table.name.label()));
        }
    }
    Ok(unless("row_security", &wrong, "no row is hidden from this role"))
}

pub fn valid_schema(tables: &[LocalTable]) -> Result<Check> {
    const NAME: &str = "schema_valid";
    let Some(captured) = schema::captured_schemas(EXPECTED)? else {
        return Ok(failed(NAME, "no schema was captured to validate against: SELECT opdb.capture_schema()"));
    };
    let outside = tables
        .iter()
        .find(|table| captured.as_ref().is_some_and(|schemas| !schemas.contains(&table.name.schema)));
    if let Some(table) = outside {
        return Ok(failed(NAME, format!("the schema of {} was not captured", table.name.label())));
    }
    let validation = schema::Validation::against(EXPECTED)?;
    let found = &validation.differences;
    let objects: Vec<&str> = found.iter().map(|difference| difference.object.as_str()).take(5).collect();
    Ok(match found.is_empty() {
        true => passed(NAME, "the schema is as captured"),
        false => failed(
            NAME,
            format!("{} differences from the captured schema: {}", found.len(), objects.join(", ")),
        ),
    })
}

struct Scored<'a> {
    table: &'a LocalTable,
    run: quality::Run,
}

/// Scores every table on the rows that would be sent.
fn scores<'a>(tables: &'a [LocalTable], scope: &Scope) -> Result<Vec<Scored<'a>>> {
    let mut scores = Vec::new();
    for ((table, condition), is_since) in tables.iter().zip(&scope.conditions).zip(&scope.is_since) {
        if let Some(run) = scored(table, condition.as_deref(), *is_since)? {
            scores.push(Scored { table, run });
        }
    }
    Ok(scores)
}

/// None, and no record, where there are no rows since the last deployment: of these nothing can be said, and nothing is
/// sent.
fn scored(table: &LocalTable, condition: Option<&str>, is_since: bool) -> Result<Option<quality::Run>> {
    let no_options = json!({});
    let score = || quality::scored(table.relation, condition, &no_options);
    if !is_since {
        return score().map(Some);
    }
    let is_empty = Cell::new(false);
    let run = subtransaction::run(|| {
        let run = score()?;
        is_empty.set(run.rows == 0);
        if is_empty.get() {
            return Err(Failure::new(pgrx::PgSqlErrorCode::ERRCODE_NO_DATA, "no rows"));
        }
        Ok(run)
    });
    if is_empty.get() { Ok(None) } else { run.map(Some) }
}

fn quality(scores: &[Scored], row_security: &Check) -> Check {
    const NAME: &str = "quality";
    if row_security.passed != Some(true) {
        return unknown(NAME, "not scored, because row security may hide rows");
    }
    let wrong: Vec<String> = scores
        .iter()
        .filter(|score| !score.run.passed)
        .map(|score| format!("{} (run {}): {}", score.table.name.label(), score.run.run_id, score.run.reason))
        .collect();
    let fine = match lowest(scores) {
        Some(lowest) => format!("the lowest score is {lowest}"),
        None => "nothing was written since the last deployment".to_owned(),
    };
    unless(NAME, &wrong, fine)
}

fn lowest(scores: &[Scored]) -> Option<String> {
    scores
        .iter()
        .map(|score| score.run.score.total.as_ref())
        .min()
        .flatten()
        .map(|score| to_decimal(score, 6))
}
