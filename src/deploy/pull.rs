//! Bringing rows of an environment here: called where they go to, so that nothing needs rights on that side.
//!
//! Everything that is written is one transaction, the caller's: either its commit keeps all of it or nothing.

use std::cell::Cell;
use std::time::Instant;

use serde_json::{Value, json};

use super::apply::{Applied, Work};
use super::checks::{
    self, Check, Checked, arrange, error_rate, failed, is_unreachable, not_looked_at, passed, unless,
    valid_schema,
};
use super::database::Database;
use super::error::DeployError;
use super::history::{SERVER, totals};
use super::ledger;
use super::options::Options;
use super::plan::{Planned, Restriction};
use super::recorder;
use super::run::{Run, merged, stage_name};
use super::scope::Scope;
use super::shipment::{Shipment, ordered};
use super::stage::{self, Rows};
use super::target_checks::{other_database, target_kind, target_writable};
use super::transformation::Transformations;
use crate::compat::{Compared, LocalTable};
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::remote::{self, Access, Remote};
use crate::pg::spool::Spool;
use crate::pg::{session, spi, subtransaction};
use crate::quality;
use crate::{environment, settings};

/// What was found out in the one transaction of the source that its rows are read in.
struct Looked {
    checked: Checked,
    /// The rows of each table, if they were wanted and nothing stands in the way.
    rows: Vec<Spool>,
    source: String,
    horizon: String,
}

