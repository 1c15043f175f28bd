//! The verdict on a pair of types, from an explicit matrix. The test `types` compares it with what a server does.
//!
//! A value goes to the other type by the cast of `pg_cast`, and where there is none its text is read; modifiers are
//! assigned, as INSERT does. It survives if what comes back the same way is the same by the type's own equality: 1.00
//! is 1, and the padding of char(n) is nothing. Blanks that are cut from the end of a text too long for varchar(n)
//! count as a refusal.

use super::Verdict;
use super::text_form::{holds_free_text, longest, shortest};
use super::types::{ColumnType, Family};
use Verdict::{Identical, Incompatible, Lossy, Narrowing, Widening};

/// How values of `from` fare in `to`.
pub fn verdict(from: &ColumnType, to: &ColumnType) -> Verdict {
    if from.text == to.text {
        return same_name(from, to);
    }
    if let Some(base) = &to.base
        && to.element().is_none()
    {
        let reached = verdict(from, base).max(Widening);
        return if only_there(from, to) { reached.max(Narrowing) } else { reached };
    }
    if let Some(base) = &from.base
        && from.element().is_none()
    {
        return verdict(base, to).max(Widening);
    }
    match (from.element(), to.element()) {
        (Some(from), Some(to)) if is_padded(&from, &to) || is_padded(&to, &from) => Incompatible,
        (Some(from), Some(to)) => verdict(&from, &to),
        _ => families(from, to),
    }
}

/// Padding is part of the text of an array, and other types than texts need not read it.
fn is_padded(one: &ColumnType, other: &ColumnType) -> bool {
    use Family::*;
    matches!(one.family(), Char { .. }) && !matches!(other.family(), Text { .. } | Char { .. } | Name)
}

fn same_name(from: &ColumnType, to: &ColumnType) -> Verdict {
    if from.kind != to.kind || from.definition != to.definition {
        return Incompatible;
    }
    let demanded = match only_there(from, to) {
        true => Narrowing,
        false if from.checks != to.checks => Widening,
        false => Identical,
    };
    match (&from.base, &to.base) {
        (Some(from), Some(to)) => verdict(from, to).max(demanded),
        _ => labels(from, to).max(demanded),
    }
}

/// Whether the domain there demands what the one here does not.
pub(super) fn only_there(from: &ColumnType, to: &ColumnType) -> bool {
    to.checks.iter().any(|check| !from.checks.contains(check))
}

/// In another order they are other values to whoever sorts or compares them, and all there.
fn labels(from: &ColumnType, to: &ColumnType) -> Verdict {
    if from.labels == to.labels {
        Identical
    } else if from.labels.iter().all(|label| to.labels.contains(label)) {
        Widening
    } else {
        Narrowing
    }
}

fn widening_if(fits: bool, otherwise: Verdict) -> Verdict {
    if fits { Widening } else { otherwise }
}

