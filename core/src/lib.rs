//! The algorithms of opdb, without PostgreSQL.
pub mod environment;
pub mod ingest;
pub mod partition;
pub mod schema;
pub mod compat;
pub mod quality;
pub mod deploy;
