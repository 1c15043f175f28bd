//! Whether a number is unusual among those that came before it.

/// Fewer earlier numbers say nothing about what is usual.
const LEAST_HISTORY: usize = 7;
/// A modified z-score above it is unusual (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers).
const LIMIT: f64 = 3.5;
/// The median absolute deviation of a normal distribution, in standard deviations; and the mean one.
const MAD: f64 = 0.6745;
const MEAN_DEVIATION: f64 = 0.7979;

/// The median of the earlier numbers, if `value` is unusual among them. A value of which the difference from the median
/// is at most `tolerance` is never unusual: where all have been the same so far, the smallest difference would be.
pub fn unusual(earlier: &[f64], value: f64, tolerance: f64) -> Option<f64> {
    if earlier.len() < LEAST_HISTORY {
        return None;
    }
    let middle = median(earlier.to_vec());
    let distance = (value - middle).abs();
    if distance <= tolerance {
        return None;
    }
    let deviations: Vec<f64> = earlier.iter().map(|number| (number - middle).abs()).collect();
    let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
    let mad = median(deviations);
    // More than half may be the same.
    let spread = if mad == 0.0 { mean / MEAN_DEVIATION } else { mad / MAD };
    (spread == 0.0 || distance / spread > LIMIT).then_some(middle)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = |place: usize| numbers.get(place).copied().unwrap_or_default();
    (middle(numbers.len().saturating_sub(1) / 2) + middle(numbers.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_from_the_rest_is_unusual() {
        let earlier = [100.0, 102.0, 98.0, 101.0, 99.0, 100.0, 103.0];
        assert_eq!(unusual(&earlier, 10.0, 0.0), Some(100.0));
        assert_eq!(unusual(&earlier, 104.0, 0.0), None);
    }

    #[test]
    fn a_short_history_says_nothing() {
        assert_eq!(unusual(&[100.0; 6], 0.0, 0.0), None);
        assert_eq!(unusual(&[100.0; 7], 0.0, 0.0), Some(100.0));
    }

    #[test]
    fn a_stable_history_does_not_make_every_step_unusual() {
        assert_eq!(unusual(&[1000.0; 20], 1001.0, 100.0), None);
        let mostly_the_same = [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 9.0];
        assert_eq!(unusual(&mostly_the_same, 6.0, 0.0), None);
        assert_eq!(unusual(&mostly_the_same, 50.0, 0.0), Some(5.0));
    }
}