/// The checks of rows that would come here.
pub fn check(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Vec<Check>> {
    Ok(look(environment, tables, options, false)?.checked.checks)
}

/// Pulls, and returns the id in the history. `search_path` is the caller's, for triggers of the tables.
///
/// Errors: 25004 if the transaction keeps its snapshot: it could not see what is written meanwhile.
pub fn pull(environment: &str, tables: &[LocalTable], options: &Options, search_path: &str) -> Result<i64> {
    session::check_writable()?;
    if session::keeps_its_snapshot() {
        return Err(DeployError::KeepsSnapshot.into());
    }
    let run = Run::begin(environment, tables, options)?;
    run.lock();
    let looked = match subtransaction::run(|| look(environment, tables, options, true)) {
        Ok(looked) => looked,
        Err(failure) => return Err(run.refuse_call(failure)),
    };
    if let Some(reasons) = looked.checked.failures() {
        return run.refuse(reasons, looked.checked);
    }
    let written = subtransaction::run(|| {
        let applied = apply(&run, &looked, search_path)?;
        // In the same transaction as the rows.
        let entry = merged(totals(&applied), json!({"state": "applied"}));
        recorder::write(run.deployment.id, &merged(entry, run.counted_errors()))
    });
    match written {
        Ok(()) => {
            run.complain();
            Ok(run.deployment.id)
        }
        Err(failure) => run.fail(failure),
    }
}

fn look(environment: &str, tables: &[LocalTable], options: &Options, reads: bool) -> Result<Looked> {
    tables.iter().try_for_each(LocalTable::hold)?;
    let transformations = Transformations::read(tables)?;
    let begun = Instant::now();
    let valid = valid_schema(tables)?;
    let validation_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let here = vec![
        receiver()?,
        passed("source_encoding", "text comes in the encoding of this database"),
        own_target()?,
        error_rate(environment)?,
        target_writable(&Database::Here)?,
        valid,
        scored_later(),
    ];
    let (is_reached, here) = (Cell::new(false), Cell::new(here));
    let looked = remote::with(environment, Access::Snapshot, |remote| {
        let compared = Compared::new(remote, tables)?.turned();
        is_reached.set(true);
        let there = Database::There(remote);
        let ask = |sql: &str| there.row::<1>(sql).map(|[value]| value);
        let scope = Scope::new(environment, tables, options, &transformations, &ask)?;
        let shipments = checks::shipments(tables, &compared, options, &scope, &transformations)?;
        let mut checks = here.take();
        checks.extend(of_source(remote, environment, &shipments)?);
        checks.extend(super::table_checks::run(
            (&there, &Database::Here),
            environment,
            tables,
            &shipments,
            &compared,
            true,
            options,
        )?);
        arrange(&mut checks, options)?;
        let source = there.value(SERVER)?;
        let planned = planned(tables, ordered(shipments, &compared)?, environment, &scope)?;
        let checked = Checked { known: scope.known, ..checked(checks, planned, validation_ms) };
        let rows = match reads && checked.failures().is_none() {
            true => checked
                .planned
                .iter()
                .map(|planned| stage::fetch(remote, planned, options))
                .collect::<Result<Vec<_>>>()?,
            false => Vec::new(),
        };
        let horizon =
            there.value("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text")?;
        Ok(Looked { checked, rows, source, horizon })
    });
    match looked {
        Err(failure) if is_unreachable(&failure, is_reached.get()) => {
            let mut checks = here.take();
            checks.push(failed("target_reachable", failure.told()));
            not_looked_at(&mut checks, "the source");
            arrange(&mut checks, options)?;
            let checked =
                Checked { unreachable: Some(failure), ..checked(checks, Vec::new(), validation_ms) };
            Ok(Looked { checked, rows: Vec::new(), source: String::new(), horizon: String::new() })
        }
        looked => looked,
    }
}

fn checked(checks: Vec<Check>, planned: Vec<Planned>, validation_ms: f64) -> Checked {
    Checked {
        checks,
        planned,
        quality_score: None,
        quality_runs: Vec::new(),
        validation_ms,
        known: None,
        unreachable: None,
    }
}

/// It must be known what this database is; it may be production.
fn receiver() -> Result<Check> {
    const NAME: &str = "source_environment";
    Ok(match environment::own()? {
        None => failed(NAME, "this database has not been declared: SELECT opdb.set_environment(name, kind)"),
        Some((name, kind)) => passed(NAME, format!("rows are pulled into \"{name}\" ({kind})")),
    })
}

/// A session that said what it writes to does not write to something else: here that is this database.
fn own_target() -> Result<Check> {
    const NAME: &str = "session_target";
    let own = environment::own()?.map(|(name, _)| name).unwrap_or_default();
    Ok(match settings::target() {
        Some(target) if target != own => {
            failed(NAME, format!("the setting opdb.target of this session names \"{target}\""))
        }
        Some(_) => passed(NAME, "the setting opdb.target names this database"),
        None => passed(NAME, "the call is made here"),
    })
}

/// What is not here cannot be scored yet; it is before it is committed, whatever the settings require.
fn scored_later() -> Check {
    passed(
        "quality",
        "scored when the rows are here: too low a score takes them back before they are committed",
    )
}

fn of_source(remote: &Remote, environment: &str, shipments: &[Shipment]) -> Result<Vec<Check>> {
    let reached = format!("connected to the {} address of the source", remote.address().as_str());
    Ok(vec![
        passed("target_reachable", reached),
        other_database(remote)?,
        target_kind(remote, environment)?,
        hidden(remote, shipments)?,
        tried(shipments),
    ])
}

/// A part of a table is not the table.
fn hidden(remote: &Remote, shipments: &[Shipment]) -> Result<Check> {
    let wrong = remote.query(
        &format!(
            "SELECT 'row security there may hide rows of ' || t.relname FROM {} WHERE pg_catalog.row_security_active(t.oid)",
            super::table_checks::tables_of(shipments)
        ),
        1,
    )?;
    let wrong: Vec<String> = wrong.into_iter().flatten().flatten().collect();
    Ok(unless("row_security", &wrong, "no row is hidden from the role there"))
}

/// They are evaluated there, while the rows are read: what fails for one ends the call.
fn tried(shipments: &[Shipment]) -> Check {
    let count: usize = shipments.iter().map(|shipment| shipment.transformed().count()).sum();
    passed(
        "transformations",
        match count {
            0 => "there are none".to_owned(),
            _ => format!("{count} are evaluated there while the rows are read"),
        },
    )
}

fn planned(
    tables: &[LocalTable],
    shipments: Vec<Shipment>,
    environment: &str,
    scope: &Scope,
) -> Result<Vec<Planned>> {
    let of_table = |(table, shipment): (&LocalTable, Shipment)| {
        let transformations = shipment.transformations();
        let source = format!("{environment}.{}", shipment.label);
        Ok(Planned {
            relation: table.relation,
            stage: stage_name("pull", environment, &shipment.signature())?,
            scored_rows: 0,
            scored_digest: None,
            lineage: merged(
                scope.ground(&shipment.name),
                json!({"sources": {source: null}, "transformations": transformations}),
            ),
            restriction: Restriction::default(),
            is_loaded: false,
            shipment,
        })
    };
    let table_of = |shipment: &Shipment| tables.iter().find(|table| table.name == shipment.name);
    shipments
        .into_iter()
        .filter_map(|shipment| Some((table_of(&shipment)?, shipment)))
        .map(of_table)
        .collect()
}

/// Stages, applies and scores, in this transaction.
fn apply(run: &Run, looked: &Looked, search_path: &str) -> Result<Vec<Applied>> {
    let target = spi::read_value::<String>(SERVER, &[])?;
    run.deployment.record(&json!({
        "state": "staging",
        "source_server": looked.source,
        "target_server": target,
        "horizon": looked.horizon,
        "validation_ms": looked.checked.validation_ms,
    }))?;
    let here = Database::Here;
    ledger::create(&here)?;
    run.check_known(&here, &looked.checked)?;
    let staged = looked
        .checked
        .planned
        .iter()
        .zip(&looked.rows)
        .map(|(planned, rows)| {
            let staged = stage::put(planned, rows, &run.errors);
            let staged = staged.map_err(|failure| failure.at(&planned.shipment.label))?;
            Ok((planned, Rows::Staged(staged)))
        })
        .collect::<Result<Vec<_>>>()?;
    run.deployment.record(&json!({"state": "applying"}))?;
    // Triggers were written for the caller's search_path.
    let mut applied = session::pinned_with(&[("search_path", search_path), ("lock_timeout", "10s")], || {
        let work =
            Work { database: &here, key: &run.deployment.key, options: run.options, errors: &run.errors };
        work.apply(&staged)
    })?;
    for ((planned, _), applied) in staged.iter().zip(&mut applied) {
        score(planned, applied)?;
    }
    here.execute(&run.ledger_row(&applied, &looked.source))?;
    Ok(applied)
}

/// Errors: 22000 if the rows that were written are not good enough.
fn score(planned: &Planned, applied: &mut Applied) -> Result<()> {
    let Some(undo) = applied.undo.as_ref().filter(|_| applied.inserted + applied.updated > 0) else {
        return Ok(());
    };
    // Rules are evaluated as the owner of the table.
    let owner = spi::read_value::<String>(
        "SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c
         WHERE c.oid = $1 AND pg_catalog.pg_get_userbyid(c.relowner) <> current_user",
        &[planned.relation.into()],
    )?;
    if let Some(owner) = owner.map(identifier) {
        Database::Here.execute(&format!("GRANT USAGE ON SCHEMA {} TO {owner}", ledger::SCHEMA))?;
        Database::Here.execute(&format!("GRANT SELECT ON {} TO {owner}", undo.rows))?;
    }
    let run = quality::scored_now(planned.relation, &planned.shipment.is_staged(&undo.rows))?;
    if !run.passed {
        let table = planned.shipment.label.clone();
        return Err(DeployError::NotGood { table, run: run.run_id, reason: run.reason }.into());
    }
    if let Some(lineage) = applied.lineage.as_object_mut() {
        let score = run.score.total.as_ref().map(|score| opdb_core::quality::to_decimal(score, 6));
        lineage.insert("quality_run".into(), run.run_id.into());
        lineage.insert("quality_score".into(), score.map_or(Value::Null, Value::from));
    }
    Ok(())
}
