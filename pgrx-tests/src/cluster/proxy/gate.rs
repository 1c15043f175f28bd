//! Where a relay stops what passes through it, until somebody says how it goes on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;

/// Many times what anything takes that a test waits for.
const HELD_WITHIN: Duration = Duration::from_secs(60);

/// Which message with SQL is held, counted from 1 over all connections since [`Proxy::hold`](super::Proxy::hold).
/// Those after it wait, too, on whatever connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It does not reach the server.
    Before(usize),
    /// The server answers it, and nothing of the answer gets back.
    After(usize),
}

#[derive(Default)]
struct State {
    hold: Option<Hold>,
    /// Messages that have come since.
    seen: usize,
    /// The message that is held.
    held: Option<String>,
    /// Tells a hold from the one before it: who waits for the end of one must not wait for that of the next.
    round: u64,
}

#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is to become of a message that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Passes,
    /// It goes to [`Gate::answered`] first.
    IsHeld {
        round: u64,
    },
}

impl Gate {
    pub(super) fn hold(&self, hold: Option<Hold>) {
        let mut state = self.state();
        *state = State { hold, round: state.round + 1, ..State::default() };
        self.changed.notify_all();
    }

    /// The text of the message that is held.
    pub(super) fn wait_until_held(&self) -> anyhow::Result<String> {
        let waiting = |state: &mut State| state.hold.is_some() && state.held.is_none();
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), HELD_WITHIN, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        state
            .held
            .clone()
            .with_context(|| format!("{:?}: nothing was held, and {} messages came", state.hold, state.seen))
    }

    /// Returns when a message with SQL may pass.
    pub(super) fn enter(&self, sql: &str) -> Answer {
        let mut state = self.state();
        state.seen += 1;
        match state.hold {
            Some(Hold::After(number)) if state.seen == number => {
                return Answer::IsHeld { round: state.round };
            }
            Some(Hold::Before(number)) if state.seen == number => self.tell(&mut state, sql),
            Some(Hold::Before(number) | Hold::After(number)) if state.seen > number => {}
            _ => return Answer::Passes,
        }
        let round = state.round;
        self.wait_for_the_end(state, round);
        Answer::Passes
    }

    /// Returns when the answer to a message may pass.
    pub(super) fn answered(&self, sql: &str, round: u64) {
        let mut state = self.state();
        if state.round == round {
            self.tell(&mut state, sql);
        }
        self.wait_for_the_end(state, round);
    }

    fn tell(&self, state: &mut State, sql: &str) {
        state.held = Some(sql.to_owned());
        self.changed.notify_all();
    }

    fn wait_for_the_end(&self, state: MutexGuard<State>, round: u64) {
        let waiting = |state: &mut State| state.round == round;
        drop(self.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
