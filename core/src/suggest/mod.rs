//! Proposing rules from what a sample of a table shows.

mod bounds;
mod dependency;
mod name;
mod order;
mod shape;
mod values;

pub use bounds::{Fence, Named, first_day, named_range, outward};
pub use dependency::{Dependency, MAX_PAIRS, dependency};
pub use name::{is_key, looks_ahead, words};
pub use order::{Hint, direction, without_implied};
pub use shape::pattern;
pub use values::{MAX_VALUES, accepted};

/// A value of a sample and how many of its rows have it.
pub type Count = (String, i64);

/// The lower bound of the Wilson score interval at 95 % (two-sided) for a share of `passed` in `evaluated`: what the
/// share of all rows is at least, as far as the sample can tell. 0 if nothing was evaluated.
///
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
#[allow(clippy::cast_precision_loss)]
pub fn wilson_lower_bound(passed: i64, evaluated: i64) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    if evaluated <= 0 {
        return 0.0;
    }
    let (n, z2) = (evaluated as f64, Z * Z);
    let share = passed as f64 / n;
    let centre = share + z2 / (2.0 * n);
    let margin = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - margin) / (1.0 + z2 / n)).clamp(0.0, 1.0)
}

/// A share with four decimals, rounded down.
pub fn four_decimals(share: f64) -> String {
    format!("{:.4}", (share * 10_000.0).floor() / 10_000.0)
}

/// A number as people read it: 1,234,567.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_confidence_grows_with_the_sample_and_is_never_all() {
        assert_eq!(four_decimals(wilson_lower_bound(30, 30)), "0.8864");
        assert_eq!(four_decimals(wilson_lower_bound(10_000, 10_000)), "0.9996");
        assert_eq!(four_decimals(wilson_lower_bound(95, 100)), "0.8882");
        assert_eq!(four_decimals(wilson_lower_bound(0, 0)), "0.0000");
        assert_eq!(four_decimals(wilson_lower_bound(0, 50)), "0.0000");
        assert_eq!(four_decimals(0.999_99), "0.9999");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
    }
}