/// The matrix. The first line that names a pair holds.
fn families(from: &ColumnType, to: &ColumnType) -> Verdict {
    use Family::*;
    let (here, there) = (from.family(), to.family());
    match (&here, &there) {
        // Numbers.
        (Integer { bytes: a }, Integer { bytes: b }) => widening_if(b >= a, Narrowing),
        (Integer { bytes }, Numeric { precision_scale }) => integer_to_numeric(*bytes, *precision_scale),
        (Integer { bytes: 2 }, Float { .. }) | (Integer { bytes: 4 }, Float { bytes: 8 }) => Widening,
        (Numeric { precision_scale: a }, Numeric { precision_scale: b }) => numeric(*a, *b),
        // NaN is refused.
        (Numeric { precision_scale: Some((_, ..=0)) }, Integer { .. }) => Narrowing,
        (Numeric { precision_scale: Some(digits) }, Float { bytes }) => {
            widening_if(are_kept(*digits, *bytes), Lossy)
        }
        (Float { bytes: 4 }, Float { bytes: 8 }) => Widening,
        (Integer { .. } | Numeric { .. } | Float { .. }, Integer { .. } | Numeric { .. } | Float { .. }) => {
            Lossy
        }

        // Money has 17 digits before the point and 2 after it.
        (Money, Numeric { precision_scale }) => numeric(Some((19, 2)), *precision_scale),
        (Numeric { precision_scale: Some((_, ..=2)) }, Money) => Narrowing,
        (Numeric { .. }, Money) => Lossy,
        (Boolean, Integer { bytes: 4 }) => Widening,
        (Integer { bytes: 4 }, Boolean) => Lossy,

        // An oid is an integer without a sign.
        (Oid, Oid | Reg) | (Reg, Oid) => Widening,
        (Oid | Reg, Integer { bytes: 4 | 8 }) => Widening,
        (Oid, Integer { bytes: 2 }) => Narrowing,
        (Integer { bytes: 2 }, Oid) => Lossy,
        (Integer { bytes: 4 }, Oid | Reg) => Widening,
        (Integer { bytes: 8 }, Oid | Reg) => Narrowing,
        (Oid, Numeric { precision_scale: None } | Float { bytes: 8 }) => Widening,
        (Oid, Numeric { precision_scale: Some((precision, 0)) }) => widening_if(*precision >= 10, Narrowing),

        // Bits. Those of a number are as many as it has.
        (Bit { length }, Integer { bytes: 4 }) => widening_if(*length <= 32, Incompatible),
        (Bit { length }, Integer { bytes: 8 }) => widening_if(*length <= 64, Incompatible),
        (Integer { bytes: 4 }, Bit { length }) => widening_if(*length == 32, Lossy),
        (Integer { bytes: 8 }, Bit { length }) => widening_if(*length == 64, Lossy),
        (Bit { length }, VarBit { limit }) => {
            widening_if(limit.is_none_or(|limit| limit >= *length), Incompatible)
        }
        (VarBit { .. }, Bit { .. }) => Narrowing,
        (VarBit { limit: a }, VarBit { limit: b }) => fits(*a, *b),

        // Dates and times. A date may be later than the last timestamp. What depends on the session's TimeZone, where
        // hours or days may be missing or come twice, is lossy.
        (Date, Timestamp { zone: false, .. }) => Narrowing,
        (Date, Timestamp { zone: true, .. }) | (Timestamp { .. }, Date | Time { .. }) => Lossy,
        (Timestamp { precision: a, zone: za }, Timestamp { precision: b, zone: zb }) => {
            widening_if(za == zb && b >= a, Lossy)
        }
        (Time { precision: a, zone: za }, Time { precision: b, zone: zb }) => {
            widening_if(zb >= za && b >= a, Lossy)
        }
        (Interval { unit: a, precision: pa }, Interval { unit: b, precision: pb }) => {
            widening_if(b >= a && (*a < 5 || pb >= pa), Lossy)
        }
        // 24:00 becomes a day, and a day 00:00.
        (Time { zone: false, .. }, Interval { .. }) | (Interval { .. }, Time { zone: false, .. }) => Lossy,

        // Addresses, geometry, ranges.
        (Cidr, Inet) | (MacAddr { bytes: 6 }, MacAddr { bytes: 8 }) | (Point, Box) => Widening,
        (MacAddr { bytes: 8 }, MacAddr { bytes: 6 }) => Narrowing,
        (Inet, Cidr) | (Box, Point) => Lossy,
        (Range { of: a }, Range { of: b }) | (Multirange { of: a }, Multirange { of: b }) => ranges(a, b),

        // JSON. Its numbers are neither NaN nor infinite; jsonb forgets blanks, order and repeated keys.
        (Integer { .. } | Oid | Boolean, Json | Jsonb) | (Jsonb, Json) => Widening,
        (Numeric { .. } | Float { .. }, Json | Jsonb) => Narrowing,
        (Json, Jsonb) | (Jsonb, Boolean | Integer { .. } | Numeric { .. } | Float { .. }) => Lossy,

        (Enum, Enum) => labels(from, to).max(Widening),
        // "char" is a character, and the number of it.
        (Byte, Integer { bytes: 4 }) => Widening,
        (Integer { bytes: 4 }, Byte) => Narrowing,
        (Boolean, Byte) => Widening,
        (Text { .. } | Char { .. } | Name | Byte | Xml, _) => from_text(&here, &there),
        (_, Text { .. } | Char { .. } | Name | Byte | Xml) => to_text(from, &there),
        (Other, Other) => others(from, to),
        _ => Incompatible,
    }
}

/// Digits before the point that an integer of that size may have.
fn integer_to_numeric(bytes: u8, precision_scale: Option<(i32, i32)>) -> Verdict {
    let digits = match bytes {
        2 => 5,
        4 => 10,
        _ => 19,
    };
    match precision_scale {
        None => Widening,
        Some((_, ..=-1)) => Lossy,
        Some((precision, scale)) => widening_if(precision - scale >= digits, Narrowing),
    }
}

fn numeric(from: Option<(i32, i32)>, to: Option<(i32, i32)>) -> Verdict {
    match (from, to) {
        (_, None) => Widening,
        (None, Some(_)) => Lossy,
        (Some((_, scale)), Some((_, to_scale))) if to_scale < scale => Lossy,
        (Some((precision, scale)), Some((to_precision, to_scale))) => {
            widening_if(to_precision - to_scale >= precision - scale, Narrowing)
        }
    }
}

