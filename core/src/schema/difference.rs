//! What two schemas do not have in common.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Value, json};

use super::fact::{Facets, Fact, Hash, Key};
use super::hazard::{Hazard, hazard};
use super::kind::Kind;
use super::meaning::{canonical, essence};

/// The part of a schema that a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Aspect {
    Objects,
    Columns,
    DataTypes,
    Constraints,
    Indexes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Change {
    Missing,
    Unexpected,
    Changed,
    /// Whether it is the same could not be found out.
    Unknown,
}

/// One object that is not as expected, or not known to be. Of one that is there on both sides, only the facets that
/// differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub aspect: Aspect,
    pub kind: Kind,
    pub object: String,
    pub change: Change,
    pub expected: Option<Facets>,
    pub actual: Option<Facets>,
    pub hazard: Hazard,
}

/// What is expected, by hash: most objects are as they should be, and need no second look.
#[derive(Debug, Default)]
pub struct Expected {
    /// By half the hash of its key, which is enough, each object's own hash and its place.
    objects: HashMap<[u8; 16], (Hash, u32)>,
}

/// Which of the expected objects turned out to be as expected.
#[derive(Debug, Default)]
pub struct Confirmed(Vec<bool>);

impl Expected {
    pub fn add(&mut self, key: &Key, hash: Hash) {
        let place = self.objects.len() as u32;
        self.objects.entry(half(key)).or_insert((hash, place));
    }

    /// Whether an object is as expected, which is remembered.
    pub fn confirms(&self, key: &Key, hash: &Hash, confirmed: &mut Confirmed) -> bool {
        let Some((expected, place)) = self.objects.get(&half(key)) else { return false };
        if expected != hash {
            return false;
        }
        if confirmed.0.is_empty() {
            confirmed.0.resize(self.objects.len(), false);
        }
        confirmed.0[*place as usize] = true;
        true
    }

    /// The hashes of the objects that were otherwise, or not there.
    pub fn others(&self, confirmed: &Confirmed) -> Vec<Hash> {
        let is_confirmed = |place: u32| confirmed.0.get(place as usize).copied().unwrap_or(false);
        self.objects.values().filter(|(_, place)| !is_confirmed(*place)).map(|(hash, _)| *hash).collect()
    }
}

fn half(key: &Key) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key.hash()[..16]);
    half
}

/// Facts of one side, and the major version of the server that described them.
#[derive(Debug)]
pub struct Facts {
    pub facts: Vec<Fact>,
    pub major: i32,
}

/// What `actual` lacks, has beyond, or has otherwise than `expected`, in the order of kinds and names. Objects that
/// are the same on both sides may be left out of both, but for columns of one relation.
pub fn differences(expected: Facts, actual: Facts) -> Vec<Difference> {
    let is_same_major = expected.major == actual.major;
    let index = |facts: Vec<Fact>| -> BTreeMap<Key, Fact> {
        facts.into_iter().map(|fact| (fact.key.clone(), fact)).collect()
    };
    let (expected, mut actual) = (index(expected.facts), index(actual.facts));
    let others = other_extensions(&expected, &actual);
    let is_looked_at = |fact: &Fact| fact.extension.as_ref().is_none_or(|name| !others.contains(name));
    let mut found = Vec::new();
    for (key, wanted) in expected {
        let present = actual.remove(&key);
        if !is_looked_at(&wanted) || present.as_ref().is_some_and(|fact| !is_looked_at(fact)) {
            continue;
        }
        match present {
            None => found.push(whole(wanted, Change::Missing)),
            Some(present) => found.extend(changes(&wanted, &present, is_same_major)),
        }
    }
    let unexpected = actual.into_values().filter(is_looked_at);
    found.extend(unexpected.map(|fact| whole(fact, Change::Unexpected)));
    found.sort_by(|a, b| {
        (a.kind, &a.object, a.aspect, a.change).cmp(&(b.kind, &b.object, b.aspect, b.change))
    });
    found
}

/// The extensions that only one side has, or in another version. What belongs to them differs with them; that the
/// extension differs is what there is to say.
fn other_extensions(expected: &BTreeMap<Key, Fact>, actual: &BTreeMap<Key, Fact>) -> BTreeSet<String> {
    let version = |facts: &BTreeMap<Key, Fact>, key: &Key| {
        facts.get(key).map(|fact| fact.facets.get("version").cloned())
    };
    expected
        .keys()
        .chain(actual.keys())
        .filter(|key| key.kind == Kind::Extension && version(expected, key) != version(actual, key))
        .map(|key| key.name.clone())
        .collect()
}

fn whole(fact: Fact, change: Change) -> Difference {
    let aspect = aspect(fact.kind(), "");
    let (kind, object) = (fact.kind(), fact.key.object());
    let hazard = hazard(kind, change, &fact.facets, &fact.facets);
    let (expected, actual) =
        if change == Change::Missing { (Some(fact.facets), None) } else { (None, Some(fact.facets)) };
    Difference { aspect, kind, object, change, expected, actual, hazard }
}

