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
    let rows = spi::read(include_str!("../../sql/partition/drift.sql"), &[parent.into()], |row| {
        let text = |column| Ok::<_, pgrx::spi::SpiError>(row.get::<String>(column)?.unwrap_or_default());
        Ok(row.get::<Regclass>(1)?.map(|parent| (parent, text(2), text(3), text(4), text(5))))
    })?;
    let drift = |(parent, partition, aspect, detail, ddl): (Regclass, _, _, _, _)| {
        Ok(Drift { parent, partition: partition?, aspect: aspect?, detail: detail?, ddl: ddl? })
    };
    rows.into_iter().flatten().map(drift).collect()
}
