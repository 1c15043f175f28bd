//! Reading facts: here through SPI, elsewhere through dblink.

use std::time::Duration;

use opdb_core::schema::{Fact, Key, Kind, RawFact, catalog, label};
use pgrx::PgSqlErrorCode;

use super::error::SchemaError;
pub use super::statement::Scope;
use super::statement::Statement;
use crate::pg::error::{Failure, Result};
use crate::pg::remote::{Remote, Row};
use crate::pg::{own, session, spi, subtransaction};

/// Columns of a statement that reads facts.
const COLUMNS: usize = 8;
/// How many facts are held as rows at a time.
const BATCH: usize = 2000;
/// Others may be changing the schema: what is dropped while it is described makes the server's own functions fail.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// No relation is waited for: one that is locked is reported so, and one that was locked a moment ago is tried again.
/// Catalogs are read whole and joined by hashes; what the planner expects of them (one row) leads it astray, and
/// compiling expressions takes longer than reading.
const SETTINGS: [(&str, &str); 5] = [
    ("lock_timeout", "200ms"),
    ("enable_nestloop", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("work_mem", "16MB"),
];

/// Hands every fact of this database to `each`, as of now, and returns what `each` collected. Whoever asks sees the
/// same: it is read as the extension's owner. What was collected is thrown away where it has to begin anew.
pub fn local<S: Default>(scope: Scope, mut each: impl FnMut(&mut S, RawFact) -> Result<()>) -> Result<S> {
    attempts(|| {
        subtransaction::run(|| {
            session::pinned_with(&SETTINGS, || {
                own::read_as_owner(|| {
                    spi::on_latest_snapshot(|| {
                        let mut collected = S::default();
                        check_catalogs("this database", |sql| {
                            spi::read(sql, &[], |row| row.get::<String>(1))
                        })?;
                        for statement in scope.statements() {
                            local_statement(&scope, statement, |fact| each(&mut collected, fact))?;
                        }
                        Ok(collected)
                    })
                })
            })
        })
    })
}

fn local_statement(
    scope: &Scope,
    statement: &Statement,
    mut each: impl FnMut(RawFact) -> Result<()>,
) -> Result<()> {
    let sql = scope.sql(statement, true);
    let row =
        |row: &pgrx::spi::SpiHeapTupleData| (1..=COLUMNS).map(|column| row.get::<String>(column)).collect();
    let raw = |row: Row| raw_fact("this database", row);
    if !statement.keeps_locks {
        return spi::for_each(&sql, BATCH as _, row, |row| each(raw(row)?));
    }
    let facts = subtransaction::discarded(|| {
        let mut facts = Vec::new();
        spi::for_each(&sql, BATCH as _, row, |row| {
            facts.push(raw(row)?);
            Ok(())
        })?;
        Ok(facts)
    })?;
    facts.into_iter().try_for_each(each)
}

/// The same of another server, in a transaction of its own there.
pub fn remote<S: Default>(
    remote: &Remote,
    scope: Scope,
    mut each: impl FnMut(&mut S, RawFact) -> Result<()>,
) -> Result<S> {
    attempts(|| {
        remote.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let read = subtransaction::run(|| remote_transaction(remote, scope, &mut each));
        remote.execute("ROLLBACK")?;
        read
    })
}

fn remote_transaction<S: Default>(
    remote: &Remote,
    scope: Scope,
    each: &mut impl FnMut(&mut S, RawFact) -> Result<()>,
) -> Result<S> {
    for (name, value) in SETTINGS {
        remote.execute(&format!("SET LOCAL {name} = '{value}'"))?;
    }
    let place = remote.place();
    check_catalogs(&place, |sql| {
        Ok(remote.query(sql, 1)?.into_iter().map(|row| row.into_iter().next().flatten()).collect())
    })?;
    let has_opdb = has_opdb(remote)?;
    let mut collected = S::default();
    for statement in scope.statements() {
        let sql = scope.sql(statement, has_opdb);
        remote.execute(&format!("DECLARE opdb_facts NO SCROLL CURSOR FOR {sql}"))?;
        loop {
            let rows = remote.query(&format!("FETCH {BATCH} FROM opdb_facts"), COLUMNS)?;
            let is_last = rows.len() < BATCH;
            rows.into_iter().try_for_each(|row| each(&mut collected, raw_fact(&place, row)?))?;
            if is_last {
                break;
            }
        }
        remote.execute("CLOSE opdb_facts")?;
    }
    Ok(collected)
}

/// Whether opdb is there too, so that the servers it made are not taken for a part of the schema.
fn has_opdb(remote: &Remote) -> Result<bool> {
    let answer = remote.query_row(
        "SELECT CASE WHEN pg_catalog.to_regclass('opdb.environment') IS NULL THEN false
                ELSE pg_catalog.has_table_privilege('opdb.environment', 'SELECT') END",
        1,
    )?;
    Ok(answer == [Some("t".to_owned())])
}

/// Facts of a few tables here, on the snapshot of the calling statement.
pub fn local_tables(scope: Scope) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for statement in scope.statements() {
        local_statement(&scope, statement, |fact| {
            facts.push(parsed("this database", fact)?);
            Ok(())
        })?;
    }
    Ok(facts)
}

