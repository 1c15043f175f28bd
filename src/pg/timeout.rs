//! Ending what takes too long, where the server would wait for good.

use std::time::Duration;

use super::error::Result;

/// Runs `work`, but not for longer than `limit`: None if that is over. Before PostgreSQL 16 nothing that opdb limits this
/// way can be interrupted, and libpq keeps the time itself.
#[cfg(feature = "pg15")]
pub fn within<T>(_limit: Option<Duration>, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    work().map(Some)
}

#[cfg(not(feature = "pg15"))]
pub fn within<T>(limit: Option<Duration>, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    let Some(limit) = limit else { return work().map(Some) };
    let timer = timer::Timer::start(limit);
    let result = super::subtransaction::run(work);
    match (timer.stop(), result) {
        // Nobody but the timer asked for it.
        (true, Err(failure)) if failure.is_interrupt => Ok(None),
        (_, result) => result.map(Some),
    }
}

#[cfg(not(feature = "pg15"))]
mod timer {
    use std::ffi::c_int;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use pgrx::pg_sys;

    /// Some number of those that the server leaves to others; it gives the first that is free.
    const ANY_USER_TIMEOUT: c_int = 15;

    static IS_OVER: AtomicBool = AtomicBool::new(false);

    // utils/timeout.h, which pgrx does not know.
    #[allow(unsafe_code)]
    unsafe extern "C-unwind" {
        fn RegisterTimeout(id: c_int, handler: unsafe extern "C-unwind" fn()) -> c_int;
        fn enable_timeout_after(id: c_int, delay_ms: c_int);
        fn disable_timeout(id: c_int, keep_indicator: bool);
    }

    /// Asks the backend to cancel what it does.
    ///
    /// # Safety
    /// Called by the server, in a signal handler of the backend.
    #[allow(unsafe_code)]
    unsafe extern "C-unwind" fn over() {
        IS_OVER.store(true, Ordering::Relaxed);
        // SAFETY: as the server's own handler of statement_timeout does it.
        unsafe {
            pg_sys::InterruptPending = 1;
            pg_sys::QueryCancelPending = 1;
            pg_sys::SetLatch(pg_sys::MyLatch);
        }
    }

    pub struct Timer(c_int);

    impl Timer {
        #[allow(unsafe_code)]
        pub fn start(limit: Duration) -> Self {
            static TIMEOUT: OnceLock<c_int> = OnceLock::new();
            let delay = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
            IS_OVER.store(false, Ordering::Relaxed);
            // SAFETY: a number of those for others, registered once in this backend.
            unsafe {
                let timeout = *TIMEOUT.get_or_init(|| RegisterTimeout(ANY_USER_TIMEOUT, over));
                enable_timeout_after(timeout, delay.max(1));
                Self(timeout)
            }
        }

        /// Whether the time was over. Nothing is cancelled any more.
        #[allow(unsafe_code)]
        pub fn stop(self) -> bool {
            // SAFETY: registered by `start`.
            unsafe { disable_timeout(self.0, false) };
            let is_over = IS_OVER.swap(false, Ordering::Relaxed);
            if is_over {
                // SAFETY: what `over` asked for and nobody has done.
                unsafe { pg_sys::QueryCancelPending = 0 };
            }
            is_over
        }
    }
}
