//! What to ask the data where the types alone do not settle it.

pub use super::measure::{Measure, measure};

use super::Verdict::Widening;
use super::matrix::{only_there, verdict};
use super::readable::{time, unreadable};
use super::types::{ColumnType, Family, INTERVAL_UNITS};

/// A condition, in SQL, that is true for the values of `column` (an SQL expression of type `from`) that a
/// column of type `to` refuses or alters, and raises no error. `None` where only the other server can tell, or where
/// it depends on its settings.
pub fn misfit(column: &str, from: &ColumnType, to: &ColumnType) -> Option<String> {
    if verdict(from, to) <= Widening {
        return Some("false".to_owned());
    }
    if from.text == to.text && from.kind != "e" {
        return None;
    }
    if let Some(base) = to.base.as_deref().filter(|_| to.element().is_none()) {
        return if only_there(from, to) { None } else { misfit(column, from, base) };
    }
    if let Some(base) = from.base.as_deref().filter(|_| from.element().is_none()) {
        return misfit(column, base, to);
    }
    if let (Some(from), Some(to)) = (from.element(), to.element()) {
        let of_element = misfit("element.value", &from, &to)?;
        return Some(format!(
            "EXISTS (SELECT FROM pg_catalog.unnest({column}) AS element (value) WHERE {of_element})"
        ));
    }
    numbers(column, &from.family(), &to.family())
        .or_else(|| others(column, &from.family(), &to.family()))
        .or_else(|| labels(column, from, to))
        .or_else(|| texts(column, from, &to.family()))
}

fn numbers(column: &str, from: &Family, to: &Family) -> Option<String> {
    use Family::*;
    Some(match (from, to) {
        (Integer { .. }, Integer { bytes }) => outside(column, *bytes),
        (Oid, Integer { bytes: 2 }) => outside(&format!("{column}::bigint"), 2),
        (Integer { bytes: 2 }, Oid) => format!("{column} < 0"),
        (Integer { bytes: 8 }, Oid | Reg) => format!("{column} NOT BETWEEN 0 AND 4294967295"),
        (Integer { bytes: 4 }, Byte) => format!("{column} NOT BETWEEN -128 AND 127"),
        (Integer { .. }, Boolean) => format!("{column} NOT IN (0, 1)"),
        (Integer { bytes }, Float { bytes: to }) => integer_to_float(column, *bytes, *to),
        (Integer { .. } | Numeric { .. } | Money, Numeric { precision_scale: Some(digits) }) => {
            beyond(&format!("{column}::numeric"), *digits)
        }
        (Oid, Numeric { precision_scale: Some((_, 0)) }) => return None,
        (Numeric { .. }, Integer { bytes }) => {
            format!("{column} <> pg_catalog.trunc({column}) OR {}", outside(column, *bytes))
        }
        (Numeric { .. }, Money) => format!(
            "{column} NOT BETWEEN -92233720368547758.08 AND 92233720368547758.07 \
             OR pg_catalog.round({column}, 2) <> {column}"
        ),
        (Numeric { .. }, Float { bytes }) => numeric_to_float(column, *bytes),
        (Float { .. }, Float { .. }) => double_to_real(column),
        (Float { .. }, Integer { bytes }) => {
            let limit = 1_i128 << (u32::from(*bytes) * 8 - 1);
            format!(
                "{column} <> pg_catalog.trunc({column}) \
                 OR {column} < '-{limit}'::double precision OR {column} >= '{limit}'::double precision"
            )
        }
        (Float { bytes }, Numeric { precision_scale }) => float_to_numeric(column, *bytes, *precision_scale)?,
        (Numeric { .. } | Float { .. }, Json | Jsonb) => format!("{column} IN {NOT_FINITE}"),
        _ => return None,
    })
}

const NOT_FINITE: &str = "('NaN', 'Infinity', '-Infinity')";

fn float(bytes: u8) -> &'static str {
    if bytes == 4 { "real" } else { "double precision" }
}

/// NaN is greater than every number.
fn outside(column: &str, bytes: u8) -> String {
    let limit = 1_i128 << (u32::from(bytes) * 8 - 1);
    format!("{column} NOT BETWEEN {} AND {}", -limit, limit - 1)
}

fn beyond(column: &str, (precision, scale): (i32, i32)) -> String {
    format!(
        "{column} <> 'NaN' AND (pg_catalog.round({column}, {scale}) <> {column} \
         OR pg_catalog.abs(pg_catalog.round({column}, {scale})) >= 1e{})",
        precision - scale
    )
}

