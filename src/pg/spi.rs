//! SQL from Rust: `read` never assigns a transaction id, `write` may.
//!
//! `read` runs on the snapshot of the statement that called opdb, so every read of one call sees the same
//! data and none of the call's own writes; whatever must see them goes through `write_returning`.

use pgrx::datum::DatumWithOid;
use pgrx::spi::{self, Spi, SpiHeapTupleData};

use super::error::Result;

/// Runs a query that changes nothing and maps each row. Works on a standby.
pub fn read<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    Ok(Spi::connect(|client| client.select(sql, None, args)?.map(&mut row).collect::<spi::Result<_>>())?)
}

/// `read` for a query with at most one row.
pub fn read_one<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Option<T>> {
    Ok(read(sql, args, row)?.pop())
}

/// `read` for a query with one row of one column.
pub fn read_value<'a, T: pgrx::IntoDatum + pgrx::FromDatum>(
    sql: &str,
    args: &[DatumWithOid<'a>],
) -> Result<Option<T>> {
    Ok(read_one(sql, args, |row| row.get::<T>(1))?.flatten())
}

/// Runs a statement that writes; returns how many rows it touched.
pub fn write<'a>(sql: &str, args: &[DatumWithOid<'a>]) -> Result<usize> {
    Ok(Spi::connect_mut(|client| client.update(sql, None, args).map(|table| table.len()))?)
}

/// Runs a statement that writes, or a query that must see what this call wrote, and maps each row.
pub fn write_returning<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    Ok(Spi::connect_mut(|client| {
        client.update(sql, None, args)?.map(&mut row).collect::<spi::Result<_>>()
    })?)
}

/// `write_returning` for one row of one column.
pub fn write_value<'a, T: pgrx::IntoDatum + pgrx::FromDatum>(
    sql: &str,
    args: &[DatumWithOid<'a>],
) -> Result<Option<T>> {
    Ok(write_returning(sql, args, |row| row.get::<T>(1))?.pop().flatten())
}

/// Hands the rows of a one-column text query to `each`, a row at a time, on one snapshot and without
/// ever holding more than one of them: SPI frees what it fetched only when the connection ends.
pub fn for_each_text(sql: &str, mut each: impl FnMut(String) -> Result<()>) -> Result<()> {
    let cursor = Spi::connect(|client| client.try_open_cursor(sql, &[]).map(|cursor| cursor.detach_into_name()))?;
    loop {
        let next = Spi::connect(|client| -> spi::Result<Option<String>> {
            let mut open = client.find_cursor(&cursor)?;
            let rows = open.fetch(1)?;
            let value = if rows.is_empty() { None } else { rows.first().get_one::<String>()? };
            if value.is_some() {
                open.detach_into_name();
            }
            Ok(value)
        })?;
        match next {
            Some(value) => each(value)?,
            None => return Ok(()),
        }
    }
}
