//! End-to-end tests: several sessions, two servers, real privileges. The two servers are started once for
//! this binary; each test has databases of its own.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod compare;
mod compat;
mod deploy;
mod docs;
mod dump;
mod environment;
mod fixture;
mod index_advice;
mod ingest;
mod main_job;
mod partition;
mod partition_archive;
mod partition_table;
mod privileges;
mod quality;
mod quality_peers;
mod quality_suggest;
mod quality_values;
mod reads;
mod schema_diff;
mod schema_live;
mod schema_majors;
mod schema_mutations;
mod schema_round_trip;
mod secrets;
mod vacuum_plan;
mod worker_off;
