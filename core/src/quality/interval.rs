//! What a sample says of the whole.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

/// 95 %, on both sides: the standard normal quantile of 0.975.
const Z: f64 = 1.959_963_984_540_054;
/// A bound is rounded down to this many parts.
const PARTS: f64 = 1e12;

/// The lower bound of the 95 % score interval for a share of which `passed` of `evaluated` were seen
/// (Wilson, E. B. 1927: Probable inference, the law of succession, and statistical inference). `None` for nothing seen.
pub fn wilson_lower(passed: i64, evaluated: i64) -> Option<BigRational> {
    if evaluated <= 0 {
        return None;
    }
    let (n, share) = (evaluated as f64, passed as f64 / evaluated as f64);
    let middle = share + Z * Z / (2.0 * n);
    let margin = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let bound = ((middle - margin) / (1.0 + Z * Z / n)).clamp(0.0, 1.0);
    // f64 holds every integer up to PARTS exactly.
    let parts = (bound * PARTS).floor() as i64;
    Some(BigRational::new(BigInt::from(parts), BigInt::from(PARTS as i64)).max(BigRational::zero()))
}

#[cfg(test)]
mod tests {
    use super::super::to_decimal;
    use super::*;

    #[test]
    fn bounds_are_those_of_the_literature() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (passed, evaluated, bound) in
            [(81, 263, "0.2553"), (15, 148, "0.0624"), (0, 20, "0.0000"), (1, 29, "0.0061")]
        {
            let lower = wilson_lower(passed, evaluated).unwrap();
            let rounded = &lower + BigRational::new(5.into(), 100_000.into());
            assert_eq!(to_decimal(&rounded, 4), bound, "{passed} of {evaluated}");
        }
    }

    #[test]
    fn a_sample_without_a_failure_does_not_prove_that_there_is_none() {
        assert_eq!(to_decimal(&wilson_lower(100, 100).unwrap(), 4), "0.9630");
        assert!(wilson_lower(0, 0).is_none());
        assert!(wilson_lower(1_000_000_000, 1_000_000_000).unwrap() < BigRational::from(BigInt::from(1)));
    }
}
