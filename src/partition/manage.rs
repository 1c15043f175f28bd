//! Telling opdb which partitions to make and to retire.

use opdb_core::partition::{Grid, Key, Span, missing};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::children::Children;
use super::column;
use super::error::PartitionError;
use super::options::Options;
use super::parent::Parent;
use super::retired;
use super::run;
use super::set::{self, Archive, RetentionAction, Set};
use super::state;
use super::stray;
use super::task::{self, Look, Phase, Task};
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::zone::Zone;
use crate::pg::{lock, name, own, spi, time};

const MOST_PREMADE: i32 = 1000;
/// More than these in one transaction need more locks than a server has by default.
const MOST_FROM_START: usize = 5000;

/// What manage_partitions was called with.
pub struct Wanted {
    pub every: Interval,
    pub premake: i32,
    pub retention: Option<Interval>,
    pub retention_action: String,
    pub timezone: String,
    pub start_at: Option<TimestampWithTimeZone>,
    pub options: Options,
}

/// Errors: those of manage_partitions. Nothing is changed then.
pub fn manage(table: Regclass, wanted: &Wanted) -> Result<()> {
    register(table, wanted)?;
    create_first(table, wanted)
}

/// Writes down how the partitions are to be kept, and makes none.
pub fn register(table: Regclass, wanted: &Wanted) -> Result<()> {
    let parent = Parent::get(table)?;
    parent.check_owner()?;
    // A run that has begun goes by what was said before.
    run::alone(table)?;
    lock::against_alter(table);
    check(wanted)?;
    let zone = set::zone_named(&wanted.timezone)?;
    let unit = wanted.options.unit.as_deref().map(set::unit).transpose()?;
    let key = column::key(&parent, unit, wanted.options.width.is_some())?;
    let span = span(&parent, key, wanted)?;
    check_retention(key, wanted)?;
    let action = action(&parent, wanted)?;
    let children = Children::of(&parent, key)?;
    check_children(&children)?;
    if key.is_time() {
        check_start(
            &Grid::new(span, set::line_zone(key, zone)?, wanted.start_at.map(time::from_sql)),
            wanted,
        )?;
    }
    retired::leave_alone(table, Some(action.name()))?;
    store(&parent, key, wanted, &action, storage_of(wanted, children.model())?)?;
    state::forget(table)
}

/// Errors: 22023 for a premake or a start that cannot be.
pub fn check(wanted: &Wanted) -> Result<()> {
    if !(0..=MOST_PREMADE).contains(&wanted.premake) {
        return Err(PartitionError::InvalidPremake(wanted.premake).into());
    }
    let finite = spi::read_value::<bool>("SELECT pg_catalog.isfinite($1)", &[wanted.start_at.into()])?;
    if finite == Some(false) {
        return Err(PartitionError::InfiniteStart.into());
    }
    Ok(())
}

pub fn span(parent: &Parent, key: Key, wanted: &Wanted) -> Result<Span> {
    if key == Key::Integer {
        return set::span(None, wanted.options.width);
    }
    let span = set::span(Some(wanted.every), None)?;
    if key == Key::Date && !span.is_of_days() {
        let (table, every) = (parent.name.sql(), wanted.every.to_string());
        return Err(PartitionError::FinerThanDays { table, every }.into());
    }
    Ok(span)
}

fn check_retention(key: Key, wanted: &Wanted) -> Result<()> {
    let invalid =
        |option: &str, needs| Err(PartitionError::InvalidOption { option: option.into(), needs }.into());
    let Some(retention) = wanted.retention else {
        return match (wanted.options.retention_width, wanted.options.width) {
            (Some(_), None) => invalid("retention_width", "used for ids only; give retention"),
            (Some(kept), Some(width)) if kept < width => Err(PartitionError::RetentionTooShort {
                retention: kept.to_string(),
                every: width.to_string(),
            }
            .into()),
            _ => Ok(()),
        };
    };
    if key == Key::Integer {
        return invalid("retention_width", "given instead of retention, which is for times");
    }
    // By its parts: 1 month less 29 days is positive, and reaches beyond today in March.
    let (months, days, micros) = (retention.months(), retention.days(), retention.micros());
    let longest = 366_000 * 86_400_000_000;
    let fits =
        (0..=12_000).contains(&months) && (0..=366_000).contains(&days) && (0..=longest).contains(&micros);
    if !fits {
        return Err(PartitionError::InvalidRetention(retention.to_string()).into());
    }
    let compared = spi::read_one(
        "SELECT $1 > interval '0', $1 >= $2, $1::text, $2::text",
        &[retention.into(), wanted.every.into()],
        |row| Ok((row.get::<bool>(1)?, row.get::<bool>(2)?, spi::known(&row, 3)?, spi::known(&row, 4)?)),
    )?;
    match compared {
        Some((Some(true), Some(true), ..)) | None => Ok(()),
        Some((Some(true), _, retention, every)) => {
            Err(PartitionError::RetentionTooShort { retention, every }.into())
        }
        Some((.., retention, _)) => Err(PartitionError::InvalidRetention(retention).into()),
    }
}

