//! What came of runs, and when there is something to do again.

use opdb_core::partition::{Range, Runway, runway};
use pgrx::pg_sys;

use super::children::Children;
use super::run::Outcome;
use super::set::Set;
use super::task::Look;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{own, spi, subtransaction, time};
use crate::settings;

pub fn record(parent: Regclass, outcome: &Outcome) -> Result<()> {
    own::write(
        "INSERT INTO opdb.partition_run (parent, action, partition, lower_bound, upper_bound, status, detail, sqlstate,
             started_at, duration_ms, blockers)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, pg_catalog.clock_timestamp() - $9 * interval '1 millisecond', $9, $10
         FROM opdb.partition_set p WHERE p.parent = $1",
        &[
            parent.into(),
            outcome.action.into(),
            outcome.partition.as_deref().into(),
            outcome.lower.as_deref().into(),
            outcome.upper.as_deref().into(),
            outcome.status.into(),
            outcome.detail.as_deref().into(),
            outcome.sqlstate.as_deref().into(),
            outcome.duration_ms.into(),
            outcome.blockers.as_deref().into(),
        ],
    )
    .map(drop)
}

pub fn must_analyze(parent: Regclass, must: bool) -> Result<()> {
    own::write(
        "INSERT INTO opdb.partition_state (parent, must_analyze) VALUES ($1, $2)
         ON CONFLICT (parent) DO UPDATE SET must_analyze = excluded.must_analyze
         WHERE opdb.partition_state.must_analyze <> excluded.must_analyze",
        &[parent.into(), must.into()],
    )
    .map(drop)
}

/// It is to be looked at again, whatever was found before.
pub fn forget(parent: Regclass) -> Result<()> {
    own::write("UPDATE opdb.partition_state SET due_at = NULL WHERE parent = $1", &[parent.into()]).map(drop)
}

/// The end of a run: how it went, and when there will be something to do again if nobody interferes.
pub fn finish(parent: Regclass, last_error: Option<&str>, blockers: Option<&str>) -> Result<()> {
    // A table that cannot be looked at now is looked at the next time.
    let next = subtransaction::run(|| next(parent)).ok().flatten();
    let Next { due_at, watched, default_mark } = next.unwrap_or_default();
    own::write(
        "INSERT INTO opdb.partition_state AS s (parent, due_at, watched, default_mark, last_run_at, last_status,
             last_error, last_blockers)
         SELECT p.parent, $2, $3, $4, pg_catalog.clock_timestamp(), $5, $6, $7
         FROM opdb.partition_set p WHERE p.parent = $1
         ON CONFLICT (parent) DO UPDATE SET due_at = excluded.due_at, watched = excluded.watched,
             default_mark = excluded.default_mark, last_run_at = excluded.last_run_at,
             last_status = excluded.last_status, last_error = excluded.last_error,
             last_blockers = excluded.last_blockers",
        &[
            parent.into(),
            due_at.filter(|_| last_error.is_none()).and_then(time::to_sql).into(),
            watched.into(),
            default_mark.into(),
            if last_error.is_some() { "failed" } else { "done" }.into(),
            last_error.into(),
            blockers.into(),
        ],
    )?;
    forget_dropped()?;
    shorten_history()
}

/// What was said of tables that are gone must not hold for others that get their numbers.
pub fn forget_dropped() -> Result<()> {
    for (table, column) in [("partition_set", "parent"), ("partition_hold", "relation")] {
        own::write(
            &format!(
                "DELETE FROM opdb.{table} p
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = p.{column})"
            ),
            &[],
        )?;
    }
    Ok(())
}

fn shorten_history() -> Result<()> {
    let Some(days) = settings::job_run_retention_days() else { return Ok(()) };
    own::write(
        "DELETE FROM opdb.partition_run WHERE started_at < pg_catalog.clock_timestamp() - $1 * interval '1 day'
           AND run_id < (SELECT max(run_id) - 1000 FROM opdb.partition_run)",
        &[days.into()],
    )
    .map(drop)
}

/// When there is something to do, and what would make it sooner.
#[derive(Default)]
struct Next {
    /// An instant. None if only looking tells.
    due_at: Option<i64>,
    watched: Vec<pg_sys::Oid>,
    default_mark: Option<String>,
}

