//! `cargo xtask bench`: measurements on a throwaway cluster. They never fail because something is slow.

mod compare;
mod deploy;
mod memory;
mod partition;
mod quality;
mod report;
mod rounds;
mod schema;
mod usage;
mod worker;

use std::time::Duration;

use clap::Subcommand;

/// What can be measured.
#[derive(Subcommand)]
pub enum Bench {
    /// Capturing and validating schemas, beside pg_dump and the bare SQL
    Schema {
        /// How many tables the databases have
        #[arg(long, value_delimiter = ',', default_value = "2000,10000")]
        tables: Vec<u32>,
        /// How often each contender runs
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        #[command(flatten)]
        postgres: crate::Postgres,
    },
    /// How late jobs begin and what waiting for them costs, beside pg_cron
    Worker {
        /// How many jobs are due in one minute
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        jobs: u32,
        /// For how many seconds the idle launchers are watched
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
        idle: u64,
        #[command(flatten)]
        postgres: crate::Postgres,
    },
    /// Making, keeping and retiring partitions, beside pg_partman and bare DDL
    Partition {
        #[command(flatten)]
        sizes: partition::Sizes,
        #[command(flatten)]
        postgres: crate::Postgres,
    },
    /// Scoring the quality of a table, beside SQL written by hand, Great Expectations and Soda Core
    Quality {
        #[command(flatten)]
        sizes: quality::Sizes,
        #[command(flatten)]
        postgres: crate::Postgres,
    },
    /// Finding the rows that differ on another server, beside reladiff, and whether its tables are compatible
    Compare {
        #[command(flatten)]
        sizes: compare::Sizes,
        #[command(flatten)]
        postgres: crate::Postgres,
    },
    /// Bringing a table to production, beside COPY, postgres_fdw and pg_dump
    Deploy {
        #[command(flatten)]
        sizes: deploy::Sizes,
        #[command(flatten)]
        postgres: crate::Postgres,
    },
}

impl Bench {
    /// Measures, and prints what was found.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Schema { tables, runs, postgres } => schema::run(postgres.pg, &tables, runs),
            Self::Worker { jobs, idle, postgres } => {
                worker::run(postgres.pg, jobs, Duration::from_secs(idle))
            }
            Self::Partition { sizes, postgres } => partition::run(postgres.pg, &sizes),
            Self::Quality { sizes, postgres } => quality::run(postgres.pg, &sizes),
            Self::Compare { sizes, postgres } => compare::run(postgres.pg, &sizes),
            Self::Deploy { sizes, postgres } => deploy::run(postgres.pg, &sizes),
        }
    }
}
