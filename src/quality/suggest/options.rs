//! The options of `opdb.suggest_quality_rules`.

use serde_json::Value;

use super::error::SuggestError;
use crate::pg::error::Result;

pub struct Options {
    /// How many rows are looked at; `None` for what the number of columns allows.
    pub sample_rows: Option<i64>,
    /// With fewer values nothing is said.
    pub min_rows: i64,
    /// The least share of the values that must pass.
    pub min_ratio: f64,
}

impl Options {
    /// Errors: 22023 for an unknown option or a value that cannot be.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options.as_object().ok_or_else(|| invalid("options", "a JSON object"))?;
        let mut read = Self { sample_rows: None, min_rows: 30, min_ratio: 0.95 };
        for (option, value) in object {
            match option.as_str() {
                "sample_rows" => read.sample_rows = Some(integer(option, value, 10_000_000)?),
                "min_rows" => read.min_rows = integer(option, value, i64::MAX)?,
                "min_ratio" => {
                    read.min_ratio = value
                        .as_f64()
                        .filter(|ratio| *ratio > 0.0 && *ratio <= 1.0)
                        .ok_or_else(|| invalid(option, "a number greater than 0 and at most 1"))?;
                }
                _ => return Err(SuggestError::UnknownOption(option.clone()).into()),
            }
        }
        Ok(read)
    }
}

fn integer(option: &str, value: &Value, max: i64) -> Result<i64> {
    let integer = value.as_i64().filter(|integer| (1..=max).contains(integer));
    Ok(integer.ok_or_else(|| invalid(option, "an integer in its range"))?)
}

fn invalid(option: &str, needs: &'static str) -> SuggestError {
    SuggestError::InvalidOption { option: option.to_owned(), needs }
}
