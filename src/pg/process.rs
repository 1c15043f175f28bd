//! opdb's own processes: starting, connecting, waiting, transactions.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use pgrx::PgMemoryContexts;
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::prelude::*;

use super::error::{Failure, Result};
use super::{session, version};

/// Makes this process one that SIGTERM ends at once, whatever SQL it runs, and connects it to a database; to
/// none if that is 0, which leaves it the catalogs that all databases share. Role 0 is the bootstrap superuser, for
/// opdb's own SQL. Does not return if the role may not connect.
#[allow(unsafe_code)]
pub fn connect(database: pg_sys::Oid, role: pg_sys::Oid) {
    version::install_signal_handlers(role != pg_sys::InvalidOid);
    // SAFETY: called once, first thing in a background worker that asked for a database connection.
    unsafe {
        pg_sys::BackgroundWorkerUnblockSignals();
        if database == pg_sys::InvalidOid {
            pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
        } else {
            pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, 0);
        }
    }
}

/// Runs `work` in a transaction of its own: READ COMMITTED and writable, whatever the defaults are. After a failure
/// nothing of it is left.
#[allow(unsafe_code)]
pub fn transaction<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: a background worker that is connected and in no transaction.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::XactReadOnly = false;
            pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let value = work()?;
        // SAFETY: pops what was pushed above; `work` popped every one of its own.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    }))
    .catch_others(|caught| Err(Failure::from_caught(caught)))
    .execute();
    if result.is_err() {
        // SAFETY: the error has been taken off the server's stack.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    result
}

/// Sleeps until the time is over or somebody wants something of this process; reads changed settings, and says whether
/// it did.
#[allow(unsafe_code)]
pub fn wait(time: Duration) -> bool {
    session::wait(time);
    // SAFETY: outside a transaction, where settings may change.
    unsafe {
        let is_reload = pg_sys::ConfigReloadPending != 0;
        if is_reload {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
        is_reload
    }
}

/// Tells the statistics what this process did in its last transactions, which the server does for clients only.
#[allow(unsafe_code)]
pub fn report_statistics() {
    // SAFETY: outside a transaction.
    unsafe { pg_sys::pgstat_report_stat(false) };
}

/// Wakes a process of the server from its `wait`. One that is gone is not missed.
#[allow(unsafe_code)]
pub fn wake(pid: i32) {
    // SAFETY: a PGPROC stays where it is, whoever uses it; its latch may be set by anybody at any time.
    unsafe {
        if let Some(process) = pg_sys::BackendPidGetProc(pid).as_mut() {
            pg_sys::SetLatch(&raw mut process.procLatch);
        }
    }
}

/// Whether a process of the server has this number.
#[allow(unsafe_code)]
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: only looks.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Whether the server is loading shared_preload_libraries.
#[allow(unsafe_code)]
pub fn is_server_start() -> bool {
    // SAFETY: only looks.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

#[allow(unsafe_code)]
pub fn own_pid() -> i32 {
    // SAFETY: set when the process begins.
    unsafe { pg_sys::MyProcPid }
}

/// Whether a process of the server that is connected to the database has this number.
#[allow(unsafe_code)]
pub fn is_in_database(pid: i32, database: pg_sys::Oid) -> bool {
    // SAFETY: a PGPROC stays where it is, whoever uses it; only looks.
    unsafe { pg_sys::BackendPidGetProc(pid).as_ref() }.is_some_and(|process| process.databaseId == database)
}

#[allow(unsafe_code)]
pub fn own_database() -> pg_sys::Oid {
    // SAFETY: set when the process is connected.
    unsafe { pg_sys::MyDatabaseId }
}

/// Says in pg_stat_activity what this process does; nothing for idle.
#[allow(unsafe_code)]
pub fn show(activity: Option<&str>) {
    let state = if activity.is_some() {
        pg_sys::BackendState::STATE_RUNNING
    } else {
        pg_sys::BackendState::STATE_IDLE
    };
    let Ok(text) = session::c_string(activity.unwrap_or_default()) else { return };
    // SAFETY: the server copies the text.
    unsafe { pg_sys::pgstat_report_activity(state, text.as_ptr()) };
}

/// The name under which pg_stat_activity shows this process.
pub fn set_application_name(name: &str) -> Result<()> {
    set_for_session("application_name", name)
}

/// Sets a setting until the process ends, with the rights of the role that it is connected as. Errors are the
/// server's: 42704 for an unknown one, 42501 for one that the role may not set, 22023 for a value that cannot be.
#[allow(unsafe_code)]
pub fn set_for_session(name: &str, value: &str) -> Result<()> {
    let (name, value) = (session::c_string(name)?, session::c_string(value)?);
    // SAFETY: both strings live through the call; the server copies them.
    unsafe {
        let context =
            if pg_sys::superuser() { pg_sys::GucContext::PGC_SUSET } else { pg_sys::GucContext::PGC_USERSET };
        pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, pg_sys::GucSource::PGC_S_SESSION);
    }
    Ok(())
}

/// Defines the function that a process begins with, under the name by which the server looks for it.
#[macro_export]
macro_rules! process_entry {
    ($name:ident, $main:expr) => {
        // The name is exported: it is opdb's own.
        #[allow(unsafe_code)]
        #[pgrx::pg_guard]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(argument: pgrx::pg_sys::Datum) {
            let main: fn(usize) = $main;
            main(argument.value());
        }
    };
}

