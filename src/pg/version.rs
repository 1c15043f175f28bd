//! What differs between the server's major versions.

use pgrx::pg_sys;

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
