//! How a column is hashed, shown and compared, so that two servers agree on what is the same value.
//!
//! A hash decides only that values are the same, so it must never be the same for values that differ; whether values
//! of different hashes differ is decided by the type's own equality once they are both here.

use super::types::ColumnType;

/// The columns of one name on both sides, as values of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    local: ColumnType,
    remote: ColumnType,
    common: Common,
    /// The hash of the type is not the same on both servers.
    is_hash_unlike: bool,
    /// What is written counts, not what it means.
    is_as_written: bool,
}

/// On which server an expression is to be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Local,
    Remote,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Common {
    /// Values of this type of the system's.
    Type(String),
    /// Whatever the type's output function writes, byte for byte.
    Text,
}

/// What of a value goes into a row's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hashed {
    /// The value: its type's hash is made of all of it, and is the same on every server.
    Value,
    /// The value, by its bytes whatever its collation.
    Bytes,
    /// The hash of a numeric is made of neither its sign nor of which of NaN and the infinities it is.
    Numeric,
    /// The same, and how many digits are written after the point.
    NumericAsWritten,
    /// The text. Parts of a jsonb cancel each other out in its hash; the hash of an enum is made of its OID; others have
    /// none.
    Text,
}

/// Types whose hash is made of all of a value, and has been the same since PostgreSQL 15 (hash partitions stand on it):
/// each with what is hashed of a value, and a value to try it with. The hash of eight bytes as one number is made of the
/// exclusive or of its halves, so 1 has that of 4294967296: what the type sends over the wire has another. Arrays are not
/// among them: their hash does not know their dimensions.
const HASHED_BY_VALUE: [(&str, &str, &str); 20] = [
    ("bigint", "pg_catalog.int8send($)", "-81985529216486896"),
    ("boolean", "$", "true"),
    ("bytea", "$", r"\x0123456789abcdef"),
    ("cidr", "$", "10.1.0.0/16"),
    ("date", "$", "2024-02-29"),
    ("double precision", "$", "-1234.5678"),
    ("inet", "$", "2001:db8::1/64"),
    ("integer", "$", "-1234567"),
    ("macaddr", "$", "08:00:2b:01:02:03"),
    ("macaddr8", "$", "08:00:2b:01:02:03:04:05"),
    ("numeric", "$", "-123456789.00012345"),
    ("oid", "$", "4000000000"),
    ("pg_lsn", "pg_catalog.pg_lsn_send($)", "16/B374D848"),
    ("real", "$", "-12.5"),
    ("smallint", "$", "-12345"),
    ("time with time zone", "pg_catalog.timetz_send($)", "04:05:06.789+02"),
    ("time without time zone", "pg_catalog.time_send($)", "04:05:06.789"),
    ("timestamp with time zone", "pg_catalog.timestamptz_send($)", "2024-02-29 12:34:56.789+00"),
    ("timestamp without time zone", "pg_catalog.timestamp_send($)", "2024-02-29 12:34:56.789"),
    ("uuid", "$", "01234567-89ab-cdef-0123-456789abcdef"),
];

/// The hash of a record in SQL. Without a seed, a float of zero has the hash that NULL has.
pub fn record_hash(record: &str) -> String {
    format!("pg_catalog.hash_record_extended({record}, 7046029254386353131)")
}

/// The hash of a row, of what stands in it for its columns (see [`Form::hash_parts`]).
///
/// The hash of a record is a sum, each column's hash times a factor: if two rows exchanged the values of a column, the
/// sum of their hashes would stay the same. So it is hashed once more.
pub fn row_hash(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    record_hash(&format!("ROW(pg_catalog.int8send({}))", hash_of(&parts)))
}

/// A record has 1,664 columns at most.
const PARTS: usize = 1000;

fn hash_of(parts: &[String]) -> String {
    let records: Vec<String> =
        parts.chunks(PARTS).map(|parts| format!("ROW({})", parts.join(", "))).collect();
    match records.as_slice() {
        [record] => record_hash(record),
        // A record has no place in one that is hashed.
        records => {
            let hashes: Vec<String> = records
                .iter()
                .map(|record| format!("pg_catalog.int8send({})", record_hash(record)))
                .collect();
            record_hash(&format!("ROW({})", hashes.join(", ")))
        }
    }
}

