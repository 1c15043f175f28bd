//! The rows of a query, kept aside for more queries: in memory while they are few, on disk when they are many.

use std::ffi::{CStr, c_char, c_int};

use pgrx::datum::DatumWithOid;
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::{self, Spi, SpiHeapTupleData};

use super::error::{Failure, Result};
use super::libpq;
use super::session::{c_string, check_writable};
use super::spi::read_rows;
use super::subtransaction;

/// What the rows are called in the queries that read one spool.
const NAME: &CStr = c"spool";

/// A spool, and what its rows are called in a query that reads several.
pub type Source<'a> = (&'static CStr, &'a Spool);

/// Rows that a query returned. They take no more memory than `work_mem`, and are there as long as this is, also where it
/// leaves the subtransaction that it was made in.
pub struct Spool {
    pub(super) store: *mut pg_sys::Tuplestorestate,
    pub(super) columns: pg_sys::TupleDesc,
}

impl Spool {
    /// Runs a query that changes nothing, on the snapshot of the calling statement and with parallel workers where the
    /// planner wants them: a cursor, which needs no memory either, never gets any. What the query raises comes back as
    /// a failure.
    pub fn fill(sql: &str) -> Result<Self> {
        Self::filled(sql, &[], false)
    }

    /// `fill` that also reads other spools.
    pub fn fill_from(sources: &[Source], sql: &str) -> Result<Self> {
        Self::filled(sql, sources, false)
    }

    /// One without rows, whose columns are of the given names and types.
    pub fn with_columns(columns: &str) -> Result<Self> {
        Self::fill(&format!("SELECT * FROM pg_catalog.jsonb_to_recordset('[]') AS answer ({columns})"))
    }

    /// Adds the rows of another server's answer, which has as many columns. Their types read the values.
    #[allow(unsafe_code)]
    pub fn take_in(&mut self, answer: &libpq::Answer) -> Result<()> {
        let mut memory = PgMemoryContexts::new("opdb answer");
        subtransaction::run(|| {
            // SAFETY: the columns live as long as the spool; the store copies each row, for which there are as many values
            // as columns, before its memory is freed.
            unsafe {
                let columns = usize::try_from((*self.columns).natts).unwrap_or(0);
                if answer.columns() != columns {
                    return Err(Failure::new(
                        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                        format!("{} columns where {columns} were asked for", answer.columns()),
                    ));
                }
                let read = pg_sys::TupleDescGetAttInMetadata(self.columns);
                for row in 0..answer.rows() {
                    let value = |column| answer.value(row, column).map_or(std::ptr::null_mut(), pointer);
                    let mut values: Vec<_> = (0..columns).map(value).collect();
                    memory.switch_to(|_| {
                        let tuple = pg_sys::BuildTupleFromCStrings(read, values.as_mut_ptr());
                        pg_sys::tuplestore_puttuple(self.store, tuple);
                    });
                    memory.reset();
                }
            }
            Ok(())
        })
    }

    /// `fill` with those rows only that have the same number, a bigint, in the first column as the one before or after
    /// them, or none.
    pub fn fill_with_repeated(sql: &str) -> Result<Self> {
        Self::filled(sql, &[], true)
    }

    /// `fill` by a query on these rows, which it calls `spool`.
    pub fn select(&self, sql: &str) -> Result<Self> {
        Self::filled(sql, &[(NAME, self)], false)
    }

    #[allow(unsafe_code)]
    fn filled(sql: &str, sources: &[Source], only_repeated: bool) -> Result<Self> {
        let store = new_store();
        // From here on whatever happens frees the store.
        let mut spool = Self { store, columns: std::ptr::null_mut() };
        let mut receiver = Receiver::new(store, only_repeated);
        subtransaction::run(|| receiver.receive_from(sql, sources))?;
        spool.columns = receiver.columns;
        Ok(spool)
    }

    /// How many rows there are.
    #[allow(unsafe_code)]
    pub fn count(&self) -> i64 {
        // SAFETY: made by `filled`.
        unsafe { pg_sys::tuplestore_tuple_count(self.store) }
    }

    /// Hands the rows on in their order, each time at most so many `rows` as a spool of their own, or fewer if they are of
    /// more than so many `bytes`.
    pub fn in_parts(&self, rows: i64, bytes: usize, mut each: impl FnMut(&Self) -> Result<()>) -> Result<()> {
        let mut reader = Reader::new(self);
        loop {
            let part = reader.take(rows, bytes);
            if part.count() == 0 {
                return Ok(());
            }
            each(&part)?;
        }
    }

    /// Runs a query that changes nothing on the rows, which it calls `spool`, and maps each row of its result.
    pub fn read<'a, T>(
        &self,
        sql: &str,
        args: &[DatumWithOid<'a>],
        row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        run(&[(NAME, self)], sql, args, true, row)
    }