/// A process of opdb's: what pg_stat_activity calls it, and the function of this library that it runs.
pub struct Kind {
    pub name: &'static str,
    pub function: &'static str,
}

impl Kind {
    fn builder(&self) -> BackgroundWorkerBuilder {
        BackgroundWorkerBuilder::new(self.name)
            .set_type(self.name)
            .set_library("opdb")
            .set_function(self.function)
            .enable_spi_access()
    }

    /// Has the postmaster start one, and start it again whenever it ends. Only while the server starts.
    pub fn register(&self) {
        self.builder().set_restart_time(Some(Duration::from_secs(1))).load();
    }

    /// Starts one, which is not started again; it finds `argument` as its argument. None if all of the server's
    /// max_worker_processes are in use. This process is woken when it starts and when it ends.
    #[allow(unsafe_code)]
    pub fn start(&self, argument: u32) -> Option<Process> {
        let builder = self.builder().set_argument(Some(pg_sys::Datum::from(argument)));
        let mut worker = pg_sys::BackgroundWorker::from(&builder.set_notify_pid(own_pid()));
        let mut handle = std::ptr::null_mut();
        // SAFETY: the server copies `worker`. The handle must outlive the transaction, so it is made where everything
        // lives as long as the process.
        let is_registered = unsafe {
            PgMemoryContexts::TopMemoryContext
                .switch_to(|_| pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle))
        };
        is_registered.then(|| Process(handle))
    }
}

/// A process that this one started.
pub struct Process(*mut pg_sys::BackgroundWorkerHandle);

impl Process {
    pub fn is_over(&self) -> bool {
        use pg_sys::BgwHandleStatus::{BGWH_POSTMASTER_DIED, BGWH_STOPPED};
        matches!(self.status().0, BGWH_STOPPED | BGWH_POSTMASTER_DIED)
    }

    /// Its number, while it runs.
    pub fn pid(&self) -> Option<i32> {
        let (status, pid) = self.status();
        (status == pg_sys::BgwHandleStatus::BGWH_STARTED).then_some(pid)
    }

    /// For the server's own functions, as long as this value lives.
    pub(super) fn handle(&self) -> *mut pg_sys::BackgroundWorkerHandle {
        self.0
    }

    #[allow(unsafe_code)]
    fn status(&self) -> (pg_sys::BgwHandleStatus::Type, i32) {
        let mut pid = 0;
        // SAFETY: the handle is the server's and lives as long as this value.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &raw mut pid) };
        (status, pid)
    }
}

impl Drop for Process {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: allocated by the server for this value alone.
        unsafe { pg_sys::pfree(self.0.cast()) };
    }
}

/// An advisory lock for the life of this process: two processes of opdb never have the same. Whether it was free.
///
/// SQL's own functions for advisory locks cannot take it: their locks have other tags.
#[allow(unsafe_code)]
pub fn lock_for_life(class: pg_sys::Oid, object: i64) -> bool {
    /// `locktag_field4` is 1 and 2 for the locks that SQL takes.
    const OF_OPDB: u16 = 3;
    // SAFETY: a tag as SET_LOCKTAG_ADVISORY makes it, which the lock table copies; the lock method is that of locks
    // which neither the end nor the abort of a transaction releases.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: class.to_u32(),
            locktag_field3: object as u32,
            locktag_field4: OF_OPDB,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::LockAcquire(&raw const tag, mode, true, true)
            != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }
}

/// Whether this is a background worker, and no client's session.
#[allow(unsafe_code)]
pub fn is_background_worker() -> bool {
    // SAFETY: set once, before this process runs anything of ours.
    unsafe { !pg_sys::MyBgworkerEntry.is_null() }
}
