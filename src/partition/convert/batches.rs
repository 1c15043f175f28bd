//! Many rows leave the default partition: copied in batches while they are read and written, and put in their places
//! under one short lock.

use opdb_core::partition::Range;

use super::error::ConvertError;
use super::options::ConvertOptions;
use super::source::Source;
use super::stage::{self, Staged};
use super::state::{self, Conversion, Kind, State};
use super::{check_isolation, copy, prepare, swap, undo};
use crate::partition::children::{Children, DefaultPartition};
use crate::partition::error::PartitionError;
use crate::partition::manage::Wanted;
use crate::partition::recipe::{LOCK_TIMEOUT, Recipe, Statement};
use crate::partition::run;
use crate::partition::set::Set;
use crate::partition::task::Look;
use crate::pg::error::Result;
use crate::pg::lock::{self, Mode};
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi};

/// What came of one step.
pub enum Progress {
    Continues,
    Waits(String),
    /// So many partitions have their rows.
    Done(usize),
}

/// Whether a move out of this default partition has begun.
pub fn is_under_way(default: &DefaultPartition) -> Result<bool> {
    Ok(begun(default)?.is_some())
}

/// The ranges of a move that has begun.
pub fn ranges(set: &Set, default: &DefaultPartition) -> Result<Vec<Range>> {
    match begun(default)? {
        Some(conversion) => Ok(Staged::of(set, &conversion.source()?, conversion.target)?.children.ranges()),
        None => Ok(Vec::new()),
    }
}

fn begun(default: &DefaultPartition) -> Result<Option<Conversion>> {
    Ok(Conversion::find(default.table)?.filter(|it| it.kind == Kind::Default))
}

/// Why rows of this default partition cannot be moved in batches; empty if they can.
pub fn obstacles(set: &Set, default: &DefaultPartition) -> Result<Vec<String>> {
    let sql = include_str!("../../../sql/partition/batch_obstacles.sql");
    let args = [default.table.0.into(), set.parent.table.0.into()];
    let reasons = session::pinned(|| spi::read_now(sql, &args, |row| row.get::<String>(2)))?;
    Ok(reasons.into_iter().flatten().collect())
}

/// The next step. The caller commits it.
///
/// What was begun for a table that is not what it was is undone, and begins anew.
/// Errors: 0A000 with every reason, if it cannot begin; 55P03 for a lock that is not to be had in time.
pub fn step(look: &Look<'_>, ranges: impl FnOnce() -> Result<Vec<Range>>) -> Result<Progress> {
    check_isolation()?;
    let (set, children) = (look.set, look.children);
    let Some(default) = &children.default else { return Ok(Progress::Done(0)) };
    run::alone(default.table)?;
    let Some(conversion) = begun(default)? else {
        let ranges = ranges()?;
        if ranges.is_empty() {
            return Ok(Progress::Done(0));
        }
        begin(look, default, &ranges)?;
        return Ok(Progress::Continues);
    };
    if is_outdated(&conversion, set, children, default)? {
        undo(&conversion)?;
        conversion.forget()?;
        return Ok(Progress::Continues);
    }
    let progress = next(&conversion, set, children)?;
    if let Progress::Done(_) = progress {
        return Ok(progress);
    }
    let waits_for = if let Progress::Waits(why) = &progress { Some(why.as_str()) } else { None };
    conversion.failed(waits_for)?;
    Ok(progress)
}

fn next(conversion: &Conversion, set: &Set, children: &Children) -> Result<Progress> {
    let source = conversion.source()?;
    match conversion.state {
        State::Copying => copy::next_blocks(conversion, &source)?,
        State::Analyzing => copy::analyze(conversion, &source)?,
        State::Applying | State::Swapped | State::Done => {
            let staged = Staged::of(set, &source, conversion.target)?;
            let proof = staged.prove_rest(set, children)?;
            if proof.is_empty() {
                return approach(conversion, &source, &staged);
            }
            let prove = || proof.iter().try_for_each(|sql| spi::write(sql, &[]).map(drop));
            run::as_owner(set.parent.owner, prove)?;
        }
    }
    Ok(Progress::Continues)
}

fn approach(conversion: &Conversion, source: &Source, staged: &Staged) -> Result<Progress> {
    let waits_for = swap::approach(conversion, source)?;
    // The exchange forgets it.
    if Conversion::find(conversion.source)?.is_none() {
        return Ok(Progress::Done(staged.children.partitions.len()));
    }
    Ok(waits_for.map_or(Progress::Continues, Progress::Waits))
}

/// Whether what was made does not fit any more: it is made anew then, of what is there now.
fn is_outdated(
    conversion: &Conversion,
    set: &Set,
    children: &Children,
    default: &DefaultPartition,
) -> Result<bool> {
    if crate::pg::name::of(conversion.target).is_err() {
        return Ok(true);
    }
    let source = conversion.source()?;
    if source.definition()? != conversion.definition || !obstacles(set, default)?.is_empty() {
        return Ok(true);
    }
    let staged = Staged::of(set, &source, conversion.target)?.children.ranges();
    Ok(staged.iter().any(|range| children.partitions.iter().any(|it| it.range.meets(*range))))
}

