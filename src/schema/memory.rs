//! Knowing without looking again: what was found of catalogs that have not changed since is still so.

use std::cell::RefCell;

use super::compare::Comparison;
use super::snapshot::Snapshot;
use super::state::State;
use crate::pg::error::Result;

/// The last comparison of this session with a captured schema.
struct Remembered {
    name: String,
    fingerprint: String,
    schemas: Option<Vec<String>>,
    comparison: Comparison,
}

impl Remembered {
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.name == snapshot.name
            && self.fingerprint == snapshot.fingerprint
            && self.schemas == snapshot.schemas
    }
}

/// Comparisons with more differences are not worth the memory.
const MAX_DIFFERENCES: usize = 1000;

thread_local! {
    static LAST: RefCell<Option<Remembered>> = const { RefCell::new(None) };
}

/// `compare` of a captured schema with this database, unless the catalogs are as they were when the schema was
/// captured, or when this session last compared it.
pub fn comparison(
    snapshot: Snapshot,
    compare: impl FnOnce(Snapshot, State) -> Result<Comparison>,
) -> Result<Comparison> {
    let older = match LAST.take().filter(|last| last.is_of(&snapshot)) {
        Some(last) if last.comparison.state.is_same_moment()? => return Ok(remember(last)),
        older => older,
    };
    let state = State::now()?;
    let is_known = |stamp: Option<&str>| state.stamp().is_some() && state.stamp() == stamp;
    if let Some(older) = older.filter(|older| is_known(older.comparison.state.stamp())) {
        let comparison = Comparison { state, ..older.comparison };
        return Ok(remember(Remembered { comparison, ..older }));
    }
    let Snapshot { name, fingerprint, schemas, .. } = snapshot.clone();
    let comparison = if is_known(snapshot.stamp.as_deref()) {
        Comparison::same(fingerprint.clone(), state)
    } else {
        compare(snapshot, state)?
    };
    Ok(remember(Remembered { name, fingerprint, schemas, comparison }))
}

/// Keeps what is complete and not too large.
fn remember(found: Remembered) -> Comparison {
    let comparison = found.comparison.clone();
    if comparison.fingerprint.is_some() && comparison.differences.len() <= MAX_DIFFERENCES {
        LAST.set(Some(found));
    }
    comparison
}
