//! The options of `opdb.deploy`.

use serde_json::Value;

use super::error::DeployError;
use crate::compat::column_names;
use crate::pg::error::Result;
use crate::pg::expression;

pub struct Options {
    /// As the caller wrote them.
    pub given: Value,
    /// Columns to match rows by, instead of the primary key.
    pub key: Option<Vec<String>>,
    /// Which rows to send: a condition in parentheses.
    pub condition: Option<String>,
    pub exclude_columns: Vec<String>,
    /// Rows per message to the other server.
    pub batch_size: usize,
    /// The share of a table's rows that may change (not: come new) in one deployment.
    pub max_change_ratio: f64,
    /// Raise an error where a refused or failed deployment would be recorded.
    pub raise: bool,
}

impl Options {
    pub const HELP: &'static str = "key (array of columns), where (a condition), exclude_columns (array of columns), \
        batch_size (1 to 100000, default 1000), max_change_ratio (0 to 1, default 0.5), raise (boolean, default false)";

    /// Errors: 22023 for an unknown option or a value that cannot be, 42601 for a condition that is none.
    pub fn read(options: &Value) -> Result<Self> {
        let invalid = |option: &str, needs: &'static str| DeployError::InvalidOption {
            option: option.to_owned(),
            needs,
        };
        let object = options.as_object().ok_or_else(|| invalid("options", "a JSON object"))?;
        let mut read = Self {
            given: options.clone(),
            key: None,
            condition: None,
            exclude_columns: Vec::new(),
            batch_size: 1000,
            max_change_ratio: 0.5,
            raise: false,
        };
        for (option, value) in object {
            match option.as_str() {
                "key" => {
                    let columns = columns(option, value)?;
                    if columns.is_empty() {
                        return Err(invalid(option, "an array of at least one column name").into());
                    }
                    read.key = Some(columns);
                }
                "where" => {
                    let text = value.as_str().ok_or_else(|| invalid(option, "a condition as text"))?;
                    read.condition = Some(expression::parenthesised(text)?);
                }
                "exclude_columns" => read.exclude_columns = columns(option, value)?,
                "batch_size" => {
                    read.batch_size = value
                        .as_u64()
                        .and_then(|size| usize::try_from(size).ok())
                        .filter(|size| (1..=100_000).contains(size))
                        .ok_or_else(|| invalid(option, "an integer from 1 to 100000"))?;
                }
                "max_change_ratio" => {
                    read.max_change_ratio = value
                        .as_f64()
                        .filter(|ratio| (0.0..=1.0).contains(ratio))
                        .ok_or_else(|| invalid(option, "a number from 0 to 1"))?;
                }
                "raise" => read.raise = value.as_bool().ok_or_else(|| invalid(option, "true or false"))?,
                _ => return Err(DeployError::UnknownOption(option.clone()).into()),
            }
        }
        Ok(read)
    }
}

impl Options {
    /// Errors: 22023 if the condition could choose other rows of `table` each time it is asked.
    pub fn check_condition(&self, table: &str) -> Result<()> {
        match &self.condition {
            Some(condition) if expression::is_volatile(condition, table)? => {
                Err(DeployError::VolatileCondition(self.given["where"].to_string()).into())
            }
            _ => Ok(()),
        }
    }
}

fn columns(option: &str, value: &Value) -> Result<Vec<String>> {
    column_names(value).ok_or_else(|| {
        DeployError::InvalidOption { option: option.to_owned(), needs: "an array of column names" }.into()
    })
}
