//! What would have to be done there for rows to fit, what it locks, and what it costs.

use super::form::is_builtin;
use super::types::{ColumnType, Family};
use crate::schema::Fact;

/// Statements for the other server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    pub sql: String,
    /// The strongest table lock that they take, as LOCK TABLE names it.
    pub lock: &'static str,
    pub cost: Cost,
}

/// How long the lock is held, by what has to be read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// A moment, however large the table is.
    CatalogOnly,
    /// Every row is read.
    Scan,
    /// Indexes on the column are built again.
    RebuildsIndexes,
    /// An index is built from all rows.
    BuildsIndex,
    /// All rows and all indexes are written again.
    Rewrite,
}

impl Cost {
    pub fn as_str(self) -> &'static str {
        match self {
            Cost::CatalogOnly => "catalog only",
            Cost::Scan => "scan",
            Cost::RebuildsIndexes => "rebuilds indexes",
            Cost::BuildsIndex => "builds an index",
            Cost::Rewrite => "rewrite",
        }
    }
}

const ACCESS_EXCLUSIVE: &str = "ACCESS EXCLUSIVE";
const SHARE_ROW_EXCLUSIVE: &str = "SHARE ROW EXCLUSIVE";
const SHARE_UPDATE_EXCLUSIVE: &str = "SHARE UPDATE EXCLUSIVE";
const SHARE: &str = "SHARE";

/// Quotes an identifier.
type Quote = fn(&str) -> String;

/// A column that is missing there. Added without NOT NULL and default: rows that are there have no value for it.
/// None for a type of a user's, which may not be there either.
pub fn add_column(table: &str, column: &Fact, quote: Quote) -> Option<Fix> {
    let of = column.text("type").filter(|of| is_builtin(of))?;
    Some(Fix {
        sql: format!("ALTER TABLE {table} ADD COLUMN {} {of}", quote(column.name())),
        lock: ACCESS_EXCLUSIVE,
        cost: Cost::CatalogOnly,
    })
}

/// What keeps the values of a column from fitting there.
pub struct Misfit<'a> {
    pub from: &'a ColumnType,
    pub to: &'a ColumnType,
    pub refuses_type: bool,
    pub refuses_null: bool,
    /// It is an identity there, or in the primary key.
    pub must_not_be_null: bool,
    pub has_default_there: bool,
    pub is_generated_there: bool,
}

/// Statements that make a column there take all values from here.
pub fn alter_column(table: &str, column: &str, misfit: &Misfit, quote: Quote) -> Option<Fix> {
    let column = quote(column);
    let (mut actions, mut cost) = (Vec::new(), Cost::CatalogOnly);
    let mut before = Vec::new();
    let (from, to) = (misfit.from, misfit.to);
    // Nothing known makes a domain another one, or lets a key be NULL.
    let is_beyond_repair = (misfit.refuses_type && from.text == to.text && from.kind != "e")
        || (misfit.refuses_null && misfit.must_not_be_null);
    if is_beyond_repair {
        return None;
    }
    if misfit.is_generated_there {
        before.push(format!("ALTER TABLE {table} ALTER COLUMN {column} DROP EXPRESSION"));
    }
    if misfit.refuses_type {
        let missing = new_labels(misfit.from, misfit.to);
        if missing.is_empty() {
            let of = &misfit.from.text;
            cost = change_cost(misfit.to, misfit.from);
            // It is of the type that goes.
            if misfit.has_default_there && cost == Cost::Rewrite {
                actions.push(format!("ALTER COLUMN {column} DROP DEFAULT"));
            }
            actions.push(format!("ALTER COLUMN {column} TYPE {of} USING {column}::{of}"));
        }
        before.extend(missing);
    }
    if misfit.refuses_null {
        actions.push(format!("ALTER COLUMN {column} DROP NOT NULL"));
    }
    if !actions.is_empty() {
        before.push(format!("ALTER TABLE {table} {}", actions.join(", ")));
    }
    (!before.is_empty()).then(|| Fix {
        sql: before.join("; "),
        lock: if actions.is_empty() && !misfit.is_generated_there { "none" } else { ACCESS_EXCLUSIVE },
        cost,
    })
}

/// The labels of an enum that are missing there.
fn new_labels(from: &ColumnType, to: &ColumnType) -> Vec<String> {
    if from.kind != "e" || from.text != to.text {
        return Vec::new();
    }
    let missing = from.labels.iter().filter(|label| !to.labels.contains(label));
    let name = from.text.trim_end_matches("[]");
    missing.map(|label| format!("ALTER TYPE {name} ADD VALUE '{}'", label.replace('\'', "''"))).collect()
}

/// What ALTER COLUMN TYPE costs: nothing where the values stay as they are stored, and the planner of the server drops
/// the check of the length (the support functions of varchar, numeric, varbit, and of times).
fn change_cost(from: &ColumnType, to: &ColumnType) -> Cost {
    use Family::*;
    let wider = |a: Option<i32>, b: Option<i32>| b.is_none() || a.is_some_and(|a| b.is_some_and(|b| b >= a));
    let stays = match (from.family(), to.family()) {
        (Text { limit: a }, Text { limit: b }) => wider(a, b),
        (Numeric { .. }, Numeric { precision_scale: None }) => true,
        (Numeric { precision_scale: Some((p, s)) }, Numeric { precision_scale: Some((q, t)) }) => {
            q >= p && s == t
        }
        (VarBit { limit: a }, VarBit { limit: b }) => wider(a, b),
        (Timestamp { precision: a, zone: x }, Timestamp { precision: b, zone: y })
        | (Time { precision: a, zone: x }, Time { precision: b, zone: y }) => x == y && b >= a,
        _ => from.text == to.text,
    };
    if stays { Cost::CatalogOnly } else { Cost::Rewrite }
}