fn action(parent: &Parent, wanted: &Wanted) -> Result<RetentionAction> {
    if !matches!(wanted.retention_action.as_str(), "detach" | "drop" | "archive") {
        return Err(PartitionError::UnknownAction(wanted.retention_action.clone()).into());
    }
    let Options { archive_schema, archive_tablespace, archive_environment, .. } = &wanted.options;
    let action = RetentionAction::of(
        &wanted.retention_action,
        archive_schema.clone(),
        archive_tablespace.clone(),
        archive_environment.clone(),
    );
    let action = action.ok_or(PartitionError::ArchivePlace)?;
    if let RetentionAction::Archive(archive) = &action {
        check_place(parent, archive)?;
    }
    Ok(action)
}

fn check_place(parent: &Parent, archive: &Archive) -> Result<()> {
    let exists = |kind: &'static str, sql: &str, name: &str| -> Result<()> {
        match spi::read_value::<bool>(sql, &[name.into()])? {
            Some(true) => Ok(()),
            _ => Err(PartitionError::UnknownPlace { kind, name: name.to_owned() }.into()),
        }
    };
    match archive {
        Archive::Here { schema, tablespace } => {
            if let Some(schema) = schema {
                if *schema == parent.name.schema {
                    let needs = "another schema than the table's";
                    return Err(
                        PartitionError::InvalidOption { option: "archive_schema".into(), needs }.into()
                    );
                }
                exists(
                    "schema",
                    "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)",
                    schema,
                )?;
            }
            if let Some(tablespace) = tablespace {
                let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = $1)";
                exists("tablespace", sql, tablespace)?;
            }
            Ok(())
        }
        Archive::Environment(place) => {
            let sql = "SELECT EXISTS (SELECT FROM opdb.environment WHERE name = $1)";
            exists("environment", sql, &place.environment)?;
            super::archive::check(parent, &place.environment)
        }
    }
}

/// Errors: 42P17 for a partition without an end.
fn check_children(children: &Children) -> Result<()> {
    let is_endless =
        |it: &&super::children::Partition| it.range.upper == i64::MAX && it.range.lower != i64::MAX;
    match children.partitions.iter().find(is_endless) {
        Some(endless) => Err(PartitionError::Endless(endless.name.sql()).into()),
        None => Ok(()),
    }
}

/// Errors: 22023 for a start that would make too many partitions.
fn check_start(grid: &Grid<Zone>, wanted: &Wanted) -> Result<()> {
    let Some(start) = wanted.start_at.map(time::from_sql) else { return Ok(()) };
    let ranges = std::iter::successors(grid.range_at(start), |range| grid.after(*range));
    let count = ranges.take_while(|range| range.lower <= time::now()).take(MOST_FROM_START + 1).count();
    if count > MOST_FROM_START {
        return Err(PartitionError::StartTooEarly(count).into());
    }
    Ok(())
}

/// Storage parameters that were given, or those of a table.
pub fn storage_of(wanted: &Wanted, model: Option<pg_sys::Oid>) -> Result<Vec<String>> {
    if let Some(storage) = &wanted.options.storage {
        return Ok(storage.clone());
    }
    let found = spi::read_one_now(
        "SELECT coalesce(c.reloptions, '{}') || ARRAY(SELECT 'toast.' || o FROM pg_catalog.unnest(t.reloptions) o)
         FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1",
        &[model.into()],
        |row| row.get::<Vec<String>>(1),
    )?;
    Ok(found.flatten().unwrap_or_default())
}