/// The hash that everything else falls back to, of a sample.
pub fn text_sample() -> String {
    record_hash("ROW('Zürich 東京'::text COLLATE \"C\")")
}

/// Types that take the same value in more than one way, and whose equality knows it.
const WRITTEN_IN_MORE_THAN_ONE_WAY: [&str; 8] =
    ["bpchar", "double precision", "interval", "jsonb", "numeric", "nummultirange", "numrange", "real"];

/// Types whose values are never longer than a hash with what tells it from a value.
const SHORT: [&str; 22] = [
    "bigint",
    "boolean",
    "cidr",
    "date",
    "double precision",
    "inet",
    "integer",
    "interval",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "numeric",
    "oid",
    "pg_lsn",
    "real",
    "smallint",
    "time with time zone",
    "time without time zone",
    "timestamp with time zone",
    "timestamp without time zone",
    "uuid",
];

/// Values of a long type up to this many bytes are sent at once, longer ones only if their hashes differ.
const SHORT_BYTES: usize = 64;

impl Form {
    pub fn new(local: &ColumnType, remote: &ColumnType) -> Self {
        Self {
            local: local.clone(),
            remote: remote.clone(),
            common: common(local, remote),
            is_hash_unlike: false,
            is_as_written: false,
        }
    }

    /// The same by what is written, not by what it means: 1.0 is not 1.00.
    pub fn as_written(local: &ColumnType, remote: &ColumnType) -> Self {
        Self { is_as_written: true, ..Self::new(local, remote) }
    }

    /// Whether the two types have nothing in common but that they can be written.
    pub fn is_by_text(&self) -> bool {
        self.common == Common::Text
    }

    /// From now on by its text.
    pub fn distrust_hash(&mut self) {
        self.is_hash_unlike = true;
    }

    /// `column` (an SQL expression) as a value of the common type.
    fn value(&self, side: Side, column: &str) -> String {
        let own = self.own(side);
        let Common::Type(common) = &self.common else { return text(column, own) };
        let from = base(own);
        if from == *common {
            return if own.kind == "d" { format!("{column}::{common}") } else { column.to_owned() };
        }
        match (from.as_str(), common.as_str()) {
            // The shortest digits that give the same float: its cast to numeric gives fewer.
            ("real" | "double precision", "numeric") => format!("{column}::text::numeric"),
            _ => format!("{column}::{common}"),
        }
    }

    fn own(&self, side: Side) -> &ColumnType {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }

    fn hashed(&self) -> Hashed {
        match &self.common {
            Common::Type(common) if is_text(common) => Hashed::Bytes,
            Common::Type(_) if self.is_hash_unlike => Hashed::Text,
            Common::Type(common) if self.is_as_written && common == "numeric" => Hashed::NumericAsWritten,
            Common::Type(common) if self.is_as_written && has_variants(common) => Hashed::Text,
            Common::Type(common) if hashed_by_value(common).is_none() => Hashed::Text,
            Common::Type(common) if common == "numeric" => Hashed::Numeric,
            Common::Type(_) => Hashed::Value,
            Common::Text => Hashed::Text,
        }
    }

    /// The expressions that stand for the column in the record that is hashed: no two values have the same.
    pub fn hash_parts(&self, side: Side, column: &str) -> Vec<String> {
        let value = self.value(side, column);
        match (&self.common, self.hashed()) {
            (Common::Type(common), Hashed::Value) => {
                let hashed = hashed_by_value(common).map_or("$", |(hashed, _)| hashed);
                vec![hashed.replace('$', &value)]
            }
            (_, hashed @ (Hashed::Numeric | Hashed::NumericAsWritten)) => {
                let mut parts = vec![
                    value.clone(),
                    format!("{value} OPERATOR(pg_catalog.<) 0::numeric"),
                    format!("{value} OPERATOR(pg_catalog.=) 'NaN'::numeric"),
                ];
                if hashed == Hashed::NumericAsWritten {
                    parts.push(format!("pg_catalog.scale({value})"));
                }
                parts
            }
            (_, Hashed::Bytes) => vec![format!("{value} COLLATE \"C\"")],
            _ => vec![self.key_text(side, column)],
        }
    }

