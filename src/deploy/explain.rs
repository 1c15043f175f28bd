//! Everything that a deployment would do on the target, as a person can read it: the statements are those that run.

use super::apply::settled;
use super::checks;
use super::database::Database;
use super::ledger;
use super::load;
use super::options::{Direction, Options};
use super::run::stage_here;
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
    let rows = shipments.iter().map(|shipment| rows(shipment, options)).collect::<Result<Vec<_>>>()?;
    let (is_new, loads) = match options.direction {
        Direction::Push => remote::with(environment, Access::Read, |remote| {
            let is_new = Database::There(remote).value(&exists)? != "true";
            let loads = shipments.iter().zip(&rows).map(|(shipment, rows)| {
                load::is_possible(remote, shipment, *rows, &stage_here(environment, shipment)?)
            });
            Ok((is_new, loads.collect::<Result<Vec<_>>>()?))
        })?,
        Direction::Pull => (Database::Here.value(&exists)? != "true", vec![false; rows.len()]),
    };
    let explained: Vec<Explained> = shipments
        .iter()
        .zip(rows)
        .zip(loads)
        .enumerate()
        .map(|(place, ((shipment, rows), is_loaded))| Explained {
            shipment,
            place: place + 1,
            options,
            rows,
            is_loaded,
        })
        .collect();
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
    for table in &explained {
        steps.extend(if table.is_loaded { vec![table.read()] } else { table.stage() });
    }
    steps.push(step(
        "apply",
        None,
        settled(KEY),
        "advisory",
        "begins the one transaction that changes the target",
    ));
    for table in &explained {
        steps.extend(if table.is_loaded { table.load() } else { table.apply() });
    }
    for table in explained.iter().rev().filter(|table| options.delete_missing && !table.is_loaded) {
        steps.push(table.delete());
    }
    steps.push(step("verify", None, "SET CONSTRAINTS ALL IMMEDIATE".into(), "", "deferred constraints"));
    for table in &explained {
        steps.extend(if table.is_loaded { table.verify_load() } else { table.verify() });
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

/// How many rows are read here.
fn rows(shipment: &Shipment, options: &Options) -> Result<i64> {
    if options.direction == Direction::Pull {
        return Ok(0);
    }
    let condition = shipment.condition.as_deref().unwrap_or("true");
    let sql = format!("SELECT pg_catalog.count(*) FROM {} WHERE {condition}", shipment.table);
    Ok(spi::read_value::<i64>(&sql, &[])?.unwrap_or(0))
}

/// One table of it.
struct Explained<'a> {
    shipment: &'a Shipment,
    place: usize,
    options: &'a Options,
    rows: i64,
    is_loaded: bool,
}

impl Explained<'_> {
    fn table(&self, kind: &str) -> String {
        ledger::table(kind, "…", self.place)
    }

    fn read(&self) -> Step {
        let note = match (self.options.direction, self.is_loaded) {
            (Direction::Pull, _) => "in one snapshot of the source".to_owned(),
            (Direction::Push, true) => format!("{} rows, sent while they are read", self.rows),
            (Direction::Push, false) => format!("{} rows, but for groups that are the same there", self.rows),
        };
        let sql = self.shipment.read_rows(None);
        Step { place: "source", ..step("read", Some(self.shipment), sql, "ACCESS SHARE", note) }
    }

    fn stage(&self) -> Vec<Step> {
        let (shipment, stage) = (self.shipment, self.table("stage"));
        let create = shipment.create_stage(&stage);
        let note = "unless an interrupted deployment left it";
        vec![
            self.read(),
            step("stage", Some(shipment), create, "ACCESS SHARE", note),
            match self.options.direction {
                Direction::Push => self.pushed(&stage),
                Direction::Pull => self.pulled(&stage),
            },
        ]
    }

    /// How the rows are sent.
    fn pushed(&self, stage: &str) -> Step {
        let shipment = self.shipment;
        let sql = match shipment.inbox(stage) {
            None => shipment.copy_into(stage),
            Some(Inbox { table, create, store, .. }) => {
                format!("{create};\n{};\n{store}", shipment.copy_into(&table))
            }
        };
        let note = format!("{} rows at a time, committed every 200,000", self.options.batch_size);
        step("stage", Some(shipment), sql, "", note)
    }

    fn pulled(&self, stage: &str) -> Step {
        let sql = self.shipment.take_into_stage(stage, (1, i64::MAX));
        let note =
            "spool stands for the rows that were read; in the transaction of the call, as all that follows";
        step("stage", Some(self.shipment), sql, "", note)
    }

    fn lock(&self) -> Step {
        let note = "one deployment of a table at a time; waits 10 s at most";
        step("lock", Some(self.shipment), self.shipment.lock(), "advisory", note)
    }

    fn load(&self) -> Vec<Step> {
        let (shipment, some) = (self.shipment, Some(self.shipment));
        let verify = "must be false still";
        let note =
            "the table is empty; if it refuses a row, all go by a stage, and what is refused is found there";
        let keep = shipment.create_before(&self.table("before"));
        vec![
            self.lock(),
            step("verify", some, shipment.has_rows(), "ACCESS SHARE", verify),
            step("load", some, shipment.copy_all(), "ROW EXCLUSIVE", note),
            step("keep", some, keep, "ACCESS SHARE", "for a rollback"),
        ]
    }

    fn verify_load(&self) -> Vec<Step> {
        let (shipment, rows, some) = (self.shipment, self.table("rows"), Some(self.shipment));
        let (keep, digest) = (shipment.keep_loaded(&rows, "…"), shipment.loaded_digest(&rows));
        let note = "for a rollback: what this transaction wrote";
        let mut steps = vec![
            step("keep", some, keep, "ACCESS SHARE", note),
            step("verify", some, digest, "ACCESS SHARE", "must be the digest of what was sent"),
        ];
        steps.extend(self.sequences(&shipment.table));
        steps
    }

    fn sequences(&self, rows: &str) -> Vec<Step> {
        let all = self.shipment.advance_sequences(rows).into_iter();
        all.map(|sql| step("sequence", Some(self.shipment), sql, "", "if rows are inserted")).collect()
    }

    fn apply(&self) -> Vec<Step> {
        let (shipment, stage, before) = (self.shipment, self.table("stage"), self.table("before"));
        let all = None;
        let some = Some(shipment);
        let mut steps = vec![
            self.lock(),
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

    fn delete(&self) -> Step {
        let delete = self.shipment.delete(&self.table("before"));
        let note = "delete_missing: rows that only the target has";
        step("delete", Some(self.shipment), delete, "ROW EXCLUSIVE", note)
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
        steps.extend(self.sequences(&stage));
        steps
    }
}
