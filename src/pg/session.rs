//! Settings that change what the server prints, pinned on both sides of a comparison.

use std::ffi::CString;

pub use opdb_core::session::PINNED;
use pgrx::prelude::*;

use super::error::{Failure, Result};

/// Runs `work` with the settings of [`PINNED`]; whatever the caller had is back afterwards.
/// After an error the server's own abort puts it back.
pub fn pinned<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    pinned_with(&[], work)
}

/// `pinned` with more settings.
pub fn pinned_with<T>(more: &[(&str, &str)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    with_settings(PINNED.iter().chain(more), work)
}

#[allow(unsafe_code)]
fn with_settings<'a, T>(
    settings: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    // SAFETY: main thread; the level is closed below, or by the abort of the (sub)transaction.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    for (name, value) in settings {
        set(name, value, pg_sys::GucContext::PGC_USERSET)?;
    }
    let result = work();
    // SAFETY: closes the level opened above and everything nested in it.
    unsafe { pg_sys::AtEOXact_GUC(false, level) };
    result
}

/// Runs `work` without pg_stat_statements, if it is loaded, counting its statements: whoever reads those counts should
/// not change them. The setting is a superuser's, and this value of it takes nothing from anybody.
#[allow(unsafe_code)]
pub fn uncounted<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let track = c"pg_stat_statements.track";
    // SAFETY: asks whether there is such a setting.
    if unsafe { pg_sys::GetConfigOption(track.as_ptr(), true, false) }.is_null() {
        return work();
    }
    // SAFETY: as in `with_settings`.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    set("pg_stat_statements.track", "none", pg_sys::GucContext::PGC_SUSET)?;
    let result = work();
    // SAFETY: as in `with_settings`.
    unsafe { pg_sys::AtEOXact_GUC(false, level) };
    result
}

/// Of `schemas` those in which nobody but `owner`, the database's owner and superusers can create anything: what
/// is found there by name, an operator say, is nobody else's.
pub fn trusted(schemas: &[String], owner: pg_sys::Oid) -> Result<Vec<String>> {
    let found = super::spi::read(
        "SELECT w.name FROM pg_catalog.unnest($1) WITH ORDINALITY w (name, place)
         JOIN pg_catalog.pg_namespace n ON n.nspname = w.name
         WHERE NOT EXISTS (
             SELECT FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
             WHERE a.privilege_type = 'CREATE' AND a.grantee <> $2
               AND NOT coalesce(r.rolsuper OR r.rolname = 'pg_database_owner', false))
         ORDER BY w.place",
        &[schemas.to_vec().into(), owner.into()],
        |row| row.get::<String>(1),
    )?;
    Ok(found.into_iter().flatten().collect())
}

/// Runs `work` with names looked up in pg_catalog and then in `schemas`, for code that the owner of a table
/// wrote: nobody else's choice of a search_path reaches it.
pub fn with_schemas<T>(schemas: &[&str], work: impl FnOnce() -> Result<T>) -> Result<T> {
    let quoted: Vec<String> = schemas.iter().map(super::name::identifier).collect();
    let path = ["pg_catalog".to_owned()].into_iter().chain(quoted).chain(["pg_temp".to_owned()]);
    with_settings(&[("search_path", path.collect::<Vec<_>>().join(", ").as_str())], work)
}

/// Errors: 25006 where nothing can be written, before the server says it in terms of transaction ids.
#[allow(unsafe_code)]
pub fn check_writable() -> Result<()> {
    // SAFETY: both only look at the state of this backend.
    let (in_recovery, read_only) = unsafe { (pg_sys::RecoveryInProgress(), pg_sys::XactReadOnly) };
    if !in_recovery && !read_only {
        return Ok(());
    }
    let place = if in_recovery { "on a standby" } else { "in a read-only transaction" };
    Err(Failure {
        hint: Some("Call it on the primary, in a transaction that may write.".into()),
        ..Failure::new(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            format!("opdb cannot write {place}"),
        )
    })
}

#[allow(unsafe_code)]
fn set(name: &str, value: &str, context: pg_sys::GucContext::Type) -> Result<()> {
    let (name_c, value_c) = (c_string(name)?, c_string(value)?);
    // SAFETY: both strings live through the call; the server copies them.
    unsafe {
        pg_sys::set_config_option(
            name_c.as_ptr(),
            value_c.as_ptr(),
            context,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        )
    };
    Ok(())
}

/// A string for the server; one with a NUL inside cannot be.
pub fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Failure {
        hint: Some("PostgreSQL text cannot hold NUL: remove it.".into()),
        ..Failure::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "a value contains a NUL character")
    })
}

/// Whether all statements of the transaction read on one snapshot.
#[allow(unsafe_code)]
pub fn keeps_its_snapshot() -> bool {
    // SAFETY: only looks at the state of this backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Whether the caller opened a transaction block, so that this call's commit is not the next thing to happen.
/// A pipeline of statements is one transaction too; this statement is made to end it.
#[allow(unsafe_code)]
pub fn in_transaction_block() -> bool {
    // SAFETY: reads and marks the state of the current transaction, as PreventInTransactionBlock does.
    unsafe {
        pg_sys::MyXactFlags |= pg_sys::XACT_FLAGS_NEEDIMMEDIATECOMMIT as i32;
        pg_sys::IsTransactionBlock() || pg_sys::MyXactFlags & pg_sys::XACT_FLAGS_PIPELINING as i32 != 0
    }
}

/// Whether SQL of a function or of a DO block called this function, so that what comes after it can still fail
/// and roll back. PostgreSQL tells only its own utility commands. But an executor's memory hangs below the
/// context of whoever started it: directly below the portal for a client's statement; below SPI, the
/// transaction or (SQL functions, from PostgreSQL 18 on) another executor for one inside a function.
#[allow(unsafe_code)]
pub fn inside_a_function() -> bool {
    // SAFETY: the active portal is the running statement's; the chain of parents of the current context ends in TopMemoryContext, and every context has a
    // NUL-terminated name.
    unsafe {
        // CALL, DO and whatever else is no plain query.
        let portal = pg_sys::ActivePortal;
        if portal.is_null() || (*portal).strategy != pg_sys::PortalStrategy::PORTAL_ONE_SELECT {
            return true;
        }
        let mut context = pg_sys::CurrentMemoryContext;
        let mut executors = 0;
        while !context.is_null() {
            let name = std::ffi::CStr::from_ptr((*context).name).to_bytes();
            if name.starts_with(b"SPI ") || name.starts_with(b"SQL function") {
                return true;
            }
            if name == b"PortalContext" {
                return executors > 1;
            }
            executors += usize::from(name == b"ExecutorState");
            context = (*context).parent;
        }
    }
    true
}

/// Sleeps until the time is over, and lets cancellation and termination through.
pub fn wait_all(time: std::time::Duration) {
    let end = std::time::Instant::now() + time;
    while let Some(left) =
        end.checked_duration_since(std::time::Instant::now()).filter(|left| !left.is_zero())
    {
        wait(left);
    }
}

/// Sleeps until the time is over or somebody wants something of this backend, and then lets
/// cancellation and termination through.
#[allow(unsafe_code)]
pub fn wait(time: std::time::Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let milliseconds = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
    // SAFETY: MyLatch is this backend's own latch, valid for its life.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