    /// By what a key is put into a bucket: the same for the same value, and it may be the same for others. `seed` is another
    /// one for each column of the key.
    pub fn bucket_hash(&self, side: Side, column: &str, seed: usize) -> String {
        let value = self.value(side, column);
        match (&self.common, self.hashed()) {
            (Common::Type(common), Hashed::Value) if is_integer(common) => {
                format!("pg_catalog.hashint8extended({value}::bigint, {seed})")
            }
            (Common::Type(common), Hashed::Bytes) if common != "bpchar" => {
                format!("pg_catalog.hashtextextended({value} COLLATE \"C\", {seed})")
            }
            (_, Hashed::Value | Hashed::Numeric | Hashed::NumericAsWritten) => {
                format!("pg_catalog.hash_record_extended(ROW({value}), {seed})")
            }
            _ => format!(
                "pg_catalog.hash_record_extended(ROW({}), {seed})",
                self.hash_parts(side, column).concat()
            ),
        }
    }

    /// The hash of a value of the type whose hash the column relies on, if that is not text's: it must be the same on both
    /// servers.
    pub fn hash_sample(&self) -> Option<String> {
        match (&self.common, self.hashed()) {
            (Common::Type(common), Hashed::Value | Hashed::Numeric | Hashed::NumericAsWritten) => {
                let (hashed, sample) = hashed_by_value(common)?;
                let value = format!("'{sample}'::{common}");
                Some(record_hash(&format!("ROW({}, {value})", hashed.replace('$', &value))))
            }
            _ => None,
        }
    }

    /// The value as text, which is compared byte for byte.
    pub fn text(&self, side: Side, column: &str) -> String {
        let text = match &self.common {
            Common::Type(_) => format!("({})::text", self.value(side, column)),
            Common::Text => text(column, self.own(side)),
        };
        format!("({text} COLLATE \"C\")")
    }

    /// The value as a text that is the same for the same value, as far as there is one.
    pub fn key_text(&self, side: Side, column: &str) -> String {
        let value = self.value(side, column);
        match &self.common {
            Common::Type(_) if self.is_as_written => self.text(side, column),
            Common::Type(common) if common == "numeric" => {
                format!("(pg_catalog.trim_scale({value})::text COLLATE \"C\")")
            }
            // Minus zero is zero.
            Common::Type(common) if is_float(common) => {
                format!("(({value} + 0::{common})::text COLLATE \"C\")")
            }
            Common::Type(common) if common == "interval" => {
                format!("(pg_catalog.justify_interval({value})::text COLLATE \"C\")")
            }
            _ => self.text(side, column),
        }
    }

    /// What is sent of a value before it is known to differ: itself, or its hash and length if that is shorter. The first
    /// letter tells which; see [`Form::is_hash`].
    pub fn sketch(&self, side: Side, column: &str) -> String {
        self.sketch_of(&self.text(side, column))
    }

    /// The same of its text.
    pub fn sketch_of(&self, text: &str) -> String {
        if !self.may_be_long() {
            return text.to_owned();
        }
        format!(
            "(CASE WHEN pg_catalog.octet_length({text}) <= {SHORT_BYTES} THEN '=' || {text} \
             ELSE '#' || pg_catalog.hashtextextended({text}, 0) || '.' || pg_catalog.octet_length({text}) END \
             COLLATE \"C\")"
        )
    }

    /// From a sketch that is a hash, how many bytes the text has.
    pub fn length_in(sketch: &str) -> String {
        format!("pg_catalog.split_part({sketch}, '.', 2)::bigint")
    }

    /// Whether a sketch is a hash.
    pub fn is_hash(&self, sketch: &str) -> String {
        if self.may_be_long() { format!("coalesce({sketch} LIKE '#%', false)") } else { "false".to_owned() }
    }

    /// The text in a sketch that is none.
    pub fn unwrapped(&self, sketch: &str) -> String {
        if self.may_be_long() { format!("pg_catalog.substr({sketch}, 2)") } else { sketch.to_owned() }
    }

