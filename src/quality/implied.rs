//! The rules that a table implies by being what it is. What a validated constraint guarantees is not looked
//! for again.

use opdb_core::quality::Dimension;

use super::rule::Check;
use super::run::{Evidence, Rule};
use crate::ingest::EventTable;
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::types::Regclass;
use crate::pg::{expression, spi};

pub fn rules(table: Regclass) -> Result<Vec<Rule>> {
    let mut rules = column_rules(table)?;
    rules.extend(constraint_rules(table)?);
    if let Some(events) = EventTable::find(table)? {
        rules.extend(event_rules(&events)?);
    }
    if has_children(table)? {
        // A constraint of the parent says nothing of all the rows that a query on the parent reads.
        rules.iter_mut().for_each(|rule| rule.evidence = Evidence::Measured);
    }
    Ok(rules)
}

fn has_children(table: Regclass) -> Result<bool> {
    let found = spi::read_value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i
                        JOIN pg_catalog.pg_class c ON c.oid = i.inhparent AND c.relkind = 'r' WHERE c.oid = $1)",
        &[table.into()],
    )?;
    Ok(found == Some(true))
}

/// A required column must have a value that says something; a time must be a time and a number a number.
fn column_rules(table: Regclass) -> Result<Vec<Rule>> {
    let columns = spi::read(
        "SELECT a.attname::text,
                a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o
                                             WHERE o.conrelid = a.attrelid AND o.contype = 'n'
                                               AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated),
                t.typcategory::text, t.typname::text
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        &[table.into()],
        |row| {
            let text = |column| row.get::<String>(column).map(Option::unwrap_or_default);
            Ok((text(1)?, row.get::<bool>(2)?.unwrap_or(false), text(3)?, text(4)?))
        },
    )?;
    let mut rules = Vec::new();
    for (column, required, category, data_type) in columns {
        let quoted = identifier(&column);
        if required {
            rules.push(Rule::implied(Dimension::Completeness, Check::NotNull, &column, Evidence::Constraint));
        }
        if required && category == "S" {
            let check = Check::NotBlank { placeholders: Vec::new() };
            rules.push(Rule::implied(Dimension::Completeness, check, &column, Evidence::Measured));
        }
        let sane = match data_type.as_str() {
            "date" | "timestamp" | "timestamptz" => format!("pg_catalog.isfinite({quoted})"),
            "numeric" | "float4" | "float8" => format!("{quoted} <> 'NaN'"),
            "jsonb" if required => format!("pg_catalog.jsonb_typeof({quoted}) <> 'null'"),
            _ => continue,
        };
        rules.push(Rule::implied_expression(Dimension::Accuracy, &sane, &[column])?);
    }
    Ok(rules)
}

/// Constraints: proven where PostgreSQL has validated them, measured where it has not.
fn constraint_rules(table: Regclass) -> Result<Vec<Rule>> {
    let constraints = spi::read(
        "SELECT o.contype::text,
                o.convalidated AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                                               WHERE t.tgconstraint = o.oid AND t.tgenabled NOT IN ('O', 'A')),
                pg_catalog.pg_get_expr(o.conbin, o.conrelid),
                ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum
                      ORDER BY k.place),
                (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = o.confrelid),
                ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(o.confkey) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.attnum
                      ORDER BY k.place)
         FROM pg_catalog.pg_constraint o
         WHERE o.conrelid = $1 AND o.contype IN ('p', 'u', 'c', 'f') ORDER BY o.contype, o.conname",
        &[table.into()],
        |row| {
            Ok((
                row.get::<String>(1)?.unwrap_or_default(),
                row.get::<bool>(2)?.unwrap_or(false),
                row.get::<String>(3)?.unwrap_or_default(),
                row.get::<Vec<String>>(4)?.unwrap_or_default(),
                row.get::<String>(5)?.unwrap_or_default(),
                row.get::<Vec<String>>(6)?.unwrap_or_default(),
            ))
        },
    )?;
    constraints
        .into_iter()
        .map(|(kind, validated, condition, columns, referenced, theirs)| {
            let (dimension, check) = match kind.as_str() {
                "p" => (Dimension::Integrity, Check::Unique),
                "u" => (Dimension::Consistency, Check::Unique),
                "f" => (Dimension::Integrity, Check::ForeignKey { table: referenced, columns: theirs }),
                _ => {
                    let dimension =
                        if columns.len() > 1 { Dimension::Consistency } else { Dimension::Accuracy };
                    (dimension, Check::Expression { expression: expression::parenthesised(&condition)? })
                }
            };
            let evidence = if validated { Evidence::Constraint } else { Evidence::Measured };
            Ok(Rule { is_primary_key: kind == "p", ..Rule::new(dimension, check, columns, evidence) })
        })
        .collect()
}

/// Events happen once and not after they were received, and every one is where its key says.
fn event_rules(events: &EventTable) -> Result<Vec<Rule>> {
    let not_after_arrival = "occurred_at <= created_at + '1 day'::interval";
    let mut rules = vec![
        Rule::implied_expression(
            Dimension::Accuracy,
            "pg_catalog.jsonb_typeof(payload) = 'object'",
            &["payload".into()],
        )?,
        Rule::implied_expression(
            Dimension::Consistency,
            not_after_arrival,
            &["occurred_at".into(), "created_at".into()],
        )?,
    ];
    if let Some(keys) = &events.keys {
        rules.push(Rule::implied(Dimension::Consistency, Check::Unique, "source_id", Evidence::Measured));
        let has_key = format!(
            "EXISTS (SELECT FROM {} k WHERE k.source_id = t.source_id AND k.id = t.id \
             AND k.occurred_at = t.occurred_at)",
            keys.sql()
        );
        rules.push(Rule::implied_expression(
            Dimension::Integrity,
            &has_key,
            &["source_id".into(), "id".into(), "occurred_at".into()],
        )?);
    }
    Ok(rules)
}
