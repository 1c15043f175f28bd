//! The key's column in SQL.

use opdb_core::partition::{Key, Span, Unit};

use super::children::{Children, Partition};
use super::error::PartitionError;
use super::parent::Parent;
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::relation::{self, Seen};
use crate::pg::{lock, role, session, spi};

/// What kind of key a column is. `unit` is what the numbers of an integer column count.
///
/// Errors: 0A000 for a type that no range of time or numbers can be told by, 22023 for an integer of which nobody said
/// what it counts, and for a unit or a width where there is a time already.
pub fn key(parent: &Parent, unit: Option<Unit>, has_width: bool) -> Result<Key> {
    let key = match (parent.column.type_name.as_str(), unit) {
        ("timestamp with time zone", None) => Key::Timestamptz,
        ("timestamp without time zone", None) => Key::Timestamp,
        ("date", None) => Key::Date,
        ("uuid", None) => Key::Uuid7,
        ("bigint" | "integer", Some(unit)) => Key::Epoch(unit),
        ("bigint" | "integer" | "smallint", None) if has_width => Key::Integer,
        ("bigint" | "integer" | "smallint", None) => return Err(of(parent, PartitionError::NeedsWidth)),
        ("timestamp with time zone" | "timestamp without time zone" | "date" | "uuid", Some(_)) => {
            return Err(of(parent, PartitionError::NoNumber));
        }
        _ => return Err(of(parent, PartitionError::UnsupportedType)),
    };
    if has_width && key != Key::Integer {
        return Err(of(parent, PartitionError::NoNumber));
    }
    Ok(key)
}

fn of<E: Into<crate::pg::error::Failure>>(
    parent: &Parent,
    error: impl FnOnce(String, String, String) -> E,
) -> crate::pg::error::Failure {
    error(parent.name.sql(), parent.column.name.clone(), parent.column.type_name.clone()).into()
}

/// Whether a bound fits the column: an integer of 32 bits that counts seconds ends in 2038.
pub fn fits(parent: &Parent, value: &str) -> bool {
    match parent.column.type_name.as_str() {
        "integer" => value.parse::<i32>().is_ok(),
        "smallint" => value.parse::<i16>().is_ok(),
        _ => true,
    }
}

/// A value of the column, as SQL.
pub fn value(parent: &Parent, value: &str) -> String {
    format!("{}::{}", crate::pg::name::literal(value), parent.column.type_name)
}

/// The condition that a row is in a range.
pub fn within(parent: &Parent, lower: &str, upper: &str) -> String {
    let column = identifier(&parent.column.name);
    format!("{column} >= {} AND {column} < {}", value(parent, lower), value(parent, upper))
}

/// The place on the key's line of an expression of the column's type, as SQL of type bigint.
pub fn place(key: Key, expression: &str) -> String {
    match key {
        Key::Integer | Key::Epoch(Unit::Microseconds) => format!("({expression})::bigint"),
        Key::Epoch(Unit::Milliseconds) => format!("({expression})::bigint * 1000"),
        Key::Epoch(Unit::Seconds) => format!("({expression})::bigint * 1000000"),
        Key::Uuid7 => format!(
            "('x' || pg_catalog.left(pg_catalog.replace(({expression})::text, '-', ''), 12))::bit(48)::bigint * 1000"
        ),
        _ => format!("(1000000 * extract(epoch FROM {expression}))::bigint"),
    }
}

/// Seconds to and from 1970: the year 191,000.
const FARTHEST: i64 = 6_000_000_000_000;

