//! A deployment from its first check to the last word in the history.

use std::cell::Cell;

use serde_json::{Value, json};

use super::apply::{Applied, Work, short};
use super::checks::{self, Checked};
use super::clean;
use super::database::Database;
use super::differing;
use super::error::DeployError;
use super::history::{self, Deployment, SERVER, Verdict, totals};
use super::ledger;
use super::load;
use super::options::Options;
use super::plan::Planned;
use super::row_errors::RowErrors;
use super::shipment::Shipment;
use super::stage::{self, Rows};
use crate::compat::LocalTable;
use crate::environment;
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::{self, Access, Remote};
use crate::pg::{lock, own, session, spi, subtransaction};

/// A deployment that is under way.
pub struct Run<'a> {
    pub environment: &'a str,
    pub tables: &'a [LocalTable],
    pub options: &'a Options,
    pub deployment: Deployment,
    pub errors: RowErrors<'a>,
}

/// How it ended, where it did not fail.
enum End {
    Applied(Vec<Applied>),
    /// What was to be applied, and why nobody knows.
    InDoubt(String),
    /// Stopped while the target committed: the next call finds out how it ended.
    Interrupted(Failure),
}

/// Deploys, and returns the id in the history.
pub fn push(environment: &str, tables: &[LocalTable], options: &Options) -> Result<i64> {
    session::check_writable()?;
    let run = Run::begin(environment, tables, options)?;
    run.lock();
    // Who waited for another deployment of the table must see what that one saw, and more.
    spi::on_latest_snapshot(|| run.push())
}

impl Run<'_> {
    /// One deployment of a table at a time, always in the same order, so that two calls cannot wait for each other.
    pub fn lock(&self) {
        let mut numbers: Vec<u64> =
            self.tables.iter().map(|table| lock_number(self.environment, &table.name.sql())).collect();
        numbers.sort_unstable();
        numbers.into_iter().for_each(lock::stage);
    }

    /// From the first check to the last word.
    fn push(&self) -> Result<i64> {
        let checked = match subtransaction::run(|| checks::run(self.environment, self.tables, self.options)) {
            Ok(checked) => checked,
            Err(failure) => return Err(self.refuse_call(failure)),
        };
        if let Some(reasons) = checked.failures() {
            return self.refuse(reasons, checked);
        }
        match subtransaction::run(|| self.deploy(checked)) {
            Ok(End::Applied(applied)) => self.applied(&applied),
            Ok(End::InDoubt(reason)) => self.doubt(&reason),
            Ok(End::Interrupted(failure)) => Err(failure),
            Err(failure) => self.fail(failure),
        }
    }
}

fn lock_number(environment: &str, table: &str) -> u64 {
    let name = opdb_core::deploy::combined(&[environment.to_owned(), table.to_owned()]);
    u64::from_str_radix(&name[..16], 16).unwrap_or(0)
}

impl<'a> Run<'a> {
    /// Errors: 42704 for an unknown environment, 22023 for a volatile condition.
    pub fn begin(environment: &'a str, tables: &'a [LocalTable], options: &'a Options) -> Result<Self> {
        tables.iter().try_for_each(|table| options.check_condition(&table.name.sql()))?;
        environment::known(environment)?;
        history::settle(environment)?;
        let deployment = Deployment::begin(json!({
            "kind": "deploy",
            "environment": environment,
            "direction": options.direction.as_str(),
            "tables": tables.iter().map(|table| table.name.sql()).collect::<Vec<_>>(),
            "options": options.given,
        }))?;
        Ok(Self { environment, tables, options, deployment, errors: RowErrors::new(options) })
    }
}

