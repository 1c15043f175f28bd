//! Functional dependencies between columns of few values.

use std::collections::{BTreeMap, BTreeSet};

/// More pairs than that make an expression that nobody reads.
pub const MAX_PAIRS: usize = 20;

/// The value of one column that belongs to each value of another.
#[derive(Debug, PartialEq)]
pub struct Dependency {
    pub pairs: Vec<(String, String)>,
    /// Whether the other way round it is one too.
    pub is_mutual: bool,
}

/// What the second value depends on the first by, of `counts`: pairs of values and their rows, without NULL.
///
/// Knowing the first must take away nine tenths of the mistakes that guessing the second by its most common value would
/// make: that is Goodman and Kruskal's lambda ("Measures of association for cross classifications", JASA 49, 1954).
/// Values seen in less than three rows are left out. None without a dependency, or with one that says little: fewer than
/// ten rows for each pair, only one value of either column.
pub fn dependency(counts: &[(String, String, i64)]) -> Option<Dependency> {
    let mut by_first: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    for (first, second, rows) in counts {
        *by_first.entry(first).or_default().entry(second).or_default() += rows;
    }
    by_first.retain(|_, seconds| seconds.values().sum::<i64>() >= 3);
    let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
    for (second, rows) in by_first.values().flatten() {
        *totals.entry(second).or_default() += rows;
    }
    let rows: i64 = totals.values().sum();
    let most_common = totals.values().max().copied().unwrap_or(0);
    let modes: Vec<(&str, &str, i64)> = by_first
        .iter()
        .filter_map(|(first, seconds)| {
            let (second, rows) = seconds.iter().max_by_key(|(_, rows)| **rows)?;
            Some((*first, *second, *rows))
        })
        .collect();
    let right: i64 = modes.iter().map(|(.., rows)| rows).sum();
    let images: BTreeSet<&str> = modes.iter().map(|(_, second, _)| *second).collect();
    let is_small = (2..=MAX_PAIRS).contains(&modes.len()) && images.len() > 1;
    let is_well_seen = rows >= 10 * modes.len() as i64;
    if !is_small || !is_well_seen || 10 * (rows - right) > rows - most_common {
        return None;
    }
    let pairs = modes.iter().map(|(first, second, _)| ((*first).to_owned(), (*second).to_owned())).collect();
    Some(Dependency { pairs, is_mutual: images.len() == modes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, &str, i64)]) -> Vec<(String, String, i64)> {
        rows.iter().map(|(first, second, rows)| ((*first).to_owned(), (*second).to_owned(), *rows)).collect()
    }

    #[test]
    fn a_dependency_is_found_and_so_are_its_exceptions() {
        let rows = counts(&[("AT", "EUR", 50), ("DE", "EUR", 100), ("US", "USD", 80), ("US", "EUR", 2)]);
        let found = dependency(&rows).unwrap();
        let pairs: Vec<(&str, &str)> = found.pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("AT", "EUR"), ("DE", "EUR"), ("US", "USD")]);
        assert!(!found.is_mutual);
        let back: Vec<_> = rows.iter().map(|(a, b, n)| (b.clone(), a.clone(), *n)).collect();
        assert_eq!(dependency(&back), None);
    }

    #[test]
    fn one_common_value_is_no_dependency() {
        assert_eq!(dependency(&counts(&[("a", "x", 990), ("b", "x", 990), ("b", "y", 10)])), None);
        assert_eq!(dependency(&counts(&[("a", "x", 500), ("b", "x", 500)])), None);
        assert_eq!(dependency(&[]), None);
    }

    #[test]
    fn few_rows_say_nothing() {
        assert_eq!(dependency(&counts(&[("a", "x", 9), ("b", "y", 9)])), None);
        let rows = counts(&[("a", "x", 50), ("b", "y", 50), ("c", "x", 2)]);
        let found = dependency(&rows).unwrap();
        assert_eq!(found.pairs.len(), 2);
        assert!(found.is_mutual);
    }
}
