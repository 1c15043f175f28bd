//! The new table takes the old one's place.

use std::time::Duration;

use serde_json::json;

use super::course::Wait;
use super::source::Source;
use super::state::{Conversion, State};
use super::{copy, prepare};
use crate::partition::{manage, run};
use crate::pg::error::{Failure, Result};
use crate::pg::lock::{self, Mode};
use crate::pg::name::{self, Qualified, identifier};
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi, subtransaction};

/// So many changes are applied while nobody else can read.
const MOST_LAST_CHANGES: i64 = 500;

/// A foreign key of the table.
pub struct ForeignKey {
    pub name: String,
    pub definition: String,
}

/// Brings the new table up to date and, when nothing is in the way, lets it take the old one's place. Says what it waits
/// for, if something is.
pub fn approach(conversion: &Conversion, source: &Source) -> Result<Option<Wait>> {
    if copy::restarted(conversion, source)? {
        return Ok(None);
    }
    let pending = copy::pending(conversion, source, i64::MAX)?;
    let at_once = at_once(conversion.options()?.batch_rows, pending);
    copy::apply(source, (pending > at_once).then_some(at_once))?;
    let left = copy::pending(conversion, source, i64::MAX)?;
    let is_behind = left > MOST_LAST_CHANGES;
    if conversion.is_fewest(left)? && is_behind {
        return Ok(None);
    }
    let older = snapshots(conversion.source, false)?;
    if is_behind {
        let behind = format!("changes are made as fast as they are applied, {left} are left");
        let why = [Some(behind), older].into_iter().flatten().collect::<Vec<_>>().join("; ");
        return Ok(Some(Wait { why, is_for_others: false }));
    }
    if let Some(older) = older {
        return Ok(Some(Wait::for_others(older)));
    }
    // What did not come about leaves no lock behind.
    match subtransaction::run(|| attempt(conversion, source)) {
        Ok(()) => Ok(None),
        Err(failure) if failure.is_of_locks() => Ok(Some(Wait::for_others(failure.message))),
        Err(failure) => Err(failure),
    }
}

/// How many changes are applied in one transaction. A number that does not follow those that are left would never catch up
/// with writers who make more of them in the time that it takes.
fn at_once(batch: i64, pending: i64) -> i64 {
    (100 * batch).max((pending / 2).min(1_000_000))
}

/// Whose snapshots would not see all rows of the new table: those that are older than the end of the copy and, when
/// `now`, those of open transactions that keep one. None if there are none.
fn snapshots(table: Regclass, now: bool) -> Result<Option<String>> {
    let holders = own::read_as_owner(|| {
        spi::read_one_now(
            "WITH copied (at, age) AS (SELECT c.copied_at, pg_catalog.age(c.copied_by) FROM opdb.partition_conversion c WHERE c.source = $1),
                  holder (since, what) AS (
                 SELECT a.xact_start, pg_catalog.format('process %s of role %s has a snapshot, in its transaction since %s',
                            a.pid, a.usename, a.xact_start)
                 FROM pg_catalog.pg_stat_activity a, copied c
                 WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
                   AND a.backend_xmin IS NOT NULL AND a.backend_type IN ('client backend', 'background worker')
                   -- An xmin may be older than its snapshot; of sessions that tell nothing of themselves it is all there is.
                   AND (a.xact_start < c.at OR a.xact_start IS NULL AND pg_catalog.age(a.backend_xmin) >= c.age
                        OR $2 AND (a.state LIKE 'idle in transaction%' OR a.xact_start IS NULL))
                 UNION ALL
                 -- Those of standbys that tell.
                 SELECT a.backend_start, pg_catalog.format('standby %s, served by process %s, has a snapshot', a.application_name, a.pid)
                 FROM pg_catalog.pg_stat_activity a, copied c
                 WHERE a.backend_type = 'walsender' AND a.backend_xmin IS NOT NULL AND pg_catalog.age(a.backend_xmin) >= c.age
                 UNION ALL
                 SELECT NULL, pg_catalog.format('replication slot %I keeps the snapshot of a standby', s.slot_name)
                 FROM pg_catalog.pg_replication_slots s, copied c WHERE s.xmin IS NOT NULL AND pg_catalog.age(s.xmin) >= c.age)
             SELECT pg_catalog.string_agg(h.what, '; ' ORDER BY h.since) FROM holder h",
            &[table.into(), now.into()],
            |row| row.get::<String>(1),
        )
    })?;
    Ok(holders.flatten())
}

