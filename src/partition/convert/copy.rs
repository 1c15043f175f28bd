//! Rows come to the new table: first all of them, by blocks, then those whose keys were written down.

use std::time::Duration;

use super::prepare;
use super::source::{KeyColumn, Source};
use super::state::{Conversion, State};
use crate::partition::parent::Parent;
use crate::partition::{column, run};
use crate::pg::error::Result;
use crate::pg::name;
use crate::pg::types::Regclass;
use crate::pg::{session, spi, subtransaction};

/// For rows found by their keys: whatever the planner knows of a table that is being filled, it must not scan it.
const BY_KEY: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_memoize", "off"),
    ("jit", "off"),
];

/// Copies the next blocks. Doing it twice does no harm: rows that are there stay as they are, and what has changed
/// meanwhile was written down.
pub fn next_blocks(conversion: &Conversion, source: &Source) -> Result<()> {
    if restarted(conversion, source)? {
        return Ok(());
    }
    let blocks = blocks_of(conversion.source, conversion.options()?.batch_rows)?;
    let (from, to) = (conversion.next_block, (conversion.next_block + blocks).min(conversion.blocks));
    let rows = match from < to {
        true => copy(source, &format!("ctid >= '({from},0)' AND ctid < '({to},0)'"))?,
        false => 0,
    };
    conversion.copied(rows, to)
}

/// Copies the rows for which `condition` holds, and says how many. Where a key is there already, its row has changed
/// since, or two rows differ here and not there: their keys are written down, so that they are copied again, and a
/// conflict is told.
fn copy(source: &Source, condition: &str) -> Result<i64> {
    let (columns, from) = (column::stored(&source.parent)?, source.parent.name.sql());
    let copy = format!(
        "WITH batch AS MATERIALIZED (SELECT {columns} FROM ONLY {from} WHERE {condition}),
              put AS (INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM batch ON CONFLICT DO NOTHING RETURNING 1)
         SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM put)",
        source.target.sql(),
    );
    let key = Source::listed(&source.key()?);
    let again = format!(
        "INSERT INTO {} ({key}) SELECT {key} FROM ONLY {from} WHERE {condition}",
        source.changes.sql()
    );
    as_owner(&source.parent, &[("jit", "off")], || {
        let counts =
            spi::write_returning(&copy, &[], |row| Ok((spi::known(&row, 1)?, spi::known(&row, 2)?)))?;
        let (found, put): (i64, i64) = counts.into_iter().next().unwrap_or_default();
        if put < found {
            spi::write(&again, &[])?;
        }
        Ok(put)
    })
}

/// All rows at once.
pub fn copy_sql(source: &Source) -> Result<String> {
    let (columns, from) = (column::stored(&source.parent)?, source.parent.name.sql());
    let target = source.target.sql();
    Ok(format!("INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM ONLY {from}"))
}

/// Whether the table was rewritten or truncated, or changed without its changes being written down, so that the copy begins
/// anew.
pub fn restarted(conversion: &Conversion, source: &Source) -> Result<bool> {
    let mut captured = prepare::captured(conversion.source)?;
    if conversion.is_captured(captured.as_deref())
        && prepare::file(conversion.source)?.number == conversion.file
    {
        return Ok(false);
    }
    if captured.is_none() {
        prepare::capture_again(source)?;
        captured = prepare::captured(conversion.source)?;
    }
    let file = prepare::file(conversion.source)?;
    let truncate = format!("TRUNCATE {}", name::of(conversion.target)?.sql());
    as_owner(&source.parent, &[], || spi::write(&truncate, &[]))?;
    conversion.restart(file, captured.as_deref())?;
    Ok(true)
}

/// How many blocks hold about so many rows.
fn blocks_of(table: Regclass, rows: i64) -> Result<i64> {
    let blocks = spi::read_one_now(
        "SELECT pg_catalog.ceil($2 * relpages / nullif(greatest(reltuples, 0), 0))::bigint FROM pg_catalog.pg_class WHERE oid = $1",
        &[table.into(), (rows as f64).into()],
        |row| row.get::<i64>(1),
    )?;
    // Of a table that was never analyzed nothing is known; 50 rows of 150 bytes are on a page.
    Ok(blocks.flatten().filter(|blocks| *blocks > 0).unwrap_or(rows / 50).clamp(1, 100_000))
}

