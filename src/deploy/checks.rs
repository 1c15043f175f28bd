//! What must be true before rows go anywhere.

use super::options::Options;
use super::shipment::{Shipment, ordered};
use super::table_checks;
use crate::compat::{Compared, LocalTable};
use crate::pg::error::Result;
use crate::pg::remote::{self, Remote};
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
    pub shipments: Vec<Shipment>,
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
/// Errors: an environment that is unknown or cannot be reached, a table without a key.
pub fn run(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Checked> {
    remote::with(environment, |remote| {
        let compared = Compared::new(remote, tables)?;
        let shipments = tables
            .iter()
            .enumerate()
            .map(|(place, table)| Shipment::new(place + 1, table, &compared, options))
            .collect::<Result<Vec<_>>>()?;
        let mut checks = vec![
            source(environment)?,
            session_target(environment),
            other_database(remote)?,
            target_kind(remote, environment)?,
            target_writable(remote)?,
            valid_schema()?,
        ];
        checks.extend(table_checks::run(remote, tables, &shipments, &compared)?);
        let (quality, quality_score) = quality(tables, options)?;
        checks.push(quality);
        Ok(Checked { checks, shipments: ordered(shipments, &compared)?, quality_score })
    })
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
    let readable = remote.query_row(
        "SELECT coalesce((SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                 AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
                          FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
                          WHERE n.nspname = 'opdb' AND p.proname = 'current_environment'), false)",
        1,
    )?;
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
                     WHEN pg_catalog.current_setting('transaction_read_only') = 'on' THEN 'the target is read-only'
                     WHEN pg_catalog.current_setting('server_version_num')::int < 150000
                          THEN 'the target is older than PostgreSQL 15'
                     WHEN NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')
                          THEN 'role ' || current_user || ' may not create temporary tables there' END",
        1,
    )?;
    Ok(match row.into_iter().next().flatten() {
        Some(problem) => failed(NAME, problem),
        None => passed(NAME, "the target takes writes"),
    })
}

fn valid_schema() -> Result<Check> {
    const NAME: &str = "schema_valid";
    if !schema::is_captured(EXPECTED)? {
        return Ok(failed(NAME, "no schema was captured to validate against: SELECT opdb.capture_schema()"));
    }
    let validation = schema::Validation::against(EXPECTED)?;
    let objects: Vec<String> =
        validation.differences.iter().map(|difference| difference.object.clone()).take(5).collect();
    Ok(if validation.is_valid() {
        passed(NAME, "the schema is as captured")
    } else {
        failed(
            NAME,
            format!(
                "{} differences from the captured schema: {}",
                validation.differences.len(),
                objects.join(", ")
            ),
        )
    })
}

/// Scores every table on the rows that would be sent: the snapshot of the calling statement.
fn quality(tables: &[LocalTable], options: &Options) -> Result<(Check, Option<String>)> {
    let mut wrong = Vec::new();
    let mut scores = Vec::new();
    for table in tables {
        let run = quality::scored(table.relation, options.condition.as_deref(), &serde_json::json!({}))?;
        if !run.passed {
            wrong.push(format!("{} (run {}): {}", table.name.sql(), run.run_id, run.reason));
        }
        scores.push(run.score.total);
    }
    let lowest = scores.into_iter().min().flatten().map(|score| opdb_core::quality::to_decimal(&score, 6));
    let fine = format!("the lowest score is {}", lowest.as_deref().unwrap_or("unknown"));
    Ok((unless("quality", &wrong, fine), lowest))
}
