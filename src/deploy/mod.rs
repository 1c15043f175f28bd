//! Promoting rows to another environment: checked, staged and verified there, upserted in one transaction.

mod apply;
mod checks;
mod column;
mod database;
mod error;
mod history;
mod ledger;
mod options;
mod plan;
mod recorder;
mod row_errors;
mod run;
mod shipment;
mod stage;
mod scope;
mod table_checks;
mod target_checks;
mod transformation;

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::compat::local_tables;
use crate::pg::error::required;
use crate::pg::session;
pub use checks::CHECKS;
use error::DeployError;
use options::Options;

/// Runs every check that deploy makes with these options, and changes nothing.
///
/// One row per check with what was found; passed is NULL where that cannot be told, because a check before failed. A
/// required one that does not pass stops deploy.
/// Errors: 22004 for NULL, 22023 for an unknown option, 42704 for an unknown environment, 42P01 for an unknown table,
/// 42809 for something that is no table, 42P16 for a table without a key.
#[pg_extern(requires = ["environment_tables", "ingest_tables", "quality_tables", "schema_tables", "deploy_tables"])]
#[allow(clippy::type_complexity)]
fn pre_deployment_check(
    environment: Option<&str>,
    tables: Option<Vec<Option<String>>>,
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(check_name, String),
            name!(passed, Option<bool>),
            name!(detail, String),
            name!(required, bool),
        ),
    >,
    ErrorReport,
> {
    let environment = required("environment", environment)?;
    let tables = local_tables(required("tables", tables)?)?;
    let options = Options::read(&required("options", options)?.0)?;
    let checked = session::pinned(|| checks::run(environment, &tables, &options))?;
    Ok(TableIterator::new(
        checked
            .checks
            .into_iter()
            .map(|check| (check.name.to_owned(), check.passed, check.detail, check.is_required)),
    ))
}

/// Sends the rows of tables to a registered environment, in one transaction there.
///
/// The checks of pre_deployment_check come first. Then the rows, as the calling statement sees them, are
/// staged there, verified by count and digest, and upserted by the key (an event
/// table's is source_id; its id, created_at and processed are the target's own); what the target then holds
/// is compared once more before it commits. Nothing has to be installed there. Rows that exist only there
/// stay, unless delete_missing is given. Options: direction (push, pull), mode (all, since_last, limit), limit, where, key,
/// exclude_columns, delete_missing, max_change_ratio (0.5: rows updated or deleted over rows there), error_threshold (5),
/// auto_rollback (true), batch_size (10000), require, raise (false).
/// Result: the id in opdb.deployments. A failed check makes the state refused, a failed transaction failed, too many rows
/// that the target refuses rolled_back; all of them give a WARNING and change nothing there, with raise an error.
/// Errors: as pre_deployment_check, 25001 inside a transaction
/// block, a pipeline, a function, CALL or DO, 25006 where nothing can be written.
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
    Ok(session::pinned(|| run::push(environment, &tables, &options))?)
}