pub fn analyze(conversion: &Conversion, source: &Source) -> Result<()> {
    conversion.check_definition(source)?;
    let sql = format!("ANALYZE {}", name::of(conversion.target)?.sql());
    as_owner(&source.parent, &[], || spi::write(&sql, &[]))?;
    conversion.set_state(State::Applying)
}

/// How many changes are written down and not applied, counted up to a limit.
pub fn pending(conversion: &Conversion, source: &Source, limit: i64) -> Result<i64> {
    let sql =
        format!("SELECT count(*) FROM (SELECT FROM {} LIMIT {limit}) c", name::of(conversion.changes)?.sql());
    let count = as_owner(&source.parent, &[], || spi::read_one_now(&sql, &[], |row| row.get::<i64>(1)))?;
    Ok(count.flatten().unwrap_or_default())
}

/// Applies the oldest changes.
///
/// A key that is taken by a row whose own change is not among them is taken no more when that one is: with twice as
/// many it may go.
pub fn apply(conversion: &Conversion, source: &Source, mut limit: i64) -> Result<()> {
    let key = source.key()?;
    for _ in 0..8 {
        match subtransaction::run(|| apply_up_to(conversion, source, &key, limit)) {
            Err(failure) if failure.sqlstate_text() == "23505" => {
                limit = limit.saturating_mul(4);
                session::wait(Duration::from_millis(10));
            }
            other => return other,
        }
    }
    apply_up_to(conversion, source, &key, i64::MAX)
}

fn apply_up_to(conversion: &Conversion, source: &Source, key: &[KeyColumn], limit: i64) -> Result<()> {
    // What is applied is settled once: a change that is committed meanwhile may have a lower number.
    let ids = format!(
        "SELECT pg_catalog.array_agg(c.n) FROM (SELECT opdb_change AS n FROM {} ORDER BY 1 LIMIT {limit}) c",
        name::of(conversion.changes)?.sql()
    );
    let statements = apply_sql(source, key, "opdb_change = ANY ($1)")?;
    as_owner(&source.parent, BY_KEY, || {
        let ids = spi::read_one_now(&ids, &[], |row| row.get::<Vec<i64>>(1))?.flatten();
        let Some(ids) = ids else { return Ok(()) };
        statements.iter().try_for_each(|sql| spi::write(sql, &[ids.clone().into()]).map(drop))
    })
}

/// Copies those rows again whose changes were written down, as far as `condition` chooses them.
pub fn apply_sql(source: &Source, key: &[KeyColumn], condition: &str) -> Result<[String; 3]> {
    let (changes, target) = (source.changes.sql(), source.target.sql());
    let (stored, listed) = (column::stored_columns(&source.parent)?, Source::listed(key));
    let columns = stored.join(", ");
    let same = |row: &str| {
        let equal = |it: &KeyColumn| format!("{row}.{0} {1} k.{0}", it.name, it.equals);
        key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    };
    let keys = format!("(SELECT DISTINCT {listed} FROM {changes} WHERE {condition}) k");
    let of_rows = stored.iter().map(|column| format!("s.{column}")).collect::<Vec<_>>().join(", ");
    Ok([
        format!("DELETE FROM {target} t USING {keys} WHERE {}", same("t")),
        format!(
            "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {of_rows} FROM {keys} JOIN ONLY {} s ON {}",
            source.parent.name.sql(),
            same("s")
        ),
        format!("DELETE FROM {changes} WHERE {condition}"),
    ])
}

/// Runs `work`, which changes nothing but the place of rows, as the table's owner.
fn as_owner<T>(parent: &Parent, settings: &[(&str, &str)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    run::as_owner(parent.owner, || session::pinned_with(settings, work))
}
