//! The process that knows when something is due in which database, and starts a dispatcher there. It is connected to
//! no database and sleeps until then.

use std::collections::BTreeMap;
use std::time::Duration;

use opdb_core::schedule::{HOUR, MINUTE, SECOND};
use pgrx::pg_sys;

use super::{DISPATCHER, NEVER};
use crate::pg::process::{self, Process};
use crate::pg::{databases, shared, time};
use crate::settings;

/// A dispatcher needs a moment to start.
const LEAD: i64 = SECOND / 20;
/// So often it looks for new databases, and the clock may have been set.
const LOOK_AROUND: i64 = MINUTE;
/// So often every database is looked into that said to have nothing to do: jobs may have come by another way than
/// opdb's functions or a restored dump.
const LOOK_INTO: i64 = HOUR;
/// So many dispatchers begin in so long: after a start every database needs one.
const MAX_DISPATCHERS: usize = 4;
const BEGINNING: i64 = SECOND / 2;
/// A dispatcher that lived so long was a good one, however it ended.
const PROVEN: i64 = 10 * SECOND;
/// After a dispatcher that did not say how it ended, and doubled each time.
const FIRST_PAUSE: i64 = SECOND;
const LONGEST_PAUSE: i64 = 5 * MINUTE;

pub fn main() {
    process::connect(pg_sys::InvalidOid, pg_sys::InvalidOid);
    process::show(None);
    shared::set_launcher(process::own_pid());
    let mut launcher = Launcher { databases: BTreeMap::new(), looks_around_at: 0 };
    loop {
        let sleep = launcher.turn();
        if process::wait(sleep) {
            // opdb.databases may be another one.
            launcher.looks_around_at = 0;
        }
    }
}

struct Launcher {
    databases: BTreeMap<u32, Database>,
    looks_around_at: i64,
}

/// What is known of a database.
struct Database {
    /// When something is due there; when to look, as long as nothing is known.
    due_at: i64,
    dispatcher: Option<Process>,
    started_at: i64,
    failures: u32,
}

impl Database {
    /// The dispatcher that is there: one of this launcher's or of the one before it.
    fn pid(&self, oid: u32) -> Option<i32> {
        self.dispatcher.as_ref().and_then(Process::pid).or_else(|| shared::dispatcher(oid))
    }
}

impl Launcher {
    /// Does what is to be done now; gives the time until there is more.
    fn turn(&mut self) -> Duration {
        let now = time::now();
        let changed = shared::changed();
        let is_new = |oid: &u32| !self.databases.contains_key(oid);
        if now >= self.looks_around_at || changed.1 || changed.0.iter().any(is_new) {
            self.look_around(now, changed.1);
        }
        self.absorb(&changed.0, now);
        self.collect(now);
        self.start(now);
        let next = self.databases.values().filter(|database| database.dispatcher.is_none());
        let next = next.map(|database| database.due_at.saturating_sub(LEAD)).min().unwrap_or(NEVER);
        // One that could not be started is tried again soon.
        let soonest = if next <= now { now + BEGINNING } else { next };
        let until = soonest.min(self.looks_around_at);
        Duration::from_micros((until - now).max(1000).unsigned_abs())
    }

    /// Learns which databases there are.
    fn look_around(&mut self, now: i64, all_changed: bool) {
        self.looks_around_at = now + LOOK_AROUND;
        let chosen = settings::databases();
        let Ok(found) = process::transaction(|| Ok(databases::all())) else { return };
        shared::retain(|oid| found.iter().any(|database| database.oid.to_u32() == oid));
        let found: Vec<u32> = found
            .into_iter()
            .filter(|database| chosen.as_ref().is_none_or(|chosen| chosen.contains(&database.name)))
            .map(|database| database.oid.to_u32())
            .collect();
        self.databases.retain(|oid, _| found.contains(oid));
        for oid in found {
            let new = || Database { due_at: now, dispatcher: None, started_at: 0, failures: 0 };
            let database = self.databases.entry(oid).or_insert_with(new);
            if all_changed {
                database.due_at = now;
            }
        }
    }

    /// Where jobs changed, somebody has to look: the dispatcher that is there, or a new one.
    fn absorb(&mut self, changed: &[u32], now: i64) {
        for oid in changed {
            if let Some(database) = self.databases.get_mut(oid) {
                match database.pid(*oid) {
                    Some(pid) => process::wake(pid),
                    // After one that failed, the pause counts.
                    None if database.failures == 0 => database.due_at = now,
                    None => {}
                }
            } else {
                // Jobs do not run there.
                shared::take_changed((*oid).into());
            }
        }
    }

    /// Hears what dispatchers said that ended.
    fn collect(&mut self, now: i64) {
        for (oid, database) in &mut self.databases {
            if database.dispatcher.as_ref().is_none_or(|process| !process.is_over()) {
                continue;
            }
            database.dispatcher = None;
            shared::set_dispatcher((*oid).into(), 0);
            match shared::take_report(*oid) {
                Some(due_at) => (database.due_at, database.failures) = (due_at.min(now + LOOK_INTO), 0),
                None => {
                    if now - database.started_at > PROVEN {
                        database.failures = 0;
                    }
                    let pause = FIRST_PAUSE << database.failures.min(20);
                    database.due_at = now + pause.min(LONGEST_PAUSE);
                    database.failures += 1;
                }
            }
            // Since it looked last.
            if database.failures == 0 && shared::is_changed(*oid) {
                database.due_at = database.due_at.min(now);
            }
        }
    }

    /// Starts dispatchers where something is due, the longest due first.
    fn start(&mut self, now: i64) {
        let begin = |database: &Database| (0..BEGINNING).contains(&(now - database.started_at));
        let mut beginning = self.databases.values().filter(|database| begin(database)).count();
        let is_due = |database: &Database| {
            database.dispatcher.is_none() && database.due_at.saturating_sub(LEAD) <= now
        };
        let mut due: Vec<_> = self.databases.iter_mut().filter(|(_, database)| is_due(database)).collect();
        due.sort_by_key(|(_, database)| database.due_at);
        for (oid, database) in due {
            if shared::dispatcher(*oid).is_some() {
                // The one that a launcher before this one started is still there, and looks for itself.
                database.due_at = now + SECOND;
            } else if beginning < MAX_DISPATCHERS {
                database.dispatcher = DISPATCHER.start(*oid);
                database.started_at = now;
                beginning += usize::from(database.dispatcher.is_some());
            }
        }
    }
}
