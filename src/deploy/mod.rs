//! Promoting rows to another environment: checked, staged and verified there, upserted in one transaction.

mod apply;
mod checks;
mod column;
mod error;
mod history;
mod options;
mod shipment;
mod table_checks;

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::compat::{LocalTable, local_tables};
use crate::pg::error::{Failure, Result, required};
use crate::pg::session;
use apply::Outcome;
use error::DeployError;
use history::Entry;
use options::Options;

/// Runs every check that deploy makes with these options, and changes nothing.
///
/// One row per check with what was found: this database may be deployed from, the session means that target,
/// the target is another database, is what it was registered as and takes writes, the schema is as captured,
/// tables and columns have their counterparts, every value fits, the key is unique there, the role there has
/// its rights, and the quality score passes (which records a quality run).
/// Errors: 22004 for NULL, 42704 for an unknown environment, 08001 or 28P01 if it cannot be reached, 42P01
/// for an unknown table, 42809 for something that is no table, 42P16 for a table without a key.
#[pg_extern(requires = ["environment_tables", "ingest_tables", "quality_tables", "schema_tables"])]
fn pre_deployment_check(
    environment: Option<&str>,
    tables: Option<Vec<Option<String>>>,
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<'static, (name!(check_name, String), name!(passed, bool), name!(detail, String))>,
    ErrorReport,
> {
    let environment = required("environment", environment)?;
    let tables = local_tables(required("tables", tables)?)?;
    let options = Options::read(&required("options", options)?.0)?;
    let checked = session::pinned(|| checks::run(environment, &tables, &options))?;
    Ok(TableIterator::new(
        checked.checks.into_iter().map(|check| (check.name.to_owned(), check.passed, check.detail)),
    ))
}

/// Sends the rows of tables to a registered environment, in one transaction there.
///
/// The checks of pre_deployment_check come first. Then the rows, as the calling statement sees them, are
/// staged there in temporary tables, verified by count and digest, and upserted by primary key (an event
/// table's by source_id; its id, created_at and processed are the target's own); what the target then holds
/// is compared once more before it commits. Nothing has to be installed there. Rows that exist only there
/// stay. Options: key, where, exclude_columns, batch_size (1000), max_change_ratio (0.5: rows updated over
/// rows there), raise (false).
/// Result: the id in opdb.deployments. A failed check makes the state refused, a failed transaction failed;
/// both give a WARNING and change nothing there, and with raise an error instead of a record.
/// Errors: as pre_deployment_check, 22023 for an unknown option, 25001 inside a transaction
/// block, a pipeline, a function, CALL or DO.
#[pg_extern(requires = ["deploy_tables", "environment_tables", "ingest_tables", "quality_tables", "schema_tables"])]
fn deploy(
    environment: Option<&str>,
    tables: Option<Vec<Option<String>>>,
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<i64, ErrorReport> {
    let environment = required("environment", environment)?;
    let tables = local_tables(required("tables", tables)?)?;
    let options = Options::read(&required("options", options)?.0)?;
    if session::in_transaction_block() || session::inside_a_function() {
        return Err(DeployError::InTransactionBlock.into());
    }
    Ok(session::pinned(|| run(environment, &tables, &options))?)
}

fn run(environment: &str, tables: &[LocalTable], options: &Options) -> Result<i64> {
    let started_at = history::now()?;
    let checked = checks::run(environment, tables, options)?;
    history::settle(environment)?;
    let entry = |state, applied, error: Option<String>| Entry {
        environment,
        tables: tables.iter().map(|table| table.name.sql()).collect(),
        state,
        started_at,
        quality_score: checked.quality_score.clone(),
        applied,
        error,
        transaction: None,
    };
    if let Some(reasons) = checked.failures() {
        let refusal = Failure::from(DeployError::Refused {
            environment: environment.to_owned(),
            tables: tables.iter().map(|table| table.name.sql()).collect(),
            options: options.given.to_string(),
            reasons: reasons.clone(),
        });
        return unsuccessful(refusal, options, entry("refused", &[], Some(reasons)));
    }
    match apply::apply(environment, &checked.planned, options) {
        Outcome::Committed(applied) => history::record(entry("applied", &applied, None)),
        // Somebody stopped this call: that is their error to see, not a failed deployment.
        Outcome::RolledBack(failure) if failure.is_interrupt => Err(failure),
        Outcome::RolledBack(failure) => {
            let error = full_text(&failure);
            unsuccessful(failure, options, entry("failed", &[], Some(error)))
        }
        Outcome::InDoubt { applied, transaction, failure } => {
            let error = Some(full_text(&failure));
            let id = history::record(Entry {
                transaction: Some(transaction),
                ..entry("in_doubt", &applied, error)
            })?;
            warn(id, &failure);
            Ok(id)
        }
    }
}

/// Records what did not happen, or raises it if that is what the caller asked for.
fn unsuccessful(failure: Failure, options: &Options, entry: Entry) -> Result<i64> {
    if options.raise {
        return Err(failure);
    }
    let id = history::record(entry)?;
    warn(id, &failure);
    Ok(id)
}

fn warn(id: i64, failure: &Failure) {
    let mut report =
        ErrorReport::new(failure.sqlstate, format!("deployment {id}: {}", failure.message), "opdb");
    if let Some(detail) = &failure.detail {
        report = report.set_detail(detail.clone());
    }
    let hint = format!("See SELECT * FROM opdb.deployments WHERE deployment_id = {id}");
    report = report.set_hint(match &failure.hint {
        Some(first) => format!("{first}\n{hint}"),
        None => hint,
    });
    report.report(PgLogLevel::WARNING);
}

fn full_text(failure: &Failure) -> String {
    match &failure.detail {
        Some(detail) => format!("{} ({detail})", failure.message),
        None => failure.message.clone(),
    }
}
