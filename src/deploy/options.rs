//! The options of `opdb.deploy`.

use serde_json::Value;

use super::checks::CHECKS;
use super::error::DeployError;
use crate::compat::{LocalTable, column_names};
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{expression, name};

/// Which way rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From here to the environment.
    Push,
    /// From the environment to here.
    Pull,
}

impl Direction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

/// Which rows are deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    All,
    /// Those that were written since the last deployment that brought all.
    SinceLast,
    /// The first ones by the key.
    Limit(i64),
}

pub struct Options {
    /// As the caller wrote them.
    pub given: Value,
    pub direction: Direction,
    pub mode: Mode,
    /// Columns to match rows by, instead of the primary key: of all tables, or of each that is named.
    key: Keys,
    /// Which rows to send: a condition in parentheses.
    pub condition: Option<String>,
    pub exclude_columns: Vec<String>,
    /// Deletes rows that the source does not have.
    pub delete_missing: bool,
    /// Rows per message to the other server.
    pub batch_size: usize,
    /// The share of a table's rows that may change (not: come new) in one deployment.
    pub max_change_ratio: f64,
    /// So many rows that the target refuses end the deployment.
    pub error_threshold: usize,
    /// Whether they roll it back, too.
    pub auto_rollback: bool,
    /// Checks that must pass beside those that the settings require.
    pub require: Vec<String>,
    /// Raise an error, too, if the deployment is refused or fails.
    pub raise: bool,
}

impl Options {
    pub const HELP: &'static str = "direction (push or pull, default push), mode (all, since_last or limit, default all), \
        limit (rows, with mode limit, default 1000), where (a condition), key (array of columns), \
        exclude_columns (array of columns), delete_missing (boolean, default false), \
        max_change_ratio (0 to 1, default 0.5), error_threshold (1 to 1000, default 5), \
        auto_rollback (boolean, default true), batch_size (1 to 100000, default 10000), \
        require (array of checks), raise (boolean, default false)";

    /// Errors: 22023 for an unknown option or a value that cannot be, 42601 for a condition that is none, 42P01 for a table
    /// that does not exist.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options.as_object().ok_or_else(|| invalid("options", "a JSON object"))?;
        let mut read = Self {
            given: options.clone(),
            direction: Direction::Push,
            mode: Mode::All,
            key: Keys::Primary,
            condition: None,
            exclude_columns: Vec::new(),
            delete_missing: false,
            batch_size: 10_000,
            max_change_ratio: 0.5,
            error_threshold: 5,
            auto_rollback: true,
            require: Vec::new(),
            raise: false,
        };
        for (option, value) in object {
            read.set(option, value)?;
        }
        read.set_mode(object.get("mode"), object.get("limit"))?;
        if read.delete_missing && (read.mode != Mode::All || read.condition.is_some()) {
            let needs = "false with where and unless mode is all: other rows are not looked at";
            return Err(invalid("delete_missing", needs).into());
        }
        Ok(read)
    }

    fn set(&mut self, option: &str, value: &Value) -> Result<()> {
        let boolean = || value.as_bool().ok_or_else(|| invalid(option, "true or false"));
        match option {
            "direction" => {
                self.direction = match value.as_str() {
                    Some("push") => Direction::Push,
                    Some("pull") => Direction::Pull,
                    _ => return Err(invalid(option, "push or pull").into()),
                }
            }
            "mode" | "limit" => {}
            "key" => self.key = Keys::read(value)?,
            "where" => {
                let text = value.as_str().ok_or_else(|| invalid(option, "a condition as text"))?;
                self.condition = Some(expression::parenthesised(text)?);
            }
            "exclude_columns" => self.exclude_columns = columns(option, value)?,
            "delete_missing" => self.delete_missing = boolean()?,
            "batch_size" => {
                self.batch_size = integer(value, 1..=100_000)
                    .ok_or_else(|| invalid(option, "an integer from 1 to 100000"))?;
            }
            "max_change_ratio" => {
                self.max_change_ratio = value
                    .as_f64()
                    .filter(|ratio| (0.0..=1.0).contains(ratio))
                    .ok_or_else(|| invalid(option, "a number from 0 to 1"))?;
            }
            "error_threshold" => {
                self.error_threshold =
                    integer(value, 1..=1000).ok_or_else(|| invalid(option, "an integer from 1 to 1000"))?;
            }
            "auto_rollback" => self.auto_rollback = boolean()?,
            "require" => {
                self.require = column_names(value).ok_or_else(|| invalid(option, "an array of checks"))?;
                if let Some(unknown) = self.require.iter().find(|name| !CHECKS.contains(&name.as_str())) {
                    return Err(DeployError::UnknownCheck(unknown.clone()).into());
                }
            }
            "raise" => self.raise = boolean()?,
            _ => return Err(DeployError::UnknownOption(option.to_owned()).into()),
        }
        Ok(())
    }

    fn set_mode(&mut self, mode: Option<&Value>, limit: Option<&Value>) -> Result<()> {
        let rows = limit
            .map(|limit| {
                integer(limit, 1..=1_000_000_000).ok_or_else(|| invalid("limit", "an integer of at least 1"))
            })
            .transpose()?;
        self.mode = match mode.map(|mode| mode.as_str().unwrap_or_default()) {
            None | Some("all") => Mode::All,
            Some("since_last") => Mode::SinceLast,
            Some("limit") => Mode::Limit(rows.map_or(1000, |rows| rows as i64)),
            Some(_) => return Err(invalid("mode", "all, since_last or limit").into()),
        };
        if rows.is_some() && !matches!(self.mode, Mode::Limit(_)) {
            return Err(invalid("limit", "left out unless mode is limit").into());
        }
        Ok(())
    }

    /// Whether tables may have numbers of the target's own, which others reference.
    pub fn may_renumber(&self) -> bool {
        !matches!(self.key, Keys::Primary)
    }

    /// The key that the options say, if they do.
    pub fn key_of(&self, table: &LocalTable) -> Option<Vec<String>> {
        match &self.key {
            Keys::Primary => None,
            Keys::Same(key) => Some(key.clone()),
            Keys::Each(keys) => {
                keys.iter().find(|(named, _)| *named == table.relation).map(|(_, key)| key.clone())
            }
        }
    }
}

enum Keys {
    Primary,
    Same(Vec<String>),
    Each(Vec<(Regclass, Vec<String>)>),
}

impl Keys {
    fn read(value: &Value) -> Result<Self> {
        let some = |value: &Value| {
            let needs =
                "an array of at least one column name, each once, or an object of such arrays by table";
            let is_each_once = |names: &Vec<String>| {
                let mut seen = std::collections::BTreeSet::new();
                !names.is_empty() && names.iter().all(|name| seen.insert(name.clone()))
            };
            let names = column_names(value).filter(is_each_once);
            names.ok_or_else(|| invalid("key", needs))
        };
        Ok(match value.as_object() {
            None => Self::Same(some(value)?),
            Some(tables) => Self::Each(
                tables
                    .iter()
                    .map(|(table, columns)| Ok((name::find(table)?, some(columns)?)))
                    .collect::<Result<Vec<_>>>()?,
            ),
        })
    }
}

fn invalid(option: &str, needs: &'static str) -> DeployError {
    DeployError::InvalidOption { option: option.to_owned(), needs }
}

fn integer(value: &Value, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| range.contains(number))
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
