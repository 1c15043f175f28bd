//! What happens in the one transaction that changes the target: verify, keep what was there, upsert, verify again.

use std::cell::Cell;

use opdb_core::compat::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::database::Database;
use super::error::DeployError;
use super::guard;
use super::ledger;
use super::load;
use super::options::Options;
use super::plan::Planned;
use super::row_errors::{RowErrors, isolating};
use super::shipment::{Shipment, Undo};
use super::stage::{self, Rows, Staged};
use crate::pg::error::{Failure, Result};

/// How often rows are written again that somebody else makes at the same moment.
const ATTEMPTS: usize = 5;

/// What became of one table.
#[derive(Clone, Serialize, Deserialize)]
pub struct Applied {
    pub table: String,
    pub rows: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub deleted: i64,
    pub digest: String,
    /// Rows that an interrupted call had sent before.
    #[serde(default)]
    pub resumed: i64,
    #[serde(default)]
    pub lineage: Value,
    /// The rows that were refused.
    #[serde(default)]
    pub left_out: Vec<Value>,
    /// What a rollback needs; none if nothing was changed.
    #[serde(default)]
    pub undo: Option<Undo>,
}

/// One deployment's work on its target.
pub struct Work<'a> {
    pub database: &'a Database<'a>,
    /// What tells this deployment from all others.
    pub key: &'a str,
    pub options: &'a Options,
    pub errors: &'a RowErrors<'a>,
}

impl Work<'_> {
    /// Everything up to the commit.
    pub fn apply(&self, shipments: &[(&Planned, Rows)]) -> Result<Vec<Applied>> {
        self.database.query(&settled(self.key), 1)?;
        self.lock(shipments)?;
        let mut applied = Vec::new();
        for (place, (planned, rows)) in shipments.iter().enumerate() {
            let table = Table { work: self, planned, rows, place: place + 1 };
            applied.push(table.write().map_err(|failure| failure.at(&planned.shipment.label))?);
        }
        // Rows that are referenced go after those that reference them.
        for (place, (planned, rows)) in shipments.iter().enumerate().rev() {
            let table = Table { work: self, planned, rows, place: place + 1 };
            if let Some(applied) = applied.get_mut(place) {
                table.delete(applied).map_err(|failure| failure.at(&planned.shipment.label))?;
            }
        }
        // What a deferred constraint or a trigger of a later table did to an earlier one shows only now.
        self.database.execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        for (place, (planned, rows)) in shipments.iter().enumerate() {
            let table = Table { work: self, planned, rows, place: place + 1 };
            if let Some(applied) = applied.get(place) {
                table.verify(applied).map_err(|failure| failure.at(&planned.shipment.label))?;
            }
        }
        for ((planned, rows), applied) in shipments.iter().zip(&mut applied) {
            self.tidy(&planned.shipment, rows, applied)?;
            applied.left_out = self.errors.of_table(&applied.table);
        }
        Ok(applied)
    }

    /// One deployment of a table at a time. All have the same order of tables here, also those from other sources, which
    /// know the tables in an order of their own.
    fn lock(&self, shipments: &[(&Planned, Rows)]) -> Result<()> {
        let mut tables: Vec<&Shipment> = shipments.iter().map(|(planned, _)| &planned.shipment).collect();
        tables.sort_unstable_by_key(|shipment| &shipment.table);
        for shipment in tables {
            self.database.query(&shipment.lock(), 1).map_err(|failure| failure.at(&shipment.label))?;
        }
        Ok(())
    }

    /// Sequences do not roll back: they move when nothing but the commit can fail any more. What is not needed for a
    /// rollback goes.
    fn tidy(&self, shipment: &Shipment, rows: &Rows, applied: &mut Applied) -> Result<()> {
        if applied.inserted > 0 {
            let has_them = if let Rows::Staged(staged) = rows { &staged.stage } else { &shipment.table };
            for advance in shipment.advance_sequences(has_them) {
                self.database.query(&advance, 1)?;
            }
        }
        let Rows::Staged(staged) = rows else { return Ok(()) };
        self.database.execute(&ledger::forget_parts(&staged.stage))?;
        let Some(undo) = &applied.undo else {
            self.database.execute(&format!("DROP TABLE {}", staged.stage))?;
            return Ok(());
        };
        if undo.rows != staged.stage {
            let name = undo.rows.rsplit('.').next().unwrap_or_default();
            self.database.execute(&format!("ALTER TABLE {} RENAME TO {name}", staged.stage))?;
        }
        Ok(())
    }
}

