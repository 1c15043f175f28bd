//! Reading facts: here through SPI, elsewhere over a connection.

use std::time::Duration;

pub use opdb_core::schema::statement::Scope;
use opdb_core::schema::statement::{SETTINGS, Statement};
use opdb_core::schema::{Fact, Hash, Key, Kind, RawFact, label};
use pgrx::PgSqlErrorCode;

use super::error::SchemaError;
use super::state::{State, check_catalogs};
use crate::pg::error::{Failure, Report, Result};
use crate::pg::remote::{Remote, Row};
use crate::pg::{memory, own, session, spi, subtransaction};

/// Columns of a statement that reads facts.
const COLUMNS: usize = 8;
/// How many facts are held as rows at a time.
const BATCH: usize = 2000;
/// After how many batches the server's caches are emptied.
const REMEMBERED: usize = 2;
/// How often a statement is tried that fails because of what others are changing.
const ATTEMPTS: u32 = 40;
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How often everything is read again because it changed meanwhile. Where it changes all the time, what was read last
/// has to do.
const READINGS: u32 = 3;

/// Hands every fact of this database to `each`, and returns what `each` collected, with the state of the catalogs
/// that it belongs to: `state`, a later one, or an unknown one if they changed all the time. Whoever asks sees the
/// same: it is read as the extension's owner. What was collected, and whatever `each` wrote, is thrown away where it
/// has to begin anew.
pub fn local<S: Default>(
    mut state: State,
    scope: Scope,
    mut each: impl FnMut(&mut S, RawFact) -> Result<()>,
) -> Result<(S, State)> {
    let mut reading = 1;
    let mut changes = memory::catalog_changes();
    loop {
        // What was made and dropped again meanwhile leaves the catalogs as they were, and facts that never were together.
        let is_still =
            |state: &State| -> Result<bool> { Ok(memory::catalog_changes() == changes && state.is_still()?) };
        let result = subtransaction::run(|| {
            let mut collected = S::default();
            for statement in scope.statements() {
                let facts = local_statement(&scope, statement)?;
                for fact in facts {
                    each(&mut collected, fact)?;
                }
            }
            if reading < READINGS && !is_still(&state)? {
                return Err(SchemaError::Changing.into());
            }
            Ok(collected)
        });
        match result {
            Err(failure) if failure.sqlstate == SchemaError::Changing.sqlstate() && reading < READINGS => {
                changes = memory::catalog_changes();
                state = State::now()?;
                reading += 1;
            }
            result => {
                let collected = result?;
                if reading == READINGS && !is_still(&state)? {
                    state = State::unknown();
                }
                return Ok((collected, state));
            }
        }
    }
}

/// The facts of one statement, as of now, and none of the locks that reading them took.
fn local_statement(scope: &Scope, statement: &Statement) -> Result<impl Iterator<Item = RawFact>> {
    let sql = scope.sql(statement, true);
    let batches = attempts(|| {
        subtransaction::discarded(|| session::pinned_with(&SETTINGS, || own::read_latest(|| batches(&sql))))
    })?;
    Ok(batches.into_iter().flatten())
}

