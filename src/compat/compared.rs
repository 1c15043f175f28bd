//! Tables on both sides, described and compared.

use std::collections::HashMap;
use std::iter;
use std::rc::Rc;

use opdb_core::compat::table::{Finding, Pair, of_table};
use opdb_core::schema::statement::{SETTINGS, table_names};
use opdb_core::schema::{Facets, Fact, Key, Kind, RawFact, label};

use super::error::CompatError;
use crate::ingest::EventTable;
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier};
use crate::pg::remote::{Remote, Row};
use crate::pg::types::Regclass;
use crate::pg::{lock, name, session, spi};
use crate::schema::extract::{self, Scope};

/// A table of this database that is compared with, or sent to, another.
pub struct LocalTable {
    pub relation: Regclass,
    pub name: Qualified,
    pub is_event_table: bool,
}

impl LocalTable {
    /// Errors: 42P01 if there is none of that name, 42809 if it is no table.
    pub fn named(text: &str) -> Result<Self> {
        Self::of(name::find(text)?)
    }

    /// Keeps the table as it is until the transaction ends. Errors: 42P01 if it no longer is.
    pub fn hold(&self) -> Result<()> {
        lock::against_alter(self.relation);
        lock::still(self.relation, &self.name)
    }

    /// `hold`, for whoever may read the table: others must not keep its owner waiting.
    ///
    /// Errors: 42501 without SELECT.
    pub fn hold_to_read(&self) -> Result<()> {
        let may_read = spi::read_value::<bool>(
            "SELECT pg_catalog.has_any_column_privilege($1::pg_catalog.oid, 'SELECT')",
            &[self.relation.0.into()],
        )?;
        if may_read != Some(true) {
            return Err(CompatError::NotReadable(self.name.sql()).into());
        }
        self.hold()
    }

    fn of(relation: Regclass) -> Result<Self> {
        let name = name::of_table(relation)?;
        Ok(Self { relation, name, is_event_table: EventTable::find(relation)?.is_some() })
    }

    /// Every table of the database, but for partitions, opdb's own and the key tables of event tables.
    pub fn all() -> Result<Vec<Self>> {
        let tables = spi::read(
            "SELECT c.oid::regclass, n.nspname::text, c.relname::text,
                    EXISTS (SELECT FROM opdb.event_table e WHERE e.table_name = c.oid)
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'opdb', 'opdb_deploy')
               AND NOT EXISTS (SELECT FROM opdb.event_table e WHERE e.key_table = c.oid)
             ORDER BY n.nspname, c.relname",
            &[],
            |row| {
                Ok(Self {
                    relation: spi::known(&row, 1)?,
                    name: Qualified { schema: spi::known(&row, 2)?, name: spi::known(&row, 3)? },
                    is_event_table: spi::known(&row, 4)?,
                })
            },
        )?;
        Ok(tables)
    }

    /// What the other side decides for itself: an event's surrogate id, when the row was made there, and
    /// whether it was processed there.
    pub fn kept_here(&self) -> Vec<String> {
        if !self.is_event_table {
            return Vec::new();
        }
        ["id", "created_at", "processed"].map(str::to_owned).to_vec()
    }
}

/// Columns of the query that reads details.
const DETAILS: usize = 6;
/// What messages call this database.
const HERE: &str = "this database";

/// The facts of some tables on both sides, in the order of the tables.
pub struct Compared {
    pub local: Vec<Rc<Fact>>,
    pub remote: Vec<Rc<Fact>>,
}

impl Compared {
    pub fn new(remote: &Remote, tables: &[LocalTable]) -> Result<Self> {
        let names: Vec<(String, String)> =
            tables.iter().map(|table| (table.name.schema.clone(), table.name.name.clone())).collect();
        session::pinned(|| {
            let scope = Scope::Tables(&names);
            let details = details(&names);
            let queries = extract::queries(scope);
            let queries: Vec<(&str, usize)> = iter::once((details.as_str(), DETAILS))
                .chain(queries.iter().map(|(sql, columns)| (sql.as_str(), *columns)))
                .collect();
            remote.set_local(&SETTINGS);
            let asked = remote.ask(&queries)?;
            let here = session::pinned_with(&SETTINGS, || {
                spi::read(&details, &[], |row| (1..=DETAILS).map(|column| row.get(column)).collect())
            })?;
            let here = Described::all(HERE, extract::local_tables(scope)?, here)?;
            let local = here.iter().map(|fact| fact.parsed(HERE)).collect::<Result<Vec<_>>>()?;
            let mut answers = asked.answers()?.into_iter();
            let (there, place) = (answers.next().unwrap_or_default(), remote.place());
            let there = Described::all(&place, extract::remote_facts(&place, answers.flatten())?, there)?;
            let known: HashMap<&Key, usize> =
                here.iter().enumerate().map(|(place, it)| (&it.fact.key, place)).collect();
            let same = |it: &Described| {
                let place = *known.get(&it.fact.key)?;
                here.get(place)?.is_same(it).then(|| local.get(place).cloned()).flatten()
            };
            let remote = there.iter().map(|it| same(it).map_or_else(|| it.parsed(&place), Ok));
            Ok(Self { remote: remote.collect::<Result<Vec<_>>>()?, local })
        })
    }

