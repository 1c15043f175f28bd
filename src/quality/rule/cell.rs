//! The SQL that says of one row whether a rule holds: true, false, or NULL where it has nothing to say.

use super::{Check, ReferencedKey, Rule};
use crate::pg::name::{identifier, literal};
use crate::quality::table::{Column, Kind, Required, Table};

/// White space that `btrim` takes off. Every one of these sorts before `!`.
const WHITE_SPACE: &str = r"E' \t\n\r\f\v'";

/// One position of the mask of a row: what a rule says of one value, or of the row.
#[derive(Debug, Clone)]
pub struct Cell {
    /// True, false or NULL.
    pub state: String,
    /// Of a row for which all of these are true the rule does not fail, and what it says is as `evaluated` tells.
    /// Cheaper than `state`, and each is evaluated once for all rules that have it.
    pub fine: Vec<String>,
    pub evaluated: Evaluated,
}

/// Of the rows that are fine, for which a rule was evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evaluated {
    /// For all: `fine` is only true where the rule holds.
    All,
    /// For those for which this is not NULL.
    Where(String),
}

/// What a rule adds to the scan.
#[derive(Default)]
pub struct Cells {
    pub cells: Vec<Cell>,
    /// A table that the rule looks up: joined, because parallel workers never run a subquery for each row.
    pub join: Option<String>,
}

impl Rule {
    /// The cells of a rule over rows; none for one that is broken or no such rule. `number` tells its names in the
    /// query from those of others.
    pub fn cells(&self, table: &Table, number: usize) -> Cells {
        let Ok(check) = &self.check else { return Cells::default() };
        let (cells, join) = match check {
            Check::ForeignKey(key) => {
                let (cell, join) = foreign_key(table, &self.columns, key, number);
                (vec![cell], join)
            }
            Check::Expression { expression } => {
                let evaluated = Evaluated::All;
                (vec![Cell { state: expression.clone(), fine: vec![expression.clone()], evaluated }], None)
            }
            _ => {
                let columns = self.columns.iter().filter_map(|name| table.column(name));
                (columns.map(|column| cell(check, column)).collect(), None)
            }
        };
        let cells = match &self.filter {
            Some(filter) => cells.into_iter().map(|cell| filtered(cell, filter)).collect(),
            None => cells,
        };
        Cells { cells, join }
    }
}

impl Rule {
    /// The conditions, none of which may be false for any row, that make up a rule about values.
    pub fn conditions(&self, table: &Table) -> Vec<String> {
        match &self.check {
            Ok(Check::Expression { expression }) => vec![expression.clone()],
            Ok(check) => {
                let columns = self.columns.iter().filter_map(|name| table.column(name));
                columns.map(|column| valid(check, column)).collect()
            }
            Err(_) => Vec::new(),
        }
    }
}

fn cell(check: &Check, column: &Column) -> Cell {
    match check {
        Check::NotNull => certain(column.sql_is_not_null()),
        Check::NotBlank { placeholders } => {
            let present = present(column, placeholders);
            let state = format!("coalesce({present}, false)");
            Cell { state, fine: vec![present], evaluated: Evaluated::All }
        }
        _ => validity(check, column),
    }
}

/// A state that is never NULL.
fn certain(state: String) -> Cell {
    Cell { fine: vec![state.clone()], state, evaluated: Evaluated::All }
}

/// A rule about values that are there: a missing one is the business of completeness.
fn validity(check: &Check, column: &Column) -> Cell {
    let (valid, present) = (valid(check, column), present(column, &column.placeholders));
    let state = format!("CASE WHEN {present} THEN {valid} END");
    let is_always_there = column.not_null || column.required.is_some();
    let unless_null = |sql: String| match is_always_there {
        true => sql,
        false => format!("({} OR {sql})", column.sql_is_null()),
    };
    // What lies between two numbers is finite, and that is looked at only once.
    let sufficient = match (check, &column.bounds) {
        (Check::Finite, Some(bounds)) => self::valid(bounds, column),
        _ => valid,
    };
    let mut fine = Vec::new();
    let is_known = column.kind == Kind::Other
        || column.required == Some(Required::Filled)
        || (column.kind == Kind::Text && column.placeholders.is_empty() && is_false_for_blanks(check));
    if matches!(check, Check::JsonSchema { .. }) && column.kind != Kind::Jsonb {
        // A blank is no document: the cast would raise an error.
        fine.push(unless_null(format!("({state})")));
    } else {
        if !is_known {
            fine.push(unless_null(present));
        }
        fine.push(unless_null(sufficient));
    }
    let evaluated = if is_always_there { Evaluated::All } else { Evaluated::Where(column.sql()) };
    Cell { state, fine, evaluated }
}

/// Whether no text of white space alone passes, so that nobody need look for it.
fn is_false_for_blanks(check: &Check) -> bool {
    match check {
        Check::AcceptedValues { values } => values.iter().all(|value| !value.trim().is_empty()),
        Check::Format { .. } => true,
        _ => false,
    }
}

/// Whether a value says something; NULL or false for NULL.
fn present(column: &Column, placeholders: &[String]) -> String {
    let value = column.sql();
    match column.kind {
        Kind::Text => {
            let text = column.text();
            // Of most values one comparison shows that they are no white space.
            let filled =
                format!("({text} COLLATE \"C\" >= '!' OR pg_catalog.btrim({text}, {WHITE_SPACE}) <> '')");
            if placeholders.is_empty() {
                return filled;
            }
            let bare = format!("pg_catalog.lower(pg_catalog.btrim({text}, {WHITE_SPACE}))");
            format!("({filled} AND {bare} <> ALL ({}))", texts(placeholders))
        }
        Kind::Jsonb => format!("{value} <> 'null'"),
        Kind::Json => format!("pg_catalog.json_typeof({value}) <> 'null'"),
        Kind::Other => column.sql_is_not_null(),
    }
}

