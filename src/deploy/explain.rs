//! Everything that a deployment would do on the target, as a person can read it: the statements are those that run.

use super::apply::settled;
use super::checks;
use super::database::Database;
use super::ledger;
use super::options::{Direction, Options};
use super::shipment::{Inbox, Shipment};
use crate::compat::LocalTable;
use crate::pg::error::Result;
use crate::pg::remote::{self, Access};
use crate::pg::spi;

/// One statement.
pub struct Step {
    pub place: &'static str,
    pub action: &'static str,
    pub table: Option<String>,
    pub sql: String,
    pub lock: &'static str,
    pub note: String,
}

/// What stands for the deployment and the numbers of rows, which are not known yet.
const KEY: &str = "00000000-0000-0000-0000-000000000000";

/// Errors: as the checks.
pub fn steps(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Vec<Step>> {
    let shipments = checks::shipments_of(environment, tables, options)?;
    let exists = format!("SELECT {}", ledger::EXISTS);
    let is_new = match options.direction {
        Direction::Push => remote::with(environment, Access::Read, |remote| {
            Ok(Database::There(remote).value(&exists)? != "true")
        })?,
        Direction::Pull => Database::Here.value(&exists)? != "true",
    };
    let mut steps = Vec::new();
    if is_new {
        steps.extend(ledger::STATEMENTS.iter().map(|(sql, what)| Step {
            place: "target",
            action: "prepare",
            table: None,
            sql: (*sql).to_owned(),
            lock: "",
            note: format!("once: {what}"),
        }));
    }
    for (place, shipment) in shipments.iter().enumerate() {
        steps.extend(Explained { shipment, place: place + 1, options }.stage()?);
    }
    steps.push(step(
        "apply",
        None,
        settled(KEY),
        "advisory",
        "begins the one transaction that changes the target",
    ));
    for (place, shipment) in shipments.iter().enumerate() {
        steps.extend(Explained { shipment, place: place + 1, options }.apply());
    }
    for (place, shipment) in shipments.iter().enumerate().rev().filter(|_| options.delete_missing) {
        steps.extend(Explained { shipment, place: place + 1, options }.delete());
    }
    steps.push(step("verify", None, "SET CONSTRAINTS ALL IMMEDIATE".into(), "", "deferred constraints"));
    for (place, shipment) in shipments.iter().enumerate() {
        steps.extend(Explained { shipment, place: place + 1, options }.verify());
    }
    let insert =
        "INSERT INTO opdb_deploy.ledger (deployment, kind, source, source_id, tables, counts) VALUES (…)";
    steps.push(step("record", None, insert.into(), "ROW EXCLUSIVE", "what settles a doubt"));
    steps.push(step("commit", None, "COMMIT".into(), "", ""));
    Ok(steps)
}

fn step(
    action: &'static str,
    shipment: Option<&Shipment>,
    sql: String,
    lock: &'static str,
    note: impl Into<String>,
) -> Step {
    let table = shipment.map(|shipment| shipment.label.clone());
    Step { place: "target", action, table, sql, lock, note: note.into() }
}

/// One table of it.
struct Explained<'a> {
    shipment: &'a Shipment,
    place: usize,
    options: &'a Options,
}

