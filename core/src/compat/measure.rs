//! What the values are like, in words that a person compares with what the type there takes.

use super::evidence::text_of;
use super::types::{ColumnType, Family};

/// One figure of the values of a column, and its limit there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    pub what: &'static str,
    /// An aggregate, as text; NULL if there are no values.
    pub sql: String,
    pub limit: String,
}

impl Measure {
    /// `max length 37, allowed 40`; `range -5 to 70000, allowed -32768 to 32767`.
    pub fn describe(&self, measured: &str) -> String {
        format!("{} {measured}, allowed {}", self.what, self.limit)
    }
}

/// The figure that tells best how near the values of `column` (an SQL expression of type `from`) are to what a column
/// of type `to` takes. `None` where there is no such figure.
pub fn measure(column: &str, from: &ColumnType, to: &ColumnType) -> Option<Measure> {
    use Family::*;
    if let Some(base) = to.base.as_deref().filter(|_| to.element().is_none()) {
        return measure(column, from, base);
    }
    if let Some(base) = from.base.as_deref().filter(|_| from.element().is_none()) {
        return measure(column, base, to);
    }
    let text = text_of(column, from);
    Some(match (from.family(), to.family()) {
        (_, Text { limit: Some(limit) } | Char { length: limit }) => {
            greatest("max length", &format!("pg_catalog.length({text})"), limit)
        }
        (_, Name) => greatest("max bytes", &format!("pg_catalog.octet_length({text})"), 63),
        (VarBit { .. }, VarBit { limit: Some(limit) }) => {
            greatest("max length", &format!("pg_catalog.length({column})"), limit)
        }
        (Integer { .. } | Numeric { .. } | Float { .. }, Integer { bytes }) => {
            let limit = 1_i128 << (u32::from(bytes) * 8 - 1);
            range(column, (-limit).to_string(), (limit - 1).to_string())
        }
        (Integer { bytes: 8 }, Oid) => range(column, "0".into(), u32::MAX.to_string()),
        (Numeric { precision_scale: from }, Numeric { precision_scale: Some((_, scale @ 0..)) })
            if from.is_none_or(|(_, from)| from > scale) =>
        {
            greatest("max decimals", &format!("pg_catalog.scale(pg_catalog.trim_scale({column}))"), scale)
        }
        (
            Integer { .. } | Numeric { .. } | Float { .. },
            Numeric { precision_scale: Some((precision, scale)) },
        ) => numeric_range(column, precision, scale),
        (Date, Timestamp { .. }) => Measure {
            what: "max date",
            sql: format!("pg_catalog.max({column})::text"),
            limit: "294276-12-31".into(),
        },
        _ => return None,
    })
}

fn greatest(what: &'static str, of: &str, limit: i32) -> Measure {
    Measure { what, sql: format!("pg_catalog.max({of})::text"), limit: limit.to_string() }
}

fn range(column: &str, least: String, greatest: String) -> Measure {
    Measure {
        what: "range",
        sql: format!("pg_catalog.min({column}) || ' to ' || pg_catalog.max({column})"),
        limit: format!("{least} to {greatest}"),
    }
}

/// Between the greatest numbers of `precision` digits, `scale` of them after the point.
fn numeric_range(column: &str, precision: i32, scale: i32) -> Measure {
    let repeat = |digit: &str, count: i32| digit.repeat(usize::try_from(count).unwrap_or_default());
    let whole = repeat("9", precision.min(precision - scale)) + &repeat("0", -scale);
    let decimals = repeat("0", scale - precision) + &repeat("9", scale.min(precision));
    let greatest = match (whole.as_str(), decimals.as_str()) {
        (whole, "") => whole.to_owned(),
        ("", decimals) => format!("0.{decimals}"),
        (whole, decimals) => format!("{whole}.{decimals}"),
    };
    range(column, format!("-{greatest}"), greatest)
}

#[cfg(test)]
mod tests {
    use super::super::types::of;
    use super::*;

    #[test]
    fn a_measure_says_how_near_the_values_are() {
        for (from, to, expected) in [
            ("text", "character varying(40)", "max length 7, allowed 40"),
            ("bigint", "smallint", "range 7, allowed -32768 to 32767"),
            ("numeric", "numeric(5,2)", "max decimals 7, allowed 2"),
            ("numeric(10,2)", "numeric(5,2)", "range 7, allowed -999.99 to 999.99"),
            ("integer", "numeric(3,5)", "range 7, allowed -0.00999 to 0.00999"),
            ("integer", "numeric(2,-3)", "range 7, allowed -99000 to 99000"),
            ("text", "name", "max bytes 7, allowed 63"),
            ("date", "timestamp without time zone", "max date 7, allowed 294276-12-31"),
        ] {
            assert_eq!(measure("c", &of(from), &of(to)).unwrap().describe("7"), expected, "{from} -> {to}");
        }
        assert_eq!(measure("c", &of("json"), &of("jsonb")), None);
        assert_eq!(
            measure("c", &of("text"), &of("character(4)")).unwrap().sql,
            "pg_catalog.max(pg_catalog.length(c::text))::text"
        );
    }
}
