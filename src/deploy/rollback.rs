//! Taking a deployment back: rows that still are what it made them become what they were; others are listed and left
//! alone.

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::apply::{Applied, settled};
use super::database::Database;
use super::error::DeployError;
use super::guard;
use super::history::{self, Deployment, SERVER, Verdict, totals};
use super::ledger;
use super::recorder;
use super::row_errors::{is_of_a_row, isolating};
use super::run::{full_text, merged, warn};
use super::shipment::Undo;
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;
use crate::pg::remote::{self, Access};
use crate::pg::{lock, own, session, spi, subtransaction};
use crate::{environment, settings};

/// How often rows that wait for others are tried again.
const ROUNDS: usize = 50;

/// What became of one table.
#[derive(Debug, Clone)]
pub struct Restored {
    pub table: String,
    pub restored: i64,
    pub skipped: i64,
    pub detail: String,
}

/// A deployment that is to be taken back, as the history has it.
struct Original {
    id: i64,
    key: String,
    environment: String,
    tables: Vec<String>,
    server: String,
    is_push: bool,
    applied: Vec<Applied>,
}

/// What the transaction there has done.
#[derive(Default)]
struct Done {
    tables: Vec<Restored>,
    counts: Vec<Applied>,
    skipped: Vec<Value>,
}

/// Takes a deployment back, which is a deployment of its own. `search_path` is the caller's, for triggers of the tables if
/// they are here.
///
/// Errors: 25004 if rows that were pulled are to be taken back in a transaction that keeps its snapshot.
pub fn rollback(id: i64, search_path: &str) -> Result<Vec<Restored>> {
    session::check_writable()?;
    history::settle(&environment_of(id)?)?;
    let original = Original::read(id)?;
    original.check_target()?;
    // Nobody takes it back twice at a time.
    if !lock::deployment(id)? {
        return Err(DeployError::NotApplied { id, state: "being rolled back".into() }.into());
    }
    let deployment = Deployment::begin(json!({
        "kind": "rollback",
        "rolls_back": id,
        "environment": original.environment,
        "direction": if original.is_push { "push" } else { "pull" },
        "tables": original.tables,
    }))?;
    let undone = match original.is_push {
        true => subtransaction::run(|| original.undo(&deployment)),
        false => subtransaction::run(|| original.undo_here(&deployment, search_path)).map(Outcome::Done),
    };
    match undone {
        Ok(Outcome::Done(done)) => {
            if original.is_push {
                deployment.record(&done.entry())?;
            }
            if !done.skipped.is_empty() {
                let skipped = DeployError::RowsSkipped { id: deployment.id, rows: done.skipped.len() };
                warn(deployment.id, &skipped.into());
            }
            Ok(done.tables)
        }
        Ok(Outcome::Interrupted(failure)) => Err(failure),
        Ok(Outcome::InDoubt(reason)) => {
            deployment.record(&json!({"state": "in_doubt", "error": reason}))?;
            Err(DeployError::InDoubt { environment: original.environment }.into())
        }
        Err(failure) => {
            let recorded = deployment.record(&json!({"state": "failed", "error": full_text(&failure)}));
            if failure.is_interrupt { Err(failure) } else { recorded.and(Err(failure)) }
        }
    }
}

impl Done {
    fn entry(&self) -> Value {
        let skipped = json!({"state": "applied", "errors": self.skipped.len(), "row_errors": self.skipped});
        merged(totals(&self.counts), skipped)
    }
}

enum Outcome {
    Done(Done),
    /// Why nobody knows.
    InDoubt(String),
    /// Stopped while the target committed: the next call finds out how it ended.
    Interrupted(Failure),
}

fn environment_of(id: i64) -> Result<String> {
    let sql = "SELECT environment FROM opdb.deployment WHERE deployment_id = $1";
    let found = own::read_latest(|| spi::read_value::<String>(sql, &[id.into()]))?;
    found.ok_or_else(|| DeployError::UnknownDeployment(id).into())
}

impl Original {
    /// A session that said what it writes to does not write to something else.
    fn check_target(&self) -> Result<()> {
        let environment = match self.is_push {
            true => self.environment.clone(),
            false => environment::own()?.map(|(name, _)| name).unwrap_or_default(),
        };
        match settings::target() {
            Some(target) if target != environment => {
                Err(DeployError::OtherTarget { target, environment }.into())
            }
            _ if !self.is_push && session::keeps_its_snapshot() => Err(DeployError::KeepsSnapshot.into()),
            _ => Ok(()),
        }
    }

