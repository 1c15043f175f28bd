//! The root of a Merkle tree over a schema.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::fact::Hash;
use crate::hex;

/// Objects are rolled up per schema, schemas to one root. The order in which they come does not matter; 32 bytes
/// are held for each.
#[derive(Debug, Default)]
pub struct Fingerprint {
    schemas: BTreeMap<String, Vec<Hash>>,
}

impl Fingerprint {
    /// Objects that stand in no schema are those of the schema "".
    pub fn add(&mut self, schema: &str, object: Hash) {
        match self.schemas.get_mut(schema) {
            Some(objects) => objects.push(object),
            None => {
                self.schemas.insert(schema.to_owned(), vec![object]);
            }
        }
    }

    /// SHA-256 in hex.
    pub fn root(self) -> String {
        let mut root = Sha256::new();
        for (schema, mut objects) in self.schemas {
            // The hash of an object covers its name, so this order is one of the schema and of nothing else.
            objects.sort_unstable();
            let mut node = Sha256::new();
            objects.iter().for_each(|hash| node.update(hash));
            root.update(Sha256::digest(schema));
            root.update(node.finalize());
        }
        hex(&root.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(objects: &[(&str, u8)]) -> String {
        let mut fingerprint = Fingerprint::default();
        objects.iter().for_each(|(schema, byte)| fingerprint.add(schema, [*byte; 32]));
        fingerprint.root()
    }

    #[test]
    fn it_ignores_order_and_nothing_else() {
        let both = root(&[("s", 1), ("s", 2)]);
        assert_eq!(both.len(), 64);
        assert_eq!(both, root(&[("s", 2), ("s", 1)]));
        for other in [
            vec![("s", 1)],
            vec![("s", 1), ("s", 3)],
            vec![("s", 1), ("t", 2)],
            vec![("s", 1), ("s", 2), ("s", 2)],
        ] {
            assert_ne!(both, root(&other), "{other:?}");
        }
    }
}
