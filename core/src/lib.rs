//! The algorithms of opdb, without PostgreSQL.
pub mod compat;
pub mod deploy;
pub mod environment;
pub mod ingest;
pub mod partition;
pub mod quality;
pub mod schema;
pub mod session;
