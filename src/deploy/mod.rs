//! Promoting rows to another environment: checked, staged and verified there, upserted in one transaction.

mod apply;
mod checks;
mod clean;
mod column;
mod database;
mod differing;
mod error;
mod explain;
mod ground;
mod guard;
mod history;
mod ledger;
mod load;
mod options;
mod plan;
mod pull;
mod recorder;
mod reference;
mod rollback;
mod row_errors;
mod run;
mod scope;
mod shipment;
mod stage;
mod table_checks;
mod target_checks;
mod transformation;

use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::compat::{LocalTable, local_tables};
use crate::pg::error::{Result, required};
use crate::pg::remote::{self, Access};
use crate::pg::session;
use crate::pg::spi;
use crate::pg::types::Regclass;
pub use checks::CHECKS;
use error::DeployError;
use options::{Direction, Options};

/// What a deployment is asked for. Names are looked up in the caller's search_path.
fn arguments(
    environment: Option<&str>,
    tables: Option<Vec<Option<String>>>,
    options: Option<JsonB>,
) -> Result<(&str, Vec<LocalTable>, Options)> {
    let environment = required("environment", environment)?;
    let tables = local_tables(required("tables", tables)?)?;
    Ok((environment, tables, Options::read(&required("options", options)?.0)?))
}

/// The caller's search_path. Errors: 25001 where a ROLLBACK could follow that does not reach the other server.
fn called_alone() -> Result<String> {
    if session::in_transaction_block() || session::inside_a_function() {
        return Err(DeployError::InTransactionBlock.into());
    }
    let search_path = spi::read_value::<String>("SELECT pg_catalog.current_setting('search_path')", &[])?;
    Ok(search_path.unwrap_or_default())
}

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
    let (environment, tables, options) = arguments(environment, tables, options)?;
    let checks = session::pinned(|| match options.direction {
        Direction::Push => Ok(checks::run(environment, &tables, &options)?.checks),
        Direction::Pull => pull::check(environment, &tables, &options),
    })?;
    Ok(TableIterator::new(
        checks
            .into_iter()
            .map(|check| (check.name.to_owned(), check.passed, check.detail, check.is_required)),
    ))
}

/// Sends the rows of tables to a registered environment, in one transaction there.
///
/// The checks of pre_deployment_check come first. Then the rows, as they were when the checks began, are
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
    let (environment, tables, options) = arguments(environment, tables, options)?;
    let search_path = called_alone()?;
    Ok(session::pinned(|| match options.direction {
        Direction::Push => run::push(environment, &tables, &options),
        Direction::Pull => pull::pull(environment, &tables, &options, &search_path),
    })?)
}

/// Takes a deployment back: its rows become what they were before it, as far as nobody has changed them since.
///
/// One row per table: restored (rows that were set back, taken out or put back), skipped_changed (rows that are no longer what
/// the deployment made them, or are referenced by other rows: they stay as they are, and opdb.deployment_errors lists
/// them), detail. All of it is one transaction on the target. A rollback is a deployment of its own in opdb.deployments,
/// of the kind rollback.
/// Errors: 22004 for NULL, 42704 for an unknown deployment, 55000 if it was not applied, was rolled back before, went to
/// another server than the environment leads to now, or what it kept was cleaned up, 25001 inside a transaction block, a
/// pipeline, a function, CALL or DO, 08007 if the connection broke during the commit and the target cannot be asked.
#[pg_extern(requires = ["deploy_tables", "environment_tables"])]
#[allow(clippy::type_complexity)]
fn rollback_deployment(
    deployment_id: Option<i64>,
) -> std::result::Result<
    TableIterator<
        'static,
        (name!(table_name, String), name!(restored, i64), name!(skipped_changed, i64), name!(detail, String)),
    >,
    ErrorReport,
> {
    let deployment_id = required("deployment_id", deployment_id)?;
    let search_path = called_alone()?;
    let restored = session::pinned(|| rollback::rollback(deployment_id, &search_path))?;
    Ok(TableIterator::new(
        restored.into_iter().map(|table| (table.table, table.restored, table.skipped, table.detail)),
    ))
}