/// What is beyond the greatest float below the greatest integer would be rounded to one that is no integer any more.
fn integer_to_float(column: &str, bytes: u8, to: u8) -> String {
    let (bits, mantissa) = (u32::from(bytes) * 8 - 1, if to == 4 { 24 } else { 53 });
    let greatest = (1_i128 << bits) - (1_i128 << bits.saturating_sub(mantissa));
    format!("CASE WHEN {column} > {greatest} THEN true ELSE {column}::{}::bigint <> {column} END", float(to))
}

/// The numbers between which the cast from numeric or text raises no error.
pub(super) fn float_limits(bytes: u8) -> &'static str {
    if bytes == 4 { "7.1e-46 AND 3.4028235e38" } else { "2.5e-324 AND 1.7976931348623157e308" }
}

fn numeric_to_float(column: &str, bytes: u8) -> String {
    format!(
        "CASE WHEN {column} IN {NOT_FINITE} OR {column} = 0 THEN false \
         WHEN pg_catalog.abs({column}) NOT BETWEEN {} THEN true \
         ELSE {column}::{}::numeric <> {column} END",
        float_limits(bytes),
        float(bytes)
    )
}

/// The limits are half of the smallest real, and the greatest and half of its last digit.
fn double_to_real(column: &str) -> String {
    format!(
        "CASE WHEN {column} IN {NOT_FINITE} OR {column} = 0 THEN false \
         WHEN pg_catalog.abs({column}) <= '7.006492321624085e-46'::double precision \
         OR pg_catalog.abs({column}) >= '3.4028235677973366e38'::double precision THEN true \
         ELSE {column}::real::double precision <> {column} END"
    )
}

/// The cast rounds to 6 or 15 digits; the greatest double precision would then be too great to come back.
fn float_to_numeric(column: &str, bytes: u8, precision_scale: Option<(i32, i32)>) -> Option<String> {
    let float = float(bytes);
    let Some((precision, scale)) = precision_scale else {
        return Some(format!(
            "CASE WHEN {column} IN {NOT_FINITE} THEN false \
             WHEN pg_catalog.abs({column}) > '1.797693134862315e308'::double precision THEN true \
             ELSE {column}::numeric::{float} <> {column} END"
        ));
    };
    let digits = precision - scale;
    let rounded = format!("pg_catalog.round({column}::numeric, {scale})");
    (digits.abs() < 300).then(|| {
        format!(
            "CASE WHEN {column} = 'NaN' THEN false \
             WHEN pg_catalog.abs({column}) >= '1e{digits}'::double precision THEN true \
             ELSE pg_catalog.abs({rounded}) >= 1e{digits} OR {rounded}::{float} <> {column} END"
        )
    })
}

fn others(column: &str, from: &Family, to: &Family) -> Option<String> {
    use Family::*;
    Some(match (from, to) {
        (Date, Timestamp { zone: false, .. }) => {
            format!("{column} > '294276-12-31' AND {column} <> 'infinity'")
        }
        (Timestamp { zone: false, .. }, Date) => {
            format!("{column} <> pg_catalog.date_trunc('day', {column})")
        }
        (Timestamp { zone: a, .. }, Timestamp { precision, zone: b }) if a == b => {
            format!("{column}::timestamp({precision}) {} time zone <> {column}", with(*a))
        }
        (Time { zone: a, .. }, Time { precision, zone: b }) if a == b => {
            format!("{column}::time({precision}) {} time zone <> {column}", with(*a))
        }
        (Time { .. }, Interval { unit: 5, precision }) => {
            format!("{column}::interval({precision})::time <> {column}")
        }
        (Interval { .. }, Time { precision, zone: false }) => {
            format!("{column}::text !~ '^{}$'", time(*precision))
        }
        (Interval { .. }, Interval { unit: 5, precision }) => interval(column, *precision),
        (Interval { .. }, Interval { unit, .. }) => {
            format!("{column}::interval {}::text <> {column}::text", INTERVAL_UNITS[*unit])
        }
        (Inet, Cidr) => format!("{column} <> pg_catalog.network({column})"),
        (MacAddr { .. }, MacAddr { .. }) => format!("{column}::text !~ '^..:..:..:ff:fe:'"),
        (VarBit { .. }, Bit { length }) => format!("pg_catalog.length({column}) <> {length}"),
        (VarBit { .. }, VarBit { limit: Some(limit) }) => format!("pg_catalog.length({column}) > {limit}"),
        (Jsonb, Boolean) => format!("pg_catalog.jsonb_typeof({column}) <> 'boolean'"),
        (Jsonb, Integer { .. } | Numeric { .. }) => {
            let number = format!("({column}::numeric)");
            let any = Numeric { precision_scale: None };
            format!(
                "CASE WHEN pg_catalog.jsonb_typeof({column}) <> 'number' THEN true ELSE {} END",
                numbers(&number, &any, to).unwrap_or_else(|| "false".to_owned())
            )
        }
        (Range { .. }, Range { of }) if of == "integer" && *from != range("numeric") => {
            let bound = |bound: &str| outside(&format!("pg_catalog.{bound}({column})"), 4);
            format!("{} OR {}", bound("lower"), bound("upper"))
        }
        _ => return None,
    })
}

