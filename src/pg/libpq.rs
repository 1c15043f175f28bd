//! Connections to other servers, by the libpq of this one. Nothing here blocks the backend: whoever waits for the other
//! server can be cancelled and stopped.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;

use super::error::{Failure, Result};
use super::session::c_string;

/// How much of a copy is handed to libpq at a time.
const CHUNK: usize = 64 * 1024;

#[repr(C)]
struct PgConn {
    _private: [u8; 0],
}

#[repr(C)]
struct PgResult {
    _private: [u8; 0],
}

#[repr(C)]
struct ConnectionOption {
    keyword: *mut c_char,
    envvar: *mut c_char,
    compiled: *mut c_char,
    val: *mut c_char,
    label: *mut c_char,
    dispchar: *mut c_char,
    dispsize: c_int,
}

// libpq-fe.h. A crate of declarations would find a libpq by itself, which need not be this server's.
#[allow(unsafe_code)]
#[link(name = "pq")]
unsafe extern "C" {
    fn PQconndefaults() -> *mut ConnectionOption;
    fn PQconninfoFree(options: *mut ConnectionOption);
    fn PQconnectStartParams(
        keywords: *const *const c_char,
        values: *const *const c_char,
        expand_dbname: c_int,
    ) -> *mut PgConn;
    fn PQconnectPoll(connection: *mut PgConn) -> c_int;
    fn PQstatus(connection: *const PgConn) -> c_int;
    fn PQsocket(connection: *const PgConn) -> c_int;
    fn PQhost(connection: *const PgConn) -> *mut c_char;
    fn PQport(connection: *const PgConn) -> *mut c_char;
    fn PQfinish(connection: *mut PgConn);
    fn PQerrorMessage(connection: *const PgConn) -> *mut c_char;
    fn PQconnectionUsedPassword(connection: *const PgConn) -> c_int;
    fn PQsetnonblocking(connection: *mut PgConn, is_nonblocking: c_int) -> c_int;
    fn PQsetNoticeReceiver(
        connection: *mut PgConn,
        receiver: unsafe extern "C" fn(*mut c_void, *const PgResult),
        argument: *mut c_void,
    ) -> *mut c_void;
    fn PQsendQuery(connection: *mut PgConn, sql: *const c_char) -> c_int;
    fn PQflush(connection: *mut PgConn) -> c_int;
    fn PQconsumeInput(connection: *mut PgConn) -> c_int;
    fn PQisBusy(connection: *mut PgConn) -> c_int;
    fn PQgetResult(connection: *mut PgConn) -> *mut PgResult;
    fn PQputCopyData(connection: *mut PgConn, bytes: *const c_char, length: c_int) -> c_int;
    fn PQputCopyEnd(connection: *mut PgConn, error: *const c_char) -> c_int;
    fn PQresultStatus(result: *const PgResult) -> c_int;
    fn PQresultErrorField(result: *const PgResult, field: c_int) -> *mut c_char;
    fn PQcmdStatus(result: *mut PgResult) -> *mut c_char;
    fn PQntuples(result: *const PgResult) -> c_int;
    fn PQnfields(result: *const PgResult) -> c_int;
    fn PQgetisnull(result: *const PgResult, row: c_int, column: c_int) -> c_int;
    fn PQgetvalue(result: *const PgResult, row: c_int, column: c_int) -> *mut c_char;
    fn PQclear(result: *mut PgResult);
}

const CONNECTION_OK: c_int = 0;
const PGRES_POLLING_FAILED: c_int = 0;
const PGRES_POLLING_READING: c_int = 1;
const PGRES_POLLING_WRITING: c_int = 2;
const PGRES_POLLING_OK: c_int = 3;
const PGRES_COMMAND_OK: c_int = 1;
const PGRES_TUPLES_OK: c_int = 2;
const PGRES_COPY_OUT: c_int = 3;
const PGRES_COPY_IN: c_int = 4;
const PG_DIAG_SQLSTATE: u8 = b'C';
const PG_DIAG_MESSAGE_PRIMARY: u8 = b'M';
const PG_DIAG_MESSAGE_DETAIL: u8 = b'D';
const PG_DIAG_MESSAGE_HINT: u8 = b'H';

/// An option of libpq, and what it may be set in.
pub struct Known {
    pub keyword: CString,
    /// Only in a user mapping.
    pub is_of_the_user: bool,
    /// Nobody but libpq's own developers sets it.
    is_for_debugging: bool,
}

impl Known {
    /// As dblink sees it. The encoding is this database's, and OAuth would talk to the server's log.
    fn may_be_set(&self) -> bool {
        let keyword = self.keyword.as_bytes();
        !self.is_for_debugging && keyword != b"client_encoding" && !keyword.starts_with(b"oauth_")
    }
}

