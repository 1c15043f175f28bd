//! Time zones, as the server knows them.

use std::ffi::CStr;

use opdb_core::schedule;
use pgrx::pg_sys;

use super::error::Result;
use super::{session, spi};

/// A time zone of the server's database, which lives as long as the process.
#[derive(Clone, Copy)]
pub struct Zone(*mut pg_sys::pg_tz);

impl Zone {
    /// The zone of that name. None if there is none; a POSIX specification such as `Berlin+2`, which the server
    /// takes without a word, is none either.
    #[allow(unsafe_code)]
    pub fn named(name: &str) -> Result<Option<Self>> {
        if name.contains(|c: char| c.is_ascii_digit() || "+-<,".contains(c)) && !is_listed(name)? {
            return Ok(None);
        }
        let name = session::c_string(name)?;
        // SAFETY: the string lives through the call; the server keeps what it returns for good.
        let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
        // SAFETY: not NULL, and the server's own.
        let is_fit = !zone.is_null() && unsafe { pg_sys::pg_tz_acceptable(zone) };
        Ok(is_fit.then_some(Self(zone)))
    }
}

fn is_listed(name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_timezone_names WHERE lower(name) = lower($1))";
    Ok(spi::read_value::<bool>(sql, &[name.into()])? == Some(true))
}

impl schedule::Zone for Zone {
    #[allow(unsafe_code)]
    fn offset_at(&self, instant: i64) -> i64 {
        // SAFETY: the zone is valid; the result is a static of the server's, read before anybody else's call, and
        // NULL for years that it cannot show.
        unsafe { pg_sys::pg_localtime(&raw const instant, self.0).as_ref() }
            .map_or(0, |local| local.tm_gmtoff)
    }
}

impl std::fmt::Display for Zone {
    #[allow(unsafe_code)]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: a zone has a name, which ends in NUL.
        let name = unsafe { CStr::from_ptr(pg_sys::pg_get_timezone_name(self.0)) };
        f.write_str(&name.to_string_lossy())
    }
}
