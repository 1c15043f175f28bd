//! Instants: microseconds since 1970 UTC in Rust, timestamptz in SQL.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;

/// From 1970, which Rust counts from, to 2000, which the server counts from.
const EPOCHS_APART: i64 = 10_957 * 86_400 * 1_000_000;

/// Now, not when the transaction began.
#[allow(unsafe_code)]
pub fn now() -> i64 {
    // SAFETY: only looks at the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }.saturating_add(EPOCHS_APART)
}

pub fn to_sql(instant: i64) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(instant.checked_sub(EPOCHS_APART)?).ok()
}

pub fn from_sql(timestamp: TimestampWithTimeZone) -> i64 {
    of_server(timestamp.into())
}

/// Of what the server counts. Infinities stay the first and the last of all.
pub fn of_server(timestamp: pg_sys::TimestampTz) -> i64 {
    match timestamp {
        i64::MIN => i64::MIN,
        _ => timestamp.saturating_add(EPOCHS_APART),
    }
}
