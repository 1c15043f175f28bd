//! A deployment from its first check to the last word in the history.

use std::cell::Cell;

use serde_json::{Value, json};

use super::apply::{Applied, Work, short};
use super::checks::{self, Checked};
use super::clean;
use super::database::Database;
use super::error::DeployError;
use super::history::{self, Deployment, SERVER, Verdict, totals};
use super::ledger;
use super::options::Options;
use super::plan::Planned;
use super::row_errors::RowErrors;
use super::stage;
use crate::compat::LocalTable;
use crate::configure;
use crate::environment;
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::{self, Access, Remote};
use crate::pg::{lock, session, spi, subtransaction};

/// A deployment that is under way.
pub struct Run<'a> {
    pub environment: &'a str,
    pub tables: &'a [LocalTable],
    pub options: &'a Options,
    deployment: Deployment,
    errors: RowErrors<'a>,
}

/// How it ended, where it did not fail.
enum End {
    /// Why.
    Refused(String),
    Applied(Vec<Applied>),
    /// What was to be applied, and why nobody knows.
    InDoubt(String),
}

/// Deploys, and returns the id in the history.
pub fn push(environment: &str, tables: &[LocalTable], options: &Options) -> Result<i64> {
    session::check_writable()?;
    tables.iter().try_for_each(|table| options.check_condition(&table.name.sql()))?;
    environment::known(environment)?;
    history::settle(environment)?;
    let deployment = Deployment::begin(json!({
        "kind": "deploy",
        "environment": environment,
        "direction": "push",
        "tables": tables.iter().map(|table| table.name.sql()).collect::<Vec<_>>(),
        "options": options.given,
    }))?;
    let run = Run { environment, tables, options, deployment, errors: RowErrors::new(options) };
    let checked = subtransaction::run(|| run.check());
    let end = match checked {
        Ok(checked) => match checked.failures() {
            Some(reasons) => Ok(End::Refused(reasons)),
            None => subtransaction::run(|| run.deploy(&checked)),
        },
        // What is wrong with the call is the caller's to see.
        Err(failure) => {
            run.deployment.record(&json!({"state": "failed", "error": full_text(&failure)}))?;
            return Err(failure);
        }
    };
    run.end(end)
}

