//! Catching an error without keeping half of what came before it.

use std::panic::AssertUnwindSafe;

use pgrx::prelude::*;

use super::error::{Failure, Result};

/// Runs `work` in a subtransaction: on success its writes stay, on any failure (an error of the server,
/// of Rust, or an `Err`) they are rolled back and the failure is returned instead of raised.
///
/// Cancellation and termination come back as failures too: whoever goes on after one must look at its
/// SQLSTATE class first.
pub fn run<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let guard = Guard::begin();
    let result = PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|caught| Err(Failure::from_caught(caught)))
        .execute();
    match result {
        Ok(value) => {
            guard.release();
            Ok(value)
        }
        Err(failure) => {
            guard.roll_back();
            Err(failure)
        }
    }
}

/// Runs `work`, which only reads, in a subtransaction that is rolled back whatever comes of it: the locks that it
/// took are gone afterwards.
pub fn discarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let guard = Guard::begin();
    let result = PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|caught| Err(Failure::from_caught(caught)))
        .execute();
    guard.roll_back();
    result
}

/// What the server asks to be put back after a subtransaction (as PL/pgSQL does in `exec_stmt_block`).
struct Guard {
    memory: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
}

impl Guard {
    #[allow(unsafe_code)]
    fn begin() -> Self {
        // SAFETY: called on the backend's main thread inside a transaction; both globals are set there.
        unsafe {
            let guard = Self { memory: pg_sys::CurrentMemoryContext, owner: pg_sys::CurrentResourceOwner };
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::CurrentMemoryContext = guard.memory;
            guard
        }
    }

    #[allow(unsafe_code)]
    fn release(self) {
        // SAFETY: the innermost subtransaction is the one `begin` started: `work` ended every one of its own.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        self.restore();
    }

    #[allow(unsafe_code)]
    fn roll_back(self) {
        // SAFETY: as in `release`; the error state was flushed by `PgTryBuilder`.
        unsafe {
            pg_sys::CurrentMemoryContext = self.memory;
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        self.restore();
    }

    #[allow(unsafe_code)]
    fn restore(&self) {
        // SAFETY: both were current when `begin` ran and outlive the subtransaction.
        unsafe {
            pg_sys::CurrentMemoryContext = self.memory;
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::pg::spi;
    use pgrx::prelude::*;

    #[pg_test]
    fn a_caught_error_takes_its_writes_with_it_and_nothing_else() {
        spi::write("CREATE TEMP TABLE kept (n int PRIMARY KEY)", &[]).unwrap();
        spi::write("INSERT INTO kept VALUES (1)", &[]).unwrap();
        let failure = super::run(|| {
            spi::write("INSERT INTO kept VALUES (2)", &[])?;
            spi::write("INSERT INTO kept VALUES (1)", &[])
        })
        .unwrap_err();
        assert_eq!(failure.sqlstate_text(), "23505");
        super::run(|| spi::write("INSERT INTO kept VALUES (3)", &[])).unwrap();
        let kept =
            spi::write_value::<String>("SELECT string_agg(n::text, ',' ORDER BY n) FROM kept", &[]).unwrap();
        assert_eq!(kept.as_deref(), Some("1,3"));
    }
}
