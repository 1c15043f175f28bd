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
/// So many dispatchers at once: after a start every database needs one.
const MAX_DISPATCHERS: usize = 4;
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
        process::wait(sleep);
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
    failures: u32,
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
        let is_full = self.running() >= MAX_DISPATCHERS && next <= now;
        // One that could not be started is tried again soon.
        let soonest = if next <= now && !is_full { now + SECOND } else { next };
        let until = if is_full { self.looks_around_at } else { soonest.min(self.looks_around_at) };
        Duration::from_micros((until - now).max(1000).unsigned_abs())
    }

    /// Learns which databases there are.
    fn look_around(&mut self, now: i64, all_changed: bool) {
        self.looks_around_at = now + LOOK_AROUND;
        let chosen = settings::databases();
        let Ok(found) = process::transaction(|| Ok(databases::all())) else { return };
        let found: Vec<u32> = found
            .into_iter()
            .filter(|database| chosen.as_ref().is_none_or(|chosen| chosen.contains(&database.name)))
            .map(|database| database.oid.to_u32())
            .collect();
        self.databases.retain(|oid, _| found.contains(oid));
        shared::retain(|oid| found.contains(&oid));
        for oid in found {
            let database =
                self.databases.entry(oid).or_insert(Database { due_at: now, dispatcher: None, failures: 0 });
            if all_changed {
                database.due_at = now;
            }
        }
    }

    /// Where jobs changed, somebody has to look: the dispatcher that is there, or a new one.
    fn absorb(&mut self, changed: &[u32], now: i64) {
        for oid in changed {
            if let Some(database) = self.databases.get_mut(oid) {
                match database.dispatcher.as_ref().and_then(Process::pid) {
                    Some(pid) => process::wake(pid),
                    None => database.due_at = now,
                }
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
            match shared::take_report(*oid) {
                Some(due_at) => (database.due_at, database.failures) = (due_at.min(now + LOOK_INTO), 0),
                None => {
                    let pause = FIRST_PAUSE << database.failures.min(20);
                    database.due_at = now + pause.min(LONGEST_PAUSE);
                    database.failures += 1;
                }
            }
            // Since it looked last.
            if shared::is_changed(*oid) {
                database.due_at = database.due_at.min(now);
            }
        }
    }

    fn start(&mut self, now: i64) {
        let mut running = self.running();
        for (oid, database) in &mut self.databases {
            let is_due = database.dispatcher.is_none() && database.due_at.saturating_sub(LEAD) <= now;
            if is_due && running < MAX_DISPATCHERS {
                database.dispatcher = DISPATCHER.start(*oid);
                running += usize::from(database.dispatcher.is_some());
            }
        }
    }

    fn running(&self) -> usize {
        self.databases.values().filter(|database| database.dispatcher.is_some()).count()
    }
}