    /// `read` of several spools.
    pub fn read_from<T>(
        sources: &[Source],
        sql: &str,
        row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
    ) -> Result<Vec<T>> {
        run(sources, sql, &[], true, row)
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
        run(&[(NAME, self)], sql, args, false, row)
    }

    /// What SPI must know of the rows.
    fn relation(&self, name: &'static CStr) -> pg_sys::EphemeralNamedRelationData {
        // For the planner.
        #[allow(clippy::cast_precision_loss)]
        let rows = self.count() as f64;
        pg_sys::EphemeralNamedRelationData {
            md: pg_sys::EphemeralNamedRelationMetadataData {
                name: name.as_ptr().cast_mut(),
                reliddesc: pg_sys::InvalidOid,
                tupdesc: self.columns,
                enrtype: pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE,
                enrtuples: rows,
            },
            reldata: self.store.cast(),
        }
    }
}

/// A store in the caller's memory, whose files are the transaction's: those of a subtransaction are gone with it, and what
/// is read then has no rows, without an error.
#[allow(unsafe_code)]
fn new_store() -> *mut pg_sys::Tuplestorestate {
    // SAFETY: in a transaction; the store keeps the owner that is current when it is made.
    unsafe {
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentResourceOwner = pg_sys::TopTransactionResourceOwner;
        let store = pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem);
        pg_sys::CurrentResourceOwner = owner;
        store
    }
}

/// What the server calls a text that it only reads.
const fn pointer(text: &CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

fn run<'a, T>(
    sources: &[Source],
    sql: &str,
    args: &[DatumWithOid<'a>],
    on_statement_snapshot: bool,
    mut row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    let sql = c_string(sql)?;
    let mut relations: Vec<_> = sources.iter().map(|(name, spool)| spool.relation(name)).collect();
    Ok(Spi::connect(|_| {
        relations.iter_mut().try_for_each(register)?;
        read_rows(&sql, args, on_statement_snapshot, &mut row)
    })?)
}

impl Drop for Spool {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `filled` or `Reader::take`, and used by nobody any more: no query runs while its caller drops
        // this.
        unsafe { pg_sys::tuplestore_end(self.store) };
    }
}

/// Has the function that is being called return the rows of a query, whose columns are those that it is declared to
/// return. They take no more memory than `work_mem`, however many they are.
///
/// Errors: 0A000 where the caller takes no set of rows.
pub fn answer(call: pg_sys::FunctionCallInfo, sql: &str) -> Result<()> {
    Answer::new(call).add(&[], sql)
}

/// What the function that is being called returns, as [`answer`] does, by as many queries as it takes.
pub struct Answer(*mut pg_sys::Tuplestorestate);

impl Answer {
    #[allow(unsafe_code)]
    pub fn new(call: pg_sys::FunctionCallInfo) -> Self {
        // SAFETY: the call is the one that is going on; that its caller takes rows is checked before they are looked at.
        Self(unsafe {
            pg_sys::InitMaterializedSRF(call, 0);
            (*(*call).resultinfo.cast::<pg_sys::ReturnSetInfo>()).setResult
        })
    }

    /// The rows of a query on spools.
    pub fn add(&self, sources: &[Source], sql: &str) -> Result<()> {
        Receiver::new(self.0, false).receive_from(sql, sources)
    }
}

#[allow(unsafe_code)]
fn register(relation: &mut pg_sys::EphemeralNamedRelationData) -> spi::Result<()> {
    // SAFETY: SPI is connected and forgets the relation when it disconnects, before its caller drops it.
    let status = unsafe { pg_sys::SPI_register_relation(relation) };
    Spi::check_status(status).map(drop)
}

/// Goes through the rows of a spool once.
pub(super) struct Reader<'a> {
    spool: &'a Spool,
    slot: *mut pg_sys::TupleTableSlot,
}

#[allow(unsafe_code)]
impl<'a> Reader<'a> {
    pub(super) fn new(spool: &'a Spool) -> Self {
        // SAFETY: the store and its columns live as long as the spool. Queries on it read through pointers of their own.
        let slot = unsafe {
            pg_sys::tuplestore_select_read_pointer(spool.store, 0);
            pg_sys::tuplestore_rescan(spool.store);
            pg_sys::MakeSingleTupleTableSlot(spool.columns, &raw const pg_sys::TTSOpsMinimalTuple)
        };
        Self { spool, slot }
    }

