//! A pass over rows of which some make a rule raise an error: they fail it, and the others are judged.
//!
//! An error ends the whole query. So the rules that raise one are found first, then the rows that make them, by halving
//! the table, and then the pass is made again without evaluating these rules on these rows.

use pgrx::pg_sys;

use super::rule::{Cell, Evaluated};
use super::scan::{Passed, Scan, Source};
use super::table::Member;
use crate::pg::error::{Failure, Result};
use crate::pg::name::identifier;
use crate::pg::spi::{self, Plan};
use crate::pg::subtransaction;

/// Rows that make a rule raise an error are looked for one by one. A rule with more of them than this is wrong itself.
const AT_MOST: usize = 100_000;

/// What came of a pass.
pub struct Outcome {
    pub passed: Passed,
    /// As the pass was made in the end: rules that raise errors are evaluated otherwise.
    pub scan: Scan,
    /// The cells that could not be judged at all, with why.
    pub broken: Vec<(usize, String)>,
    /// So the times.
    pub broken_times: Vec<(usize, String)>,
}

/// Makes a pass over the rows of `source`; those that make a rule raise an error are looked for if they `can_be_found`
/// again, because they are all there and have a place.
pub fn run(scan: &Scan, source: &Source, member: &Member, can_be_found: bool) -> Result<Outcome> {
    let failure = match scan.run(source) {
        Ok(passed) => return Ok(Outcome::new(passed, scan.clone())),
        Err(failure) if is_of_a_value(&failure) => failure,
        Err(failure) => return Err(failure),
    };
    let (mut careful, mut broken, mut broken_times) = (scan.clone(), Vec::new(), Vec::new());
    for (place, raised) in raising(scan, source)? {
        // What the server does not support it supports for no row.
        let can_be_found = can_be_found && member.is_heap && raised.class() != "0A";
        let rows = match can_be_found {
            true => rows_that_raise(&scan.cells[place].state, source, &scan.joins, member)?,
            false => None,
        };
        match rows {
            Some(rows) => careful.excuse(place, &rows),
            None => {
                broken.push((place, without_values(&raised.message)));
                careful.cells[place] = silent();
            }
        }
    }
    for (place, time) in scan.times.iter().enumerate() {
        if let Some(raised) = raised(&format!("pg_catalog.max({time})"), scan, source)? {
            broken_times.push((place, without_values(&raised.message)));
            careful.times[place] = "NULL::timestamptz".into();
        }
    }
    // A column that is computed when it is read may raise an error too: then the rows have no digest.
    if !scan.hashed.is_empty()
        && raised(&format!("pg_catalog.count({})", scan.hash()), scan, source)?.is_some()
    {
        careful.hashed.clear();
    }
    // Whatever raised it, it is none of these.
    let passed = careful.run(source).map_err(|_| failure)?;
    Ok(Outcome { broken, broken_times, ..Outcome::new(passed, careful) })
}

impl Outcome {
    fn new(passed: Passed, scan: Scan) -> Self {
        Self { passed, scan, broken: Vec::new(), broken_times: Vec::new() }
    }
}

/// Whether an error says something of the values that were looked at, rather than of the server or of the session.
pub fn is_of_a_value(failure: &Failure) -> bool {
    !failure.is_interrupt
        && !matches!(failure.class().as_str(), "25" | "40" | "42" | "53" | "55" | "57" | "58" | "XX")
}

/// What is quoted in a message can be a value of the table's, and who reads results may not read that.
pub fn without_values(message: &str) -> String {
    let parts = message.split('"').enumerate();
    parts.map(|(place, part)| if place % 2 == 0 { part } else { "\"…\"" }).collect()
}

/// A cell that says nothing of any row.
fn silent() -> Cell {
    Cell {
        state: "NULL::boolean".into(),
        fine: vec!["true".into()],
        evaluated: Evaluated::Where("NULL::integer".into()),
    }
}

