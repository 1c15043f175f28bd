//! What differs between the server's major versions.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::error::Result;
use super::input::InputType;
use super::relation::Relation;
#[cfg(feature = "pg15")]
use super::{input, subtransaction};

/// Runs a portal to its end, at top level, and throws its rows away.
#[allow(unsafe_code)]
pub unsafe fn run_portal(portal: pg_sys::Portal) {
    let all = std::ffi::c_long::MAX;
    // SAFETY: the caller started the portal; the receiver is the server's own, which takes anything.
    unsafe {
        let nowhere = pg_sys::None_Receiver;
        #[cfg(feature = "pg18")]
        pg_sys::PortalRun(portal, all, true, nowhere, nowhere, std::ptr::null_mut());
        #[cfg(not(feature = "pg18"))]
        pg_sys::PortalRun(portal, all, true, true, nowhere, nowhere, std::ptr::null_mut());
    }
}

/// What the server calls InvalidSubTransactionId.
const NO_SUBTRANSACTION: pg_sys::SubTransactionId = 0;

/// Whether this transaction, or a part of it, made the file that a relation has.
#[allow(unsafe_code)]
pub fn is_new_in_transaction(relation: &Relation) -> bool {
    // SAFETY: the relation is open.
    let cached = unsafe { &*relation.0 };
    #[cfg(feature = "pg15")]
    let (new, first) = (cached.rd_newRelfilenodeSubid, cached.rd_firstRelfilenodeSubid);
    #[cfg(not(feature = "pg15"))]
    let (new, first) = (cached.rd_newRelfilelocatorSubid, cached.rd_firstRelfilelocatorSubid);
    [cached.rd_createSubid, new, first].into_iter().any(|made| made != NO_SUBTRANSACTION)
}

/// The type that a text names, and its modifier. Raises what the parser does for others.
#[allow(unsafe_code)]
pub fn parse_type(name: &CStr) -> (pg_sys::Oid, i32) {
    let (mut oid, mut modifier) = (pg_sys::InvalidOid, -1);
    #[cfg(feature = "pg15")]
    let on_error = false;
    #[cfg(not(feature = "pg15"))]
    let on_error = std::ptr::null_mut();
    // SAFETY: a C string, and two results of this function's.
    unsafe { pg_sys::parseTypeString(name.as_ptr(), &raw mut oid, &raw mut modifier, on_error) };
    (oid, modifier)
}

/// Whether a type's input function takes a value. Before 16 a refusal is an error like any other, so that it takes a
/// subtransaction to go on after it.
#[cfg(feature = "pg15")]
#[allow(unsafe_code)]
pub fn takes_input(input: InputType, value: &CStr) -> Result<bool> {
    let InputType { function, parameter, modifier } = input;
    let call = subtransaction::run(|| {
        // SAFETY: the type's own function, which does not write to its text.
        unsafe { pg_sys::OidInputFunctionCall(function, value.as_ptr().cast_mut(), parameter, modifier) };
        Ok(())
    });
    match call {
        Ok(()) => Ok(true),
        Err(failure) if input::is_of_the_value(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(not(feature = "pg15"))]
#[allow(unsafe_code)]
pub fn takes_input(input: InputType, value: &CStr) -> Result<bool> {
    let InputType { function, parameter, modifier } = input;
    let mut call = pg_sys::FmgrInfo::default();
    let mut refusal =
        pg_sys::ErrorSaveContext { type_: pg_sys::NodeTag::T_ErrorSaveContext, ..Default::default() };
    let mut result = pg_sys::Datum::null();
    // SAFETY: the type's own function, which does not write to its text and notes a refusal in a node of that kind.
    Ok(unsafe {
        pg_sys::fmgr_info(function, &raw mut call);
        pg_sys::InputFunctionCallSafe(
            &raw mut call,
            value.as_ptr().cast_mut(),
            parameter,
            modifier,
            (&raw mut refusal).cast(),
            &raw mut result,
        )
    })
}

#[allow(unsafe_code)]
unsafe extern "C-unwind" {
    // Not pgrx's, which wrap them: a signal handler must be the server's own function.
    fn die(signal: i32);
    #[link_name = "SignalHandlerForConfigReload"]
    fn reload(signal: i32);
}

#[allow(unsafe_code)]
unsafe extern "C-unwind" fn ignore(_: i32) {}

/// Has SIGTERM end this process, whatever it does, and SIGHUP ask it to read its settings again. Without
/// `can_be_cancelled` SIGINT means nothing: there is no statement of a user's to cancel.
#[allow(unsafe_code)]
pub fn install_signal_handlers(can_be_cancelled: bool) {
    #[cfg(not(feature = "pg18"))]
    use pg_sys::pqsignal as install;
    #[cfg(feature = "pg18")]
    use pg_sys::pqsignal_be as install;
    // SAFETY: functions of the server for these signals, and one that does nothing.
    unsafe {
        install(pg_sys::SIGTERM as i32, Some(die));
        install(pg_sys::SIGHUP as i32, Some(reload));
        if !can_be_cancelled {
            install(pg_sys::SIGINT as i32, Some(ignore));
        }
    }
}