impl Run<'_> {
    fn check(&self) -> Result<Checked> {
        let checked = checks::run(self.environment, self.tables, self.options)?;
        self.deployment.record(&json!({
            "state": "checking",
            "quality_score": checked.quality_score,
            "quality_runs": checked.quality_runs,
            "validation_ms": checked.validation_ms,
        }))?;
        Ok(checked)
    }

    fn deploy(&self, checked: &Checked) -> Result<End> {
        let source = spi::read_value::<String>(SERVER, &[])?;
        let horizon = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text";
        self.deployment.record(&json!({
            "state": "staging",
            "source_server": source,
            "horizon": spi::read_value::<String>(horizon, &[])?,
        }))?;
        // Always in the same order, so that two calls cannot wait for each other.
        let mut stages: Vec<u64> = checked.planned.iter().map(Planned::stage_number).collect();
        stages.sort_unstable();
        stages.into_iter().for_each(lock::stage);
        let rows = checked.planned.iter().map(stage::read).collect::<Result<Vec<_>>>()?;
        let server = Cell::new(String::new());
        let applied: Cell<Option<Vec<Applied>>> = Cell::new(None);
        let result = remote::with(self.environment, Access::Write, |remote| {
            self.prepare_target(remote, checked)?;
            let staged = checked
                .planned
                .iter()
                .zip(&rows)
                .map(|(planned, rows)| {
                    let staged = stage::push(remote, planned, rows, self.options, &self.errors);
                    Ok((planned, staged.map_err(|failure| failure.at(&planned.shipment.label))?))
                })
                .collect::<Result<Vec<_>>>()?;
            server.set(self.applying(remote, &checked.planned)?);
            remote.use_own_search_path()?;
            let there = Database::There(remote);
            let work = Work {
                database: &there,
                key: &self.deployment.key,
                options: self.options,
                errors: &self.errors,
            };
            let done = work.apply(&staged)?;
            there.execute(&self.ledger_row(&done, source.as_deref().unwrap_or_default()))?;
            applied.set(Some(done));
            remote.execute("COMMIT").map(drop)
        });
        match (result, applied.take()) {
            (Ok(()), applied) => Ok(End::Applied(applied.unwrap_or_default())),
            (Err(failure), None) => Err(failure),
            // The connection broke while it committed.
            (Err(failure), Some(applied)) => self.in_doubt(failure, applied, &server.take()),
        }
    }

    fn in_doubt(&self, failure: Failure, applied: Vec<Applied>, server: &str) -> Result<End> {
        if failure.is_interrupt {
            return Err(failure);
        }
        match history::ask(self.environment, &self.deployment.key, server) {
            Verdict::Committed(_) => Ok(End::Applied(applied)),
            Verdict::NotCommitted => Err(failure),
            Verdict::Unknown(reason) => Ok(End::InDoubt(format!("{}; {reason}", failure.told()))),
        }
    }

    fn prepare_target(&self, remote: &Remote, checked: &Checked) -> Result<()> {
        let there = Database::There(remote);
        if let Some(known) = &checked.known_target
            && there.value(SERVER)? != *known
        {
            return Err(DeployError::UnknownTarget(self.environment.to_owned()).into());
        }
        if there.value(&format!("SELECT {}", ledger::EXISTS))? != "true" {
            ledger::create(&there)?;
            return remote.commit();
        }
        let age = format!("{} days", configure::number("deploy.keep_days")?);
        let removed = clean::remove(&there, &age)?;
        if removed.is_empty() { Ok(()) } else { remote.commit() }
    }

    /// From here on the target may be changed. Returns which server that is.
    fn applying(&self, remote: &Remote, planned: &[Planned]) -> Result<String> {
        let server = Database::There(remote).value(SERVER)?;
        let details: Vec<Value> = planned
            .iter()
            .enumerate()
            .map(|(place, planned)| {
                let name = |kind| ledger::table(kind, &short(&self.deployment.key), place + 1);
                let undo = planned.shipment.undo(name("rows"), name("before"));
                json!({"table": planned.shipment.label, "undo": undo})
            })
            .collect();
        self.deployment.record(&json!({"state": "applying", "target_server": server, "details": details}))?;
        Ok(server)
    }

    fn ledger_row(&self, applied: &[Applied], source: &str) -> String {
        let counts: Vec<Value> = applied.iter().map(Applied::counts).collect();
        let tables: Vec<String> = self.tables.iter().map(|table| literal(table.name.sql())).collect();
        format!(
            "INSERT INTO opdb_deploy.ledger (deployment, kind, source, source_id, tables, counts)
             VALUES ({}, 'deploy', {}, {}, ARRAY[{}], {})",
            literal(&self.deployment.key),
            literal(source),
            self.deployment.id,
            tables.join(", "),
            literal(Value::Array(counts).to_string())
        )
    }

    /// Writes how it ended, and says what is to be said.
    fn end(&self, end: Result<End>) -> Result<i64> {
        let errors = json!({"errors": self.errors.count(), "row_errors": self.errors.to_json()});
        let (entry, failure) = match end {
            Ok(End::Applied(applied)) => {
                (merged(totals(&applied), json!({"state": "applied"})), self.complaint())
            }
            Ok(End::Refused(reasons)) => {
                let refused = DeployError::Refused {
                    environment: self.environment.to_owned(),
                    tables: self.tables.iter().map(|table| table.name.sql()).collect(),
                    options: self.options.given.to_string(),
                    reasons: reasons.clone(),
                };
                (json!({"state": "refused", "error": reasons}), Some(refused.into()))
            }
            Ok(End::InDoubt(reason)) => {
                let failure = DeployError::InDoubt { environment: self.environment.to_owned() };
                (json!({"state": "in_doubt", "error": reason}), Some(failure.into()))
            }
            Err(failure) => {
                let is_by_itself = self.options.auto_rollback && self.errors.is_past_threshold();
                let state = if is_by_itself { "rolled_back" } else { "failed" };
                (json!({"state": state, "error": full_text(&failure), "details": []}), Some(failure))
            }
        };
        let is_applied = entry["state"] == "applied";
        let recorded = self.deployment.record(&merged(entry, errors));
        match failure {
            // Somebody stopped this call: that is their error to see.
            Some(failure) if failure.is_interrupt => return Err(failure),
            Some(failure) if self.options.raise && !is_applied => return Err(failure),
            Some(failure) => warn(self.deployment.id, &failure),
            None => {}
        }
        recorded.map(|()| self.deployment.id)
    }

    /// What there is to say of one that was applied.
    fn complaint(&self) -> Option<Failure> {
        let errors = self.errors.count();
        (errors > 0).then(|| {
            let id = self.deployment.id;
            let by_hand = self.errors.is_past_threshold();
            DeployError::RowsLeftOut { id, errors, threshold: self.options.error_threshold, by_hand }.into()
        })
    }
}

pub fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}

/// Says in a WARNING what did not go as it should.
pub fn warn(id: i64, failure: &Failure) {
    let message = format!("deployment {id}: {}", failure.message);
    let mut report = pgrx::pg_sys::panic::ErrorReport::new(failure.sqlstate, message, "opdb");
    if let Some(detail) = &failure.detail {
        report = report.set_detail(detail.clone());
    }
    let hint = format!("See SELECT * FROM opdb.deployments WHERE deployment_id = {id}");
    report = report.set_hint(match &failure.hint {
        Some(first) => format!("{first}\n{hint}"),
        None => hint,
    });
    report.report(pgrx::PgLogLevel::WARNING);
}

pub fn full_text(failure: &Failure) -> String {
    match &failure.detail {
        Some(detail) => format!("{} ({detail})", failure.message),
        None => failure.message.clone(),
    }
}

/// The table on the target that the rows of a table are sent to: the same one for the same work, so that an interrupted
/// call's rows are found.
pub fn stage_name(source: &str, environment: &str, signature: &str) -> String {
    let name =
        opdb_core::deploy::combined(&[source.to_owned(), environment.to_owned(), signature.to_owned()]);
    format!("{}.stage_{}", ledger::SCHEMA, &name[..24])
}
