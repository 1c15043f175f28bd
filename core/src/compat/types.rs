//! The verdict on a pair of types, from an explicit matrix.

use super::Verdict;
use Verdict::{Identical, Incompatible, Lossy, Narrowing, Widening};

/// A column's type as `format_type` prints it; of the type, or of the elements of an array, the `typtype`, the
/// labels if it is an enum, and what it is made of if a user made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    pub text: String,
    pub kind: String,
    pub labels: Vec<String>,
    pub definition: Option<String>,
}

/// What the matrix knows a type as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Family {
    /// Decimal digits that always fit: 4, 9 or 18, and the digits that may come: 5, 10 or 19.
    Integer {
        bytes: u8,
    },
    Numeric {
        precision_scale: Option<(i32, i32)>,
    },
    Float {
        bytes: u8,
    },
    /// text and varchar; the limit in characters.
    Text {
        limit: Option<i32>,
    },
    /// char(n), padded with blanks.
    Char {
        length: i32,
    },
    Date,
    Time {
        precision: i32,
        zone: bool,
    },
    Timestamp {
        precision: i32,
        zone: bool,
    },
    Interval {
        precision: i32,
    },
    Json,
    Jsonb,
    Enum,
    Other,
}

/// Splits a type into its name without modifiers, its modifiers, and whether it is an array.
fn parse(text: &str) -> (String, Vec<i32>, bool) {
    let (text, array) = match text.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (text, false),
    };
    let Some((before, rest)) = text.split_once('(') else {
        return (text.to_owned(), Vec::new(), array);
    };
    let Some((inside, after)) = rest.split_once(')') else {
        return (text.to_owned(), Vec::new(), array);
    };
    let modifiers: Option<Vec<i32>> = inside.split(',').map(|part| part.trim().parse().ok()).collect();
    match modifiers {
        Some(modifiers) => (format!("{before}{after}"), modifiers, array),
        None => (text.to_owned(), Vec::new(), array),
    }
}

impl ColumnType {
    fn array(&self) -> bool {
        parse(&self.text).2
    }

    pub fn family(&self) -> Family {
        let (name, modifiers, _) = parse(&self.text);
        let first = modifiers.first().copied();
        match name.as_str() {
            "smallint" => Family::Integer { bytes: 2 },
            "integer" => Family::Integer { bytes: 4 },
            "bigint" => Family::Integer { bytes: 8 },
            "numeric" => Family::Numeric {
                precision_scale: first.map(|precision| (precision, modifiers.get(1).copied().unwrap_or(0))),
            },
            "real" => Family::Float { bytes: 4 },
            "double precision" => Family::Float { bytes: 8 },
            "text" => Family::Text { limit: None },
            "character varying" => Family::Text { limit: first },
            "character" => Family::Char { length: first.unwrap_or(1) },
            "date" => Family::Date,
            "time without time zone" => Family::Time { precision: first.unwrap_or(6), zone: false },
            "time with time zone" => Family::Time { precision: first.unwrap_or(6), zone: true },
            "timestamp without time zone" => Family::Timestamp { precision: first.unwrap_or(6), zone: false },
            "timestamp with time zone" => Family::Timestamp { precision: first.unwrap_or(6), zone: true },
            "interval" => Family::Interval { precision: first.unwrap_or(6) },
            "json" => Family::Json,
            "jsonb" => Family::Jsonb,
            _ if self.kind == "e" => Family::Enum,
            _ => Family::Other,
        }
    }
}

/// How values of `from` fare in `to`.
pub fn verdict(from: &ColumnType, to: &ColumnType) -> Verdict {
    if from.text == to.text {
        return match from.kind.as_str() {
            "e" => labels(from, to),
            _ if from.definition != to.definition => Incompatible,
            _ => Identical,
        };
    }
    if from.array() != to.array() {
        return if to.family() == (Family::Text { limit: None }) && !to.array() {
            Widening
        } else {
            Incompatible
        };
    }
    families(from, to)
}

fn labels(from: &ColumnType, to: &ColumnType) -> Verdict {
    if from.labels == to.labels {
        Identical
    } else if from.labels.iter().all(|label| to.labels.contains(label)) {
        Widening
    } else {
        Narrowing
    }
}

