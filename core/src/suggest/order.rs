//! Which of two times comes first.

/// What a comparison of two columns, row by row, found.
#[derive(Debug, Clone, Copy)]
pub struct Hint {
    /// Rows with both.
    pub both: i64,
    /// Rows in which the first is not after the second.
    pub ascending: i64,
    /// Rows in which the second is not after the first.
    pub descending: i64,
    /// Whether one column's times are all before the other's: then any two rows would be in order.
    pub is_apart: bool,
}

const EARLY: [&str; 18] = [
    "created",
    "start",
    "started",
    "begin",
    "began",
    "opened",
    "ordered",
    "birth",
    "born",
    "first",
    "from",
    "occurred",
    "since",
    "issued",
    "departure",
    "requested",
    "registered",
    "inserted",
];
const LATE: [&str; 20] = [
    "updated",
    "end",
    "ended",
    "finished",
    "closed",
    "shipped",
    "delivered",
    "deleted",
    "modified",
    "expires",
    "expired",
    "until",
    "to",
    "last",
    "completed",
    "arrival",
    "processed",
    "paid",
    "resolved",
    "received",
];

/// The direction in which two times are in order: true for first before second. None if they are in none, or if nothing
/// but chance speaks for one: times that lie apart, and names that say nothing.
pub fn direction(first: &str, second: &str, hint: Hint) -> Option<bool> {
    let rank = |name: &str| {
        let words = super::words(name);
        let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        i32::from(has(&LATE)) - i32::from(has(&EARLY))
    };
    let by_name = rank(second).cmp(&rank(first));
    let by_rows = hint.ascending.cmp(&hint.descending);
    let named = match by_name {
        std::cmp::Ordering::Equal => None,
        other => Some(other.is_gt()),
    };
    match by_rows {
        // The same time in both columns of every row.
        std::cmp::Ordering::Equal => named,
        _ if hint.is_apart => named.filter(|ascending| *ascending == by_rows.is_gt()),
        _ => Some(by_rows.is_gt()),
    }
}

/// Of pairs in order those that do not follow from the others.
pub fn without_implied(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let implied = |&(first, last): &(usize, usize)| {
        pairs.iter().any(|&(from, middle)| from == first && middle != last && pairs.contains(&(middle, last)))
    };
    pairs.iter().filter(|pair| !implied(pair)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_decide_unless_the_times_lie_apart() {
        let hint = Hint { both: 100, ascending: 99, descending: 3, is_apart: false };
        assert_eq!(direction("a", "b", hint), Some(true));
        let hint = Hint { ascending: 3, descending: 99, ..hint };
        assert_eq!(direction("a", "b", hint), Some(false));
        assert_eq!(
            direction("born_at", "seen_at", Hint { is_apart: true, ascending: 100, ..hint }),
            Some(true)
        );
        assert_eq!(direction("a", "b", Hint { is_apart: true, ..hint }), None);
        assert_eq!(direction("updated_at", "created_at", Hint { is_apart: true, ..hint }), Some(false));
        assert_eq!(direction("created_at", "updated_at", Hint { is_apart: true, ..hint }), None);
    }

    #[test]
    fn the_same_times_are_in_the_order_of_their_names() {
        let hint = Hint { both: 100, ascending: 100, descending: 100, is_apart: false };
        assert_eq!(direction("created_at", "updated_at", hint), Some(true));
        assert_eq!(direction("updated_at", "created_at", hint), Some(false));
        assert_eq!(direction("a", "b", hint), None);
    }

    #[test]
    fn what_follows_is_left_out() {
        assert_eq!(without_implied(&[(0, 1), (1, 2), (0, 2)]), [(0, 1), (1, 2)]);
        assert_eq!(without_implied(&[(0, 1), (0, 2)]), [(0, 1), (0, 2)]);
    }
}