/// A column there that must have a value and gets none.
pub fn allow_null(table: &str, column: &str, quote: Quote) -> Fix {
    Fix {
        sql: format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL", quote(column)),
        lock: ACCESS_EXCLUSIVE,
        cost: Cost::CatalogOnly,
    }
}

/// The collation that the column has here.
pub fn change_collation(table: &str, column: &Fact, quote: Quote) -> Fix {
    let collation = column.text("collation").unwrap_or("pg_catalog.\"default\"");
    Fix {
        sql: format!(
            "ALTER TABLE {table} ALTER COLUMN {} TYPE {} COLLATE {collation}",
            quote(column.name()),
            column.text("type").unwrap_or_default()
        ),
        lock: ACCESS_EXCLUSIVE,
        cost: Cost::RebuildsIndexes,
    }
}

/// An index that is missing there. A partitioned table takes none concurrently.
pub fn create_index(table: &str, index: &Fact, is_partitioned: bool, quote: Quote) -> Option<Fix> {
    let definition = index.text("definition")?;
    let unique = if index.flag("unique") { "UNIQUE " } else { "" };
    let (concurrently, lock) =
        if is_partitioned { ("", SHARE) } else { ("CONCURRENTLY ", SHARE_UPDATE_EXCLUSIVE) };
    Some(Fix {
        sql: format!("CREATE {unique}INDEX {concurrently}{} ON {table} {definition}", quote(index.name())),
        lock,
        cost: Cost::BuildsIndex,
    })
}

/// A constraint that is missing there; the rows that are there are looked at without keeping others from writing.
pub fn add_constraint(table: &str, constraint: &Fact, is_partitioned: bool, quote: Quote) -> Option<Fix> {
    let (name, definition) = (quote(constraint.name()), constraint.text("definition")?);
    let add = format!("ALTER TABLE {table} ADD CONSTRAINT {name}");
    let validated = |lock| Fix {
        sql: format!("{add} {definition} NOT VALID; ALTER TABLE {table} VALIDATE CONSTRAINT {name}"),
        lock,
        cost: Cost::Scan,
    };
    match constraint.text("type")? {
        "c" => Some(validated(ACCESS_EXCLUSIVE)),
        "f" if !is_partitioned => Some(validated(SHARE_ROW_EXCLUSIVE)),
        "f" => Some(Fix { sql: format!("{add} {definition}"), lock: SHARE_ROW_EXCLUSIVE, cost: Cost::Scan }),
        "p" | "u"
            if !is_partitioned
                && !definition.contains(" DEFERRABLE")
                && !definition.contains("NULLS NOT DISTINCT") =>
        {
            let (kind, columns) = definition.split_once(" (")?;
            Some(Fix {
                sql: format!(
                    "CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns}; {add} {kind} USING INDEX {name}"
                ),
                lock: ACCESS_EXCLUSIVE,
                cost: Cost::BuildsIndex,
            })
        }
        _ => {
            Some(Fix { sql: format!("{add} {definition}"), lock: ACCESS_EXCLUSIVE, cost: Cost::BuildsIndex })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ColumnType {
        ColumnType { text: text.into(), kind: "b".into(), ..ColumnType::default() }
    }

    fn altered(from: &str, to: &str) -> Fix {
        let (from, to) = (of(from), of(to));
        let misfit = Misfit {
            from: &from,
            to: &to,
            refuses_type: true,
            refuses_null: false,
            must_not_be_null: false,
            has_default_there: false,
            is_generated_there: false,
        };
        alter_column("t", "c", &misfit, |name| name.to_owned()).unwrap()
    }

    #[test]
    fn what_stays_as_it_is_stored_is_not_written_again() {
        for (here, there, cost) in [
            ("text", "character varying(10)", Cost::CatalogOnly),
            ("character varying(20)", "character varying(10)", Cost::CatalogOnly),
            ("numeric(12,2)", "numeric(10,2)", Cost::CatalogOnly),
            ("numeric", "numeric(10,2)", Cost::CatalogOnly),
            ("numeric(12,4)", "numeric(10,2)", Cost::Rewrite),
            ("bigint", "integer", Cost::Rewrite),
            ("timestamp with time zone", "timestamp(3) with time zone", Cost::CatalogOnly),
            ("timestamp with time zone", "timestamp without time zone", Cost::Rewrite),
        ] {
            let fix = altered(here, there);
            assert_eq!((fix.cost, fix.lock), (cost, "ACCESS EXCLUSIVE"), "{there} -> {here}");
            assert_eq!(fix.sql, format!("ALTER TABLE t ALTER COLUMN c TYPE {here} USING c::{here}"));
        }
    }

    #[test]
    fn an_enum_gets_the_labels_that_it_lacks() {
        let mood = |labels: &[&str]| ColumnType {
            text: "app.mood".into(),
            kind: "e".into(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
            ..ColumnType::default()
        };
        let (from, to) = (mood(&["a", "it's"]), mood(&["a"]));
        let misfit = Misfit {
            from: &from,
            to: &to,
            refuses_type: true,
            refuses_null: true,
            must_not_be_null: false,
            has_default_there: false,
            is_generated_there: false,
        };
        let fix = alter_column("t", "c", &misfit, |name| name.to_owned()).unwrap();
        assert_eq!(
            fix.sql,
            "ALTER TYPE app.mood ADD VALUE 'it''s'; ALTER TABLE t ALTER COLUMN c DROP NOT NULL"
        );
        assert_eq!(fix.cost, Cost::CatalogOnly);
    }
}
