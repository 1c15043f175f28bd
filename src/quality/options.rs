//! The options of `opdb.quality_score`.

use num_rational::BigRational;
use num_traits::Zero;
use opdb_core::quality::{Dimension, is_ratio, parse_decimal};
use serde_json::Value;

use super::error::QualityError;
use crate::pg::error::Result;

pub struct Options {
    pub weights: [BigRational; 4],
    /// The score that is good enough.
    pub threshold: BigRational,
    /// The share of the weights about which something must be known.
    pub min_coverage: BigRational,
}

impl Options {
    /// Errors: 22023 for an unknown option or a value that cannot be.
    pub fn read(options: &Value) -> Result<Self> {
        let object = options
            .as_object()
            .ok_or(QualityError::InvalidOption { option: "options".into(), needs: "a JSON object" })?;
        let mut read = Self {
            weights: Dimension::ALL.map(Dimension::default_weight),
            threshold: BigRational::new(95.into(), 100.into()),
            min_coverage: BigRational::new(1.into(), 2.into()),
        };
        for (option, value) in object {
            match option.as_str() {
                "threshold" => read.threshold = ratio(option, value)?,
                "min_coverage" => read.min_coverage = ratio(option, value)?,
                "weights" => read.weights = weights(value)?,
                _ => return Err(QualityError::UnknownOption(option.clone()).into()),
            }
        }
        Ok(read)
    }
}

fn number(value: &Value) -> Option<BigRational> {
    match value {
        Value::Number(number) => parse_decimal(&number.to_string()),
        Value::String(text) => parse_decimal(text),
        _ => None,
    }
}

fn ratio(option: &str, value: &Value) -> Result<BigRational> {
    number(value).filter(is_ratio).ok_or_else(|| {
        QualityError::InvalidOption { option: option.to_owned(), needs: "a number between 0 and 1" }.into()
    })
}

/// A dimension that is not named weighs nothing.
fn weights(value: &Value) -> Result<[BigRational; 4]> {
    let invalid = || QualityError::InvalidOption {
        option: "weights".into(),
        needs: "an object of dimensions and numbers of which at least one is greater than 0",
    };
    let object = value.as_object().ok_or_else(invalid)?;
    let mut weights = [const { None }; 4];
    for (name, value) in object {
        let dimension =
            Dimension::from_name(name).ok_or_else(|| QualityError::UnknownDimension(name.clone()))?;
        let weight = number(value).filter(|weight| *weight >= BigRational::zero()).ok_or_else(invalid)?;
        weights[dimension as usize] = Some(weight);
    }
    let weights = weights.map(Option::unwrap_or_default);
    if weights.iter().all(Zero::is_zero) {
        return Err(invalid().into());
    }
    Ok(weights)
}