    /// In this transaction, with the last word in the history.
    fn undo_here(&self, deployment: &Deployment, search_path: &str) -> Result<Done> {
        let server = spi::read_value::<String>(SERVER, &[])?.unwrap_or_default();
        if server != self.server {
            return Err(DeployError::OtherServer { id: self.id }.into());
        }
        ledger::check(&Database::Here)?;
        deployment.record(&json!({"state": "applying", "target_server": server}))?;
        let settings = [("search_path", search_path), ("lock_timeout", "10s")];
        let done = session::pinned_with(&settings, || self.on(&Database::Here))?;
        Database::Here.execute(&self.ledger_row(deployment, &done)?)?;
        recorder::write(deployment.id, &done.entry())?;
        Ok(done)
    }
}

impl Original {
    /// Errors: 55000 if there is nothing to take back.
    fn read(id: i64) -> Result<Self> {
        let sql = "SELECT key::text, environment, tables, coalesce(target_server, ''), details, state, kind, direction = 'push'
                   FROM opdb.deployment WHERE deployment_id = $1";
        let found = own::read_latest(|| {
            spi::read_one(sql, &[id.into()], |row| {
                let details = row.get::<pgrx::JsonB>(5)?.map_or(Value::Null, |details| details.0);
                let original = Self {
                    id,
                    key: spi::known(&row, 1)?,
                    environment: spi::known(&row, 2)?,
                    tables: spi::known(&row, 3)?,
                    server: spi::known(&row, 4)?,
                    is_push: spi::known(&row, 8)?,
                    applied: Vec::new(),
                };
                let (state, kind) = (spi::known::<String>(&row, 6)?, spi::known::<String>(&row, 7)?);
                Ok((original, details, state, kind))
            })
        })?;
        let (original, details, state, kind) = found.ok_or(DeployError::UnknownDeployment(id))?;
        if kind == "rollback" {
            return Err(DeployError::IsRollback(id).into());
        }
        if state != "applied" {
            return Err(DeployError::NotApplied { id, state }.into());
        }
        let applied = serde_json::from_value(details)
            .map_err(|error| DeployError::UnreadableDetails { id, reason: error.to_string() })?;
        Ok(Self { applied, ..original })
    }

