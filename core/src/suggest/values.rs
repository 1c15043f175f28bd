//! Columns that take few values.

use super::Count;

/// More values than that are no list that a person keeps.
pub const MAX_VALUES: usize = 20;

/// The values of a column that takes few, sorted. `values`: its most common ones, most common first, `distinct` of them
/// in all, `present` rows. Values that are seen in less than one of 2,000 rows, or only once, are taken for mistakes, if
/// all of them are not more than one row in a hundred. None if the column is not of that kind, or if its values are
/// lists themselves.
#[allow(clippy::cast_precision_loss)]
pub fn accepted(values: &[Count], distinct: i64, present: i64) -> Option<Vec<String>> {
    let often = 2.max((present + 1999) / 2000);
    let kept: Vec<&Count> = values.iter().take_while(|(_, rows)| *rows >= often).collect();
    let covered: i64 = kept.iter().map(|(_, rows)| rows).sum();
    let is_few = !kept.is_empty() && kept.len() <= MAX_VALUES && distinct * 10 <= present;
    // Of free text beneath one common value the rest would be many values, and no mistakes.
    let rest_is_small =
        (present - covered) * 100 <= present && distinct - kept.len() as i64 <= MAX_VALUES as i64;
    let lists = kept.iter().filter(|(value, _)| value.contains([',', ';', '|'])).count();
    (is_few && rest_is_small && lists * 2 <= kept.len()).then(|| {
        let mut values: Vec<String> = kept.into_iter().map(|(value, _)| value.clone()).collect();
        values.sort();
        values
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[(&str, i64)]) -> Vec<Count> {
        values.iter().map(|(value, rows)| ((*value).to_owned(), *rows)).collect()
    }

    #[test]
    fn few_common_values_are_a_list_and_a_rare_one_is_a_mistake() {
        let values = counts(&[("paid", 600), ("open", 399), ("piad", 1)]);
        assert_eq!(accepted(&values, 3, 1000).unwrap(), ["open", "paid"]);
        let values = counts(&[("paid", 6000), ("open", 3996), ("piad", 4)]);
        assert_eq!(accepted(&values, 3, 10_000).unwrap(), ["open", "paid"]);
    }

    #[test]
    fn free_text_and_keys_are_no_list() {
        assert_eq!(accepted(&counts(&[("ok", 960), ("a", 20), ("b", 1), ("c", 1)]), 22, 1000), None);
        assert_eq!(accepted(&counts(&[("a", 4), ("b", 4)]), 8, 32), None);
        let many: Vec<Count> = (0..21).map(|number| (number.to_string(), 100)).collect();
        assert_eq!(accepted(&many, 21, 2100), None);
        assert_eq!(accepted(&counts(&[("a,b", 400), ("a", 300), ("b,c", 300)]), 3, 1000), None);
        assert_eq!(accepted(&[], 0, 0), None);
    }
}
