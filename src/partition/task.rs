//! What is to be done for one table, in which order.

use opdb_core::partition::{InTheWay, Range, missing};
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::children::{Children, Partition};
use super::column;
use super::error::PartitionError;
use super::retired::{self, Retired};
use super::set::{Archive, RetentionAction, Set};
use super::stray::{self, Ahead, Strays};
use crate::pg::error::{Failure, Result};
use crate::pg::types::Regclass;
use crate::pg::{name, spi, subtransaction};

/// At most so many ranges are emptied of strays in one run.
const MOST_MOVED: usize = 31;

/// A partition, or what was one, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    pub partition: u32,
}

impl From<pg_sys::Oid> for Numbered {
    fn from(partition: pg_sys::Oid) -> Self {
        Self { partition: partition.to_u32() }
    }
}

impl From<Numbered> for pg_sys::Oid {
    fn from(it: Numbered) -> Self {
        it.partition.into()
    }
}

/// One thing to do, in a transaction of its own. It says what, and not how: that is made when its turn comes, of what
/// is there then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Makes the partition of a range together with the rows of it that are in the default partition.
    Move(Range),
    /// Keeps rows of a range out of the default partition from now on.
    Forbid(Range),
    /// Proves that there are none.
    Validate(Range),
    Create(Range),
    /// Lets rows into the default partition again.
    Allow(Range),
    Analyze,
    /// Ends a DETACH CONCURRENTLY that was interrupted.
    Finalize(Numbered),
    Detach(Numbered),
    /// Drops or archives what was detached.
    Finish(Numbered),
    /// Copies the rows of a partition to another server.
    Ship(Numbered),
    /// Puts a foreign table in its place.
    Swap(Numbered),
}

impl Task {
    pub fn action(self) -> &'static str {
        match self {
            Self::Move(_) => "move_rows",
            Self::Forbid(_) | Self::Validate(_) | Self::Allow(_) => "check",
            Self::Create(_) => "create",
            Self::Analyze => "analyze",
            Self::Finalize(_) | Self::Detach(_) => "detach",
            Self::Finish(_) => "finish",
            Self::Ship(_) | Self::Swap(_) => "archive",
        }
    }
}

impl Task {
    /// The partition that it is about, if there is one already.
    pub fn partition(self) -> Option<Numbered> {
        match self {
            Self::Finalize(it) | Self::Detach(it) | Self::Finish(it) | Self::Ship(it) | Self::Swap(it) => {
                Some(it)
            }
            _ => None,
        }
    }

    pub fn partition_name(self) -> Option<String> {
        let name = name::of(Regclass(self.partition()?.into()));
        name.ok().map(|name| name.sql())
    }
}

/// A task that was handed out before. Errors: 22023 for anything else.
pub fn read(task: Value) -> Result<Task> {
    Ok(serde_json::from_value(task).map_err(|_| PartitionError::NoTask)?)
}

/// Creation is apart from retention, and before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Create,
    Retire,
}

impl Phase {
    /// Errors: 22023 for an unknown name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "create" => Ok(Self::Create),
            "retire" => Ok(Self::Retire),
            _ => Err(PartitionError::NoTask.into()),
        }
    }
}

/// All that is to be done for one table.
pub struct Tasks {
    pub tasks: Vec<Task>,
    /// What nobody can do without a decision of a person's.
    pub obstacles: Vec<Obstacle>,
}

pub struct Obstacle {
    pub range: Option<Range>,
    pub failure: Failure,
}

/// What a plan is made from.
pub struct Look<'a> {
    pub set: &'a Set,
    pub children: &'a Children,
    pub now: i64,
    pub strays: Option<Strays>,
    /// Why strays could not be counted.
    pub stray_failure: Option<Failure>,
}

impl<'a> Look<'a> {
    /// For planning `phase`. Retention has nothing to do with strays, and the default partition may be large.
    pub fn at(set: &'a Set, children: &'a Children, phase: Phase) -> Result<Self> {
        let look = Self::without_strays(set, children)?;
        if phase == Phase::Retire {
            return Ok(look);
        }
        // Partitions are made all the same.
        match subtransaction::run(|| stray::find(set, children)) {
            Ok(strays) => Ok(Self { strays, ..look }),
            Err(failure) if failure.is_interrupt => Err(failure),
            Err(failure) => Ok(Self { stray_failure: Some(failure), ..look }),
        }
    }

    pub fn without_strays(set: &'a Set, children: &'a Children) -> Result<Self> {
        Ok(Self { set, children, now: set.now(children)?, strays: None, stray_failure: None })
    }

    pub fn tasks(&self, phase: Phase) -> Result<Tasks> {
        match phase {
            Phase::Create => self.creation(),
            Phase::Retire => self.retirement(),
        }
    }

