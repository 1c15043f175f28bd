//! What passes found out, kept: for the keys of what failed, and so that what did not change is not read again.

use serde_json::{Value, json};

use super::scan::{Digest, Tally};
use super::table::Member;
use crate::pg::error::Result;
use crate::pg::{own, spi};
use pgrx::JsonB;

/// What was looked for in what rows.
pub struct Identity {
    /// Stays the same while no row changes.
    mark: String,
    /// A hash of the query, and of the columns that it reads.
    query: String,
}

impl Identity {
    pub fn new(member: &Member, mark: String, query: &str) -> Result<Self> {
        let query = spi::read_value::<String>(
            "SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($2 || (
                 SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, a.attnum, a.atttypid, a.atttypmod,
                                                                   a.attcollation,
                                                                   pg_catalog.pg_get_expr(d.adbin, d.adrelid)), ',' ORDER BY a.attnum)
                 FROM pg_catalog.pg_attribute a
                 LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
                 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped),
                 'UTF8')), 'hex')",
            &[member.relation.into(), query.into()],
        )?;
        Ok(Self { mark, query: query.unwrap_or_default() })
    }
}

/// What the same pass over the same rows found out. Nobody forgets it until this transaction has referred to it.
pub fn find(member: &Member, identity: &Identity) -> Result<Option<(i64, Tally)>> {
    let found = own::write_returning(
        "SELECT scan_id, rows, found FROM opdb.quality_scan
         WHERE table_name = $1 AND mark = $2 AND query = $3 ORDER BY scan_id DESC LIMIT 1 FOR KEY SHARE",
        &[member.relation.into(), identity.mark.as_str().into(), identity.query.as_str().into()],
        |row| {
            let found = spi::known::<JsonB>(&row, 3)?.0;
            Ok((
                spi::known::<i64>(&row, 1)?,
                Tally { rows: spi::known(&row, 2)?, ..Tally::from_json(&found) },
            ))
        },
    )?;
    Ok(found.into_iter().next())
}

/// Keeps what a pass found out, and returns its id.
pub fn keep(member: &Member, identity: Option<&Identity>, tally: &Tally) -> Result<i64> {
    let scan_id = own::write_value::<i64>(
        "INSERT INTO opdb.quality_scan (table_name, rows, found, mark, query) VALUES ($1, $2, $3, $4, $5)
         RETURNING scan_id",
        &[
            member.relation.into(),
            tally.rows.into(),
            JsonB(tally.to_json()).into(),
            identity.map(|identity| identity.mark.clone()).into(),
            identity.map(|identity| identity.query.clone()).into(),
        ],
    )?;
    Ok(scan_id.unwrap_or_default())
}

impl Tally {
    fn to_json(&self) -> Value {
        json!({
            "evaluated": self.evaluated, "passed": self.passed, "incomplete": self.incomplete,
            "digest": self.digest.to_hex(), "latest": self.latest,
        })
    }

    fn from_json(found: &Value) -> Self {
        let numbers = |name: &str| found[name].as_array().into_iter().flatten().map(Value::as_i64);
        Self {
            rows: 0,
            evaluated: numbers("evaluated").flatten().collect(),
            passed: numbers("passed").flatten().collect(),
            incomplete: found["incomplete"].as_i64().unwrap_or(0),
            digest: found["digest"].as_str().and_then(Digest::from_hex).unwrap_or_default(),
            latest: numbers("latest").collect(),
        }
    }
}
