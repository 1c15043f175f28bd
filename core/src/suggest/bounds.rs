//! Between which bounds numbers and times lie, outliers aside.

use chrono::{DateTime, Datelike as _};

/// Outside of it a value is an outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fence {
    pub low: f64,
    pub high: f64,
}

impl Fence {
    /// Three interquartile ranges beyond the quartiles (J. W. Tukey, Exploratory Data Analysis, 1977: "far out"), and
    /// for positive numbers that are skewed three on a logarithmic scale, if that is farther: amounts and durations
    /// have a long tail, which is no fault. None where half of the values are the same.
    pub fn around(first: f64, third: f64) -> Option<Self> {
        let range = third - first;
        if range <= 0.0 || !range.is_finite() {
            return None;
        }
        let (mut low, mut high) = (first - 3.0 * range, third + 3.0 * range);
        if first > 0.0 {
            let factor = (third / first).powi(3);
            (low, high) = (low.min(first / factor), high.max(third * factor));
        }
        Some(Self { low, high })
    }

    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Bounds that contain both numbers, each rounded outwards to a digit of their distance or of its own, whichever is
/// finer: the next value may be a little beyond the last. None if there is no distance, or no exact decimal.
pub fn outward(low: f64, high: f64) -> Option<(String, String)> {
    let span = high - low;
    if !(span > 0.0 && span.is_finite()) {
        return None;
    }
    let of_span = span.log10().floor();
    let round = |value: f64, away: fn(f64) -> f64| {
        let own = if value == 0.0 { of_span } else { value.abs().log10().floor() };
        rounded(value, own.clamp(of_span - 2.0, of_span) as i32, away)
    };
    Some((round(low, f64::floor)?, round(high, f64::ceil)?))
}

/// A number rounded to a multiple of 10 ^ `exponent`.
fn rounded(value: f64, exponent: i32, away: fn(f64) -> f64) -> Option<String> {
    const EXACT: f64 = 1e15;
    let multiple = match exponent {
        0.. => value / 10f64.powi(exponent),
        _ => value * 10f64.powi(-exponent),
    };
    // A quotient that is a whole number but for the last bit is one.
    let nearest = multiple.round();
    let is_whole = (multiple - nearest).abs() <= nearest.abs() * 1e-12;
    let multiple = if is_whole { nearest } else { away(multiple) };
    (value.abs() < EXACT && multiple.abs() < EXACT).then(|| decimal(multiple as i64, exponent))
}

/// `number` * 10 ^ `exponent`, written out.
fn decimal(number: i64, exponent: i32) -> String {
    if number == 0 {
        return "0".to_owned();
    }
    let sign = if number < 0 { "-" } else { "" };
    let digits = number.unsigned_abs().to_string();
    if exponent >= 0 {
        return format!("{sign}{digits}{}", "0".repeat(exponent.unsigned_abs() as usize));
    }
    let places = exponent.unsigned_abs() as usize;
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The range that a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Named {
    pub what: &'static str,
    pub min: i32,
    pub max: i32,
}

/// What a column's name says about the range of its numbers, if they keep to it.
pub fn named_range(name: &str, low: f64, high: f64) -> Option<Named> {
    const NAMED: [(&[&str], &str, i32, i32); 7] = [
        (&["latitude", "lat"], "latitudes", -90, 90),
        (&["longitude", "lon", "lng", "long"], "longitudes", -180, 180),
        (&["ratio", "share", "fraction", "probability", "confidence"], "shares of one", 0, 1),
        (&["percent", "percentage", "pct", "share"], "percentages", 0, 100),
        (&["month"], "months", 1, 12),
        (&["hour"], "hours", 0, 23),
        (&["minute", "second"], "minutes or seconds", 0, 59),
    ];
    let words = super::words(name);
    NAMED
        .iter()
        .filter(|(names, ..)| words.iter().any(|word| names.contains(&word.as_str())))
        .map(|&(_, what, min, max)| Named { what, min, max })
        .find(|named| f64::from(named.min) <= low && high <= f64::from(named.max))
}

/// The first day of the year of a moment (seconds since 1970), or of the year after it. None before the year 1 and
/// after 9998.
pub fn first_day(epoch: f64, years_later: i32) -> Option<String> {
    // Seconds of the year 10000 are far within an i64, and NaN becomes 0.
    let year = DateTime::from_timestamp(epoch.floor() as i64, 0)?.year() + years_later;
    (1..=9999).contains(&year).then(|| format!("{year:04}-01-01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_rounded_outwards() {
        let pair = |low, high| outward(low, high).unwrap();
        let texts = |low: &str, high: &str| (low.to_owned(), high.to_owned());
        assert_eq!(pair(-1.2, 7.5), texts("-2", "8"));
        assert_eq!(pair(1.0, 1000.0), texts("1", "1000"));
        assert_eq!(pair(-3.29, 597.4), texts("-4", "600"));
        assert_eq!(pair(-600.0, 720.0), texts("-600", "800"));
        assert_eq!(pair(-0.000_01, 950.0), texts("-1", "1000"));
        assert_eq!(pair(1990.0, 2024.0), texts("1990", "2030"));
        assert_eq!(pair(0.12, 0.47), texts("0.1", "0.5"));
        assert_eq!(pair(0.3, 1.1), texts("0.3", "1.1"));
        assert_eq!(pair(-0.004, -0.001), texts("-0.004", "-0.001"));
        assert_eq!(pair(12_000_000.0, 93_000_000.0), texts("10000000", "100000000"));
    }

    #[test]
    fn what_has_no_distance_or_no_exact_decimal_has_no_bounds() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (0.0, 1e15), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert_eq!(outward(low, high), None, "{low} {high}");
        }
        assert_eq!(outward(1.0, 1.0 + 1e-15), None);
    }

    #[test]
    fn a_fence_leaves_a_long_tail_inside_and_far_values_outside() {
        let fence = Fence::around(250.0, 750.0).unwrap();
        assert!(fence.holds(1000.0) && !fence.holds(99_999_999.0));
        // Of a log-normal distribution (mu 0, sigma 1) the quartiles are 0.51 and 1.96; 40 is within 4 sigma.
        let fence = Fence::around(0.51, 1.96).unwrap();
        assert!(fence.holds(40.0) && !fence.holds(5000.0));
        let fence = Fence::around(-5.0, 5.0).unwrap();
        assert_eq!(fence, Fence { low: -35.0, high: 35.0 });
        assert_eq!(Fence::around(3.0, 3.0), None);
        assert_eq!(Fence::around(f64::NAN, 3.0), None);
    }

    #[test]
    fn a_name_stands_for_a_range_only_if_the_values_keep_to_it() {
        assert_eq!(named_range("Latitude", -80.0, 80.0).unwrap().max, 90);
        assert_eq!(named_range("vat_pct", 7.0, 19.0).unwrap().max, 100);
        assert_eq!(named_range("market_share", 7.0, 19.0).unwrap().max, 100);
        assert_eq!(named_range("market_share", 0.1, 0.9).unwrap().max, 1);
        assert_eq!(named_range("lat", 100.0, 120.0), None);
        assert_eq!(named_range("flat", 1.0, 2.0), None);
    }

    #[test]
    fn years_begin_on_the_first_of_january() {
        assert_eq!(first_day(1_709_251_200.0, 0).as_deref(), Some("2024-01-01"));
        assert_eq!(first_day(1_709_251_200.0, 1).as_deref(), Some("2025-01-01"));
        assert_eq!(first_day(-1.0, 0).as_deref(), Some("1969-01-01"));
        assert_eq!(first_day(-1e14, 0), None);
        assert_eq!(first_day(1e18, 0), None);
    }
}
