//! What to ask the data where the types alone do not settle it.

use super::types::{ColumnType, Family};

/// A condition, in SQL, that is true for the values of `column` (an SQL expression of type `from`) that a
/// column of type `to` refuses or alters. `None` where only the other server can tell.
pub fn misfit(column: &str, from: &ColumnType, to: &ColumnType) -> Option<String> {
    use Family::{Char, Date, Float, Integer, Numeric, Text, Timestamp};
    if from.text.ends_with("[]") {
        return None;
    }
    Some(match (from.family(), to.family()) {
        (Char { .. }, Text { limit: None }) => "false".to_owned(),
        (Text { .. }, Char { length }) => {
            format!("pg_catalog.length({column}) > {length} OR {column} <> pg_catalog.rtrim({column})")
        }
        (_, Text { limit: Some(limit) } | Char { length: limit }) => {
            format!("pg_catalog.length(pg_catalog.format('%s', {column})) > {limit}")
        }
        (Integer { .. }, Integer { bytes }) => outside(column, bytes),
        (Integer { .. }, Numeric { precision_scale: Some((precision, scale)) }) => {
            format!("pg_catalog.abs({column}::numeric) >= 1e{}", precision - scale)
        }
        (Integer { .. }, Float { bytes: 4 }) => {
            format!("{column}::real::text::numeric <> {column}::numeric")
        }
        (Integer { .. }, Float { .. }) => {
            format!("{column}::double precision::text::numeric <> {column}::numeric")
        }
        (Numeric { .. }, Numeric { precision_scale: Some((precision, scale)) }) => format!(
            "{column} <> 'NaN' AND (pg_catalog.round({column}, {scale}) <> {column} \
             OR pg_catalog.abs(pg_catalog.round({column}, {scale})) >= 1e{})",
            precision - scale
        ),
        (Numeric { .. }, Integer { bytes }) => {
            format!(
                "{column} = 'NaN' OR {column} <> pg_catalog.trunc({column}) OR {}",
                outside(column, bytes)
            )
        }
        (Float { bytes: 8 }, Float { bytes: 4 }) => format!(
            "CASE WHEN pg_catalog.abs({column}) > 3.4e38 AND pg_catalog.abs({column}) < 'infinity' THEN true \
             WHEN pg_catalog.abs({column}) < 1.2e-38 THEN {column} <> 0 \
             ELSE {column}::real::double precision <> {column} END"
        ),
        (Timestamp { zone: false, .. }, Date) => {
            format!("{column} <> pg_catalog.date_trunc('day', {column})")
        }
        (Timestamp { zone: a, .. }, Timestamp { precision, zone: b }) if a == b => {
            let zone = if a { "with" } else { "without" };
            format!("{column}::timestamp({precision}) {zone} time zone <> {column}")
        }
        _ => return None,
    })
}

fn outside(column: &str, bytes: u8) -> String {
    let bits = u32::from(bytes) * 8 - 1;
    let limit = 1_i128 << bits;
    format!("{column} NOT BETWEEN {} AND {}", -limit, limit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ColumnType {
        ColumnType { text: text.into(), kind: "b".into(), labels: Vec::new(), definition: None }
    }

    #[test]
    fn what_the_data_can_tell_is_asked() {
        assert_eq!(
            misfit("c", &of("text"), &of("character varying(8)")).as_deref(),
            Some("pg_catalog.length(pg_catalog.format('%s', c)) > 8")
        );
        assert_eq!(
            misfit("c", &of("bigint"), &of("smallint")).as_deref(),
            Some("c NOT BETWEEN -32768 AND 32767")
        );
        assert_eq!(misfit("c", &of("text"), &of("uuid")), None);
    }
}