    pub fn may_be_long(&self) -> bool {
        match &self.common {
            Common::Type(common) => !SHORT.contains(&common.as_str()),
            Common::Text => self.local.kind != "e",
        }
    }

    /// Whether two texts of the column are of the same value.
    pub fn is_same(&self, one: &str, other: &str) -> String {
        let by_text = format!("{one} IS NOT DISTINCT FROM {other} COLLATE \"C\"");
        match &self.common {
            Common::Type(common) if !self.is_as_written && has_variants(common) => {
                format!(
                    "CASE WHEN {by_text} THEN true WHEN {one} IS NULL OR {other} IS NULL THEN false \
                     ELSE {one}::{common} OPERATOR(pg_catalog.=) {other}::{common} END"
                )
            }
            _ => by_text,
        }
    }

    /// A text of the column as what it is grouped by: the same for the same value.
    pub fn group(&self, text: &str) -> String {
        match &self.common {
            Common::Type(common) if !self.is_as_written && has_variants(common) => {
                format!("{text}::{common}")
            }
            _ => format!("{text} COLLATE \"C\""),
        }
    }

    /// A text of the column as JSON.
    pub fn json(&self, text: &str) -> String {
        match &self.common {
            // Where its subscripts begin is not in a JSON array.
            Common::Type(common) if common.ends_with("[]") => format!(
                "CASE WHEN {text} LIKE '[%' THEN pg_catalog.to_jsonb({text}) ELSE pg_catalog.to_jsonb({text}::{common}) END"
            ),
            Common::Type(common) => format!("pg_catalog.to_jsonb({text}::{common})"),
            Common::Text => format!("pg_catalog.to_jsonb({text})"),
        }
    }

    /// Whether one value can be written in more than one way, and [`Form::key_text`] does not choose one: then digests may
    /// differ where values do not.
    pub fn has_many_key_texts(&self) -> bool {
        match &self.common {
            Common::Type(common) => {
                !self.is_as_written
                    && has_variants(common)
                    && !matches!(common.as_str(), "numeric" | "interval" | "bpchar")
                    && !is_float(common)
            }
            Common::Text => false,
        }
    }

    /// The condition that a key has this text (an SQL expression): one that an index can be used for.
    pub fn has_key(&self, side: Side, column: &str, key: &str) -> String {
        let (of, found) = self.lookup(side, column);
        let by_value = format!("{found} OPERATOR(pg_catalog.=) {key}::{of}");
        // A collation, or the type, may take others for the same.
        match &self.common {
            Common::Type(common) if self.is_as_written || is_text(common) => {
                format!("{by_value} AND {} = {key} COLLATE \"C\"", self.key_text(side, column))
            }
            _ => by_value,
        }
    }

    /// The type that the text of a key is cast to, and what is compared with it.
    fn lookup(&self, side: Side, column: &str) -> (String, String) {
        let own = self.own(side);
        match &self.common {
            // The column itself, so that its index can be used.
            Common::Type(common) if own.kind != "d" && is_family(&base(own), common) => {
                (common.clone(), column.to_owned())
            }
            Common::Type(common) => (common.clone(), self.value(side, column)),
            Common::Text => ("text".to_owned(), format!("({}) COLLATE \"C\"", text(column, own))),
        }
    }
}

/// Whether the operators of `common` take a column of `own` as it is, with its index.
fn is_family(own: &str, common: &str) -> bool {
    own == common
        || (is_integer(own) && is_integer(common))
        || (is_text(own) && is_text(common) && own != "bpchar")
}

fn is_integer(name: &str) -> bool {
    matches!(name, "smallint" | "integer" | "bigint")
}

fn is_text(name: &str) -> bool {
    matches!(name, "text" | "character varying" | "bpchar")
}

fn is_float(name: &str) -> bool {
    matches!(name, "real" | "double precision")
}

