//! What differs between PostgreSQL 15 and 18, and nowhere else.

use pgrx::pg_sys;

/// The list of raw parse trees of `sql`; raises the server's own syntax error.
///
/// # Safety
/// Main thread, inside a transaction, with a memory context for the trees.
#[allow(unsafe_code)]
pub unsafe fn raw_parse(sql: &std::ffi::CStr) -> *mut pg_sys::List {
    // SAFETY: `sql` is NUL-terminated and lives through the call.
    unsafe { pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT) }
}
