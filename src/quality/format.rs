//! Formats that the world has agreed on, for SQL.

use opdb_core::format::Format;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::error::QualityError;

/// Whether a text is a value of a format: email, url, uuid, date, datetime, ipv4, ipv6, country (ISO 3166-1, two or
/// three letters), currency (ISO 4217), language (ISO 639-1 or 639-3), json.
///
/// All of the text must be: a blank before or after it is none of the value (in json it is). Result: NULL for NULL.
/// Errors: 22023 for an unknown format.
/// Sources: RFC 5321, RFC 3987, RFC 9562, RFC 3339, RFC 8259.
#[pg_extern(immutable, strict, parallel_safe)]
fn has_format(value: &str, format: &str) -> Result<bool, ErrorReport> {
    let format = Format::from_name(format).ok_or_else(|| QualityError::UnknownFormat(format.to_owned()))?;
    Ok(format.accepts(value))
}
