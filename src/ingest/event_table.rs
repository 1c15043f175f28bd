//! Making event tables, and knowing them again.

use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use pgrx::pg_sys;

use super::error::IngestError;
use super::period::Period;
use crate::partition::{self, Created};
use crate::pg::error::Result;
use crate::pg::name::{MAX_IDENTIFIER_BYTES, NameError, Qualified, identifier};
use crate::pg::types::Regclass;
use crate::pg::{lock, name, own, role, session, spi};

/// How many hash partitions hold the keys: enough that a large table's key index stays in reach of vacuum.
const KEY_PARTITIONS: usize = 8;

/// A table that `create_event_table` made.
pub struct EventTable {
    pub table: Regclass,
    pub name: Qualified,
    /// Where each source_id is held once, if the table was made with that guarantee.
    pub keys: Option<Qualified>,
    period: Period,
    owner: pg_sys::Oid,
}

impl EventTable {
    /// Errors: 42809 if it is not an event table.
    pub fn get(table: Regclass) -> Result<Self> {
        match Self::find(table)? {
            Some(found) => Ok(found),
            None => Err(IngestError::NotAnEventTable(name::of(table)?.sql()).into()),
        }
    }

    /// The event table that `table` is, if it is one.
    pub fn find(table: Regclass) -> Result<Option<Self>> {
        let row = spi::read_one(
            "SELECT e.key_table, e.period, c.relowner
             FROM opdb.event_table e JOIN pg_catalog.pg_class c ON c.oid = e.table_name
             WHERE e.table_name = $1",
            &[table.into()],
            |row| Ok((row.get::<Regclass>(1)?, row.get::<String>(2)?, row.get::<pg_sys::Oid>(3)?)),
        )?;
        let Some((keys, Some(period), Some(owner))) = row else {
            return Ok(None);
        };
        let period = Period::from_unit(&period).ok_or(IngestError::UnsupportedPeriod(period))?;
        let keys = keys.map(name::of).transpose()?;
        Ok(Some(Self { table, name: name::of(table)?, keys, period, owner }))
    }

    /// Runs `work` with what a writer of this table needs (its keys, its sequence, new partitions) and gets
    /// from the owner, provided the caller may INSERT. Names without a schema mean the table's own schema.
    ///
    /// Errors: 42501 without INSERT, if the owner may not ingest, or if code that would run is not the owner's.
    pub fn as_writer<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // CREATE TRIGGER waits for this lock, and so does not come between the look and the write.
        lock::as_writer(self.table);
        if let Some(keys) = &self.keys {
            lock::as_writer(name::find(&keys.sql())?);
        }
        let rights = spi::read_one_now(
            "SELECT pg_catalog.has_table_privilege($1::oid, 'INSERT'),
                    pg_catalog.has_function_privilege($2, 'opdb.event_records(jsonb)', 'EXECUTE'),
                    pg_catalog.pg_get_userbyid($2)::text, pg_catalog.row_security_active($1::oid),
                    coalesce((SELECT k.relowner = $2 FROM pg_catalog.pg_class k
                              WHERE k.oid = pg_catalog.to_regclass($3)), true)",
            &[self.table.0.into(), self.owner.into(), self.keys.as_ref().map(Qualified::sql).into()],
            |row| {
                let flag = |column| row.get::<bool>(column).map(|flag| flag == Some(true));
                Ok((flag(1)?, flag(2)?, row.get::<String>(3)?, flag(4)?, flag(5)?))
            },
        )?;
        let (allowed, owner_may, owner, row_security, owns_keys) = rights.unwrap_or_default();
        let owner = owner.unwrap_or_default();
        if !allowed {
            return Err(IngestError::NoRight(self.name.sql()).into());
        }
        if row_security {
            return Err(IngestError::RowSecurity(self.name.sql()).into());
        }
        if !owner_may {
            return Err(IngestError::OwnerIsNoOperator { table: self.name.sql(), owner }.into());
        }
        if !owns_keys {
            return Err(IngestError::KeysOfAnother { table: self.name.sql(), owner }.into());
        }
        self.check_code()?;
        let schemas = session::trusted(std::slice::from_ref(&self.name.schema), self.owner)?;
        let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
        session::with_schemas(&schemas, || role::acting_as(self.owner, work))
    }

    /// What runs when rows are written runs as the owner: it must be the owner's, or a superuser's. Whoever has
    /// TRIGGER on the table or its keys could attach a function or a WHEN of his own, and a partition that
    /// belongs to somebody else has checks and expressions of his.
    fn check_code(&self) -> Result<()> {
        let foreign = spi::read_one_now(
            "WITH relation AS (
                 SELECT c.oid, c.relowner FROM pg_catalog.pg_class c
                 WHERE c.oid IN ($1, pg_catalog.to_regclass($3))
                    OR c.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i
                                 WHERE i.inhparent IN ($1, pg_catalog.to_regclass($3)))
             ), code (owner, what) AS (
                 SELECT r.relowner, 'partition ' || r.oid::regclass FROM relation r
                 UNION ALL
                 SELECT f.proowner, pg_catalog.format('trigger %I on %s', t.tgname, t.tgrelid::regclass)
                 FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
                 JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid
                      AND d.refclassid = 'pg_catalog.pg_proc'::regclass
                 JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
                 UNION ALL
                 SELECT o.oprowner, pg_catalog.format('trigger %I on %s', t.tgname, t.tgrelid::regclass)
                 FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
                 JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid
                      AND d.refclassid = 'pg_catalog.pg_operator'::regclass
                 JOIN pg_catalog.pg_operator o ON o.oid = d.refobjid
             )
             SELECT c.what FROM code c LEFT JOIN pg_catalog.pg_roles r ON r.oid = c.owner
             WHERE c.owner <> $2 AND NOT coalesce(r.rolsuper, false) LIMIT 1",
            &[self.table.0.into(), self.owner.into(), self.keys.as_ref().map(Qualified::sql).into()],
            |row| row.get::<String>(1),
        )?;
        match foreign.flatten() {
            Some(what) => Err(IngestError::ForeignCode { table: self.name.sql(), what }.into()),
            None => Ok(()),
        }
    }

    /// Makes the missing partitions for a query of moments.
    pub fn create_partitions(&self, moments: &str, args: &[DatumWithOid]) -> Result<Created> {
        partition::create_for(self.table, self.period.span(), moments, args, |partition| {
            match (&self.keys, self.key_function()?) {
                // Statement triggers of the parent do not see who writes to a partition directly.
                (Some(_), Some(function)) => create_key_triggers(partition, &function, "partition"),
                _ => Ok(()),
            }
        })
    }

    /// The function that keeps the keys, by whatever name it goes now.
    fn key_function(&self) -> Result<Option<String>> {
        spi::write_value::<String>(
            "SELECT pg_catalog.format('%I.%I', n.nspname, f.proname)
             FROM pg_catalog.pg_trigger t
             JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
             JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
             WHERE t.tgrelid = $1 AND t.tgname = 'opdb_keep_keys_insert'",
            &[self.table.into()],
        )
    }
}