    /// A slot with the next row, which it has until the one after that is asked for.
    pub(super) fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        // SAFETY: as in `new`.
        unsafe { pg_sys::tuplestore_gettupleslot(self.spool.store, true, false, self.slot) }
            .then_some(self.slot)
    }

    /// The next rows, at most as many as asked for, but one if there is one.
    fn take(&mut self, rows: i64, bytes: usize) -> Spool {
        // SAFETY: as in `new`; a row is copied from one store to the other before the next is asked for. The slot is one for
        // minimal tuples, and has one after a row was got.
        unsafe {
            let store = new_store();
            let part = Spool { store, columns: self.spool.columns };
            pg_sys::tuplestore_select_read_pointer(self.spool.store, 0);
            let mut taken = 0;
            for _ in 0..rows {
                if taken >= bytes
                    || !pg_sys::tuplestore_gettupleslot(self.spool.store, true, false, self.slot)
                {
                    break;
                }
                pg_sys::tuplestore_puttupleslot(store, self.slot);
                let tuple = (*self.slot.cast::<pg_sys::MinimalTupleTableSlot>()).mintuple;
                taken += (*tuple).t_len as usize;
            }
            part
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Reader<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `new`.
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
    }
}

/// Where the executor sends the rows.
#[repr(C)]
struct Receiver {
    /// What the server knows of it; it must come first.
    head: pg_sys::DestReceiver,
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
    memory: pg_sys::MemoryContext,
    before: Before,
}

/// The row that came before, where rows are wanted by what is beside them.
struct Before {
    /// NULL until there is one.
    slot: *mut pg_sys::TupleTableSlot,
    number: pg_sys::Datum,
    is_stored: bool,
}

#[allow(unsafe_code)]
impl Drop for Before {
    fn drop(&mut self) {
        if !self.slot.is_null() {
            // SAFETY: made by `receive_repeated`; the query is over.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
        }
    }
}

impl Receiver {
    #[allow(unsafe_code)]
    fn new(store: *mut pg_sys::Tuplestorestate, only_repeated: bool) -> Self {
        let head = pg_sys::DestReceiver {
            receiveSlot: Some(if only_repeated { receive_repeated } else { receive }),
            rStartup: Some(start),
            rShutdown: Some(nothing_to_do),
            rDestroy: Some(nothing_to_do),
            mydest: pg_sys::CommandDest::DestTuplestore,
        };
        // SAFETY: the memory that is allocated in now.
        let memory = unsafe { pg_sys::CurrentMemoryContext };
        let before = Before { slot: std::ptr::null_mut(), number: pg_sys::Datum::null(), is_stored: true };
        Self { head, store, columns: std::ptr::null_mut(), memory, before }
    }

    fn receive_from(&mut self, sql: &str, sources: &[Source]) -> Result<()> {
        send_to(std::ptr::from_mut(self).cast(), sql, sources)
    }
}

/// Has the executor send the rows of a query to `receiver`.
#[allow(unsafe_code)]
fn send_to(receiver: *mut pg_sys::DestReceiver, sql: &str, sources: &[Source]) -> Result<()> {
    let sql = c_string(sql)?;
    let mut relations: Vec<_> = sources.iter().map(|(name, spool)| spool.relation(name)).collect();
    let options = pg_sys::SPIExecuteOptions { read_only: true, dest: receiver, ..Default::default() };
    Ok(Spi::connect(|_| {
        relations.iter_mut().try_for_each(register)?;
        // SAFETY: SPI is connected; the receiver lives through the call; there are no parameters.
        let status = unsafe { pg_sys::SPI_execute_extended(sql.as_ptr(), &raw const options) };
        Spi::check_status(status).map(drop)
    })?)
}

/// Who takes the rows of a query one by one.
pub(super) trait Sink {
    fn begin(&mut self, columns: pg_sys::TupleDesc);
    /// False for no more.
    fn row(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool;
}

/// A receiver that hands them on.
#[repr(C)]
struct Forward<'a> {
    /// It must come first, as in [`Receiver`].
    head: pg_sys::DestReceiver,
    sink: &'a mut dyn Sink,
}

/// Runs a query that changes nothing, on the snapshot of the calling statement.
pub(super) fn pour(sql: &str, sink: &mut dyn Sink) -> Result<()> {
    let head = pg_sys::DestReceiver {
        receiveSlot: Some(forward_row),
        rStartup: Some(forward_columns),
        rShutdown: Some(nothing_to_do),
        rDestroy: Some(nothing_to_do),
        mydest: pg_sys::CommandDest::DestTuplestore,
    };
    let mut receiver = Forward { head, sink };
    send_to((&raw mut receiver).cast(), sql, &[])
}

/// # Safety
/// Called by the executor, with the receiver that it was given.
#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn forward_columns(
    receiver: *mut pg_sys::DestReceiver,
    _operation: c_int,
    columns: pg_sys::TupleDesc,
) {
    // SAFETY: `head` is the first field of the receiver.
    unsafe { (*receiver.cast::<Forward>()).sink.begin(columns) };
}

