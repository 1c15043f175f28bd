//! Captured schemas: one row for each, and one for each of its objects.

use opdb_core::hex;
use opdb_core::schema::{Expected, Fact, Fingerprint, Hash, Key, Kind, RawFact};
use pgrx::pg_sys;

use super::error::SchemaError;
use super::extract::{self, Scope, hashed, parsed};
use super::state::State;
use crate::pg::error::Result;
use crate::pg::{memory, own, spi};

/// The shape of the facts that `capture_schema` stores.
const FORMAT: i32 = 2;
/// How many facts one statement stores or fetches.
const BATCH: usize = 2000;
/// How many objects an error names.
pub const NAMED: usize = 10;

/// What is known of a captured schema without its objects.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub name: String,
    pub fingerprint: String,
    pub schemas: Option<Vec<String>>,
    pub major: i32,
    /// What the catalogs were.
    pub stamp: Option<String>,
}

/// The major version of this server.
pub fn own_major() -> i32 {
    pg_sys::PG_VERSION_NUM as i32 / 10000
}

impl Snapshot {
    /// Errors: 42704 if nothing was captured under `name`, 55000 if another opdb did.
    pub fn find(name: &str) -> Result<Self> {
        let row = spi::read_one(
            "SELECT fingerprint, schemas, format, major, stamp FROM opdb.schema_snapshot WHERE name = $1",
            &[name.into()],
            |row| {
                Ok((
                    row.get::<String>(1)?,
                    row.get::<Vec<String>>(2)?,
                    row.get::<i32>(3)?,
                    row.get::<i32>(4)?,
                    row.get::<String>(5)?,
                ))
            },
        )?;
        let Some((Some(fingerprint), schemas, Some(format), Some(major), stamp)) = row else {
            return Err(SchemaError::UnknownSnapshot(name.to_owned()).into());
        };
        if format != FORMAT {
            return Err(
                SchemaError::OtherFormat { name: name.to_owned(), found: format, known: FORMAT }.into()
            );
        }
        Ok(Self { name: name.to_owned(), fingerprint, schemas, major, stamp })
    }

    /// The fingerprint of these schemas, if they were captured when the catalogs were in this state.
    pub fn known_fingerprint(schemas: Option<&[String]>, state: &State) -> Result<Option<String>> {
        spi::read_value::<String>(
            "SELECT fingerprint FROM opdb.schema_snapshot
             WHERE schemas IS NOT DISTINCT FROM $1 AND format = $2 AND stamp = $3 LIMIT 1",
            &[schemas.map(<[String]>::to_vec).into(), FORMAT.into(), state.stamp().into()],
        )
    }

    /// Captures this database as it is under `name`, in place of what was there.
    pub fn capture(name: &str, schemas: Option<Vec<String>>) -> Result<String> {
        // First of all the row of the name: whoever else captures under it waits here.
        own::write(
            "INSERT INTO opdb.schema_snapshot (name, fingerprint, format, major, captured_by)
             VALUES ($1, '', 0, 0, '') ON CONFLICT (name) DO UPDATE SET fingerprint = ''",
            &[name.into()],
        )?;
        own::write("DELETE FROM opdb.schema_fact WHERE snapshot = $1", &[name.into()])?;
        let scope = Scope::of(schemas.as_deref());
        let (mut capture, state) =
            extract::local(State::now()?, scope, |capture: &mut Capture, fact| capture.add(name, fact))?;
        capture.store(name)?;
        let fingerprint = capture.printed.finish()?;
        own::write(
            "UPDATE opdb.schema_snapshot
             SET fingerprint = $2, schemas = $3, format = $4, major = $5, stamp = $6, captured_by = $7,
                 captured_at = pg_catalog.now()
             WHERE name = $1",
            &[
                name.into(),
                fingerprint.as_str().into(),
                schemas.into(),
                FORMAT.into(),
                own_major().into(),
                state.stamp().into(),
                own::caller()?.into(),
            ],
        )?;
        Ok(fingerprint)
    }

    /// Errors: 42704 if nothing was captured under `name`.
    pub fn forget(name: &str) -> Result<()> {
        let forgotten = own::write("DELETE FROM opdb.schema_snapshot WHERE name = $1", &[name.into()])?;
        if forgotten == 0 {
            return Err(SchemaError::UnknownSnapshot(name.to_owned()).into());
        }
        own::write("DELETE FROM opdb.schema_fact WHERE snapshot = $1", &[name.into()])?;
        Ok(())
    }

    /// The hashes of its objects.
    pub fn expected(&self) -> Result<Expected> {
        let mut expected = Expected::default();
        self.for_each("hash", 5, |mut row| {
            let hash = row.pop().flatten().unwrap_or_default();
            expected.add(&self.key(row)?, self.hash(&hash)?);
            Ok(())
        })?;
        Ok(expected)
    }

    /// Hands every object of it to `each`.
    pub fn for_each_fact(&self, mut each: impl FnMut(RawFact) -> Result<()>) -> Result<()> {
        self.for_each("extension, facets, definitions", 7, |row| each(self.raw_fact(row)?))
    }

