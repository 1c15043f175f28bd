//! Retired partitions on another server.

use super::error::PartitionError;
use super::parent::Parent;
use crate::pg::error::Result;
use crate::pg::spi;

/// Errors: 0A000 if no partition of the table can be a foreign table.
pub fn check(parent: &Parent) -> Result<()> {
    let why = spi::read_one_now(
        "SELECT coalesce(
            (SELECT pg_catalog.format('it has the unique index %s', i.indexrelid::pg_catalog.regclass)
             FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisunique LIMIT 1),
            (SELECT pg_catalog.format('it has the foreign key %I', k.conname)
             FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1 AND k.contype = 'f' LIMIT 1),
            (SELECT pg_catalog.format('it is referenced by the foreign key %I', k.conname)
             FROM pg_catalog.pg_constraint k WHERE k.confrelid = $1 AND k.contype = 'f' LIMIT 1))",
        &[parent.table.into()],
        |row| row.get::<String>(1),
    )?;
    match why.flatten() {
        Some(why) => Err(PartitionError::NoForeignPartition { table: parent.name.sql(), why }.into()),
        None => Ok(()),
    }
}