/// The options that libpq has, as far as users set them; none if there is no memory.
#[allow(unsafe_code)]
pub fn options() -> Vec<Known> {
    let mut known = Vec::new();
    // SAFETY: an array that ends with a NULL keyword; what it points at is NUL-terminated, and copied.
    unsafe {
        let all = PQconndefaults();
        let mut option = all;
        while !option.is_null() && !(*option).keyword.is_null() {
            let keyword = CStr::from_ptr((*option).keyword).to_owned();
            let shown = CStr::from_ptr((*option).dispchar).to_bytes();
            known.push(Known {
                is_of_the_user: keyword.as_bytes() == b"user" || shown.contains(&b'*'),
                is_for_debugging: shown.contains(&b'D'),
                keyword,
            });
            option = option.add(1);
        }
        PQconninfoFree(all);
    }
    known.retain(Known::may_be_set);
    known
}

/// Why there is no connection, or none any more, in libpq's words.
pub struct Broken(pub String);

/// Why there is no connection.
pub enum NotOpen {
    Broken(Broken),
    /// A host that did not answer in time: its name or address, and its port.
    Silent {
        host: CString,
        port: CString,
    },
}

impl From<Broken> for NotOpen {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// What came of waiting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    Done,
    /// The time was over first.
    TooLong,
}

/// An open connection. It is closed when it is dropped, also by an error on its way through.
pub struct Connection(*mut PgConn);

/// What is to be waited for at most until then.
pub type Deadline = Option<Instant>;

