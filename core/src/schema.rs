//! A schema as facts: comparing two of them, and hashing one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The kinds of object that are looked at. What is not in this list is not compared, and every result that
/// says "valid" says so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Table,
    Column,
    Constraint,
    Index,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Table, Kind::Column, Kind::Constraint, Kind::Index];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Table => "table",
            Kind::Column => "column",
            Kind::Constraint => "constraint",
            Kind::Index => "index",
        }
    }
}

pub type Facets = BTreeMap<String, Value>;

/// One object: what it is called (never by OID), the table it belongs to, and everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub kind: Kind,
    pub schema: String,
    /// The table, as `label` writes it.
    pub table: String,
    /// The object's own name in its table; a table's is its own.
    pub name: String,
    pub facets: Facets,
}

/// Kind, table and name.
type Key = (Kind, String, String);

impl Fact {
    fn key(&self) -> Key {
        (self.kind, self.table.clone(), self.name.clone())
    }

    /// What a person calls it.
    pub fn object(&self) -> String {
        match self.kind {
            Kind::Table => self.table.clone(),
            _ => format!("{}.{}", self.table, self.name),
        }
    }

    pub fn text(&self, facet: &str) -> Option<&str> {
        self.facets.get(facet).and_then(Value::as_str)
    }

    pub fn flag(&self, facet: &str) -> bool {
        self.facets.get(facet).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn list(&self, facet: &str) -> Vec<&str> {
        let values = self.facets.get(facet).and_then(Value::as_array);
        values.map(|values| values.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    fn hash(&self) -> [u8; 32] {
        let facets: Vec<(&String, String)> =
            self.facets.iter().map(|(name, value)| (name, value.to_string())).collect();
        let text = serde_json::json!([self.kind, self.table, self.name, facets]).to_string();
        Sha256::digest(text).into()
    }
}

/// `schema.table` for people and for comparing: quoted where folding, dots or blanks ask for it. Unlike the
/// server's own quoting it does not depend on the key words of a version.
pub fn label(schema: &str, table: &str) -> String {
    let plain = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
            && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    };
    let quoted = |name: &str| {
        if plain(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
    };
    format!("{}.{}", quoted(schema), quoted(table))
}

/// The part of a schema that a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    Objects,
    Columns,
    DataTypes,
    Constraints,
    Indexes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Missing,
    Unexpected,
    Changed,
}

/// One object that is not as expected. Of a changed object, only the facets that differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub aspect: Aspect,
    pub kind: Kind,
    pub object: String,
    pub change: Change,
    pub expected: Option<Facets>,
    pub actual: Option<Facets>,
}

/// What `actual` lacks, has beyond, or has otherwise than `expected`, in the order of kinds and names.
pub fn differences(expected: &[Fact], actual: &[Fact]) -> Vec<Difference> {
    let index = |facts: &[Fact]| -> BTreeMap<Key, Fact> {
        facts.iter().map(|fact| (fact.key(), fact.clone())).collect()
    };
    let (expected, actual) = (index(expected), index(actual));
    let mut found = Vec::new();
    for (key, wanted) in &expected {
        match actual.get(key) {
            None => found.push(whole(wanted, Change::Missing)),
            Some(present) => found.extend(changes(wanted, present)),
        }
    }
    found.extend(
        actual
            .iter()
            .filter(|(key, _)| !expected.contains_key(*key))
            .map(|(_, fact)| whole(fact, Change::Unexpected)),
    );
    found.sort_by(|a, b| (a.kind, &a.object, a.aspect).cmp(&(b.kind, &b.object, b.aspect)));
    found
}

fn whole(fact: &Fact, change: Change) -> Difference {
    let facets = Some(fact.facets.clone());
    let (expected, actual) = if change == Change::Missing { (facets, None) } else { (None, facets) };
    Difference {
        aspect: aspect(fact.kind, ""),
        kind: fact.kind,
        object: fact.object(),
        change,
        expected,
        actual,
    }
}

/// One difference per aspect, so that a column whose type and default changed shows up under both.
fn changes(expected: &Fact, actual: &Fact) -> Vec<Difference> {
    let mut by_aspect: BTreeMap<Aspect, (Facets, Facets)> = BTreeMap::new();
    let names = expected.facets.keys().chain(actual.facets.keys());
    for name in names {
        let (wanted, present) = (expected.facets.get(name), actual.facets.get(name));
        if wanted == present {
            continue;
        }
        let (left, right) = by_aspect.entry(aspect(expected.kind, name)).or_default();
        left.insert(name.clone(), wanted.cloned().unwrap_or(Value::Null));
        right.insert(name.clone(), present.cloned().unwrap_or(Value::Null));
    }
    by_aspect
        .into_iter()
        .map(|(aspect, (left, right))| Difference {
            aspect,
            kind: expected.kind,
            object: expected.object(),
            change: Change::Changed,
            expected: Some(left),
            actual: Some(right),
        })
        .collect()
}

fn aspect(kind: Kind, facet: &str) -> Aspect {
    match (kind, facet) {
        (Kind::Table, _) => Aspect::Objects,
        (Kind::Constraint, _) | (Kind::Column, "not_null") => Aspect::Constraints,
        (Kind::Index, _) => Aspect::Indexes,
        (Kind::Column, "type" | "type_kind" | "type_definition" | "labels" | "collation") => {
            Aspect::DataTypes
        }
        (Kind::Column, _) => Aspect::Columns,
    }
}

/// SHA-256, in hex, of all facts: each object hashed, objects rolled up per schema, schemas to one root.
/// The order in which the facts came does not matter.
pub fn fingerprint(facts: &[Fact]) -> String {
    let mut schemas: BTreeMap<&str, BTreeMap<Key, [u8; 32]>> = BTreeMap::new();
    for fact in facts {
        schemas.entry(&fact.schema).or_default().insert(fact.key(), fact.hash());
    }
    let mut root = Sha256::new();
    for (schema, objects) in schemas {
        let mut node = Sha256::new();
        objects.values().for_each(|hash| node.update(hash));
        root.update(Sha256::digest(schema));
        root.update(node.finalize());
    }
    root.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn column(name: &str, facets: Value) -> Fact {
        let facets = facets.as_object().unwrap().clone().into_iter().collect();
        Fact { kind: Kind::Column, schema: "s".into(), table: "s.t".into(), name: name.into(), facets }
    }

    #[test]
    fn the_fingerprint_ignores_order_and_nothing_else() {
        let a = column("a", json!({"type": "text", "position": 1}));
        let b = column("b", json!({"position": 2, "type": "text"}));
        let both = fingerprint(&[a.clone(), b.clone()]);
        assert_eq!(both, fingerprint(&[b.clone(), a.clone()]));
        assert_eq!(both.len(), 64);
        let mut changed = b;
        changed.facets.insert("position".into(), json!(3));
        assert_ne!(both, fingerprint(&[a.clone(), changed]));
        assert_ne!(both, fingerprint(&[a]));
    }

    #[test]
    fn a_type_and_a_null_constraint_are_different_aspects_of_one_column() {
        let expected = column("a", json!({"type": "text", "not_null": true, "default": null}));
        let actual = column("a", json!({"type": "integer", "not_null": false, "default": null}));
        let found = differences(&[expected], &[actual]);
        assert_eq!(
            found.iter().map(|d| d.aspect).collect::<Vec<_>>(),
            [Aspect::DataTypes, Aspect::Constraints]
        );
        assert_eq!(found[0].expected, Some([("type".to_owned(), json!("text"))].into()));
        assert_eq!(found[0].actual, Some([("type".to_owned(), json!("integer"))].into()));
    }

    #[test]
    fn a_label_is_quoted_by_its_letters_and_not_by_a_versions_key_words() {
        assert_eq!(label("public", "json"), "public.json");
        assert_eq!(label("My \"s", "a.b"), "\"My \"\"s\".\"a.b\"");
    }

    #[test]
    fn missing_and_unexpected_are_told_apart() {
        let (a, b) = (column("a", json!({})), column("b", json!({})));
        let found = differences(std::slice::from_ref(&a), std::slice::from_ref(&b));
        assert_eq!(
            found.iter().map(|d| (d.object.as_str(), d.change)).collect::<Vec<_>>(),
            [("s.t.a", Change::Missing), ("s.t.b", Change::Unexpected)]
        );
        assert!(differences(std::slice::from_ref(&a), std::slice::from_ref(&a)).is_empty());
    }
}