fn common(local: &ColumnType, remote: &ColumnType) -> Common {
    let (one, other) = (base(local), base(remote));
    if !is_builtin(&one) || !is_builtin(&other) {
        return Common::Text;
    }
    if let (Some(one), Some(other)) = (one.strip_suffix("[]"), other.strip_suffix("[]"))
        && one != other
    {
        let elements = [one, other].map(|name| ColumnType { text: name.to_owned(), ..ColumnType::default() });
        return match common(&elements[0], &elements[1]) {
            Common::Type(name) if !(is_float(one) || is_float(other)) => Common::Type(format!("{name}[]")),
            _ => Common::Text,
        };
    }
    let is_number = |name: &str| is_integer(name) || is_float(name) || name == "numeric";
    let is_moment =
        |name: &str| matches!(name, "date" | "timestamp without time zone" | "timestamp with time zone");
    let (a, b) = (one.as_str(), other.as_str());
    let name = if a == b {
        a
    } else if is_integer(a) && is_integer(b) {
        "bigint"
    } else if is_float(a) && is_float(b) {
        "double precision"
    } else if is_number(a) && is_number(b) {
        "numeric"
    } else if is_text(a) && is_text(b) {
        "text"
    } else if is_moment(a) && is_moment(b) {
        "timestamp with time zone"
    } else if matches!((a, b), ("json", "jsonb") | ("jsonb", "json")) {
        "jsonb"
    } else {
        return Common::Text;
    };
    match element(name) {
        "json" | "xml" => Common::Text,
        // What they name has another number elsewhere.
        element if element.starts_with("reg") => Common::Text,
        _ => Common::Type(name.to_owned()),
    }
}

/// The type without modifiers, as a cast to it takes it (char alone is char(1)); of a domain, the type that it is made of.
pub fn base(of: &ColumnType) -> String {
    let text = match &of.base {
        Some(base) if !of.text.ends_with("[]") => &base.text,
        _ => &of.text,
    };
    let name = match (text.split_once('('), text.rsplit_once(')')) {
        (Some((before, _)), Some((_, after))) => format!("{before}{after}"),
        _ => text.to_owned(),
    };
    let array = if name.ends_with("[]") { "[]" } else { "" };
    match element(&name) {
        "character" => format!("bpchar{array}"),
        "bit" => format!("bit varying{array}"),
        units if units.starts_with("interval ") => format!("interval{array}"),
        _ => name,
    }
}

fn element(name: &str) -> &str {
    name.strip_suffix("[]").unwrap_or(name)
}

fn has_variants(name: &str) -> bool {
    WRITTEN_IN_MORE_THAN_ONE_WAY.contains(&element(name))
}

/// What is hashed of a value of the type, and a value to try it with.
fn hashed_by_value(name: &str) -> Option<(&'static str, &'static str)> {
    HASHED_BY_VALUE.iter().find(|(known, ..)| *known == name).map(|(_, hashed, sample)| (*hashed, *sample))
}

/// With the search_path pinned, only types outside of pg_catalog are printed with their schema.
pub fn is_builtin(name: &str) -> bool {
    !name.contains(['.', '"'])
}

