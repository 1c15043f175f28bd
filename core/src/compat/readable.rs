//! Which texts another type reads and writes again as they were: those that it would have written itself.

use super::evidence::float_limits;
use super::types::Family;

/// A condition that is true for every other text. `text` is an SQL expression of type text, collated "C": a
/// nondeterministic collation has no regular expressions.
pub(super) fn unreadable(text: &str, to: &Family) -> Option<String> {
    use Family::*;
    let unlike = |pattern: &str| format!("{text} !~ '^{pattern}$'");
    Some(match to {
        Integer { bytes } => {
            let limit = 1_i128 << (u32::from(*bytes) * 8 - 1);
            integer(text, -limit, limit - 1)
        }
        Oid => integer(text, 0, u32::MAX.into()),
        Numeric { precision_scale: None } => numeric(text),
        Numeric { precision_scale: Some((precision, scale)) } => limited_numeric(text, *precision, *scale)?,
        Float { bytes } => float(text, *bytes),
        Boolean => format!("{text} NOT IN ('true', 'false')"),
        Uuid => unlike("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        MacAddr { bytes } => unlike(&format!("[0-9a-f]{{2}}(:[0-9a-f]{{2}}){{{}}}", bytes - 1)),
        Bytea => unlike(r"\\x([0-9a-f]{2})*"),
        Bit { length } => format!("{} OR pg_catalog.length({text}) <> {length}", unlike("[01]*")),
        VarBit { limit: None } => unlike("[01]*"),
        VarBit { limit: Some(limit) } => {
            format!("{} OR pg_catalog.length({text}) > {limit}", unlike("[01]*"))
        }
        Date => date(text, 5_874_897),
        Time { precision, zone: false } => {
            format!("{text} <> '24:00:00' AND {}", unlike(&time(*precision)))
        }
        // The server prints UTC wherever values are compared.
        Timestamp { precision, zone } => timestamp(text, *precision, if *zone { r"\+00" } else { "" }),
        _ => return None,
    })
}

/// Patterns are tried first: only what is like a number is cast to one.
fn if_like(text: &str, pattern: &str, condition: &str) -> String {
    format!("CASE WHEN {text} !~ '^{pattern}$' THEN true ELSE {condition} END")
}

fn integer(text: &str, least: i128, greatest: i128) -> String {
    let is_outside = format!("{text}::numeric NOT BETWEEN {least} AND {greatest}");
    if_like(text, "(0|-?[1-9][0-9]{0,18})", &is_outside)
}

fn is_minus_zero(text: &str) -> String {
    format!("{text} ~ '^-[0.]*$'")
}

fn numeric(text: &str) -> String {
    let digits = |part: u8, limit: u32| {
        format!("pg_catalog.length(pg_catalog.split_part({text}, '.', {part})) > {limit}")
    };
    if_like(
        text,
        r"(NaN|-?Infinity|-?(0|[1-9][0-9]*)(\.[0-9]+)?)",
        &format!("{} OR {} OR {}", is_minus_zero(text), digits(1, 131_072), digits(2, 16_383)),
    )
}

fn limited_numeric(text: &str, precision: i32, scale: i32) -> Option<String> {
    let decimals = match scale {
        0 => String::new(),
        // The greatest repetition that a regular expression knows is 255.
        1..=255 => format!(r"\.[0-9]{{{scale}}}"),
        _ => return None,
    };
    Some(if_like(
        text,
        &format!("(NaN|-?(0|[1-9][0-9]{{0,254}}){decimals})"),
        &format!(
            "{text} <> 'NaN' AND ({} OR pg_catalog.abs({text}::numeric) >= 1e{})",
            is_minus_zero(text),
            precision - scale
        ),
    ))
}

fn float(text: &str, bytes: u8) -> String {
    let (float, limits) = (if bytes == 4 { "real" } else { "double precision" }, float_limits(bytes));
    if_like(
        text,
        r"(NaN|-?Infinity|-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-][0-9]{1,3})?)",
        &format!(
            "CASE WHEN {text}::numeric IN ('NaN', 'Infinity', '-Infinity', 0) THEN {text}::{float}::text <> {text} \
             WHEN pg_catalog.abs({text}::numeric) NOT BETWEEN {limits} THEN true \
             ELSE {text}::{float}::text <> {text} END"
        ),
    )
}

/// Days are counted in a year near the present that is as long: leap years come again after 400 years.
fn date(text: &str, last_year: u32) -> String {
    let year = format!("pg_catalog.split_part({text}, '-', 1)::integer");
    let month = format!("pg_catalog.split_part({text}, '-', 2)::integer");
    let day = format!("pg_catalog.\"left\"(pg_catalog.split_part({text}, '-', 3), 2)::integer");
    let is_bc = format!("{text} ~ 'BC$'");
    let like = format!("CASE WHEN {is_bc} THEN 6801 - {year} ELSE 2000 + {year} % 400 END");
    format!(
        "CASE WHEN {text} IN ('infinity', '-infinity') THEN false \
         WHEN {text} !~ '^([0-9]{{4}}|[1-9][0-9]{{4,6}})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])( BC)?$' THEN true \
         ELSE {year} NOT BETWEEN 1 AND CASE WHEN {is_bc} THEN 4714 ELSE {last_year} END \
         OR {is_bc} AND {year} = 4714 AND {month} * 100 + {day} < 1124 \
         OR pg_catalog.date_part('month', pg_catalog.make_date({like}, {month}, 1) + ({day} - 1)) <> {month} END"
    )
}

/// The text of a time of day. Trailing zeros of a second's decimals are not written.
pub(super) fn time(precision: i32) -> String {
    let decimals = match precision {
        ..=0 => String::new(),
        _ => format!(r"(\.[0-9]{{0,{}}}[1-9])?", precision - 1),
    };
    format!("([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]{decimals}")
}

fn timestamp(text: &str, precision: i32, zone: &str) -> String {
    let day =
        format!("(pg_catalog.split_part({text}, ' ', 1) || CASE WHEN {text} ~ 'BC$' THEN ' BC' ELSE '' END)");
    format!(
        "CASE WHEN {text} IN ('infinity', '-infinity') THEN false \
         WHEN {text} !~ '^[-0-9]+ {}{zone}( BC)?$' THEN true ELSE {} END",
        time(precision),
        date(&day, 294_276)
    )
}
