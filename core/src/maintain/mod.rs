//! Maintenance: what the numbers of a table mean.

pub mod vacuum;
