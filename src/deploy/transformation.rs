//! What is sent of a column instead of its value.

use serde_json::Value;

use super::error::DeployError;
use crate::compat::LocalTable;
use crate::pg::error::Result;
use crate::pg::expression::{self, Volatility};
use crate::pg::name::{self, Qualified};
use crate::pg::types::Regclass;
use crate::pg::{lock, own, spi};
use crate::quality;

/// The transformations of some tables.
#[derive(Default)]
pub struct Transformations(Vec<Transformation>);

#[derive(Clone)]
pub struct Transformation {
    pub table: Qualified,
    pub column: String,
    /// In parentheses.
    pub expression: String,
    /// As it was written.
    pub text: String,
}

impl Transformations {
    pub fn read(tables: &[LocalTable]) -> Result<Self> {
        let mut all = Vec::new();
        for table in tables {
            let found = own::read_latest(|| {
                spi::read(
                    "SELECT column_name::text, expression FROM opdb.transformation WHERE table_name = $1
                         ORDER BY column_name",
                    &[table.relation.into()],
                    |row| Ok((spi::known::<String>(&row, 1)?, spi::known::<String>(&row, 2)?)),
                )
            })?;
            for (column, text) in found {
                let expression = expression::parenthesised(&text)?;
                all.push(Transformation { table: table.name.clone(), column, expression, text });
            }
        }
        Ok(Self(all))
    }

    /// Those of one table, as they were written.
    pub fn to_json(&self, table: &Qualified) -> Value {
        let of_table = self.0.iter().filter(|it| it.table == *table);
        Value::Object(of_table.map(|it| (it.column.clone(), Value::from(it.text.as_str()))).collect())
    }

    pub fn of(&self, table: &Qualified, column: &str) -> Option<&Transformation> {
        self.0.iter().find(|it| it.table == *table && it.column == column)
    }
}

/// Has `expression` sent instead of the column's value, from the next deployment on.
///
/// Errors: 42703 without such a column, 42601 or another of the server's if the expression is none on that table, 22023
/// if it is volatile, 42501 for who is not a member of the table's owner, as whom it is evaluated.
pub fn add(table: Regclass, column: &str, expression: &str) -> Result<()> {
    let name = name::of_table(table)?;
    lock::against_alter(table);
    let of = type_of(table, column)?
        .ok_or_else(|| DeployError::NoColumn { table: name.sql(), column: column.to_owned() })?;
    let parenthesised = expression::parenthesised(expression)?;
    quality::as_scored(table, "true", || {
        let as_condition = format!("({parenthesised} IS NULL)");
        if expression::volatility(&as_condition, &format!("{} t", name.sql()))? == Volatility::Volatile {
            return Err(DeployError::VolatileTransformation(expression.to_owned()).into());
        }
        let sql = format!("SELECT ({parenthesised}::{of})::text FROM {} t LIMIT 0", name.sql());
        spi::read(&sql, &[], |_| Ok(())).map(drop)
    })?;
    own::write(
        "INSERT INTO opdb.transformation (table_name, column_name, expression, created_by) VALUES ($1, $2::name, $3, $4)
         ON CONFLICT (table_name, column_name) DO UPDATE
         SET expression = excluded.expression, created_at = pg_catalog.clock_timestamp(), created_by = excluded.created_by",
        &[table.into(), column.into(), expression.into(), own::caller()?.into()],
    )?;
    Ok(())
}

/// Errors: 42704 if there is none.
pub fn remove(table: Regclass, column: &str) -> Result<()> {
    let name = name::of_table(table)?;
    quality::as_scored(table, "true", || Ok(()))?;
    let dropped = own::write(
        "DELETE FROM opdb.transformation WHERE table_name = $1 AND column_name = $2::name",
        &[table.into(), column.into()],
    )?;
    if dropped == 0 {
        let (table, column) = (name.sql(), column.to_owned());
        return Err(DeployError::NoTransformation { table, column }.into());
    }
    Ok(())
}

/// The type of a column that can be written.
fn type_of(table: Regclass, column: &str) -> Result<Option<String>> {
    spi::read_value::<String>(
        "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = $1 AND a.attname = $2::name AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''",
        &[table.into(), column.into()],
    )
}