fn range(of: &str) -> Family {
    Family::Range { of: of.to_owned() }
}

fn with(zone: bool) -> &'static str {
    if zone { "with" } else { "without" }
}

/// By text, because a day equals 24 hours. The longest intervals might be rounded beyond their limits.
fn interval(column: &str, precision: i32) -> String {
    let unit = 10_i64.pow(u32::try_from(6 - precision.clamp(0, 6)).unwrap_or_default());
    format!(
        "CASE WHEN pg_catalog.abs(pg_catalog.date_part('hour', {column})) > 2562047000 \
         THEN pg_catalog.date_part('microseconds', {column})::bigint % {unit} <> 0 \
         ELSE {column}::interval({precision})::text <> {column}::text END"
    )
}

fn labels(column: &str, from: &ColumnType, to: &ColumnType) -> Option<String> {
    use Family::*;
    if to.family() != Enum || !matches!(from.family(), Text { .. } | Char { .. } | Name | Xml | Enum) {
        return None;
    }
    let labels: Vec<String> = to.labels.iter().map(|label| quoted(label)).collect();
    let text = text_of(column, from);
    // NULL is formatted as an empty text.
    Some(format!(
        "{column} IS NOT NULL AND ({text} COLLATE \"C\") <> ALL (ARRAY[{}]::text[])",
        labels.join(", ")
    ))
}

fn quoted(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// A value's text. Of a type of a user's the cast to text may be a function of the user's, which must not run.
pub(super) fn text_of(column: &str, of: &ColumnType) -> String {
    if of.is_builtin() { format!("{column}::text") } else { format!("pg_catalog.format('%s', {column})") }
}

fn texts(column: &str, from: &ColumnType, to: &Family) -> Option<String> {
    use Family::*;
    let text = text_of(column, from);
    Some(match (from.family(), to) {
        (Byte, _) | (_, Byte) | (Xml, Char { .. }) => return None,
        (_, Text { limit: Some(limit) }) => format!("pg_catalog.length({text}) > {limit}"),
        (Char { .. }, Char { length }) => format!("pg_catalog.length({text}) > {length}"),
        (_, Char { length }) => {
            format!("pg_catalog.length({text}) > {length} OR {text} <> pg_catalog.rtrim({text}, ' ')")
        }
        (_, Name) => format!("pg_catalog.octet_length({text}) > 63"),
        (Text { .. } | Char { .. } | Name | Xml, _) => unreadable(&format!("({text} COLLATE \"C\")"), to)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::types::of;
    use super::*;

    #[test]
    fn what_the_data_can_tell_is_asked() {
        for (from, to, condition) in [
            ("text", "character varying(8)", Some("pg_catalog.length(c::text) > 8")),
            ("bigint", "smallint", Some("c NOT BETWEEN -32768 AND 32767")),
            ("integer", "bigint", Some("false")),
            ("character(8)", "character(4)", Some("pg_catalog.length(c::text) > 4")),
            (
                "bigint[]",
                "integer[]",
                Some(
                    "EXISTS (SELECT FROM pg_catalog.unnest(c) AS element (value) \
                     WHERE element.value NOT BETWEEN -2147483648 AND 2147483647)",
                ),
            ),
            ("text", "json", None),
            ("timestamp without time zone", "timestamp with time zone", None),
            ("integer", "uuid", None),
        ] {
            assert_eq!(misfit("c", &of(from), &of(to)).as_deref(), condition, "{from} -> {to}");
        }
    }

    #[test]
    fn labels_are_quoted() {
        let mood =
            ColumnType { kind: "e".into(), labels: vec!["it's".into(), r"\".into()], ..of("app.mood") };
        assert_eq!(
            misfit("c", &of("text"), &mood).as_deref(),
            Some(r#"c IS NOT NULL AND (c::text COLLATE "C") <> ALL (ARRAY['it''s', E'\\']::text[])"#)
        );
    }
}
