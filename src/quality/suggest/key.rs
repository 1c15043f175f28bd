//! Values that tell rows apart, and values that name rows of another table.

use std::collections::HashMap;

use opdb_core::quality::Dimension;
use opdb_core::suggest::{is_key, words};
use serde_json::json;

use super::candidate::{Candidate, Measure};
use super::options::Options;
use super::profile::Profile;
use super::relation::{Class, Relation};
use crate::pg::error::Result;
use crate::pg::name::identifier;
use crate::pg::spi;

/// Among fewer values none may be there twice by chance.
const MIN_VALUES: i64 = 100;

/// The primary key of another table that a column is named after.
pub struct Reference {
    table: String,
    column: String,
}

/// By the name of the column.
pub fn references(relation: &Relation) -> Result<HashMap<String, Reference>> {
    let found = spi::read(
        include_str!("../../../sql/quality/suggest_references.sql"),
        &[relation.oid.into()],
        |row| {
            let reference = Reference { table: spi::known(&row, 2)?, column: spi::known(&row, 3)? };
            Ok((spi::known::<String>(&row, 1)?, reference))
        },
    )?;
    Ok(found.into_iter().collect())
}

pub fn foreign_key(profile: &Profile, reference: &Reference) -> Candidate {
    let cell = profile.column.cell();
    let exists = format!(
        "EXISTS (SELECT FROM {} r WHERE r.{} = {cell})",
        reference.table,
        identifier(&reference.column)
    );
    Candidate {
        dimension: Dimension::Integrity,
        rule: "foreign_key",
        columns: vec![profile.column.name.clone()],
        args: json!({"table": reference.table, "columns": [reference.column]}),
        measure: Measure::of_cell(&cell, exists),
        noun: "values",
        claim: format!("are in {} of {}", reference.column, reference.table),
    }
}

pub fn unique(profile: &Profile, relation: &Relation, options: &Options) -> Option<Candidate> {
    if !is_told_apart(profile, options) {
        return None;
    }
    let dimension = match is_own_key(relation, &profile.column.name) {
        true if !relation.has_primary_key => Dimension::Integrity,
        _ => Dimension::Consistency,
    };
    Some(Candidate {
        dimension,
        rule: "unique",
        columns: vec![profile.column.name.clone()],
        args: json!({}),
        measure: Measure::Known { evaluated: profile.summary.present, passed: profile.distinct },
        noun: "values",
        claim: "are unique".into(),
    })
}

/// Whether values are different because they are to be, and not by chance.
#[allow(clippy::cast_precision_loss)]
fn is_told_apart(profile: &Profile, options: &Options) -> bool {
    let (column, present, distinct) = (profile.column, profile.summary.present, profile.distinct);
    // ANALYZE saw the values again elsewhere in the table.
    let is_repeated = profile.analyzed_distinct.is_some_and(|analyzed| analyzed > -0.9);
    if column.is_unique || column.is_reference || is_repeated || present < MIN_VALUES {
        return false;
    }
    let is_named = is_key(&column.name);
    let is_intended = match column.class {
        Class::Text => column.is_equal_as_text && profile.summary.spaced * 20 <= present,
        Class::Integer => is_named || is_dense(profile),
        Class::Comparable => is_named || column.type_name == "uuid",
        _ => false,
    };
    let ratio = if is_named { options.min_ratio } else { 1.0 };
    is_intended && distinct as f64 >= ratio * present as f64
}

/// Numbers of a sequence; of numbers from a wide range few are the same, either.
#[allow(clippy::cast_precision_loss)]
fn is_dense(profile: &Profile) -> bool {
    profile.bounds.is_some_and(|bounds| bounds.high - bounds.low < 4.0 * profile.summary.present as f64)
}

/// Whether a column is called id, or as customer_id is in customers.
fn is_own_key(relation: &Relation, column: &str) -> bool {
    let (words, table) = (words(column), words(&relation.name.name));
    match words.split_last() {
        Some((last, [])) => last == "id",
        Some((last, rest)) => {
            last == "id" && (rest == table || format!("{}s", rest.join("_")) == table.join("_"))
        }
        None => false,
    }
}