fn next(parent: Regclass) -> Result<Option<Next>> {
    let Some(set) = Set::find(parent, None)? else { return Ok(None) };
    let children = set.children()?;
    // Strays that were left alone are looked at again when their number changes.
    let look = Look::without_strays(&set, &children)?;
    let now = look.now;
    let current = set.grid.range_at(now);
    // How long until the clock is there; for numbers nobody knows.
    let wait = |place: i64| place.saturating_sub(now);
    let creation = current.map(|range| wait(range.upper));
    let retention = set.cutoff(now).and_then(|cutoff| {
        let is_left = |range: &&Range| range.upper > cutoff && range.upper != i64::MAX;
        let ranges = children.ranges();
        ranges.iter().find(is_left).map(|oldest| oldest.upper.saturating_sub(cutoff))
    });
    // Months are of different lengths: shortly before it is looked again.
    const SLACK: i64 = 4 * 86_400_000_000;
    let retention = retention.map(|wait| if wait > SLACK { wait - SLACK } else { wait });
    let wait = creation.into_iter().chain(retention).min();
    let is_quiet = set.key.is_time() && look.expired()?.is_empty() && children.half_detached.is_empty();
    Ok(Some(Next {
        due_at: wait.filter(|_| is_quiet).map(|wait| time::now().saturating_add(wait)),
        watched: watched(&children, now),
        default_mark: children.default.as_ref().map(|it| mark(it.table)).transpose()?.flatten(),
    }))
}

/// The partitions that keep rows from having no place.
fn watched(children: &Children, now: i64) -> Vec<pg_sys::Oid> {
    let until = match runway(&children.ranges(), now) {
        Runway::Until(until) => until,
        Runway::Endless => i64::MAX,
        Runway::None => now,
    };
    let ahead = children.partitions.iter().filter(|it| it.range.upper > now && it.range.lower < until);
    ahead.map(|it| it.table.0).collect()
}

/// What the default partition looks like from outside: another value if rows were added to it. Those of other sessions
/// show when these have told the server, a second or ten later.
fn mark(default: Regclass) -> Result<Option<String>> {
    let sql = format!("SELECT {}", mark_of("$1::pg_catalog.oid"));
    Ok(spi::read_one_now(&sql, &[default.into()], |row| row.get::<String>(1))?.flatten())
}

fn mark_of(oid: &str) -> String {
    // What this session has not told yet counts, too.
    let count = |of: &str| {
        format!(
            "coalesce(pg_catalog.pg_stat_get_tuples_{of}({oid}), 0) + coalesce(pg_catalog.pg_stat_get_xact_tuples_{of}({oid}), 0)"
        )
    };
    format!("{oid}::text || ':' || ({}) || ':' || ({})", count("inserted"), count("updated"))
}

/// The tables that have something to do now, or may have, and those that are somebody else's. One query, whose cost
/// does not grow with the number of partitions: the watched ones are found by themselves, and only then it is asked whose
/// they are. As a condition, the parent would have the planner read all of its partitions.
pub fn due() -> Result<Vec<(Regclass, bool)>> {
    let sql = format!(
        "SELECT p.parent, pg_catalog.pg_has_role(c.relowner, 'USAGE')
         FROM opdb.partition_set p
         JOIN pg_catalog.pg_class c ON c.oid = p.parent
         LEFT JOIN opdb.partition_state s ON s.parent = p.parent
         LEFT JOIN LATERAL (
             SELECT d.partdefid AS oid FROM pg_catalog.pg_partitioned_table d WHERE d.partrelid = p.parent AND d.partdefid <> 0
         ) d ON true
         WHERE s.due_at IS NULL OR s.due_at <= pg_catalog.clock_timestamp()
            OR pg_catalog.cardinality(s.watched) <> (
                   SELECT count(*) FILTER (WHERE i.inhparent = p.parent AND NOT i.inhdetachpending)
                   FROM pg_catalog.pg_inherits i WHERE i.inhrelid = ANY (s.watched))
            OR {mark} IS DISTINCT FROM s.default_mark
            OR EXISTS (SELECT FROM opdb.retired_partition r WHERE r.parent = p.parent AND r.state <> 'done')
         ORDER BY p.parent",
        mark = mark_of("d.oid")
    );
    let rows = spi::read_now(&sql, &[], |row| Ok(row.get::<Regclass>(1)?.zip(row.get::<bool>(2)?)))?;
    Ok(rows.into_iter().flatten().collect())
}
