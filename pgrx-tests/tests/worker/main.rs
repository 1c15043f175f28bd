//! Jobs on a server that preloads opdb: when they run, as whom, what they may do, and what becomes of them when
//! something breaks.

#![allow(clippy::unwrap_used, clippy::panic)]

mod breaking;
mod fairness;
mod fixture;
mod jobs;
mod partition;
mod pg_cron;
mod top_level;
