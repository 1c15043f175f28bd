//! Values from their text, as a type's own input function reads them.

use pgrx::pg_sys;

#[cfg(feature = "pg15")]
use super::error::Failure;
use super::error::Result;
use super::session::c_string;
use super::version;

/// A type with its modifier, and how its values are read.
#[derive(Debug, Clone, Copy)]
pub struct InputType {
    pub function: pg_sys::Oid,
    /// What array and composite types need to know beside it.
    pub parameter: pg_sys::Oid,
    pub modifier: i32,
}

/// A type by its name, looked up once for all calls from one place of a statement.
struct NamedType {
    name: String,
    input: InputType,
}

impl InputType {
    /// Raises the server's error for a name that is no type (42704, 42601 and others).
    #[allow(unsafe_code)]
    fn parse(name: &str) -> Result<Self> {
        let name = c_string(name)?;
        let (oid, modifier) = version::parse_type(&name);
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: the type exists; both results are this function's.
        unsafe { pg_sys::getTypeInputInfo(oid, &raw mut function, &raw mut parameter) };
        Ok(Self { function, parameter, modifier })
    }

    /// Whether the input function takes `value`. What it raises for another reason than the value is a failure.
    pub fn takes(self, value: &str) -> Result<bool> {
        version::takes_input(self, c_string(value)?.as_c_str())
    }

    /// The type of this name, from the last call at the same place of the statement if that named the same.
    #[allow(unsafe_code)]
    pub fn of_call(name: &str, call: pg_sys::FunctionCallInfo) -> Result<Self> {
        // SAFETY: the server's own description of the call, whose extra data only this function uses.
        let mut known = unsafe { pgrx::fcinfo::pg_func_extra(call, || None::<NamedType>) };
        if let Some(known) = (*known).as_ref().filter(|known| known.name == name) {
            return Ok(known.input);
        }
        let input = Self::parse(name)?;
        *known = Some(NamedType { name: name.to_owned(), input });
        Ok(input)
    }
}

/// Whether an input function's error says that the value is none of its type: bad or too large data (22, 54000), a
/// domain's constraint (23), a name that means nothing (the types whose values are names, as regclass) or bad syntax
/// (queries and paths, as tsquery).
#[cfg(feature = "pg15")]
pub fn is_of_the_value(failure: &Failure) -> bool {
    const OTHERS: [&str; 9] =
        ["3F000", "42601", "42602", "42703", "42704", "42725", "42883", "42P01", "54000"];
    let is_known =
        matches!(failure.class().as_str(), "22" | "23") || OTHERS.contains(&failure.sqlstate_text().as_str());
    is_known && !failure.is_interrupt
}