/// One difference per aspect, so that a column whose type and default changed shows up under both.
fn changes(expected: &Fact, actual: &Fact, is_same_major: bool) -> Vec<Difference> {
    let mut found: BTreeMap<(Aspect, Change), (Facets, Facets)> = BTreeMap::new();
    let names: BTreeSet<&String> = [&expected.facets, &expected.unknown, &actual.facets, &actual.unknown]
        .iter()
        .flat_map(|f| f.keys())
        .collect();
    for name in names {
        let Some((change, wanted, present)) = facet(name, expected, actual, is_same_major) else { continue };
        let (left, right) = found.entry((aspect(expected.kind(), name), change)).or_default();
        left.insert(name.clone(), wanted);
        right.insert(name.clone(), present);
    }
    found
        .into_iter()
        .map(|((aspect, change), (left, right))| Difference {
            aspect,
            kind: expected.kind(),
            object: expected.key.object(),
            change,
            hazard: hazard(expected.kind(), change, &left, &right),
            expected: Some(left),
            actual: Some(right),
        })
        .collect()
}

/// How one facet differs, if it does, with what it is on both sides.
fn facet(name: &str, expected: &Fact, actual: &Fact, is_same_major: bool) -> Option<(Change, Value, Value)> {
    let value = |fact: &Fact| match fact.unknown.get(name) {
        Some(reason) => json!({ "unknown": reason }),
        None => fact.facets.get(name).cloned().unwrap_or_default(),
    };
    let (wanted, present) = (value(expected), value(actual));
    if expected.unknown.contains_key(name) || actual.unknown.contains_key(name) {
        return Some((Change::Unknown, wanted, present));
    }
    let is_order = name == "columns" && aspect(expected.kind(), name) == Aspect::Columns;
    if wanted == present || (is_order && same_order(&wanted, &present)) {
        return None;
    }
    let is_sql = expected.sql.iter().chain(&actual.sql).any(|sql| sql == name);
    if let (true, Value::String(left), Value::String(right)) = (is_sql, &wanted, &present) {
        if canonical(left) == canonical(right) {
            return None;
        }
        if !is_same_major && essence(left) == essence(right) {
            return Some((Change::Unknown, wanted, present));
        }
    }
    Some((Change::Changed, wanted, present))
}

/// Whether the columns that both sides have come in the same order: one that is missing or unexpected is a
/// difference of its own.
fn same_order(expected: &Value, actual: &Value) -> bool {
    let (Some(expected), Some(actual)) = (expected.as_array(), actual.as_array()) else { return false };
    let common = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter().filter(|name| other.contains(name)).cloned().collect()
    };
    common(expected, actual) == common(actual, expected)
}