impl Explained<'_> {
    fn table(&self, kind: &str) -> String {
        ledger::table(kind, "…", self.place)
    }

    fn stage(&self) -> Result<Vec<Step>> {
        let (shipment, stage) = (self.shipment, self.table("stage"));
        let (rows, filled) = match self.options.direction {
            Direction::Push => self.pushed(&stage)?,
            Direction::Pull => self.pulled(&stage),
        };
        let read = step("read", Some(shipment), shipment.read_rows(None), "ACCESS SHARE", rows);
        let create = shipment.create_stage(&stage);
        let note = "unless an interrupted deployment left it";
        Ok(vec![
            Step { place: "source", ..read },
            step("stage", Some(shipment), create, "ACCESS SHARE", note),
            filled,
        ])
    }

    /// How many rows are read, and how they are sent.
    fn pushed(&self, stage: &str) -> Result<(String, Step)> {
        let shipment = self.shipment;
        let count = format!(
            "SELECT pg_catalog.count(*) FROM {} WHERE {}",
            shipment.table,
            shipment.condition.as_deref().unwrap_or("true")
        );
        let rows = spi::read_value::<i64>(&count, &[])?.unwrap_or(0);
        let inbox = shipment.inbox(stage);
        let sql = match &inbox {
            None => shipment.copy_into(stage),
            Some(Inbox { table, create, store, .. }) => {
                format!("{create};\n{};\n{store}", shipment.copy_into(table))
            }
        };
        let note = format!("{} rows at a time, committed every 200,000", self.options.batch_size);
        Ok((
            format!("{rows} rows, but for groups that are the same there"),
            step("stage", Some(shipment), sql, "", note),
        ))
    }

    fn pulled(&self, stage: &str) -> (String, Step) {
        let sql = self.shipment.take_into_stage(stage, (1, i64::MAX));
        let note =
            "spool stands for the rows that were read; in the transaction of the call, as all that follows";
        ("in one snapshot of the source".to_owned(), step("stage", Some(self.shipment), sql, "", note))
    }

    fn apply(&self) -> Vec<Step> {
        let (shipment, stage, before) = (self.shipment, self.table("stage"), self.table("before"));
        let all = None;
        let some = Some(shipment);
        let mut steps = vec![
            step(
                "lock",
                some,
                shipment.lock(),
                "advisory",
                "one deployment of a table at a time; waits 10 s at most",
            ),
            step(
                "verify",
                some,
                shipment.stage_digest(&stage),
                "",
                "must be the count and the digest of what was checked and sent",
            ),
        ];
        steps.extend(shipment.key_stage(&stage).map(|sql| step("verify", some, sql, "", "each key once")));
        steps.extend(
            shipment
                .create_partitions(&stage)
                .map(|sql| step("partitions", some, sql, "", "those that are missing")),
        );
        steps.push(step("keep", some, shipment.create_before(&before), "ACCESS SHARE", "for a rollback"));
        if self.options.delete_missing {
            let keep = shipment.keep_deleted((&stage, &before), None);
            steps.push(step("keep", some, keep, "ROW SHARE", "rows that only the target has"));
        }
        steps.push(step(
            "skip",
            some,
            shipment.drop_unchanged(&stage),
            "ACCESS SHARE",
            "rows that are the same",
        ));
        if let Some(update) = shipment.update(&stage, all) {
            steps.push(step(
                "keep",
                some,
                shipment.keep_updated((&stage, &before), all),
                "ROW SHARE",
                "for a rollback",
            ));
            steps.push(step(
                "update",
                some,
                update,
                "ROW EXCLUSIVE",
                format!("at most {} of the rows there", self.options.max_change_ratio),
            ));
        }
        steps.push(step(
            "insert",
            some,
            shipment.insert(&stage, all),
            "ROW EXCLUSIVE",
            "rows that are refused are found one by one",
        ));
        steps
    }

    fn delete(&self) -> Vec<Step> {
        let delete = self.shipment.delete(&self.table("before"));
        vec![step(
            "delete",
            Some(self.shipment),
            delete,
            "ROW EXCLUSIVE",
            "delete_missing: rows that only the target has",
        )]
    }

    fn verify(&self) -> Vec<Step> {
        let (shipment, stage) = (self.shipment, self.table("stage"));
        let some = Some(shipment);
        let mut steps = vec![step(
            "verify",
            some,
            shipment.target_digest(&stage),
            "ACCESS SHARE",
            "must be the digest of what was written",
        )];
        let sequences = shipment.advance_sequences(&stage);
        steps
            .extend(sequences.into_iter().map(|sql| step("sequence", some, sql, "", "if rows are inserted")));
        steps
    }
}