impl Scan {
    /// Has a cell fail for these rows without being evaluated.
    fn excuse(&mut self, place: usize, rows: &[String]) {
        let (table, column) =
            (identifier(format!("opdb raised {place}")), identifier(format!("opdb raising {place}")));
        let places: Vec<String> = rows.iter().map(|place| format!("\"{place}\"")).collect();
        self.joins.push(format!(
            " LEFT JOIN (SELECT pg_catalog.unnest('{{{}}}'::tid[]) AS {column}) {table} ON {table}.{column} = t.ctid",
            places.join(",")
        ));
        let cell = &mut self.cells[place];
        let raises = format!("{table}.{column} IS NOT NULL");
        let unless = |sql: &str| format!("CASE WHEN {raises} THEN false ELSE {sql} END");
        cell.state = unless(&cell.state);
        cell.fine = cell.fine.iter().map(|sql| unless(sql)).collect();
        if let Evaluated::Where(sql) = &mut cell.evaluated {
            *sql = format!("CASE WHEN {raises} THEN NULL ELSE {sql} END");
        }
    }
}

/// The cells that raise an error somewhere, each evaluated alone.
fn raising(scan: &Scan, source: &Source) -> Result<Vec<(usize, Failure)>> {
    let mut found = Vec::new();
    for (place, cell) in scan.cells.iter().enumerate() {
        let failure = raised(&format!("pg_catalog.count({})", cell.state), scan, source)?;
        found.extend(failure.map(|failure| (place, failure)));
    }
    Ok(found)
}

/// What an aggregate over the rows raises, if it is of a value.
fn raised(aggregate: &str, scan: &Scan, source: &Source) -> Result<Option<Failure>> {
    let sql = format!("SELECT {aggregate} FROM {}{}", source.sql(), scan.joins.concat());
    raised_by(|| spi::read(&sql, &[], |_| Ok(())))
}

/// What reading raises, if it is of a value.
fn raised_by(read: impl FnOnce() -> Result<Vec<()>>) -> Result<Option<Failure>> {
    match subtransaction::run(read) {
        Ok(_) => Ok(None),
        Err(failure) if is_of_a_value(&failure) => Ok(Some(failure)),
        Err(failure) => Err(failure),
    }
}

/// Where the rows are that make `state` raise an error. `None` if they are too many.
fn rows_that_raise(
    state: &str,
    source: &Source,
    joins: &[String],
    member: &Member,
) -> Result<Option<Vec<String>>> {
    let search = Search::new(state, &format!("{}{}", source.sql(), joins.concat()))?;
    let blocks = spi::read_value::<i64>(
        "SELECT pg_catalog.pg_relation_size($1) / pg_catalog.current_setting('block_size')::bigint",
        &[member.relation.into()],
    )?;
    let mut found = Vec::new();
    let mut ranges = vec![(0, blocks.unwrap_or(0).max(1))];
    while let Some((first, end)) = ranges.pop() {
        if !search.raises_between(first, end)? {
            continue;
        }
        if end - first > 1 {
            let middle = first + (end - first) / 2;
            ranges.extend([(first, middle), (middle, end)]);
            continue;
        }
        for place in search.rows_of(first)? {
            if search.raises_at(&place)? {
                found.push(place);
            }
        }
        if found.len() > AT_MOST {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The statements that narrow down where an error comes from.
struct Search {
    between: Plan,
    at: Plan,
    rows: Plan,
}

impl Search {
    fn new(state: &str, source: &str) -> Result<Self> {
        let range = "t.ctid >= $1::tid AND t.ctid < $2::tid";
        let text = pg_sys::TEXTOID;
        Ok(Self {
            between: Plan::new(
                &format!("SELECT pg_catalog.count({state}) FROM {source} WHERE {range}"),
                &[text, text],
            )?,
            at: Plan::new(
                &format!("SELECT pg_catalog.count({state}) FROM {source} WHERE t.ctid = $1::tid"),
                &[text],
            )?,
            rows: Plan::new(&format!("SELECT t.ctid::text FROM {source} WHERE {range}"), &[text, text])?,
        })
    }

    fn raises_between(&self, first: i64, end: i64) -> Result<bool> {
        let (first, end) = (format!("({first},0)"), format!("({end},0)"));
        Ok(raised_by(|| self.between.read(&[first.into(), end.into()], |_| Ok(())))?.is_some())
    }

    fn raises_at(&self, place: &str) -> Result<bool> {
        Ok(raised_by(|| self.at.read(&[place.into()], |_| Ok(())))?.is_some())
    }

    fn rows_of(&self, block: i64) -> Result<Vec<String>> {
        let (first, end) = (format!("({block},0)"), format!("({},0)", block + 1));
        self.rows.read(&[first.into(), end.into()], |row| spi::known(&row, 1))
    }
}
