//! The jobs that come ready-made.

use pgrx::prelude::*;
use serde_json::{Value, json};

use super::error::MaintainError;
use crate::pg::error::Result;
use crate::worker;

pub struct Added {
    pub name: String,
    pub schedule: String,
    pub command: String,
}

/// A plan in, statement by statement, which ends with the window; or one statement, where there is no worker.
const DAILY: [&str; 2] =
    ["SELECT command FROM opdb.vacuum_plan() WHERE helps IS NOT FALSE", "VACUUM (ANALYZE, SKIP_LOCKED)"];
const WEEKLY: [&str; 2] =
    ["SELECT command FROM opdb.vacuum_plan(everything => true) WHERE helps IS NOT FALSE", "VACUUM (ANALYZE)"];

pub fn add((start, end): (Time, Time), timezone: &str, options: Value) -> Result<Vec<Added>> {
    if start == end {
        return Err(MaintainError::EmptyWindow(start.to_string()).into());
    }
    let Value::Object(mut options) = options else {
        return Err(MaintainError::NotAnObject.into());
    };
    for fixed in ["window", "gexec"] {
        if options.contains_key(fixed) {
            return Err(MaintainError::FixedOption(fixed).into());
        }
    }
    let is_on = worker::is_on();
    if is_on {
        options.insert("gexec".into(), true.into());
        options.insert("window".into(), json!({"start": minute(start), "end": end.to_string()}));
    }
    let options = Value::Object(options);
    // A cron expression knows no seconds, and the window must be open when it comes.
    let time = format!("{} {}", start.minute(), start.hour());
    let jobs = [("daily", "1-6", DAILY), ("weekly", "0", WEEKLY)].map(|(name, days, commands)| Added {
        name: format!("opdb vacuum {name}"),
        schedule: format!("{time} * * {days}"),
        command: commands[usize::from(!is_on)].to_owned(),
    });
    for job in &jobs {
        worker::add(&job.name, &job.schedule, &job.command, timezone, &options)?;
    }
    worker::warn_if_off()?;
    Ok(jobs.into())
}

fn minute(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}
