//! Where partitions differ from their parent.

use super::error::PartitionError;
use crate::pg::error::Result;
use crate::pg::name;
use crate::pg::spi;
use crate::pg::types::Regclass;

pub struct Drift {
    pub parent: Regclass,
    pub partition: String,
    pub aspect: String,
    pub detail: String,
    pub ddl: String,
}

/// Errors: 42704 if a table is named that is not managed.
pub fn find(parent: Option<Regclass>) -> Result<Vec<Drift>> {
    if let Some(parent) = parent {
        let sql = "SELECT EXISTS (SELECT FROM opdb.partition_set WHERE parent = $1)";
        if spi::read_value::<bool>(sql, &[parent.into()])? != Some(true) {
            return Err(PartitionError::NotManaged(name::of(parent)?.sql()).into());
        }
    }
    spi::read(include_str!("../../sql/partition/drift.sql"), &[parent.into()], |row| {
        Ok(Drift {
            parent: spi::known(&row, 1)?,
            partition: spi::known(&row, 2)?,
            aspect: spi::known(&row, 3)?,
            detail: spi::known(&row, 4)?,
            ddl: spi::known(&row, 5)?,
        })
    })
}