impl Connection {
    /// Connects, with libpq's options, within `limit`. libpq itself goes on from a host that refuses, and would wait for good
    /// for one that is silent.
    #[allow(unsafe_code)]
    pub fn open(
        options: &[(CString, CString)],
        limit: Option<Duration>,
    ) -> Result<std::result::Result<Self, NotOpen>> {
        // SAFETY: counts the descriptor, which `drop` gives back.
        if !unsafe { pg_sys::AcquireExternalFD() } {
            let why = "this server has too many open files (max_files_per_process)";
            return Ok(Err(Broken(why.into()).into()));
        }
        // SAFETY: the name of an encoding is a constant of the server.
        let encoding = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) };
        let all = options.iter().map(|(keyword, value)| (keyword.as_ptr(), value.as_ptr()));
        let all = all.chain([(c"client_encoding".as_ptr(), encoding.as_ptr()), (ptr::null(), ptr::null())]);
        let (keywords, values): (Vec<_>, Vec<_>) = all.unzip();
        // SAFETY: both arrays end with NULL and live through the call, as do their strings.
        let connection = Self(unsafe { PQconnectStartParams(keywords.as_ptr(), values.as_ptr(), 0) });
        if connection.0.is_null() {
            return Ok(Err(Broken("out of memory".into()).into()));
        }
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        match connection.poll(deadline)? {
            Waited::TooLong => Ok(Err(connection.silent())),
            // SAFETY: an open connection.
            Waited::Done if unsafe { PQstatus(connection.0) } != CONNECTION_OK => {
                Ok(Err(connection.broken().into()))
            }
            Waited::Done => {
                // SAFETY: as above; the receiver takes no argument.
                unsafe {
                    PQsetNoticeReceiver(connection.0, ignore, ptr::null_mut());
                    PQsetnonblocking(connection.0, 1);
                }
                Ok(Ok(connection))
            }
        }
    }

    /// Goes on with connecting until that has worked or not.
    #[allow(unsafe_code)]
    fn poll(&self, deadline: Deadline) -> Result<Waited> {
        let mut next = PGRES_POLLING_WRITING;
        // SAFETY: a connection that was begun; one that failed at once has no socket to wait for.
        while unsafe { PQsocket(self.0) } >= 0 {
            let events = match next {
                PGRES_POLLING_READING => pg_sys::WL_SOCKET_READABLE,
                PGRES_POLLING_WRITING => pg_sys::WL_SOCKET_CONNECTED,
                PGRES_POLLING_OK | PGRES_POLLING_FAILED => return Ok(Waited::Done),
                _ => 0,
            };
            if self.wait(events, deadline)? == Waited::TooLong {
                return Ok(Waited::TooLong);
            }
            // SAFETY: as above; it does not block.
            next = unsafe { PQconnectPoll(self.0) };
        }
        Ok(Waited::Done)
    }

    /// The host that it waits for.
    #[allow(unsafe_code)]
    fn silent(&self) -> NotOpen {
        // SAFETY: a connection that was begun; both are its own, and NUL-terminated.
        let [host, port] = unsafe { [PQhost(self.0), PQport(self.0)] }.map(|text| match text.is_null() {
            true => CString::default(),
            false => unsafe { CStr::from_ptr(text) }.to_owned(),
        });
        NotOpen::Silent { host, port }
    }

    /// Whether the other server asked for a password.
    #[allow(unsafe_code)]
    pub fn used_password(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { PQconnectionUsedPassword(self.0) == 1 }
    }

    /// What is wrong with it.
    #[allow(unsafe_code)]
    fn broken(&self) -> Broken {
        // SAFETY: a connection's message is NUL-terminated and its own.
        let message = unsafe { CStr::from_ptr(PQerrorMessage(self.0)) };
        Broken(message.to_string_lossy().trim_end().to_owned())
    }

    /// Sends statements, whose answers `next` gives one by one.
    #[allow(unsafe_code)]
    pub fn send(&self, sql: &str) -> Result<std::result::Result<(), Broken>> {
        let sql = c_string(sql)?;
        // SAFETY: an open connection, on which nothing is under way; libpq copies the text.
        if unsafe { PQsendQuery(self.0, sql.as_ptr()) } == 0 {
            return Ok(Err(self.broken()));
        }
        // What cannot be sent shows in the answer.
        self.flush()?;
        Ok(Ok(()))
    }

    /// The next answer, or none if there are no more; what the other server refused is a failure. Err in the outer result
    /// is one of this server. None in the inner one: the time was over.
    #[allow(unsafe_code)]
    pub fn next(&self, deadline: Deadline) -> Result<Option<Next>> {
        // SAFETY: an open connection; taking in what is there does not block. What went wrong comes as an answer.
        while unsafe { PQisBusy(self.0) } == 1 {
            if self.wait(pg_sys::WL_SOCKET_READABLE, deadline)? == Waited::TooLong {
                return Ok(None);
            }
            // SAFETY: as above.
            if unsafe { PQconsumeInput(self.0) } == 0 {
                break;
            }
        }
        // SAFETY: as above; it is not busy, so this does not block.
        let result = unsafe { PQgetResult(self.0) };
        if result.is_null() {
            return Ok(Some(Next::End));
        }
        let answer = Answer(result);
        // SAFETY: as above.
        let (status, is_open) = unsafe { (PQresultStatus(result), PQstatus(self.0) == CONNECTION_OK) };
        Ok(Some(match status {
            PGRES_COMMAND_OK | PGRES_TUPLES_OK => Next::Answer(answer),
            PGRES_COPY_IN if is_open => Next::CopyIn,
            PGRES_COPY_IN => {
                Next::Failure(Failure::new(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE, self.broken().0))
            }
            // opdb asks for none, and a connection that gives one is good for nothing else.
            PGRES_COPY_OUT => {
                let message = "the other server began to copy out";
                return Err(Failure::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, message));
            }
            _ => Next::Failure(self.failure(&answer)),
        }))
    }

    /// What the other server or libpq says, without where.
    fn failure(&self, answer: &Answer) -> Failure {
        let sqlstate = answer.field(PG_DIAG_SQLSTATE).and_then(|text| sqlstate(&text));
        let sqlstate = sqlstate.unwrap_or(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE);
        let message = answer.field(PG_DIAG_MESSAGE_PRIMARY).unwrap_or_else(|| self.broken().0);
        Failure {
            detail: answer.field(PG_DIAG_MESSAGE_DETAIL),
            hint: answer.field(PG_DIAG_MESSAGE_HINT),
            ..Failure::new(sqlstate, message)
        }
    }

    /// Sends more of a copy that the other server waits for.
    #[allow(unsafe_code)]
    pub fn put(&self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(CHUNK) {
            let length = c_int::try_from(chunk.len()).unwrap_or(c_int::MAX);
            // SAFETY: an open connection that copies in; libpq copies the bytes. 0: it has no room before some is sent.
            while unsafe { PQputCopyData(self.0, chunk.as_ptr().cast(), length) } == 0 {
                self.flush()?;
            }
            // Otherwise libpq makes room for all that the other server does not take yet.
            self.flush()?;
            // SAFETY: as above.
            if unsafe { PQstatus(self.0) } != CONNECTION_OK {
                return Err(Failure::new(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE, self.broken().0));
            }
        }
        Ok(())
    }

    /// Ends a copy, or has it fail; the answer says what came of it.
    #[allow(unsafe_code)]
    pub fn put_end(&self, fails: bool) -> Result<()> {
        let reason = if fails { c"the rows could not be read".as_ptr() } else { ptr::null() };
        // SAFETY: as in `put`.
        while unsafe { PQputCopyEnd(self.0, reason) } == 0 {
            self.flush()?;
        }
        self.flush()
    }

    /// Waits until all is sent, and takes in what comes meanwhile: the other server may not take more before that.
    #[allow(unsafe_code)]
    fn flush(&self) -> Result<()> {
        // SAFETY: an open connection; it does not block.
        while unsafe { PQflush(self.0) } == 1 {
            self.wait(pg_sys::WL_SOCKET_READABLE | pg_sys::WL_SOCKET_WRITEABLE, None)?;
            // SAFETY: as above.
            if unsafe { PQconsumeInput(self.0) } == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Until one of the events, or the deadline; lets cancellation and termination through.
    #[allow(unsafe_code)]
    fn wait(&self, events: u32, deadline: Deadline) -> Result<Waited> {
        // SAFETY: the connection's; one that broke has none.
        let socket = unsafe { PQsocket(self.0) };
        if socket < 0 {
            return Ok(Waited::Done);
        }
        let mut events = events | pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
        let mut milliseconds = -1;
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TooLong);
            }
            events |= pg_sys::WL_TIMEOUT;
            milliseconds = std::ffi::c_long::try_from(left.as_millis()).unwrap_or(i64::MAX).max(1);
        }
        // SAFETY: MyLatch is this backend's own latch, valid for its life; the socket is open.
        unsafe {
            let happened = pg_sys::WaitLatchOrSocket(
                pg_sys::MyLatch,
                events as c_int,
                socket,
                milliseconds.min(i64::from(c_int::MAX)),
                pg_sys::PG_WAIT_EXTENSION,
            );
            if happened as u32 & pg_sys::WL_LATCH_SET != 0 {
                pg_sys::ResetLatch(pg_sys::MyLatch);
            }
        }
        pgrx::check_for_interrupts!();
        Ok(Waited::Done)
    }
}