/// Decimal digits that a floating-point number keeps, FLT_DIG and DBL_DIG, within its exponents.
fn are_kept((precision, scale): (i32, i32), bytes: u8) -> bool {
    let (digits, exponent) = if bytes == 4 { (6, 37) } else { (15, 307) };
    precision <= digits && scale <= exponent && precision - scale <= exponent
}

fn fits(from: Option<i32>, to: Option<i32>) -> Verdict {
    match (from, to) {
        (_, None) => Widening,
        (Some(from), Some(to)) => widening_if(to >= from, Narrowing),
        _ => Narrowing,
    }
}

/// The text of one range is read as the other. Where there is a next value, bounds are written anew.
fn ranges(from: &str, to: &str) -> Verdict {
    const NUMBERS: [&str; 3] = ["integer", "bigint", "numeric"];
    const TIMES: [&str; 3] = ["date", "timestamp without time zone", "timestamp with time zone"];
    let is_discrete = |of: &str| matches!(of, "integer" | "bigint" | "date");
    let of = |text: &str| ColumnType { text: text.to_owned(), ..ColumnType::default() };
    if from == to {
        Widening
    } else if ![NUMBERS, TIMES].iter().any(|kin| kin.contains(&from) && kin.contains(&to)) {
        Incompatible
    } else if is_discrete(to) && !is_discrete(from) {
        Lossy
    } else {
        verdict(&of(from), &of(to))
    }
}

/// From something that may be any text. What is read may be written otherwise: 007 is 7.
fn from_text(from: &Family, to: &Family) -> Verdict {
    use Family::*;
    let from_limit = match from {
        Text { limit } => *limit,
        Char { length } => Some(*length),
        Name => Some(63),
        // As octal, \377.
        Byte => Some(4),
        _ => None,
    };
    match (from, to) {
        (_, Text { limit }) => fits(from_limit, *limit),
        (Char { .. }, Char { length }) => fits(from_limit, Some(*length)),
        // Four bytes a character.
        (_, Name) => widening_if(from_limit.is_some_and(|limit| limit <= 15), Lossy),
        (_, Json | Xml | Enum) => Narrowing,
        (Byte, Char { .. }) => Narrowing,
        (Byte, _) => Incompatible,
        _ if from_limit.is_some_and(|limit| limit < shortest(to)) => Incompatible,
        _ => Lossy,
    }
}

/// To something that takes any text, if it is short enough.
fn to_text(from: &ColumnType, to: &Family) -> Verdict {
    use Family::*;
    let is_within = |limit: i32| longest(from).is_some_and(|length| length <= limit);
    match to {
        Text { limit: None } => Widening,
        Text { limit: Some(limit) } => widening_if(is_within(*limit), Narrowing),
        Char { .. } if from.family() == Json || from.labels.iter().any(|label| label.ends_with(' ')) => Lossy,
        Char { length } => widening_if(is_within(*length), Narrowing),
        Name => widening_if(from.family() == Enum || is_within(63), Lossy),
        Xml => widening_if(!holds_free_text(from), Narrowing),
        _ => Incompatible,
    }
}

