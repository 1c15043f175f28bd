//! Running a statement as a client's would run: in no function, so that VACUUM, CONCURRENTLY and procedures that
//! commit do what they do.

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts};

use super::error::{Failure, Result};
use super::session;

/// The server's `TimeoutId` of statement_timeout, which pgrx does not know.
const STATEMENT_TIMEOUT: i32 = 3;

#[allow(unsafe_code)]
unsafe extern "C-unwind" {
    fn enable_timeout_after(id: i32, delay_ms: i32);
    fn disable_timeout(id: i32, keep_indicator: bool);
}

/// Runs one statement, of which the parser has been asked before, in a transaction of its own; only in a background
/// worker, outside a transaction. After `limit` it is cancelled (57014). Rows that it returns go nowhere.
///
/// Source: `exec_simple_query` of the server.
#[allow(unsafe_code)]
pub fn execute(sql: &str, limit: Option<Duration>) -> Result<()> {
    let text = session::c_string(sql)?;
    within(limit, || in_transaction(&text))
}

#[allow(unsafe_code)]
fn in_transaction(text: &CStr) -> Result<()> {
    // A child of TopMemoryContext: what is parsed must outlive the transactions of a procedure that commits.
    let mut context = PgMemoryContexts::new("opdb job");
    let result = PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: a background worker that is connected to a database and in no transaction; nothing that lives in
        // `context` is used after it.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            context.switch_to(|_| run(text));
            pg_sys::CommitTransactionCommand();
        }
        Ok(())
    }))
    .catch_others(|caught| Err(Failure::from_caught(caught)))
    .execute();
    if result.is_err() {
        // SAFETY: the error has been taken off the server's stack; this ends whatever transaction it left.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    // SAFETY: the text that it points to goes now.
    unsafe { pg_sys::debug_query_string = std::ptr::null() };
    result
}

/// Runs `work`, which may take so long; then what it runs is cancelled (57014).
#[allow(unsafe_code)]
pub fn within<T>(limit: Option<Duration>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: the server's own timer, which is idle; `work` returns whatever happens but the end of the process.
    unsafe {
        milliseconds(limit).into_iter().for_each(|limit| enable_timeout_after(STATEMENT_TIMEOUT, limit));
        let result = work();
        disable_timeout(STATEMENT_TIMEOUT, false);
        // A cancellation that came too late is nobody else's.
        pg_sys::QueryCancelPending = 0;
        result
    }
}

/// The setting statement_timeout, in microseconds; None for no limit.
#[allow(unsafe_code)]
pub fn statement_timeout() -> Option<i64> {
    // SAFETY: only looks.
    let milliseconds = unsafe { pg_sys::StatementTimeout };
    (milliseconds > 0).then(|| i64::from(milliseconds) * 1000)
}

fn milliseconds(limit: Option<Duration>) -> Option<i32> {
    // Rounded up: whoever is cancelled must find the time to be over.
    // The server's timers know no more than 24 days: what is longer has no limit.
    limit.and_then(|limit| i32::try_from(limit.as_millis() + 1).ok())
}

#[allow(unsafe_code)]
unsafe fn run(sql: &CStr) {
    // SAFETY: inside a transaction; trees live in the current memory context, which the caller keeps; `sql` lives
    // through the call, and the portal is dropped in it.
    unsafe {
        pg_sys::debug_query_string = sql.as_ptr();
        let parsed = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        for raw in PgList::<pg_sys::RawStmt>::from_pg(parsed).iter_ptr() {
            let tag = pg_sys::CreateCommandTag((*raw).stmt);
            let portal = pg_sys::CreatePortal(c"".as_ptr(), true, true);
            (*portal).visible = false;
            let name = std::ptr::null();
            pg_sys::PortalDefineQuery(portal, name, sql.as_ptr(), tag, plan(raw, sql), std::ptr::null_mut());
            pg_sys::PortalStart(portal, std::ptr::null_mut(), 0, std::ptr::null_mut());
            super::version::run_portal(portal);
            pg_sys::PortalDrop(portal, false);
        }
    }
}

#[allow(unsafe_code)]
unsafe fn plan(raw: *mut pg_sys::RawStmt, sql: &CStr) -> *mut pg_sys::List {
    let (types, environment, parameters) = (std::ptr::null(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: `raw` is a statement that the parser made of `sql`; what is pushed is popped.
    unsafe {
        let needs_snapshot = pg_sys::analyze_requires_snapshot(raw);
        if needs_snapshot {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let queries = pg_sys::pg_analyze_and_rewrite_fixedparams(raw, sql.as_ptr(), types, 0, environment);
        let parallel = pg_sys::CURSOR_OPT_PARALLEL_OK as i32;
        let plans = pg_sys::pg_plan_queries(queries, sql.as_ptr(), parallel, parameters);
        if needs_snapshot {
            pg_sys::PopActiveSnapshot();
        }
        plans
    }
}