fn families(from: &ColumnType, to: &ColumnType) -> Verdict {
    use Family::*;
    match (from.family(), to.family()) {
        (Integer { bytes: a }, Integer { bytes: b }) => {
            if b >= a {
                Widening
            } else {
                Narrowing
            }
        }
        (Integer { bytes }, Numeric { precision_scale }) => match precision_scale {
            Some((_, scale)) if scale < 0 => Lossy,
            Some((precision, scale)) if precision - scale < integer_digits(bytes) => Narrowing,
            _ => Widening,
        },
        (Integer { bytes: 2 }, Float { .. }) | (Integer { bytes: 4 }, Float { bytes: 8 }) => Widening,
        (Integer { .. }, Float { .. }) => Lossy,
        (Numeric { precision_scale: a }, Numeric { precision_scale: b }) => numeric(a, b),
        (Numeric { precision_scale: Some((_, 0)) }, Integer { .. }) => Narrowing,
        (Numeric { .. }, Integer { .. } | Float { .. }) => Lossy,
        (Float { bytes: 4 }, Float { bytes: 8 }) => Widening,
        (Float { .. }, Integer { .. } | Numeric { .. } | Float { .. }) => Lossy,
        (Text { limit: a }, Text { limit: b }) => fits(a, b),
        (Char { length: a }, Char { length: b }) => {
            if b >= a {
                Widening
            } else {
                Narrowing
            }
        }
        (Char { .. }, Text { .. }) | (Text { .. }, Char { .. }) => Lossy,
        (Enum, Text { limit }) => {
            let longest = from.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
            fits(i32::try_from(longest).ok(), limit)
        }
        (Enum, Enum) => labels(from, to).max(Widening),
        (Date, Timestamp { zone: false, .. }) => Widening,
        (Timestamp { precision: a, zone: za }, Timestamp { precision: b, zone: zb })
        | (Time { precision: a, zone: za }, Time { precision: b, zone: zb }) => {
            if za == zb && b >= a {
                Widening
            } else {
                Lossy
            }
        }
        (Date, Timestamp { zone: true, .. }) | (Timestamp { .. }, Date | Time { .. }) => Lossy,
        (Json, Jsonb) => Lossy,
        (Jsonb, Json) => Widening,
        // Everything has a text form, and everything can be tried to be read from one.
        (_, Text { limit: None }) => Widening,
        (_, Text { .. } | Char { .. }) | (Text { .. } | Char { .. }, _) => Narrowing,
        (Interval { precision: a }, Interval { precision: b }) => {
            if b >= a {
                Widening
            } else {
                Lossy
            }
        }
        // A domain's base type is not known here; whether the values pass is up to the data.
        _ if from.kind == "d" || to.kind == "d" => Narrowing,
        _ => Incompatible,
    }
}

/// Digits before the decimal point that the largest integer of that size has.
fn integer_digits(bytes: u8) -> i32 {
    match bytes {
        2 => 5,
        4 => 10,
        _ => 19,
    }
}

fn numeric(from: Option<(i32, i32)>, to: Option<(i32, i32)>) -> Verdict {
    match (from, to) {
        (_, None) => Widening,
        (None, Some(_)) => Lossy,
        (Some((_, scale)), Some((_, to_scale))) if to_scale < scale => Lossy,
        (Some((precision, scale)), Some((to_precision, to_scale))) => {
            if to_precision - to_scale >= precision - scale { Widening } else { Narrowing }
        }
    }
}

fn fits(from: Option<i32>, to: Option<i32>) -> Verdict {
    match (from, to) {
        (_, None) => Widening,
        (Some(from), Some(to)) if to >= from => Widening,
        _ => Narrowing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ColumnType {
        ColumnType { text: text.into(), kind: "b".into(), labels: Vec::new(), definition: None }
    }

    fn mood(labels: &[&str]) -> ColumnType {
        ColumnType {
            text: "app.mood".into(),
            kind: "e".into(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
            definition: None,
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
            ("character(5)", "text", Lossy),
            ("date", "timestamp without time zone", Widening),
            ("date", "timestamp with time zone", Lossy),
            ("timestamp without time zone", "timestamp with time zone", Lossy),
            ("timestamp with time zone", "timestamp(3) with time zone", Lossy),
            ("timestamp(0) with time zone", "timestamp(3) with time zone", Widening),
            ("json", "jsonb", Lossy),
            ("jsonb", "json", Widening),
            ("text", "uuid", Narrowing),
            ("uuid", "text", Widening),
            ("boolean", "integer", Incompatible),
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
            labels: Vec::new(),
            definition: Some(definition.into()),
        };
        let (here, there) = (
            coordinate("lat double precision, lon double precision"),
            coordinate("lon double precision, lat double precision"),
        );
        assert_eq!(verdict(&here, &here), Identical);
        assert_eq!(verdict(&here, &there), Incompatible);
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
}
