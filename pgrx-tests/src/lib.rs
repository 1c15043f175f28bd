//! What the end-to-end tests, the demo and the benchmarks share: clusters, the main job, and the peers of quality scoring.

pub mod cluster;
pub mod main_job;
pub mod psql;
pub mod quality_peers;
mod table;