fn aspect(kind: Kind, facet: &str) -> Aspect {
    match (kind, facet) {
        (Kind::Table | Kind::ForeignTable | Kind::View | Kind::MaterializedView, "columns") => {
            Aspect::Columns
        }
        (Kind::Constraint, _) => Aspect::Constraints,
        (Kind::Column, _) if facet.starts_with("not_null") => Aspect::Constraints,
        (Kind::Column, "type" | "collation") => Aspect::DataTypes,
        (Kind::Column, _) => Aspect::Columns,
        (Kind::Index, _) => Aspect::Indexes,
        (Kind::Enum | Kind::Domain | Kind::CompositeType | Kind::RangeType | Kind::BaseType, _) => {
            Aspect::DataTypes
        }
        _ => Aspect::Objects,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::RawFact;

    fn key(kind: Kind, name: &str) -> Key {
        Key { kind, schema: "s".into(), relation: "s.t".into(), name: name.into() }
    }

    fn fact(kind: Kind, name: &str, facets: Value) -> Fact {
        raw(kind, name, facets, None)
    }

    fn raw(kind: Kind, name: &str, facets: Value, definitions: Option<Value>) -> Fact {
        let raw = RawFact {
            key: key(kind, name),
            extension: None,
            facets: facets.to_string(),
            definitions: definitions.map(|value| value.to_string()),
            unknown: None,
        };
        raw.parse().unwrap()
    }

    fn compared(expected: &[Fact], actual: &[Fact], majors: (i32, i32)) -> Vec<Difference> {
        let facts = |facts: &[Fact], major| Facts { facts: facts.to_vec(), major };
        differences(facts(expected, majors.0), facts(actual, majors.1))
    }

    #[test]
    fn a_type_and_a_null_constraint_are_different_aspects_of_one_column() {
        let expected = fact(Kind::Column, "a", json!({"type": "text", "not_null": true, "default": null}));
        let actual = fact(Kind::Column, "a", json!({"type": "integer", "not_null": false, "default": null}));
        let found = compared(&[expected], &[actual], (15, 15));
        assert_eq!(
            found.iter().map(|d| d.aspect).collect::<Vec<_>>(),
            [Aspect::DataTypes, Aspect::Constraints]
        );
        assert_eq!(found[0].expected, Some([("type".to_owned(), json!("text"))].into()));
        assert_eq!(found[0].actual, Some([("type".to_owned(), json!("integer"))].into()));
    }

    #[test]
    fn missing_and_unexpected_are_told_apart() {
        let (a, b) = (fact(Kind::Column, "a", json!({})), fact(Kind::Column, "b", json!({})));
        let found = compared(std::slice::from_ref(&a), std::slice::from_ref(&b), (15, 15));
        assert_eq!(
            found.iter().map(|d| (d.object.as_str(), d.change)).collect::<Vec<_>>(),
            [("s.t.a", Change::Missing), ("s.t.b", Change::Unexpected)]
        );
        assert!(compared(std::slice::from_ref(&a), std::slice::from_ref(&a), (15, 15)).is_empty());
    }

    #[test]
    fn a_column_that_is_gone_does_not_move_the_others() {
        let table = |columns: Value| fact(Kind::Table, "t", json!({"columns": columns}));
        let order = |expected, actual| compared(&[table(expected)], &[table(actual)], (15, 15));
        assert!(order(json!(["a", "b", "c"]), json!(["a", "c", "x"])).is_empty());
        let moved = order(json!(["a", "b", "c"]), json!(["a", "c", "b"]));
        assert_eq!(moved[0].aspect, Aspect::Columns);
        assert_eq!(moved[0].hazard, Hazard::BreaksClients);
    }

    #[test]
    fn what_cannot_be_proven_between_majors_is_unknown() {
        let view = |sql: &str| raw(Kind::View, "v", json!({}), Some(json!({ "definition": sql })));
        let change = |a, b, majors| compared(&[view(a)], &[view(b)], majors).first().map(|d| d.change);
        assert_eq!(change("SELECT t.a FROM s.t", "SELECT a FROM s.t", (15, 18)), None);
        assert_eq!(change("SELECT a - b FROM s.t", "SELECT b - a FROM s.t", (15, 18)), Some(Change::Unknown));
        assert_eq!(change("SELECT a - b FROM s.t", "SELECT b - a FROM s.t", (15, 15)), Some(Change::Changed));
        assert_eq!(change("SELECT a FROM s.t", "SELECT b FROM s.t", (15, 18)), Some(Change::Changed));
    }

    #[test]
    fn what_was_not_visible_is_unknown_and_says_why() {
        let expected = fact(Kind::UserMapping, "m", json!({"options": ["user=x"]}));
        let mut actual = fact(Kind::UserMapping, "m", json!({"options": null}));
        actual.unknown.insert("options".into(), json!("not visible to role r"));
        let found = compared(&[expected], &[actual], (15, 15));
        assert_eq!((found[0].change, found[0].hazard), (Change::Unknown, Hazard::Unknown));
        assert_eq!(found[0].actual.as_ref().unwrap()["options"], json!({"unknown": "not visible to role r"}));
    }

    #[test]
    fn what_belongs_to_an_extension_counts_only_where_both_have_the_same_version() {
        let extension = |version: &str| fact(Kind::Extension, "e", json!({ "version": version }));
        let member = |cost: i32| {
            let mut function = fact(Kind::Function, "f()", json!({ "cost": cost }));
            function.extension = Some("e".into());
            function
        };
        let objects = |found: Vec<Difference>| found.into_iter().map(|d| d.kind).collect::<Vec<_>>();
        let upgraded = compared(&[extension("1"), member(1)], &[extension("2"), member(2)], (15, 15));
        assert_eq!(objects(upgraded), [Kind::Extension]);
        assert_eq!(objects(compared(&[extension("1"), member(1)], &[], (15, 15))), [Kind::Extension]);
        assert_eq!(objects(compared(&[member(1)], &[member(2)], (15, 15))), [Kind::Function]);
    }

    #[test]
    fn what_joins_or_leaves_an_extension_has_changed() {
        let function = |extension: Option<&str>| {
            let raw = RawFact {
                key: key(Kind::Function, "f()"),
                extension: extension.map(Into::into),
                facets: "{}".into(),
                definitions: None,
                unknown: None,
            };
            raw.parse().unwrap()
        };
        let found = compared(&[function(None)], &[function(Some("e"))], (15, 15));
        assert_eq!(found[0].actual, Some([("extension".to_owned(), json!("e"))].into()));
    }

    #[test]
    fn the_columns_of_a_key_or_an_index_are_not_those_of_a_table() {
        for kind in [Kind::Constraint, Kind::Index] {
            let of = |columns: Value| fact(kind, "x", json!({ "columns": columns }));
            assert_eq!(compared(&[of(json!(["a"]))], &[of(json!(["a", "b"]))], (15, 15)).len(), 1);
        }
    }

    #[test]
    fn what_is_as_expected_needs_no_second_look() {
        let mut expected = Expected::default();
        for (name, hash) in [("same", 1), ("other", 2), ("gone", 3)] {
            expected.add(&key(Kind::Column, name), [hash; 32]);
        }
        let mut confirmed = Confirmed::default();
        let mut confirms =
            |name, hash| expected.confirms(&key(Kind::Column, name), &[hash; 32], &mut confirmed);
        assert_eq!([confirms("same", 1), confirms("other", 9), confirms("new", 3)], [true, false, false]);
        let mut others: Vec<u8> = expected.others(&confirmed).into_iter().map(|hash| hash[0]).collect();
        others.sort();
        assert_eq!(others, [2, 3]);
    }
}
