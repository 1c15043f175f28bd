//! One pass over the rows of a relation, with what every rule says of each of them.
//!
//! The query returns a row for each row that fails, with its key and a code that says which rules it fails; all
//! others are counted together. So counts, what fails together and the keys of what fails come from the same pass.

use std::collections::HashSet;

use super::rule::{Cell, Evaluated};
use super::table::{Key, Member, Table};
use crate::pg::error::Result;
use crate::pg::name::{identifier, literal};
use crate::pg::own;
use crate::pg::spi;
use crate::pg::spool::Spool;

/// A function takes at most 100 arguments.
const ARGUMENTS: usize = 90;

/// Failing rows that are kept together.
const ROWS_OF_PAGE: i64 = 5_000;
/// The key of a row of a view is all of the row.
const BYTES_OF_PAGE: usize = 1_000_000;

/// Which rows are read.
#[derive(Clone)]
pub struct Source {
    /// What stands in FROM; the rows are called t.
    pub from: String,
    /// What makes up the key of a row, and what its parts are called; the one part of a key without names is all of it.
    pub key: Vec<String>,
    pub labels: Option<Vec<String>>,
}

impl Source {
    /// The rows of one relation for which `condition` (in parentheses) holds, or a `sample` of them.
    pub fn member(table: &Table, member: &Member, condition: Option<&str>, sample: Option<&str>) -> Self {
        let sample = sample.unwrap_or_default();
        Self::new(table, &format!("ONLY {}", member.name.sql()), condition, sample)
    }

    /// The rows of all of its relations, and not of one that was attached since.
    pub fn whole(table: &Table, condition: Option<&str>) -> Self {
        let of_members = table.condition_of_members();
        let condition = match (condition, of_members) {
            (Some(condition), Some(of_members)) => Some(format!("({of_members} AND {condition})")),
            (condition, of_members) => condition.map(str::to_owned).or(of_members),
        };
        Self::new(table, &table.name.sql(), condition.as_deref(), "")
    }

    /// No rows at all, of the table's columns.
    pub fn none(table: &Table) -> Self {
        Self::new(table, &table.name.sql(), Some("false LIMIT 0"), "")
    }

    fn new(table: &Table, relation: &str, condition: Option<&str>, sample: &str) -> Self {
        let from = match condition {
            None => format!("{relation} t{sample}"),
            Some(condition) => {
                let place = if table.key == Key::Row { "" } else { "ctid, tableoid, " };
                format!("(SELECT {place}* FROM {relation}{sample} WHERE {condition}) t")
            }
        };
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let (key, labels) = match &table.key {
            Key::Columns(columns) => (
                columns.iter().map(|name| format!("t.{}", identifier(name))).collect(),
                Some(columns.clone()),
            ),
            Key::Place { with_table: false } => (vec!["t.ctid".into()], names(&["ctid"])),
            Key::Place { with_table: true } => (
                vec!["t.tableoid::pg_catalog.regclass".into(), "t.ctid".into()],
                names(&["tableoid", "ctid"]),
            ),
            Key::Row => (vec![table.row_as_jsonb()], None),
        };
        Self { from, key, labels }
    }

    pub fn sql(&self) -> &str {
        &self.from
    }

    /// The key as the text of a JSON object.
    fn key(&self) -> String {
        let Some(labels) = &self.labels else { return format!("({})::text", self.key.concat()) };
        let pairs: Vec<String> =
            labels.iter().zip(&self.key).map(|(label, sql)| format!("{}, {sql}", literal(label))).collect();
        format!("pg_catalog.json_build_object({})::text", pairs.join(", "))
    }
}

/// What a pass finds out.
#[derive(Clone, Default)]
pub struct Scan {
    pub cells: Vec<Cell>,
    /// Tables that are looked up.
    pub joins: Vec<String>,
    /// What the digest is taken of; none is if there is nothing.
    pub hashed: Vec<String>,
    /// Of each of these times the latest.
    pub times: Vec<String>,
    /// The conditions in them.
    pub time_filters: Vec<String>,
    /// Whether the keys of rows that fail are wanted.
    pub keeps_failures: bool,
}

