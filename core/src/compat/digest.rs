//! Finding the rows that differ by digests of groups of rows.
//!
//! Rows are put into buckets by a hash of their key: on both servers a row is in the same bucket, whatever their
//! collations, and gaps between keys do not matter. Of each bucket the number of rows and the sum of the rows' 64-bit
//! hashes are compared. A sum, unlike an exclusive or, does not lose rows that are there twice.

use std::collections::BTreeMap;

/// What is known of the rows of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    pub rows: i64,
    /// The hashes are added up as integers without a limit, so the sum's 128 bits say as much as there is to say.
    pub sum: i128,
}

impl Digest {
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Without what was added before.
    pub fn subtract(&mut self, other: Self) {
        self.rows -= other.rows;
        self.sum = self.sum.wrapping_sub(other.sum);
    }

    /// 48 hexadecimal digits: the number of rows and the sum.
    pub fn hex(&self) -> String {
        format!("{:016x}{:032x}", self.rows, self.sum)
    }
}

/// The buckets of one side, by number; an empty one is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buckets(BTreeMap<i64, Digest>);

impl Buckets {
    /// Adds what one of several scans found in a bucket.
    pub fn add(&mut self, bucket: i64, digest: Digest) {
        self.0.entry(bucket).or_default().add(digest);
    }

    pub fn total(&self) -> Digest {
        self.0.values().fold(Digest::default(), |mut total, digest| {
            total.add(*digest);
            total
        })
    }

    /// What is in all the others.
    pub fn without(&self, buckets: &[i64]) -> Digest {
        let mut total = self.total();
        for bucket in buckets {
            total.subtract(self.get(*bucket));
        }
        total
    }

    fn get(&self, bucket: i64) -> Digest {
        self.0.get(&bucket).copied().unwrap_or_default()
    }

    /// The buckets that are not the same, and how many rows they have on the side where they have more.
    pub fn differing(&self, other: &Self) -> (Vec<i64>, i64) {
        let numbers: std::collections::BTreeSet<i64> = self.0.keys().chain(other.0.keys()).copied().collect();
        let differing: Vec<i64> =
            numbers.into_iter().filter(|bucket| self.get(*bucket) != other.get(*bucket)).collect();
        let rows = differing.iter().map(|bucket| self.get(*bucket).rows.max(other.get(*bucket).rows)).sum();
        (differing, rows)
    }
}

/// Which buckets differ, of how many, and what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspects {
    /// A power of two.
    pub of: i64,
    pub buckets: Vec<i64>,
    pub rows: i64,
}

/// Rows of a bucket, if they are spread evenly: what is sent of them is about as much as the digests of all buckets.
const ROWS_PER_BUCKET: i64 = 512;
const FEWEST_BUCKETS: i64 = 16;
const MOST_BUCKETS: i64 = 1 << 16;
/// A second look has at most so many.
const MOST_FINER_BUCKETS: i64 = 1 << 17;
/// Fewer rows than these are fetched at once.
const FEW_ROWS: i64 = 100_000;
/// Bytes that a digest of a bucket and the key and hash of a row take on their way.
const DIGEST_BYTES: i64 = 40;
const KEY_BYTES: i64 = 40;

/// How many buckets a table of about so many rows is divided into.
pub fn buckets_for(rows: i64) -> i64 {
    power_of_two((rows / ROWS_PER_BUCKET).clamp(FEWEST_BUCKETS, MOST_BUCKETS))
}

fn power_of_two(at_least: i64) -> i64 {
    let mut power = 1;
    while power < at_least {
        power *= 2;
    }
    power
}

impl Suspects {
    /// Into how many buckets the rows of these buckets should be divided once more before any are fetched, if that moves
    /// less: at most half.
    pub fn finer(&self) -> Option<i64> {
        if self.rows <= FEW_ROWS {
            return None;
        }
        let differences = self.estimate()?;
        let buckets = power_of_two(differences.saturating_mul(4).max(self.of * 4));
        if buckets > MOST_FINER_BUCKETS {
            return None;
        }
        let share = |part: i64, whole: i64| (part as f64 / whole.max(1) as f64).min(1.0);
        let digests = buckets as f64 * share(self.buckets.len() as i64, self.of) * DIGEST_BYTES as f64;
        let keys = self.rows as f64 * share(differences, buckets) * KEY_BYTES as f64;
        (2.0 * (digests + keys) < self.rows as f64 * KEY_BYTES as f64).then_some(buckets)
    }

    /// How many rows differ, if they fell into buckets by chance; none if nearly all buckets have some.
    fn estimate(&self) -> Option<i64> {
        let share = self.buckets.len() as f64 / self.of as f64;
        if share > 0.999 {
            return None;
        }
        Some((-(self.of as f64) * (1.0 - share).ln()).ceil() as i64)
    }

    /// Whether it is not worth telling which buckets they are.
    pub fn are_most(&self) -> bool {
        self.buckets.len() as i64 * 10 > self.of * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(digests: &[(i64, i64, i128)]) -> Buckets {
        let mut buckets = Buckets::default();
        for (bucket, rows, sum) in digests {
            buckets.add(*bucket, Digest { rows: *rows, sum: *sum });
        }
        buckets
    }

    #[test]
    fn buckets_differ_by_number_and_by_sum_and_where_one_is_empty() {
        let here = buckets(&[(0, 2, 10), (1, 2, 10), (2, 1, 5), (4, 7, 7)]);
        let there = buckets(&[(0, 2, 10), (1, 3, 10), (2, 1, 6), (3, 1, 0), (4, 3, 4), (4, 4, 3)]);
        assert_eq!(here.differing(&there), (vec![1, 2, 3], 3 + 1 + 1));
        assert_eq!(there.differing(&here), here.differing(&there));
        assert_eq!(here.total(), Digest { rows: 12, sum: 32 });
    }

    #[test]
    fn what_is_in_some_buckets_can_be_left_out() {
        let all = buckets(&[(0, 2, 10), (1, 3, -7), (9, 1, 5)]);
        assert_eq!(all.without(&[1, 4]), Digest { rows: 3, sum: 15 });
        assert_eq!(all.without(&[]), all.total());
    }

    #[test]
    fn two_rows_of_the_same_hash_are_not_none() {
        assert_ne!(buckets(&[(0, 2, 2 * 77)]), buckets(&[(0, 0, 0)]));
    }

    #[test]
    fn tables_are_divided_by_their_size() {
        assert_eq!(buckets_for(0), 16);
        assert_eq!(buckets_for(2_000_000), 4096);
        assert_eq!(buckets_for(10_000_000_000), 65_536);
    }

    #[test]
    fn a_second_look_is_taken_where_it_moves_less() {
        let suspects = |buckets: i64, rows| Suspects { of: 4096, buckets: (0..buckets).collect(), rows };
        assert_eq!(suspects(3, 1_500).finer(), None, "few rows");
        assert_eq!(suspects(4096, 2_000_000).finer(), None, "nobody knows how many differ");
        // One row of a hundred.
        assert_eq!(suspects(4065, 1_985_000).finer(), Some(131_072));
        assert_eq!(suspects(400, 20_000_000).finer(), Some(16_384));
    }

    #[test]
    fn a_digest_has_48_digits() {
        assert_eq!(Digest { rows: 255, sum: -1 }.hex(), format!("00000000000000ff{}", "f".repeat(32)));
    }
}