    /// The same with this database as the other side.
    pub fn turned(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }

    pub fn findings(&self, table: &LocalTable, kept_here: &[String]) -> Vec<Finding> {
        let pair = Pair {
            table: &table.name.label(),
            sql: table.name.sql(),
            quote: |name| identifier(name),
            local: &self.local,
            remote: &self.remote,
            kept_here,
        };
        pair.findings()
    }

    pub fn exists_there(&self, table: &LocalTable) -> bool {
        columns(&self.remote, &table.name.label()).next().is_some()
    }

    /// Errors: 42P01 if the table does not exist there.
    pub fn check_exists_there(&self, table: &LocalTable, environment: &str) -> Result<()> {
        if self.exists_there(table) {
            return Ok(());
        }
        Err(CompatError::MissingThere { table: table.name.sql(), environment: environment.to_owned() }.into())
    }
}

fn details(tables: &[(String, String)]) -> String {
    include_str!("../../sql/compat/details.sql").replace("/*tables*/", &table_names(tables))
}

/// A fact as it was read, with what details say about it.
struct Described {
    fact: RawFact,
    /// Where a column stands.
    position: Option<i64>,
    details: Option<String>,
}

impl Described {
    /// In the order of tables, of kinds, and of columns as they stand.
    fn all(place: &str, facts: Vec<RawFact>, details: Vec<Row>) -> Result<Vec<Self>> {
        let mut known: HashMap<Key, (Option<i64>, String)> = HashMap::new();
        for row in details {
            let [kind, schema, relation, name, position, details] =
                <[Option<String>; DETAILS]>::try_from(row)
                    .map_err(|row| extract::unreadable(place, &format!("{} columns", row.len())))?
                    .map(Option::unwrap_or_default);
            let Some(kind) = Kind::find(&kind) else { continue };
            let relation = label(&schema, &relation);
            known.insert(Key { kind, schema, relation, name }, (position.parse().ok(), details));
        }
        let with_details = |fact: RawFact| match known.remove(&fact.key) {
            Some((position, details)) => Self { fact, position, details: Some(details) },
            None => Self { fact, position: None, details: None },
        };
        let mut all: Vec<Self> = facts.into_iter().map(with_details).collect();
        all.sort_by(|a, b| a.place().cmp(&b.place()));
        Ok(all)
    }

    fn place(&self) -> (&str, Kind, Option<i64>, &str) {
        let key = &self.fact.key;
        (&key.relation, key.kind, self.position, &key.name)
    }

    fn parsed(&self, place: &str) -> Result<Rc<Fact>> {
        let mut fact = extract::parsed(place, self.fact.clone())?;
        if let Some(details) = &self.details {
            let details: Facets =
                serde_json::from_str(details).map_err(|error| extract::unreadable(place, &error))?;
            fact.facets.extend(details);
        }
        Ok(Rc::new(fact))
    }

    /// Whether there is nothing to be found out by reading both.
    fn is_same(&self, other: &Self) -> bool {
        self.fact == other.fact && self.details == other.details
    }
}

pub fn columns<'f>(facts: &'f [Rc<Fact>], table: &str) -> impl Iterator<Item = &'f Fact> {
    of_table(facts, table).iter().map(Rc::as_ref).filter(|fact| fact.kind() == Kind::Column)
}

/// The columns of a table's primary key, if it has one.
pub fn primary_key(facts: &[Rc<Fact>], table: &str) -> Option<Vec<String>> {
    let is_primary = |fact: &&Rc<Fact>| fact.kind() == Kind::Constraint && fact.text("type") == Some("p");
    let key = of_table(facts, table).iter().find(is_primary)?;
    Some(key.list("columns").into_iter().map(str::to_owned).collect())
}