/// What was found out in a pass.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub rows: i64,
    /// One for each cell: how many values were looked at, and how many were good.
    pub evaluated: Vec<i64>,
    pub passed: Vec<i64>,
    /// Rows for which one of the cells asked for failed.
    pub incomplete: i64,
    pub digest: Digest,
    /// The latest of each of the times, in microseconds since 1970.
    pub latest: Vec<Option<i64>>,
}

/// What the rows are, whatever their order: the sum of their hashes, and these combined bit by bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    pub sum: u64,
    pub xor: u64,
}

impl Digest {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { sum: self.sum.wrapping_add(other.sum), xor: self.xor ^ other.xor }
    }

    pub fn to_hex(self) -> String {
        format!("{:016x}{:016x}", self.sum, self.xor)
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        let part = |range| u64::from_str_radix(text.get(range)?, 16).ok();
        Some(Self { sum: part(0..16)?, xor: part(16..32)? })
    }
}

impl Tally {
    /// Of the same rules over other rows.
    pub fn add(&mut self, other: &Self) {
        let add = |sums: &mut Vec<i64>, counts: &[i64]| {
            sums.resize(sums.len().max(counts.len()), 0);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        };
        self.rows += other.rows;
        add(&mut self.evaluated, &other.evaluated);
        add(&mut self.passed, &other.passed);
        self.incomplete += other.incomplete;
        self.digest = self.digest.and(other.digest);
        self.latest.resize(self.latest.len().max(other.latest.len()), None);
        for (latest, time) in self.latest.iter_mut().zip(&other.latest) {
            *latest = (*latest).max(*time);
        }
    }
}

/// Keeps the planner from pulling a subquery up. In quotes the 0 is a bigint from the start: of a number that is still to
/// become one the planner does not know yet what it is, and lets one process read the rows.
pub const NOT_PULLED_UP: &str = "OFFSET '0'";

impl Scan {
    /// Reads the rows once.
    pub fn run(&self, source: &Source) -> Result<Passed> {
        Ok(Passed { spool: Spool::fill(&self.sql(source))?, cells: self.cells.len() })
    }

    /// `run` over a `source` that reads rows kept aside.
    pub fn run_over(&self, spool: &Spool, source: &Source) -> Result<Passed> {
        Ok(Passed { spool: spool.select(&self.sql(source))?, cells: self.cells.len() })
    }

    /// Pulled up, the subquery would be evaluated more than once, and as many groups be expected as there are rows, so that
    /// no parallel workers would count them.
    pub fn sql(&self, source: &Source) -> String {
        let counted = self.counted();
        let values = counted.iter().enumerate().map(|(v, sql)| format!(", {sql} AS v{}", v + 1));
        let times = self.times.iter().enumerate().map(|(x, sql)| format!(", {sql} AS x{}", x + 1));
        let inner: Vec<String> = values.chain(times).collect();
        let counts: Vec<String> = (1..=counted.len()).map(|v| format!("pg_catalog.count(g.v{v})")).collect();
        let latest: Vec<String> = (1..=self.times.len()).map(latest_of).collect();
        let (hash, sums) = match self.hashed.is_empty() {
            true => (String::new(), "NULL::numeric AS h_sum, NULL::bigint AS h_xor"),
            false => (
                format!(", {} AS h", self.hash()),
                "pg_catalog.sum(g.h) AS h_sum, pg_catalog.bit_xor(g.h) AS h_xor",
            ),
        };
        // Most of the groups are single rows that fail: what is not asked of them is not made.
        let counts = format!("CASE WHEN g.code IS NULL THEN {} END", array(&counts));
        let latest = if latest.is_empty() { "NULL::bigint[]".to_owned() } else { array(&latest) };
        format!(
            "SELECT g.code, pg_catalog.count(*) AS rows, {} AS counts, {} AS latest, {sums}
             FROM (SELECT {} AS code{hash}{} FROM {}{} {NOT_PULLED_UP}) g GROUP BY g.code",
            counts,
            latest,
            self.code(source),
            inner.concat(),
            source.from,
            self.joins.concat(),
        )
    }

