//! Memory that the server would keep longer than needed.

use pgrx::PgMemoryContexts;
use pgrx::pg_sys;

/// Runs `work` and frees what it allocated in the server's memory: for one batch of many. What it returns is Rust's.
#[allow(unsafe_code)]
pub fn in_own_context<T>(work: impl FnOnce() -> T) -> T {
    let mut context = PgMemoryContexts::new("opdb batch");
    // SAFETY: nothing that `work` returns points into the context, which goes when this function does; after an
    // error the abort of the (sub)transaction puts the caller's context back.
    unsafe { context.switch_to(|_| work()) }
}

/// Forgets what this backend has cached of the catalogs: whoever describes ten thousand tables would otherwise hold
/// all of them from then on. The server does the same to a backend that missed messages about changes.
#[allow(unsafe_code)]
pub fn forget_catalogs() {
    // SAFETY: inside a transaction; entries that are in use stay.
    unsafe { pg_sys::InvalidateSystemCaches() };
}

/// A number that grows with every change of the catalogs that others have committed.
#[allow(unsafe_code)]
pub fn catalog_changes() -> u64 {
    // SAFETY: inside a transaction; the counter is this backend's own.
    unsafe {
        pg_sys::AcceptInvalidationMessages();
        pg_sys::SharedInvalidMessageCounter
    }
}
