//! The table that is partitioned.

use pgrx::pg_sys;

use super::error::PartitionError;
use crate::pg::error::Result;
use crate::pg::name::{self, Qualified};
use crate::pg::spi;
use crate::pg::types::Regclass;

pub struct Parent {
    pub table: Regclass,
    pub name: Qualified,
    pub owner: pg_sys::Oid,
    pub column: Column,
}

/// The partition key.
pub struct Column {
    pub name: String,
    /// As SQL writes it.
    pub type_name: String,
}

impl Parent {
    /// Errors: 42P01 if there is no such relation, 42809 if it is not partitioned by ranges of one plain column.
    pub fn get(table: Regclass) -> Result<Self> {
        let name = name::of(table)?;
        let row = spi::read_one_now(
            "SELECT c.relowner, p.partstrat::text, p.partnatts::integer, a.attname::text,
                    pg_catalog.format_type(a.atttypid, NULL)
             FROM pg_catalog.pg_class c
             LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0] AND a.attnum > 0
             WHERE c.oid = $1",
            &[table.into()],
            |row| {
                let text = |column| row.get::<String>(column);
                Ok((row.get::<pg_sys::Oid>(1)?, text(2)?, row.get::<i32>(3)?, text(4)?.zip(text(5)?)))
            },
        )?;
        let Some((Some(owner), strategy, columns, column)) = row else {
            return Err(name::NameError::NoRelation(name.sql()).into());
        };
        let error = match (strategy.as_deref(), columns, column) {
            (Some("r"), Some(1), Some((column, type_name))) => {
                return Ok(Self { table, name, owner, column: Column { name: column, type_name } });
            }
            (None, ..) => PartitionError::NotPartitioned(name.sql()),
            (Some("r"), Some(1), None) => PartitionError::OfExpression(name.sql()),
            (Some("r"), ..) => PartitionError::SeveralColumns(name.sql()),
            (Some("l"), ..) => PartitionError::NotByRange(name.sql(), "LIST"),
            _ => PartitionError::NotByRange(name.sql(), "HASH"),
        };
        Err(error.into())
    }

    /// What a plain table would be, partitioned by a column of it.
    ///
    /// Errors: 42P01 if there is no such relation, 42703 if it has no such column.
    pub fn to_be(table: Regclass, column: &str) -> Result<Self> {
        let name = name::of(table)?;
        let row = spi::read_one_now(
            "SELECT c.relowner, pg_catalog.format_type(a.atttypid, NULL)
             FROM pg_catalog.pg_class c
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.oid = $1",
            &[table.into(), column.into()],
            |row| Ok((row.get::<pg_sys::Oid>(1)?, row.get::<String>(2)?)),
        )?;
        match row {
            Some((Some(owner), Some(type_name))) => {
                Ok(Self { table, name, owner, column: Column { name: column.to_owned(), type_name } })
            }
            Some((Some(_), None)) => {
                Err(PartitionError::NoColumn { table: name.sql(), column: column.to_owned() }.into())
            }
            _ => Err(name::NameError::NoRelation(name.sql()).into()),
        }
    }

    /// Whether the caller may do what the owner may.
    pub fn is_callers(&self) -> Result<bool> {
        let sql = "SELECT pg_catalog.pg_has_role($1, 'USAGE')";
        Ok(spi::read_value::<bool>(sql, &[self.owner.into()])? == Some(true))
    }

    /// Errors: 42501 unless the caller may do what the owner may.
    pub fn check_owner(&self) -> Result<()> {
        if self.is_callers()? {
            return Ok(());
        }
        Err(PartitionError::NotOwner(self.name.sql()).into())
    }
}

/// `check_owner` of any table.
pub fn check_owner_of(table: Regclass) -> Result<()> {
    let name = name::of(table)?;
    let sql = "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $1";
    match spi::read_one_now(sql, &[table.into()], |row| row.get::<bool>(1))?.flatten() {
        Some(true) => Ok(()),
        _ => Err(PartitionError::NotOwner(name.sql()).into()),
    }
}