    fn creation(&self) -> Result<Tasks> {
        let (set, children) = (self.set, self.children);
        let (mut ranges, in_the_way) = missing(&set.grid, &children.ranges(), self.now, set.premake);
        let mut obstacles: Vec<Obstacle> =
            in_the_way.map(|it| obstacle(set, children, it)).into_iter().collect();
        let failure = self.stray_failure.clone().map(|it| it.at("strays are not moved"));
        obstacles.extend(failure.map(|failure| Obstacle { range: None, failure }));
        let is_in_key = |range: &Range| set.bounds(*range, children.uuid_rest).is_some();
        obstacles
            .extend(ranges.iter().copied().find(|range| !is_in_key(range)).map(|range| self.key_ends(range)));
        // What was missed so long ago that it would be retired at once is not missed.
        let cutoff = set.cutoff(self.now).unwrap_or(i64::MIN);
        ranges.retain(|range| range.upper > cutoff && is_in_key(range));
        let moved = self.to_move(&ranges);
        ranges.retain(|range| !moved.contains(range));
        let mut tasks: Vec<Task> = moved.iter().copied().map(Task::Move).collect();
        self.create(&ranges, &moved, &mut tasks)?;
        if set.analyze && (is_creation(&tasks) || must_analyze(set)?) {
            tasks.push(Task::Analyze);
        }
        Ok(Tasks { tasks, obstacles })
    }

    fn key_ends(&self, range: Range) -> Obstacle {
        let column = &self.set.parent.column;
        let from = self.set.key.value(range.lower, self.set.grid.zone(), self.children.uuid_rest);
        let error = PartitionError::KeyEnds {
            column: column.name.clone(),
            type_name: column.type_name.clone(),
            from: from.unwrap_or_default(),
        };
        Obstacle { range: None, failure: error.into() }
    }

    /// The ranges whose rows strayed: those that are to be made anyway, and others, if they are neither ahead of what is
    /// made nor so old that they would be retired at once.
    fn to_move(&self, missing: &[Range]) -> Vec<Range> {
        let Some(strays) = &self.strays else { return Vec::new() };
        let ends = missing
            .iter()
            .map(|range| range.upper)
            .chain(self.children.partitions.iter().map(|it| it.range.upper));
        let horizon = match self.set.key.is_time() {
            true => ends.filter(|upper| *upper != i64::MAX).max().unwrap_or(i64::MIN).min(self.horizon()),
            false => self.horizon(),
        };
        let cutoff = self.set.cutoff(self.now).unwrap_or(i64::MIN);
        let fits = |range: &Range| {
            range.upper <= horizon.max(self.now)
                && range.upper > cutoff
                && self.set.bounds(*range, self.children.uuid_rest).is_some()
                && !self.children.partitions.iter().any(|partition| partition.range.meets(*range))
        };
        strays.rows.keys().rev().copied().filter(fits).take(MOST_MOVED).collect()
    }

    /// Where premade partitions end.
    fn horizon(&self) -> i64 {
        let current = self.set.grid.range_at(self.now);
        let ahead = std::iter::successors(current, |range| self.set.grid.after(*range)).nth(self.set.premake);
        ahead.map_or(i64::MAX, |range| range.upper)
    }

    fn create(&self, ranges: &[Range], moved: &[Range], tasks: &mut Vec<Task>) -> Result<()> {
        let Some(default) = &self.children.default else {
            tasks.extend(ranges.iter().copied().map(Task::Create));
            return Ok(());
        };
        // While a CHECK is there, rows of its ranges are refused: it is only for those that nobody needs yet.
        let (ahead, now): (Vec<Range>, Vec<Range>) = ranges.iter().partition(|range| range.lower > self.now);
        tasks.extend(now.iter().copied().map(Task::Create));
        let there = Ahead::all(default)?;
        let hull = ahead.iter().copied().reduce(|one, other| Range {
            lower: one.lower.min(other.lower),
            upper: one.upper.max(other.upper),
        });
        let wanted = match hull {
            Some(hull)
                if stray::is_large(default)?
                    && !self.strays.as_ref().is_none_or(|it| it.any_within(hull, moved)) =>
            {
                Some(hull)
            }
            _ => None,
        };
        let serves = |ahead: &&Ahead| {
            wanted.zip(ahead.range).is_some_and(|(hull, it)| it.lower <= hull.lower && hull.upper <= it.upper)
        };
        let serving = there.iter().find(serves);
        if let Some(hull) = wanted {
            let of = serving.and_then(|ahead| ahead.range).unwrap_or(hull);
            if serving.is_none() {
                tasks.push(Task::Forbid(of));
            }
            if !serving.is_some_and(|ahead| ahead.is_validated) {
                tasks.push(Task::Validate(of));
            }
        }
        tasks.extend(ahead.iter().copied().map(Task::Create));
        let made = wanted.filter(|_| serving.is_none());
        let left = there.iter().filter_map(|ahead| ahead.range).chain(made);
        tasks.extend(left.map(Task::Allow));
        Ok(())
    }

