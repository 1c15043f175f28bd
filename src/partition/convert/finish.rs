//! What is left when the new table is in its place: foreign keys are proved and become the table's own.

use pgrx::pg_sys;
use serde_json::Value;

use super::state::{Conversion, State};
use crate::partition::parent::Parent;
use crate::partition::recipe::{LOCK_TIMEOUT, Lock, Statement};
use crate::partition::{manage, run};
use crate::pg::error::Result;
use crate::pg::lock::Mode;
use crate::pg::name::{self, identifier};
use crate::pg::types::Regclass;
use crate::pg::{session, spi, subtransaction};

/// Does the next of the things that are left.
pub fn next(conversion: &Conversion) -> Result<()> {
    let parent = Parent::get(conversion.target)?;
    let keys = keys(conversion)?;
    if let Some(statements) = next_statements(&parent, &keys)? {
        let timeout = LOCK_TIMEOUT.as_millis().to_string();
        return session::pinned_with(&[("lock_timeout", &timeout)], || {
            run::as_owner(parent.owner, || statements.iter().try_for_each(Statement::run))
        });
    }
    // The conversion is over, whatever keeps partitions from being made ahead.
    match subtransaction::run(|| manage::create_first(conversion.target, &conversion.wanted()?)) {
        Err(failure) if failure.is_interrupt => return Err(failure),
        Err(failure) => pgrx::warning!("no partitions were made ahead: {}", failure.told()),
        Ok(()) => {}
    }
    conversion.set_state(State::Done)
}

fn keys(conversion: &Conversion) -> Result<Value> {
    let keys = spi::read_one_now(
        "SELECT foreign_keys FROM opdb.partition_conversion WHERE source = $1",
        &[conversion.source.into()],
        |row| row.get::<pgrx::JsonB>(1),
    )?;
    Ok(keys.flatten().map(|it| it.0).unwrap_or_default())
}

fn next_statements(parent: &Parent, keys: &Value) -> Result<Option<Vec<Statement>>> {
    let text = |key: &Value, field: &str| key[field].as_str().unwrap_or_default().to_owned();
    let of = |kind: &str| keys[kind].as_array().cloned().unwrap_or_default();
    let own = of("own");
    let names: Vec<String> = own.iter().map(|key| text(key, "name")).collect();
    if let Some((leaf, constraint)) = unproved(parent.table, &names, true)? {
        return Ok(Some(vec![validate(leaf, &constraint)?]));
    }
    for key in own {
        let constraint = text(&key, "name");
        if !has_constraint(parent.table, &constraint)? {
            let sql = format!(
                "ALTER TABLE {} ADD CONSTRAINT {} {}",
                parent.name.sql(),
                identifier(&constraint),
                text(&key, "definition")
            );
            let mut statements = locks(parent, &constraint)?;
            statements.push(Statement::Sql(sql));
            return Ok(Some(statements));
        }
    }
    for key in of("other") {
        let table = key["table"].as_u64().and_then(|oid| u32::try_from(oid).ok()).unwrap_or_default();
        let found = unproved(Regclass(pg_sys::Oid::from(table)), &[text(&key, "name")], false)?;
        if let Some((table, constraint)) = found {
            return Ok(Some(vec![validate(table, &constraint)?]));
        }
    }
    Ok(None)
}

fn validate(table: Regclass, constraint: &str) -> Result<Statement> {
    let table = name::of(table)?.sql();
    Ok(Statement::Sql(format!("ALTER TABLE {table} VALIDATE CONSTRAINT {}", identifier(constraint))))
}

/// A foreign key that is not proved, of the partitions of a table or of the table itself.
fn unproved(table: Regclass, names: &[String], of_partitions: bool) -> Result<Option<(Regclass, String)>> {
    let found = spi::read_one_now(
        "SELECT k.conrelid::pg_catalog.regclass, k.conname::text FROM pg_catalog.pg_constraint k
         WHERE k.contype = 'f' AND NOT k.convalidated AND k.conname = ANY ($2)
           AND CASE WHEN $3 THEN EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = $1 AND h.inhrelid = k.conrelid)
                    ELSE k.conrelid = $1 END
         ORDER BY k.conrelid DESC, k.conname DESC LIMIT 1",
        &[table.into(), names.to_vec().into(), of_partitions.into()],
        |row| Ok(row.get::<Regclass>(1)?.zip(row.get::<String>(2)?)),
    )?;
    Ok(found.flatten())
}

fn has_constraint(table: Regclass, constraint: &str) -> Result<bool> {
    let found = spi::read_one_now(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND conname = $2 AND contype = 'f')",
        &[table.into(), constraint.into()],
        |row| row.get::<bool>(1),
    )?;
    Ok(found.flatten() == Some(true))
}

/// The table that a partition's foreign key refers to, and the partitioned table.
fn locks(parent: &Parent, constraint: &str) -> Result<Vec<Statement>> {
    let referenced = spi::read_now(
        "SELECT DISTINCT k.confrelid::pg_catalog.regclass FROM pg_catalog.pg_constraint k
         JOIN pg_catalog.pg_inherits h ON h.inhrelid = k.conrelid AND h.inhparent = $1
         WHERE k.contype = 'f' AND k.conname = $2 AND k.conparentid = 0",
        &[parent.table.into(), constraint.into()],
        |row| row.get::<Regclass>(1),
    )?;
    let lock = |relation| {
        name::of(relation).map(|name| Statement::Lock(Lock { relation, name, mode: Mode::ShareRow }))
    };
    std::iter::once(parent.table).chain(referenced.into_iter().flatten()).map(lock).collect()
}
