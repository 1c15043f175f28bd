//! What the catalogs say about a relation and its columns.

use super::error::SuggestError;
use crate::pg::error::Result;
use crate::pg::name::{self, Qualified, identifier};
use crate::pg::spi;
use crate::pg::types::Regclass;

/// A relation that can be read.
pub struct Relation {
    pub oid: Regclass,
    pub name: Qualified,
    /// Whether its rows can be sampled where they lie.
    pub has_blocks: bool,
    pub bytes: i64,
    pub has_primary_key: bool,
    pub columns: Vec<Column>,
}

/// What can be asked of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Text,
    Integer,
    Numeric,
    Float,
    Time,
    /// json and jsonb.
    Json,
    /// Equal or not.
    Comparable,
    /// There or not.
    Opaque,
}

#[derive(Debug)]
pub struct Column {
    pub number: i16,
    pub name: String,
    /// The name of its type, below all domains.
    pub type_name: String,
    pub class: Class,
    /// What a constraint or an index proves.
    pub is_not_null: bool,
    pub is_unique: bool,
    pub is_reference: bool,
    /// Whether two values are equal only if their texts are.
    pub is_equal_as_text: bool,
}

impl Relation {
    /// Errors: 42809 for what has no rows, 42501 if the caller may not read it.
    pub fn read(oid: Regclass) -> Result<Self> {
        let name = name::of(oid)?;
        let facts =
            spi::read_one(include_str!("../../../sql/quality/suggest_relation.sql"), &[oid.into()], |row| {
                Ok((
                    spi::known::<String>(&row, 1)?,
                    spi::known::<bool>(&row, 2)?,
                    spi::known::<bool>(&row, 3)?,
                    spi::known::<bool>(&row, 4)?,
                    spi::known::<i64>(&row, 5)?,
                ))
            })?;
        let facts = facts.filter(|(kind, ..)| ["r", "p", "v", "m", "f"].contains(&kind.as_str()));
        let Some((_, is_readable, has_blocks, has_primary_key, bytes)) = facts else {
            return Err(SuggestError::NoRows(name.sql()).into());
        };
        if !is_readable {
            return Err(SuggestError::NotReadable(name.sql()).into());
        }
        Ok(Self { oid, name, has_blocks, bytes, has_primary_key, columns: columns(oid)? })
    }
}

fn columns(oid: Regclass) -> Result<Vec<Column>> {
    spi::read(include_str!("../../../sql/quality/suggest_columns.sql"), &[oid.into()], |row| {
        Ok(Column {
            number: spi::known(&row, 1)?,
            name: spi::known(&row, 2)?,
            type_name: spi::known(&row, 3)?,
            class: Class::from_name(&spi::known::<String>(&row, 4)?),
            is_not_null: spi::known(&row, 5)?,
            is_unique: spi::known(&row, 6)?,
            is_reference: spi::known(&row, 7)?,
            is_equal_as_text: spi::known(&row, 8)?,
        })
    })
}

impl Class {
    fn from_name(name: &str) -> Self {
        match name {
            "text" => Self::Text,
            "integer" => Self::Integer,
            "numeric" => Self::Numeric,
            "float" => Self::Float,
            "time" => Self::Time,
            "json" => Self::Json,
            "comparable" => Self::Comparable,
            _ => Self::Opaque,
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Numeric | Self::Float)
    }

    /// Whether its values are counted one by one.
    pub fn has_values(self) -> bool {
        matches!(self, Self::Text | Self::Integer | Self::Json)
    }
}

impl Column {
    /// What the sample keeps of a value of the table, which the query calls t.
    pub fn stored(&self) -> String {
        let column = format!("t.{}", identifier(&self.name));
        match self.class {
            Class::Text => format!("{column}::pg_catalog.text"),
            Class::Integer | Class::Numeric | Class::Float | Class::Time => {
                format!("{column}::pg_catalog.{}", identifier(&self.type_name))
            }
            Class::Json => format!("pg_catalog.{}_typeof({column})", self.type_name),
            Class::Comparable => column,
            Class::Opaque => format!("NULLIF({column} IS NOT NULL, false)"),
        }
    }

    /// Its name in the sample.
    pub fn cell(&self) -> String {
        format!("c{}", self.number)
    }

    /// A finite number of the sample, or the seconds since 1970 of a finite time; otherwise NULL.
    pub fn magnitude(&self) -> String {
        let cell = self.cell();
        match self.class {
            Class::Integer => format!("{cell}::float8"),
            Class::Time => format!("CASE WHEN isfinite({cell}) THEN EXTRACT(epoch FROM {cell})::float8 END"),
            Class::Numeric => format!("CASE WHEN {cell} > -1e300 AND {cell} < 1e300 THEN {cell}::float8 END"),
            _ => format!(
                "CASE WHEN {cell} > (-1e300)::float8 AND {cell} < 1e300::float8 THEN {cell}::float8 END"
            ),
        }
    }

    /// Whether the name says that the values stand for something else, as order_id does.
    pub fn is_identifier(&self) -> bool {
        let words = opdb_core::suggest::words(&self.name);
        words.last().is_some_and(|last| matches!(last.as_str(), "id" | "key" | "uuid" | "guid"))
    }
}
