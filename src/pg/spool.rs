//! The rows of a query, kept aside for more queries: in memory while they are few, on disk when they are many.

use std::ffi::{CStr, c_int};

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::{self, Spi, SpiHeapTupleData};

use super::error::Result;
use super::session::{c_string, check_writable};
use super::spi::read_rows;
use super::subtransaction;

/// What the rows are called in the queries that read them.
const NAME: &CStr = c"spool";

/// Rows that a query returned. They take no more memory than `work_mem`. What is made in a subtransaction must not leave
/// it: its files are gone with it.
pub struct Spool {
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
}

/// Where the executor sends the rows.
#[repr(C)]
struct Receiver {
    /// What the server knows of it; it must come first.
    head: pg_sys::DestReceiver,
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
    memory: pg_sys::MemoryContext,
}

impl Spool {
    /// Runs a query that changes nothing, on the snapshot of the calling statement and with parallel workers where the
    /// planner wants them: a cursor, which needs no memory either, never gets any. What the query raises comes back as
    /// a failure.
    #[allow(unsafe_code)]
    pub fn fill(sql: &str) -> Result<Self> {
        let sql = c_string(sql)?;
        // SAFETY: both outlive the subtransaction below, because they belong to the caller's memory and resources.
        let (memory, store) = unsafe {
            (pg_sys::CurrentMemoryContext, pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem))
        };
        let mut receiver = Receiver {
            head: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(start),
                rShutdown: Some(nothing_to_do),
                rDestroy: Some(nothing_to_do),
                mydest: pg_sys::CommandDest::DestTuplestore,
            },
            store,
            columns: std::ptr::null_mut(),
            memory,
        };
        let filled = subtransaction::run(|| execute(&sql, &mut receiver));
        let spool = Self { store, columns: receiver.columns };
        filled.map(|()| spool)
    }

    /// How many rows there are.
    #[allow(unsafe_code)]
    pub fn count(&self) -> i64 {
        // SAFETY: made by `fill`.
        unsafe { pg_sys::tuplestore_tuple_count(self.store) }
    }

    /// Runs a query that changes nothing on the rows, which it calls `spool`, and maps each row of its result.
    pub fn read<'a, T>(
        &self,
        sql: &str,
        args: &[DatumWithOid<'a>],
        row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        self.run(sql, args, true, row)
    }

    /// Runs a statement that writes what it takes from the rows, which it calls `spool`, and maps each row that it
    /// returns.
    pub fn write<'a, T>(
        &self,
        sql: &str,
        args: &[DatumWithOid<'a>],
        row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        check_writable()?;
        self.run(sql, args, false, row)
    }

    #[allow(unsafe_code)]
    fn run<'a, T>(
        &self,
        sql: &str,
        args: &[DatumWithOid<'a>],
        on_statement_snapshot: bool,
        mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        let sql = c_string(sql)?;
        // For the planner.
        #[allow(clippy::cast_precision_loss)]
        let rows = self.count() as f64;
        let mut relation = pg_sys::EphemeralNamedRelationData {
            md: pg_sys::EphemeralNamedRelationMetadataData {
                name: NAME.as_ptr().cast_mut(),
                reliddesc: pg_sys::InvalidOid,
                tupdesc: self.columns,
                enrtype: pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE,
                enrtuples: rows,
            },
            reldata: self.store.cast(),
        };
        Ok(Spi::connect(|_| {
            // SAFETY: SPI is connected and forgets the relation when it disconnects, before `relation` is gone.
            let status = unsafe { pg_sys::SPI_register_relation(&raw mut relation) };
            Spi::check_status(status)?;
            read_rows(&sql, args, on_statement_snapshot, &mut row)
        })?)
    }
}

impl Drop for Spool {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `fill`, and used by nobody any more: no query runs while its caller drops this.
        unsafe { pg_sys::tuplestore_end(self.store) };
    }
}

#[allow(unsafe_code)]
fn execute(sql: &CStr, receiver: &mut Receiver) -> Result<()> {
    let options = pg_sys::SPIExecuteOptions {
        read_only: true,
        dest: std::ptr::from_mut(receiver).cast(),
        ..Default::default()
    };
    Ok(Spi::connect(|_| {
        // SAFETY: SPI is connected; the receiver lives through the call; there are no parameters.
        let status = unsafe { pg_sys::SPI_execute_extended(sql.as_ptr(), &raw const options) };
        Spi::check_status(status).map(drop)
    })?)
}

/// # Safety
/// Called by the executor, with the receiver that it was given.
#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn start(
    receiver: *mut pg_sys::DestReceiver,
    _operation: c_int,
    columns: pg_sys::TupleDesc,
) {
    // SAFETY: `head` is the first field of the receiver; the copy outlives the query.
    unsafe {
        let receiver = &mut *receiver.cast::<Receiver>();
        let before = pg_sys::MemoryContextSwitchTo(receiver.memory);
        receiver.columns = pg_sys::CreateTupleDescCopy(columns);
        pg_sys::MemoryContextSwitchTo(before);
    }
}

/// # Safety
/// As `start`.
#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: as in `start`; the store copies the row.
    unsafe { pg_sys::tuplestore_puttupleslot((*receiver.cast::<Receiver>()).store, slot) };
    true
}

#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn nothing_to_do(_receiver: *mut pg_sys::DestReceiver) {}

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Spool;
    use pgrx::prelude::*;

    #[pg_test]
    fn rows_are_read_again_and_again_and_written_elsewhere() {
        let spool =
            Spool::fill("SELECT i, i::text AS t FROM pg_catalog.generate_series(1, 100000) i").unwrap();
        for _ in 0..2 {
            let sum =
                spool.read("SELECT sum(i) FROM spool WHERE t <> '1'", &[], |row| row.get::<i64>(1)).unwrap();
            assert_eq!(sum, [Some(5_000_049_999)]);
        }
    }

    #[pg_test]
    fn what_a_query_raises_comes_back_and_leaves_nothing() {
        let failure =
            Spool::fill("SELECT 1 / (i - 5) FROM pg_catalog.generate_series(1, 9) i").err().unwrap();
        assert_eq!(failure.sqlstate_text(), "22012");
        let spool = Spool::fill("SELECT 1 AS one").unwrap();
        assert_eq!(spool.read("SELECT one FROM spool", &[], |row| row.get::<i32>(1)).unwrap(), [Some(1)]);
    }
}
