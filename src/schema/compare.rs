//! Comparing two schemas, wherever each of them is.

use std::collections::HashMap;

use opdb_core::schema::{Confirmed, Difference, Expected, Fact, Facts, Hash, RawFact, differences};

use super::error::SchemaError;
use super::extract::{self, Scope, hashed, parsed};
use super::snapshot::{Printed, Snapshot, own_major};
use super::state::State;
use crate::pg::error::Result;
use crate::pg::remote::{self, Access, Remote};

/// Where a schema is found.
#[derive(Debug)]
pub enum Reference {
    /// This database as it is; its catalogs were in this state when it was asked for.
    Live(State),
    Captured(Snapshot),
    Environment(String),
}

impl Reference {
    /// `live`, `env:<environment>`, or the name of a captured schema.
    /// Errors: 42704 if nothing was captured under that name, 55000 if another opdb did.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "live" {
            return Ok(Self::Live(State::now()?));
        }
        match text.strip_prefix("env:") {
            Some(environment) => Ok(Self::Environment(environment.to_owned())),
            None => Ok(Self::Captured(Snapshot::find(text)?)),
        }
    }

    fn schemas(&self) -> Option<&Vec<String>> {
        match self {
            Self::Captured(snapshot) => snapshot.schemas.as_ref(),
            _ => None,
        }
    }

    /// Hands every object to `each`, with its hash; returns what was collected, and the major version of the server
    /// that described them.
    fn read<S: Default>(
        &self,
        scope: Scope,
        mut each: impl FnMut(&mut S, RawFact) -> Result<()>,
    ) -> Result<(S, i32, State)> {
        match self {
            Self::Live(state) => {
                let (collected, state) = extract::local(state.clone(), scope, each)?;
                Ok((collected, own_major(), state))
            }
            Self::Captured(snapshot) => {
                let mut collected = S::default();
                snapshot.for_each_fact(|fact| each(&mut collected, fact))?;
                Ok((collected, snapshot.major, State::unknown()))
            }
            Self::Environment(name) => remote::with(name, Access::Snapshot, |remote| {
                Ok((extract::remote(remote, scope, each)?, major(remote)?, State::unknown()))
            }),
        }
    }
}

fn major(remote: &Remote) -> Result<i32> {
    let row = remote.query_row("SELECT pg_catalog.current_setting('server_version_num')::int / 10000", 1)?;
    Ok(row.into_iter().flatten().next().and_then(|major| major.parse().ok()).unwrap_or(0))
}

#[derive(Debug, Clone)]
pub struct Comparison {
    pub differences: Vec<Difference>,
    /// The fingerprint of the second schema; none if something of it could not be read.
    pub fingerprint: Option<String>,
    /// What the catalogs of this database were, if it was the second one.
    pub state: State,
}

impl Comparison {
    /// Of two schemas that are known to be the same.
    pub fn same(fingerprint: String, state: State) -> Self {
        Self { differences: Vec::new(), fingerprint: Some(fingerprint), state }
    }
}

/// Compares two schemas, in the schemas that were captured. Nothing of the second one is held but what differs.
/// Errors: 22023 if both were captured, but not of the same schemas; those of the environments.
pub fn compare(expected: &Reference, actual: &Reference) -> Result<Comparison> {
    let schemas = common_schemas(expected, actual)?;
    let scope = Scope::of(schemas.as_deref());
    let mut held = Held::load(expected, scope)?;
    let (look, major, state) = actual.read(scope, |look: &mut Look, fact| look.add(&held.expected, fact))?;
    let differing = held.facts(&held.expected.others(&look.confirmed))?;
    Ok(Comparison {
        differences: differences(
            Facts { facts: differing, major: held.major },
            Facts { facts: look.differing, major },
        ),
        fingerprint: look.printed.root(),
        state,
    })
}

/// All schemas where neither side is limited.
fn common_schemas(expected: &Reference, actual: &Reference) -> Result<Option<Vec<String>>> {
    if let (Reference::Captured(from), Reference::Captured(to)) = (expected, actual) {
        let sorted = |snapshot: &Snapshot| {
            let mut schemas = snapshot.schemas.clone();
            schemas.iter_mut().for_each(|schemas| schemas.sort());
            schemas
        };
        if sorted(from) != sorted(to) {
            let detail = format!("{}; {}", from.described(), to.described());
            return Err(
                SchemaError::OtherSchemas { from: from.name.clone(), to: to.name.clone(), detail }.into()
            );
        }
    }
    Ok(expected.schemas().or(actual.schemas()).cloned())
}

/// The schema that is expected: its hashes, and where its objects are.
struct Held<'a> {
    expected: Expected,
    major: i32,
    objects: Objects<'a>,
}

enum Objects<'a> {
    Stored(&'a Snapshot),
    InMemory(HashMap<Hash, RawFact>),
}

impl<'a> Held<'a> {
    fn load(reference: &'a Reference, scope: Scope) -> Result<Self> {
        if let Reference::Captured(snapshot) = reference {
            let expected = snapshot.expected()?;
            return Ok(Self { expected, major: snapshot.major, objects: Objects::Stored(snapshot) });
        }
        let ((expected, facts), major, _) =
            reference.read(scope, |(expected, facts): &mut (Expected, HashMap<Hash, RawFact>), fact| {
                let hash = hashed(&fact)?;
                expected.add(&fact.key, hash);
                facts.insert(hash, fact);
                Ok(())
            })?;
        Ok(Self { expected, major, objects: Objects::InMemory(facts) })
    }

    /// The objects with these hashes.
    fn facts(&mut self, hashes: &[Hash]) -> Result<Vec<Fact>> {
        match &mut self.objects {
            Objects::Stored(snapshot) => snapshot.facts(hashes),
            Objects::InMemory(facts) => {
                let facts = hashes.iter().filter_map(|hash| facts.remove(hash));
                facts.map(|fact| parsed("the schema", fact)).collect()
            }
        }
    }
}

/// What was seen of the second schema.
#[derive(Default)]
struct Look {
    confirmed: Confirmed,
    differing: Vec<Fact>,
    printed: Printed,
}

impl Look {
    fn add(&mut self, expected: &Expected, fact: RawFact) -> Result<()> {
        let hash = self.printed.add(&fact)?;
        // What could not be read on either side is not the same for that.
        let is_known = fact.unknown.is_none();
        if !(is_known && expected.confirms(&fact.key, &hash, &mut self.confirmed)) {
            self.differing.push(parsed("the schema", fact)?);
        }
        Ok(())
    }
}
