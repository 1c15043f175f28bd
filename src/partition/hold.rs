//! Holds.

use super::error::PartitionError;
use super::run;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{name, own, spi};

/// A run that is retiring the partition is waited for: what it has dropped cannot be held, and that is said.
pub fn place(relation: Regclass, reason: &str) -> Result<()> {
    check(relation)?;
    for parent in parents(relation)? {
        run::alone(parent)?;
    }
    check(relation)?;
    let caller = own::caller()?;
    own::write(
        "INSERT INTO opdb.partition_hold (relation, reason, held_by) VALUES ($1, $2, $3)
         ON CONFLICT (relation) DO UPDATE SET reason = excluded.reason, held_by = excluded.held_by",
        &[relation.into(), reason.into(), caller.into()],
    )
    .map(drop)
}

pub fn release(relation: Regclass) -> Result<()> {
    check(relation)?;
    match own::write("DELETE FROM opdb.partition_hold WHERE relation = $1", &[relation.into()])? {
        0 => Err(PartitionError::NotOnHold(name::of(relation)?.sql()).into()),
        _ => Ok(()),
    }
}

/// The managed tables whose partition it is, was, or is a part of.
fn parents(relation: Regclass) -> Result<Vec<Regclass>> {
    let parents = spi::read_now(
        "SELECT p.parent FROM opdb.partition_set p
         WHERE p.parent = $1 OR p.parent IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors($1) a)
            OR p.parent IN (SELECT t.relid FROM pg_catalog.pg_partition_tree($1) t)
            OR p.parent IN (SELECT r.parent FROM opdb.retired_partition r WHERE r.partition = $1)
         ORDER BY p.parent",
        &[relation.into()],
        |row| row.get::<Regclass>(1),
    )?;
    Ok(parents.into_iter().flatten().collect())
}

fn check(relation: Regclass) -> Result<()> {
    let name = name::of(relation)?.sql();
    let found = spi::read_one_now(
        "SELECT c.relkind = 'p' OR c.relispartition OR EXISTS (SELECT FROM opdb.retired_partition r WHERE r.partition = c.oid),
                pg_catalog.pg_has_role(c.relowner, 'USAGE')
         FROM pg_catalog.pg_class c WHERE c.oid = $1",
        &[relation.into()],
        |row| Ok((row.get::<bool>(1)? == Some(true), row.get::<bool>(2)? == Some(true))),
    )?;
    match found {
        Some((true, true)) => Ok(()),
        Some((true, false)) => Err(PartitionError::NotOwner(name).into()),
        _ => Err(PartitionError::NothingToHold(name).into()),
    }
}
