//! The rows of a partition on another server: how they get there, and whether they are the same.

use super::error::ArchiveError;
use crate::partition::children::Partition;
use crate::partition::column;
use crate::partition::parent::Parent;
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier, literal};
use crate::pg::remote::{self, Access, Remote};
use crate::pg::types::Regclass;
use crate::pg::{own, spi};

/// Rows are sent when so many bytes of them have come together.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// So many rows are held in memory at a time while they are read.
const FETCHED: std::ffi::c_long = 50;
/// Of the transaction there: for comparing rows, and while it waits for those of here.
const LIMITS: [(&str, &str); 2] = [("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "2h")];
/// What the comment there says more as long as opdb may empty the table.
const UNFINISHED: &str = ", not attached yet";
/// DEFAULT_COLLATION_OID: as the database sorts.
const DEFAULT_COLLATION: u32 = 100;

/// How the server's texts are sorted, for any version from 15 on. C libraries write UTF-8 in two ways.
const LOCALE: &str =
    "SELECT pg_catalog.lower(pg_catalog.replace(pg_catalog.concat_ws(' ', d.datlocprovider::text,
        d.datcollate, d.datctype, coalesce(j.j ->> 'datlocale', j.j ->> 'daticulocale')), '-', ''))
    FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d)) j (j)
    WHERE d.datname = pg_catalog.current_database()";

/// Where retired partitions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub environment: String,
    /// None for a schema called like the partition's.
    pub schema: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Shipment {
    environment: String,
    partition: Regclass,
    here: Qualified,
    there: Qualified,
    columns: Vec<Column>,
    /// The bounds as the server writes them.
    lower: String,
    upper: String,
    range: String,
    /// What tells the table there from anybody else's: which partition of which server's database it is.
    mark: String,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    type_name: String,
    /// Without typmod.
    bare_type: String,
    collation: Option<String>,
    is_not_null: bool,
    sorts_as_database: bool,
    is_generated: bool,
}

/// What is there under the name.
enum Found {
    Nothing,
    Unfinished,
    /// Of columns that the partition does not have any more.
    Outdated,
    /// It was, or was about to be, attached here.
    Finished,
}

impl Shipment {
    pub fn of(parent: &Parent, partition: &Partition, place: Place) -> Result<Self> {
        let here = partition.name.clone();
        let schema = place.schema.unwrap_or_else(|| here.schema.clone());
        let range = match partition.lower.as_str() {
            "MINVALUE" => {
                format!("{} < {}", identifier(&parent.column.name), column::value(parent, &partition.upper))
            }
            lower => column::within(parent, lower, &partition.upper),
        };
        let (lower, upper) = (end(&partition.lower), end(&partition.upper));
        let mark = format!(
            "opdb: partition {} of {} from {lower} to {upper}, origin {}",
            here.sql(),
            parent.name.sql(),
            origin(partition.table)?
        );
        Ok(Self {
            environment: place.environment,
            partition: partition.table,
            columns: columns(partition.table)?,
            there: Qualified { schema, name: here.name.clone() },
            here,
            lower,
            upper,
            range,
            mark,
        })
    }

    /// The table there, with the rows. If they are there already, they are not sent again.
    ///
    /// Errors: 42P07 for a table there that opdb did not make, or that has other rows and was attached; 42704 for a type
    /// or a collation that does not exist there; 0A000 if texts are sorted otherwise there; those of the environment.
    pub fn ship(&self) -> Result<()> {
        self.connected(|remote| {
            self.check_types(remote)?;
            match self.found(remote)? {
                Found::Nothing => self.create(remote)?,
                Found::Outdated => {
                    remote.execute(&format!("DROP TABLE {}", self.there.sql()))?;
                    self.create(remote)?;
                }
                _ if self.is_complete(remote)? => return Ok(()),
                _ => {}
            }
            self.send(remote)
        })
    }