/// # Safety
/// As `forward_columns`.
#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn forward_row(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: as in `forward_columns`.
    unsafe { (*receiver.cast::<Forward>()).sink.row(slot) }
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

/// # Safety
/// As `start`.
#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn receive_repeated(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: as in `start`. Once its first column has been taken apart, a slot has its value; a copy needs no other row.
    unsafe {
        let receiver = &mut *receiver.cast::<Receiver>();
        if (*slot).tts_nvalid < 1 {
            pg_sys::slot_getsomeattrs_int(slot, 1);
        }
        if *(*slot).tts_isnull {
            pg_sys::tuplestore_puttupleslot(receiver.store, slot);
            return true;
        }
        let (number, before) = (*(*slot).tts_values, &mut receiver.before);
        if !before.slot.is_null() && before.number == number {
            if !before.is_stored {
                pg_sys::tuplestore_puttupleslot(receiver.store, before.slot);
                before.is_stored = true;
            }
            pg_sys::tuplestore_puttupleslot(receiver.store, slot);
            return true;
        }
        if before.slot.is_null() {
            let other = pg_sys::MemoryContextSwitchTo(receiver.memory);
            before.slot =
                pg_sys::MakeSingleTupleTableSlot(receiver.columns, &raw const pg_sys::TTSOpsMinimalTuple);
            pg_sys::MemoryContextSwitchTo(other);
        }
        if let Some(copy) = (*(*before.slot).tts_ops).copyslot {
            copy(before.slot, slot);
        }
        (before.number, before.is_stored) = (number, false);
    }
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
    use crate::pg::{spi, subtransaction};
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
    fn rows_are_kept_that_have_the_same_number_as_a_neighbour_or_none() {
        let numbers = "SELECT * FROM (VALUES (1::bigint, 'a'), (2, 'b'), (2, 'c'), (2, 'd'), (3, 'e'), (NULL, 'f'), (4, 'g'), (4, 'h')) v";
        let spool = Spool::fill_with_repeated(numbers).unwrap();
        let kept = spool.read("SELECT string_agg(column2, '') FROM spool", &[], |row| row.get::<String>(1));
        assert_eq!(kept.unwrap(), [Some("bcdfgh".to_owned())]);
        let none = Spool::fill_with_repeated("SELECT i::bigint FROM pg_catalog.generate_series(1, 9) i");
        assert_eq!(none.unwrap().count(), 0);
    }

    #[pg_test]
    fn rows_are_handed_on_in_parts_that_can_be_read_meanwhile() {
        let spool = Spool::fill("SELECT i FROM pg_catalog.generate_series(1, 25000) i").unwrap();
        let mut parts = Vec::new();
        let found = spool.in_parts(10_000, usize::MAX, |part| {
            let last = part.read("SELECT max(i) FROM spool", &[], |row| row.get::<i32>(1))?;
            // Reading all of them does not lose the place.
            let all = spool.read("SELECT count(*)::int FROM spool", &[], |row| row.get::<i32>(1))?;
            parts.push((part.count(), last[0], all[0]));
            Ok(())
        });
        found.unwrap();
        let all = Some(25_000);
        assert_eq!(
            parts,
            [(10_000, Some(10_000), all), (10_000, Some(20_000), all), (5_000, Some(25_000), all)]
        );
        let mut singly = 0;
        spool
            .in_parts(10_000, 1, |part| {
                singly += part.count();
                Ok(())
            })
            .unwrap();
        assert_eq!(singly, 25_000);
        let odd = spool.select("SELECT i FROM spool WHERE i % 2 = 1").unwrap();
        assert_eq!(odd.count(), 12_500);
    }

    #[pg_test]
    fn rows_on_disk_outlive_the_subtransaction_that_they_were_read_in() {
        spi::write("SET work_mem = '64kB'", &[]).unwrap();
        let many = "SELECT i::bigint, repeat('x', 100) FROM pg_catalog.generate_series(1, 20000) i";
        let fill = || subtransaction::run(|| subtransaction::run(|| Spool::fill(many)));
        let count = |spool: &Spool| {
            spool.read("SELECT pg_catalog.count(*) FROM spool", &[], |row| row.get::<i64>(1)).unwrap()
        };
        assert_eq!(count(&fill().unwrap()), [Some(20_000)]);
        let mut left = None;
        let failed = subtransaction::run(|| {
            left = Some(Spool::fill(many)?);
            spi::write("SELECT 1 / 0", &[]).map(drop)
        });
        assert!(failed.is_err());
        assert_eq!(count(&left.unwrap()), [Some(20_000)], "what failed is another thing");
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
