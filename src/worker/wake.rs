//! Telling the launcher that something changed.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::PgXactCallbackEvent;
use pgrx::prelude::*;
use pgrx::spi::SpiError;

use crate::pg::{process, shared};

/// Whether this transaction will tell it.
static IS_ARMED: AtomicBool = AtomicBool::new(false);

/// The trigger of opdb.job: tells the launcher, at commit, that jobs of this database changed.
#[pg_trigger]
fn wake_launcher<'a>(
    _trigger: &'a pgrx::PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, SpiError> {
    at_commit();
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// What is written now, the launcher may see only then. Once a transaction is enough.
pub fn at_commit() {
    if !shared::is_on() || IS_ARMED.swap(true, Ordering::Relaxed) {
        return;
    }
    let database = process::own_database();
    let mark = move || {
        IS_ARMED.store(false, Ordering::Relaxed);
        shared::mark_changed(database)
    };
    pgrx::register_xact_callback(PgXactCallbackEvent::Commit, move || process::wake(mark()));
    pgrx::register_xact_callback(PgXactCallbackEvent::Abort, || IS_ARMED.store(false, Ordering::Relaxed));
    // Whoever commits it later wakes nobody: the launcher finds the job when it looks there next.
    pgrx::register_xact_callback(PgXactCallbackEvent::Prepare, move || {
        mark();
    });
}