    /// NULL for a row that is fine; or else what each rule says of it, a character each, and its key if it fails one.
    fn code(&self, source: &Source) -> String {
        if self.cells.is_empty() {
            return "NULL::text".into();
        }
        let mut known = HashSet::new();
        let fine = self.cells.iter().flat_map(|cell| &cell.fine).map(String::as_str);
        let fine: Vec<&str> = fine.filter(|sql| known.insert(*sql)).collect();
        let said = |cell: &Cell| {
            format!("CASE ({}) WHEN true THEN '1' WHEN false THEN '0' ELSE '-' END", cell.state)
        };
        let said: Vec<String> = self.cells.iter().map(said).collect();
        let said = said.chunks(ARGUMENTS).map(|some| format!("pg_catalog.concat({})", some.join(", ")));
        let mut code: Vec<String> = said.collect();
        if self.keeps_failures {
            let fails: Vec<String> =
                self.cells.iter().map(|cell| format!("({}) IS FALSE", cell.state)).collect();
            code.push(format!("CASE WHEN {} THEN {} ELSE '' END", fails.join(" OR "), source.key()));
        }
        format!("CASE WHEN {} THEN NULL ELSE {} END", fine.join(" AND "), code.join(" || "))
    }

    pub fn hash(&self) -> String {
        format!("pg_catalog.hash_record_extended(ROW({}), 0)", self.hashed.join(", "))
    }

    /// Of the rows that are fine, what tells which were evaluated; each only once.
    fn counted(&self) -> Vec<&str> {
        let mut counted = Vec::new();
        for cell in &self.cells {
            if let Evaluated::Where(sql) = &cell.evaluated
                && !counted.contains(&sql.as_str())
            {
                counted.push(sql);
            }
        }
        counted
    }

    /// What the pass says of the rules; rows with a failure in one of the `required` cells are counted.
    pub fn tally(&self, passed: &Passed, required: &[usize]) -> Result<Tally> {
        let counted = self.counted();
        let (mut tally, fine, counts) = passed.totals(self.times.len(), counted.len())?;
        for cell in &self.cells {
            let evaluated = match &cell.evaluated {
                Evaluated::All => fine,
                Evaluated::Where(sql) => {
                    let place = counted.iter().position(|known| known == sql);
                    place.and_then(|place| counts.get(place)).copied().unwrap_or(0)
                }
            };
            tally.evaluated.push(evaluated);
            tally.passed.push(evaluated);
        }
        for (place, good, bad) in passed.coded()? {
            tally.passed[place] += good;
            tally.evaluated[place] += good + bad;
        }
        tally.incomplete = passed.failing_one_of(required)?;
        Ok(tally)
    }
}

/// The result of a pass.
pub struct Passed {
    spool: Spool,
    cells: usize,
}

impl Passed {
    /// Rows, digest and latest times of all; how many rows are fine, and the counts over them.
    fn totals(&self, times: usize, counted: usize) -> Result<(Tally, i64, Vec<i64>)> {
        let latest: Vec<String> = (1..=times).map(|x| format!("pg_catalog.max(latest[{x}])")).collect();
        let counts: Vec<String> = (1..=counted)
            .map(|v| format!("coalesce(pg_catalog.sum(counts[{v}]) FILTER (WHERE code IS NULL), 0)::bigint"))
            .collect();
        let sql = format!(
            "SELECT coalesce(pg_catalog.sum(rows), 0)::bigint,
                    coalesce(pg_catalog.sum(rows) FILTER (WHERE code IS NULL), 0)::bigint,
                    pg_catalog.mod(coalesce(pg_catalog.sum(h_sum), 0), 18446744073709551616)::text,
                    coalesce(pg_catalog.bit_xor(h_xor), 0), {}, {} FROM spool",
            array(&latest),
            array(&counts)
        );
        let row = self.spool.read(&sql, &[], |row| {
            let sum = spi::known::<String>(&row, 3)?.parse::<i128>().unwrap_or_default() as u64;
            let digest = Digest { sum, xor: spi::known::<i64>(&row, 4)? as u64 };
            let latest = spi::known::<Vec<Option<i64>>>(&row, 5)?;
            let tally = Tally { rows: spi::known(&row, 1)?, digest, latest, ..Tally::default() };
            Ok((tally, spi::known::<i64>(&row, 2)?, spi::known::<Vec<i64>>(&row, 6)?))
        })?;
        Ok(row.into_iter().next().unwrap_or_default())
    }