    /// Whether `found` has the rows of the partition. Empties it if not.
    fn is_complete(&self, remote: &Remote) -> Result<bool> {
        // A connection of an interrupted run may still be at work there, or another run may finish: look again.
        remote.execute(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.there.sql()))?;
        let is_finished = matches!(self.found(remote)?, Found::Finished);
        let there = self.digest_there(remote)?;
        if there.rows == "0" && !is_finished {
            return Ok(false);
        }
        if there == self.digest_here()? {
            return Ok(true);
        }
        if is_finished {
            return Err(ArchiveError::OtherRowsThere {
                environment: self.environment.clone(),
                table: self.there.sql(),
            }
            .into());
        }
        remote.execute(&format!("TRUNCATE {}", self.there.sql()))?;
        Ok(false)
    }

    /// Makes sure that the rows are the same on both sides and does `work`, which puts a foreign table in the
    /// partition's place; both are as they were if that fails. The caller keeps writers away.
    ///
    /// Errors: 55006 if the rows there are not those that are here, 55P03 if somebody waits to write to the partition.
    pub fn verified(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let here = self.digest_here()?;
        self.connected(|remote| {
            if matches!(self.found(remote)?, Found::Nothing | Found::Outdated) {
                let (partition, environment) = (self.here.sql(), self.environment.clone());
                return Err(ArchiveError::NotShipped { partition, environment }.into());
            }
            remote.execute(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.there.sql()))?;
            self.found(remote)?;
            if self.digest_there(remote)? != here {
                return Err(self.differs());
            }
            self.check_writers()?;
            work()?;
            // From now on nobody empties it: it commits there just before it commits here.
            remote.execute(&self.comment(&self.mark)).map(drop)
        })
    }

    /// Whoever waits for the partition holds the table: asking for that would make a deadlock for him.
    fn check_writers(&self) -> Result<()> {
        let sql = "SELECT EXISTS (
            SELECT FROM pg_catalog.pg_locks l
            JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
            WHERE l.locktype = 'relation' AND NOT l.granted
              AND l.relation IN (SELECT relid FROM pg_catalog.pg_partition_tree($1)))";
        let waits = spi::read_one_now(sql, &[self.partition.into()], |row| row.get::<bool>(1))?;
        match waits.flatten() {
            Some(true) => Err(ArchiveError::Written(self.here.sql()).into()),
            _ => Ok(()),
        }
    }

    /// The foreign table, as a partition. Columns, defaults and constraints are the parent's.
    pub fn create_foreign(&self, parent: &Parent) -> String {
        // The table there does not generate anything: what is written through here would be NULL.
        let updatable =
            if self.columns.iter().any(|it| it.is_generated) { ", updatable 'false'" } else { "" };
        format!(
            "CREATE FOREIGN TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({}) SERVER {} OPTIONS (schema_name {}, table_name {}, fetch_size '1000'{updatable})",
            self.here.sql(),
            parent.name.sql(),
            self.lower,
            self.upper,
            identifier(&self.environment),
            literal(&self.there.schema),
            literal(&self.there.name),
        )
    }

    /// Runs `work` in one transaction there.
    fn connected(&self, work: impl FnOnce(&Remote) -> Result<()>) -> Result<()> {
        remote::with(&self.environment, Access::Write, |remote| {
            // A large partition takes its time.
            remote.set_local(&LIMITS);
            work(remote)?;
            remote.execute("COMMIT").map(drop)
        })
    }

    fn found(&self, remote: &Remote) -> Result<Found> {
        let sql = format!(
            "SELECT CASE WHEN c.relkind = 'r' AND c.relowner = CURRENT_USER::pg_catalog.regrole AND NOT (c.relhastriggers OR c.relhasrules)
                         THEN pg_catalog.obj_description(c.oid, 'pg_class') END
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}",
            literal(&self.there.schema),
            literal(&self.there.name)
        );
        let Some(mut row) = remote.query(&sql, 1)?.pop() else { return Ok(Found::Nothing) };
        let comment = row.pop().flatten().unwrap_or_default();
        match comment.strip_prefix(&self.mark) {
            Some("") => Ok(Found::Finished),
            Some(state) if state == self.unfinished() => Ok(Found::Unfinished),
            Some(state) if state.starts_with(UNFINISHED) => Ok(Found::Outdated),
            _ => Err(ArchiveError::NameTakenThere {
                environment: self.environment.clone(),
                table: self.there.sql(),
            }
            .into()),
        }
    }

    fn create(&self, remote: &Remote) -> Result<()> {
        let schema = &self.there.schema;
        let sql = format!("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {}", literal(schema));
        if remote.query(&sql, 1)?.is_empty() {
            remote.execute(&format!("CREATE SCHEMA {}", identifier(schema)))?;
        }
        remote.execute(&self.create_there())?;
        remote.execute(&self.comment(&format!("{}{}", self.mark, self.unfinished()))).map(drop)
    }

    /// With the columns that it is made of.
    fn unfinished(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(Column::definition).collect();
        format!("{UNFINISHED}: {}", columns.join(", "))
    }

    fn create_there(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(Column::definition).collect();
        format!(
            "CREATE TABLE {} ({}, CONSTRAINT opdb_range CHECK ({}))",
            self.there.sql(),
            columns.join(", "),
            self.range
        )
    }

    fn comment(&self, text: &str) -> String {
        format!("COMMENT ON TABLE {} IS {}", self.there.sql(), literal(text))
    }

    /// Not through a foreign table: a connection of postgres_fdw's that breaks keeps the transaction here from ever
    /// committing, even to write down that it broke.
    fn send(&self, remote: &Remote) -> Result<()> {
        // When it was copied counts from now.
        own::write(
            "DELETE FROM opdb.retired_partition WHERE partition = $1 AND state = 'shipped'",
            &[self.partition.0.into()],
        )?;
        let insert = format!("INSERT INTO {} ({}) VALUES ", self.there.sql(), self.names());
        let mut batch = insert.clone();
        let rows = format!("SELECT {} FROM {}", self.row(), self.here.sql());
        spi::for_each(
            &rows,
            FETCHED,
            |row| row.get::<String>(1),
            |row| {
                batch.push_str(if batch.len() > insert.len() { ",(" } else { "(" });
                batch.push_str(&row.unwrap_or_default());
                batch.push(')');
                if batch.len() > BATCH_BYTES {
                    remote.execute(&batch)?;
                    batch.truncate(insert.len());
                }
                Ok(())
            },
        )?;
        if batch.len() > insert.len() {
            remote.execute(&batch)?;
        }
        Ok(())
    }

    fn names(&self) -> String {
        self.columns.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// A row as literals, each as its type writes it: what is sent, and what is compared.
    fn row(&self) -> String {
        let text = |it: &Column| {
            format!(
                "pg_catalog.quote_nullable(CASE WHEN {0} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {0}) END)",
                it.name
            )
        };
        let texts: Vec<String> = self.columns.iter().map(text).collect();
        format!("pg_catalog.array_to_string(ARRAY[{}]::text[], ',')", texts.join(", "))
    }

    fn digest_here(&self) -> Result<Digest> {
        // A transaction that began before others wrote must see what they wrote, too.
        let sums = spi::on_latest_snapshot(|| {
            spi::read_one(&self.digest(&self.here), &[], |row| {
                Ok([row.get::<String>(1)?, row.get::<String>(2)?, row.get::<String>(3)?])
            })
        })?;
        Ok(Digest::of(sums.unwrap_or_default().to_vec()))
    }

    fn digest_there(&self, remote: &Remote) -> Result<Digest> {
        Ok(Digest::of(remote.query_row(&self.digest(&self.there), 3)?))
    }

    /// The number of rows, and sums of their hashes, for which order does not matter.
    fn digest(&self, table: &Qualified) -> String {
        let half = |from| {
            format!(
                "coalesce(pg_catalog.sum(('x' || pg_catalog.substr(h, {from}, 16))::bit(64)::bigint::numeric), 0)::text"
            )
        };
        format!(
            "SELECT pg_catalog.count(*)::text, {}, {}
             FROM (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(r.line, 'UTF8')), 'hex') AS h
                   FROM (SELECT {} FROM {}) AS r (line)) hashed",
            half(1),
            half(17),
            self.row(),
            table.sql()
        )
    }

    fn differs(&self) -> crate::pg::error::Failure {
        ArchiveError::WrittenSince { partition: self.here.sql(), environment: self.environment.clone() }
            .into()
    }

    fn check_types(&self, remote: &Remote) -> Result<()> {
        let types = self.columns.iter().map(|it| literal(&it.bare_type));
        self.check_names(remote, "type", "to_regtype", types.collect())?;
        let collations = self.columns.iter().filter_map(|it| it.collation.as_deref().map(literal));
        self.check_names(remote, "collation", "to_regcollation", collations.collect())?;
        if !self.columns.iter().any(|it| it.sorts_as_database) {
            return Ok(());
        }
        let here = spi::read_one_now(LOCALE, &[], |row| row.get::<String>(1))?.flatten();
        if remote.query_row(LOCALE, 1)?.pop().flatten() == here {
            return Ok(());
        }
        Err(ArchiveError::SortsOtherwise(self.environment.clone()).into())
    }

    fn check_names(
        &self,
        remote: &Remote,
        kind: &'static str,
        lookup: &str,
        names: Vec<String>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT w.name FROM pg_catalog.unnest(ARRAY[{}]::text[]) w (name) WHERE pg_catalog.{lookup}(w.name) IS NULL LIMIT 1",
            names.join(", ")
        );
        match remote.query(&sql, 1)?.pop().and_then(|mut row| row.pop().flatten()) {
            Some(name) => {
                let environment = self.environment.clone();
                Err(ArchiveError::MissingThere { environment, kind, name }.into())
            }
            None => Ok(()),
        }
    }

    /// For a person to read.
    pub fn shown(&self) -> String {
        let (environment, names) = (identifier(&self.environment), self.names());
        format!(
            "/* on environment {environment}, unless the rows are there: */ {};\n/* from here: */ INSERT INTO {} ({names}) SELECT {names} FROM {}",
            self.create_there(),
            self.there.sql(),
            self.here.sql()
        )
    }

    pub fn comparison_shown(&self) -> String {
        format!(
            "/* go on only if {} here and {} on environment {} have the same rows */",
            self.here.sql(),
            self.there.sql(),
            identifier(&self.environment)
        )
    }
}

