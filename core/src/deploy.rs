//! In which order tables are deployed, and what stands for all that was.

use sha2::{Digest, Sha256};

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

    #[test]
    fn one_digest_stands_for_itself_and_several_for_their_order() {
        let name = |name: &str| name.to_owned();
        assert_eq!(combined(&[name("a")]), "a");
        assert_ne!(combined(&[name("a"), name("b")]), combined(&[name("b"), name("a")]));
        assert_eq!(combined(&[name("a"), name("b")]).len(), 64);
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
