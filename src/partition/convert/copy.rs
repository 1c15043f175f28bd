//! Rows come to the new table: first all of them, by blocks, then those whose keys were written down.

use super::prepare;
use super::source::{KeyColumn, Source};
use super::state::{Conversion, State};
use crate::partition::parent::Parent;
use crate::partition::{column, run};
use crate::pg::error::Result;
use crate::pg::name;
use crate::pg::types::Regclass;
use crate::pg::{session, spi, subtransaction};

/// For rows found by their keys: whatever the planner knows of a table that is being filled or emptied, it must not go
/// through all of it for each key. Only a bitmap scan cannot do without a condition.
const BY_KEY: &[(&str, &str)] = &[
    ("enable_bitmapscan", "on"),
    ("enable_nestloop", "on"),
    ("enable_seqscan", "off"),
    ("enable_indexscan", "off"),
    ("enable_indexonlyscan", "off"),
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
    let columns = Source::listed(&source.written_down()?);
    let again = format!(
        "INSERT INTO {} ({columns}) SELECT {columns} FROM ONLY {from} WHERE {condition}",
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
    Ok(blocks.flatten().filter(|blocks| *blocks > 0).unwrap_or(rows / 50).clamp(1, rows.clamp(1, 100_000)))
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

/// Applies all changes, or about the oldest `limit`.
///
/// A key that is taken by a row whose own change is not among them is taken no more when that one is: among all of them
/// it is.
pub fn apply(source: &Source, limit: Option<i64>) -> Result<()> {
    let run = |limit| {
        let sql = apply_sql(source, limit)?;
        as_owner(&source.parent, BY_KEY, || spi::write(&sql, &[]).map(drop))
    };
    if limit.is_some() {
        match subtransaction::run(|| run(limit)) {
            Err(failure) if failure.sqlstate_text() == "23505" => {}
            other => return other,
        }
    }
    run(None)
}

/// Copies those rows again whose changes were written down, and forgets the changes.
///
/// It is one statement, so that the new table becomes what the old one was at one moment: of several moments the unique
/// keys of two rows that exchange them would be in each other's way. A row of the new table is where one of its changes says
/// that it was or came to: the one that made it, or the one that was made to it since. So either none of a key's changes is
/// applied, or all, whatever the limit.
pub fn apply_sql(source: &Source, limit: Option<i64>) -> Result<String> {
    let (changes, target) = (source.changes.sql(), source.target.sql());
    let (key, stored) = (source.key()?, column::stored_columns(&source.parent)?);
    let (listed, place) = (Source::listed(&key), source.place(&key));
    let chosen = match limit {
        None => String::new(),
        Some(limit) => format!(
            " WHERE ctid = ANY (ARRAY(
         SELECT c.opdb_row FROM (SELECT ctid AS opdb_row, min(opdb_change) OVER (PARTITION BY {listed}) AS opdb_first FROM {changes}) c
         WHERE c.opdb_first <= (SELECT max(n.opdb_change) FROM (SELECT opdb_change FROM {changes} ORDER BY 1 LIMIT {limit}) n)))"
        ),
    };
    let mut deletes = Vec::new();
    let mut delete = |columns: &str, of_place: &str| {
        deletes.push(format!(
            "     gone_{} AS (DELETE FROM {target} t USING (SELECT DISTINCT {columns} FROM change) k WHERE {}{of_place} RETURNING 1)",
            deletes.len(),
            same(&key, "t")
        ));
    };
    match &place {
        None => delete(&listed, ""),
        Some(place) => {
            let (columns, name) = (format!("{listed}, {}", place.name), &place.name);
            delete(&columns, &format!(" AND {}", same(std::slice::from_ref(place), "t")));
            delete(&columns, &format!(" AND t.{name} IS NULL AND k.{name} IS NULL"));
        }
    }
    // What is deleted is deleted first.
    let counts: Vec<String> =
        (0..deletes.len()).map(|number| format!("(SELECT count(*) FROM gone_{number})")).collect();
    let (columns, of_rows) =
        (stored.join(", "), stored.iter().map(|column| format!("s.{column}")).collect::<Vec<_>>().join(", "));
    Ok(format!(
        "WITH change AS (DELETE FROM {changes}{chosen} RETURNING *),
{}
INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {of_rows} FROM (SELECT DISTINCT {listed} FROM change) k JOIN ONLY {} s ON {} WHERE {} >= 0",
        deletes.join(",\n"),
        source.parent.name.sql(),
        same(&key, "s"),
        counts.join(" + ")
    ))
}

/// Whether columns of a row are those of `k`.
fn same(columns: &[KeyColumn], row: &str) -> String {
    let equal = |it: &KeyColumn| format!("{row}.{0} {1} k.{0}", it.name, it.equals);
    columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// Runs `work`, which changes nothing but the place of rows, as the table's owner.
fn as_owner<T>(parent: &Parent, settings: &[(&str, &str)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    run::as_owner(parent.owner, || session::pinned_with(settings, work))
}
