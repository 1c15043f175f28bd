//! Names of database objects: quoting them, parsing what a user wrote, finding what they mean.

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
pub use pgrx::spi::{quote_identifier as identifier, quote_literal as literal};

use super::error::{Report, Result};
use super::types::Regclass;
use super::{spi, subtransaction};

/// A schema and a name in it, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Qualified {
    pub schema: String,
    pub name: String,
}

impl Qualified {
    /// Quoted, for use in SQL.
    pub fn sql(&self) -> String {
        pgrx::spi::quote_qualified_identifier(&self.schema, &self.name)
    }

    /// As facts call it.
    pub fn label(&self) -> String {
        opdb_core::schema::label(&self.schema, &self.name)
    }

    /// Another name in the same schema.
    pub fn sibling(&self, name: String) -> Self {
        Self { schema: self.schema.clone(), name }
    }
}

/// The longest identifier PostgreSQL keeps, in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = (pg_sys::NAMEDATALEN - 1) as usize;

#[derive(Debug, thiserror::Error)]
pub enum NameError {
    #[error("\"{0}\" is not a valid table name")]
    Invalid(String),
    #[error("no schema to create \"{0}\" in")]
    NoSchema(String),
    #[error("schema \"{0}\" does not exist")]
    UnknownSchema(String),
    #[error("relation \"{0}\" does not exist")]
    NoRelation(String),
    #[error("the name \"{name}\" is too long: {bytes} bytes, at most {limit} fit here")]
    TooLong { name: String, bytes: usize, limit: usize },
    #[error("{} is {}", .0.sql(), .1)]
    NotATable(Qualified, String),
}

impl Report for NameError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Invalid(_) => PgSqlErrorCode::ERRCODE_INVALID_NAME,
            Self::NoSchema(_) | Self::UnknownSchema(_) => PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
            Self::NoRelation(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Self::TooLong { .. } => PgSqlErrorCode::ERRCODE_NAME_TOO_LONG,
            Self::NotATable(..) => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Invalid(_) => {
                "Write table or schema.table; put names with capitals, spaces or dots in double quotes."
                    .into()
            }
            Self::UnknownSchema(schema) => {
                format!("CREATE SCHEMA {}, or check the spelling.", identifier(schema))
            }
            Self::NoSchema(_) => "Write schema.table, or set search_path to a schema that exists.".into(),
            Self::NoRelation(_) => "Check the spelling, or write it as schema.table.".into(),
            Self::TooLong { .. } => "Choose a shorter name.".into(),
            Self::NotATable(..) => {
                "Name an ordinary or a partitioned table; instead of a partition, the table it belongs to."
                    .into()
            }
        })
    }
}

crate::reported!(NameError);

/// The identifiers that `text` consists of, read as PostgreSQL does (case folding, double quotes).
fn parse(text: &str) -> Result<Vec<String>> {
    let parts = subtransaction::run(|| {
        spi::read_value::<Vec<String>>("SELECT pg_catalog.parse_ident($1)", &[text.into()])
    });
    match parts {
        Ok(Some(parts)) if matches!(parts.len(), 1 | 2) => Ok(parts),
        _ => Err(NameError::Invalid(text.to_owned()).into()),
    }
}

/// Errors: 42622 for what the server would cut off.
pub fn check_length(name: &str) -> Result<()> {
    if name.len() <= MAX_IDENTIFIER_BYTES {
        return Ok(());
    }
    Err(NameError::TooLong { name: name.to_owned(), bytes: name.len(), limit: MAX_IDENTIFIER_BYTES }.into())
}

/// Parses `table` or `schema.table`. A name without a schema goes to the first schema of the caller's
/// `search_path`, as CREATE TABLE would put it.
pub fn parse_new(text: &str) -> Result<Qualified> {
    let parts = parse(text)?;
    parts.iter().try_for_each(|part| check_length(part))?;
    match <[String; 2]>::try_from(parts) {
        Ok([schema, name]) => {
            let known = spi::read_value::<bool>(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)",
                &[schema.as_str().into()],
            )?;
            match known {
                Some(true) => Ok(Qualified { schema, name }),
                _ => Err(NameError::UnknownSchema(schema).into()),
            }
        }
        Err(mut parts) if parts.len() == 1 => {
            let schema = spi::read_value::<String>("SELECT pg_catalog.current_schema()::text", &[])?
                .ok_or_else(|| NameError::NoSchema(text.to_owned()))?;
            Ok(Qualified { schema, name: parts.remove(0) })
        }
        Err(_) => Err(NameError::Invalid(text.to_owned()).into()),
    }
}

/// The relation that `text` names in the caller's `search_path`.
pub fn find(text: &str) -> Result<Regclass> {
    parse(text)?;
    spi::read_value::<Regclass>("SELECT pg_catalog.to_regclass($1)", &[text.into()])?
        .ok_or_else(|| NameError::NoRelation(text.to_owned()).into())
}

/// Schema and name of a relation, as they are now: a call may ask for what it has just made.
pub fn of(relation: Regclass) -> Result<Qualified> {
    spi::read_one_now(
        "SELECT n.nspname::text, c.relname::text
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = $1",
        &[relation.into()],
        |row| Ok((row.get::<String>(1)?, row.get::<String>(2)?)),
    )?
    .and_then(|(schema, name)| Some(Qualified { schema: schema?, name: name? }))
    .ok_or_else(|| NameError::NoRelation(relation.0.to_string()).into())
}

/// The name of a relation that must be an ordinary or a partitioned table of the user's.
///
/// Errors: 42809 for any other kind of relation, a partition, a temporary table or a table of the system.
pub fn of_table(relation: Regclass) -> Result<Qualified> {
    let name = of(relation)?;
    let what = spi::read_one_now(
        "SELECT CASE
                WHEN c.relkind = 'v' THEN 'a view'
                WHEN c.relkind = 'm' THEN 'a materialized view'
                WHEN c.relkind = 'f' THEN 'a foreign table'
                WHEN c.relkind IN ('i', 'I') THEN 'an index'
                WHEN c.relkind = 'S' THEN 'a sequence'
                WHEN c.relkind = 'c' THEN 'a composite type'
                WHEN c.relkind NOT IN ('r', 'p') THEN 'another kind of relation'
                WHEN c.relispartition THEN 'a partition'
                WHEN c.relpersistence = 't' THEN 'a temporary table'
                WHEN n.nspname LIKE 'pg\\_%' OR n.nspname IN ('information_schema', 'opdb', 'opdb_deploy') THEN 'a table of the system'
                END
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
        &[relation.into()],
        |row| row.get::<String>(1),
    )?
    .flatten();
    match what {
        Some(what) => Err(NameError::NotATable(name, what).into()),
        None => Ok(name),
    }
}
