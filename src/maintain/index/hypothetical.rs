//! Indexes that are not there, tried with hypopg.

use std::cell::RefCell;

use opdb_core::maintain::plan::Key;
use pgrx::AnyNumeric;
use pgrx::pg_sys;

use super::creation::{self, Names};
use super::search::{self, Chosen};
use super::statement;
use super::statistics::Statistics;
use super::{Advice, Kind, LOCK_TIMEOUT, catalogued};
use crate::pg::error::{Failure, Result};
use crate::pg::name::identifier;
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi, subtransaction};

/// A B-tree that might help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub table: Regclass,
    /// The table's name with its schema, quoted.
    pub table_name: String,
    pub keys: Vec<Key>,
}

impl Candidate {
    pub fn columns(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.column.clone()).collect()
    }

    /// Whether its columns are all among those of another one.
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.table == other.table && self.keys.iter().all(|key| other.keys.contains(key))
    }

    /// What stands in parentheses.
    fn list(&self) -> String {
        let key = |key: &Key| format!("{} {}", identifier(&key.column), key.order).trim_end().to_owned();
        self.keys.iter().map(key).collect::<Vec<_>>().join(", ")
    }
}

/// The session's hypothetical indexes. Those that are made here are dropped at the end; those of the user stay. hypopg
/// keeps them in the session's memory: no rollback drops them.
pub struct Hypopg {
    /// Quoted.
    schema: String,
    made: RefCell<Vec<pg_sys::Oid>>,
}

/// A hypothetical index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    oid: pg_sys::Oid,
    /// As plans call it.
    pub name: String,
}

/// Indexes for the slowest statements that the planner would use. `advised` is what is advised anyway.
pub fn advice(advised: &[Advice], statistics: &Statistics, names: &Names) -> Result<Vec<Advice>> {
    let (Some(hypopg), Some(statements)) = (schema("hypopg")?, schema("pg_stat_statements")?) else {
        return Ok(Vec::new());
    };
    let hypopg = Hypopg { schema: hypopg, made: RefCell::default() };
    let found = hypopg.load().and_then(|()| statement::slowest(&statements));
    let statements = match found {
        Ok(statements) => statements,
        Err(failure) if failure.is_interrupt => return Err(failure),
        Err(failure) => {
            pgrx::warning!("no index was tried for slow statements: {}", failure.message);
            return Ok(Vec::new());
        }
    };
    // As a failure, not as an error: the indexes made here must go first.
    let chosen = subtransaction::discarded(|| search::best(&hypopg, &statements, advised));
    let cleared = hypopg.clear();
    let chosen = chosen?;
    cleared?;
    catalogued(|| {
        chosen.iter().filter_map(|chosen| described(chosen, statistics, names).transpose()).collect()
    })
}

fn described(chosen: &Chosen, statistics: &Statistics, names: &Names) -> Result<Option<Advice>> {
    let candidate = &chosen.candidate;
    let tables = creation::tables(vec![candidate.table.0], None)?;
    let Some(table) = tables.get(&candidate.table.0) else { return Ok(None) };
    let Some(creation) = table.create(&candidate.columns(), &candidate.list(), names)? else {
        return Ok(None);
    };
    Ok(Some(Advice {
        kind: Kind::Missing,
        table: candidate.table,
        object: creation.name.sql(),
        ddl: creation.ddl,
        undo: Some(creation.undo),
        reason: chosen.served.iter().map(search::Served::told).collect::<Vec<_>>().join("; "),
        bytes: chosen.bytes,
        write_cost: statistics.per_second(Some(table.writes())),
        gain: AnyNumeric::try_from(format!("{:.4}", chosen.gain()).as_str()).ok(),
        columns: candidate.columns(),
        rank: chosen.saved_ms(),
    }))
}

/// The schema of an extension of this database, quoted.
fn schema(extension: &str) -> Result<Option<String>> {
    spi::read_value::<String>(
        "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1",
        &[extension.into()],
    )
}

impl Hypopg {
    /// Has the server load the library, whose settings are unknown before.
    fn load(&self) -> Result<()> {
        let sql = format!("SELECT pg_catalog.count(*) FROM {}.hypopg()", self.schema);
        self.asked(|| spi::read_value::<i64>(&sql, &[])).map(drop)
    }

    /// None for what cannot be an index: a type without an order, a table that is locked or gone.
    pub fn make(&self, candidate: &Candidate) -> Result<Option<Made>> {
        let statement = format!("CREATE INDEX ON {} ({})", candidate.table_name, candidate.list());
        let sql = format!("SELECT indexrelid, indexname FROM {}.hypopg_create_index($1)", self.schema);
        let made = self.asked(|| {
            spi::read_one(&sql, &[statement.as_str().into()], |row| {
                Ok(row.get::<pg_sys::Oid>(1)?.zip(row.get::<String>(2)?))
            })
        });
        match made {
            Ok(made) => Ok(made.flatten().map(|(oid, name)| {
                self.made.borrow_mut().push(oid);
                Made { oid, name }
            })),
            Err(failure) if failure.is_interrupt => Err(failure),
            Err(_) => Ok(None),
        }
    }

    /// What the planner takes its size for.
    pub fn bytes(&self, made: &Made) -> Result<Option<i64>> {
        let sql = format!("SELECT {}.hypopg_relation_size($1)", self.schema);
        self.asked(|| spi::read_value::<i64>(&sql, &[made.oid.into()])).or_else(|failure| {
            match failure.is_interrupt {
                true => Err(failure),
                false => Ok(None),
            }
        })
    }

    pub fn drop(&self, made: &Made) -> Result<()> {
        self.drop_oid(made.oid)?;
        self.made.borrow_mut().retain(|oid| *oid != made.oid);
        Ok(())
    }

    fn drop_oid(&self, oid: pg_sys::Oid) -> Result<()> {
        let sql = format!("SELECT {}.hypopg_drop_index($1)", self.schema);
        self.asked(|| spi::read_value::<bool>(&sql, &[oid.into()])).map(std::mem::drop)
    }

    /// Drops what is left of those that were made here, even while somebody stops the call.
    fn clear(&self) -> Result<()> {
        let mut failed: Option<Failure> = None;
        for oid in self.made.take() {
            if let Err(failure) = self.drop_oid(oid) {
                // A request to stop is told once; the second attempt is not stopped by it.
                failed = self.drop_oid(oid).err().or(Some(failure));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// As the owner, who may use the extension's schema, and without being counted or waiting.
    fn asked<T>(&self, ask: impl FnOnce() -> Result<T>) -> Result<T> {
        subtransaction::discarded(|| {
            session::pinned_with(&[LOCK_TIMEOUT, ("hypopg.use_real_oids", "off")], || own::read_as_owner(ask))
        })
    }
}
