//! Tables on both sides, described and compared.

use std::collections::HashMap;

use opdb_core::compat::Verdict;
use opdb_core::compat::evidence::misfit;
use opdb_core::compat::table::{Finding, Pair, column_type, is_sent};
use opdb_core::compat::types;
use opdb_core::schema::{Facets, Fact, Key, Kind, label};

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

    fn of(relation: Regclass) -> Result<Self> {
        let name = name::of_table(relation)?;
        Ok(Self { relation, name, is_event_table: EventTable::find(relation)?.is_some() })
    }

    /// Every table of the database, but for partitions, opdb's own and the key tables of event tables.
    pub fn all() -> Result<Vec<Self>> {
        let relations = spi::read(
            "SELECT c.oid::regclass FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'opdb')
               AND NOT EXISTS (SELECT FROM opdb.event_table e WHERE e.key_table = c.oid)
             ORDER BY n.nspname, c.relname",
            &[],
            |row| row.get::<Regclass>(1),
        )?;
        relations.into_iter().flatten().map(Self::of).collect()
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

/// The facts of some tables on both sides.
pub struct Compared {
    pub local: Vec<Fact>,
    pub remote: Vec<Fact>,
}

impl Compared {
    pub fn new(remote: &Remote, tables: &[LocalTable]) -> Result<Self> {
        let names: Vec<(String, String)> =
            tables.iter().map(|table| (table.name.schema.clone(), table.name.name.clone())).collect();
        session::pinned(|| {
            let scope = Scope::Tables(&names);
            let details = details(&names);
            let here =
                spi::read(&details, &[], |row| (1..=5).map(|column| row.get::<String>(column)).collect())?;
            let there = remote.query(&details, 5)?;
            Ok(Self {
                local: with_details(extract::local_tables(scope)?, here)?,
                remote: with_details(extract::remote_tables(remote, scope)?, there)?,
            })
        })
    }

    pub fn findings(&self, table: &LocalTable, kept_here: &[String]) -> Vec<Finding> {
        Pair { table: &table.name.label(), local: &self.local, remote: &self.remote, kept_here }.findings()
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

    /// How each column of the table fares there, with what the data says where the types leave it open.
    /// With a `condition` (in parentheses), of the rows for which it holds.
    pub fn mapping(
        &self,
        table: &LocalTable,
        kept_here: &[String],
        condition: Option<&str>,
    ) -> Result<Vec<Mapping>> {
        let label = table.name.label();
        let mut mapping: Vec<Mapping> = columns(&self.local, &label)
            .map(|local| {
                let there = columns(&self.remote, &label).find(|column| column.name() == local.name());
                Mapping::new(local, there, kept_here)
            })
            .collect();
        add_evidence(&table.name.sql(), condition, &mut mapping)?;
        Ok(mapping)
    }
}

fn details(tables: &[(String, String)]) -> String {
    let pairs: Vec<String> = tables
        .iter()
        .map(|(schema, table)| format!("({}, {})", name::literal(schema), name::literal(table)))
        .collect();
    include_str!("../../sql/compat/details.sql").replace("/*tables*/", &pairs.join(", "))
}

/// Adds to each fact what `rows` say about it, and puts columns in their order.
fn with_details(mut facts: Vec<Fact>, rows: Vec<Row>) -> Result<Vec<Fact>> {
    let mut details: HashMap<Key, Facets> = HashMap::new();
    for row in rows {
        let mut parts = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || parts.next().unwrap_or_default();
        let (kind, schema, relation, name, facets) = (next(), next(), next(), next(), next());
        let Some(kind) = Kind::find(&kind) else { continue };
        let relation = label(&schema, &relation);
        let facets = serde_json::from_str(&facets).map_err(|error| extract::unreadable("a table", &error))?;
        details.insert(Key { kind, schema, relation, name }, facets);
    }
    for fact in &mut facts {
        fact.facets.extend(details.remove(&fact.key).unwrap_or_default());
    }
    facts.sort_by(|a, b| {
        (a.kind(), a.relation(), position(a), a.name()).cmp(&(b.kind(), b.relation(), position(b), b.name()))
    });
    Ok(facts)
}

pub fn columns<'f>(facts: &'f [Fact], table: &str) -> impl Iterator<Item = &'f Fact> {
    let table = table.to_owned();
    facts.iter().filter(move |fact| fact.kind() == Kind::Column && fact.relation() == table)
}