fn begin(look: &Look<'_>, default: &DefaultPartition, ranges: &[Range]) -> Result<()> {
    let (set, owner) = (look.set, look.set.parent.owner);
    let source = Source::of(default.table, &set.parent.column.name, false)?;
    let timeout = LOCK_TIMEOUT.as_millis().to_string();
    session::pinned_with(&[("lock_timeout", &timeout)], || {
        [set.parent.table, default.table].into_iter().for_each(lock::against_alter);
        Ok(())
    })?;
    if crate::pg::name::of(default.table)?.sql() != default.name.sql()
        || parent_of(default.table)? != set.parent.table
    {
        return Err(PartitionError::Changed(default.name.sql()).into());
    }
    let reasons = obstacles(set, default)?;
    if !reasons.is_empty() {
        let (table, column) = (default.name.sql(), set.parent.column.name.clone());
        return Err(ConvertError::Obstacles { table, column, reasons }.into());
    }
    let (definition, wanted) = (source.definition()?, wanted(set)?);
    let statements = stage::make(look, &source, ranges, &wanted)?;
    run::as_owner(owner, || Statement::run_all(&statements))?;
    if !lock::in_turns(default.table, Mode::ShareRow, LOCK_TIMEOUT)? {
        let (relation, blockers) = (default.name.sql(), lock::holders(default.table)?);
        return Err(PartitionError::Locked { relation, seconds: LOCK_TIMEOUT.as_secs(), blockers }.into());
    }
    if source.definition()? != definition {
        return Err(PartitionError::Changed(default.name.sql()).into());
    }
    let capture = prepare::capture(&source, &source.key()?, prepare::Seen::ByRow);
    run::as_owner(owner, || capture.iter().try_for_each(|sql| spi::write(sql, &[]).map(drop)))?;
    let file = state::file_of(default.table)?;
    state::begin(Kind::Default, &source, &wanted, &serde_json::json!({}), &definition, file)
}

/// What the table's partitions are like, for the account of the move; its own ranges are in what was made.
fn wanted(set: &Set) -> Result<Wanted> {
    let row = spi::read_one_now(
        "SELECT coalesce(every, interval '0'), timezone FROM opdb.partition_set WHERE parent = $1",
        &[set.parent.table.into()],
        |row| Ok(row.get::<pgrx::datum::Interval>(1)?.zip(row.get::<String>(2)?)),
    )?;
    let (every, timezone) = row.flatten().ok_or_else(|| PartitionError::NotManaged(set.parent.name.sql()))?;
    Ok(state::wanted(every, 0, &timezone, ConvertOptions::read(&serde_json::json!({}))?))
}

/// Writes down why a step of a move failed.
pub fn failed(parent: Regclass, why: &str) -> Result<()> {
    own::write(
        "UPDATE opdb.partition_conversion SET last_error = $2, updated_at = pg_catalog.clock_timestamp()
         WHERE kind = 'default' AND source = (SELECT partdefid FROM pg_catalog.pg_partitioned_table WHERE partrelid = $1)",
        &[parent.into(), why.into()],
    )
    .map(drop)
}

/// The table of a default partition. Errors: 55000 if it is none any more.
pub fn parent_of(default: Regclass) -> Result<Regclass> {
    let sql = "SELECT inhparent::pg_catalog.regclass FROM pg_catalog.pg_inherits WHERE inhrelid = $1";
    let parent = spi::read_one_now(sql, &[default.into()], |row| row.get::<Regclass>(1))?.flatten();
    match parent {
        Some(parent) => Ok(parent),
        None => Err(PartitionError::Changed(crate::pg::name::of(default)?.sql()).into()),
    }
}

/// Under the locks of all that takes part: the last changes, and the new partitions in their places.
pub fn exchange(conversion: &Conversion, source: &Source) -> Result<()> {
    let set = Set::get(parent_of(conversion.source)?, None)?;
    let children = set.children()?;
    let Some(default) = children.default.as_ref().filter(|it| it.table == conversion.source) else {
        return Err(PartitionError::Changed(source.parent.name.sql()).into());
    };
    if is_outdated(conversion, &set, &children, default)? {
        return Err(PartitionError::Changed(source.parent.name.sql()).into());
    }
    copy::apply(conversion, source, i64::MAX)?;
    let staged = Staged::of(&set, source, conversion.target)?;
    let recipe = Recipe::of(&set.parent, &children, &set.storage)?;
    let statements = staged.take_place(&set, default, &source.target, &recipe)?;
    let new = crate::pg::name::find(&staged.default.sql())?;
    swap::follow(conversion.source, new)?;
    own::write(
        "UPDATE opdb.partition_hold SET relation = $2 WHERE relation = $1",
        &[conversion.source.into(), new.into()],
    )?;
    run::as_owner(set.parent.owner, || {
        prepare::end_capture(source).iter().try_for_each(|sql| spi::write(sql, &[]).map(drop))?;
        Statement::run_all(&statements)
    })?;
    conversion.forget()
}

/// The statements for a person to read: those that make what the rows are copied to.
pub fn planned(look: &Look<'_>, default: &DefaultPartition, ranges: &[Range]) -> Result<Vec<Statement>> {
    let source = Source::of(default.table, &look.set.parent.column.name, false)?;
    stage::make(look, &source, ranges, &wanted(look.set)?)
}

/// Where the rows are copied to.
pub fn staging(set: &Set, default: &DefaultPartition) -> Result<Qualified> {
    Ok(Source::of(default.table, &set.parent.column.name, false)?.target)
}
