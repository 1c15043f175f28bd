//! The rows of a query, kept to be asked more than once: without a table, and so without a transaction id.

use std::ffi::{CStr, CString, c_long};

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{self, Spi, SpiHeapTupleData};

use super::error::Result;
use super::session::c_string;
use super::spi::read_rows;

/// What the rows are called in the queries that ask them.
const NAME: &CStr = c"sample";

/// How many rows are on their way at once.
const BATCH: c_long = 1000;

/// Rows in memory up to `work_mem`, and beyond that in a temporary file. Queries know them as `sample`.
pub struct StoredRows {
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
    pub rows: i64,
}

impl StoredRows {
    /// Runs a query once, on the snapshot of the calling statement, and keeps its rows until this is dropped. The
    /// query must have a column.
    #[allow(unsafe_code)]
    pub fn of(sql: &str) -> Result<Self> {
        let sql = c_string(sql)?;
        // SAFETY: main thread, inside a transaction. The store and the description of its rows are made in the memory
        // context that is current outside of SPI, which outlives the value.
        unsafe {
            let outside = pg_sys::CurrentMemoryContext;
            let store = pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem);
            let columns = Spi::connect(|_| fill(store, &sql, outside));
            let rows = pg_sys::tuplestore_tuple_count(store);
            Ok(Self { store, columns, rows })
        }
    }

    /// Runs a query that changes nothing on the rows, which it calls `sample`, and maps each row of its result.
    #[allow(unsafe_code)]
    pub fn read<'a, T>(
        &self,
        sql: &str,
        args: &[DatumWithOid<'a>],
        mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        let sql = c_string(sql)?;
        let name = CString::from(NAME);
        let mut relation = pg_sys::EphemeralNamedRelationData::default();
        relation.md.name = name.as_ptr().cast_mut();
        relation.md.tupdesc = self.columns;
        relation.md.enrtype = pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE;
        // A count of rows, for the planner.
        #[allow(clippy::cast_precision_loss)]
        let rows = self.rows as f64;
        relation.md.enrtuples = rows;
        relation.reldata = self.store.cast();
        let rows = Spi::connect(|_| {
            // SAFETY: SPI is connected; it forgets the relation when it disconnects, before `relation` and `name` go;
            // the store and the description live as long as `self`.
            let status = unsafe { pg_sys::SPI_register_relation(&raw mut relation) };
            Spi::check_status(status)?;
            read_rows(&sql, args, true, &mut row)
        })?;
        Ok(rows)
    }
}

impl Drop for StoredRows {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made in `of`, used by nobody any more: no query runs while its caller drops this.
        unsafe {
            pg_sys::tuplestore_end(self.store);
            pg_sys::FreeTupleDesc(self.columns);
        }
    }
}

/// Copies the rows of a query to `store`, and describes them in the memory context `outside`.
///
/// # Safety
/// SPI is connected; `store` is a tuple store.
#[allow(unsafe_code)]
unsafe fn fill(
    store: *mut pg_sys::Tuplestorestate,
    sql: &CStr,
    outside: pg_sys::MemoryContext,
) -> pg_sys::TupleDesc {
    // SAFETY: the portal has a description as long as it is open; each batch is freed once it was copied; what the
    // store allocates it allocates in a context of its own.
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
        let inside = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = outside;
        let columns = pg_sys::CreateTupleDescCopy((*portal).tupDesc);
        pg_sys::CurrentMemoryContext = inside;
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let table = pg_sys::SPI_tuptable;
            let count = (*table).numvals as usize;
            for place in 0..count {
                pg_sys::tuplestore_puttuple(store, *(*table).vals.add(place));
            }
            pg_sys::SPI_freetuptable(table);
            if count == 0 {
                break;
            }
            pgrx::check_for_interrupts!();
        }
        pg_sys::SPI_cursor_close(portal);
        columns
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::StoredRows;
    use pgrx::prelude::*;

    #[pg_test]
    fn rows_are_read_once_and_asked_again() {
        let stored =
            StoredRows::of("SELECT i AS n, repeat('x', 200) AS t FROM generate_series(1, 50000) i").unwrap();
        assert_eq!(stored.rows, 50_000);
        for _ in 0..3 {
            let sql = "SELECT sum(n) + $1 FROM sample WHERE length(t) = 200";
            let sum = stored.read(sql, &[1_i64.into()], |row| row.get::<i64>(1)).unwrap();
            assert_eq!(sum, [Some(1_250_025_001)]);
        }
        let both = "SELECT count(*) FROM sample a JOIN sample b USING (n)";
        assert_eq!(stored.read(both, &[], |row| row.get::<i64>(1)).unwrap(), [Some(50_000)]);
    }
}