fn store(
    parent: &Parent,
    key: Key,
    wanted: &Wanted,
    action: &RetentionAction,
    storage: Vec<String>,
) -> Result<()> {
    let options = &wanted.options;
    let every = Some(wanted.every).filter(|_| key.is_time());
    state::forget_dropped()?;
    own::write(
        "INSERT INTO opdb.partition_set (parent, unit, every, width, premake, retention, retention_width,
             retention_action, timezone, start_at, archive_schema, archive_tablespace, archive_environment, storage,
             analyze_parent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (parent) DO UPDATE SET unit = excluded.unit, every = excluded.every, width = excluded.width,
             premake = excluded.premake, retention = excluded.retention, retention_width = excluded.retention_width,
             retention_action = excluded.retention_action, timezone = excluded.timezone, start_at = excluded.start_at,
             archive_schema = excluded.archive_schema, archive_tablespace = excluded.archive_tablespace,
             archive_environment = excluded.archive_environment, storage = excluded.storage,
             analyze_parent = excluded.analyze_parent, managed_at = excluded.managed_at",
        &[
            parent.table.into(),
            options.unit.as_deref().map(|unit| if unit == "µs" { "us" } else { unit }).into(),
            every.into(),
            options.width.into(),
            wanted.premake.into(),
            wanted.retention.into(),
            options.retention_width.into(),
            action.name().into(),
            wanted.timezone.as_str().into(),
            wanted.start_at.into(),
            options.archive_schema.as_deref().into(),
            options.archive_tablespace.as_deref().into(),
            options.archive_environment.as_deref().into(),
            storage.into(),
            options.analyze.into(),
        ],
    )
    .map(drop)
}

/// Makes what is missing now and since `start_at`. Retention is left to the first run of maintenance.
pub fn create_first(table: Regclass, wanted: &Wanted) -> Result<()> {
    let set = Set::get(table, None)?;
    let children = set.children()?;
    let look = Look::at(&set, &children, Phase::Create)?;
    let tasks = look.tasks(Phase::Create)?;
    if let Some(obstacle) = tasks.obstacles.into_iter().next() {
        return Err(obstacle.failure);
    }
    let mut tasks = tasks.tasks;
    tasks.extend(since_start(&set, &children, &tasks, wanted)?);
    let is_large = children.default.as_ref().map(stray::is_large).transpose()? == Some(true);
    if is_large && !tasks.is_empty() {
        return leave_to_maintenance(&set.parent.name);
    }
    if tasks.is_empty() {
        return Ok(());
    }
    run::attempt_all(table, &tasks, |_| {})
}

/// The default partition would be locked while it is looked through.
fn leave_to_maintenance(parent: &Qualified) -> Result<()> {
    let message = format!("the default partition of {} is large: no partition was made yet", parent.sql());
    ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "opdb")
        .set_hint("CALL opdb.run_partition_maintenance() makes them without locking it for long.")
        .report(PgLogLevel::NOTICE);
    Ok(())
}

/// The ranges from `start_at` on that are not covered and not made anyway.
fn since_start(set: &Set, children: &Children, others: &[Task], wanted: &Wanted) -> Result<Vec<Task>> {
    let Some(start) = wanted.start_at.map(time::from_sql).filter(|_| set.key.is_time()) else {
        return Ok(Vec::new());
    };
    let start = set.place_of(start);
    let now = set.now(children)?;
    let first = set.grid.range_at(start);
    let past =
        std::iter::successors(first, |range| set.grid.after(*range)).take_while(|range| range.upper <= now);
    let ranges = children.ranges();
    let mut tasks = Vec::new();
    for range in past {
        let (found, in_the_way) = missing(&set.grid, &ranges, range.lower, 0);
        if let Some(obstacle) = in_the_way {
            return Err(task::obstacle(set, children, obstacle).failure);
        }
        let is_others = [Task::Create(range), Task::Move(range)].iter().any(|task| others.contains(task));
        if found.contains(&range) && !is_others {
            tasks.push(Task::Create(range));
        }
    }
    Ok(tasks)
}

/// Errors: 42704 if the table is not managed, 42501 unless the caller owns it.
pub fn unmanage(table: Regclass) -> Result<()> {
    let name = name::of(table)?;
    Parent::get(table)?.check_owner()?;
    run::alone(table)?;
    retired::leave_alone(table, None)?;
    match own::write("DELETE FROM opdb.partition_set WHERE parent = $1", &[table.into()])? {
        0 => Err(PartitionError::NotManaged(name.sql()).into()),
        _ => Ok(()),
    }
}
