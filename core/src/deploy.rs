//! What a deployment needs to be sure of: that the rows there are the rows here, and in which order tables go.

use sha2::{Digest, Sha256};

/// A digest of a set of rows that does not depend on their order: the number of rows and, over the SHA-256 of
/// each row's text, the sums of the first and the second eight bytes as signed integers. Sums, unlike XOR,
/// do not cancel a pair of equal rows. The same sums are easily computed in SQL.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RowDigest {
    pub rows: i64,
    first: i128,
    second: i128,
}

impl RowDigest {
    pub fn add(&mut self, row: &str) {
        let hash: [u8; 32] = Sha256::digest(row).into();
        let word = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash[from..from + 8]);
            i128::from(i64::from_be_bytes(bytes))
        };
        self.rows += 1;
        self.first += word(0);
        self.second += word(8);
    }

    /// The digest that another server computed; `None` if its numbers are none.
    pub fn from_sums(rows: &str, first: &str, second: &str) -> Option<Self> {
        Some(Self { rows: rows.parse().ok()?, first: first.parse().ok()?, second: second.parse().ok()? })
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        let hash = Sha256::digest(format!("{}:{}:{}", self.rows, self.first, self.second));
        crate::hex(&hash)
    }
}

/// One digest of several.
pub fn combined(digests: &[String]) -> String {
    match digests {
        [single] => single.clone(),
        several => {
            let hash = Sha256::digest(several.join("\n"));
            crate::hex(&hash)
        }
    }
}

/// Orders tables so that each comes after those it references. `references` are pairs (table, referenced);
/// references to itself or outside the list do not matter. On a cycle, the tables in it.
pub fn in_reference_order(
    tables: &[String],
    references: &[(String, String)],
) -> Result<Vec<String>, Vec<String>> {
    let mut waiting: Vec<String> = tables.to_vec();
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let (blocked, ready): (Vec<String>, Vec<String>) = waiting.iter().cloned().partition(|table| {
            references.iter().any(|(from, to)| from == table && to != table && waiting.contains(to))
        });
        if ready.is_empty() {
            return Err(blocked);
        }
        ordered.extend(ready);
        waiting = blocked;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&str]) -> RowDigest {
        let mut digest = RowDigest::default();
        rows.iter().for_each(|row| digest.add(row));
        digest
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        assert_eq!(digest(&["a", "b", "b"]), digest(&["b", "a", "b"]));
        assert_ne!(digest(&["a", "b", "b"]).hex(), digest(&["a", "a", "b"]).hex());
        assert_ne!(digest(&["a", "b", "b"]).hex(), digest(&["a"]).hex());
        assert_ne!(digest(&[]).hex(), digest(&[""]).hex());
        assert_eq!(digest(&["a"]).hex().len(), 64);
    }

    #[test]
    fn sums_from_elsewhere_are_the_same_digest() {
        let here = digest(&["a", "b"]);
        let there = RowDigest::from_sums("2", &here.first.to_string(), &here.second.to_string());
        assert_eq!(there, Some(here));
        assert_eq!(RowDigest::from_sums("2", "x", "0"), None);
    }

    #[test]
    fn parents_go_first() {
        let name = |name: &str| name.to_owned();
        let tables = [name("c"), name("b"), name("a")];
        let references =
            [(name("c"), name("b")), (name("b"), name("a")), (name("b"), name("b")), (name("a"), name("z"))];
        assert_eq!(in_reference_order(&tables, &references), Ok(vec![name("a"), name("b"), name("c")]));
        let cycle = [(name("a"), name("b")), (name("b"), name("a"))];
        assert_eq!(in_reference_order(&tables, &cycle), Err(vec![name("b"), name("a")]));
    }
}
