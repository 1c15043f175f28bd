//! What is known about one object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::kind::{Kind, Naming};
use super::meaning::canonical;

pub type Facets = BTreeMap<String, Value>;
pub type Hash = [u8; 32];

/// What tells objects apart: never an OID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub schema: String,
    pub relation: String,
    pub name: String,
}

impl Key {
    /// SHA-256 of the key alone.
    pub fn hash(&self) -> Hash {
        self.hasher().finalize().into()
    }

    fn hasher(&self) -> Sha256 {
        let mut hash = Sha256::new();
        for part in [self.kind.as_str(), &self.schema, &self.relation, &self.name] {
            add(&mut hash, part);
        }
        hash
    }

    /// What a person calls the object.
    pub fn object(&self) -> String {
        match self.kind.naming() {
            Naming::Relation => self.relation.clone(),
            Naming::OfRelation => format!("{}.{}", self.relation, self.name),
            Naming::InSchema => label(&self.schema, &self.name),
            Naming::WithSignature => format!("{}.{}", quoted(&self.schema), self.name),
            Naming::About if !self.relation.is_empty() => format!("{} ({})", self.name, self.relation),
            Naming::About if !self.schema.is_empty() => format!("{} ({})", self.name, quoted(&self.schema)),
            Naming::About | Naming::Alone => self.name.clone(),
        }
    }
}

/// An object as it was read: its properties still as JSON text, so that a hundred thousand of them are hashed and
/// compared without being taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFact {
    pub key: Key,
    /// The extension that it belongs to.
    pub extension: Option<String>,
    /// An object of properties that are compared as they stand.
    pub facets: String,
    /// An object of properties that are SQL as the server prints it, and are compared by meaning.
    pub definitions: Option<String>,
    /// An object of properties that could not be read, and why.
    pub unknown: Option<String>,
}

impl RawFact {
    /// SHA-256 of the key and all properties, each preceded by its length.
    /// Errors: JSON that is none.
    pub fn hash(&self) -> serde_json::Result<Hash> {
        let mut hash = self.key.hasher();
        add(&mut hash, self.extension.as_deref().unwrap_or_default());
        add(&mut hash, &self.facets);
        for (name, definition) in object(self.definitions.as_deref())? {
            if let Value::String(sql) = definition {
                add(&mut hash, &name);
                add(&mut hash, &canonical(&sql));
            }
        }
        add(&mut hash, self.unknown.as_deref().unwrap_or_default());
        Ok(hash.finalize().into())
    }

    /// Whether the object was dropped while it was read: the server's own functions answer NULL then.
    pub fn is_gone(&self) -> bool {
        let is_null = |facet: &str| {
            let definitions = self.definitions.as_deref();
            definitions.is_none_or(|json| json.contains(&format!("\"{facet}\" : null")))
        };
        self.unknown.is_none()
            && match self.key.kind {
                Kind::Function | Kind::Procedure | Kind::Aggregate => is_null("arguments"),
                Kind::View | Kind::MaterializedView | Kind::Rule | Kind::Trigger => is_null("definition"),
                Kind::Index | Kind::Statistics => is_null("definition"),
                Kind::Constraint => {
                    let is_key = ["{\"type\": \"p\"", "{\"type\": \"u\""]
                        .iter()
                        .any(|key| self.facets.starts_with(key));
                    self.definitions.is_none() && !is_key
                }
                _ => false,
            }
    }

    /// Errors: JSON that is none.
    pub fn parse(self) -> serde_json::Result<Fact> {
        let mut facets: Facets = serde_json::from_str(&self.facets)?;
        let definitions = object(self.definitions.as_deref())?;
        let sql = definitions.keys().cloned().collect();
        facets.extend(definitions);
        if let Some(definition) = key_definition(self.key.kind, &facets) {
            facets.insert("definition".into(), definition.into());
        }
        if let Some(extension) = &self.extension {
            facets.insert("extension".into(), extension.as_str().into());
        }
        let unknown = object(self.unknown.as_deref())?;
        Ok(Fact {
            key: self.key,
            extension: self.extension,
            facets,
            sql,
            unknown: unknown.into_iter().collect(),
        })
    }
}

/// The words that are names only in quotes.
const RESERVED: [&str; 78] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

fn identifier(name: &str) -> String {
    if RESERVED.contains(&name) { format!("\"{name}\"") } else { quoted(name) }
}

/// Keys of plain columns are read without the text that defines them.
fn key_definition(kind: Kind, facets: &Facets) -> Option<String> {
    let text = |facet: &str| facets.get(facet).and_then(Value::as_str);
    if kind != Kind::Constraint || text("definition").is_some() {
        return None;
    }
    let key = match text("type") {
        Some("p") => "PRIMARY KEY",
        Some("u") => "UNIQUE",
        _ => return None,
    };
    let columns = facets.get("columns")?.as_array()?.iter().filter_map(Value::as_str).map(identifier);
    Some(format!("{key} ({})", columns.collect::<Vec<_>>().join(", ")))
}

