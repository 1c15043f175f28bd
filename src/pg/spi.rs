//! SQL from Rust: `read` never assigns a transaction id, `write` may.
//!
//! `read` runs on the snapshot of the statement that called opdb, so every read of one call sees the same
//! data and none of the call's own writes; whatever must see them goes through `write_returning`.

use std::ffi::{CStr, c_char, c_long};

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{self, Spi, SpiHeapTupleData};

use super::error::Result;
use super::session::{c_string, check_writable};

/// Runs a query that changes nothing and maps each row. Works on a standby.
pub fn read<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    let sql = c_string(sql)?;
    Ok(Spi::connect(|_| read_rows(&sql, args, true, &mut row))?)
}

/// `read_one` on a snapshot of now instead of the calling statement's: for what must be true after a lock was
/// waited for. Assigns no transaction id either.
pub fn read_one_now<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Option<T>> {
    Ok(read_now(sql, args, &mut row)?.pop())
}

/// `read` on a snapshot of now, which sees what this transaction wrote; it may lock rows, too. Assigns no transaction id
/// unless it does.
pub fn read_now<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    let sql = c_string(sql)?;
    Ok(Spi::connect(|_| read_rows(&sql, args, false, &mut row))?)
}

/// pgrx itself reads on the statement's snapshot only until the transaction has written something.
#[allow(unsafe_code)]
pub(super) fn read_rows<T>(
    sql: &CStr,
    args: &[DatumWithOid],
    on_statement_snapshot: bool,
    row: &mut impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> spi::Result<Vec<T>> {
    let (mut types, mut values, nulls) = raw(args);
    // SAFETY: SPI is connected (the caller is inside Spi::connect); the three arrays have one entry per
    // argument and live through the call; the tuple table is freed when SPI disconnects, after `row` copied
    // what it wants.
    unsafe {
        let status = pg_sys::SPI_execute_with_args(
            sql.as_ptr(),
            args.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            on_statement_snapshot,
            0,
        );
        Spi::check_status(status)?;
        rows_of_answer(row)
    }
}

/// # Safety
/// SPI is connected and has just run a statement.
#[allow(unsafe_code)]
unsafe fn rows_of_answer<T>(row: &mut impl FnMut(SpiHeapTupleData) -> spi::Result<T>) -> spi::Result<Vec<T>> {
    // SAFETY: the table of rows, if there is one, is freed when SPI disconnects.
    unsafe {
        let Some(table) = pg_sys::SPI_tuptable.as_mut() else {
            return Ok(Vec::new());
        };
        (0..table.numvals as usize)
            .map(|place| {
                let tuple = SpiHeapTupleData::new(table.tupdesc, *table.vals.add(place))?;
                tuple.map_or(Err(spi::SpiError::InvalidPosition), &mut *row)
            })
            .collect()
    }
}

/// A query that changes nothing and is run again and again, on the snapshot of the statement that called opdb.
pub struct Plan(pg_sys::SPIPlanPtr);

#[allow(unsafe_code)]
impl Plan {
    pub fn new(sql: &str, parameters: &[pg_sys::Oid]) -> Result<Self> {
        let sql = c_string(sql)?;
        let mut types = parameters.to_vec();
        Ok(Spi::connect(|_| {
            // SAFETY: SPI is connected; the types live through the call; what is kept no longer belongs to SPI.
            unsafe {
                let plan = pg_sys::SPI_prepare(sql.as_ptr(), types.len() as i32, types.as_mut_ptr());
                if plan.is_null() {
                    Spi::check_status(pg_sys::SPI_result)?;
                }
                // It fails only for what is no plan.
                pg_sys::SPI_keepplan(plan);
                Ok::<_, spi::SpiError>(Self(plan))
            }
        })?)
    }

    /// Maps each row of the answer.
    pub fn read<'a, T>(
        &self,
        args: &[DatumWithOid<'a>],
        mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        let (_, mut values, nulls) = raw(args);
        Ok(Spi::connect(|_| {
            // SAFETY: as in `read_rows`; the plan was kept.
            unsafe {
                let status = pg_sys::SPI_execute_plan(self.0, values.as_mut_ptr(), nulls.as_ptr(), true, 0);
                Spi::check_status(status)?;
                rows_of_answer(&mut row)
            }
        })?)
    }
}

#[allow(unsafe_code)]
impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: kept by `new`, and freed only here.
        unsafe { pg_sys::SPI_freeplan(self.0) };
    }
}

