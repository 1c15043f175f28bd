//! What must be true before rows go anywhere.

use opdb_core::deploy::RowDigest;
use opdb_core::quality::to_decimal;
use opdb_core::schema::Kind;

use super::apply::Planned;
use super::error::DeployError;
use super::options::Options;
use super::shipment::{Shipment, ordered};
use super::table_checks;
use crate::compat::{Compared, LocalTable};
use crate::pg::error::Result;
use crate::pg::remote::{self, Access, Remote};
use crate::pg::spi;
use crate::{environment, quality, schema, settings};

/// One check and what it found.
pub struct Check {
    pub name: &'static str,
    pub passed: bool,
    pub detail: String,
}

/// Everything the checks found out, for the deployment that follows.
pub struct Checked {
    pub checks: Vec<Check>,
    pub planned: Vec<Planned>,
    /// The lowest score of the tables.
    pub quality_score: Option<String>,
}

impl Checked {
    pub fn failures(&self) -> Option<String> {
        let failed: Vec<String> = self
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }
}

/// The schema that tables are validated against before they are deployed.
const EXPECTED: &str = "expected";

/// Runs every check; one that fails does not hide the others.
///
/// Rules and policies are other people's code, and a connection that is open can be used by any code that this
/// session runs. So tables with row security are not read while connected, and scores come when the
/// connection is closed.
/// Errors: an environment that is unknown or cannot be reached, a table without a key.
pub fn run(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Checked> {
    tables.iter().try_for_each(LocalTable::hold)?;
    let row_security = row_security(tables)?;
    let mut checks = vec![source(environment)?, source_encoding()?, session_target(environment)];
    let shipments = remote::with(environment, Access::Read, |remote| {
        let compared = Compared::new(remote, tables)?;
        let shipments = shipments(tables, &compared, options)?;
        checks.extend([other_database(remote)?, target_kind(remote, environment)?, target_writable(remote)?]);
        let readable = row_security.passed;
        checks.extend(table_checks::run(remote, tables, &shipments, &compared, readable)?);
        ordered(shipments, &compared)
    })?;
    let scores = if row_security.passed { scores(tables, options)? } else { Vec::new() };
    checks.extend([valid_schema(tables)?, quality(&scores, &row_security)]);
    checks.push(row_security);
    let planned = shipments
        .into_iter()
        .map(|shipment| {
            let scored = scores.iter().find(|score| score.table.name == shipment.name);
            let scored_digest =
                scored.map(|score| scored_digest(score.table, &shipment)).transpose()?.flatten();
            Ok(Planned { shipment, scored_rows: scored.map_or(0, |score| score.run.rows), scored_digest })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Checked { checks, planned, quality_score: lowest(&scores) })
}

/// A condition may mean other rows to the owner, as whom they are scored, than to the caller, who sends them.
fn scored_digest(table: &LocalTable, shipment: &Shipment) -> Result<Option<RowDigest>> {
    let Some(condition) = &shipment.condition else { return Ok(None) };
    quality::as_scored(table.relation, condition, || {
        let sums = spi::read_one(&shipment.digest_here(), &[], |row| {
            let text = |column| row.get::<String>(column).map(Option::unwrap_or_default);
            Ok((text(1)?, text(2)?, text(3)?))
        })?;
        Ok(sums.and_then(|(rows, first, second)| RowDigest::from_sums(&rows, &first, &second)))
    })
}

fn shipments(tables: &[LocalTable], compared: &Compared, options: &Options) -> Result<Vec<Shipment>> {
    let known = |column: &String| {
        compared.local.iter().any(|fact| fact.kind() == Kind::Column && fact.name() == column)
    };
    if let Some(column) = options.exclude_columns.iter().find(|column| !known(column)) {
        return Err(DeployError::UnknownExcluded(column.clone()).into());
    }
    tables
        .iter()
        .enumerate()
        .map(|(place, table)| {
            options.check_condition(&table.name.sql())?;
            Shipment::new(place + 1, table, compared, options)
        })
        .collect()
}

pub fn passed(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, passed: true, detail: detail.into() }
}

pub fn failed(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, passed: false, detail: detail.into() }
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

/// Two names for one running server and database are not two databases.
fn other_database(remote: &Remote) -> Result<Check> {
    const NAME: &str = "other_database";
    const IDENTITY: &str = "SELECT pg_catalog.concat_ws('/', pg_catalog.pg_postmaster_start_time(),
            (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
            (SELECT system_identifier FROM pg_catalog.pg_control_system()))";
    let here = spi::read_value::<String>(IDENTITY, &[])?;
    let there = remote.query_row(IDENTITY, 1)?.pop().flatten();
    Ok(if here == there {
        failed(NAME, "the environment is this very database")
    } else {
        passed(NAME, "the environment is another database")
    })
}

/// If the other side has opdb, its own word counts too.
fn target_kind(remote: &Remote, environment: &str) -> Result<Check> {
    const NAME: &str = "target_kind";
    let registered = environment::kind_of(environment)?.unwrap_or_default();
    let readable =
        remote.query_row(&format!("SELECT {}", table_checks::may_call("current_environment")), 1)?;
    if readable.first().and_then(Option::as_deref) != Some("t") {
        return Ok(passed(NAME, format!("registered as {registered}; the target does not say what it is")));
    }
    let declared = remote.query_row("SELECT kind FROM opdb.current_environment()", 1)?.pop().flatten();
    Ok(match declared {
        Some(kind) if kind != registered => {
            failed(NAME, format!("registered as {registered}, but the target says it is {kind}"))
        }
        Some(kind) => passed(NAME, format!("registered as {kind}, and the target says the same")),
        None => passed(NAME, format!("registered as {registered}; the target has not been declared")),
    })
}

fn target_writable(remote: &Remote) -> Result<Check> {
    const NAME: &str = "target_writable";
    let row = remote.query_row(
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'the target is a standby'
                     WHEN pg_catalog.current_setting('default_transaction_read_only') = 'on' THEN 'the target is read-only'
                     WHEN pg_catalog.current_setting('server_version_num')::int < 150000
                          THEN 'the target is older than PostgreSQL 15'
                     WHEN pg_catalog.current_setting('session_replication_role') <> 'origin'
                          THEN 'session_replication_role there switches constraints and triggers off'
                     WHEN NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')
                          THEN 'role ' || current_user || ' may not create temporary tables there' END",
        1,
    )?;
    Ok(match row.into_iter().next().flatten() {
        Some(problem) => failed(NAME, problem),
        None => passed(NAME, "the target takes writes"),
    })
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

fn valid_schema(tables: &[LocalTable]) -> Result<Check> {
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

/// Scores every table on the rows that would be sent: the snapshot of the calling statement.
fn scores<'a>(tables: &'a [LocalTable], options: &Options) -> Result<Vec<Scored<'a>>> {
    tables
        .iter()
        .map(|table| {
            let no_options = serde_json::json!({});
            let run = quality::scored(table.relation, options.condition.as_deref(), &no_options)?;
            Ok(Scored { table, run })
        })
        .collect()
}

fn quality(scores: &[Scored], row_security: &Check) -> Check {
    const NAME: &str = "quality";
    if !row_security.passed {
        return failed(NAME, "not scored, because row security may hide rows");
    }
    let wrong: Vec<String> = scores
        .iter()
        .filter(|score| !score.run.passed)
        .map(|score| format!("{} (run {}): {}", score.table.name.label(), score.run.run_id, score.run.reason))
        .collect();
    let fine = format!("the lowest score is {}", lowest(scores).as_deref().unwrap_or("unknown"));
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
