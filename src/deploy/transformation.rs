//! What is sent of a column instead of its value.

use crate::compat::LocalTable;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::{own, spi};

/// The transformations of some tables.
#[derive(Default)]
pub struct Transformations(Vec<Transformation>);

pub struct Transformation {
    pub table: Qualified,
    pub column: String,
    /// In parentheses.
    pub expression: String,
}

impl Transformations {
    pub fn read(tables: &[LocalTable]) -> Result<Self> {
        let mut all = Vec::new();
        for table in tables {
            let found = own::read_as_owner(|| {
                spi::on_latest_snapshot(|| {
                    spi::read(
                        "SELECT column_name::text, expression FROM opdb.transformation WHERE table_name = $1
                         ORDER BY column_name",
                        &[table.relation.into()],
                        |row| Ok((spi::known::<String>(&row, 1)?, spi::known::<String>(&row, 2)?)),
                    )
                })
            })?;
            all.extend(found.into_iter().map(|(column, expression)| Transformation {
                table: table.name.clone(),
                column,
                expression,
            }));
        }
        Ok(Self(all))
    }

    /// Those of one table.
    pub fn of_table<'a>(&'a self, table: &'a Qualified) -> impl Iterator<Item = &'a Transformation> {
        self.0.iter().filter(move |it| it.table == *table)
    }

    pub fn of(&self, table: &Qualified, column: &str) -> Option<String> {
        self.of_table(table).find(|it| it.column == column).map(|it| it.expression.clone())
    }
}