/// The condition for a value that is there.
fn valid(check: &Check, column: &Column) -> String {
    let (value, text) = (column.sql(), column.text());
    match check {
        Check::Range { min, max } => {
            let value = column.comparable(&value);
            let low = min.as_ref().map(|min| format!("{value} >= {}", literal(min)));
            let high = max.as_ref().map(|max| format!("{value} <= {}", literal(max)));
            both(low, high)
        }
        Check::Length { min: Some(min), max: Some(max) } if min == max => {
            format!("(pg_catalog.char_length({text}) = {min})")
        }
        Check::Length { min, max } => {
            let low = min.map(|min| format!("pg_catalog.char_length({text}) >= {min}"));
            let high = max.map(|max| format!("pg_catalog.char_length({text}) <= {max}"));
            both(low, high)
        }
        Check::Regex { pattern } => format!("{text} ~ {}", literal(pattern)),
        Check::AcceptedValues { values } => format!("{text} = ANY ({})", texts(values)),
        Check::Format { format } => format!("opdb.has_format({text}, {})", literal(format)),
        Check::Castable { data_type } => castable(&text, data_type),
        Check::Finite => match column.is_time {
            true => format!("pg_catalog.isfinite({value})"),
            // NaN is greater than infinity.
            false => format!("({value} > '-Infinity' AND {value} < 'Infinity')"),
        },
        Check::JsonSchema { schema } => {
            format!("opdb.json_valid({}::jsonb, {value}::jsonb)", literal(schema.to_string()))
        }
        // The others are not about single values.
        _ => "true".to_owned(),
    }
}

/// Whether a text could be a value of a type. From PostgreSQL 16 on the server itself can say so.
pub fn castable(text: &str, data_type: &str) -> String {
    let data_type = literal(data_type);
    match cfg!(feature = "pg15") {
        true => format!("opdb.is_castable({text}, {data_type})"),
        false => format!("pg_catalog.pg_input_is_valid({text}, {data_type})"),
    }
}

fn foreign_key(
    table: &Table,
    columns: &[String],
    key: &ReferencedKey,
    number: usize,
) -> (Cell, Option<String>) {
    let columns: Vec<&Column> = columns.iter().filter_map(|name| table.column(name)).collect();
    // Names that no column has: a condition that names a column must not find two.
    let alias = identifier(format!("opdb reference {number}"));
    let found = |place: usize| identifier(format!("opdb {number} {place}"));
    let selected: Vec<String> = key
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| format!("r.{} AS {}", identifier(column), found(place)))
        .collect();
    let joined: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(place, column)| column.equal(&format!("{alias}.{}", found(place)), &column.sql()))
        .collect();
    let join = format!(
        " LEFT JOIN (SELECT {} {} FROM {} r) {alias} ON {}",
        if key.is_unique { "" } else { "DISTINCT" },
        selected.join(", "),
        key.table,
        joined.join(" AND ")
    );
    let nullable: Vec<&&Column> = columns.iter().filter(|column| !column.not_null).collect();
    // Between other types, or under a collation that takes texts for equal, several keys can be equal to one value.
    let is_same = columns.iter().map(|column| &column.full_type).eq(&key.types)
        && columns.iter().all(|column| column.is_bytewise || !column.is_text);
    let (is_found, join) = match is_same {
        true => (format!("{alias}.{} IS DISTINCT FROM NULL", found(0)), Some(join)),
        false => (exists(&columns, key), None),
    };
    if nullable.is_empty() {
        return (certain(is_found), join);
    }
    let missing: Vec<String> = nullable.iter().map(|column| column.sql_is_null()).collect();
    let complete: Vec<String> = nullable.iter().map(|column| column.sql_is_not_null()).collect();
    let complete = complete.join(" AND ");
    let cell = Cell {
        state: format!("CASE WHEN {complete} THEN {is_found} END"),
        fine: vec![format!("({is_found} OR {})", missing.join(" OR "))],
        evaluated: Evaluated::Where(format!("CASE WHEN {complete} THEN 1 END")),
    };
    (cell, join)
}

/// Whether the referenced row exists.
fn exists(columns: &[&Column], key: &ReferencedKey) -> String {
    // Compared as a foreign key compares: by the collation of the referenced column.
    let equal = |((column, theirs), collation): ((&&Column, &String), &Option<String>)| {
        let collation = collation.as_ref().map_or(String::new(), |name| format!(" COLLATE {name}"));
        format!("r.{} = {}{collation}", identifier(theirs), column.comparable(&column.sql()))
    };
    let equal: Vec<String> = columns.iter().zip(&key.columns).zip(&key.collations).map(equal).collect();
    format!("EXISTS (SELECT FROM {} r WHERE {})", key.table, equal.join(" AND "))
}

/// Of rows for which the condition does not hold, or is not known to, nothing is said.
fn filtered(cell: Cell, filter: &str) -> Cell {
    let Cell { state, .. } = cell;
    Cell {
        fine: vec![format!("({filter} IS NOT TRUE OR {state})")],
        evaluated: Evaluated::Where(format!("CASE WHEN {filter} THEN 1 END")),
        state: format!("CASE WHEN {filter} THEN {state} END"),
    }
}

fn both(low: Option<String>, high: Option<String>) -> String {
    format!("({})", low.into_iter().chain(high).collect::<Vec<_>>().join(" AND "))
}

fn texts(values: &[String]) -> String {
    let list: Vec<String> = values.iter().map(literal).collect();
    format!("ARRAY[{}]::text[]", list.join(", "))
}
