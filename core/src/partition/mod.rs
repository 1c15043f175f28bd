//! Ranges that a table is partitioned by: where they begin and end, what they are called, which are missing.
//!
//! A place on the line that a key moves along is an `i64`: microseconds since 1970 UTC for instants, the same on a
//! clock without a zone for what has none, and the number itself for numbers. `i64::MIN` and `i64::MAX` stand for
//! MINVALUE and MAXVALUE.

mod cover;
mod grid;
mod key;
mod name;
mod span;

pub use cover::{InTheWay, Range, Runway, fits, gaps, missing, runway};
pub use grid::Grid;
pub use key::{Key, KeyError, Unit};
pub use name::name;
pub use span::{Span, SpanError};
