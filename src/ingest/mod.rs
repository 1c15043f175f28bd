//! Event tables, and getting records into them exactly once.

mod error;
mod event_table;
mod load;
mod period;

use opdb_core::ingest::iso8601_micros;
use pgrx::datum::{DatumWithOid, Interval, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::{Result, required};
use crate::pg::types::{RawJsonb, Regclass};
use crate::pg::{name, session, spi};
use error::IngestError;
pub use event_table::EventTable;
use period::Period;

/// Creates a table for events: id, source, source_id, occurred_at, payload, created_at, processed.
///
/// `name` is table or schema.table. The table is partitioned by occurred_at into ranges of `every` (1 hour,
/// 1 day, 1 week or 1 month, in UTC), named name_YYYY_MM_DD; the partition of `start_at` (now, if NULL) is
/// made at once and others as records come. With `unique_source_id` a table name_keys holds every source_id
/// once, whoever writes: PostgreSQL allows no unique index on source_id alone here.
/// Result: the new table.
/// Errors: 22004 for a NULL name or interval, 42602 for an invalid name, 42622 for one that leaves no room
/// for the partitions' suffix, 42P07 if the table exists, 0A000 for another interval.
#[pg_extern(requires = ["ingest_tables"])]
fn create_event_table(
    name: Option<&str>,
    every: default!(Option<Interval>, "'1 day'"),
    unique_source_id: default!(Option<bool>, "true"),
    start_at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> std::result::Result<Regclass, ErrorReport> {
    let name = name::parse_new(required("name", name)?)?;
    let every = required("every", every)?;
    let unique = required("unique_source_id", unique_source_id)?;
    Ok(session::pinned(|| event_table::create(&name, period(every)?, unique, start_at))?)
}

/// Writes events, each source_id once.
///
/// `table` was made by create_event_table; `records` is a JSON array of
/// `{"source": text, "source_id": text, "occurred_at": ISO 8601 with offset, "payload": object}`.
/// Missing partitions are made. A source_id that is there already, or earlier in the same array, is a
/// duplicate and skipped. A record that cannot be stored goes to opdb.dead_letters with its error.
/// Result: one row with the numbers of inserted, duplicates and rejected.
/// Errors: 22004 for NULL, 42809 if the table is not an event table, 22023 if records is no array,
/// 42501 without INSERT on the table.
#[pg_extern(requires = ["ingest_functions"])]
#[search_path(pg_catalog, pg_temp)]
fn ingest(
    table: Option<Regclass>,
    records: Option<RawJsonb>,
) -> std::result::Result<
    TableIterator<'static, (name!(inserted, i64), name!(duplicates, i64), name!(rejected, i64))>,
    ErrorReport,
> {
    let (table, records) = (required("table", table)?, required("records", records)?);
    let counts = session::pinned(|| load::load(&EventTable::get(table)?, records))?;
    Ok(TableIterator::once((counts.inserted, counts.duplicates, counts.rejected)))
}

/// Makes the partitions of an event table that `moments` fall into and that are missing.
///
/// Result: how many were made.
/// Errors: 22004 for NULL, 42809 if the table is not an event table, 42501 without INSERT on it.
#[pg_extern(requires = ["ingest_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn create_event_partitions(
    table: Option<Regclass>,
    moments: Option<Vec<Option<TimestampWithTimeZone>>>,
) -> std::result::Result<i64, ErrorReport> {
    let (table, moments) = (required("table", table)?, required("moments", moments)?);
    let made = session::pinned(|| {
        let event_table = EventTable::get(table)?;
        event_table.as_writer(|| {
            event_table
                .create_partitions(
                    "SELECT m FROM pg_catalog.unnest($1) m WHERE pg_catalog.isfinite(m)",
                    &[DatumWithOid::from(moments)],
                )?
                .or_fail()
        })
    })?;
    Ok(i64::try_from(made).unwrap_or(i64::MAX))
}

/// The moment that an ISO 8601 text with a UTC offset names, or NULL if it is none.
#[pg_extern(immutable, strict, parallel_safe)]
fn iso8601_timestamp(text: &str) -> Option<TimestampWithTimeZone> {
    const MICROS_FROM_1970_TO_2000: i64 = 946_684_800_000_000;
    TimestampWithTimeZone::try_from(iso8601_micros(text)? - MICROS_FROM_1970_TO_2000).ok()
}

/// By text: as a length of time a month is thirty days, and as a period it is not.
fn period(every: Interval) -> Result<Period> {
    let found = spi::read_one(
        "SELECT u.unit, $1::text FROM (VALUES ('hour'), ('day'), ('week'), ('month')) u(unit)
         WHERE ('1 ' || u.unit)::interval::text = $1::text
         UNION ALL SELECT NULL, $1::text LIMIT 1",
        &[every.into()],
        |row| Ok((row.get::<String>(1)?, row.get::<String>(2)?)),
    )?;
    let (unit, text) = found.unwrap_or_default();
    unit.as_deref()
        .and_then(Period::from_unit)
        .ok_or_else(|| IngestError::UnsupportedPeriod(text.unwrap_or_default()).into())
}
