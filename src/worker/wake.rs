//! Telling the launcher that something changed.

use pgrx::prelude::*;
use pgrx::spi::SpiError;

use crate::pg::{process, shared};

/// The trigger of opdb.job: tells the launcher, at commit, that jobs of this database changed.
#[pg_trigger]
fn wake_launcher<'a>(
    _trigger: &'a pgrx::PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, SpiError> {
    at_commit();
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// What is written now, the launcher may see only then.
pub fn at_commit() {
    if !shared::is_on() {
        return;
    }
    let database = process::own_database();
    let wake = move || process::wake(shared::mark_changed(database));
    pgrx::register_xact_callback(pgrx::PgXactCallbackEvent::Commit, wake);
    // Whoever commits it later wakes nobody: the launcher finds it when it looks next.
    pgrx::register_xact_callback(pgrx::PgXactCallbackEvent::Prepare, move || {
        shared::mark_changed(database);
    });
}
