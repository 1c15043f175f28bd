//! Whose functions may run.

use std::cell::Cell;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::error::Result;

/// What there was before, and as whom code runs now.
#[derive(Clone, Copy)]
struct Watch {
    role: pg_sys::Oid,
    earlier_needs: pg_sys::needs_fmgr_hook_type,
    earlier: pg_sys::fmgr_hook_type,
}

thread_local! {
    static WATCH: Cell<Option<Watch>> = const { Cell::new(None) };
}

/// Runs `work`, which acts as `role`, and lets none but functions of that role, of superusers and of the system run:
/// whoever else wrote a function that a statement of the role names would get the role's rights at a moment of his
/// choice. A call of another one is an error (42501).
pub fn only_code_of<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _hooks = Hooks::set(role);
    work()
}

/// Takes the hooks away again, also when an error goes through.
struct Hooks;

impl Hooks {
    #[allow(unsafe_code)]
    fn set(role: pg_sys::Oid) -> Self {
        // SAFETY: main thread; both hooks are put back when this is dropped.
        unsafe {
            let (earlier_needs, earlier) = (pg_sys::needs_fmgr_hook, pg_sys::fmgr_hook);
            WATCH.set(Some(Watch { role, earlier_needs, earlier }));
            pg_sys::needs_fmgr_hook = Some(is_watched);
            pg_sys::fmgr_hook = Some(called);
        }
        Self
    }
}

impl Drop for Hooks {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if let Some(watch) = WATCH.take() {
            // SAFETY: main thread; these are the hooks that were there before.
            unsafe {
                pg_sys::needs_fmgr_hook = watch.earlier_needs;
                pg_sys::fmgr_hook = watch.earlier;
            }
        }
    }
}

#[allow(unsafe_code)]
#[pg_guard]
unsafe extern "C-unwind" fn is_watched(function: pg_sys::Oid) -> bool {
    let Some(watch) = WATCH.get() else { return false };
    // SAFETY: the hook that was there before, called as the server would.
    watch.earlier_needs.is_some_and(|needs| unsafe { needs(function) }) || is_strange(function, watch.role)
}

#[allow(unsafe_code)]
#[pg_guard]
unsafe extern "C-unwind" fn called(
    event: pg_sys::FmgrHookEventType::Type,
    function: *mut pg_sys::FmgrInfo,
    private: *mut pg_sys::Datum,
) {
    let Some(watch) = WATCH.get() else { return };
    // SAFETY: the server passes the function that it is about to call.
    let oid = unsafe { (*function).fn_oid };
    if event == pg_sys::FmgrHookEventType::FHET_START && is_strange(oid, watch.role) {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("function {} belongs to another role", oid.to_u32()),
            "opdb",
        )
        .report(PgLogLevel::ERROR);
    }
    if let Some(earlier) = watch.earlier {
        // SAFETY: as above.
        unsafe { earlier(event, function, private) };
    }
}

/// Whether a function is neither the system's nor in C, which only superusers write, nor of `role` or a superuser.
#[allow(unsafe_code)]
fn is_strange(function: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    if function.to_u32() < pg_sys::FirstNormalObjectId {
        return false;
    }
    let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
    // SAFETY: in a transaction; the tuple is read before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if tuple.is_null() {
            return true;
        }
        let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let (owner, language) = ((*row).proowner, (*row).prolang);
        pg_sys::ReleaseSysCache(tuple);
        language != pg_sys::Oid::from(LANGUAGE_C)
            && language != pg_sys::Oid::from(LANGUAGE_INTERNAL)
            && owner != role
            && !pg_sys::superuser_arg(owner)
    }
}

/// Fixed by the server (`src/include/catalog/pg_language.dat`).
const LANGUAGE_INTERNAL: u32 = 12;
const LANGUAGE_C: u32 = 13;
