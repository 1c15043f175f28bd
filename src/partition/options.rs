//! The options of `opdb.manage_partitions`.

use serde_json::Value;

use super::error::PartitionError;
use crate::pg::error::Result;

pub const HELP: &str = "width (numbers in a partition, for ids), retention_width (numbers to keep, for ids), unit (s, ms or \
    us, for integers that are times since 1970), archive_schema, archive_tablespace and archive_environment (names), \
    storage (object of storage parameters of partitions), analyze (boolean: ANALYZE the table after making partitions)";

#[derive(Default)]
pub struct Options {
    pub width: Option<i64>,
    pub retention_width: Option<i64>,
    pub unit: Option<String>,
    pub archive_schema: Option<String>,
    pub archive_tablespace: Option<String>,
    pub archive_environment: Option<String>,
    /// None if nothing was said.
    pub storage: Option<Vec<String>>,
    pub analyze: bool,
}

impl Options {
    /// Errors: 22023 for an unknown option or a value that cannot be.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options.as_object().ok_or_else(|| invalid("options", "a JSON object"))?;
        let mut read = Self::default();
        for (option, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            read.set(option, value)?;
        }
        Ok(read)
    }

    fn set(&mut self, option: &str, value: &Value) -> Result<()> {
        match option {
            "width" => self.width = Some(number(option, value)?),
            "retention_width" => self.retention_width = Some(number(option, value)?),
            "unit" => self.unit = Some(text(option, value, "s, ms or us")?),
            "archive_schema" => self.archive_schema = Some(text(option, value, "the name of a schema")?),
            "archive_tablespace" => {
                self.archive_tablespace = Some(text(option, value, "the name of a tablespace")?);
            }
            "archive_environment" => {
                self.archive_environment = Some(text(option, value, "the name of a registered environment")?);
            }
            "storage" => self.storage = Some(storage(value)?),
            "analyze" => self.analyze = value.as_bool().ok_or_else(|| invalid(option, "true or false"))?,
            _ => return Err(PartitionError::UnknownOption(option.to_owned()).into()),
        }
        Ok(())
    }
}

fn invalid(option: &str, needs: &'static str) -> PartitionError {
    PartitionError::InvalidOption { option: option.to_owned(), needs }
}

fn number(option: &str, value: &Value) -> Result<i64> {
    let number = value.as_i64().filter(|number| *number > 0);
    Ok(number.ok_or_else(|| invalid(option, "a whole number above 0"))?)
}

fn text(option: &str, value: &Value, needs: &'static str) -> Result<String> {
    Ok(value.as_str().map(str::to_owned).ok_or_else(|| invalid(option, needs))?)
}

/// As pg_class.reloptions has them. Names are of letters, digits, underscores and one dot; values of numbers and words.
fn storage(value: &Value) -> Result<Vec<String>> {
    const NEEDS: &str = "an object of storage parameters and their values, such as {\"autovacuum_vacuum_scale_factor\": 0.01}";
    let object = value.as_object().ok_or_else(|| invalid("storage", NEEDS))?;
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-+".contains(c))
    };
    let parameter = |(name, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (is_word(name) && is_word(&value)).then(|| format!("{name}={value}"))
    };
    Ok(object.iter().map(parameter).collect::<Option<_>>().ok_or_else(|| invalid("storage", NEEDS))?)
}
