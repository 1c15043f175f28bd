//! What rows of a table do not tell of themselves, and makes them be counted as new ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scope::leaves;
use crate::compat::LocalTable;
use crate::pg::error::{Failure, Result};
use crate::pg::name::literal;

/// What stood behind the name of a table on the source before any of its rows were chosen. The history keeps it.
#[derive(Default, Serialize, Deserialize)]
pub struct Ground {
    /// The tables that its rows stand in: itself, or its partitions.
    relations: Vec<i64>,
    /// Those on other servers, whose rows do not say when they were written.
    #[serde(default, skip_serializing)]
    foreign: Vec<i64>,
    /// Its columns: what was added with a default, or goes by another name, is in no row's xmin.
    shape: Option<String>,
    /// A server that was set back in time, or promoted, has another one, and gives numbers to transactions that others had
    /// before.
    #[serde(default)]
    timeline: Option<String>,
}

impl Ground {
    /// `ask` gives one value of a query on the source, as text.
    pub fn read(table: &LocalTable, ask: &dyn Fn(&str) -> Result<Option<String>>) -> Result<Self> {
        let name = format!("{}::regclass", literal(table.name.sql()));
        let of_kind = |is_foreign: bool| {
            format!(
                "coalesce((SELECT pg_catalog.json_agg(l.oid::bigint ORDER BY l.oid) FROM {} l
                           WHERE (l.relkind = 'f') = {is_foreign}), '[]')",
                leaves(&name)
            )
        };
        let found = ask(&format!(
            "SELECT pg_catalog.json_build_object(
                'relations', {},
                'foreign', {},
                'shape', (SELECT pg_catalog.md5(pg_catalog.string_agg(
                              pg_catalog.concat_ws(' ', a.attnum, a.attname, a.attgenerated,
                                  pg_catalog.format_type(a.atttypid, a.atttypmod)), ',' ORDER BY a.attnum))
                          FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = {name} AND a.attnum > 0 AND NOT a.attisdropped),
                'timeline', CASE
                    WHEN pg_catalog.pg_is_in_recovery()
                    THEN (SELECT pg_catalog.lpad(pg_catalog.upper(pg_catalog.to_hex(
                              greatest(c.timeline_id, r.min_recovery_end_timeline))), 8, '0')
                          FROM pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() r)
                    ELSE pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)
                END)::text",
            of_kind(false),
            of_kind(true)
        ))?;
        serde_json::from_str(found.as_deref().unwrap_or("null")).map_err(|error| {
            let message = format!("the catalogs say of {} what cannot be read: {error}", table.name.label());
            Failure::new(pgrx::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, message)
        })
    }

    /// As the history has it.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Which tables' rows are all new since then; none if that is all that there are.
    pub fn new_since(&self, then: &Value) -> Option<Vec<i64>> {
        let then: Self = serde_json::from_value(then.clone()).unwrap_or_default();
        if self.shape != then.shape || self.timeline != then.timeline {
            return None;
        }
        let new = self.relations.iter().filter(|relation| !then.relations.contains(relation));
        Some(new.chain(&self.foreign).copied().collect())
    }
}
