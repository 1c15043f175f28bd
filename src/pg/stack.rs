//! Recursion that is not the server's own.

use pgrx::pg_sys;

#[allow(unsafe_code)]
unsafe extern "C" {
    // Not pgrx's, which guards every call against errors: this one raises none and is called millions of times.
    fn stack_is_too_deep() -> bool;
}

/// For every step of a recursion over a user's data: raises the server's error (54001) before the stack overflows, and
/// ends here if the statement was cancelled.
#[allow(unsafe_code)]
#[inline]
pub fn check_recursion() {
    pgrx::check_for_interrupts!();
    // SAFETY: looks at an address and at settings.
    if unsafe { stack_is_too_deep() } {
        // SAFETY: raises what was just found, as an error that unwinds.
        unsafe { pg_sys::check_stack_depth() };
    }
}
