//! What the text of a type's values can be.

use super::types::{ColumnType, Family};

/// The most characters that a value may have as text, if there is a limit.
pub(super) fn longest(of: &ColumnType) -> Option<i32> {
    use Family::*;
    Some(match of.family() {
        Integer { bytes: 2 } => 6,
        Integer { bytes: 4 } => 11,
        Integer { .. } => 20,
        // Sign and point; NaN.
        Numeric { precision_scale: Some((precision, scale @ 1..)) } => precision.max(scale + 1) + 2,
        Numeric { precision_scale: Some((precision, scale)) } => (precision - scale + 1).max(3),
        Float { bytes: 4 } => 15,
        Float { .. } => 24,
        // -$92,233,720,368,547,758.08
        Money => 27,
        Boolean => 5,
        Oid => 10,
        // 5874897-12-31, 4713-01-01 BC
        Date => 13,
        Time { precision, zone } => 8 + decimals(precision) + if zone { 9 } else { 0 },
        // 294276-12-31 23:59:59+00, 4714-11-24 00:00:00+00 BC
        Timestamp { precision, zone } => 22 + decimals(precision) + if zone { 9 } else { 0 },
        // -178956970 years -8 mons -2147483648 days -2562047788:00:54
        Interval { unit: 0 | 1, .. } => 24,
        Interval { precision, .. } => 59 + decimals(precision),
        Uuid => 36,
        Inet | Cidr => 43,
        MacAddr { bytes } => {
            if bytes == 6 {
                17
            } else {
                23
            }
        }
        Bit { length } => length,
        VarBit { limit } => limit?,
        Point => 51,
        Box => 103,
        Range { of } => match of.as_str() {
            "integer" => 25,
            "bigint" => 43,
            "date" => 33,
            _ => return None,
        },
        Enum => of
            .labels
            .iter()
            .map(|label| label.chars().count())
            .max()
            .and_then(|count| i32::try_from(count).ok())?,
        _ => return None,
    })
}

/// The fewest characters in which a value can be written, where a text may be too short for any.
pub(super) fn shortest(of: &Family) -> i32 {
    match of {
        // x and hexadecimal digits.
        Family::Bit { length } => (*length).min(1 + (length + 3) / 4),
        Family::Uuid => 32,
        Family::MacAddr { .. } => 12,
        Family::Box => 7,
        _ => 0,
    }
}

fn decimals(precision: i32) -> i32 {
    if precision > 0 { precision + 1 } else { 0 }
}

/// Whether the text may have characters that mean something in XML.
pub(super) fn holds_free_text(of: &ColumnType) -> bool {
    use Family::*;
    if let Some(element) = of.element() {
        return holds_free_text(&element);
    }
    match of.family() {
        Enum => of.labels.iter().any(|label| label.contains(['<', '&'])),
        Text { .. } | Char { .. } | Name | Byte | Xml | Json | Jsonb | Reg | Other => true,
        Range { of } | Multirange { of } => {
            holds_free_text(&ColumnType { text: of, ..ColumnType::default() })
        }
        _ => false,
    }
}
