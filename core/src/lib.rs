//! The algorithms of opdb, without PostgreSQL.
pub mod compat;
pub mod deploy;
pub mod environment;
pub mod ingest;
pub mod maintain;
pub mod partition;
pub mod quality;
pub mod schedule;
pub mod schema;
pub mod session;

/// A digest as people read it.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
