//! Between what numbers lie.

use opdb_core::quality::Dimension;
use opdb_core::suggest::{named_range, outward};
use serde_json::{Value, json};

use super::candidate::{Candidate, Measure};
use super::profile::Profile;
use crate::pg::name::literal;

pub fn candidate(profile: &Profile) -> Option<Candidate> {
    let column = profile.column;
    let bounds = profile.bounds?;
    let named = named_range(&column.name, bounds.low, bounds.high);
    let (min, max, mut claim) = match named {
        Some(named) => {
            let (min, max) = (named.min.to_string(), named.max.to_string());
            let claim = format!("are {} from {min} to {max}", named.what);
            (min, max, claim)
        }
        None => {
            let (min, max) = outward(bounds.low, bounds.high)?;
            let (min, max) = within_type(&column.type_name, min, max)?;
            let min = if bounds.low >= 0.0 { "0".to_owned() } else { min };
            let claim = format!("are from {min} to {max}, the bounds found, rounded");
            (min, max, claim)
        }
    };
    if let Some([first, third]) = bounds.without_outliers {
        claim += &format!(
            ", outliers left out (farther than three interquartile ranges from the quartiles {first} and {third})"
        );
    }
    let cell = column.cell();
    let condition = format!("{cell} >= {} AND {cell} <= {}", literal(&min), literal(&max));
    Some(Candidate {
        dimension: Dimension::Accuracy,
        rule: "range",
        columns: vec![column.name.clone()],
        args: json!({"min": number(&min), "max": number(&max)}),
        measure: Measure::of_cell(&cell, condition),
        noun: "values",
        claim,
    })
}

/// A bound that was rounded out of its type's range is no value to compare with.
fn within_type(type_name: &str, min: String, max: String) -> Option<(String, String)> {
    let (least, most) = match type_name {
        "int2" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "int4" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return Some((min, max)),
    };
    let (min, max) = (min.parse::<i64>().ok()?, max.parse::<i64>().ok()?);
    Some((min.max(least).to_string(), max.min(most).to_string()))
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
