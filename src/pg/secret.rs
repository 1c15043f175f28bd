//! Calls that carry a password.

use pgrx::pg_sys;

use super::error::Result;

/// Runs `work` so that no error, log line or view of running statements repeats the caller's statement:
/// the statement text is replaced for the rest of the statement, and an error gets no CONTEXT (PL/pgSQL
/// would print the calling statement there).
///
/// What the server writes about a statement before it runs (`log_statement`) or by its own copy of the
/// text (`log_min_duration_statement`) is out of reach, as with `ALTER ROLE … PASSWORD`.
#[allow(unsafe_code)]
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    const HIDDEN: &std::ffi::CStr = c"<statement with credentials, hidden by opdb>";
    // SAFETY: main thread; the replacement is a static string, and the context stack is put back on success.
    // After an error the handler that catches it restores the stack itself.
    unsafe {
        pg_sys::debug_query_string = HIDDEN.as_ptr();
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, HIDDEN.as_ptr());
        let context = pg_sys::error_context_stack;
        pg_sys::error_context_stack = std::ptr::null_mut();
        let value = work()?;
        pg_sys::error_context_stack = context;
        Ok(value)
    }
}
