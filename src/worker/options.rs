//! The options of `opdb.add_job`.

use opdb_core::schedule::SECOND;
use serde_json::{Map, Value};

use super::error::WorkerError;
use crate::pg::error::Result;
use crate::pg::{spi, subtransaction};

pub const HELP: &str = "role (name), enabled (boolean, default true), catch_up (run_once or skip, default run_once), \
    timeout (interval, for each statement), max_runtime (interval, for the run), retries (0 to 100, default 0), \
    retry_delay (interval, default 30 seconds), window (object of start and end, both times of day), \
    max_active (number of sessions), gexec (boolean, default false), settings (object of settings and values)";

/// Intervals and times are in microseconds.
pub struct Options {
    pub role: Option<String>,
    pub enabled: bool,
    pub catch_up: String,
    pub timeout: Option<i64>,
    pub max_runtime: Option<i64>,
    pub retries: i32,
    pub retry_delay: i64,
    /// Start and end, as PostgreSQL writes times.
    pub window: Option<(String, String)>,
    pub max_active: Option<i32>,
    pub gexec: bool,
    pub settings: Value,
}

impl Options {
    /// Errors: 22023 for an unknown option or a value that cannot be.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options.as_object().ok_or_else(|| invalid("options", "a JSON object"))?;
        let mut read = Self {
            role: None,
            enabled: true,
            catch_up: "run_once".into(),
            timeout: None,
            max_runtime: None,
            retries: 0,
            retry_delay: 30 * SECOND,
            window: None,
            max_active: None,
            gexec: false,
            settings: Value::Object(Map::new()),
        };
        for (option, value) in object {
            read.set(option, value)?;
        }
        Ok(read)
    }

    fn set(&mut self, option: &str, value: &Value) -> Result<()> {
        match option {
            "role" => self.role = Some(text(option, value, "the name of a role")?),
            "enabled" => self.enabled = boolean(option, value)?,
            "gexec" => self.gexec = boolean(option, value)?,
            "catch_up" => {
                self.catch_up = text(option, value, "run_once or skip")?;
                if !matches!(self.catch_up.as_str(), "run_once" | "skip") {
                    return Err(invalid(option, "run_once or skip").into());
                }
            }
            "timeout" => self.timeout = Some(interval(option, value)?),
            "max_runtime" => self.max_runtime = Some(interval(option, value)?),
            "retry_delay" => self.retry_delay = interval(option, value)?,
            "retries" => self.retries = integer(option, value, 0..=100, "an integer from 0 to 100")?,
            "max_active" => {
                self.max_active = Some(integer(option, value, 0..=i32::MAX, "a number of sessions")?);
            }
            "window" => self.window = Some(window(value)?),
            "settings" => self.settings = settings(value)?,
            _ => return Err(WorkerError::UnknownOption(option.to_owned()).into()),
        }
        Ok(())
    }
}

fn invalid(option: &str, needs: &'static str) -> WorkerError {
    WorkerError::InvalidOption { option: option.to_owned(), needs }
}

fn text(option: &str, value: &Value, needs: &'static str) -> Result<String> {
    Ok(value.as_str().map(str::to_owned).ok_or_else(|| invalid(option, needs))?)
}

fn boolean(option: &str, value: &Value) -> Result<bool> {
    Ok(value.as_bool().ok_or_else(|| invalid(option, "true or false"))?)
}

fn integer(
    option: &str,
    value: &Value,
    range: std::ops::RangeInclusive<i32>,
    needs: &'static str,
) -> Result<i32> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    Ok(number.filter(|number| range.contains(number)).ok_or_else(|| invalid(option, needs))?)
}

fn interval(option: &str, value: &Value) -> Result<i64> {
    const NEEDS: &str = "a positive interval of at most 100 years, such as \"10 minutes\"";
    let text = text(option, value, NEEDS)?;
    let sql = "SELECT (1000000 * extract(epoch FROM $1::pg_catalog.interval))::bigint";
    let micros = subtransaction::run(|| spi::read_value::<i64>(sql, &[text.as_str().into()])).ok().flatten();
    let longest = 36_525 * 86_400 * SECOND;
    Ok(micros.filter(|micros| (1..=longest).contains(micros)).ok_or_else(|| invalid(option, NEEDS))?)
}

fn window(value: &Value) -> Result<(String, String)> {
    const NEEDS: &str =
        "an object of start and end, both times of day, such as {\"start\": \"01:00\", \"end\": \"05:00\"}";
    let object =
        value.as_object().filter(|object| object.len() == 2).ok_or_else(|| invalid("window", NEEDS))?;
    let time = |name: &str| -> Result<String> {
        let text = object.get(name).and_then(Value::as_str).ok_or_else(|| invalid("window", NEEDS))?;
        let sql = "SELECT $1::pg_catalog.time::text";
        let time = subtransaction::run(|| spi::read_value::<String>(sql, &[text.into()])).ok().flatten();
        Ok(time.filter(|time| time != "24:00:00").ok_or_else(|| invalid("window", NEEDS))?)
    };
    Ok((time("start")?, time("end")?))
}

fn settings(value: &Value) -> Result<Value> {
    const NEEDS: &str = "an object of settings and their values: text, numbers or booleans";
    let object = value.as_object().ok_or_else(|| invalid("settings", NEEDS))?;
    for (setting, value) in object {
        let known = spi::read_value::<bool>(
            "SELECT pg_catalog.current_setting($1, true) IS NOT NULL OR $1 LIKE '%.%'",
            &[setting.as_str().into()],
        )?;
        if known != Some(true) || !(value.is_string() || value.is_number() || value.is_boolean()) {
            return Err(invalid("settings", NEEDS).into());
        }
    }
    Ok(value.clone())
}
