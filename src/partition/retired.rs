//! Partitions that retention has detached, and those that it must leave alone.

use std::collections::HashMap;

use pgrx::pg_sys;

use super::children::Partition;
use super::error::PartitionError;
use super::parent::Parent;
use crate::pg::error::{Failure, Result};
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{name, own, spi};

/// A table that was a partition, and what is still to be done with it.
pub struct Retired {
    pub partition: pg_sys::Oid,
    pub name: Qualified,
    pub lower: String,
    pub upper: String,
}

/// It is not what it was when it was planned, if it is still there.
pub fn changed(relation: pg_sys::Oid) -> Failure {
    let number = || relation.to_u32().to_string();
    PartitionError::Changed(name::of(Regclass(relation)).map_or_else(|_| number(), |name| name.sql())).into()
}

/// Why a relation is on hold, by relation; of the parent and of some partitions.
pub fn holds(parent: &Parent, partitions: &[pg_sys::Oid]) -> Result<HashMap<pg_sys::Oid, String>> {
    let rows = spi::read_now(
        "SELECT relation::oid, reason FROM opdb.partition_hold WHERE relation = $1 OR relation::oid = ANY ($2)",
        &[parent.table.into(), partitions.to_vec().into()],
        |row| Ok(row.get::<pg_sys::Oid>(1)?.zip(row.get::<String>(2)?)),
    )?;
    Ok(rows.into_iter().flatten().collect())
}

/// Errors: 55000 if the partition, or all of the parent's, is on hold.
pub fn check_hold(parent: &Parent, relation: pg_sys::Oid, relation_name: &Qualified) -> Result<()> {
    let holds = holds(parent, &[relation])?;
    match holds.get(&relation).or_else(|| holds.get(&parent.table.0)) {
        Some(reason) => {
            Err(PartitionError::OnHold { relation: relation_name.sql(), reason: reason.clone() }.into())
        }
        None => Ok(()),
    }
}

/// When the rows of a partition that is one still were last copied to where it is to be archived.
pub fn shipped_at(partition: pg_sys::Oid) -> Result<Option<String>> {
    let sql =
        "SELECT retired_at::text FROM opdb.retired_partition WHERE partition = $1 AND state = 'shipped'";
    Ok(spi::read_one_now(sql, &[partition.into()], |row| row.get::<String>(1))?.flatten())
}

impl Retired {
    pub fn of(partition: &Partition) -> Self {
        Self {
            partition: partition.table.0,
            name: partition.name.clone(),
            lower: partition.lower.clone(),
            upper: partition.upper.clone(),
        }
    }

    /// Those that are detached and wait for being dropped or archived. A table that was attached again, or got another
    /// name, is somebody's and none of these.
    pub fn unfinished(parent: &Parent) -> Result<Vec<Self>> {
        let rows = spi::read_now(
            "SELECT r.partition, n.nspname::text, c.relname::text, r.lower_bound, r.upper_bound
             FROM opdb.retired_partition r
             JOIN pg_catalog.pg_class c ON c.oid = r.partition AND NOT c.relispartition
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE r.parent = $1 AND r.action <> 'detach' AND r.state NOT IN ('done', 'shipped')
               AND r.name = pg_catalog.format('%I.%I', n.nspname, c.relname)
             ORDER BY r.retired_at, r.partition",
            &[parent.table.into()],
            |row| {
                let text =
                    |column| Ok::<_, pgrx::spi::SpiError>(row.get::<String>(column)?.unwrap_or_default());
                Ok(row
                    .get::<pg_sys::Oid>(1)?
                    .map(|partition| (partition, text(2), text(3), text(4), text(5))))
            },
        )?;
        let retired = rows.into_iter().flatten().map(|(partition, schema, name, lower, upper)| {
            Ok(Self {
                partition,
                name: Qualified { schema: schema?, name: name? },
                lower: lower?,
                upper: upper?,
            })
        });
        retired.collect()
    }

    pub fn get(parent: &Parent, partition: pg_sys::Oid) -> Result<Self> {
        let found = Self::unfinished(parent)?.into_iter().find(|retired| retired.partition == partition);
        match found {
            Some(retired) => Ok(retired),
            None => Err(changed(partition)),
        }
    }

    /// Nothing is left to do.
    pub fn done(&self, detail: &str) -> Result<()> {
        own::write(
            "UPDATE opdb.retired_partition SET state = 'done', detail = $2 WHERE partition = $1",
            &[self.partition.into(), detail.into()],
        )
        .map(drop)
    }
}

/// Remembers that `partition` is being retired, before it is, or has been.
pub fn register(parent: &Parent, partition: &Partition, action: &str, state: &str) -> Result<()> {
    own::write(
        "INSERT INTO opdb.retired_partition (partition, parent, name, lower_bound, upper_bound, action, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (partition) DO UPDATE SET parent = excluded.parent, name = excluded.name,
             lower_bound = excluded.lower_bound, upper_bound = excluded.upper_bound, action = excluded.action,
             state = excluded.state, detail = NULL, retired_at = excluded.retired_at",
        &[
            partition.table.0.into(),
            parent.table.into(),
            partition.name.sql().into(),
            partition.lower.as_str().into(),
            partition.upper.as_str().into(),
            action.into(),
            state.into(),
        ],
    )
    .map(drop)
}

/// The partitions that retention has begun to retire, with more to come than being detached.
pub fn registered(parent: &Parent) -> Result<Vec<pg_sys::Oid>> {
    let sql = "SELECT partition FROM opdb.retired_partition WHERE parent = $1 AND action <> 'detach' AND state <> 'done'";
    Ok(spi::read_now(sql, &[parent.table.into()], |row| row.get::<pg_sys::Oid>(1))?
        .into_iter()
        .flatten()
        .collect())
}

/// Forgets partitions that were to be detached and are not: whoever detaches one now may want to keep it. And those
/// that are gone.
pub fn tidy(parent: &Parent) -> Result<()> {
    own::write(
        "DELETE FROM opdb.retired_partition r
         WHERE r.parent = $1 AND r.state <> 'done'
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                           WHERE c.oid = r.partition AND c.relispartition = (r.state = 'shipped'))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.partition AND i.inhdetachpending)",
        &[parent.table.into()],
    )
    .map(drop)
}