#[allow(unsafe_code)]
impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: made by `open`, which counted its descriptor; NULL is nothing to finish.
        unsafe {
            PQfinish(self.0);
            pg_sys::ReleaseExternalFD();
        }
    }
}

/// # Safety
/// Called by libpq, which frees the notice.
#[allow(unsafe_code)]
unsafe extern "C" fn ignore(_argument: *mut c_void, _notice: *const PgResult) {}

/// What comes next on a connection.
pub enum Next {
    Answer(Answer),
    /// The other server waits for the rows of a copy.
    CopyIn,
    /// A statement failed; no other of the same message runs.
    Failure(Failure),
    End,
}

/// What a statement returned.
pub struct Answer(*mut PgResult);

impl Answer {
    #[allow(unsafe_code)]
    pub fn rows(&self) -> usize {
        // SAFETY: an answer that was not cleared.
        usize::try_from(unsafe { PQntuples(self.0) }).unwrap_or(0)
    }

    /// 0 for a command.
    #[allow(unsafe_code)]
    pub fn columns(&self) -> usize {
        // SAFETY: as in `rows`.
        usize::try_from(unsafe { PQnfields(self.0) }).unwrap_or(0)
    }

    /// What a value is written as, in the encoding of this database.
    #[allow(unsafe_code)]
    pub fn value(&self, row: usize, column: usize) -> Option<&CStr> {
        let (row, column) = (row as c_int, column as c_int);
        // SAFETY: as in `rows`; libpq itself looks whether there is such a value, and ends each with a NUL.
        unsafe {
            (PQgetisnull(self.0, row, column) == 0).then(|| CStr::from_ptr(PQgetvalue(self.0, row, column)))
        }
    }

    /// What a command says that it did.
    #[allow(unsafe_code)]
    pub fn command(&self) -> String {
        // SAFETY: as in `rows`; NUL-terminated.
        unsafe { CStr::from_ptr(PQcmdStatus(self.0)) }.to_string_lossy().into_owned()
    }

    #[allow(unsafe_code)]
    fn field(&self, field: u8) -> Option<String> {
        // SAFETY: as in `rows`; NULL or NUL-terminated.
        unsafe {
            let text = PQresultErrorField(self.0, c_int::from(field));
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: libpq gave it, and nobody else clears it.
        unsafe { PQclear(self.0) };
    }
}

/// From its five characters, each in six bits, the first one lowest.
fn sqlstate(text: &str) -> Option<PgSqlErrorCode> {
    let packed = text.bytes().take(5).enumerate().try_fold(0_i32, |packed, (place, character)| {
        Some(packed | (i32::from(character.checked_sub(b'0')?) & 0x3F) << (6 * place))
    })?;
    Some(PgSqlErrorCode::from(packed as isize))
}
