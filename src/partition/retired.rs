//! Partitions that retention has detached, and those that it must leave alone.

use std::collections::HashMap;

use opdb_core::partition::Key;
use pgrx::pg_sys;

use super::children::Partition;
use super::error::PartitionError;
use super::parent::Parent;
use super::set::{Archive, RetentionAction};
use crate::pg::error::{Failure, Result};
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{name, own, session, spi};

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

/// Why a relation is on hold, by relation: itself, a partition of it, or a table that it is a partition of. Looked up as
/// things are now, whatever the isolation level.
pub fn holds(parent: &Parent, partitions: &[pg_sys::Oid]) -> Result<HashMap<pg_sys::Oid, String>> {
    let rows = spi::on_latest_snapshot(|| {
        spi::read(
            "SELECT p.oid, h.reason
             FROM pg_catalog.unnest($2) p (oid) CROSS JOIN opdb.partition_hold h
             WHERE h.relation::pg_catalog.oid = p.oid
                OR h.relation IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors($1) a)
                OR h.relation IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(p.oid::pg_catalog.regclass) t)",
            &[parent.table.into(), partitions.to_vec().into()],
            |row| Ok(row.get::<pg_sys::Oid>(1)?.zip(row.get::<String>(2)?)),
        )
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// Errors: 55000 if the partition, a part of it, or the table is on hold.
pub fn check_hold(parent: &Parent, relation: pg_sys::Oid, relation_name: &Qualified) -> Result<()> {
    match holds(parent, &[relation])?.remove(&relation) {
        Some(reason) => Err(PartitionError::OnHold { relation: relation_name.sql(), reason }.into()),
        None => Ok(()),
    }
}

/// Before it is detached: what could not be dropped or archived then stays where it is.
///
/// Errors: 2BP01 with every reason.
pub fn check_finish(parent: &Parent, partition: &Partition, action: Option<&RetentionAction>) -> Result<()> {
    let (done, schema, tablespace) = match action {
        Some(RetentionAction::Drop) => ("dropped", None, None),
        Some(RetentionAction::Archive(Archive::Here { schema, tablespace })) => {
            ("archived", schema.as_deref(), tablespace.as_deref())
        }
        _ => return Ok(()),
    };
    let sql = include_str!("../../sql/partition/finish_obstacles.sql");
    let args = [
        partition.table.into(),
        (done == "dropped").into(),
        schema.into(),
        tablespace.into(),
        parent.owner.into(),
    ];
    let why = session::pinned(|| spi::read_now(sql, &args, |row| spi::known::<String>(&row, 1)))?;
    match why.is_empty() {
        true => Ok(()),
        false => Err(PartitionError::NotToBeFinished { partition: partition.name.sql(), done, why }.into()),
    }
}

/// What must be so still, after locks were waited for: statements name a table, and the name may have gone to another.
#[derive(Debug, Clone)]
pub struct Still {
    parent: Regclass,
    relation: pg_sys::Oid,
    name: Qualified,
    is_partition: bool,
}

impl Still {
    pub fn partition(parent: &Parent, partition: &Partition) -> Self {
        let (relation, name) = (partition.table.0, partition.name.clone());
        Self { parent: parent.table, relation, name, is_partition: true }
    }

    pub fn retired(parent: &Parent, retired: &Retired) -> Self {
        let (relation, name) = (retired.partition, retired.name.clone());
        Self { parent: parent.table, relation, name, is_partition: false }
    }

    /// Errors: 55000 if it is not, or if it is on hold.
    pub fn check(&self) -> Result<()> {
        let found = spi::on_latest_snapshot(|| {
            spi::read_one(
                "SELECT n.nspname = $2 AND c.relname = $3 AND c.relispartition = $4
                        AND $4 = EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = $5)
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
                &[
                    self.relation.into(),
                    self.name.schema.as_str().into(),
                    self.name.name.as_str().into(),
                    self.is_partition.into(),
                    self.parent.into(),
                ],
                |row| row.get::<bool>(1),
            )
        })?;
        if found.flatten() != Some(true) {
            return Err(PartitionError::Changed(self.name.sql()).into());
        }
        check_hold(&Parent::get(self.parent)?, self.relation, &self.name)
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
        spi::read_now(
            "SELECT r.partition, n.nspname::text, c.relname::text, r.lower_bound, r.upper_bound
             FROM opdb.retired_partition r
             JOIN pg_catalog.pg_class c ON c.oid = r.partition AND NOT c.relispartition
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE r.parent = $1 AND r.action <> 'detach' AND r.state NOT IN ('done', 'shipped')
               AND r.name = pg_catalog.format('%I.%I', n.nspname, c.relname)
             ORDER BY r.retired_at, r.partition",
            &[parent.table.into()],
            |row| {
                Ok(Self {
                    partition: spi::known(&row, 1)?,
                    name: Qualified { schema: spi::known(&row, 2)?, name: spi::known(&row, 3)? },
                    lower: spi::known(&row, 4)?,
                    upper: spi::known(&row, 5)?,
                })
            },
        )
    }

    pub fn get(parent: &Parent, partition: pg_sys::Oid) -> Result<Self> {
        let found = Self::unfinished(parent)?.into_iter().find(|retired| retired.partition == partition);
        match found {
            Some(retired) => Ok(retired),
            None => Err(changed(partition)),
        }
    }

    /// Whether it is past the retention that is configured now.
    pub fn is_expired(&self, key: Key, cutoff: Option<i64>) -> bool {
        let bound = format!("FOR VALUES FROM (MINVALUE) TO ('{}')", self.upper);
        let upper = key.range(&bound).map(|range| range.upper);
        upper.ok().zip(cutoff).is_some_and(|(upper, cutoff)| upper <= cutoff)
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

/// Remembers that `partition` is being retired, before it is, or has been. Of one that is to be detached concurrently the
/// detail says which CHECKs it had before: the server adds one then, with its bounds.
pub fn register(parent: &Parent, partition: &Partition, action: &str, state: &str) -> Result<()> {
    own::write(
        "INSERT INTO opdb.retired_partition AS r (partition, parent, name, lower_bound, upper_bound, action, state, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE $7 WHEN 'detaching' THEN pg_catalog.concat(
             (SELECT pg_catalog.array_agg(k.oid) FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1 AND k.contype = 'c')) END)
         ON CONFLICT (partition) DO UPDATE SET parent = excluded.parent, name = excluded.name,
             lower_bound = excluded.lower_bound, upper_bound = excluded.upper_bound, action = excluded.action,
             state = excluded.state, detail = excluded.detail,
             retired_at = CASE WHEN r.state = 'shipped' AND excluded.state = 'shipped' THEN r.retired_at
                               ELSE excluded.retired_at END",
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

/// What was begun and is not to be ended any more stays where it is: the table is not managed now, or otherwise.
pub fn leave_alone(parent: Regclass, unless: Option<&str>) -> Result<()> {
    own::write(
        "UPDATE opdb.retired_partition SET state = 'done', detail = 'left alone: it is to be retired otherwise now, or not at all'
         WHERE parent = $1 AND state <> 'done' AND action IS DISTINCT FROM $2",
        &[parent.into(), unless.into()],
    )
    .map(drop)
}

/// Forgets partitions that were to be detached and are not: whoever detaches one now may want to keep it. And those
/// that are gone.
pub fn tidy(parent: &Parent) -> Result<()> {
    // What a job has detached meanwhile is written down as what runs themselves detach. What somebody has detached who
    // was faster has no new CHECK, and stays.
    own::write(
        "WITH detached AS (
             UPDATE opdb.retired_partition r
             SET state = CASE r.action WHEN 'detach' THEN 'done' ELSE 'detached' END, detail = NULL
             FROM pg_catalog.pg_class c
             WHERE r.parent = $1 AND r.state = 'detaching' AND c.oid = r.partition AND NOT c.relispartition
               AND EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'
                           AND k.oid <> ALL (coalesce(nullif(r.detail, ''), '{}')::pg_catalog.oid[]))
             RETURNING r.*)
         INSERT INTO opdb.partition_run (parent, action, partition, lower_bound, upper_bound, status, detail, started_at, duration_ms)
         SELECT parent, 'detach', name, lower_bound, upper_bound, 'done', 'concurrently', retired_at,
                1000 * extract(epoch FROM pg_catalog.clock_timestamp() - retired_at)
         FROM detached",
        &[parent.table.into()],
    )?;
    own::write(
        "DELETE FROM opdb.retired_partition r
         WHERE r.parent = $1 AND r.state <> 'done'
           AND (r.state = 'detaching' OR NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                           WHERE c.oid = r.partition AND c.relispartition = (r.state = 'shipped')))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.partition AND i.inhdetachpending)",
        &[parent.table.into()],
    )
    .map(drop)
}