/// An expression that is the same for rows that are close together, and what says that a row has a place at all.
/// Rows of one group are a quarter of an hour apart at most, or a width of numbers: offsets from UTC are no finer.
pub fn group(parent: &Parent, key: Key, span: Span) -> (String, String) {
    let column = identifier(&parent.column.name);
    let seconds = match span {
        Span::Seconds(seconds) if seconds < 900 => seconds,
        // Counted from a time of anybody's choice.
        Span::Seconds(_) if !span.is_of_the_calendar() => 60,
        _ => 900,
    };
    let numbers =
        |width: i64| format!("{column}::bigint / {width} - ({column}::bigint % {width} < 0)::integer");
    let grouped = match (key, span) {
        (Key::Integer, Span::Numbers(width)) => numbers(width),
        (Key::Epoch(Unit::Seconds), _) => numbers(seconds),
        (Key::Epoch(Unit::Milliseconds), _) => numbers(seconds * 1000),
        (Key::Epoch(Unit::Microseconds), _) => numbers(seconds * 1_000_000),
        (Key::Timestamptz | Key::Timestamp, _) => {
            let origin = format!("'2000-01-01'::{}", parent.column.type_name);
            format!(
                "pg_catalog.date_bin('{0} seconds', CASE WHEN pg_catalog.isfinite({column}) AND {column} < '200000-01-01'::{1} THEN {column} END, {origin})",
                seconds, parent.column.type_name
            )
        }
        // The first eight digits and a dash are 65 seconds, one digit more is 4.
        (Key::Uuid7, Span::Seconds(..900)) => format!("pg_catalog.left({column}::text, 10)"),
        (Key::Uuid7, _) => format!("pg_catalog.left({column}::text, 9)"),
        _ => column.clone(),
    };
    // Far away values have no place that could be told.
    let within = |limit: i64| format!("{column} BETWEEN -{limit} AND {limit}");
    let is_placed = match key {
        Key::Timestamptz | Key::Timestamp | Key::Date => {
            format!(
                "pg_catalog.isfinite({column}) AND {column} < '200000-01-01'::{}",
                parent.column.type_name
            )
        }
        Key::Epoch(Unit::Seconds) => within(FARTHEST),
        Key::Epoch(Unit::Milliseconds) => within(FARTHEST * 1000),
        Key::Epoch(Unit::Microseconds) => within(FARTHEST * 1_000_000),
        Key::Uuid7 | Key::Integer => format!("{column} IS NOT NULL"),
    };
    (grouped, is_placed)
}

/// The highest number in use, from the newest partition backwards; rows in the default partition do not count. Before
/// there is any row it is where the first partition begins, or 0.
///
/// Errors: 55P03 if a partition is locked.
pub fn highest(parent: &Parent, children: &Children) -> Result<i64> {
    for partition in children.partitions.iter().rev().filter(|partition| partition.kind != "f") {
        if let Some(highest) = highest_in(parent, partition)? {
            return Ok(highest);
        }
    }
    let first = children.partitions.first().map(|first| first.range);
    Ok(first.map_or(0, |range| if range.lower == i64::MIN { range.upper - 1 } else { range.lower }))
}

/// The highest number before the first partition without a row or gap between partitions, from the oldest with rows on: one number far ahead is no
/// reason to retire what came just before it.
pub fn settled(parent: &Parent, children: &Children) -> Result<i64> {
    let (mut settled, mut reached) = (i64::MIN, i64::MIN);
    for partition in children.partitions.iter().filter(|partition| partition.kind != "f") {
        let follows = partition.range.lower <= reached;
        match highest_in(parent, partition)? {
            Some(highest) if settled == i64::MIN || follows => settled = highest,
            None if settled == i64::MIN => {}
            _ => break,
        }
        reached = partition.range.upper;
    }
    Ok(settled)
}

fn highest_in(parent: &Parent, partition: &Partition) -> Result<Option<i64>> {
    let column = identifier(&parent.column.name);
    let sql = format!("SELECT max({column})::bigint FROM {}", partition.name.sql());
    let read = || spi::read_one_now(&sql, &[], |row| row.get::<i64>(1));
    match relation::read_now(partition.table, |_| as_owner(partition.owner, read))? {
        Seen::Read(highest) => Ok(highest.flatten()),
        Seen::Gone => Ok(None),
        Seen::Locked => {
            let blockers = lock::holders(partition.table)?;
            Err(PartitionError::Locked { relation: partition.name.sql(), seconds: 0, blockers }.into())
        }
    }
}

/// Reads a partition as its owner: planning a query runs what the owner wrote into the predicates of its indexes. If
/// policies would hide rows, that is an error.
pub fn as_owner<T>(owner: pgrx::pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    session::pinned_with(&[("row_security", "off")], || role::acting_as_owner_of_rows(owner, work))
}

/// The columns that are stored as given, for copying rows, quoted: generated ones are made again.
pub fn stored_columns(parent: &Parent) -> Result<Vec<String>> {
    let columns = spi::read_now(
        "SELECT pg_catalog.quote_ident(attname) FROM pg_catalog.pg_attribute
         WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        &[parent.table.into()],
        |row| row.get::<String>(1),
    )?;
    if columns.is_empty() {
        return Err(PartitionError::NotPartitioned(parent.name.sql()).into());
    }
    Ok(columns.into_iter().flatten().collect())
}

pub fn stored(parent: &Parent) -> Result<String> {
    Ok(stored_columns(parent)?.join(", "))
}