    /// Of rows that are not fine, for each cell how many were good and how many were not.
    fn coded(&self) -> Result<Vec<(usize, i64, i64)>> {
        self.spool.read(
            "SELECT p.place,
                    coalesce(pg_catalog.sum(c.rows) FILTER (WHERE pg_catalog.substr(c.code, p.place, 1) = '1'), 0)::bigint,
                    coalesce(pg_catalog.sum(c.rows) FILTER (WHERE pg_catalog.substr(c.code, p.place, 1) = '0'), 0)::bigint
             FROM (SELECT pg_catalog.left(code, $1) AS code, pg_catalog.sum(rows) AS rows FROM spool
                   WHERE code IS NOT NULL GROUP BY 1) c
             CROSS JOIN pg_catalog.generate_series(1, $1) p (place) GROUP BY p.place",
            &[self.length().into()],
            |row| {
                let place = usize::try_from(spi::known::<i32>(&row, 1)?).unwrap_or(1);
                Ok((place - 1, spi::known(&row, 2)?, spi::known(&row, 3)?))
            },
        )
    }

    fn failing_one_of(&self, cells: &[usize]) -> Result<i64> {
        let places: Vec<i32> = cells.iter().map(|cell| *cell as i32 + 1).collect();
        let rows = self.spool.read(
            "SELECT coalesce(pg_catalog.sum(c.rows), 0)::bigint
             FROM (SELECT pg_catalog.left(code, $1) AS code, pg_catalog.sum(rows) AS rows FROM spool
                   WHERE code IS NOT NULL GROUP BY 1) c
             WHERE EXISTS (SELECT FROM pg_catalog.unnest($2::int[]) p WHERE pg_catalog.substr(c.code, p, 1) = '0')",
            &[self.length().into(), places.into()],
            |row| spi::known::<i64>(&row, 1),
        )?;
        Ok(rows.first().copied().unwrap_or(0))
    }

    /// Keeps what is said of the rows that fail, and their keys, many rows in one: a row of its own for each would take
    /// longer than the pass.
    pub fn keep_failures(&self, scan_id: i64) -> Result<()> {
        let mut page = 0;
        self.spool.in_parts(ROWS_OF_PAGE, BYTES_OF_PAGE, |part| {
            page += 1;
            own::write_from(
                part,
                "INSERT INTO opdb.quality_failure (scan_id, page, cells, codes, copies)
                 SELECT $1, $2, $3, pg_catalog.array_agg(code),
                        CASE WHEN pg_catalog.max(rows) > 1 THEN pg_catalog.array_agg(rows) END
                 FROM spool WHERE pg_catalog.length(code) > $3 HAVING pg_catalog.count(*) > 0",
                &[scan_id.into(), page.into(), self.length().into()],
            )
        })
    }

    /// Of what a code says of the rules; the key follows.
    fn length(&self) -> i32 {
        i32::try_from(self.cells).unwrap_or(i32::MAX)
    }
}

/// Infinity is no time that anything happened at.
fn latest_of(x: usize) -> String {
    let seconds = format!(
        "pg_catalog.date_part('epoch', pg_catalog.max(g.x{x}) FILTER (WHERE pg_catalog.isfinite(g.x{x})))"
    );
    // Later times do not fit.
    format!("CASE WHEN {seconds} < 9.2e12 THEN ({seconds} * 1000000)::bigint END")
}

fn array(items: &[String]) -> String {
    format!("ARRAY[{}]::bigint[]", items.join(", "))
}