fn add(hash: &mut Sha256, part: &str) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part.as_bytes());
}

fn object(json: Option<&str>) -> serde_json::Result<Map<String, Value>> {
    json.map_or_else(|| Ok(Map::new()), serde_json::from_str)
}

/// One object: what it is called, and everything known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub key: Key,
    pub extension: Option<String>,
    pub facets: Facets,
    /// Which of the facets are SQL as the server prints it.
    pub sql: Vec<String>,
    /// Which properties could not be read, and why.
    pub unknown: Facets,
}

impl Fact {
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// The table or other relation that it belongs to, as `label` writes it.
    pub fn relation(&self) -> &str {
        &self.key.relation
    }

    pub fn name(&self) -> &str {
        &self.key.name
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
}

/// `schema.table` for people and for comparing: quoted where folding, dots or blanks ask for it. Unlike the
/// server's own quoting it does not depend on the key words of a version.
pub fn label(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

fn quoted(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Whether a name means the same with quotes and without, but for key words.
pub(super) fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(facets: &str, definitions: Option<&str>) -> RawFact {
        let key = Key { kind: Kind::Column, schema: "s".into(), relation: "s.t".into(), name: "a".into() };
        RawFact {
            key,
            extension: None,
            facets: facets.into(),
            definitions: definitions.map(Into::into),
            unknown: None,
        }
    }

    #[test]
    fn the_hash_is_of_facets_as_they_stand_and_of_definitions_by_meaning() {
        let hash = |facets, definitions| raw(facets, definitions).hash().unwrap();
        assert_ne!(hash("{}", None), hash(r#"{"a" : 1}"#, None));
        assert_eq!(hash("{}", Some(r#"{"d" : "\"a\" + 1"}"#)), hash("{}", Some(r#"{"d" : "a  + 1"}"#)));
        assert_ne!(hash("{}", Some(r#"{"d" : "a"}"#)), hash("{}", Some(r#"{"e" : "a"}"#)));
        assert_eq!(hash("{}", Some(r#"{"d" : null}"#)), hash("{}", None));
        let mut unknown = raw("{}", None);
        unknown.unknown = Some(r#"{"d" : "locked"}"#.into());
        assert_ne!(unknown.hash().unwrap(), hash("{}", None));
    }

    #[test]
    fn a_label_is_quoted_by_its_letters_and_not_by_a_versions_key_words() {
        assert_eq!(label("public", "json"), "public.json");
        assert_eq!(label("My \"s", "a.b"), "\"My \"\"s\".\"a.b\"");
    }

    #[test]
    fn what_the_server_no_longer_describes_is_gone() {
        let is_gone = |kind, facets: &str, definitions: Option<&str>| {
            let mut fact = raw(facets, definitions);
            fact.key.kind = kind;
            fact.is_gone()
        };
        assert!(is_gone(Kind::View, "{}", Some(r#"{"definition" : null}"#)));
        assert!(!is_gone(Kind::View, "{}", Some(r#"{"definition" : "SELECT 1"}"#)));
        assert!(is_gone(Kind::Function, "{}", Some(r#"{"arguments" : null, "body" : null}"#)));
        assert!(!is_gone(Kind::Function, "{}", Some(r#"{"arguments" : "", "body" : null}"#)));
        assert!(is_gone(Kind::Constraint, r#"{"type": "c", "validated": true}"#, None));
        assert!(!is_gone(Kind::Constraint, r#"{"type": "p", "columns": ["a"]}"#, None));
        assert!(!is_gone(Kind::Column, "{}", None));
    }

    #[test]
    fn a_plain_key_is_defined_by_its_columns() {
        let mut key = raw(r#"{"type": "u", "columns": ["a", "B", "from"]}"#, None);
        key.key.kind = Kind::Constraint;
        assert_eq!(key.parse().unwrap().text("definition"), Some("UNIQUE (a, \"B\", \"from\")"));
    }

    #[test]
    fn every_kind_has_its_way_of_being_called() {
        let called = |kind, relation: &str, name: &str| {
            Key { kind, schema: "s".into(), relation: relation.into(), name: name.into() }.object()
        };
        assert_eq!(called(Kind::Table, "s.\"T\"", "T"), "s.\"T\"");
        assert_eq!(called(Kind::Column, "s.t", "a"), "s.t.a");
        assert_eq!(called(Kind::Function, "", "f(integer)"), "s.f(integer)");
        assert_eq!(called(Kind::Enum, "", "Mood"), "s.\"Mood\"");
        assert_eq!(called(Kind::PublishedTable, "s.t", "p"), "p (s.t)");
        assert_eq!(called(Kind::Extension, "", "hstore"), "hstore");
        let names = Kind::ALL.iter().map(|kind| Kind::find(kind.as_str()));
        assert!(names.zip(Kind::ALL).all(|(found, kind)| found == Some(*kind)));
    }
}
