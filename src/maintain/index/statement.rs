//! The statements that take most of this database's time, and their plans.

use opdb_core::maintain::plan::Plan;
use pgrx::pg_sys;
use pgrx::spi::SpiHeapTupleData;

use super::{LOCK_TIMEOUT, NO_JIT};
use crate::pg::error::Result;
use crate::pg::{own, planning, role, session, spi, subtransaction, trusted};

/// How many are looked at.
const SLOWEST: i64 = 10;

/// A statement as pg_stat_statements knows it.
pub struct Statement {
    pub query_id: i64,
    role: pg_sys::Oid,
    text: String,
    /// What the role's names are looked up in, by what is set for it.
    search_path: String,
    pub calls: i64,
    pub mean_ms: f64,
    pub total_ms: f64,
}

/// Of each role its own. `schema` is that of pg_stat_statements, quoted.
///
/// Errors: 55000 if pg_stat_statements is not loaded, and what else it raises.
pub fn slowest(schema: &str) -> Result<Vec<Statement>> {
    let sql = format!(
        r#"SELECT s.queryid, s.userid,
                  -- interval '1 day' stands there as interval $1, which is no SQL.
                  pg_catalog.regexp_replace(pg_catalog.min(s.query),
                      '\m(interval|date|time|timetz|timestamp|timestamptz|uuid|inet|numeric|jsonb?)\s+(\$\d+)', '\2::\1', 'gi'),
                  coalesce((SELECT pg_catalog.substr(c.setting, 13)
                            FROM pg_catalog.pg_db_role_setting d, pg_catalog.unnest(d.setconfig) c (setting)
                            WHERE c.setting LIKE 'search\_path=%'
                              AND d.setrole IN (0, s.userid) AND d.setdatabase IN (0, s.dbid)
                            ORDER BY d.setrole DESC, d.setdatabase DESC LIMIT 1), '"$user", public'),
                  pg_catalog.sum(s.calls)::pg_catalog.int8,
                  pg_catalog.sum(s.total_exec_time) / pg_catalog.sum(s.calls), pg_catalog.sum(s.total_exec_time)
           FROM {schema}.pg_stat_statements(true) s
           JOIN pg_catalog.pg_roles r ON r.oid = s.userid
           WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
             AND s.queryid IS NOT NULL AND s.calls > 0
             -- Every constant is a parameter there. A literal would run the input function of its type, perhaps a
             -- check of its domain, which its owner may have changed since.
             AND s.query !~ '''|\$([[:alpha:]_]\w*)?\$'
             AND pg_catalog.regexp_replace(s.query, '^(\s|\(|/\*.*?\*/|--[^\n]*\n)*', '') ~* '^(select|with|update|delete)\M'
           GROUP BY s.queryid, s.userid, s.dbid
           ORDER BY pg_catalog.sum(s.total_exec_time) DESC, s.queryid LIMIT {SLOWEST}"#
    );
    let read = || session::pinned(|| own::read_as_owner(|| spi::read(&sql, &[], statement)));
    let found = subtransaction::discarded(read)?;
    Ok(found.into_iter().flatten().collect())
}

fn statement(row: SpiHeapTupleData) -> pgrx::spi::Result<Option<Statement>> {
    let (Some(query_id), Some(role), Some(text)) = (row.get(1)?, row.get(2)?, row.get(3)?) else {
        return Ok(None);
    };
    Ok(Some(Statement {
        query_id,
        role,
        text,
        search_path: row.get(4)?.unwrap_or_default(),
        calls: row.get(5)?.unwrap_or(0),
        mean_ms: row.get(6)?.unwrap_or(0.0),
        total_ms: row.get(7)?.unwrap_or(0.0),
    }))
}

impl Statement {
    /// The plan for whatever parameters, with the hypothetical indexes of this session. It is made as the role that ran
    /// the statement, and no code of another role's runs meanwhile. None if the server cannot plan it: the text of a
    /// statement without its constants is not always one, tables go, rights do.
    ///
    /// Errors: class 57, when somebody stops the call.
    pub fn plan(&self) -> Result<Option<Plan>> {
        // The caller's temporary tables are not what the statement names.
        let search_path = format!("{}, pg_temp", self.search_path);
        let settings = [
            ("search_path", search_path.as_str()),
            LOCK_TIMEOUT,
            // Which partitions a parameter leaves shows when it has a value; all are planned for.
            ("enable_partition_pruning", "off"),
            NO_JIT,
            ("hypopg.enabled", "on"),
        ];
        let explained = subtransaction::discarded(|| {
            session::pinned_with(&settings, || {
                role::acting_as(self.role, || {
                    trusted::only_code_of(self.role, || planning::generic(&self.text, are_plain))
                })
            })
        });
        match explained {
            Ok(explained) => Ok(explained.as_ref().and_then(Plan::read)),
            Err(failure) if failure.is_interrupt => Err(failure),
            Err(_) => Ok(None),
        }
    }
}

/// Whether all are plain tables, and so are those below them. Planning a view, a rule or a policy runs what its owner
/// wrote, perhaps since, with the rights of the role that ran the statement; planning a foreign table may ask the other
/// server.
fn are_plain(relations: &[pg_sys::Oid]) -> Result<bool> {
    let plain = spi::read_value::<bool>(
        "WITH RECURSIVE part AS (
             SELECT r.oid FROM pg_catalog.unnest($1) r (oid)
             UNION
             SELECT h.inhrelid FROM part p JOIN pg_catalog.pg_inherits h ON h.inhparent = p.oid)
         SELECT coalesce(pg_catalog.bool_and(
                    c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND NOT c.relrowsecurity
                    AND NOT c.relhasrules
                    -- The planner calls it for estimates, from a cache that outlives what was checked.
                    AND NOT EXISTS (
                        SELECT FROM pg_catalog.pg_attribute a
                        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                        JOIN pg_catalog.pg_range g
                          ON g.rngtypid IN (t.oid, t.typbasetype) OR g.rngmultitypid IN (t.oid, t.typbasetype)
                        WHERE a.attrelid = c.oid AND g.rngsubdiff::pg_catalog.oid >= 16384)
                    OR c.relkind IN ('i', 'I')), true)
         FROM part p JOIN pg_catalog.pg_class c ON c.oid = p.oid",
        &[relations.to_vec().into()],
    )?;
    Ok(plain == Some(true))
}
