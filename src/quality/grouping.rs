//! The pass for rules about rows that have the same values in some columns.

use super::rule::{Cell, Evaluated, Rule};
use super::scan::{Scan, Source};
use super::table::{Column, Table};
use crate::pg::name::identifier;

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

    /// The pass over [`Grouping::source`]: it counts the rows that are surplus.
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

    /// Rows that are or may be surplus, each with whether it is. Those that have a hash of their own are left out: hashes
    /// are sorted in less than half of the time that values take.
    pub fn source(&self, table: &Table, source: &Source) -> Source {
        let columns = self.columns(table);
        let key = |place: usize| identifier(format!("opdb key {place}"));
        let value = |place: usize| identifier(format!("opdb value {place}"));
        let keys = || (0..source.key.len()).map(|place| format!("t.{}", key(place)));
        let values: Vec<String> = (0..columns.len()).map(|place| format!("t.{}", value(place))).collect();
        let null: Vec<String> = values.iter().map(|value| format!("{value} IS NULL")).collect();
        let null = null.join(" OR ");
        let over = format!("PARTITION BY {}", values.join(", "));
        let surplus = match self.is_key {
            true => format!("({null}) OR pg_catalog.count(*) OVER ({over}) > 1"),
            false => {
                let order = keys().collect::<Vec<_>>().join(", ");
                format!("pg_catalog.row_number() OVER ({over} ORDER BY {order}) > 1")
            }
        };
        let own_keys = source.key.iter().enumerate().map(|(place, sql)| format!("{sql} AS {}", key(place)));
        let own_values = columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!("{} AS {}", column.grouped(), value(place)));
        let is_hashed = columns.iter().all(|column| column.is_hashable);
        let hash = is_hashed.then(|| format!("{} AS h", hash(&columns)));
        // What is sorted by comes first, as the planner wants it: it would project every row once more.
        let own: Vec<String> = hash.into_iter().chain(own_values).chain(own_keys).collect();
        let conditions = self.conditions(table);
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let mut rows = format!("SELECT {} FROM {}{filter} OFFSET 0", own.join(", "), source.from);
        if is_hashed {
            rows = format!(
                "SELECT * FROM (SELECT *, pg_catalog.lag(t.h) OVER w AS before, pg_catalog.lead(t.h) OVER w AS after
                                FROM ({rows}) t WINDOW w AS (ORDER BY t.h)) t
                 WHERE t.h = t.before OR t.h = t.after{}",
                if self.is_key { format!(" OR {null}") } else { String::new() }
            );
        }
        let passed_on: Vec<String> = keys().collect();
        let from =
            format!("(SELECT {}, {surplus} AS {SURPLUS} FROM ({rows}) t OFFSET 0) t", passed_on.join(", "));
        Source { from, key: passed_on, labels: source.labels.clone() }
    }
}

/// The same for the same values.
fn hash(columns: &[&Column]) -> String {
    match columns {
        [column] if column.is_text => format!("pg_catalog.hashtextextended({}, 0)", column.sql()),
        _ => {
            let values: Vec<String> = columns.iter().map(|column| column.sql()).collect();
            format!("pg_catalog.hash_record_extended(ROW({}), 0)", values.join(", "))
        }
    }
}
