//! One pass over the rows of a relation, with what every rule says of each of them.
//!
//! The query returns a row for each row that fails, with its key and a code that says which rules it fails; all
//! others are counted together. So counts, what fails together and the keys of what fails come from the same pass.

use std::collections::HashSet;

use super::rule::{Cell, Evaluated, Rule};
use super::table::{Key, Member, Table};
use crate::pg::error::Result;
use crate::pg::name::{identifier, literal};
use crate::pg::own;
use crate::pg::spi;
use crate::pg::spool::Spool;

/// A function takes at most 100 arguments.
const ARGUMENTS: usize = 90;

/// Which rows are read.
#[derive(Clone)]
pub struct Source {
    /// What stands in FROM; the rows are called t.
    from: String,
    /// What makes up the key of a row, and what its parts are called; the one part of a key without names is all of it.
    key: Vec<String>,
    labels: Option<Vec<String>>,
}

impl Source {
    /// The rows of one relation for which `condition` (in parentheses) holds, or a `sample` of them.
    pub fn member(table: &Table, member: &Member, condition: Option<&str>, sample: Option<&str>) -> Self {
        let sample = sample.unwrap_or_default();
        Self::new(table, &format!("ONLY {}", member.name.sql()), condition, sample)
    }

    /// The rows of all of its relations.
    pub fn whole(table: &Table, condition: Option<&str>) -> Self {
        Self::new(table, &table.name.sql(), condition, "")
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
            Key::Row => (vec!["pg_catalog.to_jsonb(t)".into()], None),
        };
        Self { from, key, labels }
    }

    pub fn sql(&self) -> &str {
        &self.from
    }

    /// The key as JSON, of columns of s that are called k1, k2, ….
    fn key(&self) -> String {
        let Some(labels) = &self.labels else { return "s.k1".into() };
        let pairs: Vec<String> = labels
            .iter()
            .enumerate()
            .map(|(place, label)| format!("{}, s.k{}", literal(label), place + 1))
            .collect();
        format!("pg_catalog.jsonb_build_object({})", pairs.join(", "))
    }
}

/// What a pass finds out.
#[derive(Default)]
pub struct Scan {
    pub cells: Vec<Cell>,
    /// Tables that are looked up.
    pub joins: Vec<String>,
    /// What the digest is taken of; none is if there is nothing.
    pub hashed: Vec<String>,
    /// Of each of these times the latest.
    pub times: Vec<String>,
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

impl Scan {
    /// Reads the rows once. The subqueries keep the planner from pulling them up: it would evaluate what they compute
    /// more than once.
    pub fn run(&self, source: &Source) -> Result<Passed> {
        Ok(Passed { spool: Spool::fill(&self.sql(source))?, cells: self.cells.len() })
    }

    pub fn sql(&self, source: &Source) -> String {
        let counted = self.counted();
        let keys = source.key.iter().enumerate().map(|(k, sql)| format!("{sql} AS k{}", k + 1));
        let values = counted.iter().enumerate().map(|(v, sql)| format!("{sql} AS v{}", v + 1));
        let times = self.times.iter().enumerate().map(|(x, sql)| format!("{sql} AS x{}", x + 1));
        let inner: Vec<String> = [format!("{} AS code, {} AS h", self.code(), self.hash())]
            .into_iter()
            .chain(keys)
            .chain(values)
            .chain(times)
            .collect();
        let key = match self.keeps_failures {
            true => {
                format!("CASE WHEN pg_catalog.strpos(s.code, '0') > 0 THEN {} END", source.key())
            }
            false => "NULL::jsonb".into(),
        };
        let numbered = |letter: char, count: usize| (1..=count).map(move |n| format!("s.{letter}{n}"));
        let passed_on: Vec<String> = numbered('v', counted.len())
            .chain(numbered('x', self.times.len()))
            .map(|name| format!(", {name}"))
            .collect();
        let counts: Vec<String> = (1..=counted.len()).map(|v| format!("pg_catalog.count(g.v{v})")).collect();
        let latest: Vec<String> = (1..=self.times.len()).map(latest_of).collect();
        format!(
            "SELECT g.code, g.key, pg_catalog.count(*) AS rows, {} AS counts, {} AS latest,
                    pg_catalog.sum(g.h) AS h_sum, pg_catalog.bit_xor(g.h) AS h_xor
             FROM (SELECT s.code, {key} AS key, s.h{} FROM (SELECT {} FROM {}{} OFFSET 0) s OFFSET 0) g
             GROUP BY g.code, g.key",
            array(&counts, "bigint"),
            array(&latest, "bigint"),
            passed_on.concat(),
            inner.join(", "),
            source.from,
            self.joins.concat(),
        )
    }

    /// NULL for a row that is fine; or else what each rule says of it, a character each.
    fn code(&self) -> String {
        if self.cells.is_empty() {
            return "NULL::text".into();
        }
        let mut known = HashSet::new();
        let fine = self.cells.iter().flat_map(|cell| &cell.fine).map(String::as_str);
        let fine: Vec<&str> = fine.filter(|sql| known.insert(*sql)).collect();
        let states: Vec<String> = self
            .cells
            .iter()
            .map(|cell| format!("CASE ({}) WHEN true THEN '1' WHEN false THEN '0' ELSE '-' END", cell.state))
            .collect();
        let chunks: Vec<String> = states
            .chunks(ARGUMENTS)
            .map(|states| format!("pg_catalog.concat({})", states.join(", ")))
            .collect();
        format!("CASE WHEN {} THEN NULL ELSE {} END", fine.join(" AND "), chunks.join(" || "))
    }