/// Waits until nobody is at work on the deployment: who has this knows how it ended.
pub fn settled(key: &str) -> String {
    ledger::lock(&format!("opdb deployment {key}"))
}

/// One table of it.
struct Table<'a> {
    work: &'a Work<'a>,
    planned: &'a Planned,
    rows: &'a Rows,
    place: usize,
}

impl Table<'_> {
    fn shipment(&self) -> &Shipment {
        &self.planned.shipment
    }

    fn before(&self) -> String {
        ledger::table("before", &short(self.work.key), self.place)
    }

    fn write(&self) -> Result<Applied> {
        match self.rows {
            Rows::Staged(staged) => self.upsert(staged),
            Rows::Loaded(sent) => self.load(sent),
        }
    }

    fn load(&self, sent: &Cell<Digest>) -> Result<Applied> {
        let Database::There(remote) = self.work.database else { return Err(DeployError::NotEmpty.into()) };
        sent.set(load::load(remote, self.shipment())?);
        let total = self.planned.all_of(sent.get())?;
        self.work.database.execute(&self.shipment().create_before(&self.before()))?;
        Ok(Applied { inserted: total.rows, undo: Some(self.undo()), ..self.applied(total) })
    }

    /// What is known of it as long as nothing was written.
    fn applied(&self, total: Digest) -> Applied {
        Applied {
            table: self.shipment().label.clone(),
            rows: total.rows,
            inserted: 0,
            updated: 0,
            unchanged: 0,
            deleted: 0,
            digest: total.hex(),
            resumed: 0,
            lineage: self.planned.lineage.clone(),
            left_out: Vec::new(),
            undo: None,
        }
    }

    fn upsert(&self, staged: &Staged) -> Result<Applied> {
        let (database, shipment, stage) = (self.work.database, self.shipment(), &staged.stage);
        database.execute(&format!("LOCK TABLE {stage} IN ACCESS EXCLUSIVE MODE"))?;
        let last = stage::verify(database, shipment, staged)?;
        if let Some(unique) = shipment.key_stage(stage) {
            database.execute(&unique)?;
        }
        if let Some(create) = shipment.create_partitions(stage) {
            database.query(&create, 1)?;
        }
        self.resolve_references(stage)?;
        let about = database.number(&shipment.estimate())?;
        self.look_up_by_index(staged.digest.rows, about)?;
        let before = self.before();
        database.execute(&shipment.create_before(&before))?;
        if self.work.options.delete_missing {
            // While the stage still has every row.
            let restriction = self.planned.restriction.there.as_deref();
            database.execute(&shipment.keep_deleted((stage, &before), restriction))?;
        }
        let same = if about == 0 { 0 } else { database.execute(&shipment.drop_unchanged(stage))? };
        self.look_up_by_index(staged.digest.rows - same, about)?;
        let (updated, inserted) = self.rows(stage, (1, last), staged.digest.rows - same)?;
        self.check_change_ratio(updated, inserted)?;
        Ok(Applied {
            inserted,
            updated,
            unchanged: self.planned.restriction.others.rows + same,
            resumed: staged.resumed,
            undo: (updated + inserted > 0).then(|| self.undo()),
            ..self.applied(staged.total)
        })
    }

    /// Rows that reference what the target has not are left out.
    fn resolve_references(&self, stage: &str) -> Result<()> {
        let (database, shipment) = (self.work.database, self.shipment());
        if !shipment.has_references() {
            return Ok(());
        }
        for row in database.query(&shipment.unresolved(stage), 2)? {
            let Ok([Some(row), Some(parent)]) = <[Option<String>; 2]>::try_from(row) else { continue };
            let row: i64 = row.parse().unwrap_or(0);
            let key = database.value(&shipment.staged_key(stage, row))?;
            database.execute(&shipment.delete_staged(stage, (row, row)))?;
            let failure = Failure::new(
                pgrx::PgSqlErrorCode::ERRCODE_FOREIGN_KEY_VIOLATION,
                format!("the row of {parent} that it references is not on the target"),
            );
            self.work.errors.add(&shipment.label, key, &failure)?;
        }
        for resolve in shipment.resolve_references(stage) {
            database.execute(&resolve)?;
        }
        Ok(())
    }

    fn undo(&self) -> Undo {
        self.planned.undo(self.kept_rows(), self.before())
    }

    fn kept_rows(&self) -> String {
        ledger::table("rows", &short(self.work.key), self.place)
    }

    /// Updates and inserts what is in the stage, at most so many rows; one that the target refuses is taken out of it.
    fn rows(&self, stage: &str, all: (i64, i64), most: i64) -> Result<(i64, i64)> {
        let (database, shipment) = (self.work.database, self.shipment());
        if all.1 < all.0 {
            return Ok((0, 0));
        }
        let counts = Cell::new((0, 0));
        let before = self.before();
        let attempt = |first: i64, last: i64| {
            database.attempt(|| {
                let range = ((first, last) != all).then_some((first, last));
                let mut updated = 0;
                if let Some(update) = shipment.update(stage, range) {
                    let kept = database.execute(&shipment.keep_updated((stage, &before), range))?;
                    if kept > 0 {
                        updated = database.execute(&update)?;
                    }
                    // Of a row that somebody made between the two nobody knows what it was: a rollback would delete it.
                    if updated > kept {
                        return Err(DeployError::MadeMeanwhile { rows: updated - kept }.into());
                    }
                }
                let is_over = range.is_none() && updated == most;
                let inserted = if is_over { 0 } else { database.execute(&shipment.insert(stage, range))? };
                let (all_updated, all_inserted) = counts.get();
                counts.set((all_updated + updated, all_inserted + inserted));
                Ok(())
            })
        };
        let write = |first: i64, last: i64| {
            let mut outcome = attempt(first, last);
            for _ in 1..ATTEMPTS {
                match &outcome {
                    Err(failure) if is_made_meanwhile(failure) => outcome = attempt(first, last),
                    _ => break,
                }
            }
            outcome
        };
        let refuse = |row: i64, failure: &Failure| {
            let key = database.value(&shipment.staged_key(stage, row))?;
            database.execute(&shipment.delete_staged(stage, (row, row)))?;
            self.work.errors.add(&shipment.label, key, failure)
        };
        isolating(all, &write, &refuse)?;
        Ok(counts.get())
    }

    fn delete(&self, applied: &mut Applied) -> Result<()> {
        // Where there was nothing nothing is missing on the source.
        if !self.work.options.delete_missing || self.planned.is_loaded {
            return Ok(());
        }
        let (database, shipment, before) = (self.work.database, self.shipment(), self.before());
        // What was left out is not missing on the source, and what was to replace a row may be among it.
        let left_out = self.work.errors.of_table(&shipment.label).len();
        if left_out > 0 {
            return Err(DeployError::DeletesUncertain { left_out }.into());
        }
        self.spare_referenced()?;
        applied.deleted = database.execute(&shipment.delete(&before))?;
        if applied.deleted == 0 {
            return Ok(());
        }
        applied.undo.get_or_insert_with(|| self.undo());
        self.check_change_ratio(applied.updated + applied.deleted, applied.inserted - applied.deleted)
    }

    /// Rows that are to be deleted and that others reference stay, and are listed.
    fn spare_referenced(&self) -> Result<()> {
        let (database, shipment, before) = (self.work.database, self.shipment(), self.before());
        let referenced = guard::referenced(database, &shipment.table, &shipment.is_going(&before))?;
        if referenced.is_empty() {
            return Ok(());
        }
        let spared = shipment.spare(&before, &referenced);
        for key in database.query(&spared, 1)?.into_iter().flatten().flatten() {
            let failure = Failure::new(
                pgrx::PgSqlErrorCode::ERRCODE_FOREIGN_KEY_VIOLATION,
                "rows that are not deleted reference it, so it was not deleted either",
            );
            self.work.errors.add(&shipment.label, key, &failure)?;
        }
        Ok(())
    }

    /// Few rows are looked up one by one, whatever the planner takes a page for that nobody has read lately.
    fn look_up_by_index(&self, rows: i64, present: i64) -> Result<()> {
        let are_few = rows < present / 20;
        let switch = if are_few { "off" } else { "on" };
        self.work.database.query(
            &format!(
                "SELECT pg_catalog.concat(pg_catalog.set_config('enable_hashjoin', '{switch}', true),
                                          pg_catalog.set_config('enable_mergejoin', '{switch}', true))"
            ),
            1,
        )?;
        Ok(())
    }

    /// Counts the target only if anything changed at all, and no farther than it must; by so many rows it has grown.
    fn check_change_ratio(&self, changed: i64, grown: i64) -> Result<()> {
        if changed == 0 {
            return Ok(());
        }
        let limit = self.work.options.max_change_ratio;
        let is_within = |present: i64| changed as f64 <= limit * present as f64;
        // So many are enough, however many more there are.
        let enough = (changed as f64 / limit).ceil() + 1.0 + grown as f64;
        let enough = if enough < 1e15 { enough as i64 } else { i64::MAX };
        if is_within(self.work.database.number(&self.shipment().count(enough))? - grown) {
            return Ok(());
        }
        let present = self.work.database.number(&self.shipment().count(i64::MAX))? - grown;
        if is_within(present) {
            return Ok(());
        }
        Err(DeployError::TooManyChanges { changed, present, limit }.into())
    }

    /// What was written must be there as it was sent.
    fn verify(&self, applied: &Applied) -> Result<()> {
        let (database, shipment) = (self.work.database, self.shipment());
        let staged = match self.rows {
            Rows::Staged(staged) => staged,
            Rows::Loaded(sent) => return load::verify(database, shipment, &self.kept_rows(), sent.get()),
        };
        let stage = &staged.stage;
        let digest = |sql: &str| -> Result<Digest> {
            let [rows, sum, _] = database.row::<3>(sql)?;
            let number = |text: Option<String>| text.unwrap_or_default().parse().unwrap_or(-1);
            Ok(Digest { rows: number(rows), sum: sum.unwrap_or_default().parse().unwrap_or(0) })
        };
        // What was taken out of the stage was the same already, or was refused.
        let is_all = applied.inserted + applied.updated == staged.digest.rows;
        let sent = match is_all && !shipment.has_references() {
            true => staged.digest,
            false => digest(&shipment.written_digest(stage))?,
        };
        let there = digest(&shipment.target_digest(stage))?;
        if sent != there {
            let rows = database.value(&shipment.count_deviating(stage))?;
            return Err(DeployError::ResultDiffers { rows }.into());
        }
        if self.work.options.delete_missing {
            let rows = database.number(&shipment.count_undeleted(&self.before()))?;
            if rows > 0 {
                return Err(DeployError::StillThere { rows }.into());
            }
        }
        if applied.inserted > 0
            && let Some(remember) = shipment.remember_others(stage)
        {
            database.execute(&remember)?;
        }
        if applied.undo.is_none() {
            database.execute(&format!("DROP TABLE {}", self.before()))?;
        }
        Ok(())
    }
}

/// Whether it failed because of a writer who was faster, and not because of the rows.
fn is_made_meanwhile(failure: &Failure) -> bool {
    !failure.is_remote && failure.sqlstate == pgrx::PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE
}

impl Applied {
    /// What of it may be seen by everybody who sees deployments.
    pub fn counts(&self) -> Value {
        json!({
            "table": self.table,
            "rows": self.rows,
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "digest": self.digest,
            "resumed": self.resumed,
            "lineage": self.lineage,
            "left_out": self.left_out,
        })
    }
}

/// Enough of the key for names.
pub fn short(key: &str) -> String {
    key.chars().filter(char::is_ascii_hexdigit).take(12).collect()
}
