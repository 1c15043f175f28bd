//! Every setting of opdb, with why it exists.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// The environment that this session means to write to. Any role may set it: naming a target only ever
/// makes opdb stricter.
pub static TARGET: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

pub fn register() {
    GucRegistry::define_string_guc(
        c"opdb.target",
        c"The environment that this session means to write to.",
        c"opdb.current_environment() says what it resolves to; production is only ever a target by name.",
        &TARGET,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// The session's `opdb.target`, if it names one.
pub fn target() -> Option<String> {
    let target = TARGET.get()?.into_string().ok()?;
    (!target.is_empty()).then_some(target)
}
