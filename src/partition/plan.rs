//! What would be done, for a person to read.

use std::time::Duration;

use pgrx::datum::TimestampWithTimeZone;

use super::run::{self, Outcome};
use super::set::Set;
use super::step::Steps;
use super::task::{Look, Phase, Task};
use crate::pg::error::{Failure, Result};
use crate::pg::types::Regclass;
use crate::pg::{spi, subtransaction};

pub struct Row {
    pub parent: Regclass,
    pub action: String,
    pub partition: Option<String>,
    pub lower: Option<String>,
    pub upper: Option<String>,
    pub ddl: Option<String>,
    pub lock: Option<String>,
    pub note: Option<String>,
}

/// Of one table, or of all that are managed: creation of all first, then retention.
pub fn plan(parent: Option<Regclass>, at: Option<TimestampWithTimeZone>) -> Result<Vec<Row>> {
    let parents = match parent {
        Some(parent) => vec![parent],
        None => managed()?,
    };
    let mut rows = Vec::new();
    for phase in [Phase::Create, Phase::Retire] {
        for table in &parents {
            let planned = subtransaction::discarded(|| of(*table, phase, at));
            match planned {
                Ok(planned) => rows.extend(planned),
                Err(failure) if parent.is_some() || failure.is_interrupt => return Err(failure),
                Err(failure) => rows.push(failed(*table, "plan", &failure)),
            }
        }
    }
    Ok(rows)
}

/// In the order in which they are locked.
pub fn managed() -> Result<Vec<Regclass>> {
    let sql = "SELECT p.parent FROM opdb.partition_set p JOIN pg_catalog.pg_class c ON c.oid = p.parent ORDER BY p.parent";
    Ok(spi::read_now(sql, &[], |row| row.get::<Regclass>(1))?.into_iter().flatten().collect())
}

fn of(parent: Regclass, phase: Phase, at: Option<TimestampWithTimeZone>) -> Result<Vec<Row>> {
    run::check_readable(parent, Duration::ZERO)?;
    let set = Set::get(parent, at)?;
    let children = set.children()?;
    let look = Look::at(&set, &children, phase)?;
    let tasks = look.tasks(phase)?;
    let steps = Steps::planned(&look);
    let (mut rows, mut stuck) = (Vec::new(), None);
    for task in tasks.tasks {
        // What is not detached is not finished either.
        if let Task::Finish(partition) = task
            && stuck == Some(partition)
        {
            continue;
        }
        rows.push(match steps.step(task) {
            Ok(step) => Row {
                parent,
                action: step.action.to_owned(),
                partition: step.partition.as_ref().map(|it| it.sql()),
                lower: step.lower.clone(),
                upper: step.upper.clone(),
                ddl: Some(step.ddl()),
                lock: Some(step.lock()).filter(|lock| !lock.is_empty()),
                note: step.note,
            },
            Err(failure) => {
                stuck = task.partition();
                Row { partition: task.partition_name(), ..failed(parent, task.action(), &failure) }
            }
        });
    }
    rows.extend(tasks.obstacles.into_iter().map(|obstacle| {
        let outcome = Outcome::of_obstacle(&set, obstacle);
        Row {
            parent,
            action: outcome.action.to_owned(),
            partition: outcome.partition,
            lower: outcome.lower,
            upper: outcome.upper,
            ddl: None,
            lock: None,
            note: outcome.detail,
        }
    }));
    Ok(rows)
}

fn failed(parent: Regclass, action: &str, failure: &Failure) -> Row {
    let hint = failure.hint.as_ref().map(|hint| format!(" HINT: {hint}"));
    Row {
        parent,
        action: action.to_owned(),
        partition: None,
        lower: None,
        upper: None,
        ddl: None,
        lock: None,
        note: Some(format!("cannot be done: {}{}", failure.message, hint.unwrap_or_default())),
    }
}
