//! Dropping what is advised to be dropped, and remembering it.

use pgrx::datum::Interval;
use pgrx::pg_sys;

use super::definition::{self, nameless};
use super::finding::{self, Finding};
use super::statistics::Statistics;
use super::{catalogued, is_lock_timeout, removal};
use crate::maintain::error::MaintainError;
use crate::pg::error::{Failure, Result};
use crate::pg::name::{self, Qualified};
use crate::pg::types::Regclass;
use crate::pg::{lock, own, session, spi, subtransaction, time};

/// Whoever waits for an exclusive lock keeps everybody else waiting behind.
const DROP_TIMEOUT_MS: i32 = 2000;

/// An index that somebody wants dropped, with its table.
struct Subject {
    name: Qualified,
    table: Regclass,
    table_name: Qualified,
}

/// Drops an index that is advised to be dropped, and returns the number of its row in the ledger.
pub fn drop_advised(index: Regclass, reason: Option<&str>, min_age: Interval) -> Result<i64> {
    session::check_writable()?;
    let subject = Subject::find(index)?;
    let caller = own::caller()?.unwrap_or_default();
    let deadline = time::now() + i64::from(drop_timeout()?) * 1000;
    session::pinned(|| {
        subject.lock_all(deadline)?;
        let advice = spi::on_latest_snapshot(|| subject.advice(index, min_age))?;
        let statement = format!("DROP INDEX {}", subject.name.sql());
        subject.before(deadline, || spi::write(&statement, &[]).map(drop))?;
        record(&subject, &advice, reason, &caller)
    })
}

/// The caller's own lock_timeout, if that is shorter.
fn drop_timeout() -> Result<i32> {
    let own = spi::read_value::<i32>(
        "SELECT setting::pg_catalog.int4 FROM pg_catalog.pg_settings WHERE name = 'lock_timeout'",
        &[],
    )?;
    Ok(own.filter(|own| *own > 0).map_or(DROP_TIMEOUT_MS, |own| own.min(DROP_TIMEOUT_MS)))
}

/// What the ledger keeps of an index.
struct Dropped {
    definition: String,
    undo: Vec<String>,
    reason: String,
    bytes: Option<i64>,
}

fn record(subject: &Subject, dropped: &Dropped, reason: Option<&str>, caller: &str) -> Result<i64> {
    let ledger_id = own::write_value::<i64>(
        "INSERT INTO opdb.dropped_index (index_name, table_name, definition, undo, reason, bytes, dropped_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ledger_id",
        &[
            subject.name.sql().into(),
            subject.table_name.sql().into(),
            dropped.definition.as_str().into(),
            dropped.undo.clone().into(),
            reason.unwrap_or(&dropped.reason).into(),
            dropped.bytes.into(),
            caller.into(),
        ],
    )?;
    Ok(ledger_id.unwrap_or_default())
}

