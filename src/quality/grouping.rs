//! The pass for rules about rows that have the same values in some columns.

use super::rule::{Cell, Evaluated, Rule};
use super::scan::{NOT_PULLED_UP, Passed, Scan, Source};
use super::table::{Column, Table};
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::spool::Spool;

/// Not the name of any column of a user's.
const SURPLUS: &str = "\"opdb surplus\"";

/// Rows that are looked at together. Of those that are the same all are surplus but the one that comes first by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub columns: Vec<String>,
    pub filter: Option<String>,
    /// A NULL and every copy count as wrong, not only what is surplus.
    is_key: bool,
}

impl Grouping {
    pub fn of(rule: &Rule) -> Self {
        let mut columns = rule.columns.clone();
        columns.sort();
        columns.dedup();
        Self { columns, filter: rule.filter.clone(), is_key: rule.is_key() }
    }

    /// What [`Grouping::run`] counts: the rows that are surplus.
    pub fn scan(keeps_failures: bool) -> Scan {
        let state = format!("NOT t.{SURPLUS}");
        let cell = Cell { fine: vec![state.clone()], state, evaluated: Evaluated::All };
        Scan { cells: vec![cell], keeps_failures, ..Scan::default() }
    }

    /// In the pass over all rows, what counts those for which the rule is evaluated. No row fails it.
    pub fn counting(&self, table: &Table) -> Cell {
        let conditions = self.conditions(table);
        let nullable: Vec<&Column> =
            self.columns(table).into_iter().filter(|column| !column.not_null).collect();
        let evaluated = match (&self.filter, self.is_key, nullable.as_slice()) {
            (None, true, _) | (None, _, []) => Evaluated::All,
            (None, false, [column]) => Evaluated::Where(column.sql()),
            _ => Evaluated::Where(format!("CASE WHEN {} THEN 1 END", conditions.join(" AND "))),
        };
        let state = match conditions.is_empty() {
            true => "true".to_owned(),
            false => format!("CASE WHEN {} THEN true END", conditions.join(" AND ")),
        };
        Cell { state, fine: vec!["true".into()], evaluated }
    }

    /// What a row must be for the rule to be evaluated.
    fn conditions(&self, table: &Table) -> Vec<String> {
        let present = self.columns(table).into_iter().map(Column::sql_is_not_null);
        let present: Vec<String> = if self.is_key { Vec::new() } else { present.collect() };
        present.into_iter().chain(self.filter.clone()).collect()
    }

    fn columns<'a>(&self, table: &'a Table) -> Vec<&'a Column> {
        self.columns.iter().filter_map(|name| table.column(name)).collect()
    }

    /// Makes the pass over the rows of `source` and tells of each row that may be surplus whether it is. The others, those
    /// that have a hash of their own, are left out: hashes are sorted in less than half of the time that values take.
    pub fn run(&self, scan: &Scan, table: &Table, source: &Source) -> Result<Passed> {
        let rows = self.rows(table, source);
        if self.is_hashable(table) {
            let spool = Spool::fill_with_repeated(&rows)?;
            scan.run_over(&spool, &self.judged("spool", source))
        } else {
            scan.run(&self.judged(&format!("({rows})"), source))
        }
    }

    /// What says whether the pass is the one that was made before.
    pub fn identity(&self, scan: &Scan, table: &Table, source: &Source) -> String {
        format!("{} {}", self.rows(table, source), scan.sql(&self.judged("spool", source)))
    }

    /// The rows that are looked at, with their values and keys; before these, sorted by it, their hash.
    pub fn rows(&self, table: &Table, source: &Source) -> String {
        let columns = self.columns(table);
        let values = columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!("{} AS {}", column.grouped(), value(place)));
        let keys = source.key.iter().enumerate().map(|(place, sql)| format!("{sql} AS {}", key(place)));
        let hash = self.is_hashable(table).then(|| format!("{} AS h", self.hash(&columns)));
        let conditions = self.conditions(table);
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let order = if hash.is_some() { " ORDER BY 1" } else { "" };
        let selected: Vec<String> = hash.into_iter().chain(values).chain(keys).collect();
        format!("SELECT {} FROM {}{filter}{order}", selected.join(", "), source.from)
    }

    /// Rows of [`Grouping::rows`] that stand in `from`, each with whether it is surplus.
    fn judged(&self, from: &str, source: &Source) -> Source {
        let keys: Vec<String> = (0..source.key.len()).map(|place| format!("t.{}", key(place))).collect();
        let values: Vec<String> =
            (0..self.columns.len()).map(|place| format!("t.{}", value(place))).collect();
        let over = format!("PARTITION BY {}", values.join(", "));
        let surplus = match self.is_key {
            true => format!("({}) OR pg_catalog.count(*) OVER ({over}) > 1", one_is_null(&values)),
            false => format!("pg_catalog.row_number() OVER ({over} ORDER BY {}) > 1", keys.join(", ")),
        };
        let from =
            format!("(SELECT {}, {surplus} AS {SURPLUS} FROM {from} t {NOT_PULLED_UP}) t", keys.join(", "));
        Source { from, key: keys, labels: source.labels.clone() }
    }

    fn is_hashable(&self, table: &Table) -> bool {
        self.columns(table).iter().all(|column| column.is_hashable)
    }

    /// The same for the same values. NULL for a row that is looked at whatever the others are.
    fn hash(&self, columns: &[&Column]) -> String {
        let values: Vec<String> = columns.iter().map(|column| column.sql()).collect();
        let hash = match columns {
            [column] if column.is_text => format!("pg_catalog.hashtextextended({}, 0)", column.sql()),
            _ => format!("pg_catalog.hash_record_extended(ROW({}), 0)", values.join(", ")),
        };
        match self.is_key {
            true => format!("CASE WHEN {} THEN NULL ELSE {hash} END", one_is_null(&values)),
            false => hash,
        }
    }
}

fn key(place: usize) -> String {
    identifier(format!("opdb key {place}"))
}

fn value(place: usize) -> String {
    identifier(format!("opdb value {place}"))
}

fn one_is_null(values: &[String]) -> String {
    // A composite value is there even if all of its fields are NULL.
    let null = values.iter().map(|value| format!("{value} IS NOT DISTINCT FROM NULL"));
    null.collect::<Vec<_>>().join(" OR ")
}
