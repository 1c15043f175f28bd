//! Rows in the formats of COPY.

use std::ffi::CStr;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;
use pgrx::varlena::{varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u, vardata_any, varsize_any_exhdr};

use super::error::Result;
use super::session;
use super::spool::{self, Reader, Sink, Spool};

/// So many bytes are handed on at a time, or a row that has more; then, and after so many rows, the memory that their types
/// took is given back.
const BYTES: usize = 64 * 1024;
const ROWS: usize = 1000;

/// Signature, flags and length of the extension: the head of a binary copy.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const BINARY_END: [u8; 2] = (-1_i16).to_be_bytes();
const BINARY_NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As their types send them. What a type writes of objects are their numbers here.
    Binary,
    /// As their types write them.
    Text,
}

impl Spool {
    /// Hands on the rows as COPY reads them: the columns after the first, then the number of the row, a bigint, from `number`
    /// on.
    #[allow(unsafe_code)]
    pub fn copy(&self, format: Format, number: i64, mut put: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        in_this_encoding(|| {
            let mut writer = Writer::new(format);
            writer.begin(self.columns);
            let mut reader = Reader::new(self);
            let mut number = number;
            while let Some(slot) = reader.next() {
                // SAFETY: the slot has a row of the spool.
                unsafe { writer.row(slot, Some(number)) };
                number += 1;
                writer.hand_on(&mut put)?;
            }
            writer.end(&mut put)
        })
    }
}

/// Runs a query that changes nothing, on the snapshot of the calling statement, and hands on its rows as COPY reads them: the
/// columns after the first, a bigint. Returns how many there are, and the sum of the first column.
pub fn stream(sql: &str, format: Format, put: impl FnMut(&[u8]) -> Result<()>) -> Result<(i64, i128)> {
    // What is made while the query runs is gone with it.
    let writer = Writer::new(format);
    let mut stream = Stream { writer, put, rows: 0, sum: 0, result: Ok(()) };
    in_this_encoding(|| spool::pour(sql, &mut stream))?;
    let Stream { mut writer, mut put, rows, sum, result } = stream;
    result?;
    writer.end(&mut put)?;
    Ok((rows, sum))
}

/// What the types write must not depend on the caller's settings. What some of them send is in the encoding of the client,
/// which here is another server that was told this database's; opdb is made only where that is UTF8.
fn in_this_encoding<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    session::pinned_with(&[("client_encoding", "UTF8")], work)
}

struct Stream<P> {
    writer: Writer,
    put: P,
    rows: i64,
    sum: i128,
    result: Result<()>,
}

impl<P: FnMut(&[u8]) -> Result<()>> Sink for Stream<P> {
    fn begin(&mut self, columns: pg_sys::TupleDesc) {
        self.writer.begin(columns);
    }

    #[allow(unsafe_code)]
    fn row(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the executor's slot has a row of the query, with the columns that it began with.
        self.sum += i128::from(unsafe { self.writer.row(slot, None) });
        self.rows += 1;
        self.result = self.writer.hand_on(&mut self.put);
        self.result.is_ok()
    }
}

/// How the values of a column become bytes.
enum Column {
    /// A number of so many bytes, the highest first.
    Number(usize),
    /// What is stored.
    Bytes,
    /// What this function of the type makes of it.
    Function(Box<pg_sys::FmgrInfo>),
}

struct Writer {
    format: Format,
    columns: Vec<Column>,
    memory: PgMemoryContexts,
    /// Rows since the memory was given back.
    rows: usize,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(format: Format) -> Self {
        let bytes = Vec::with_capacity(2 * BYTES);
        Self { format, columns: Vec::new(), memory: PgMemoryContexts::new("opdb copy"), rows: 0, bytes }
    }

    #[allow(unsafe_code)]
    fn begin(&mut self, of: pg_sys::TupleDesc) {
        // SAFETY: the columns of a query that is under way, or of a spool.
        unsafe {
            let column = |number| Column::new(pg_sys::SPI_gettypeid(of, number), self.format);
            self.columns = (2..=(*of).natts).map(column).collect();
        }
        if self.format == Format::Binary {
            self.bytes.extend_from_slice(BINARY_HEAD);
        }
    }

    /// Adds a row, and a number after it if there is one. Returns its first column.
    ///
    /// # Safety
    /// The slot has a row of the columns that this was made for.
    #[allow(unsafe_code)]
    unsafe fn row(&mut self, slot: *mut pg_sys::TupleTableSlot, number: Option<i64>) -> i64 {
        let Self { format, columns, memory, bytes, .. } = self;
        // SAFETY: as the caller says; the values live until the slot gets another row.
        let (values, nulls) = unsafe {
            let count = columns.len() + 1;
            if usize::try_from((*slot).tts_nvalid).unwrap_or(0) < count {
                pg_sys::slot_getsomeattrs_int(slot, count as i32);
            }
            (
                std::slice::from_raw_parts((*slot).tts_values, count),
                std::slice::from_raw_parts((*slot).tts_isnull, count),
            )
        };
        if *format == Format::Binary {
            let fields = columns.len() + usize::from(number.is_some());
            bytes.extend_from_slice(&i16::try_from(fields).unwrap_or(i16::MAX).to_be_bytes());
        }
        for ((column, value), is_null) in columns.iter_mut().zip(&values[1..]).zip(&nulls[1..]) {
            match (&*format, is_null) {
                (Format::Binary, true) => bytes.extend_from_slice(&BINARY_NULL),
                (Format::Binary, false) => column.send(*value, memory, bytes),
                (Format::Text, true) => bytes.extend_from_slice(b"\\N\t"),
                (Format::Text, false) => {
                    column.write(*value, memory, bytes);
                    bytes.push(b'\t');
                }
            }
        }
        match (&*format, number) {
            (Format::Binary, Some(number)) => framed(&number.to_be_bytes(), bytes),
            (Format::Binary, None) => {}
            (Format::Text, Some(number)) => bytes.extend_from_slice(format!("{number}\n").as_bytes()),
            (Format::Text, None) => {
                bytes.pop();
                bytes.push(b'\n');
            }
        }
        values[0].value() as i64
    }

