//! Whether values are still distributed as they were.

use num_bigint::BigInt;
use num_rational::BigRational;

/// How two distributions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Population stability index: the sum of (p - q) ln(p / q) over the bins.
    Psi,
    /// Kolmogorov-Smirnov: the greatest distance of the two cumulative distributions.
    Ks,
}

impl Method {
    /// What counts as drift where nobody says: a PSI above 0.2 (Siddiqi 2006, Credit Risk Scorecards), a distance above
    /// 0.1.
    pub fn default_max(self) -> BigRational {
        let tenths = match self {
            Method::Psi => 2,
            Method::Ks => 1,
        };
        BigRational::new(BigInt::from(tenths), BigInt::from(10))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Psi => "psi",
            Method::Ks => "ks",
        }
    }
}

/// How far apart two histograms with the same bins are; `None` if one of them is empty or the bins differ in number.
/// The bins of `ks` are in the order of the values.
pub fn distance(method: Method, before: &[i64], now: &[i64]) -> Option<f64> {
    let (n_before, n_now) = (total(before), total(now));
    if before.len() != now.len() || n_before <= 0.0 || n_now <= 0.0 {
        return None;
    }
    Some(match method {
        Method::Psi => psi(before, n_before, now, n_now),
        Method::Ks => ks(before, n_before, now, n_now),
    })
}

fn total(counts: &[i64]) -> f64 {
    counts.iter().map(|count| *count as f64).sum()
}

/// An empty bin counts as half a value: the logarithm of nothing says nothing.
fn psi(before: &[i64], n_before: f64, now: &[i64], n_now: f64) -> f64 {
    let share = |count: i64, n: f64| (count as f64).max(0.5) / n;
    before
        .iter()
        .zip(now)
        .filter(|(before, now)| **before > 0 || **now > 0)
        .map(|(before, now)| (share(*before, n_before), share(*now, n_now)))
        .map(|(p, q)| (q - p) * (q / p).ln())
        .sum()
}

fn ks(before: &[i64], n_before: f64, now: &[i64], n_now: f64) -> f64 {
    let steps = before.iter().zip(now).map(|(before, now)| *before as f64 / n_before - *now as f64 / n_now);
    steps
        .scan(0.0, |difference, step| {
            *difference += step;
            Some(f64::abs(*difference))
        })
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }

    #[test]
    fn the_same_distribution_has_no_distance() {
        for method in [Method::Psi, Method::Ks] {
            close(distance(method, &[10, 20, 30], &[100, 200, 300]), 0.0);
        }
    }

    #[test]
    fn psi_is_the_sum_over_the_bins() {
        // 0.1 ln(0.6 / 0.5) + 0.1 ln(0.5 / 0.4)
        close(distance(Method::Psi, &[50, 50], &[60, 40]), 0.0405);
        assert!(
            distance(Method::Psi, &[100, 0], &[0, 100]).unwrap() > 1.0,
            "an empty bin is no division by zero"
        );
    }

    #[test]
    fn ks_is_the_greatest_distance() {
        close(distance(Method::Ks, &[25, 25, 25, 25], &[50, 25, 25, 0]), 0.25);
        close(distance(Method::Ks, &[1, 0], &[0, 1]), 1.0);
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        assert!(distance(Method::Psi, &[0, 0], &[1, 2]).is_none());
        assert!(distance(Method::Ks, &[1, 2], &[]).is_none());
    }
}