    fn hash(&self) -> String {
        match self.hashed.is_empty() {
            true => "NULL::bigint".into(),
            false => format!("pg_catalog.hash_record_extended(ROW({}), 0)", self.hashed.join(", ")),
        }
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
            array(&latest, "bigint"),
            array(&counts, "bigint")
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
             FROM (SELECT code, pg_catalog.sum(rows) AS rows FROM spool WHERE code IS NOT NULL GROUP BY code) c
             CROSS JOIN pg_catalog.generate_series(1, $1) p (place) GROUP BY p.place",
            &[i32::try_from(self.cells).unwrap_or(i32::MAX).into()],
            |row| {
                let place = usize::try_from(spi::known::<i32>(&row, 1)?).unwrap_or(1);
                Ok((place - 1, spi::known(&row, 2)?, spi::known(&row, 3)?))
            },
        )
    }

    fn failing_one_of(&self, cells: &[usize]) -> Result<i64> {
        let places: Vec<i32> = cells.iter().map(|cell| *cell as i32 + 1).collect();
        let rows = self.spool.read(
            "SELECT coalesce(pg_catalog.sum(rows), 0)::bigint FROM spool
             WHERE EXISTS (SELECT FROM pg_catalog.unnest($1::int[]) p WHERE pg_catalog.substr(code, p, 1) = '0')",
            &[places.into()],
            |row| spi::known::<i64>(&row, 1),
        )?;
        Ok(rows.first().copied().unwrap_or(0))
    }

    /// Keeps the keys of the rows that fail, and for each the mask of what it fails.
    pub fn keep_failures(&self, scan_id: i64) -> Result<()> {
        own::write_from(
            &self.spool,
            "INSERT INTO opdb.quality_failure (scan_id, number, failed, key)
             SELECT $1, pg_catalog.row_number() OVER (), pg_catalog.translate(s.code, '01-', '100')::varbit, s.key
             FROM spool s CROSS JOIN LATERAL pg_catalog.generate_series(1, s.rows)
             WHERE s.key IS NOT NULL",
            &[scan_id.into()],
        )
    }
}

/// Infinity is no time that anything happened at.
fn latest_of(x: usize) -> String {
    let seconds = format!(
        "pg_catalog.date_part('epoch', pg_catalog.max(g.x{x}) FILTER (WHERE pg_catalog.isfinite(g.x{x})))"
    );
    format!("({seconds} * 1000000)::bigint")
}

fn array(items: &[String], data_type: &str) -> String {
    format!("ARRAY[{}]::{data_type}[]", items.join(", "))
}

/// The pass for rules about rows that have the same values in some columns. The row of a group that comes first by its
/// key is not surplus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub columns: Vec<String>,
    pub filter: Option<String>,
    /// A NULL and every copy count as wrong, not only what is surplus.
    pub is_key: bool,
}

impl Grouping {
    pub fn of(rule: &Rule) -> Self {
        let mut columns = rule.columns.clone();
        columns.sort();
        columns.dedup();
        Self { columns, filter: rule.filter.clone(), is_key: rule.is_key() }
    }

    /// As a source for a scan with the one cell [`Grouping::cell`].
    pub fn source(&self, table: &Table, source: &Source) -> Source {
        let columns: Vec<_> = self.columns.iter().filter_map(|name| table.column(name)).collect();
        let grouped: Vec<String> = columns.iter().map(|column| column.grouped()).collect();
        let over = format!("PARTITION BY {}", grouped.join(", "));
        let list = |join: &str, test: &str| {
            columns.iter().map(|column| format!("{} {test}", column.sql())).collect::<Vec<_>>().join(join)
        };
        let (surplus, complete) = match self.is_key {
            true => {
                let null = list(" OR ", "IS NULL");
                (format!("({null}) OR pg_catalog.count(*) OVER ({over}) > 1"), None)
            }
            false => {
                let order = source.key.join(", ");
                let surplus = format!("pg_catalog.row_number() OVER ({over} ORDER BY {order}) > 1");
                (surplus, Some(list(" AND ", "IS NOT NULL")))
            }
        };
        let conditions: Vec<String> = complete.into_iter().chain(self.filter.clone()).collect();
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let key = |place: usize| identifier(format!("opdb key {place}"));
        let selected: Vec<String> =
            source.key.iter().enumerate().map(|(place, sql)| format!("{sql} AS {}", key(place))).collect();
        let from = format!(
            "(SELECT {}, {surplus} AS {SURPLUS} FROM {}{filter} OFFSET 0) t",
            selected.join(", "),
            source.from
        );
        let key = (0..source.key.len()).map(|place| format!("t.{}", key(place))).collect();
        Source { from, key, labels: source.labels.clone() }
    }

    pub fn cell() -> Cell {
        let state = format!("NOT t.{SURPLUS}");
        Cell { fine: vec![state.clone()], state, evaluated: Evaluated::All }
    }
}

/// Not the name of any column of a user's.
const SURPLUS: &str = "\"opdb surplus\"";