    fn undo(&self, deployment: &Deployment) -> Result<Outcome> {
        let done: Cell<Option<Done>> = Cell::new(None);
        let result = remote::with(&self.environment, Access::Write, |remote| {
            let there = Database::There(remote);
            let server = there.value(SERVER)?;
            if server != self.server {
                return Err(DeployError::OtherServer { id: self.id }.into());
            }
            ledger::check(&there)?;
            deployment.record(&json!({"state": "applying", "target_server": server}))?;
            remote.use_own_search_path()?;
            there.query(&settled(&deployment.key), 1)?;
            let undone = self.on(&there)?;
            there.execute(&self.ledger_row(deployment, &undone)?)?;
            done.set(Some(undone));
            remote.execute("COMMIT").map(drop)
        });
        match (result, done.take()) {
            (Ok(()), done) => Ok(Outcome::Done(done.unwrap_or_default())),
            (Err(failure), Some(_)) if failure.is_interrupt => Ok(Outcome::Interrupted(failure)),
            (Err(failure), Some(done)) => {
                match history::ask(&self.environment, &deployment.key, &self.server) {
                    Verdict::Committed(_) => Ok(Outcome::Done(done)),
                    Verdict::NotCommitted => Err(failure),
                    Verdict::Unknown(reason) => Ok(Outcome::InDoubt(format!("{}; {reason}", failure.told()))),
                }
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// Rows that were deleted come first and rows that were inserted go last, because those between may reference them.
    fn on(&self, database: &Database) -> Result<Done> {
        let steps: Vec<Table> = self
            .applied
            .iter()
            .map(|applied| Table { database, applied, undo: applied.undo.as_ref() })
            .collect();
        let at = |step: &Table, failure: Failure| failure.at(&step.applied.table);
        // In the order in which deployments lock them.
        let mut in_order: Vec<&Table> = steps.iter().collect();
        in_order.sort_unstable_by_key(|step| step.undo.map(|undo| &undo.table));
        for step in in_order {
            step.prepare(self.id).map_err(|failure| at(step, failure))?;
        }
        let mut counts: Vec<[i64; 3]> = Vec::new();
        for step in &steps {
            counts.push([step.insert_deleted().map_err(|failure| at(step, failure))?, 0, 0]);
        }
        for (step, count) in steps.iter().zip(&mut counts) {
            count[1] = step.restore_updated().map_err(|failure| at(step, failure))?;
        }
        for (step, count) in steps.iter().zip(&mut counts).rev() {
            count[2] = step.delete_inserted().map_err(|failure| at(step, failure))?;
        }
        database.execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        let mut done = Done::default();
        for (step, count) in steps.iter().zip(counts) {
            step.finish(count, &mut done).map_err(|failure| at(step, failure))?;
        }
        Ok(done)
    }

    fn ledger_row(&self, deployment: &Deployment, done: &Done) -> Result<String> {
        let source = spi::read_value::<String>(SERVER, &[])?.unwrap_or_default();
        let counts: Vec<Value> = done.counts.iter().map(Applied::counts).collect();
        let tables: Vec<String> = self.tables.iter().map(literal).collect();
        Ok(format!(
            "INSERT INTO opdb_deploy.ledger (deployment, kind, source, source_id, rolls_back, tables, counts)
             VALUES ({}, 'rollback', {}, {}, {}, ARRAY[{}], {})",
            literal(&deployment.key),
            literal(source),
            deployment.id,
            literal(&self.key),
            tables.join(", "),
            literal(Value::Array(counts).to_string())
        ))
    }
}

/// One table of it.
struct Table<'a> {
    database: &'a Database<'a>,
    applied: &'a Applied,
    /// None if the deployment changed nothing in it.
    undo: Option<&'a Undo>,
}

impl Table<'_> {
    /// Errors: 55000 if what is needed is gone.
    fn prepare(&self, id: i64) -> Result<()> {
        let Some(undo) = self.undo else { return Ok(()) };
        for table in [&undo.rows, &undo.before, &undo.table] {
            let sql = format!("SELECT pg_catalog.to_regclass({})::text", literal(table));
            if self.database.value(&sql)?.is_empty() {
                return Err(DeployError::NothingKept { id, table: table.clone() }.into());
            }
        }
        self.database.query(&ledger::lock(&undo.table), 1)?;
        // Nobody has looked at them yet, and the planner takes them for small.
        self.database.execute(&format!("ANALYZE {}, {}", undo.rows, undo.before)).map(drop)
    }

    fn insert_deleted(&self) -> Result<i64> {
        let Some(Undo { table, before, change, whole, whole_before, same_key_before, .. }) = self.undo else {
            return Ok(0);
        };
        self.row_by_row('D', &|some| {
            self.database.execute(&format!(
                "INSERT INTO {table} ({whole}) OVERRIDING SYSTEM VALUE SELECT {whole_before} FROM {before} b
                 WHERE b.{change} = 'D' AND {some} AND NOT EXISTS (SELECT FROM {table} t WHERE {same_key_before})"
            ))
        })
    }

    fn restore_updated(&self) -> Result<i64> {
        let Some(undo) = self.undo.filter(|undo| !undo.assignments.is_empty()) else { return Ok(0) };
        let Undo { table, rows, before, change, same_key, same_key_of_both, same_row, assignments, .. } =
            undo;
        self.row_by_row('U', &|some| {
            self.database.execute(&format!(
                "UPDATE {table} t SET {assignments} FROM {rows} s JOIN {before} b ON {same_key_of_both}
                 WHERE b.{change} = 'U' AND {some} AND {same_key} AND {same_row}"
            ))
        })
    }

    /// Runs `work` for all rows that are kept for a kind of change, or where one of them cannot be restored, for as many as
    /// can be: `work` takes a condition on b. A row may have to wait until another one has made place for it.
    fn row_by_row(&self, change: char, work: &dyn Fn(&str) -> Result<i64>) -> Result<i64> {
        let Some(undo) = self.undo else { return Ok(0) };
        match self.database.attempt(|| work("true")) {
            Err(failure) if is_of_a_row(&failure) => {}
            outcome => return outcome,
        }
        let sql = format!("SELECT b.ctid::text FROM {} b WHERE b.{} = '{change}'", undo.before, undo.change);
        let mut rows: Vec<String> = self.database.query(&sql, 1)?.into_iter().flatten().flatten().collect();
        let restored = Cell::new(0);
        for _ in 0..ROUNDS {
            let left = RefCell::new(Vec::new());
            let some = |first: i64, last: i64| {
                let range = usize::try_from(first).unwrap_or(0)..=usize::try_from(last).unwrap_or(0);
                let list: Vec<String> =
                    rows.get(range).unwrap_or_default().iter().map(|row| format!("\"{row}\"")).collect();
                let condition = format!("b.ctid = ANY ('{{{}}}'::tid[])", list.join(","));
                let done = self.database.attempt(|| work(&condition))?;
                restored.set(restored.get() + done);
                Ok(())
            };
            let single = |row: i64, _: &Failure| {
                left.borrow_mut().extend(rows.get(usize::try_from(row).unwrap_or(0)).cloned());
                Ok(())
            };
            let last = i64::try_from(rows.len()).unwrap_or(0) - 1;
            if last >= 0 {
                isolating((0, last), &some, &single)?;
            }
            let left = left.into_inner();
            if left.is_empty() || left.len() == rows.len() {
                break;
            }
            rows = left;
        }
        Ok(restored.get())
    }

    /// The rows of the stage that were inserted.
    fn inserted(undo: &Undo) -> String {
        let Undo { before, change, same_key_of_both, .. } = undo;
        format!("NOT EXISTS (SELECT FROM {before} b WHERE b.{change} = 'U' AND {same_key_of_both})")
    }

    fn delete_inserted(&self) -> Result<i64> {
        let Some(undo) = self.undo else { return Ok(0) };
        let Undo { table, rows, same_key, same_row, same_others, .. } = undo;
        let inserted = Self::inserted(undo);
        // While they are locked nobody can reference them who does not do so already.
        self.database.query(
            &format!(
                "SELECT pg_catalog.count(*)::text FROM (SELECT FROM {table} t JOIN {rows} s ON {same_key}
                 WHERE {inserted} FOR UPDATE OF t) locked"
            ),
            1,
        )?;
        let going = format!("EXISTS (SELECT FROM {rows} s WHERE {same_key})");
        let referenced = guard::referenced(self.database, table, &going)?;
        let unreferenced: String = referenced.iter().map(|it| format!(" AND NOT {it}")).collect();
        self.database.execute(&format!(
            "DELETE FROM {table} t USING {rows} s
             WHERE {same_key} AND {inserted} AND {same_row} AND {same_others}{unreferenced}"
        ))
    }

