//! The SQL that finds the rows that keys stand for, and says of each whether it still fails.

use super::{Move, Which};
use crate::pg::name::identifier;
use crate::quality::rule::{Rule, Scope};
use crate::quality::table::{Column, Key};

impl Move<'_> {
    /// The rows that the keys stand for, and of these, with names that no column has, those that still fail. No other row
    /// is looked at: one that raises an error would be taken for one of them.
    pub(super) fn found(&self, which: Which) -> String {
        let is_asked = |column: &&Column| which == Which::Failing || !column.is_virtual;
        let located: Vec<String> = self.table.columns.iter().filter(is_asked).map(Column::sql).collect();
        let values: Vec<String> = self.columns().map(Column::sql).collect();
        let (joins, condition) = match which {
            Which::Failing => (
                self.rules
                    .iter()
                    .enumerate()
                    .filter_map(|(n, rule)| rule.cells(self.table, n).join)
                    .collect(),
                self.still_failing(),
            ),
            Which::All => (String::new(), "true".to_owned()),
        };
        let (key, rules) = (self.free_name("opdb key"), self.free_name("opdb rules"));
        format!(
            "located AS MATERIALIZED (
                 SELECT t.tableoid, t.ctid, s.\"opdb key\" AS {key}, s.\"opdb rules\" AS {rules}, {} FROM spool s {}{}),
             found (relation, place, key, rules, {}) AS MATERIALIZED (
                 SELECT t.tableoid, t.ctid, t.{key}, t.{rules}, {} FROM located t {joins} WHERE {condition})",
            located.join(", "),
            self.joined(),
            if self.deletes { " FOR UPDATE OF t" } else { "" },
            self.values(),
            values.join(", "),
        )
    }

    /// A name that no column has.
    fn free_name(&self, like: &str) -> String {
        let mut name = like.to_owned();
        while self.table.column(&name).is_some() {
            name.push('_');
        }
        identifier(name)
    }

    pub(super) fn copied(&self, from: &str) -> String {
        let names: Vec<String> = self.columns().map(|column| identifier(&column.name)).collect();
        format!(
            "copied AS (
                 INSERT INTO {} (quarantine_run_id, quarantine_key, quarantine_rules, {})
                 SELECT {}, key, rules, {} FROM {from} RETURNING 1)",
            self.aside.sql(),
            names.join(", "),
            self.run_id,
            self.values(),
        )
    }

    /// What the columns are called in between.
    pub(super) fn values(&self) -> String {
        (0..self.columns().count()).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ")
    }

    /// The row that a key stands for.
    pub(super) fn joined(&self) -> String {
        let table = self.table.name.sql();
        match &self.table.key {
            Key::Columns(columns) => {
                // In what a rule's condition is evaluated beside, no column may be called as one of the table's.
                let part = |place: usize| identifier(format!("opdb key {place}"));
                let columns: Vec<&Column> =
                    columns.iter().filter_map(|name| self.table.column(name)).collect();
                let list = |item: &dyn Fn(usize, &Column) -> String, separator: &str| {
                    let items: Vec<String> =
                        columns.iter().enumerate().map(|(n, column)| item(n, column)).collect();
                    items.join(separator)
                };
                format!(
                    "CROSS JOIN LATERAL (
                         SELECT {} FROM pg_catalog.jsonb_to_record(s.\"opdb key\") AS r ({})) k
                     JOIN {table} t ON {}",
                    list(&|n, column| format!("r.{} AS {}", identifier(&column.name), part(n)), ", "),
                    list(&|_, column| format!("{} {}", identifier(&column.name), column.base_type), ", "),
                    list(&|n, column| column.equal(&column.sql(), &format!("k.{}", part(n))), " AND "),
                )
            }
            Key::Place { with_table: true } => format!(
                "JOIN {table} t ON t.ctid = (s.\"opdb key\" ->> 'ctid')::tid
                                AND t.tableoid = pg_catalog.to_regclass(s.\"opdb key\" ->> 'tableoid')"
            ),
            _ => format!("JOIN {table} t ON t.ctid = (s.\"opdb key\" ->> 'ctid')::tid"),
        }
    }

    /// Whether a row fails one of the rules now: it may have been put right since.
    pub(super) fn still_failing(&self) -> String {
        let conditions: Vec<String> =
            self.rules.iter().enumerate().flat_map(|(n, rule)| self.fails(n, rule)).collect();
        if conditions.is_empty() { "false".into() } else { conditions.join(" OR ") }
    }

    fn fails(&self, number: usize, rule: &Rule) -> Vec<String> {
        let Ok(check) = &rule.check else { return Vec::new() };
        match check.scope() {
            Scope::Row => {
                let cells = rule.cells(self.table, number).cells;
                cells.iter().map(|cell| format!("({}) IS FALSE", cell.state)).collect()
            }
            Scope::Group => vec![self.is_surplus(rule)],
            Scope::Table => Vec::new(),
        }
    }

    /// Whether there is another row with the same values, for what is no key one that comes first.
    fn is_surplus(&self, rule: &Rule) -> String {
        let columns: Vec<&Column> = rule.columns.iter().filter_map(|name| self.table.column(name)).collect();
        let same: Vec<String> = columns
            .iter()
            .map(|column| column.equal(&format!("o.{}", identifier(&column.name)), &column.sql()))
            .collect();
        let list = |alias: &str| {
            let key: Vec<String> = match &self.table.key {
                Key::Columns(columns) => columns
                    .iter()
                    .filter_map(|name| self.table.column(name))
                    .map(|column| column.comparable(&format!("{alias}.{}", identifier(&column.name))))
                    .collect(),
                _ => vec![format!("{alias}.tableoid"), format!("{alias}.ctid")],
            };
            key.join(", ")
        };
        let order = if rule.is_key() { "<>" } else { "<" };
        // Both rows must be looked at by the rule. Its names are those of the table: where the other row is, those of that.
        let is_another = format!("{} AND ROW({}) {order} ROW({})", same.join(" AND "), list("o"), list("t"));
        // Of rows that are not the same it is none of its business what the condition says, or raises.
        let (filter, of_other) = match &rule.filter {
            Some(filter) => (
                format!("{filter} AND "),
                format!(
                    " AND CASE WHEN {is_another} THEN EXISTS (SELECT FROM (SELECT o.*) t WHERE {filter}) ELSE false END"
                ),
            ),
            None => (String::new(), String::new()),
        };
        let table = self.table.name.sql();
        let other = format!("{filter}EXISTS (SELECT FROM {table} o WHERE {is_another}{of_other})");
        if !rule.is_key() {
            return other;
        }
        let null: Vec<String> = columns.iter().map(|column| column.sql_is_null()).collect();
        format!("{} OR {other}", null.join(" OR "))
    }
}