impl Subject {
    /// Errors: 42809 for what is no index of a user's table or a part of another, 42501 unless the caller owns the
    /// table.
    fn find(index: Regclass) -> Result<Self> {
        let name = name::of(index)?;
        let (table, what, root, is_owner) = spi::read_one(
            "SELECT x.indrelid,
                    CASE WHEN t.relpersistence = 't' THEN 'of a temporary table'
                         WHEN n.nspname ~ '^pg_' OR n.nspname = 'information_schema' THEN 'the system''s'
                         WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d
                                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                        AND d.objid IN (i.oid, t.oid) AND d.deptype = 'e')
                             THEN 'an extension''s' END,
                    CASE WHEN i.relispartition THEN pg_catalog.pg_partition_root(i.oid)::pg_catalog.oid END,
                    pg_catalog.pg_has_role(t.relowner, 'USAGE')
             FROM pg_catalog.pg_index x
             JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
             JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
             WHERE x.indexrelid = $1",
            &[index.into()],
            |row| {
                let table = row.get::<pg_sys::Oid>(1)?;
                Ok((table, row.get::<String>(2)?, row.get::<pg_sys::Oid>(3)?, row.get::<bool>(4)?))
            },
        )?
        .ok_or_else(|| MaintainError::NotAnIndex(name.sql()))?;
        let table = Regclass(table.unwrap_or(pg_sys::InvalidOid));
        let table_name = name::of(table)?;
        if let Some(what) = what {
            return Err(MaintainError::NotAUsersIndex(name.sql(), what).into());
        }
        if let Some(root) = root {
            let root = name::of(Regclass(root))?.sql();
            return Err(MaintainError::PartOf { index: name.sql(), root }.into());
        }
        match is_owner {
            Some(true) => Ok(Self { name, table, table_name }),
            _ => Err(MaintainError::NotOwner(table_name.sql()).into()),
        }
    }

    /// Keeps everybody from the table and its partitions, all of them locked before `deadline`, the whole first, as
    /// DROP INDEX does.
    fn lock_all(&self, deadline: i64) -> Result<()> {
        let tree = spi::read(
            "WITH RECURSIVE part AS (
                 SELECT $1 AS oid, 0 AS depth
                 UNION ALL
                 SELECT h.inhrelid, p.depth + 1
                 FROM part p JOIN pg_catalog.pg_inherits h ON h.inhparent = p.oid
                 JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND c.relispartition)
             SELECT oid FROM part ORDER BY depth, oid",
            &[self.table.0.into()],
            |row| row.get::<pg_sys::Oid>(1),
        )?;
        for relation in tree.into_iter().flatten() {
            self.before(deadline, || {
                lock::exclusively(Regclass(relation));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Does `work`, which may wait for locks until `deadline`.
    ///
    /// Errors: 55P03 if that is not enough.
    fn before(&self, deadline: i64, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let left = ((deadline - time::now()) / 1000).max(1);
        session::pinned_with(&[("lock_timeout", &format!("{left}ms"))], || subtransaction::run(work))
            .map_err(|failure| self.locked(failure))
    }

    fn locked(&self, failure: Failure) -> Failure {
        match is_lock_timeout(&failure) {
            true => MaintainError::Locked(self.name.sql()).into(),
            false => failure,
        }
    }

    /// What index_advice says of it now, with nobody in the way.
    ///
    /// Errors: 55000 if that is not to drop it.
    fn advice(&self, index: Regclass, min_age: Interval) -> Result<Dropped> {
        let (advice, definition) = catalogued(|| {
            let statistics = Statistics::read()?;
            let findings: Vec<Finding> = finding::read(min_age, &statistics, Some(self.table))?
                .into_iter()
                .filter(|finding| finding.index == Some(index.0) && finding.fault.is_to_drop())
                .collect();
            let trees = definition::read(findings.iter().filter_map(|finding| finding.index).collect())?;
            let top = trees.get(&index.0).and_then(definition::Tree::top);
            let definition = top.filter(|top| top.name == self.name).and_then(|top| top.definition.clone());
            Ok((removal::advice(&findings, &statistics)?.pop(), definition))
        })?;
        let Some(advice) = advice else {
            let why = why_not(index)?;
            return Err(MaintainError::NotAdvised { index: self.name.sql(), why }.into());
        };
        let definition = definition.ok_or_else(|| MaintainError::Changed(self.name.sql()))?;
        let undo = advice.undo.unwrap_or_default();
        Ok(Dropped { definition, undo, reason: advice.reason, bytes: advice.bytes })
    }
}

/// What keeps an index.
fn why_not(index: Regclass) -> Result<String> {
    let why = spi::read_one_now(
        "SELECT CASE WHEN o.contype = 'p' THEN 'it is the primary key'
                     WHEN o.oid IS NOT NULL THEN 'it is that of constraint ' || pg_catalog.quote_ident(o.conname)
                     WHEN x.indisunique THEN 'it is unique'
                     WHEN x.indisreplident THEN 'it is the replica identity of the table'
                     WHEN x.indisclustered THEN 'the table is clustered on it'
                     WHEN NOT (x.indisvalid AND x.indisready AND x.indislive)
                         THEN 'it is built at this moment, or should be rebuilt'
                     WHEN pg_catalog.pg_stat_get_numscans(x.indexrelid) > 0
                         THEN 'it was scanned ' || pg_catalog.pg_stat_get_numscans(x.indexrelid) || ' times'
                     ELSE 'a foreign key, a partition or statistics that are younger than min_age speak for it' END
         FROM pg_catalog.pg_index x
         LEFT JOIN pg_catalog.pg_constraint o ON o.conindid = x.indexrelid AND o.contype IN ('p', 'u', 'x')
         WHERE x.indexrelid = $1",
        &[index.into()],
        |row| row.get::<String>(1),
    )?;
    Ok(why.flatten().unwrap_or_else(|| "it is gone".to_owned()))
}

/// Whether a table has a valid index made as `definition` says. None if that cannot be told without waiting.
pub fn has_index(table: &str, definition: &str) -> Result<Option<bool>> {
    let made_so = catalogued(|| {
        let indexes = spi::read(
            "SELECT x.indexrelid FROM pg_catalog.pg_index x
             WHERE x.indrelid = pg_catalog.to_regclass($1) AND x.indisvalid",
            &[table.into()],
            |row| row.get::<pg_sys::Oid>(1),
        )?;
        let trees = definition::read(indexes.into_iter().flatten().collect())?;
        let tops = trees.values().filter_map(definition::Tree::top);
        Ok(tops
            .map(|top| Some(nameless(top.definition.as_deref()?) == nameless(definition)))
            .collect::<Vec<_>>())
    })?;
    Ok(match made_so.contains(&Some(true)) {
        true => Some(true),
        false if made_so.contains(&None) => None,
        false => Some(false),
    })
}