/// In many vectors: growing a single one would hold it twice.
fn batches(sql: &str) -> Result<Vec<Vec<RawFact>>> {
    let row =
        |row: &pgrx::spi::SpiHeapTupleData| (1..=COLUMNS).map(|column| row.get::<String>(column)).collect();
    let mut full: Vec<Vec<RawFact>> = Vec::new();
    let mut batch = Vec::with_capacity(BATCH);
    spi::for_each(sql, BATCH as _, row, |row| {
        batch.extend(raw_fact("this database", row)?);
        if batch.len() == BATCH {
            full.push(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            if full.len().is_multiple_of(REMEMBERED) {
                memory::forget_catalogs();
            }
        }
        Ok(())
    })?;
    full.push(batch);
    Ok(full)
}

/// The same of another server, in a transaction of its own there: [`Access::Snapshot`].
///
/// [`Access::Snapshot`]: crate::pg::remote::Access::Snapshot
pub fn remote<S: Default>(
    remote: &Remote,
    scope: Scope,
    mut each: impl FnMut(&mut S, RawFact) -> Result<()>,
) -> Result<S> {
    attempts(|| {
        remote.restart();
        subtransaction::run(|| remote_transaction(remote, scope, &mut each))
    })
}

fn remote_transaction<S: Default>(
    remote: &Remote,
    scope: Scope,
    each: &mut impl FnMut(&mut S, RawFact) -> Result<()>,
) -> Result<S> {
    remote.set_local(&SETTINGS);
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
            for row in rows {
                raw_fact(&place, row)?.map_or(Ok(()), |fact| each(&mut collected, fact))?;
            }
            if is_last {
                break;
            }
        }
        remote.execute("CLOSE opdb_facts")?;
    }
    Ok(collected)
}

/// Whether opdb is there too, so that the servers it made are not taken for a part of the schema. What only looks like
/// opdb's table may be a view that runs somebody's code.
fn has_opdb(remote: &Remote) -> Result<bool> {
    let answer = remote.query_row(
        &format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                            WHERE n.nspname = 'opdb' AND c.relname = 'environment' AND c.relkind = 'r' AND {}
                              AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                              AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))",
            own::belongs_to_opdb("pg_class", "c.oid")
        ),
        1,
    )?;
    Ok(answer == [Some("t".to_owned())])
}

/// Facts of a few tables here, as of now.
pub fn local_tables(scope: Scope) -> Result<Vec<RawFact>> {
    let mut facts = Vec::new();
    for statement in scope.statements() {
        facts.extend(local_statement(&scope, statement)?);
    }
    Ok(facts)
}

/// The queries that read facts of a few tables elsewhere, each with the number of its columns.
pub fn queries(scope: Scope) -> Vec<(String, usize)> {
    scope.statements().into_iter().map(|statement| (scope.sql(statement, false), COLUMNS)).collect()
}

/// What such queries answered.
pub fn remote_facts(place: &str, answers: impl IntoIterator<Item = Row>) -> Result<Vec<RawFact>> {
    answers.into_iter().filter_map(|row| raw_fact(place, row).transpose()).collect()
}

/// Runs `read` again while it fails because of what others are changing: what is dropped while it is described makes
/// the server's own functions fail.
fn attempts<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match read() {
            Err(failure) if is_concurrent(&failure) => {
                session::wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
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

/// A fact, unless its object is gone since the statement began.
fn raw_fact(place: &str, row: Row) -> Result<Option<RawFact>> {
    let unreadable = |reason: String| SchemaError::Unreadable { place: place.to_owned(), reason };
    let [kind, schema, relation, name, extension, facets, definitions, unknown] =
        <[Option<String>; COLUMNS]>::try_from(row)
            .map_err(|row| unreadable(format!("{} columns", row.len())))?;
    let kind_name = kind.unwrap_or_default();
    let kind = Kind::find(&kind_name).ok_or_else(|| unreadable(format!("an object of {kind_name}")))?;
    let schema = schema.unwrap_or_default();
    let relation = relation.map(|relation| label(&schema, &relation)).unwrap_or_default();
    let (Some(name), Some(facets)) = (name, facets) else { return Ok(None) };
    let fact = RawFact { key: Key { kind, schema, relation, name }, extension, facets, definitions, unknown };
    Ok((!fact.is_gone()).then_some(fact))
}

pub fn parsed(place: &str, fact: RawFact) -> Result<Fact> {
    fact.parse().map_err(|error| unreadable(place, &error))
}

pub fn hashed(fact: &RawFact) -> Result<Hash> {
    fact.hash().map_err(|error| unreadable("the schema", &error))
}

pub fn unreadable(place: &str, error: &impl ToString) -> Failure {
    SchemaError::Unreadable { place: place.to_owned(), reason: error.to_string() }.into()
}
