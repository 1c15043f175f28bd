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

/// What came of a pass, and which cells could not be judged at all, with why.
pub struct Outcome {
    pub passed: Passed,
    pub broken: Vec<(usize, String)>,
}

/// Makes a pass over the rows of `member`; its rows can only be found again if they are all there (`is_sample`) and have
/// a place.
pub fn run(scan: &Scan, source: &Source, member: &Member, is_sample: bool) -> Result<Outcome> {
    let failure = match scan.run(source) {
        Ok(passed) => return Ok(Outcome { passed, broken: Vec::new() }),
        Err(failure) => failure,
    };
    if !is_of_a_value(&failure) {
        return Err(failure);
    }
    let mut careful = Scan {
        cells: scan.cells.clone(),
        joins: scan.joins.clone(),
        hashed: scan.hashed.clone(),
        times: scan.times.clone(),
        keeps_failures: scan.keeps_failures,
    };
    let mut broken = Vec::new();
    for (place, raised) in raising(scan, source)? {
        let rows = match member.is_heap && !is_sample {
            true => rows_that_raise(&scan.cells[place].state, source, member)?,
            false => None,
        };
        match rows {
            Some(rows) => careful.excuse(place, &rows),
            None => {
                broken.push((place, raised.message));
                careful.cells[place] = silent();
            }
        }
    }
    // Whatever raised it, it is none of the rules.
    let passed = careful.run(source).map_err(|_| failure)?;
    Ok(Outcome { passed, broken })
}

/// Whether an error says something of the values that were looked at, rather than of the server or of the session.
pub fn is_of_a_value(failure: &Failure) -> bool {
    !failure.is_interrupt
        && !matches!(failure.class().as_str(), "25" | "40" | "42" | "53" | "55" | "57" | "58" | "XX")
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
        let sql =
            format!("SELECT pg_catalog.count({}) FROM {}{}", cell.state, source.sql(), scan.joins.concat());
        match subtransaction::run(|| spi::read(&sql, &[], |_| Ok(()))) {
            Err(failure) if is_of_a_value(&failure) => found.push((place, failure)),
            other => drop(other?),
        }
    }
    Ok(found)
}

/// Where the rows are that make `state` raise an error. `None` if they are too many.
fn rows_that_raise(state: &str, source: &Source, member: &Member) -> Result<Option<Vec<String>>> {
    let search = Search::new(state, source)?;
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
    fn new(state: &str, source: &Source) -> Result<Self> {
        let source = source.sql();
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
        raises(|| self.between.read(&[first.into(), end.into()], |_| Ok(())))
    }

    fn raises_at(&self, place: &str) -> Result<bool> {
        raises(|| self.at.read(&[place.into()], |_| Ok(())))
    }

    fn rows_of(&self, block: i64) -> Result<Vec<String>> {
        let (first, end) = (format!("({block},0)"), format!("({},0)", block + 1));
        self.rows.read(&[first.into(), end.into()], |row| spi::known(&row, 1))
    }
}

fn raises<T>(work: impl FnOnce() -> Result<T>) -> Result<bool> {
    match subtransaction::run(work) {
        Ok(_) => Ok(false),
        Err(failure) if is_of_a_value(&failure) => Ok(true),
        Err(failure) => Err(failure),
    }
}
