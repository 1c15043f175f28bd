//! A column's type as the catalogs describe it, and what kind of type the matrix takes it for.

pub use super::matrix::verdict;

/// A column's type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnType {
    /// As `format_type` prints it.
    pub text: String,
    /// `typtype` of the type, or of the elements of an array. So with all that follows.
    pub kind: String,
    /// The labels of an enum, in their order.
    pub labels: Vec<String>,
    /// What a type of a user's is made of: the attributes of a composite type, the subtype of a range.
    pub definition: Option<String>,
    /// What a domain is over, through all domains between.
    pub base: Option<Box<ColumnType>>,
    /// What a domain demands of a value, and the domains between do.
    pub checks: Vec<String>,
}

/// What the matrix takes a type for. Lengths are in characters, precisions in digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Family {
    Integer {
        bytes: u8,
    },
    Numeric {
        precision_scale: Option<(i32, i32)>,
    },
    Float {
        bytes: u8,
    },
    Money,
    Boolean,
    Oid,
    /// regclass and its like: a number that is shown as a name.
    Reg,
    /// text and varchar.
    Text {
        limit: Option<i32>,
    },
    /// char(n), padded with blanks, which are no part of the value.
    Char {
        length: i32,
    },
    /// 63 bytes of text; what is longer is cut.
    Name,
    /// "char", one byte; what is longer is cut.
    Byte,
    Bytea,
    Date,
    Time {
        precision: i32,
        zone: bool,
    },
    Timestamp {
        precision: i32,
        zone: bool,
    },
    /// With the smallest unit that it keeps: 0 years, 1 months, 2 days, 3 hours, 4 minutes, 5 seconds.
    Interval {
        unit: usize,
        precision: i32,
    },
    Uuid,
    Inet,
    Cidr,
    MacAddr {
        bytes: usize,
    },
    Json,
    Jsonb,
    Xml,
    Bit {
        length: i32,
    },
    VarBit {
        limit: Option<i32>,
    },
    Point,
    Box,
    Range {
        of: String,
    },
    Multirange {
        of: String,
    },
    Enum,
    Array,
    Other,
}

/// The subtypes of the ranges of the system.
const RANGES: [(&str, &str); 6] = [
    ("int4", "integer"),
    ("int8", "bigint"),
    ("num", "numeric"),
    ("ts", "timestamp without time zone"),
    ("tstz", "timestamp with time zone"),
    ("date", "date"),
];

pub(super) const INTERVAL_UNITS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

/// Splits a type into its name without modifiers and its modifiers.
fn parse(text: &str) -> Option<(String, Vec<i32>)> {
    let (before, rest) = text.split_once('(')?;
    let (inside, after) = rest.split_once(')')?;
    let modifiers: Option<Vec<i32>> = inside.split(',').map(|part| part.trim().parse().ok()).collect();
    Some((format!("{before}{after}"), modifiers?))
}

impl ColumnType {
    /// The type without what follows in parentheses.
    pub fn name(&self) -> &str {
        self.text.split('(').next().unwrap_or_default()
    }

    /// Of an array, what it is an array of, whatever its dimensions.
    pub fn element(&self) -> Option<ColumnType> {
        let text = self.text.strip_suffix("[]")?.to_owned();
        Some(ColumnType { text, ..self.clone() })
    }

    /// Whether the type is the system's: with the search_path pinned, others are printed with their schema.
    pub fn is_builtin(&self) -> bool {
        !self.text.contains('.') && (!self.text.contains('"') || self.text.starts_with("\"char\""))
    }

    pub fn family(&self) -> Family {
        if self.text.ends_with("[]") {
            return Family::Array;
        }
        let (name, modifiers) = parse(&self.text).unwrap_or_else(|| (self.text.clone(), Vec::new()));
        let first = modifiers.first().copied();
        let precision = first.unwrap_or(6);
        match name.as_str() {
            "smallint" => Family::Integer { bytes: 2 },
            "integer" => Family::Integer { bytes: 4 },
            "bigint" => Family::Integer { bytes: 8 },
            "numeric" => Family::Numeric {
                precision_scale: first.map(|precision| (precision, modifiers.get(1).copied().unwrap_or(0))),
            },
            "real" => Family::Float { bytes: 4 },
            "double precision" => Family::Float { bytes: 8 },
            "money" => Family::Money,
            "boolean" => Family::Boolean,
            "oid" => Family::Oid,
            "text" => Family::Text { limit: None },
            "character varying" => Family::Text { limit: first },
            "character" => Family::Char { length: first.unwrap_or(1) },
            "name" => Family::Name,
            "\"char\"" => Family::Byte,
            "bytea" => Family::Bytea,
            "date" => Family::Date,
            "time without time zone" => Family::Time { precision, zone: false },
            "time with time zone" => Family::Time { precision, zone: true },
            "timestamp without time zone" => Family::Timestamp { precision, zone: false },
            "timestamp with time zone" => Family::Timestamp { precision, zone: true },
            "uuid" => Family::Uuid,
            "inet" => Family::Inet,
            "cidr" => Family::Cidr,
            "macaddr" => Family::MacAddr { bytes: 6 },
            "macaddr8" => Family::MacAddr { bytes: 8 },
            "json" => Family::Json,
            "jsonb" => Family::Jsonb,
            "xml" => Family::Xml,
            "bit" => Family::Bit { length: first.unwrap_or(1) },
            "bit varying" => Family::VarBit { limit: first },
            "point" => Family::Point,
            "box" => Family::Box,
            _ => self.named(&name, precision),
        }
    }

    fn named(&self, name: &str, precision: i32) -> Family {
        let system_range = |suffix: &str| {
            let prefix = name.strip_suffix(suffix)?;
            RANGES.iter().find(|(short, _)| *short == prefix).map(|(_, of)| (*of).to_owned())
        };
        let smallest = |fields: &str| INTERVAL_UNITS.iter().position(|unit| fields.ends_with(unit));
        if let Some(fields) = name.strip_prefix("interval") {
            return Family::Interval { unit: smallest(fields).unwrap_or(5), precision };
        }
        if let Some(of) = system_range("multirange") {
            return Family::Multirange { of };
        }
        let subtype = (self.kind == "r").then(|| self.definition.clone()).flatten();
        if let Some(of) = system_range("range").or(subtype) {
            return Family::Range { of };
        }
        match self.kind.as_str() {
            "e" => Family::Enum,
            _ if self.is_builtin() && name.starts_with("reg") => Family::Reg,
            _ => Family::Other,
        }
    }
}

#[cfg(test)]
pub(super) fn of(text: &str) -> ColumnType {
    ColumnType { text: text.into(), kind: "b".into(), ..ColumnType::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_read_wherever_they_stand() {
        for (text, family) in [
            ("numeric(5,-2)", Family::Numeric { precision_scale: Some((5, -2)) }),
            ("timestamp(3) with time zone", Family::Timestamp { precision: 3, zone: true }),
            ("time without time zone", Family::Time { precision: 6, zone: false }),
            ("interval day to second(2)", Family::Interval { unit: 5, precision: 2 }),
            ("interval year to month", Family::Interval { unit: 1, precision: 6 }),
            ("bit varying(8)", Family::VarBit { limit: Some(8) }),
            ("tstzrange", Family::Range { of: "timestamp with time zone".into() }),
            ("int8multirange", Family::Multirange { of: "bigint".into() }),
            ("regclass", Family::Reg),
            ("public.regimen", Family::Other),
            ("integer[]", Family::Array),
            ("public.geometry(Point,4326)", Family::Other),
        ] {
            assert_eq!(of(text).family(), family, "{text}");
        }
    }
}
