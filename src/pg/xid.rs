//! Transaction ids and multixacts, and how old they are.

use opdb_core::maintain::vacuum::age;
use pgrx::pg_sys;

/// How many transaction ids were given out since `xid`.
#[allow(unsafe_code)]
pub fn age_of(xid: pg_sys::TransactionId) -> i64 {
    age(next().into_inner(), xid.into_inner())
}

/// The transaction id that is given out next.
#[allow(unsafe_code)]
pub fn next() -> pg_sys::TransactionId {
    // SAFETY: reads shared memory. The upper half of the value is the epoch.
    pg_sys::TransactionId::from_inner(unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32)
}

/// How many multixacts were given out since the oldest that a running transaction may still need.
#[allow(unsafe_code)]
pub fn oldest_multixact_age() -> i64 {
    // SAFETY: both read shared memory.
    unsafe { age(pg_sys::ReadNextMultiXactId().into_inner(), pg_sys::GetOldestMultiXactId().into_inner()) }
}

/// autovacuum_multixact_freeze_max_age, or less when the members of multixacts run short.
#[allow(unsafe_code)]
pub fn multixact_freeze_max_age() -> i32 {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::MultiXactMemberFreezeThreshold() }
}

/// Whether the server replays the log of another one, and gives out no transaction ids.
#[allow(unsafe_code)]
pub fn on_standby() -> bool {
    // SAFETY: reads the state of this backend.
    unsafe { pg_sys::RecoveryInProgress() }
}
