//! Removing from the target what deployments have left there, once nobody will take them back any more.

use super::database::Database;
use super::ledger;
use crate::configure;
use crate::pg::error::Result;
use crate::pg::name::literal;

/// What was removed, and how many bytes it had.
pub struct Removed {
    pub object: String,
    pub bytes: i64,
    pub what: String,
}

/// Of `age` (an interval) and older: rows kept for a rollback by the time of the deployment, stages by when they were sent
/// to last. A stage that is younger than an hour may be at work, whatever was asked for. The ledger stays.
const OLD: &str = "
    WITH kept AS (
        SELECT c.oid, c.relname
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'opdb_deploy' AND c.relkind = 'r' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    )
    SELECT 'opdb_deploy.' || pg_catalog.quote_ident(k.relname), pg_catalog.pg_total_relation_size(k.oid)::text,
           CASE WHEN l.deployment IS NULL THEN 'rows that were sent and never applied'
                ELSE 'kept for a rollback of deployment ' || l.source_id || ' of ' || l.applied_at::date END
    FROM kept k
    LEFT JOIN opdb_deploy.ledger l
        ON k.relname LIKE '%\\_' || pg_catalog.left(pg_catalog.replace(l.deployment::text, '-', ''), 12) || '\\_%'
    LEFT JOIN LATERAL (SELECT pg_catalog.max(p.staged_at) AS at FROM opdb_deploy.part p
                       WHERE p.stage = 'opdb_deploy.' || k.relname) sent ON true
    WHERE CASE WHEN k.relname ~ '^(rows|before)_[0-9a-f]{12}_[0-9]+$' THEN l.applied_at <= pg_catalog.now() - /*age*/
               WHEN k.relname ~ '^stage_[0-9a-f]{24}$'
               THEN sent.at <= pg_catalog.now() - greatest(/*age*/, interval '1 hour') END";

/// For how long it is kept where nobody says otherwise, as an interval.
pub fn keep() -> Result<String> {
    Ok(format!("{} days", configure::number("deploy.keep_days")?))
}

/// Removes it, and says what.
pub fn remove(database: &Database, age: &str) -> Result<Vec<Removed>> {
    if database.value(&format!("SELECT {}", ledger::EXISTS))? != "true" {
        return Ok(Vec::new());
    }
    ledger::check(database)?;
    let sql = OLD.replace("/*age*/", &format!("{}::interval", literal(age)));
    let mut removed = Vec::new();
    for row in database.query(&sql, 3)? {
        let Ok([Some(object), bytes, what]) = <[Option<String>; 3]>::try_from(row) else { continue };
        database.execute(&format!("DROP TABLE IF EXISTS {object}"))?;
        database.execute(&ledger::forget_parts(&object))?;
        let bytes = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        removed.push(Removed { object, bytes, what: what.unwrap_or_default() });
    }
    Ok(removed)
}