    /// The objects with these hashes.
    pub fn facts(&self, hashes: &[Hash]) -> Result<Vec<Fact>> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let rows = spi::read(
            "SELECT f.kind, f.schema, f.relation, f.name, f.extension, f.facets, f.definitions
             FROM opdb.schema_fact f WHERE f.snapshot = $1 AND f.hash = ANY ($2)",
            &[self.name.as_str().into(), hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>().into()],
            |row| (1..=7).map(|column| row.get::<String>(column)).collect::<pgrx::spi::Result<Vec<_>>>(),
        )?;
        rows.into_iter().map(|row| parsed(&self.place(), self.raw_fact(row)?)).collect()
    }

    fn for_each(
        &self,
        columns: &str,
        count: usize,
        each: impl FnMut(Vec<Option<String>>) -> Result<()>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT kind, schema, relation, name, {columns} FROM opdb.schema_fact WHERE snapshot = {}",
            crate::pg::name::literal(&self.name)
        );
        let row =
            |row: &pgrx::spi::SpiHeapTupleData| (1..=count).map(|column| row.get::<String>(column)).collect();
        spi::for_each(&sql, BATCH as _, row, each)
    }

    fn raw_fact(&self, mut row: Vec<Option<String>>) -> Result<RawFact> {
        let definitions = row.pop().flatten();
        let facets = row.pop().flatten().unwrap_or_default();
        let extension = row.pop().flatten();
        Ok(RawFact { key: self.key(row)?, extension, facets, definitions, unknown: None })
    }

    fn key(&self, row: Vec<Option<String>>) -> Result<Key> {
        let mut parts = row.into_iter().map(Option::unwrap_or_default);
        let kind = parts.next().unwrap_or_default();
        let mut next = || parts.next().unwrap_or_default();
        let (schema, relation, name) = (next(), next(), next());
        let kind = Kind::find(&kind).ok_or_else(|| self.broken(format!("an object of {kind}")))?;
        Ok(Key { kind, schema, relation, name })
    }

    fn hash(&self, hex: &str) -> Result<Hash> {
        let byte = |place: usize| {
            hex.get(2 * place..2 * place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.ok_or_else(|| self.broken(format!("the hash \"{hex}\"")).into())
    }

    /// What was captured, for people.
    pub fn described(&self) -> String {
        let schemas = self.schemas.as_ref().map_or("all schemas".to_owned(), |schemas| schemas.join(", "));
        format!("\"{}\": {schemas}", self.name)
    }

    fn broken(&self, reason: String) -> SchemaError {
        SchemaError::Unreadable { place: self.place(), reason }
    }

    fn place(&self) -> String {
        format!("the schema captured as \"{}\"", self.name)
    }
}

/// The name of a captured schema; what diff_schema takes for something else is none.
/// Errors: 42602.
pub fn check_name(name: &str) -> Result<()> {
    let is_taken = name == "live" || name.starts_with("env:");
    if name.is_empty() || name.len() > crate::pg::name::MAX_IDENTIFIER_BYTES || is_taken {
        return Err(SchemaError::InvalidName(name.to_owned()).into());
    }
    Ok(())
}

/// Facts on their way to a fingerprint. Those that could not be read are remembered: without them there is none.
#[derive(Default)]
pub struct Printed {
    fingerprint: Fingerprint,
    incomplete: usize,
    first: Vec<String>,
    is_locked: bool,
}

impl Printed {
    pub fn add(&mut self, fact: &RawFact) -> Result<Hash> {
        let hash = hashed(fact)?;
        self.fingerprint.add(&fact.key.schema, hash);
        if let Some(unknown) = &fact.unknown {
            self.incomplete += 1;
            self.is_locked |= unknown.contains("locked by process");
            if self.first.len() < NAMED {
                self.first.push(format!("{} {}: {unknown}", fact.key.kind.as_str(), fact.key.object()));
            }
        }
        Ok(hash)
    }

    /// Errors: 55P03 if something was locked, 42501 if something was not visible.
    pub fn finish(self) -> Result<String> {
        if self.incomplete > 0 {
            let Self { incomplete: count, first, is_locked, .. } = self;
            return Err(SchemaError::Incomplete { count, first, is_locked }.into());
        }
        Ok(self.fingerprint.root())
    }

    /// None if something could not be read.
    pub fn root(self) -> Option<String> {
        (self.incomplete == 0).then(|| self.fingerprint.root())
    }
}

/// Facts on their way to the table, a batch at a time.
#[derive(Default)]
struct Capture {
    printed: Printed,
    batch: Vec<(RawFact, Hash)>,
}

impl Capture {
    fn add(&mut self, name: &str, fact: RawFact) -> Result<()> {
        let hash = self.printed.add(&fact)?;
        self.batch.push((fact, hash));
        if self.batch.len() == BATCH { self.store(name) } else { Ok(()) }
    }

    fn store(&mut self, name: &str) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        memory::in_own_context(|| Self::store_batch(name, batch))
    }

    fn store_batch(name: &str, batch: Vec<(RawFact, Hash)>) -> Result<()> {
        let mut columns: [Vec<Option<String>>; 8] = Default::default();
        for (fact, hash) in batch {
            let hash = hex(&hash);
            let RawFact { key, extension, facets, definitions, .. } = fact;
            let kind = key.kind.as_str().to_owned();
            let values = [
                Some(kind),
                Some(key.schema),
                Some(key.relation),
                Some(key.name),
                extension,
                Some(hash),
                Some(facets),
                definitions,
            ];
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        let arguments = columns.into_iter().map(Into::into);
        own::write(
            "INSERT INTO opdb.schema_fact
                 (snapshot, kind, schema, relation, name, extension, hash, facets, definitions)
             SELECT $1, * FROM ROWS FROM (
                 pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
                 pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9))",
            &std::iter::once(name.into()).chain(arguments).collect::<Vec<_>>(),
        )?;
        Ok(())
    }
}
