//! The options of comparing data.

use serde_json::Value;

use crate::compat::error::CompatError;
use crate::pg::error::Result;
use crate::pg::{expression, spi};

#[derive(Default)]
pub struct Options {
    /// Columns that tell rows apart, instead of the primary key.
    pub key: Option<Vec<String>>,
    /// Only these columns, and the key.
    pub columns: Option<Vec<String>>,
    pub exclude_columns: Vec<String>,
    /// Which rows, on both sides: a condition in parentheses.
    pub condition: Option<String>,
    /// The same as the caller wrote it.
    condition_text: String,
    /// By what is written instead of by what it means.
    pub as_written: bool,
    /// Milliseconds between finding rows that may differ and looking at them again.
    pub recheck_after_ms: u64,
    /// Sessions on the other server that read the table at the same time.
    pub connections: usize,
    /// What a statement there may take, as `statement_timeout` takes it.
    pub statement_timeout: Option<String>,
}

impl Options {
    pub const HELP: &'static str = "key, columns, exclude_columns (arrays of columns), where (a condition), \
        as_written (boolean, default false), recheck_after (an interval, default \"0\"), \
        connections (1 to 16, default 1), statement_timeout (an interval, default \"15min\")";

    /// Errors: 22023 for an unknown option or a value that cannot be, 42601 for a condition that is none.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options.as_object().ok_or_else(|| invalid("options", "a JSON object"))?;
        let mut read = Self { connections: 1, ..Self::default() };
        for (option, value) in object {
            match option.as_str() {
                "key" => read.key = Some(some_columns(option, value)?),
                "columns" => read.columns = Some(some_columns(option, value)?),
                "exclude_columns" => read.exclude_columns = columns(option, value)?,
                "where" => {
                    let text = value.as_str().ok_or_else(|| invalid(option, "a condition as text"))?;
                    read.condition = Some(expression::parenthesised(text)?);
                    text.clone_into(&mut read.condition_text);
                }
                "as_written" => {
                    read.as_written = value.as_bool().ok_or_else(|| invalid(option, "true or false"))?;
                }
                "recheck_after" => read.recheck_after_ms = milliseconds(option, value)?,
                "connections" => {
                    read.connections = value
                        .as_u64()
                        .and_then(|number| usize::try_from(number).ok())
                        .filter(|number| (1..=16).contains(number))
                        .ok_or_else(|| invalid(option, "an integer from 1 to 16"))?;
                }
                "statement_timeout" => {
                    read.statement_timeout = Some(format!("{}ms", milliseconds(option, value)?));
                }
                _ => return Err(CompatError::UnknownOption(option.clone()).into()),
            }
        }
        Ok(read)
    }

    /// Errors: 22023 if the condition could choose other rows of `table` each time it is asked; what is wrong with it.
    pub fn check_condition(&self, table: &str) -> Result<()> {
        match &self.condition {
            Some(condition) if expression::is_volatile(condition, table)? => {
                Err(CompatError::VolatileCondition(self.condition_text.clone()).into())
            }
            _ => Ok(()),
        }
    }
}

fn invalid(option: &str, needs: &'static str) -> CompatError {
    CompatError::InvalidOption { option: option.to_owned(), needs }
}

fn columns(option: &str, value: &Value) -> Result<Vec<String>> {
    column_names(value).ok_or_else(|| invalid(option, "an array of column names").into())
}

/// An array of texts.
pub fn column_names(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn some_columns(option: &str, value: &Value) -> Result<Vec<String>> {
    let columns = columns(option, value)?;
    if columns.is_empty() {
        return Err(invalid(option, "an array of at least one column name").into());
    }
    Ok(columns)
}

/// A length of time, as the server reads intervals.
fn milliseconds(option: &str, value: &Value) -> Result<u64> {
    let text = value.as_str().ok_or_else(|| invalid(option, "an interval as text, for example \"5 s\""))?;
    let read = spi::read_value::<i64>(
        "SELECT (extract(epoch FROM $1::pg_catalog.interval) * 1000)::bigint",
        &[text.into()],
    )?;
    read.and_then(|read| u64::try_from(read).ok())
        .filter(|read| *read <= 86_400_000)
        .ok_or_else(|| invalid(option, "an interval from 0 to 1 day").into())
}
