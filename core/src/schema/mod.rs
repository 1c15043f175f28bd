//! A schema as facts named without OIDs: comparing two of them, and hashing one.

pub mod catalog;
mod difference;
mod fact;
mod fingerprint;
mod hazard;
mod kind;
mod meaning;
pub mod statement;

pub use difference::{Aspect, Change, Confirmed, Difference, Expected, Facts, differences};
pub use fact::{Facets, Fact, Hash, Key, RawFact, label};
pub use fingerprint::Fingerprint;
pub use hazard::Hazard;
pub use kind::Kind;
pub use meaning::canonical;