/// Facts of a few tables there, in whatever transaction is open.
pub fn remote_tables(remote: &Remote, scope: Scope) -> Result<Vec<Fact>> {
    let place = remote.place();
    let mut facts = Vec::new();
    for statement in scope.statements() {
        for row in remote.query(&scope.sql(statement, false), COLUMNS)? {
            facts.push(parsed(&place, raw_fact(&place, row)?)?);
        }
    }
    Ok(facts)
}

/// Errors: 0A000 for a catalog that opdb does not know and that holds something.
fn check_catalogs(place: &str, query: impl Fn(&str) -> Result<Vec<Option<String>>>) -> Result<()> {
    let known = catalog::COVERED.iter().chain(catalog::NOT_SCHEMA.iter().map(|(name, _)| name));
    let known: Vec<&str> = known.copied().collect();
    let unknown = query(&format!(
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c
         WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r' AND c.oid < 16384
           AND c.relname <> ALL ('{{{}}}')",
        known.join(", ")
    ))?;
    for catalog in unknown.into_iter().flatten() {
        if !query(&format!("SELECT 'x' FROM pg_catalog.{catalog} LIMIT 1"))?.is_empty() {
            return Err(SchemaError::UnknownCatalog { place: place.to_owned(), catalog }.into());
        }
    }
    Ok(())
}

/// Runs `read` again while it fails because of what others are changing.
fn attempts<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match read() {
            Err(failure) if is_concurrent(&failure) => {
                session::wait(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
    read()
}

fn is_concurrent(failure: &Failure) -> bool {
    let is_gone = failure.sqlstate == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
        && (failure.message.contains("cache lookup failed")
            || failure.message.contains("could not open relation with OID")
            || failure.message.contains("could not find tuple for"));
    is_gone
        || matches!(
            failure.sqlstate,
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
                | PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED
                | PgSqlErrorCode::ERRCODE_OBJECT_IN_USE
        )
}

fn raw_fact(place: &str, row: Row) -> Result<RawFact> {
    let unreadable = |reason: String| SchemaError::Unreadable { place: place.to_owned(), reason };
    let [kind, schema, relation, name, extension, facets, definitions, unknown] =
        <[Option<String>; COLUMNS]>::try_from(row)
            .map_err(|row| unreadable(format!("{} columns", row.len())))?;
    let kind_name = kind.unwrap_or_default();
    let kind = Kind::find(&kind_name).ok_or_else(|| unreadable(format!("an object of {kind_name}")))?;
    let schema = schema.unwrap_or_default();
    let relation = relation.map(|relation| label(&schema, &relation)).unwrap_or_default();
    let key = Key { kind, schema, relation, name: name.unwrap_or_default() };
    Ok(RawFact { key, extension, facets: facets.unwrap_or_default(), definitions, unknown })
}

pub fn parsed(place: &str, fact: RawFact) -> Result<Fact> {
    fact.parse().map_err(|error| unreadable(place, &error))
}

pub fn unreadable(place: &str, error: &serde_json::Error) -> Failure {
    SchemaError::Unreadable { place: place.to_owned(), reason: error.to_string() }.into()
}