impl Run<'_> {
    fn deploy(&self, mut checked: Checked) -> Result<End> {
        if checked.planned.iter().any(differing::is_worth_it) {
            remote::with(self.environment, Access::Read, |remote| {
                checked.planned.iter_mut().try_for_each(|planned| differing::restrict(remote, planned))
            })?;
        }
        match subtransaction::run(|| self.bring(&checked)) {
            Err(failure)
                if checked.planned.iter().any(|it| it.is_loaded) && load::may_go_by_the_stage(&failure) =>
            {
                checked.planned.iter_mut().for_each(|planned| planned.is_loaded = false);
                self.errors.forget();
                self.bring(&checked)
            }
            outcome => outcome,
        }
    }

    /// Sends the rows, and changes the target.
    fn bring(&self, checked: &Checked) -> Result<End> {
        let source = spi::read_value::<String>(SERVER, &[])?.unwrap_or_default();
        let staging = self.staging(checked, &source)?;
        // Nothing waits there, while this takes its time.
        let read = |planned: &Planned| (!planned.is_loaded).then(|| stage::read(planned)).transpose();
        let read = checked.planned.iter().map(read).collect::<Result<Vec<_>>>()?;
        let server = Cell::new(String::new());
        let applied: Cell<Option<Vec<Applied>>> = Cell::new(None);
        let result = remote::with(self.environment, Access::Write, |remote| {
            self.prepare_target(remote, checked)?;
            let rows = checked
                .planned
                .iter()
                .zip(&read)
                .map(|(planned, read)| {
                    let Some(read) = read else {
                        return Ok((planned, Rows::Loaded(Cell::default())));
                    };
                    let staged = stage::push(remote, planned, read, self.options, &self.errors);
                    let staged = staged.map_err(|failure| failure.at(&planned.shipment.label))?;
                    Ok((planned, Rows::Staged(staged)))
                })
                .collect::<Result<Vec<_>>>()?;
            server.set(self.applying(remote, &checked.planned, &staging)?);
            remote.use_own_search_path()?;
            let there = Database::There(remote);
            let work = Work {
                database: &there,
                key: &self.deployment.key,
                options: self.options,
                errors: &self.errors,
            };
            let done = work.apply(&rows)?;
            there.execute(&self.ledger_row(&done, &source))?;
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

    /// What the history is to know from here on; it does so at once, unless there is nothing to stage.
    fn staging(&self, checked: &Checked, source: &str) -> Result<Value> {
        let horizon = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text";
        let entry = json!({
            "state": "staging",
            "source_server": source,
            "horizon": spi::read_value::<String>(horizon, &[])?,
        });
        let entry = merged(entry, checked.found());
        if checked.planned.iter().any(|planned| !planned.is_loaded) {
            self.deployment.record(&entry)?;
        }
        Ok(entry)
    }

    fn in_doubt(&self, failure: Failure, applied: Vec<Applied>, server: &str) -> Result<End> {
        if failure.is_interrupt {
            return Ok(End::Interrupted(failure));
        }
        match history::ask(self.environment, &self.deployment.key, server) {
            Verdict::Committed(_) => Ok(End::Applied(applied)),
            Verdict::NotCommitted => Err(failure),
            Verdict::Unknown(reason) => Ok(End::InDoubt(format!("{}; {reason}", failure.told()))),
        }
    }

    fn prepare_target(&self, remote: &Remote, checked: &Checked) -> Result<()> {
        let there = Database::There(remote);
        if there.value(&format!("SELECT {}", ledger::EXISTS))? != "true" {
            ledger::create(&there)?;
            self.check_known(&there, checked)?;
            return remote.commit();
        }
        ledger::check(&there)?;
        self.check_known(&there, checked)?;
        let removed = clean::remove(&there, &clean::keep()?)?;
        if removed.is_empty() { Ok(()) } else { remote.commit() }
    }

    /// Errors: 55000 if the target has not what an earlier deployment brought: it is another one, or an older copy of it.
    pub fn check_known(&self, target: &Database, checked: &Checked) -> Result<()> {
        let Some(known) = &checked.known else { return Ok(()) };
        let mut keys: Vec<String> = known.keys.iter().map(|key| format!("{}::uuid", literal(key))).collect();
        keys.sort_unstable();
        keys.dedup();
        let sql = format!(
            "SELECT pg_catalog.count(*)::text FROM opdb_deploy.ledger WHERE deployment IN ({})",
            keys.join(", ")
        );
        let has_all = target.number(&sql)? == i64::try_from(keys.len()).unwrap_or(i64::MAX);
        if has_all && target.value(SERVER)? == known.server {
            return Ok(());
        }
        Err(DeployError::UnknownTarget(self.environment.to_owned()).into())
    }

    /// From here on the target may be changed. Returns which server that is.
    fn applying(&self, remote: &Remote, planned: &[Planned], staging: &Value) -> Result<String> {
        let server = Database::There(remote).value(SERVER)?;
        let details: Vec<Value> = planned
            .iter()
            .enumerate()
            .map(|(place, planned)| {
                let name = |kind| ledger::table(kind, &short(&self.deployment.key), place + 1);
                let undo = planned.undo(name("rows"), name("before"));
                json!({"table": planned.shipment.label, "undo": undo})
            })
            .collect();
        let entry = json!({"state": "applying", "target_server": server, "details": details});
        self.deployment.record(&merged(staging.clone(), entry))?;
        Ok(server)
    }

    pub fn ledger_row(&self, applied: &[Applied], source: &str) -> String {
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

    /// What is wrong with the call is the caller's to see.
    pub fn refuse_call(&self, failure: Failure) -> Failure {
        let recorded = self.deployment.record(&json!({"state": "refused", "error": full_text(&failure)}));
        recorded.err().filter(|_| !failure.is_interrupt).unwrap_or(failure)
    }

    /// For `reasons`; if the environment could not be asked, that is what there is to say.
    pub fn refuse(&self, reasons: String, checked: Checked) -> Result<i64> {
        let entry = json!({"state": "refused", "error": reasons});
        self.deployment.record(&merged(entry, checked.found()))?;
        if let Some(failure) = checked.unreachable {
            return self.unsuccessful(failure);
        }
        self.unsuccessful(DeployError::Refused {
            environment: self.environment.to_owned(),
            tables: self.tables.iter().map(|table| table.name.sql()).collect(),
            options: self.options.given.to_string(),
            reasons,
        })
    }

    fn applied(&self, applied: &[Applied]) -> Result<i64> {
        let entry = merged(totals(applied), json!({"state": "applied"}));
        let recorded = self.deployment.record(&merged(entry, self.counted_errors()));
        self.complain();
        recorded.map(|()| self.deployment.id)
    }

    fn doubt(&self, reason: &str) -> Result<i64> {
        let entry = json!({"state": "in_doubt", "error": reason});
        self.deployment.record(&merged(entry, self.counted_errors()))?;
        self.unsuccessful(DeployError::InDoubt { environment: self.environment.to_owned() })
    }

    /// Nothing was changed there.
    pub fn fail(&self, failure: Failure) -> Result<i64> {
        let is_by_itself = self.options.auto_rollback && self.errors.is_past_threshold();
        let state = if is_by_itself { "rolled_back" } else { "failed" };
        let entry = json!({"state": state, "error": full_text(&failure), "details": []});
        let recorded = self.deployment.record(&merged(entry, self.counted_errors()));
        // Somebody stopped this call: that is their error to see.
        if failure.is_interrupt {
            return Err(failure);
        }
        recorded?;
        self.unsuccessful(failure)
    }

    /// Raises it if that is what the caller asked for, and warns otherwise.
    fn unsuccessful(&self, failure: impl Into<Failure>) -> Result<i64> {
        let failure = failure.into();
        if self.options.raise {
            return Err(failure);
        }
        warn(self.deployment.id, &failure);
        Ok(self.deployment.id)
    }

    pub fn counted_errors(&self) -> Value {
        json!({"errors": self.errors.count(), "row_errors": self.errors.to_json()})
    }

    /// Says which rows are not there, of one that was applied.
    pub fn complain(&self) {
        let errors = self.errors.count();
        if errors > 0 {
            let (id, threshold) = (self.deployment.id, self.options.error_threshold);
            let by_hand = self.errors.is_past_threshold();
            warn(id, &DeployError::RowsLeftOut { id, errors, threshold, by_hand }.into());
        }
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

/// `stage_name` of rows that are pushed from here.
pub fn stage_here(environment: &str, shipment: &Shipment) -> Result<String> {
    let source = spi::read_value::<String>(SERVER, &[])?.unwrap_or_default();
    stage_name(&source, environment, &shipment.signature())
}

/// The table on the target that the rows of a table are sent to: the same one for the same work, so that an interrupted
/// call's rows are found.
///
/// Another role may be another role there, which may not write to it.
pub fn stage_name(source: &str, environment: &str, signature: &str) -> Result<String> {
    let role = own::caller()?.unwrap_or_default();
    let parts = [source, environment, &role, signature].map(str::to_owned);
    Ok(format!("{}.stage_{}", ledger::SCHEMA, &opdb_core::deploy::combined(&parts)[..24]))
}
