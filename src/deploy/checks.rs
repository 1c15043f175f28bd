//! What must be true before rows go anywhere.

use opdb_core::compat::Verdict;
use opdb_core::compat::table::is_unique;

use super::error::DeployError;
use super::options::Options;
use super::shipment::{Shipment, ordered};
use crate::compat::{Compared, LocalTable, columns};
use crate::pg::error::Result;
use crate::pg::name::literal;
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
        let present = |table: &&LocalTable| compared.exists_there(table);
        checks.push(compatible(tables, &shipments, &compared));
        checks.push(column_mapping(
            tables.iter().filter(present),
            &shipments,
            &compared,
        )?);
        checks.push(unique_there(&shipments, &compared));
        checks.push(privileges(remote, &shipments)?);
        let (quality, quality_score) = quality(tables)?;
        checks.push(quality);
        Ok(Checked {
            checks,
            shipments: ordered(shipments, &compared)?,
            quality_score,
        })
    })
}

fn passed(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        passed: true,
        detail: detail.into(),
    }
}

fn failed(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        passed: false,
        detail: detail.into(),
    }
}

/// Passes if nothing is wrong.
fn unless(name: &'static str, wrong: &[String], fine: impl Into<String>) -> Check {
    if wrong.is_empty() {
        passed(name, fine)
    } else {
        failed(name, wrong.join("; "))
    }
}

fn source(environment: &str) -> Result<Check> {
    const NAME: &str = "source_environment";
    Ok(match environment::own()? {
        None => failed(
            NAME,
            "this database has not been declared: SELECT opdb.set_environment(name, kind)",
        ),
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
        Some(target) if target != environment => failed(
            NAME,
            format!("the setting opdb.target of this session names \"{target}\""),
        ),
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
    if readable.first().and_then(Option::as_deref) != Some("true") {
        return Ok(passed(
            NAME,
            format!("registered as {registered}; the target does not say what it is"),
        ));
    }
    let declared = remote
        .query_row("SELECT kind FROM opdb.current_environment()", 1)?
        .pop()
        .flatten();
    Ok(match declared {
        Some(kind) if kind != registered => failed(
            NAME,
            format!("registered as {registered}, but the target says it is {kind}"),
        ),
        Some(kind) => passed(
            NAME,
            format!("registered as {kind}, and the target says the same"),
        ),
        None => passed(
            NAME,
            format!("registered as {registered}; the target has not been declared"),
        ),
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
        return Ok(failed(
            NAME,
            "no schema was captured to validate against: SELECT opdb.capture_schema()",
        ));
    }
    let validation = schema::Validation::against(EXPECTED)?;
    let objects: Vec<String> = validation
        .differences
        .iter()
        .map(|difference| difference.object.clone())
        .take(5)
        .collect();
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

/// Structure only; whether narrower types matter is for the next check to say.
fn compatible(tables: &[LocalTable], shipments: &[Shipment], compared: &Compared) -> Check {
    let wrong: Vec<String> = tables
        .iter()
        .zip(shipments)
        .flat_map(|(table, shipment)| compared.findings(table, &shipment.kept_here))
        .filter(|finding| finding.blocking && finding.verdict >= Verdict::Incompatible)
        .map(|finding| match finding.object == finding.table {
            true => format!("{}: {}", finding.table, finding.detail),
            false => format!("{}.{}: {}", finding.table, finding.object, finding.detail),
        })
        .collect();
    unless("compatible", &wrong, "tables and columns have their counterparts")
}

fn column_mapping<'a>(
    tables: impl Iterator<Item = &'a LocalTable>,
    shipments: &[Shipment],
    compared: &Compared,
) -> Result<Check> {
    let mut wrong = Vec::new();
    let mut narrower = 0;
    for table in tables {
        let kept_here = shipments
            .iter()
            .find(|shipment| shipment.relation == table.relation)
            .map(|shipment| shipment.kept_here.as_slice())
            .unwrap_or_default();
        for column in compared.mapping(table, kept_here)? {
            narrower += usize::from(column.verdict > Verdict::Widening);
            if column.fits == Some(false) && column.verdict < Verdict::Incompatible {
                wrong.push(format!(
                    "{}.{}: {} -> {} is {}, {}",
                    table.name.sql(),
                    column.local_column,
                    column.local_type,
                    column.remote_type.as_deref().unwrap_or("nothing"),
                    column.verdict.as_str(),
                    column.evidence
                ));
            }
        }
    }
    let fine = match narrower {
        0 => "every value fits by its type".to_owned(),
        _ => format!("{narrower} columns are narrower there, no value is known not to fit"),
    };
    Ok(unless("column_mapping", &wrong, fine))
}

fn unique_there(shipments: &[Shipment], compared: &Compared) -> Check {
    let wrong: Vec<String> = shipments
        .iter()
        .filter(|shipment| columns(&compared.remote, &shipment.table).next().is_some())
        .filter(|shipment| !is_unique(&compared.remote, &shipment.table, &shipment.key))
        .map(|shipment| {
            format!(
                "{} has no unique constraint or index on ({}) there",
                shipment.table,
                shipment.key.join(", ")
            )
        })
        .collect();
    unless("key_unique_there", &wrong, "the target holds each key once")
}

fn privileges(remote: &Remote, shipments: &[Shipment]) -> Result<Check> {
    const NAME: &str = "privileges";
    let tables: Vec<String> = shipments
        .iter()
        .map(|shipment| literal(&shipment.table))
        .collect();
    let rows = remote.query(
        &format!(
            "SELECT current_user || ' lacks ' || pg_catalog.string_agg(p.privilege, ', ') || ' on ' || t.name
             FROM pg_catalog.unnest(ARRAY[{}]::text[]) t (name),
                  pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) p (privilege)
             WHERE pg_catalog.to_regclass(t.name) IS NOT NULL
               AND NOT pg_catalog.has_table_privilege(pg_catalog.to_regclass(t.name), p.privilege)
             GROUP BY t.name",
            tables.join(", ")
        ),
        1,
    )?;
    let wrong: Vec<String> = rows.into_iter().flatten().flatten().collect();
    Ok(unless(
        NAME,
        &wrong,
        "the role there may read and write the tables",
    ))
}

/// Scores every table on the rows that would be sent: the snapshot of the calling statement.
fn quality(tables: &[LocalTable]) -> Result<(Check, Option<String>)> {
    let mut wrong = Vec::new();
    let mut scores = Vec::new();
    for table in tables {
        let run = quality::scored(table.relation, &serde_json::json!({}))?;
        if !run.passed {
            wrong.push(format!(
                "{} (run {}): {}",
                table.name.sql(),
                run.run_id,
                run.reason
            ));
        }
        scores.push(run.score.total);
    }
    let lowest = scores
        .into_iter()
        .min()
        .flatten()
        .map(|score| opdb_core::quality::to_decimal(&score, 6));
    let fine = format!("the lowest score is {}", lowest.as_deref().unwrap_or("unknown"));
    Ok((unless("quality", &wrong, fine), lowest))
}

/// The error that a refused deployment raises where it is not recorded.
pub fn refusal(environment: &str, reasons: String) -> DeployError {
    DeployError::Refused {
        environment: environment.to_owned(),
        reasons,
    }
}