    /// Lists what was left alone, and drops what is not needed any more.
    fn finish(&self, [inserted, updated, deleted]: [i64; 3], done: &mut Done) -> Result<()> {
        let skipped = self.undo.map_or(Ok(Vec::new()), |undo| self.skipped(undo))?;
        let restored = inserted + updated + deleted;
        let detail = match (self.undo, skipped.len()) {
            (None, _) => "the deployment changed nothing in it".to_owned(),
            (Some(_), 0) => {
                format!("{updated} rows set back, {deleted} taken out, {inserted} put back")
            }
            (Some(undo), count) => format!(
                "{updated} rows set back, {deleted} taken out, {inserted} put back; {count} were changed since: \
                 opdb.deployment_errors lists them, {} has what was deployed (of rows that were loaded the keys) and {} what was there before",
                undo.rows, undo.before
            ),
        };
        if let (Some(undo), true) = (self.undo, skipped.is_empty()) {
            self.database.execute(&format!("DROP TABLE {}, {}", undo.rows, undo.before))?;
        }
        done.tables.push(Restored {
            table: self.applied.table.clone(),
            restored,
            skipped: i64::try_from(skipped.len()).unwrap_or(i64::MAX),
            detail,
        });
        done.counts.push(Applied {
            table: self.applied.table.clone(),
            rows: restored,
            inserted,
            updated,
            unchanged: 0,
            deleted,
            digest: self.applied.digest.clone(),
            resumed: 0,
            lineage: Value::Null,
            left_out: Vec::new(),
            undo: None,
        });
        done.skipped.extend(skipped);
        Ok(())
    }

    /// Rows that are not as they were before the deployment, with the reason.
    fn skipped(&self, undo: &Undo) -> Result<Vec<Value>> {
        let Undo {
            table, rows, before, change, same_key, same_key_before, same_row, same_row_before, ..
        } = undo;
        let key = |alias: &str| {
            let members: Vec<String> = undo
                .key
                .iter()
                .map(|name| format!("{}, {alias}.{}", literal(name), crate::pg::name::identifier(name)))
                .collect();
            format!("pg_catalog.jsonb_build_object({})::text", members.join(", "))
        };
        let sql = format!(
            "SELECT {of_before}, CASE WHEN t.tableoid IS NULL THEN 'it is gone since' ELSE 'it was changed since' END
             FROM {before} b LEFT JOIN {table} t ON {same_key_before}
             WHERE b.{change} = 'U' AND (t.tableoid IS NULL OR NOT ({same_row_before}))
             UNION ALL
             SELECT {of_before}, CASE WHEN t.tableoid IS NULL THEN 'it could not be put back'
                                      ELSE 'a row with its key was made since' END
             FROM {before} b LEFT JOIN {table} t ON {same_key_before}
             WHERE b.{change} = 'D' AND (t.tableoid IS NULL OR NOT ({same_row_before}))
             UNION ALL
             SELECT {of_rows}, CASE WHEN {same_row} THEN 'it is referenced, or was changed since, in a column that was not sent'
                                    ELSE 'it was changed since' END
             FROM {rows} s JOIN {table} t ON {same_key} WHERE {inserted}",
            of_before = key("b"),
            of_rows = key("s"),
            inserted = Self::inserted(undo)
        );
        let found = self.database.query(&sql, 2)?;
        Ok(found
            .into_iter()
            .filter_map(|row| {
                let [key, error] = <[Option<String>; 2]>::try_from(row).ok()?;
                let key = serde_json::from_str::<Value>(&key?).unwrap_or(Value::Null);
                Some(json!({"table_name": self.applied.table, "key": key, "error": error}))
            })
            .collect())
    }
}