/// A value as its type's output function writes it. For a type of the system's that is the cast to text; for one of a
/// user's that cast may be a function of the user's, which must not run with the caller's rights.
pub fn text(column: &str, of: &ColumnType) -> String {
    if is_builtin(&of.text) {
        return format!("{column}::text");
    }
    format!("CASE WHEN {column} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {column}) END")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ColumnType {
        ColumnType { text: text.into(), kind: "b".into(), ..ColumnType::default() }
    }

    fn form(here: &str, there: &str) -> Form {
        Form::new(&of(here), &of(there))
    }

    fn hashed(here: &str, there: &str) -> [String; 2] {
        let form = form(here, there);
        [Side::Local, Side::Remote].map(|side| form.hash_parts(side, "c").join(", "))
    }

    #[test]
    fn what_a_hash_leaves_out_is_hashed_beside_it_or_as_text() {
        for (of, expected) in [
            ("integer", "c"),
            ("bigint", "pg_catalog.int8send(c)"),
            ("timestamp(3) with time zone", "pg_catalog.timestamptz_send(c)"),
            ("interval", "(pg_catalog.justify_interval(c)::text COLLATE \"C\")"),
            ("interval hour", "(pg_catalog.justify_interval(c)::text COLLATE \"C\")"),
            ("character varying(20)", "c COLLATE \"C\""),
            ("character(5)", "c COLLATE \"C\""),
            (
                "numeric(10,2)",
                "c, c OPERATOR(pg_catalog.<) 0::numeric, c OPERATOR(pg_catalog.=) 'NaN'::numeric",
            ),
            ("jsonb", "((c)::text COLLATE \"C\")"),
            ("integer[]", "((c)::text COLLATE \"C\")"),
            ("numrange", "((c)::text COLLATE \"C\")"),
            ("json", "(c::text COLLATE \"C\")"),
            ("regclass", "(c::text COLLATE \"C\")"),
        ] {
            assert_eq!(hashed(of, of), [expected, expected], "{of}");
        }
        let text = "(CASE WHEN c IS DISTINCT FROM NULL THEN pg_catalog.format('%s', c) END COLLATE \"C\")";
        assert_eq!(hashed("app.mood", "app.mood"), [text, text]);
    }

    #[test]
    fn what_is_written_is_hashed_where_there_is_more_than_one_way() {
        let parts = |name: &str| {
            let form = Form::as_written(&of(name), &of(name));
            form.hash_parts(Side::Remote, "c").join(", ")
        };
        assert_eq!(parts("integer"), "c");
        assert_eq!(parts("bigint"), "pg_catalog.int8send(c)");
        assert_eq!(
            parts("numeric"),
            "c, c OPERATOR(pg_catalog.<) 0::numeric, c OPERATOR(pg_catalog.=) 'NaN'::numeric, pg_catalog.scale(c)"
        );
        // Minus zero is not zero.
        assert_eq!(parts("double precision"), "((c)::text COLLATE \"C\")");
        assert_eq!(parts("interval"), "((c)::text COLLATE \"C\")");
    }

    #[test]
    fn both_sides_are_brought_to_one_type() {
        assert_eq!(hashed("integer", "bigint"), ["pg_catalog.int8send(c::bigint)", "pg_catalog.int8send(c)"]);
        assert_eq!(hashed("real", "double precision"), ["c::double precision", "c"]);
        assert_eq!(
            hashed("date", "timestamp without time zone")[0],
            "pg_catalog.timestamptz_send(c::timestamp with time zone)"
        );
        assert_eq!(
            hashed("double precision", "integer")[0],
            "c::text::numeric, c::text::numeric OPERATOR(pg_catalog.<) 0::numeric, \
             c::text::numeric OPERATOR(pg_catalog.=) 'NaN'::numeric"
        );
        assert_eq!(hashed("uuid", "text"), ["(c::text COLLATE \"C\")", "(c::text COLLATE \"C\")"]);
        let domain = ColumnType {
            text: "app.price".into(),
            kind: "d".into(),
            base: Some(Box::new(of("numeric(10,2)"))),
            ..ColumnType::default()
        };
        let form = Form::new(&domain, &of("numeric"));
        assert_eq!(form.hash_parts(Side::Local, "c")[0], "c::numeric");
    }

    #[test]
    fn a_cast_to_a_type_without_its_length_does_not_cut() {
        assert_eq!(form("bit(8)", "bit(8)").json("t"), "pg_catalog.to_jsonb(t::bit varying)");
        assert_eq!(form("character(5)[]", "character(5)[]").group("t"), "t::bpchar[]");
    }

    #[test]
    fn keys_are_looked_up_by_the_column_itself() {
        assert_eq!(form("integer", "bigint").lookup(Side::Local, "c"), ("bigint".into(), "c".into()));
        assert_eq!(
            form("character varying(9)", "text").lookup(Side::Local, "c"),
            ("text".into(), "c".into())
        );
        assert_eq!(
            form("integer", "numeric").lookup(Side::Local, "c"),
            ("numeric".into(), "c::numeric".into())
        );
    }

    #[test]
    fn a_hash_that_is_not_trusted_is_not_used() {
        let mut form = form("uuid", "uuid");
        assert!(form.hash_sample().is_some());
        form.distrust_hash();
        assert_eq!((form.hash_sample(), form.hash_parts(Side::Local, "c").len()), (None, 1));
        assert!(form.hash_parts(Side::Local, "c")[0].contains("::text"));
    }
}
