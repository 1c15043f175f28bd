//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`,
//! `cargo xtask generate`.

mod apt;
mod bench;
mod cache;
mod cargo_pgrx;
mod demo;
mod extension;
mod generate;
mod machine;
mod peers;
mod postgres18;
mod process;
mod test;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the main job on two throwaway clusters; installs what is missing first
    Demo {
        /// Leave the clusters running for a look around
        #[arg(long)]
        keep: bool,
        /// Stop and remove the clusters that --keep left, and do nothing else
        #[arg(long, conflicts_with_all = ["keep", "pg"])]
        stop: bool,
        #[command(flatten)]
        postgres: Postgres,
    },
    /// Runs every check and test; installs what is missing first
    Test {
        /// Run this tier only
        #[arg(long)]
        tier: Option<test::Tier>,
        #[command(flatten)]
        postgres: Postgres,
    },
    /// Measures; installs what is missing first
    Bench {
        #[command(subcommand)]
        bench: bench::Bench,
    },
    /// Writes sql/finalize.sql from the doc comments of the SQL functions
    Generate {
        /// Only fail if the file on disk is out of date
        #[arg(long)]
        check: bool,
    },
}

#[derive(Args)]
struct Postgres {
    /// PostgreSQL major version; without it, the distribution's, or that of the variable PG_CONFIG
    #[arg(long, value_parser = clap::value_parser!(u16).range(15..=18))]
    pg: Option<u16>,
}

fn main() -> ExitCode {
    let Err(error) = run(Cli::parse().command) else {
        return ExitCode::SUCCESS;
    };
    // Not anyhow's own format, which shows a backtrace to whoever has RUST_BACKTRACE set.
    eprintln!("error: {error}");
    error.chain().skip(1).for_each(|cause| eprintln!("  because {cause}"));
    ExitCode::FAILURE
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo { stop: true, .. } => demo::stop(),
        Command::Demo { keep, postgres, .. } => demo::run(postgres.pg, keep),
        Command::Test { tier, postgres } => test::run(postgres.pg, tier),
        Command::Bench { bench } => bench.run(),
        Command::Generate { check: true } => generate::check(),
        Command::Generate { check: false } => generate::write(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("xtask test --tier e2e --pg 18").is_ok());
        assert!(parse("xtask demo --keep --pg 15").is_ok());
        assert!(parse("xtask bench schema --tables 200,1000 --runs 3 --pg 15").is_ok());
        assert!(parse("xtask bench schema --runs 0").is_err());
        assert!(parse("xtask bench partition --days 30 --clients 2 --pg 15").is_ok());
        assert!(parse("xtask bench partition --days 1001").is_err());
        assert!(parse("xtask bench quality --rows 100000 --large-rows 0 --days 3 --pg 15").is_ok());
        assert!(parse("xtask bench quality --rows 100").is_err());
        assert!(parse("xtask bench compare --rows 200000 --tables 200 --delay 5 --pg 15").is_ok());
        assert!(parse("xtask bench compare --rows 100").is_err());
        assert!(parse("xtask bench deploy --rows 100000,1000000 --runs 3 --pg 15").is_ok());
        assert!(parse("xtask bench deploy --rows 100000,10").is_err());
        assert!(parse("xtask demo --keep --stop").is_err());
        assert!(parse("xtask test --pg 14").is_err());
    }
}