/// Errors: 55P03 if something keeps the tables from changing places now.
fn attempt(conversion: &Conversion, source: &Source) -> Result<()> {
    let waits = |why: String| Err(Failure::lock_not_available(why));
    if let Some(relation) = first_not_locked(conversion, source)? {
        let (name, holders) = (name::of(relation)?.sql(), lock::holders(relation)?);
        return waits(format!("{name} is locked: {holders}"));
    }
    lock::still(source.parent.table, &source.parent.name)?;
    if prepare::file(conversion.source)?.number != conversion.file {
        return waits("the table was rewritten".into());
    }
    if !conversion.is_captured(prepare::captured(conversion.source)?.as_deref()) {
        return waits("the triggers that write changes down were switched off".into());
    }
    if let Some(holder) = snapshots(conversion.source, true)? {
        return waits(holder);
    }
    if copy::pending(conversion, source, MOST_LAST_CHANGES + 1)? > MOST_LAST_CHANGES {
        return waits("more changes are made than can be applied at once".into());
    }
    conversion.check_definition(source)?;
    source.check()?;
    copy::apply(source, None)?;
    exchange(conversion, source)
}

/// Locks all that is altered, what is in use last: whoever waits for it waits for nothing else of ours. Each is asked for
/// in one short turn.
fn first_not_locked(conversion: &Conversion, source: &Source) -> Result<Option<Regclass>> {
    // Nobody but autovacuum, which makes room, uses the new table.
    let sql = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", name::of(conversion.target)?.sql());
    let locked =
        subtransaction::run(|| run::as_owner(source.parent.owner, || spi::write(&sql, &[]).map(drop)));
    match locked {
        Err(failure) if failure.sqlstate_text() == "55P03" => return Ok(Some(conversion.target)),
        locked => locked?,
    }
    for (relation, mode) in others(source)? {
        if !lock::in_turns(relation, mode, Duration::ZERO)? {
            return Ok(Some(relation));
        }
    }
    // Writers hold the changes only together with the table; others who look at them are soon gone.
    for table in [source.parent.table, conversion.changes] {
        if !lock::in_turns(table, Mode::Access, Duration::ZERO)? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// Views, sequences and tables that foreign keys connect with this one, in the order in which they are locked.
pub fn others(source: &Source) -> Result<Vec<(Regclass, Mode)>> {
    let mut all: Vec<(Regclass, Mode)> =
        source.dependents()?.into_iter().filter_map(|it| Some((it.view?, Mode::Access))).collect();
    let rows = spi::read_now(
        "SELECT k.conrelid::pg_catalog.regclass, true FROM pg_catalog.pg_constraint k
         WHERE k.confrelid = $1 AND k.conrelid <> $1 AND k.contype = 'f'
         UNION
         SELECT k.confrelid, false FROM pg_catalog.pg_constraint k
         WHERE k.conrelid = $1 AND k.confrelid <> $1 AND k.contype = 'f'
         UNION
         SELECT d.objid, false FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class q ON q.oid = d.objid AND q.relkind = 'S'
         WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1
           AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
         ORDER BY 1",
        &[source.parent.table.into()],
        |row| Ok(row.get::<Regclass>(1)?.zip(row.get::<bool>(2)?)),
    )?;
    let mode = |is_altered: bool| if is_altered { Mode::Access } else { Mode::ShareRow };
    all.extend(rows.into_iter().flatten().map(|(relation, is_altered)| (relation, mode(is_altered))));
    Ok(all)
}

fn exchange(conversion: &Conversion, source: &Source) -> Result<()> {
    let (table, owner) = (source.parent.table, source.parent.owner);
    let (statements, dependents) = (source.statements()?.swap, source.dependents()?);
    let (own_keys, other_keys) = (own_keys(table)?, other_keys(table)?);
    let run_all =
        |statements: &[String]| statements.iter().try_for_each(|sql| spi::write(sql, &[]).map(drop));
    run::as_owner(owner, || {
        run_all(&prepare::end_capture(source))?;
        run_all(&statements)
    })?;
    for dependent in dependents {
        run::as_owner(dependent.owner, || spi::write(&dependent.statement, &[]).map(drop))?;
    }
    let leaf_keys = leaf_keys(&leaves(conversion.target)?, &own_keys);
    run::as_owner(owner, || run_all(&leaf_keys))?;
    follow(table, conversion.target)?;
    manage::register(conversion.target, &conversion.wanted()?)?;
    let own: Vec<_> =
        own_keys.iter().map(|key| json!({"name": key.name, "definition": key.definition})).collect();
    let other: Vec<_> =
        other_keys.iter().map(|(table, name)| json!({"name": name, "table": table.0.to_u32()})).collect();
    conversion.remember_keys(json!({"own": own, "other": other}))?;
    conversion.set_state(State::Swapped)
}

pub fn own_keys(table: Regclass) -> Result<Vec<ForeignKey>> {
    session::pinned(|| {
        spi::read_now(
            "SELECT conname::text, pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
             WHERE conrelid = $1 AND contype = 'f' AND conparentid = 0 ORDER BY conname",
            &[table.into()],
            |row| Ok(ForeignKey { name: spi::known(&row, 1)?, definition: spi::known(&row, 2)? }),
        )
    })
}

/// Foreign keys that refer to the table: who has them, and what they are called.
pub fn other_keys(table: Regclass) -> Result<Vec<(Regclass, String)>> {
    let keys = spi::read_now(
        "SELECT conrelid::pg_catalog.regclass, conname::text FROM pg_catalog.pg_constraint
         WHERE confrelid = $1 AND contype = 'f' AND conparentid = 0 ORDER BY 1, 2",
        &[table.into()],
        |row| Ok(row.get::<Regclass>(1)?.zip(row.get::<String>(2)?)),
    )?;
    Ok(keys.into_iter().flatten().collect())
}

/// Each partition has the foreign keys by itself until they are proved: a partitioned table cannot have one that is not.
pub fn leaf_keys(leaves: &[Qualified], keys: &[ForeignKey]) -> Vec<String> {
    if keys.is_empty() {
        return Vec::new();
    }
    let adds: Vec<String> = keys
        .iter()
        .map(|key| format!("ADD CONSTRAINT {} {} NOT VALID", identifier(&key.name), key.definition))
        .collect();
    leaves.iter().map(|leaf| format!("ALTER TABLE {} {}", leaf.sql(), adds.join(", "))).collect()
}

fn leaves(target: Regclass) -> Result<Vec<Qualified>> {
    let leaves = spi::read_now(
        "SELECT inhrelid::pg_catalog.regclass FROM pg_catalog.pg_inherits WHERE inhparent = $1 ORDER BY 1",
        &[target.into()],
        |row| row.get::<Regclass>(1),
    )?;
    leaves.into_iter().flatten().map(name::of).collect()
}

/// What opdb keeps about the table goes with its name.
fn follow(table: Regclass, target: Regclass) -> Result<()> {
    for statement in [
        "UPDATE opdb.quality_rule SET table_name = $2 WHERE table_name = $1",
        "UPDATE opdb.quality_run SET table_name = $2 WHERE table_name = $1",
    ] {
        own::write(statement, &[table.into(), target.into()])?;
    }
    Ok(())
}