    /// Hands on what has come together, if it is enough.
    fn hand_on(&mut self, put: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.rows += 1;
        if self.rows == ROWS {
            self.forget();
        }
        if self.bytes.len() < BYTES {
            return Ok(());
        }
        put(&self.bytes)?;
        self.bytes.clear();
        self.bytes.shrink_to(2 * BYTES);
        self.forget();
        Ok(())
    }

    /// What the types took for values that were written.
    #[allow(unsafe_code)]
    fn forget(&mut self) {
        // SAFETY: nothing points there any more.
        unsafe { self.memory.reset() };
        self.rows = 0;
    }

    fn end(&mut self, put: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.format == Format::Binary {
            self.bytes.extend_from_slice(&BINARY_END);
        }
        put(&self.bytes)
    }
}

impl Column {
    #[allow(unsafe_code)]
    fn new(of: pg_sys::Oid, format: Format) -> Self {
        let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
        // SAFETY: catalog lookups of a type that a query returned; the information is the function's, and stays where it
        // is in memory of the current context.
        unsafe {
            match (format, pg_sys::getBaseType(of)) {
                (Format::Binary, pg_sys::BOOLOID) => return Self::Number(1),
                (Format::Binary, pg_sys::INT2OID) => return Self::Number(2),
                (Format::Binary, pg_sys::INT4OID | pg_sys::OIDOID | pg_sys::FLOAT4OID | pg_sys::DATEOID) => {
                    return Self::Number(4);
                }
                (
                    Format::Binary,
                    pg_sys::INT8OID
                    | pg_sys::FLOAT8OID
                    | pg_sys::TIMEOID
                    | pg_sys::TIMESTAMPOID
                    | pg_sys::TIMESTAMPTZOID,
                ) => return Self::Number(8),
                (
                    Format::Binary,
                    pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::BYTEAOID,
                ) => return Self::Bytes,
                (Format::Binary, _) => pg_sys::getTypeBinaryOutputInfo(of, &mut function, &mut is_varlena),
                (Format::Text, _) => pg_sys::getTypeOutputInfo(of, &mut function, &mut is_varlena),
            }
            let mut information = Box::new(pg_sys::FmgrInfo::default());
            pg_sys::fmgr_info(function, &mut *information);
            Self::Function(information)
        }
    }

    /// Adds a value with its length.
    #[allow(unsafe_code)]
    fn send(&mut self, value: pg_sys::Datum, memory: &mut PgMemoryContexts, bytes: &mut Vec<u8>) {
        match self {
            Self::Number(length) => framed(&value.value().to_be_bytes()[8 - *length..], bytes),
            Self::Bytes => {
                let stored: *mut pg_sys::varlena = value.cast_mut_ptr();
                // SAFETY: the datum of a type whose values are varlenas; one that is not in the row as it is, is copied.
                unsafe {
                    let is_plain = varatt_is_4b_u(stored) || varatt_is_1b(stored) && !varatt_is_1b_e(stored);
                    let plain = match is_plain {
                        true => stored,
                        false => memory.switch_to(|_| pg_sys::pg_detoast_datum_packed(stored)),
                    };
                    let text = vardata_any(plain).cast::<u8>();
                    framed(std::slice::from_raw_parts(text, varsize_any_exhdr(plain)), bytes);
                }
            }
            Self::Function(function) => {
                // SAFETY: the function that sends values of the datum's type; it returns a bytea with a long header.
                unsafe {
                    let sent = memory.switch_to(|_| pg_sys::SendFunctionCall(&mut **function, value));
                    let sent = sent.cast::<pg_sys::varlena>();
                    let text = vardata_any(sent).cast::<u8>();
                    framed(std::slice::from_raw_parts(text, varsize_any_exhdr(sent)), bytes);
                }
            }
        }
    }

    /// Adds a value as text, with what COPY takes for something else escaped.
    #[allow(unsafe_code)]
    fn write(&mut self, value: pg_sys::Datum, memory: &mut PgMemoryContexts, bytes: &mut Vec<u8>) {
        let Self::Function(function) = self else { return };
        // SAFETY: the function that writes values of the datum's type; it returns a NUL-terminated text.
        let text = unsafe {
            CStr::from_ptr(memory.switch_to(|_| pg_sys::OutputFunctionCall(&mut **function, value)))
        };
        for byte in text.to_bytes() {
            match byte {
                b'\\' => bytes.extend_from_slice(b"\\\\"),
                b'\t' => bytes.extend_from_slice(b"\\t"),
                b'\n' => bytes.extend_from_slice(b"\\n"),
                b'\r' => bytes.extend_from_slice(b"\\r"),
                other => bytes.push(*other),
            }
        }
    }
}

/// Adds bytes after their number.
fn framed(of: &[u8], bytes: &mut Vec<u8>) {
    let length = i32::try_from(of.len()).unwrap_or(i32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(of);
}
