//! Whether a text is a value of a type, for SQL.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::input::InputType;

/// Whether a text is a value of a type, as the type's input function sees it.
///
/// `type` is a type's name, with its modifier if it has one: `numeric(5,2)`, `varchar(10)`; what is too long or too
/// large for it is no value of it. A domain's constraints count. On PostgreSQL 15, where a refusal is an error, each
/// value takes a subtransaction; later ones answer as pg_input_is_valid. Result: NULL for NULL.
/// Errors: 42704 for an unknown type, 42601 for what is no type's name, and what the input function raises for another
/// reason than the value.
#[pg_extern(
    // Its argument has a name that Rust keeps for itself.
    sql = "CREATE FUNCTION is_castable(value text, type text) RETURNS boolean STRICT STABLE PARALLEL UNSAFE
           LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
)]
fn is_castable(value: &str, type_name: &str, call: pg_sys::FunctionCallInfo) -> Result<bool, ErrorReport> {
    Ok(InputType::of_call(type_name, call)?.takes(value)?)
}
