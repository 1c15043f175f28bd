//! The databases of the cluster, for a process that is connected to none of them.

use pgrx::pg_sys;

/// The datconnlimit of a database whose DROP was interrupted: nobody can connect any more.
const BEING_DROPPED: i32 = -2;

/// A database that can be connected to.
pub struct Database {
    pub oid: pg_sys::Oid,
    pub name: String,
}

/// Every database that allows connections and is no template. Inside a transaction.
///
/// Source: `get_database_list` of the server's autovacuum launcher.
#[allow(unsafe_code)]
pub fn all() -> Vec<Database> {
    let mut found = Vec::new();
    // SAFETY: in a transaction; the scan and the relation are closed below, or by the end of the transaction. A tuple
    // of pg_database begins with the struct that is read, and what is read of it is copied.
    unsafe {
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            let Some(row) = tuple.as_ref() else { break };
            let data = row.t_data.cast::<u8>().add(usize::from((*row.t_data).t_hoff));
            let database = &*data.cast::<pg_sys::FormData_pg_database>();
            if database.datallowconn && !database.datistemplate && database.datconnlimit != BEING_DROPPED {
                let name = std::ffi::CStr::from_ptr(database.datname.data.as_ptr());
                found.push(Database { oid: database.oid, name: name.to_string_lossy().into_owned() });
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    }
    found
}