fn position(column: &Fact) -> Option<i64> {
    column.facets.get("position").and_then(serde_json::Value::as_i64)
}

/// A column here and the one it goes to.
pub struct Mapping {
    pub local_column: String,
    pub local_type: String,
    pub remote_column: Option<String>,
    pub remote_type: Option<String>,
    pub verdict: Verdict,
    pub evidence: String,
    /// Whether every value that is there now fits; unknown where only the other server can tell.
    pub fits: Option<bool>,
    misfit: Option<String>,
}

impl Mapping {
    fn new(local: &Fact, there: Option<&Fact>, kept_here: &[String]) -> Self {
        let (from, to) = (column_type(local), there.map(column_type));
        let sent = is_sent(local, there, kept_here);
        let mut verdict = to.as_ref().map_or(Verdict::Missing, |to| types::verdict(&from, to));
        let mut conditions = Vec::new();
        let column = identifier(local.name());
        if let (Some(to), Some(there)) = (&to, there) {
            if verdict > Verdict::Widening {
                conditions.extend(misfit(&column, &from, to));
            }
            if there.flag("not_null") && !local.flag("not_null") {
                verdict = verdict.max(Verdict::Narrowing);
                conditions.push(format!("{column} IS NULL"));
            }
        }
        let (evidence, fits) = match (sent, verdict) {
            (false, _) => ("not sent: the environment gives its own value", Some(true)),
            (true, Verdict::Identical | Verdict::Widening) => ("every value fits by its type", Some(true)),
            (true, Verdict::Missing) => ("the column does not exist there", Some(false)),
            (true, Verdict::Incompatible) => {
                ("no conversion is known, or the type is defined otherwise there", Some(false))
            }
            (true, Verdict::Lossy) => ("values may be altered, and nothing tells which", None),
            _ => ("only the environment can tell: staging there tries every value", None),
        };
        Self {
            local_column: local.name().to_owned(),
            local_type: from.text,
            remote_column: there.map(|there| there.name().to_owned()),
            remote_type: to.map(|to| to.text),
            verdict,
            evidence: evidence.to_owned(),
            fits,
            misfit: (fits.is_none() && !conditions.is_empty())
                .then(|| format!("({})", conditions.join(") OR ("))),
        }
    }
}

/// Counts, in one scan, the values that do not fit, and shows one of each column's.
fn add_evidence(table: &str, condition: Option<&str>, mapping: &mut [Mapping]) -> Result<()> {
    let mut open: Vec<&mut Mapping> = mapping.iter_mut().filter(|column| column.misfit.is_some()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let counts: Vec<String> = open
        .iter()
        .map(|column| {
            let (name, misfit) =
                (identifier(&column.local_column), column.misfit.as_deref().unwrap_or("false"));
            format!(
                "pg_catalog.count(*) FILTER (WHERE {misfit}), \
                 pg_catalog.left(pg_catalog.min(pg_catalog.format('%s', {name})) \
                 FILTER (WHERE ({misfit}) AND {name} IS DISTINCT FROM NULL), 60)"
            )
        })
        .collect();
    let condition = condition.unwrap_or("true");
    let sql = format!("SELECT pg_catalog.count(*), {} FROM {table} WHERE {condition}", counts.join(", "));
    let found = spi::read_one(&sql, &[], |row| {
        let columns = (0..open.len()).map(|place| {
            Ok((row.get::<i64>(2 + 2 * place)?.unwrap_or(0), row.get::<String>(3 + 2 * place)?))
        });
        Ok((row.get::<i64>(1)?.unwrap_or(0), columns.collect::<pgrx::spi::Result<Vec<_>>>()?))
    })?;
    let Some((rows, columns)) = found else {
        return Ok(());
    };
    for (column, (misfits, example)) in open.iter_mut().zip(columns) {
        column.fits = Some(misfits == 0);
        column.evidence = match (misfits, example) {
            (0, _) => format!("safe for this data: all {rows} rows fit"),
            (_, Some(example)) => format!("{misfits} of {rows} rows do not fit, for example {example}"),
            (_, None) => format!("{misfits} of {rows} rows are NULL, which is refused there"),
        };
    }
    Ok(())
}
