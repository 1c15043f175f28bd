//! Whether tables are the same on both sides, by one digest of each.

use opdb_core::compat::digest::Digest;

use super::plan::Plan;
use super::scan::Scan;
use super::{Options, Phase};
use crate::compat::{Compared, LocalTable};
use crate::pg::error::Result;
use crate::pg::progress::{Number, Progress};
use crate::pg::remote::{self, Access, Remote};
use crate::pg::{session, subtransaction};

/// What is known of a table.
pub struct Summary {
    pub table: String,
    pub state: &'static str,
    /// Here and there.
    pub digests: Option<(Digest, Digest)>,
    pub detail: String,
}

/// One summary for each table; what goes wrong with one keeps it unknown, and no other.
pub fn summary(environment: &str, tables: &[LocalTable], options: &Options) -> Result<Vec<Summary>> {
    session::pinned(|| {
        remote::with_several(environment, Access::Read, options.connections, |remotes| {
            let compared = Compared::new(super::first(remotes)?, tables)?;
            let mut done = Vec::with_capacity(tables.len());
            for table in tables {
                let progress = Progress::comparing(table.relation);
                progress.set(Number::Phase, Phase::Hashing as i64);
                progress.set(Number::TablesDone, done.len() as i64);
                progress.set(Number::Tables, tables.len() as i64);
                let one = subtransaction::run(|| {
                    of_table(table, &compared, environment, options, remotes, &progress)
                });
                match one {
                    Ok(summary) => done.push(summary),
                    Err(failure) if failure.is_interrupt => return Err(failure),
                    Err(failure) => done.push(Summary {
                        table: table.name.sql(),
                        state: "unknown",
                        digests: None,
                        detail: failure.message,
                    }),
                }
            }
            Ok(done)
        })
    })
}

fn of_table(
    table: &LocalTable,
    compared: &Compared,
    environment: &str,
    options: &Options,
    remotes: &[Remote],
    progress: &Progress,
) -> Result<Summary> {
    table.hold_to_read()?;
    let mut plan = Plan::new(table, compared, environment, options)?;
    let one_sided = plan.one_sided.join(", ");
    let (here, there) = Scan { plan: &mut plan, remotes, progress }.totals()?;
    let as_written: Vec<&str> = plan
        .columns
        .iter()
        .filter(|column| column.form.has_many_key_texts())
        .map(|column| column.name.as_str())
        .collect();
    let (state, detail) = match (here == there, one_sided.is_empty()) {
        (false, true) if !as_written.is_empty() => {
            ("different", format!("maybe only in how {} is written: see compare_data", as_written.join(", ")))
        }
        (true, true) => ("equal", String::new()),
        (true, false) => ("different", format!("{one_sided}; the other columns are the same")),
        (false, true) => ("different", String::new()),
        (false, false) => ("different", one_sided),
    };
    Ok(Summary { table: table.name.sql(), state, digests: Some((here, there)), detail })
}
