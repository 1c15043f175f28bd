//! Whether the rows of a table here fit a table there.

pub mod digest;
pub mod evidence;
pub mod fix;
pub mod form;
mod matrix;
mod measure;
mod readable;
pub mod table;
mod text_form;
pub mod types;

/// How values of one type fare in another, from best to worst. Implicit casts are no proof: PostgreSQL casts
/// bigint to double precision implicitly and loses digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The same type.
    Identical,
    /// Every value fits.
    Widening,
    /// Some values are refused.
    Narrowing,
    /// Some values are silently altered.
    Lossy,
    /// No value fits, or there is no way to convert.
    Incompatible,
    /// There is nothing to compare with.
    Missing,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Identical => "identical",
            Verdict::Widening => "widening",
            Verdict::Narrowing => "narrowing",
            Verdict::Lossy => "lossy",
            Verdict::Incompatible => "incompatible",
            Verdict::Missing => "missing",
        }
    }
}
