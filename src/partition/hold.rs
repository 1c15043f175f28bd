//! Holds.

use super::error::PartitionError;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{name, own, spi};

pub fn place(relation: Regclass, reason: &str) -> Result<()> {
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
