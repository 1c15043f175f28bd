//! Whether a rule can be evaluated: the server plans it over no rows, and runs what does not depend on any.

use super::distribution;
use super::error::QualityError;
use super::grouping::Grouping;
use super::rule::{Against, Check, Rule, Scope};
use super::scan::Source;
use super::table::Table;
use crate::pg::error::{Failure, Result};
use crate::pg::expression::{self, Volatility};
use crate::pg::name::literal;
use crate::pg::{spi, subtransaction};

/// Patterns are tried up to this length to find out where they are wrong.
const LONGEST_PATTERN: usize = 1_000;

/// Errors: whatever the server says against the rule on this table, with the place where it can be told.
pub fn run(rule: &Rule, table: &Table) -> Result<()> {
    let Ok(check) = &rule.check else { return Ok(()) };
    if let Some(column) = rule.columns.iter().find(|name| table.column(name).is_none()) {
        let table = table.name.sql();
        return Err(QualityError::UnknownColumn { table, column: column.clone() }.into());
    }
    if let Check::Regex { pattern } = check {
        regex(pattern)?;
    }
    conditions(rule, check, table)?;
    if let Some(constant) = constant(check) {
        plan(&format!("SELECT {constant}"))?;
    }
    let none = Source::none(table);
    match check.scope() {
        Scope::Row => {
            let cells = rule.cells(table, 0);
            let states: Vec<String> =
                cells.cells.iter().map(|cell| format!("({})::boolean", cell.state)).collect();
            plan(&format!(
                "SELECT {} FROM {}{}",
                states.join(", "),
                none.sql(),
                cells.join.unwrap_or_default()
            ))
        }
        Scope::Group => {
            let pass = Grouping::of(rule).run(&Grouping::scan(false), table, &none);
            pass.map(drop)
        }
        Scope::Table => whole(rule, check, table, &none),
    }
}

/// What a user wrote must say the same of a row each time, and do nothing.
fn conditions(rule: &Rule, check: &Check, table: &Table) -> Result<()> {
    let from = format!("{} t", table.name.sql());
    let written = match check {
        Check::Expression { expression } => Some(expression),
        _ => None,
    };
    for condition in written.into_iter().chain(&rule.filter) {
        if expression::volatility(condition, &from)? == Volatility::Volatile {
            return Err(QualityError::Volatile(bare(condition)).into());
        }
    }
    Ok(())
}

/// As it was written.
pub fn bare(condition: &str) -> String {
    let inner = condition.strip_prefix('(').and_then(|text| text.strip_suffix("\n)"));
    inner.unwrap_or(condition).to_owned()
}

/// What shows whether an argument is one, without any row.
fn constant(check: &Check) -> Option<String> {
    match check {
        Check::Castable { data_type } => Some(super::rule::castable("''", data_type)),
        Check::Freshness { max_age } => Some(format!("{}::interval", literal(max_age))),
        _ => None,
    }
}

fn whole(rule: &Rule, check: &Check, table: &Table, none: &Source) -> Result<()> {
    let column = rule.columns.first().and_then(|name| table.column(name));
    match (check, column) {
        (Check::Freshness { .. }, Some(column)) if column.is_time => Ok(()),
        (Check::Freshness { .. }, _) => Err(QualityError::NotATime(rule.columns.concat()).into()),
        (Check::Distribution { method, .. }, Some(column)) => distribution::trial(*method, column, none),
        (Check::Reconcile { query, against }, _) => {
            let here = match against {
                Against::Here(against) => format!("{query}::numeric, {against}::numeric"),
                Against::Environment { .. } => format!("{query}::numeric"),
            };
            let condition = format!("ROW({here}) IS NULL");
            if expression::volatility(&condition, none.sql())? == Volatility::Volatile {
                return Err(QualityError::Volatile(bare(query)).into());
            }
            plan(&format!("SELECT {here} FROM {}", none.sql()))
        }
        _ => Ok(()),
    }
}

pub fn plan(sql: &str) -> Result<()> {
    subtransaction::run(|| spi::read(sql, &[], |_| Ok(()))).map(drop)
}

/// The server does not say where a pattern is wrong: at the end of the shortest part from which on it says the same.
fn regex(pattern: &str) -> Result<()> {
    let compiles = |pattern: &str| {
        subtransaction::run(|| spi::read("SELECT '' ~ $1", &[pattern.into()], |_| Ok(()))).map(drop)
    };
    let Err(failure) = compiles(pattern) else { return Ok(()) };
    if failure.is_interrupt || pattern.len() > LONGEST_PATTERN {
        return Err(failure);
    }
    let starts: Vec<usize> = pattern.char_indices().map(|(place, _)| place).collect();
    let mut place = starts.len();
    while place > 1 {
        match compiles(&pattern[..starts[place - 1]]) {
            Err(shorter) if shorter.is_interrupt => return Err(shorter),
            Err(shorter) if shorter.message == failure.message => place -= 1,
            _ => break,
        }
    }
    Err(Failure { message: format!("{} (at character {place})", failure.message), ..failure })
}