fn key_table(name: &Qualified) -> Qualified {
    name.sibling(format!("{}_keys", name.name))
}

fn key_function(name: &Qualified) -> Qualified {
    name.sibling(format!("{}_keep_keys", name.name))
}

pub fn create(
    name: &Qualified,
    period: Period,
    unique_source_id: bool,
    start_at: Option<TimestampWithTimeZone>,
) -> Result<Regclass> {
    check(name, period, start_at)?;
    let (table, local) = (name.sql(), &name.name);
    spi::write(
        &format!(
            "CREATE TABLE {table} (
                 id          bigint GENERATED ALWAYS AS IDENTITY,
                 source      text NOT NULL,
                 source_id   text NOT NULL,
                 occurred_at timestamptz NOT NULL,
                 payload     jsonb NOT NULL,
                 created_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
                 processed   boolean NOT NULL DEFAULT false,
                 PRIMARY KEY (id, occurred_at)
             ) PARTITION BY RANGE (occurred_at)"
        ),
        &[],
    )?;
    let index = |suffix: &str| identifier(format!("{local}_{suffix}"));
    spi::write(&format!("CREATE INDEX {} ON {table} (source, occurred_at)", index("source_idx")), &[])?;
    spi::write(&format!("CREATE INDEX {} ON {table} USING gin (payload)", index("payload_idx")), &[])?;
    let keys = unique_source_id.then(|| key_table(name));
    if let Some(keys) = &keys {
        create_key_table(keys)?;
        create_key_function(name, keys)?;
        create_key_triggers(name, &key_function(name).sql(), "parent")?;
    }
    register(name, keys.as_ref(), period, start_at)
}

fn register(
    name: &Qualified,
    keys: Option<&Qualified>,
    period: Period,
    start_at: Option<TimestampWithTimeZone>,
) -> Result<Regclass> {
    // Tables that were dropped since.
    own::write(
        "DELETE FROM opdb.event_table e
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = e.table_name)",
        &[],
    )?;
    let row = own::write_returning(
        "INSERT INTO opdb.event_table (table_name, key_table, period) VALUES ($1::regclass, $2::regclass, $3)
         ON CONFLICT (table_name) DO UPDATE SET key_table = excluded.key_table, period = excluded.period
         RETURNING table_name, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = table_name)",
        &[name.sql().into(), keys.map(Qualified::sql).into(), period.unit().into()],
        |row| Ok((row.get::<Regclass>(1)?, row.get::<pg_sys::Oid>(2)?)),
    )?;
    let Some((Some(table), Some(owner))) = row.into_iter().next() else {
        return Err(NameError::NoRelation(name.sql()).into());
    };
    let created = EventTable { table, name: name.clone(), keys: keys.cloned(), period, owner };
    created
        .create_partitions("SELECT coalesce($1, pg_catalog.now())", &[DatumWithOid::from(start_at)])?
        .or_fail()?;
    Ok(table)
}

