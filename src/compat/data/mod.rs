//! Which rows of a table differ between two servers, with as little on the wire as there is to say.

mod keyed;
mod multiset;
mod options;
mod plan;
mod scan;
mod summary;

use std::time::Duration;

pub use options::{Options, column_names};
use pgrx::pg_sys;
pub use summary::summary;

use super::{Compared, LocalTable};
use crate::pg::error::Result;
use crate::pg::progress::{Number, Progress};
use crate::pg::remote::{self, Access, Remote};
use crate::pg::spool::Answer;
use crate::pg::{session, spi};
use keyed::Keyed;
use plan::Plan;
use scan::Scan;

/// Rows that are fetched at a time where the environment does not say: see `fetch_size` of postgres_fdw.
const FETCH_SIZE: i64 = 20_000;

/// What a call is at, as opdb.compare_progress names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Describing = 1,
    Hashing,
    Fetching,
}

/// Answers the call with the rows that differ: key, difference, columns, and what either side has.
pub fn answer(
    call: pg_sys::FunctionCallInfo,
    environment: &str,
    table: &LocalTable,
    options: &Options,
) -> Result<()> {
    let answer = Answer::new(call);
    table.hold_to_read()?;
    let fetch_size = fetch_size(environment)?;
    session::pinned(|| {
        let progress = Progress::comparing(table.relation);
        let phase = |phase: Phase| progress.set(Number::Phase, phase as i64);
        phase(Phase::Describing);
        remote::with_several(environment, Access::Read, options.connections, |remotes| {
            let remote = first(remotes)?;
            let compared = Compared::new(remote, std::slice::from_ref(table))?;
            let mut plan = Plan::new(table, &compared, environment, options)?;
            tell(&plan);
            phase(Phase::Hashing);
            let mut scan = Scan { plan: &mut plan, remotes, progress: &progress };
            let Some(suspects) = scan.suspects(table.relation)? else { return Ok(()) };
            phase(Phase::Fetching);
            let lag = Duration::from_millis(options.recheck_after_ms);
            if plan.key.is_some() {
                Keyed { plan: &plan, remote, progress: &progress, fetch_size }.answer(&suspects, lag, &answer)
            } else {
                multiset::answer((&plan, remote, &progress), fetch_size, &suspects, lag, &answer)
            }
        })
    })
}

fn first(remotes: &[Remote]) -> Result<&Remote> {
    remotes.first().ok_or_else(|| super::error::CompatError::Unreadable("no connection".to_owned()).into())
}

/// What a reader of the rows would not see.
fn tell(plan: &Plan) {
    if let Some(reason) = &plan.without_key {
        pgrx::notice!("table {} is compared without a key, each row as a whole: {reason}", plan.table.sql());
    }
    if !plan.one_sided.is_empty() {
        pgrx::warning!("table {}: not compared: {}", plan.table.sql(), plan.one_sided.join(", "));
    }
}

/// The environment's `fetch_size`.
fn fetch_size(environment: &str) -> Result<i64> {
    let given = spi::read_value::<String>(
        "SELECT o.option_value FROM opdb.environment e
         JOIN pg_catalog.pg_foreign_server s ON s.srvname = e.server
         CROSS JOIN LATERAL pg_catalog.pg_options_to_table(s.srvoptions) o
         WHERE e.name = $1 AND o.option_name = 'fetch_size'",
        &[environment.into()],
    )?;
    Ok(given.and_then(|given| given.parse().ok()).filter(|given| *given > 0).unwrap_or(FETCH_SIZE))
}
