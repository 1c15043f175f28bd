//! Scoring: from how many checks passed to one number, exactly.

pub mod anomaly;
pub mod drift;
pub mod interval;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

/// What a rule says something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    Completeness,
    Accuracy,
    Consistency,
    Integrity,
}

impl Dimension {
    pub const ALL: [Dimension; 4] =
        [Dimension::Completeness, Dimension::Accuracy, Dimension::Consistency, Dimension::Integrity];

    pub fn as_str(self) -> &'static str {
        match self {
            Dimension::Completeness => "completeness",
            Dimension::Accuracy => "accuracy",
            Dimension::Consistency => "consistency",
            Dimension::Integrity => "integrity",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == name)
    }

    /// The dimension's share of the score, in tenths.
    fn default_tenths(self) -> u32 {
        match self {
            Dimension::Completeness | Dimension::Accuracy => 3,
            Dimension::Consistency | Dimension::Integrity => 2,
        }
    }

    pub fn default_weight(self) -> BigRational {
        BigRational::new(self.default_tenths().into(), 10.into())
    }
}

/// What a rule found: of `evaluated` values `passed` were good.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub dimension: Dimension,
    pub weight: BigRational,
    pub evaluated: i64,
    pub passed: i64,
    /// Where the rule measures something else than how many values are good.
    pub measured: Option<BigRational>,
}

impl Outcome {
    /// The share that passed; `None` if there was nothing to look at.
    pub fn ratio(&self) -> Option<BigRational> {
        if self.measured.is_some() {
            return self.measured.clone();
        }
        (self.evaluated > 0).then(|| BigRational::new(self.passed.into(), self.evaluated.into()))
    }

    /// What the ratio is at least, if the values were a sample.
    pub fn lower_bound(&self) -> Option<BigRational> {
        if self.measured.is_some() {
            return self.measured.clone();
        }
        interval::wilson_lower(self.passed, self.evaluated)
    }
}

/// How close two totals are: 1 - |x - y| / max(|x|, |y|, 1), and 0 for what is further apart.
pub fn agreement(x: &BigRational, y: &BigRational) -> BigRational {
    let greatest = x.abs().max(y.abs()).max(BigRational::one());
    (BigRational::one() - (x - y).abs() / greatest).max(BigRational::zero())
}

/// The scores of a table. A dimension in which nothing was evaluated has none and does not count, and
/// `coverage` says how much of the weight did.
#[derive(Debug, Clone)]
pub struct Score {
    pub dimensions: [Option<BigRational>; 4],
    pub total: Option<BigRational>,
    pub coverage: BigRational,
}

impl Score {
    pub fn of(&self, dimension: Dimension) -> Option<&BigRational> {
        self.dimensions[dimension as usize].as_ref()
    }
}

/// Weighted mean of the rules' ratios in each dimension, and of the dimensions in all (ISO/IEC 25024 ratios
/// X = A/B). Ratios are weighted, not counts: a rule on a long table does not drown the others.
pub fn score(outcomes: &[Outcome], weights: &[BigRational; 4]) -> Score {
    score_by(outcomes, weights, Outcome::ratio)
}

/// `score` of what is at least true, if the values were a sample.
pub fn lowest_score(outcomes: &[Outcome], weights: &[BigRational; 4]) -> Score {
    score_by(outcomes, weights, Outcome::lower_bound)
}

fn score_by(
    outcomes: &[Outcome],
    weights: &[BigRational; 4],
    ratio: fn(&Outcome) -> Option<BigRational>,
) -> Score {
    let dimensions = Dimension::ALL.map(|dimension| {
        weighted_mean(
            outcomes
                .iter()
                .filter(|outcome| outcome.dimension == dimension)
                .filter_map(|outcome| Some((outcome.weight.clone(), ratio(outcome)?))),
        )
    });
    let scored = || {
        weights.iter().zip(&dimensions).filter_map(|(weight, score)| Some((weight.clone(), score.clone()?)))
    };
    let total_weight: BigRational = weights.iter().sum();
    let covered: BigRational = scored().map(|(weight, _)| weight).sum();
    Score {
        total: weighted_mean(scored()),
        coverage: if total_weight.is_zero() { BigRational::zero() } else { covered / total_weight },
        dimensions,
    }
}

fn weighted_mean(values: impl Iterator<Item = (BigRational, BigRational)>) -> Option<BigRational> {
    let (weights, sum) = values
        .fold((BigRational::zero(), BigRational::zero()), |(weights, sum), (weight, value)| {
            (weights + &weight, sum + weight * value)
        });
    (!weights.is_zero()).then(|| sum / weights)
}