impl Column {
    fn definition(&self) -> String {
        let collation = self.collation.as_ref().map(|it| format!(" COLLATE {it}")).unwrap_or_default();
        let not_null = if self.is_not_null { " NOT NULL" } else { "" };
        format!("{} {}{collation}{not_null}", self.name, self.type_name)
    }
}

#[derive(PartialEq, Eq)]
struct Digest {
    rows: String,
    sums: Vec<Option<String>>,
}

impl Digest {
    fn of(mut values: Vec<Option<String>>) -> Self {
        let sums = values.split_off(1.min(values.len()));
        Self { rows: values.pop().flatten().unwrap_or_default(), sums }
    }
}

/// What is stored: virtual columns are the foreign table's own.
fn columns(partition: Regclass) -> Result<Vec<Column>> {
    spi::read_now(
        "SELECT pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, a.atttypmod),
                pg_catalog.format_type(a.atttypid, NULL),
                CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.format('%I.%I', n.nspname, c.collname) END,
                a.attnotnull, a.attcollation = $2, a.attgenerated <> ''
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
         ORDER BY a.attnum",
        &[partition.into(), pgrx::pg_sys::Oid::from(DEFAULT_COLLATION).into()],
        |row| {
            Ok(Column {
                name: spi::known(&row, 1)?,
                type_name: spi::known(&row, 2)?,
                bare_type: spi::known(&row, 3)?,
                collation: row.get::<String>(4)?,
                is_not_null: spi::known(&row, 5)?,
                sorts_as_database: row.get::<bool>(6)? == Some(true),
                is_generated: spi::known(&row, 7)?,
            })
        },
    )
}

/// This server, this database and this table: a copy of this database elsewhere has other tables of the same names.
fn origin(partition: Regclass) -> Result<String> {
    let found = own::read_as_owner(|| {
        spi::read_one_now(
            "SELECT pg_catalog.concat_ws('/', s.system_identifier, d.oid, $1::oid)
             FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d
             WHERE d.datname = pg_catalog.current_database()",
            &[partition.into()],
            |row| row.get::<String>(1),
        )
    })?;
    Ok(found.flatten().unwrap_or_default())
}

/// A bound for FOR VALUES.
fn end(bound: &str) -> String {
    if matches!(bound, "MINVALUE" | "MAXVALUE") { bound.to_owned() } else { literal(bound) }
}
