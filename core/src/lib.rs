//! The algorithms of opdb, without PostgreSQL.
pub mod compat;
pub mod deploy;
pub mod environment;
pub mod format;
pub mod ingest;
pub mod json_schema;
pub mod maintain;
pub mod partition;
pub mod quality;
pub mod schedule;
pub mod schema;
pub mod session;
pub mod suggest;
pub mod zone;

/// A digest as people read it.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Any number from 0 to 1, to keep apart what would otherwise come back together.
#[allow(clippy::cast_precision_loss)]
pub fn random() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library's only source of chance, seeded anew for each of these.
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
