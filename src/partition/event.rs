//! Partitions that rows need which are there already: for tables that records are ingested into.

use std::collections::BTreeSet;

use opdb_core::partition::{Range, Span, name};
use pgrx::datum::DatumWithOid;

use super::children::Children;
use super::parent::Parent;
use super::recipe::Recipe;
use super::set::Set;
use super::state;
use crate::pg::error::{Failure, Result};
use crate::pg::name::{MAX_IDENTIFIER_BYTES, Qualified};
use crate::pg::types::Regclass;
use crate::pg::{lock, partition, spi, subtransaction};

/// What became of the partitions that were missing.
#[derive(Default)]
pub struct Created {
    pub count: usize,
    pub failures: Vec<Failure>,
}

impl Created {
    /// For those who need every one of them.
    pub fn or_fail(self) -> Result<usize> {
        match self.failures.into_iter().next() {
            Some(failure) => Err(failure),
            None => Ok(self.count),
        }
    }
}

/// Makes the partitions of `parent` that `moments` (a query with one timestamptz column, its first argument being
/// `args`) fall into and that do not exist. A managed table has its own span and time zone; of others, partitions span
/// `span` in UTC.
///
/// Two sessions that need the same partition take turns. `with_each` gets every new partition's name, before it is
/// attached. A partition that cannot be made (its name or a part of its range is taken) does not stop the others.
pub fn create_for<'a>(
    parent: Regclass,
    span: Span,
    moments: &str,
    args: &[DatumWithOid<'a>],
    mut with_each: impl FnMut(&Qualified) -> Result<()>,
) -> Result<Created> {
    let mut created = Created::default();
    let places = places(moments, args)?;
    if places.is_empty() || partition::holds_all(parent, &places)? {
        return Ok(created);
    }
    let set = match Set::find(parent, None)? {
        Some(set) => set,
        None => Set::unmanaged(Parent::get(parent)?, span)?,
    };
    if missing(&set, &set.children()?, &places).is_empty() {
        return Ok(created);
    }
    lock::partitions(parent);
    // Whoever held the lock before may have made them.
    let children = set.children()?;
    let missing = missing(&set, &children, &places);
    if missing.is_empty() {
        return Ok(created);
    }
    let recipe = Recipe::of(&set.parent, &children, &set.storage)?;
    for range in missing {
        match subtransaction::run(|| create(&set, &recipe, range, children.uuid_rest, &mut with_each)) {
            Ok(()) => created.count += 1,
            Err(failure) if matches!(failure.class().as_str(), "23" | "42") => {
                let name = partition_name(&set, range).sql();
                created.failures.push(failure.at(&format!("partition {name} cannot be made")));
            }
            Err(failure) => return Err(failure),
        }
    }
    state::forget(parent)?;
    Ok(created)
}

fn places<'a>(moments: &str, args: &[DatumWithOid<'a>]) -> Result<Vec<i64>> {
    let sql = format!(
        "SELECT DISTINCT (1000000 * extract(epoch FROM m.moment))::bigint FROM ({moments}) AS m (moment)
         WHERE pg_catalog.isfinite(m.moment)"
    );
    Ok(spi::write_returning(&sql, args, |row| row.get::<i64>(1))?.into_iter().flatten().collect())
}

/// The ranges of the places that no partition holds, in order.
fn missing(set: &Set, children: &Children, places: &[i64]) -> BTreeSet<Range> {
    let is_held = |place: i64| {
        let first = children.partitions.partition_point(|it| it.range.upper <= place);
        children.partitions.get(first).is_some_and(|it| it.range.holds(place))
    };
    places.iter().filter(|place| !is_held(**place)).filter_map(|place| set.grid.range_at(*place)).collect()
}

fn partition_name(set: &Set, range: Range) -> Qualified {
    let parent = &set.parent.name;
    parent.sibling(name(&parent.name, &set.grid, range, MAX_IDENTIFIER_BYTES))
}

fn create(
    set: &Set,
    recipe: &Recipe,
    range: Range,
    uuid_rest: u128,
    with_each: &mut impl FnMut(&Qualified) -> Result<()>,
) -> Result<()> {
    let partition = partition_name(set, range);
    let Some((lower, upper)) = set.bounds(range, uuid_rest) else { return Ok(()) };
    for statement in recipe.create(&partition) {
        statement.run()?;
    }
    with_each(&partition)?;
    for statement in recipe.attach(&partition, &lower, &upper) {
        statement.run()?;
    }
    Ok(())
}