/// Types that the matrix does not know. Of a type with other modifiers the values tell, and rows with the same
/// attributes are the same.
fn others(from: &ColumnType, to: &ColumnType) -> Verdict {
    let are_rows = from.kind == "c" && to.kind == "c";
    if are_rows && from.definition.is_some() && from.definition == to.definition {
        Widening
    } else if from.name() == to.name() {
        Narrowing
    } else {
        Incompatible
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::of;
    use super::*;

    fn mood(labels: &[&str]) -> ColumnType {
        ColumnType {
            text: "app.mood".into(),
            kind: "e".into(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
            ..ColumnType::default()
        }
    }

    #[test]
    fn the_matrix() {
        for (from, to, expected) in [
            ("integer", "integer", Identical),
            ("smallint", "bigint", Widening),
            ("bigint", "integer", Narrowing),
            ("integer", "numeric", Widening),
            ("integer", "numeric(10,0)", Widening),
            ("integer", "numeric(10,2)", Narrowing),
            ("integer", "double precision", Widening),
            ("integer", "real", Lossy),
            ("bigint", "double precision", Lossy),
            ("numeric(10,2)", "numeric(12,4)", Widening),
            ("numeric(10,2)", "numeric(11,4)", Narrowing),
            ("numeric(10,2)", "numeric(10,1)", Lossy),
            ("numeric", "numeric(10,2)", Lossy),
            ("numeric(5,0)", "integer", Narrowing),
            ("numeric", "double precision", Lossy),
            ("real", "double precision", Widening),
            ("double precision", "real", Lossy),
            ("text", "character varying(10)", Narrowing),
            ("character varying(10)", "character varying(20)", Widening),
            ("character varying(20)", "character varying(10)", Narrowing),
            ("character varying", "text", Widening),
            ("character(5)", "text", Widening),
            ("date", "timestamp without time zone", Narrowing),
            ("date", "timestamp with time zone", Lossy),
            ("timestamp without time zone", "timestamp with time zone", Lossy),
            ("timestamp with time zone", "timestamp(3) with time zone", Lossy),
            ("timestamp(0) with time zone", "timestamp(3) with time zone", Widening),
            ("json", "jsonb", Lossy),
            ("jsonb", "json", Widening),
            ("text", "uuid", Lossy),
            ("uuid", "text", Widening),
            ("boolean", "integer", Widening),
            ("boolean", "smallint", Incompatible),
            ("smallint", "numeric(5,-2)", Lossy),
            ("interval(0)", "interval", Widening),
            ("interval", "interval(0)", Lossy),
            ("integer[]", "bigint[]", Widening),
            ("integer[]", "integer", Incompatible),
        ] {
            assert_eq!(verdict(&of(from), &of(to)), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn a_name_is_not_a_definition() {
        let coordinate = |definition: &str| ColumnType {
            text: "app.coordinate".into(),
            kind: "c".into(),
            definition: Some(definition.into()),
            ..ColumnType::default()
        };
        let (here, there) = (
            coordinate("lat double precision, lon double precision"),
            coordinate("lon double precision, lat double precision"),
        );
        assert_eq!(verdict(&here, &here), Identical);
        assert_eq!(verdict(&here, &there), Incompatible);
        let of_another_kind = ColumnType { text: "app.mood".into(), ..here };
        assert_eq!(verdict(&mood(&["a"]), &of_another_kind), Incompatible);
    }

    #[test]
    fn enums_are_compared_by_their_labels() {
        assert_eq!(verdict(&mood(&["a", "b"]), &mood(&["a", "b"])), Identical);
        assert_eq!(verdict(&mood(&["a"]), &mood(&["b", "a"])), Widening);
        assert_eq!(verdict(&mood(&["a", "c"]), &mood(&["a", "b"])), Narrowing);
        assert_eq!(verdict(&mood(&["long"]), &of("text")), Widening);
        assert_eq!(verdict(&mood(&["long"]), &of("character varying(3)")), Narrowing);
        assert_eq!(verdict(&of("text"), &mood(&["a"])), Narrowing);
    }

    #[test]
    fn a_domain_is_judged_by_what_it_is_over_and_what_it_demands() {
        let domain = |text: &str, base: &str, checks: &[&str]| ColumnType {
            kind: "d".into(),
            definition: Some(base.into()),
            base: Some(Box::new(of(base))),
            checks: checks.iter().map(|check| (*check).into()).collect(),
            ..of(text)
        };
        let over = |base: &ColumnType| ColumnType {
            base: Some(Box::new(base.clone())),
            ..domain("app.feeling", "app.mood", &[])
        };
        let code = domain("app.code", "character varying(8)", &[]);
        let quantity = domain("app.quantity", "integer", &["CHECK ((VALUE > 0))"]);
        let dozen = domain("app.dozen", "integer", &["CHECK ((VALUE > 0))", "CHECK (((VALUE % 12) = 0))"]);
        let free = domain("app.quantity", "integer", &[]);
        for (from, to, expected) in [
            (&code, &of("text"), Widening),
            (&of("character varying(5)"), &code, Widening),
            (&of("text"), &code, Narrowing),
            (&of("integer"), &quantity, Narrowing),
            (&of("numeric"), &quantity, Lossy),
            (&dozen, &quantity, Widening),
            (&quantity, &dozen, Narrowing),
            (&quantity, &quantity, Identical),
            (&quantity, &free, Widening),
            (&free, &quantity, Narrowing),
            (&over(&mood(&["a"])), &over(&mood(&["a", "b"])), Widening),
            (&over(&mood(&["a", "b"])), &over(&mood(&["a"])), Narrowing),
            (&domain("app.tags", "text[]", &[]), &of("text[]"), Widening),
            (&of("uuid"), &quantity, Incompatible),
        ] {
            assert_eq!(verdict(from, to), expected, "{} -> {}", from.text, to.text);
        }
    }
}