/// Arguments as SPI's C functions take them.
fn raw(args: &[DatumWithOid]) -> (Vec<pg_sys::Oid>, Vec<pg_sys::Datum>, Vec<c_char>) {
    let types = args.iter().map(DatumWithOid::oid).collect();
    let values =
        args.iter().map(|arg| arg.datum().map_or(pg_sys::Datum::null(), |datum| datum.sans_lifetime()));
    let nulls = args.iter().map(|arg| if arg.datum().is_some() { b' ' as c_char } else { b'n' as c_char });
    (types, values.collect(), nulls.collect())
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

/// A column of a row that is never NULL.
pub fn known<T: pgrx::IntoDatum + pgrx::FromDatum>(row: &SpiHeapTupleData, column: usize) -> spi::Result<T> {
    row.get::<T>(column)?.ok_or(spi::SpiError::InvalidPosition)
}

/// Runs a statement that writes; returns how many rows it touched.
pub fn write<'a>(sql: &str, args: &[DatumWithOid<'a>]) -> Result<usize> {
    check_writable()?;
    Ok(Spi::connect_mut(|client| client.update(sql, None, args).map(|table| table.len()))?)
}

/// Runs a statement that writes, or a query that must see what this call wrote, and maps each row.
pub fn write_returning<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    check_writable()?;
    Ok(Spi::connect_mut(|client| client.update(sql, None, args)?.map(&mut row).collect::<spi::Result<_>>())?)
}

/// `write_returning` for one row of one column.
pub fn write_value<'a, T: pgrx::IntoDatum + pgrx::FromDatum>(
    sql: &str,
    args: &[DatumWithOid<'a>],
) -> Result<Option<T>> {
    Ok(write_returning(sql, args, |row| row.get::<T>(1))?.pop().flatten())
}

/// Maps each row of a query and hands it to `each`, on the snapshot of the calling statement, never holding more
/// than `batch` rows.
pub fn for_each<T>(
    sql: &str,
    batch: c_long,
    mut row: impl FnMut(&SpiHeapTupleData) -> spi::Result<T>,
    mut each: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let cursor = open_cursor(sql)?;
    loop {
        let rows = fetch(&cursor, batch, &mut row)?;
        if rows.is_empty() {
            break;
        }
        rows.into_iter().try_for_each(&mut each)?;
    }
    Spi::connect(|client| client.find_cursor(&cursor).map(drop))?;
    Ok(())
}

fn fetch<T>(
    cursor: &str,
    batch: c_long,
    row: &mut impl FnMut(&SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    Ok(Spi::connect(|client| -> spi::Result<Vec<T>> {
        let mut open = client.find_cursor(cursor)?;
        let rows = open.fetch(batch)?.map(|tuple| row(&tuple)).collect();
        open.detach_into_name();
        rows
    })?)
}

/// Runs `work` on a snapshot of now, whatever the isolation level: what catalogs say must fit what the server's own
/// functions, which always look at the present, say about it. Assigns no transaction id.
#[allow(unsafe_code)]
pub fn on_latest_snapshot<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: inside a transaction; what is pushed is popped below, or by the abort of the (sub)transaction.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
    let result = work();
    // SAFETY: the one pushed above: `work` popped every one of its own. What unwinds comes to the abort.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}

#[allow(unsafe_code)]
fn open_cursor(sql: &str) -> Result<String> {
    let sql = c_string(sql)?;
    Ok(Spi::connect(|_| {
        // SAFETY: SPI is connected; there are no arguments; the portal lives until it is closed or the
        // (sub)transaction ends, and its name is read at once.
        unsafe {
            let portal = pg_sys::SPI_cursor_open_with_args(
                std::ptr::null(),
                sql.as_ptr(),
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null(),
                true,
                0,
            );
            CStr::from_ptr((*portal).name).to_string_lossy().into_owned()
        }
    }))
}
