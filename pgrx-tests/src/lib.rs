//! What the end-to-end tests and the demo share: clusters, and the main job.

pub mod cluster;
pub mod main_job;
pub mod psql;
mod table;