/// A decimal number such as `0.95` or `-3`, exactly.
pub fn parse_decimal(text: &str) -> Option<BigRational> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let numerator: BigInt = format!("{whole}{fraction}").parse().ok()?;
    let denominator = num_traits::pow(BigInt::from(10), fraction.len());
    Some(BigRational::new(numerator * sign, denominator))
}

/// The number with `places` decimals, rounded down: what is not quite 1 never prints as 1.
pub fn to_decimal(value: &BigRational, places: usize) -> String {
    let scale = num_traits::pow(BigInt::from(10), places);
    let floor = (value * BigRational::from(scale.clone())).floor().to_integer();
    let (whole, fraction) = (&floor / &scale, &floor % &scale);
    if places == 0 { whole.to_string() } else { format!("{whole}.{fraction:0>places$}") }
}

/// Whether a number can be a threshold or a ratio.
pub fn is_ratio(value: &BigRational) -> bool {
    *value >= BigRational::zero() && *value <= BigRational::one()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(dimension: Dimension, passed: i64, evaluated: i64) -> Outcome {
        Outcome { dimension, weight: BigRational::one(), evaluated, passed, measured: None }
    }

    fn weights() -> [BigRational; 4] {
        Dimension::ALL.map(Dimension::default_weight)
    }

    #[test]
    fn the_weights_are_three_three_two_two() {
        let outcomes = [
            outcome(Dimension::Completeness, 1, 2),
            outcome(Dimension::Accuracy, 1, 1),
            outcome(Dimension::Consistency, 1, 1),
            outcome(Dimension::Integrity, 0, 1),
        ];
        let score = score(&outcomes, &weights());
        assert_eq!(to_decimal(&score.total.unwrap(), 4), "0.6500");
        assert_eq!(score.coverage, BigRational::one());
    }

    #[test]
    fn a_dimension_without_evidence_is_left_out_and_told() {
        let outcomes = [outcome(Dimension::Completeness, 9, 10), outcome(Dimension::Accuracy, 0, 0)];
        let score = score(&outcomes, &weights());
        assert!(score.of(Dimension::Accuracy).is_none());
        assert_eq!(to_decimal(&score.total.unwrap(), 2), "0.90");
        assert_eq!(to_decimal(&score.coverage, 2), "0.30");
    }

    #[test]
    fn nothing_evaluated_is_no_score_and_not_a_perfect_one() {
        let score = score(&[outcome(Dimension::Integrity, 0, 0)], &weights());
        assert!(score.total.is_none());
        assert!(score.coverage.is_zero());
    }

    #[test]
    fn rules_are_weighted_by_ratio_and_not_by_count() {
        let outcomes =
            [outcome(Dimension::Accuracy, 1_000_000, 1_000_000), outcome(Dimension::Accuracy, 0, 1)];
        assert_eq!(to_decimal(score(&outcomes, &weights()).of(Dimension::Accuracy).unwrap(), 2), "0.50");
    }

    #[test]
    fn almost_enough_is_not_enough() {
        let threshold = parse_decimal("0.95").unwrap();
        let ratio = outcome(Dimension::Accuracy, 94_996, 100_000).ratio().unwrap();
        assert!(ratio < threshold);
        assert_eq!(to_decimal(&BigRational::new(99_999.into(), 100_000.into()), 2), "0.99");
        assert!(outcome(Dimension::Accuracy, 95_000, 100_000).ratio().unwrap() >= threshold);
    }

    #[test]
    fn totals_agree_as_far_as_they_are_close() {
        let number = |text| parse_decimal(text).unwrap();
        for (x, y, expected) in [
            ("100", "100", "1.0000"),
            ("95", "100", "0.9500"),
            ("0", "0", "1.0000"),
            ("0", "0.25", "0.7500"),
            ("-5", "5", "0.0000"),
        ] {
            assert_eq!(to_decimal(&agreement(&number(x), &number(y)), 4), expected, "{x} and {y}");
        }
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        assert_eq!(parse_decimal("0.3").unwrap(), BigRational::new(3.into(), 10.into()));
        assert_eq!(parse_decimal("-.5").unwrap(), BigRational::new((-1).into(), 2.into()));
        for bad in ["", ".", "NaN", "1e3", "0.5x", "--1"] {
            assert!(parse_decimal(bad).is_none(), "{bad}");
        }
    }
}