fn check(name: &Qualified, period: Period, start_at: Option<TimestampWithTimeZone>) -> Result<()> {
    let limit = MAX_IDENTIFIER_BYTES - period.suffix_bytes().max("_payload_idx".len());
    if name.name.len() > limit {
        return Err(NameError::TooLong { name: name.name.clone(), bytes: name.name.len(), limit }.into());
    }
    let wanted = [name.sql(), key_table(name).sql()];
    let taken = spi::read_value::<String>(
        "SELECT coalesce((SELECT 'relation ' || w FROM pg_catalog.unnest($1) w WHERE pg_catalog.to_regclass(w) IS NOT NULL LIMIT 1),
                         (SELECT 'function ' || $2 WHERE pg_catalog.to_regprocedure($2) IS NOT NULL))",
        &[wanted.to_vec().into(), format!("{}()", key_function(name).sql()).into()],
    )?;
    if let Some(taken) = taken {
        return Err(IngestError::Exists(taken).into());
    }
    let finite = spi::read_value::<bool>("SELECT pg_catalog.isfinite($1)", &[start_at.into()])?;
    if finite == Some(false) {
        return Err(IngestError::InfiniteStart.into());
    }
    Ok(())
}

fn create_key_table(keys: &Qualified) -> Result<()> {
    spi::write(
        &format!(
            "CREATE TABLE {} (
                 source_id   text PRIMARY KEY,
                 occurred_at timestamptz NOT NULL,
                 id          bigint NOT NULL
             ) PARTITION BY HASH (source_id)",
            keys.sql()
        ),
        &[],
    )?;
    for remainder in 0..KEY_PARTITIONS {
        let partition = keys.sibling(format!("{}_{remainder}", keys.name));
        spi::write(
            &format!(
                "CREATE TABLE {} PARTITION OF {} FOR VALUES WITH (MODULUS {KEY_PARTITIONS}, REMAINDER {remainder})",
                partition.sql(),
                keys.sql()
            ),
            &[],
        )?;
    }
    Ok(())
}

/// The function that keeps the keys true. It belongs to the table's owner, names the key table outright and
/// needs nothing of opdb, so the table works on after DROP EXTENSION and after a restore elsewhere.
///
/// A key names the one row (id, occurred_at) that has its source_id. `opdb.ingest` claims keys before it
/// inserts; for those the trigger finds nothing to do, and everybody else meets the key table's own
/// unique index. Statements are planned anew each time: a plan made for a backfill would serve single rows
/// badly. A partition that was detached keeps its triggers, and its keys.
fn create_key_function(name: &Qualified, keys: &Qualified) -> Result<()> {
    let function = key_function(name).sql();
    let keys = keys.sql();
    let body = format!(
        "DECLARE
    bounds text;
BEGIN
    IF TG_ARGV[0] = 'partition' THEN
        bounds := pg_catalog.pg_get_partition_constraintdef(TG_RELID);
        IF bounds IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        EXECUTE 'DELETE FROM {keys} WHERE ' || coalesce(bounds, 'true');
        RETURN NULL;
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        EXECUTE 'DELETE FROM {keys} k USING old_rows o
                 WHERE k.source_id = o.source_id AND k.id = o.id AND k.occurred_at = o.occurred_at';
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        EXECUTE 'INSERT INTO {keys} (source_id, occurred_at, id)
                 SELECT n.source_id, n.occurred_at, n.id FROM new_rows n
                 WHERE NOT EXISTS (SELECT FROM {keys} k WHERE k.source_id = n.source_id
                                   AND k.id = n.id AND k.occurred_at = n.occurred_at)';
    END IF;
    RETURN NULL;
END",
        keys = keys.replace('\'', "''")
    );
    spi::write(
        &format!(
            "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS {}",
            name::literal(&body)
        ),
        &[],
    )?;
    spi::write(&format!("REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"), &[])?;
    Ok(())
}

fn create_key_triggers(table: &Qualified, function: &str, place: &str) -> Result<()> {
    for (event, tables) in [
        ("INSERT", "REFERENCING NEW TABLE AS new_rows"),
        ("UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        ("DELETE", "REFERENCING OLD TABLE AS old_rows"),
        ("TRUNCATE", ""),
    ] {
        spi::write(
            &format!(
                "CREATE OR REPLACE TRIGGER opdb_keep_keys_{} AFTER {event} ON {} {tables}
                 FOR EACH STATEMENT EXECUTE FUNCTION {function}('{place}')",
                event.to_lowercase(),
                table.sql()
            ),
            &[],
        )?;
    }
    Ok(())
}
