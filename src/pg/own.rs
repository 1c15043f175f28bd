//! opdb's own tables. No role may write to them; opdb's functions do, as the owner of the extension. So what
//! stands there went through the checks of the function that put it there.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{self, SpiHeapTupleData};

use super::error::Result;
use super::role::acting_as;
use super::spi::{
    on_latest_snapshot, read_value, write as write_as_caller, write_returning as write_returning_as_caller,
};
use super::spool::Spool;

/// Runs a statement that writes to opdb's own tables and to nothing else: it must hold no SQL and call no
/// function of a user's. Returns how many rows it touched.
pub fn write<'a>(sql: &str, args: &[DatumWithOid<'a>]) -> Result<usize> {
    acting_as(owner()?, || write_as_caller(sql, args))
}

/// `write` that maps the rows it returns.
pub fn write_returning<'a, T>(
    sql: &str,
    args: &[DatumWithOid<'a>],
    row: impl FnMut(SpiHeapTupleData) -> spi::Result<T>,
) -> Result<Vec<T>> {
    acting_as(owner()?, || write_returning_as_caller(sql, args, row))
}

/// `write_returning` for one row of one column.
pub fn write_value<'a, T: pgrx::IntoDatum + pgrx::FromDatum>(
    sql: &str,
    args: &[DatumWithOid<'a>],
) -> Result<Option<T>> {
    Ok(write_returning(sql, args, |row| row.get::<T>(1))?.pop().flatten())
}

/// `write` that takes rows from a spool.
pub fn write_from<'a>(spool: &Spool, sql: &str, args: &[DatumWithOid<'a>]) -> Result<()> {
    acting_as(owner()?, || spool.write(sql, args, |_| Ok(()))).map(drop)
}

/// Runs `work`, which reads catalogs and opdb's own tables and runs no code of a user's, as the owner: everybody gets
/// the same answer.
pub fn read_as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    acting_as(owner()?, work)
}

/// `read_as_owner` on a snapshot of now, whatever the isolation level: for what other transactions have written.
pub fn read_latest<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    read_as_owner(|| on_latest_snapshot(work))
}

/// In SQL, for any server: whether an object belongs to the extension opdb. A schema of that name is not enough:
/// whoever may create one could put an object of his own there. `catalog` is where the object of that `oid` stands.
pub fn belongs_to_opdb(catalog: &str, oid: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
                 WHERE d.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass AND d.objid = {oid}
                   AND d.deptype = 'e' AND x.extname = 'opdb')"
    )
}

/// Who called: inside `write`, `current_user` is the owner.
pub fn caller() -> Result<Option<String>> {
    read_value::<String>("SELECT current_user::text", &[])
}

fn owner() -> Result<pg_sys::Oid> {
    let owner = read_value::<pg_sys::Oid>(
        "SELECT extowner FROM pg_catalog.pg_extension WHERE extname = 'opdb'",
        &[],
    )?;
    Ok(owner.unwrap_or(pg_sys::InvalidOid))
}
