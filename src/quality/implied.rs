//! The rules that a table implies by being what it is.

use opdb_core::quality::Dimension;

use super::proof::{self, Constraint};
use super::rule::{Check, Evidence, ReferencedKey, Rule};
use super::scorer::Scorer;
use super::table::{Column, Kind, Table};
use crate::ingest::EventTable;
use crate::pg::error::Result;
use crate::pg::expression;

/// What an event is nothing without.
const REQUIRED_OF_EVENTS: [&str; 4] = ["source", "source_id", "occurred_at", "payload"];
/// What is required of others where nobody says so.
const USUALLY_REQUIRED: [&str; 5] = ["id", "title", "content", "source", "timestamp"];

/// All but those about completeness, which depend on what is required.
pub fn rules(table: &Table, scorer: &Scorer) -> Result<Vec<Rule>> {
    let mut rules: Vec<Rule> = table
        .columns
        .iter()
        .filter(|column| column.is_time || column.can_be_nan)
        .map(|column| {
            let columns = vec![column.name.clone()];
            Rule::new(Dimension::Accuracy, Check::Finite, columns, Evidence::Measured)
        })
        .collect();
    rules.extend(scorer.run(|| constraint_rules(table))?);
    if let Some(events) = EventTable::find(table.relation)? {
        rules.extend(event_rules(&events)?);
    }
    Ok(rules)
}

/// The columns that are required if neither the options nor a rule say which: of some usual names those that there are,
/// or else what the table itself requires.
pub fn required(table: &Table) -> Result<Vec<String>> {
    if EventTable::find(table.relation)?.is_some() {
        return Ok(REQUIRED_OF_EVENTS.map(str::to_owned).into());
    }
    let usual: Vec<String> = USUALLY_REQUIRED
        .iter()
        .filter(|name| table.column(name).is_some())
        .map(|&name| name.into())
        .collect();
    if !usual.is_empty() {
        return Ok(usual);
    }
    Ok(table
        .columns
        .iter()
        .filter(|column| column.is_declared_not_null)
        .map(|column| column.name.clone())
        .collect())
}

/// The rule that a column has a value that says something. One for a column that there is not is broken.
pub fn completeness(table: &Table, name: &str) -> Rule {
    let columns = vec![name.to_owned()];
    let rule = |check, evidence| Rule::new(Dimension::Completeness, check, columns.clone(), evidence);
    match table.column(name) {
        Some(Column { kind: Kind::Other, .. }) => rule(Check::NotNull, Evidence::Measured),
        Some(_) => rule(Check::NotBlank { placeholders: Vec::new() }, Evidence::Measured),
        None => Rule {
            check: Err(format!("column \"{name}\" does not exist")),
            ..rule(Check::NotNull, Evidence::Measured)
        },
    }
}

/// Constraints: proven where PostgreSQL has validated them, measured where it has not.
fn constraint_rules(table: &Table) -> Result<Vec<Rule>> {
    let rule = |constraint: Constraint| {
        let Constraint { kind, columns, condition, .. } = constraint;
        let (dimension, check) = match kind {
            'p' => (Dimension::Integrity, Check::Unique),
            'u' => (Dimension::Consistency, Check::Unique),
            'f' => {
                // Tables that inherit from the one referred to may have a key once more.
                let is_unique = false;
                let key = ReferencedKey::new(constraint.referenced, constraint.theirs, is_unique)?;
                (Dimension::Integrity, Check::ForeignKey(key))
            }
            _ => {
                let dimension = if columns.len() > 1 { Dimension::Consistency } else { Dimension::Accuracy };
                (dimension, Check::Expression { expression: expression::parenthesised(&condition)? })
            }
        };
        let evidence = if constraint.holds { Evidence::Constraint } else { Evidence::Measured };
        Ok(Rule { is_primary_key: kind == 'p', ..Rule::new(dimension, check, columns, evidence) })
    };
    let constraints = proof::constraints(table)?;
    constraints
        .into_iter()
        .filter(|constraint| constraint.holds || constraint.can_be_measured)
        .map(rule)
        .collect()
}

/// Events happen once and not after they were received, and every one is where its key says.
fn event_rules(events: &EventTable) -> Result<Vec<Rule>> {
    let mut rules = vec![
        Rule::expression(Dimension::Accuracy, "pg_catalog.jsonb_typeof(payload) = 'object'", &["payload"])?,
        Rule::expression(
            Dimension::Consistency,
            "occurred_at <= created_at + '1 day'::interval",
            &["occurred_at", "created_at"],
        )?,
    ];
    if let Some(keys) = &events.keys {
        rules.push(Rule::new(
            Dimension::Consistency,
            Check::Unique,
            vec!["source_id".into()],
            Evidence::Measured,
        ));
        let columns: Vec<String> = ["source_id", "id", "occurred_at"].map(str::to_owned).into();
        let key = ReferencedKey::new(keys.sql(), columns.clone(), true)?;
        rules.push(Rule::new(Dimension::Integrity, Check::ForeignKey(key), columns, Evidence::Measured));
    }
    Ok(rules)
}
