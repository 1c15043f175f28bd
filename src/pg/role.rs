//! Acting as the owner of a table.

use pgrx::pg_sys;

use super::error::Result;

/// Runs `work` as `role`, as the server itself does for REINDEX or a foreign key check: whatever code the
/// owner attached to the table runs with the owner's rights and cannot touch the caller's session.
/// The caller's own right to do this is checked before. An abort puts the caller back as well.
pub fn acting_as<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    acting(role, 0, work)
}

/// `acting_as` for the owner of a table whose every row is meant: row security that is forced upon the owner does not
/// hide any, as in the server's own checks of foreign keys.
pub fn acting_as_owner_of_rows<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    acting(role, pg_sys::SECURITY_NOFORCE_RLS, work)
}

#[allow(unsafe_code)]
fn acting<T>(role: pg_sys::Oid, more: u32, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut caller = pg_sys::InvalidOid;
    let mut context = 0;
    // Settings that the role's code changes are gone with it.
    // SAFETY: main thread; the level is closed below, or by the abort of the (sub)transaction.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    let flags = (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION | more) as i32;
    // SAFETY: main thread inside a transaction; both out-parameters live through the call.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut caller, &raw mut context);
        pg_sys::SetUserIdAndSecContext(role, context | flags);
    }
    let result = work();
    // SAFETY: closes the level opened above, and puts back what was read above.
    unsafe {
        pg_sys::AtEOXact_GUC(false, level);
        pg_sys::SetUserIdAndSecContext(caller, context);
    }
    result
}

/// The privilege that lets somebody SET ROLE to another one, as pg_has_role calls it.
#[cfg(feature = "pg15")]
pub const RIGHT_TO_BECOME: &str = "MEMBER";
#[cfg(not(feature = "pg15"))]
pub const RIGHT_TO_BECOME: &str = "SET";
