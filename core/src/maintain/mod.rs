//! Maintenance: what the numbers of a table mean, what the pages of indexes hold, what a plan asks of them.

pub mod btree;
mod condition;
pub mod index_name;
pub mod plan;
pub mod vacuum;
