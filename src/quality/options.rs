//! The options of `opdb.quality_score`.

use num_rational::BigRational;
use num_traits::{One, Zero};
use opdb_core::quality::{Dimension, is_ratio, parse_decimal};
use serde_json::Value;
use strum::VariantNames as _;

use super::error::QualityError;
use crate::pg::error::Result;

pub struct Options {
    pub weights: [BigRational; 4],
    /// The score that is good enough.
    pub threshold: BigRational,
    /// The share of the weights about which something must be known.
    pub min_coverage: BigRational,
    /// The completeness that is good enough, measured as `gate` says.
    pub min_completeness: BigRational,
    pub gate: Gate,
    /// The columns that must have a value, each with its weight; `None` where nobody says so.
    pub required: Option<Vec<(String, BigRational)>>,
    /// Whether what the table implies is scored too.
    pub implied: bool,
    /// The share of the blocks that is read.
    pub sample: Option<BigRational>,
    /// Whether the keys of rows that fail are kept.
    pub failures: bool,
    /// Whether a digest of the rows is taken.
    pub digest: bool,
    /// As they were given.
    pub given: Value,
}

/// What must be complete enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Gate {
    /// The required columns on average.
    Mean,
    /// Each of them.
    Min,
    /// The share of rows in which all of them have a value.
    Row,
}

impl Options {
    /// Errors: 22023 for an unknown option or a value that cannot be.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options
            .as_object()
            .ok_or(QualityError::InvalidOption { option: "options".into(), needs: "a JSON object".into() })?;
        let hundredths = |count: i32| BigRational::new(count.into(), 100.into());
        let mut read = Self {
            weights: Dimension::ALL.map(Dimension::default_weight),
            threshold: hundredths(95),
            min_coverage: hundredths(50),
            min_completeness: hundredths(95),
            gate: Gate::Mean,
            required: None,
            implied: true,
            sample: None,
            failures: true,
            digest: true,
            given: options.clone(),
        };
        for (option, value) in object {
            match option.as_str() {
                "threshold" => read.threshold = ratio(option, value)?,
                "min_coverage" => read.min_coverage = ratio(option, value)?,
                "min_completeness" => read.min_completeness = ratio(option, value)?,
                "gate" => read.gate = gate(option, value)?,
                "weights" => read.weights = weights(value)?,
                "required" => read.required = Some(required(value)?),
                "implied" => read.implied = flag(option, value)?,
                "sample" => read.sample = sample(option, value)?,
                "failures" => read.failures = flag(option, value)?,
                "digest" => read.digest = flag(option, value)?,
                _ => return Err(QualityError::UnknownOption(option.clone()).into()),
            }
        }
        Ok(read)
    }
}

fn invalid(option: &str, needs: impl Into<String>) -> crate::pg::error::Failure {
    QualityError::InvalidOption { option: option.to_owned(), needs: needs.into() }.into()
}

fn number(value: &Value) -> Option<BigRational> {
    match value {
        Value::Number(number) => parse_decimal(&number.to_string()),
        Value::String(text) => parse_decimal(text),
        _ => None,
    }
}

fn ratio(option: &str, value: &Value) -> Result<BigRational> {
    number(value).filter(is_ratio).ok_or_else(|| invalid(option, "a number between 0 and 1"))
}

fn flag(option: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| invalid(option, "true or false"))
}

fn gate(option: &str, value: &Value) -> Result<Gate> {
    let gate = value.as_str().and_then(|name| name.parse().ok());
    gate.ok_or_else(|| invalid(option, format!("one of: {}", Gate::VARIANTS.join(", "))))
}

/// All of the table is no sample.
fn sample(option: &str, value: &Value) -> Result<Option<BigRational>> {
    let share = number(value).filter(|share| is_ratio(share) && !share.is_zero());
    let share = share.ok_or_else(|| invalid(option, "a number greater than 0 and at most 1"))?;
    Ok((!share.is_one()).then_some(share))
}

/// A list of columns, or an object of columns and their weights.
fn required(value: &Value) -> Result<Vec<(String, BigRational)>> {
    let needs = "an array of column names, or an object of column names and weights greater than 0";
    let columns: Option<Vec<_>> = match value {
        Value::Array(names) => {
            names.iter().map(|name| Some((name.as_str()?.to_owned(), BigRational::one()))).collect()
        }
        Value::Object(weights) => weights
            .iter()
            .map(|(name, weight)| {
                Some((name.clone(), number(weight).filter(|weight| *weight > BigRational::zero())?))
            })
            .collect(),
        _ => None,
    };
    columns.filter(|columns| !columns.is_empty()).ok_or_else(|| invalid("required", needs))
}

/// A dimension that is not named weighs nothing.
fn weights(value: &Value) -> Result<[BigRational; 4]> {
    let wrong =
        || invalid("weights", "an object of dimensions and numbers of which at least one is greater than 0");
    let object = value.as_object().ok_or_else(wrong)?;
    let mut weights = [const { None }; 4];
    for (name, value) in object {
        let dimension =
            Dimension::from_name(name).ok_or_else(|| QualityError::UnknownDimension(name.clone()))?;
        let weight = number(value).filter(|weight| *weight >= BigRational::zero()).ok_or_else(wrong)?;
        weights[dimension as usize] = Some(weight);
    }
    let weights = weights.map(Option::unwrap_or_default);
    if weights.iter().all(Zero::is_zero) {
        return Err(wrong());
    }
    Ok(weights)
}