    fn retirement(&self) -> Result<Tasks> {
        let mut tasks = Vec::new();
        let registered = retired::registered(&self.set.parent)?;
        for pending in &self.children.half_detached {
            let partition = Numbered::from(pending.table.0);
            tasks.push(Task::Finalize(partition));
            // Unless it is somebody else's whose DETACH was interrupted.
            tasks.extend(registered.contains(&pending.table.0).then_some(Task::Finish(partition)));
        }
        let mut obstacles = Vec::new();
        let cutoff = self.cutoff()?;
        let expired = self.ended_by(cutoff);
        let held = retired::holds(
            &self.set.parent,
            &expired.iter().map(|it| it.table.0).collect::<Vec<pg_sys::Oid>>(),
        )?;
        for partition in expired {
            match held.get(&partition.table.0) {
                Some(reason) => obstacles.push(Obstacle {
                    range: Some(partition.range),
                    failure: PartitionError::OnHold {
                        relation: partition.name.sql(),
                        reason: reason.clone(),
                    }
                    .into(),
                }),
                None => self.retire(partition, &mut tasks)?,
            }
        }
        let unfinished = Retired::unfinished(&self.set.parent)?;
        let due = unfinished.iter().filter(|it| it.is_expired(self.set.key, cutoff));
        tasks.extend(due.map(|it| Task::Finish(it.partition.into())));
        Ok(Tasks { tasks, obstacles })
    }

    fn retire(&self, expired: &Partition, tasks: &mut Vec<Task>) -> Result<()> {
        let partition = Numbered::from(expired.table.0);
        match self.set.retention.as_ref().map(|it| &it.action) {
            Some(RetentionAction::Archive(Archive::Environment(_))) => {
                tasks.push(Task::Ship(partition));
                let has_bounds = self.set.bounds(expired.range, self.children.uuid_rest).is_some();
                // The foreign table is attached anew: a default partition would be scanned.
                let is_large = self.children.default.as_ref().map(stray::is_large).transpose()? == Some(true);
                if !(is_large && has_bounds) {
                    tasks.push(Task::Swap(partition));
                    return Ok(());
                }
                tasks.extend([Task::Forbid(expired.range), Task::Validate(expired.range)]);
                tasks.extend([Task::Swap(partition), Task::Allow(expired.range)]);
            }
            Some(RetentionAction::Detach) | None => tasks.push(Task::Detach(partition)),
            Some(_) => tasks.extend([Task::Detach(partition), Task::Finish(partition)]),
        }
        Ok(())
    }

    /// The partitions whose own upper bound is past the retention, whatever interval was configured when they were made.
    /// A foreign table has its rows elsewhere already, and is never dropped.
    pub fn expired(&self) -> Result<Vec<&'a Partition>> {
        Ok(self.ended_by(self.cutoff()?))
    }

    fn ended_by(&self, cutoff: Option<i64>) -> Vec<&'a Partition> {
        let action = self.set.retention.as_ref().map(|it| &it.action);
        let is_retired = |it: &&Partition| {
            cutoff.is_some_and(|cutoff| it.range.upper <= cutoff)
                && (it.kind != "f" || action == Some(&RetentionAction::Detach))
        };
        self.children.partitions.iter().filter(is_retired).collect()
    }

    /// What ends up to here is to be retired.
    pub fn cutoff(&self) -> Result<Option<i64>> {
        if self.set.key.is_time() || self.set.retention.is_none() {
            return Ok(self.set.cutoff(self.now));
        }
        let settled = column::settled(&self.set.parent, self.children)?;
        Ok(self.set.cutoff(self.now.min(settled)))
    }
}

/// A range that cannot be made, for a person to decide about.
pub fn obstacle(set: &Set, children: &Children, it: InTheWay) -> Obstacle {
    let by = children.with_range(it.by);
    let (from, to) = set.bounds(it.range, children.uuid_rest).unwrap_or_default();
    let error = PartitionError::InTheWay {
        partition: by.map(|by| by.name.sql()).unwrap_or_default(),
        lower: by.map(|by| by.lower.clone()).unwrap_or_default(),
        upper: by.map(|by| by.upper.clone()).unwrap_or_default(),
        from,
        to,
    };
    Obstacle { range: Some(it.range), failure: error.into() }
}

fn is_creation(tasks: &[Task]) -> bool {
    tasks.iter().any(|task| matches!(task, Task::Create(_) | Task::Move(_)))
}

fn must_analyze(set: &Set) -> Result<bool> {
    let sql = "SELECT must_analyze FROM opdb.partition_state WHERE parent = $1";
    Ok(spi::read_one_now(sql, &[set.parent.table.into()], |row| row.get::<bool>(1))?.flatten() == Some(true))
}
