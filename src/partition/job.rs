//! The job that keeps partitions.

use serde_json::Value;

use super::children::Partition;
use super::error::PartitionError;
use super::plan;
use super::retired;
use super::set::{Archive, RetentionAction, Set};
use super::task::{Look, Phase, Task};
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{process, spi, subtransaction};
use crate::worker;

const NAME: &str = "opdb partitions";
const COMMANDS: &str = "SELECT command FROM opdb.partition_commands()";
const CALL: &str = "CALL opdb.run_partition_maintenance()";
const CREATE_ONLY: &str = "CALL opdb.run_partition_maintenance(false)";
/// A reader that does not end keeps no other table, and no later run, waiting: what is half detached then is finalized by
/// the next one.
const NOT_FOR_EVER: &str = "SET lock_timeout = '10s'";
const AS_BEFORE: &str = "RESET lock_timeout";

pub fn add(schedule: &str, timezone: &str, options: Value) -> Result<()> {
    let Value::Object(mut options) = options else {
        return Err(PartitionError::InvalidOption { option: "options".into(), needs: "a JSON object" }.into());
    };
    if options.contains_key("gexec") {
        return Err(PartitionError::InvalidOption {
            option: "gexec".into(),
            needs: "left out: the job sets it itself",
        }
        .into());
    }
    let is_on = worker::is_on();
    if is_on {
        options.insert("gexec".into(), true.into());
    }
    let command = if is_on { COMMANDS } else { CALL };
    worker::add(NAME, schedule, command, timezone, &Value::Object(options))?;
    worker::warn_if_off()
}

/// Creation first; then what can be detached without a lock that keeps anybody waiting; then the rest.
pub fn commands() -> Result<Vec<String>> {
    let mut detaching = Vec::new();
    for parent in plan::managed()? {
        // One that cannot be looked at is told by the CALL.
        if let Ok(found) = subtransaction::run(|| of_table(parent)) {
            detaching.extend(found);
        }
    }
    if !detaching.is_empty() {
        detaching.insert(0, NOT_FOR_EVER.to_owned());
        detaching.push(AS_BEFORE.to_owned());
    }
    let whole = [CREATE_ONLY.to_owned()].into_iter().chain(detaching).chain([CALL.to_owned()]);
    Ok(whole.collect())
}

/// The server detaches concurrently only where there is no default partition, and one partition of a table at a time.
fn of_table(parent: Regclass) -> Result<Vec<String>> {
    let set = Set::get(parent, None)?;
    let children = set.children()?;
    let ships = matches!(
        set.retention.as_ref().map(|it| &it.action),
        None | Some(RetentionAction::Archive(Archive::Environment(_)))
    );
    if ships || children.default.is_some() || !set.parent.is_callers()? || is_referenced(&set)? {
        return Ok(Vec::new());
    }
    retired::tidy(&set.parent)?;
    let look = Look::without_strays(&set, &children)?;
    let action = set.retention.as_ref().map_or("detach", |it| it.action.name());
    let parent = set.parent.name.sql();
    // One that is half detached keeps all others from being detached.
    let finalize =
        |it: &Partition| format!("ALTER TABLE {parent} DETACH PARTITION {} FINALIZE", it.name.sql());
    let mut commands: Vec<String> = children.half_detached.iter().map(finalize).collect();
    for task in look.tasks(Phase::Retire)?.tasks {
        let Task::Detach(partition) = task else { continue };
        let partition = children.partitions.iter().find(|it| it.table.0 == partition.into());
        let Some(partition) = partition else { continue };
        let action_to_come = set.retention.as_ref().map(|it| &it.action);
        // The CALL detaches those with a CHECK of their own, and tells of those that could not be dropped.
        if has_own_check(partition.table)?
            || retired::check_finish(&set.parent, partition, action_to_come).is_err()
        {
            continue;
        }
        // Who only looks at the list detaches nothing.
        if process::is_background_worker() {
            retired::register(&set.parent, partition, action, "detaching")?;
        }
        commands.push(format!("ALTER TABLE {parent} DETACH PARTITION {} CONCURRENTLY", partition.name.sql()));
    }
    Ok(commands)
}

/// What the server adds to a partition that it detaches concurrently, and to no other, would not show beside it.
fn has_own_check(partition: Regclass) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint
                              WHERE conrelid = $1 AND contype = 'c' AND coninhcount = 0)";
    Ok(spi::read_one_now(sql, &[partition.into()], |row| row.get::<bool>(1))?.flatten() == Some(true))
}

/// Rows that are referenced keep a partition; the server looks for them under a lock.
fn is_referenced(set: &Set) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE confrelid = $1 AND contype = 'f')";
    Ok(spi::read_one_now(sql, &[set.parent.table.into()], |row| row.get::<bool>(1))?.flatten() == Some(true))
}
