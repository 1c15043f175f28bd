//! The algorithms of opdb, without PostgreSQL.
pub mod environment;
pub mod ingest;
pub mod partition;
pub mod schema;
