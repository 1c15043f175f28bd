//! Values that are there.

use opdb_core::quality::Dimension;
use serde_json::json;

use super::candidate::{Candidate, Measure};
use super::profile::Profile;
use super::relation::Class;
use crate::pg::name::literal;

pub fn candidates(profile: &Profile) -> Vec<Candidate> {
    let column = profile.column;
    let cell = column.cell();
    let placeholders = &profile.summary.placeholders;
    let mut candidates = Vec::new();
    // A table implies for its NOT NULL columns that they are filled, and not with blanks.
    if column.class == Class::Text && !(column.is_not_null && placeholders.is_empty()) {
        let (args, without) = match placeholders.is_empty() {
            true => (json!({}), String::new()),
            false => (
                json!({"placeholders": placeholders}),
                format!(", and no placeholder ({})", quoted(placeholders)),
            ),
        };
        candidates.push(Candidate {
            claim: format!("are neither NULL nor blank{without}"),
            ..candidate(profile, "not_blank", args, is_filled(&cell, placeholders))
        });
    }
    if !column.is_not_null {
        candidates.push(candidate(profile, "not_null", json!({}), format!("{cell} IS NOT NULL")));
    }
    candidates
}

fn candidate(profile: &Profile, rule: &'static str, args: serde_json::Value, passed: String) -> Candidate {
    let example = (profile.column.class == Class::Text).then(|| profile.column.cell());
    Candidate {
        dimension: Dimension::Completeness,
        rule,
        columns: vec![profile.column.name.clone()],
        args,
        measure: Measure::Conditions { evaluated: "true".into(), passed, example },
        noun: "values",
        claim: "are not NULL".into(),
    }
}

fn is_filled(cell: &str, placeholders: &[String]) -> String {
    let mut filled = format!("coalesce({cell} ~ '[^[:space:]]', false)");
    if !placeholders.is_empty() {
        let list: Vec<String> = placeholders.iter().map(literal).collect();
        filled += &format!(" AND lower(btrim({cell})) NOT IN ({})", list.join(", "));
    }
    filled
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", ")
}