/// Has deployments of a table send the value of an expression instead of a column's value.
///
/// The expression may use the columns of the table; its value is converted to the type of the column. It is evaluated as
/// the table's owner, and tried on the rows by the check transformations. One that the column has is replaced.
/// Errors: 22004 for NULL, 42703 without such a column, 42809 for something that is no table, 42601 or another of the
/// server's if the expression is none on that table, 22023 if it is volatile, 42501 for who is not a member of the owner.
#[pg_extern(requires = ["deploy_tables"])]
fn add_transformation(
    table: Option<Regclass>,
    column: Option<&str>,
    expression: Option<&str>,
) -> std::result::Result<(), ErrorReport> {
    let (table, column) = (required("table", table)?, required("column", column)?);
    let expression = required("expression", expression)?;
    Ok(session::pinned(|| transformation::add(table, column, expression))?)
}

/// Has deployments of a table send the column's own value again.
///
/// Errors: 22004 for NULL, 42704 if the column has no transformation, 42501 for who is not a member of the table's owner.
#[pg_extern(requires = ["deploy_tables"])]
fn drop_transformation(
    table: Option<Regclass>,
    column: Option<&str>,
) -> std::result::Result<(), ErrorReport> {
    let (table, column) = (required("table", table)?, required("column", column)?);
    Ok(session::pinned(|| transformation::remove(table, column))?)
}

/// Shows everything that deploy would do on the target with these options, statement by statement, and does none of it.
///
/// One row per statement: step (from 1), place (source or target), action, table_name, sql, lock (the strongest on tables
/// that others use), note. The checks are not part of it: see pre_deployment_check.
/// Errors: as pre_deployment_check, 08001 or 28P01 if the target cannot be reached, 42P01 for a table that is not there.
#[pg_extern(requires = ["environment_tables", "ingest_tables", "deploy_tables"])]
#[allow(clippy::type_complexity)]
fn plan_deploy(
    environment: Option<&str>,
    tables: Option<Vec<Option<String>>>,
    options: default!(Option<JsonB>, "'{}'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(step, i32),
            name!(place, String),
            name!(action, String),
            name!(table_name, Option<String>),
            name!(sql, String),
            name!(lock, String),
            name!(note, String),
        ),
    >,
    ErrorReport,
> {
    let (environment, tables, options) = arguments(environment, tables, options)?;
    let steps = session::pinned(|| explain::steps(environment, &tables, &options))?;
    Ok(TableIterator::new((1..).zip(steps).map(|(number, step)| {
        let (place, action, lock) = (step.place.into(), step.action.into(), step.lock.into());
        (number, place, action, step.table, step.sql, lock, step.note)
    })))
}

/// Removes from the target what deployments have left there for a rollback, and rows that were sent and never applied.
///
/// older_than is an interval (default: deploy.keep_days of opdb.settings). One row per table that was dropped: object,
/// bytes, what. Deployments whose rows are gone cannot be rolled back any more; the ledger stays. To remove everything:
/// DROP SCHEMA opdb_deploy CASCADE there, while nothing is deployed.
/// Errors: 22004 for a NULL environment, 42704 for an unknown one, 08001 or 28P01 if it cannot be reached.
#[pg_extern(requires = ["environment_tables"])]
#[allow(clippy::type_complexity)]
fn clean_deployments(
    environment: Option<&str>,
    older_than: default!(Option<Interval>, "NULL"),
) -> std::result::Result<
    TableIterator<'static, (name!(object, String), name!(bytes, i64), name!(what, String))>,
    ErrorReport,
> {
    let environment = required("environment", environment)?;
    let age = match older_than {
        Some(age) => format!("{} seconds", age.as_micros() as f64 / 1e6),
        None => clean::keep()?,
    };
    let removed = remote::with(environment, Access::Write, |remote| {
        let removed = clean::remove(&database::Database::There(remote), &age)?;
        remote.execute("COMMIT")?;
        Ok(removed)
    })?;
    Ok(TableIterator::new(removed.into_iter().map(|it| (it.object, it.bytes, it.what))))
}
