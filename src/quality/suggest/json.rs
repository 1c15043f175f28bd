//! Documents of one kind.

use opdb_core::quality::Dimension;
use serde_json::json;

use super::candidate::{Candidate, Measure};
use super::profile::Profile;
use crate::pg::name::{identifier, literal};

/// Of a document the sample has the type.
pub fn candidate(profile: &Profile) -> Option<Candidate> {
    let column = profile.column;
    let (Some(kind), _) = profile.values.first()? else { return None };
    let name = identifier(&column.name);
    let condition = format!("{} = {}", column.cell(), literal(kind));
    Some(Candidate {
        dimension: Dimension::Accuracy,
        rule: "expression",
        columns: Vec::new(),
        args: json!({"expression": format!("{}_typeof({name}) = {}", column.type_name, literal(kind))}),
        measure: Measure::of_cell(&column.cell(), condition),
        noun: "values",
        claim: format!("of {name} have the JSON type {kind}"),
    })
}
