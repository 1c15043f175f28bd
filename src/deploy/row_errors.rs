//! Rows that the target refuses, one by one: they are counted, and too many end the deployment.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::error::DeployError;
use super::options::Options;
use crate::pg::error::{Failure, Result};

/// So many are found one by one even where nothing is to be rolled back by itself.
const MOST: usize = 1000;

/// A row that was left out, and why.
#[derive(Clone)]
pub struct RowError {
    pub table: String,
    /// As JSON.
    pub key: String,
    pub sqlstate: String,
    pub message: String,
}

/// What was refused so far.
pub struct RowErrors<'a> {
    options: &'a Options,
    found: RefCell<Vec<RowError>>,
}

impl<'a> RowErrors<'a> {
    pub const fn new(options: &'a Options) -> Self {
        Self { options, found: RefCell::new(Vec::new()) }
    }

    /// Errors: 22000 if that is one too many.
    pub fn add(&self, table: &str, key: String, failure: &Failure) -> Result<()> {
        let mut found = self.found.borrow_mut();
        found.push(RowError {
            table: table.to_owned(),
            key,
            sqlstate: failure.sqlstate_text(),
            message: failure.message.clone(),
        });
        let limit = if self.options.auto_rollback { self.options.error_threshold } else { MOST };
        if found.len() < limit {
            return Ok(());
        }
        Err(DeployError::TooManyErrors {
            errors: found.len(),
            limit,
            first: found.first().map_or_else(String::new, RowError::told),
        }
        .into())
    }

    /// For another attempt, which finds them again.
    pub fn forget(&self) {
        self.found.borrow_mut().clear();
    }

    pub fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Those of one table, as JSON.
    pub fn of_table(&self, table: &str) -> Vec<Value> {
        self.found.borrow().iter().filter(|it| it.table == table).map(RowError::to_json).collect()
    }

    pub fn is_past_threshold(&self) -> bool {
        self.count() >= self.options.error_threshold
    }

    pub fn to_json(&self) -> Value {
        Value::Array(self.found.borrow().iter().map(RowError::to_json).collect())
    }
}

impl RowError {
    fn told(&self) -> String {
        format!("{} {}: {}", self.table, self.key, self.message)
    }

    fn to_json(&self) -> Value {
        json!({
            "table_name": self.table,
            "key": serde_json::from_str::<Value>(&self.key).unwrap_or(Value::Null),
            "sqlstate": self.sqlstate,
            "error": self.message,
        })
    }
}

/// Whether a failure says something of the rows that were written, and not of the server or the session: values that do
/// not fit, constraints, and what a trigger raises.
pub fn is_of_a_row(failure: &Failure) -> bool {
    !failure.is_interrupt
        && (matches!(failure.class().as_str(), "22" | "23") || failure.sqlstate_text() == "P0001")
}

/// Runs `work` on the numbers from `first` to `last`, and where it fails because of a row, on each half, until `single` is
/// told the row.
pub fn isolating(
    (first, last): (i64, i64),
    work: &dyn Fn(i64, i64) -> Result<()>,
    single: &dyn Fn(i64, &Failure) -> Result<()>,
) -> Result<()> {
    match work(first, last) {
        Err(failure) if is_of_a_row(&failure) => {
            if first == last {
                // Somebody else made it at the same moment: it is there to be updated now.
                let again = if failure.sqlstate_text() == "23505" { work(first, last) } else { Err(failure) };
                return match again {
                    Err(failure) if is_of_a_row(&failure) => single(first, &failure),
                    outcome => outcome,
                };
            }
            let middle = first + (last - first) / 2;
            isolating((first, middle), work, single)?;
            isolating((middle + 1, last), work, single)
        }
        outcome => outcome,
    }
}
