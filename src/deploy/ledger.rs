//! The tables on the target that a deployment leaves its traces in: plain tables in a schema of their own, which are made by
//! the first deployment. Nothing of opdb is needed there.

use opdb_core::compat::digest::Digest;

use super::database::Database;
use super::error::DeployError;
use crate::pg::error::Result;
use crate::pg::name::literal;

/// What is made there once: each with what it is for.
pub const SCHEMA: &str = "opdb_deploy";
pub const STATEMENTS: [(&str, &str); 3] = [
    ("CREATE SCHEMA IF NOT EXISTS opdb_deploy", "what deployments leave on the target"),
    (
        "CREATE TABLE IF NOT EXISTS opdb_deploy.ledger (
    deployment uuid PRIMARY KEY,
    kind text NOT NULL,
    source text NOT NULL,
    source_id bigint NOT NULL,
    rolls_back uuid,
    tables text[] NOT NULL,
    counts jsonb NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    applied_by name NOT NULL DEFAULT current_user
)",
        "a row for each deployment that was committed: what settles a doubt",
    ),
    (
        "CREATE TABLE IF NOT EXISTS opdb_deploy.part (
    stage text NOT NULL,
    first_row bigint NOT NULL,
    last_row bigint NOT NULL,
    rows bigint NOT NULL,
    sum numeric NOT NULL,
    staged_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (stage, first_row)
)",
        "which parts of a stage were sent, so that an interrupted deployment goes on from there",
    ),
];

/// Waits until nobody else has the lock of this name, and has it until the transaction there ends.
pub fn lock(name: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({}, 0))::text",
        literal(name)
    )
}

/// Makes what is missing.
pub fn create(database: &Database) -> Result<()> {
    // Two at once would be in each other's way.
    database.query(&lock(SCHEMA), 1)?;
    check(database)?;
    for (statement, _) in STATEMENTS {
        database.execute(statement)?;
    }
    Ok(())
}

/// What is not as opdb makes it: another owner could put code there that runs as whoever deploys. The database's owner and
/// superusers may have made it for the role.
const UNTRUSTED: &str = "
    WITH trusted (oid) AS (
        SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolsuper OR r.rolname = current_user
        UNION SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
    ), own AS (
        SELECT c.* FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'opdb_deploy' AND c.relname IN ('ledger', 'part')
    )
    SELECT pg_catalog.string_agg(what, ', ') FROM (
        SELECT 'it belongs to ' || pg_catalog.pg_get_userbyid(n.nspowner)
        FROM pg_catalog.pg_namespace n
        WHERE n.nspname = 'opdb_deploy' AND n.nspowner NOT IN (SELECT t.oid FROM trusted t)
        UNION ALL
        SELECT c.relname || ' belongs to ' || pg_catalog.pg_get_userbyid(c.relowner)
        FROM own c WHERE c.relowner NOT IN (SELECT t.oid FROM trusted t)
        UNION ALL
        SELECT c.relname || ' is no plain table without triggers, rules and policies'
        FROM own c WHERE c.relkind <> 'r' OR c.relhastriggers OR c.relhasrules OR c.relrowsecurity
    ) wrong (what)";

/// Errors: 42501 if somebody else could run code there.
pub fn check(database: &Database) -> Result<()> {
    let what = database.value(UNTRUSTED)?;
    if what.is_empty() { Ok(()) } else { Err(DeployError::UntrustedSchema { what }.into()) }
}

/// In SQL, whether it is all there.
pub const EXISTS: &str = "(pg_catalog.to_regclass('opdb_deploy.ledger') IS NOT NULL
    AND pg_catalog.to_regclass('opdb_deploy.part') IS NOT NULL)::text";

/// The names of what a deployment makes for one table.
pub fn table(kind: &str, of: &str, place: usize) -> String {
    format!("{SCHEMA}.{kind}_{of}_{place}")
}

/// A part of a stage that was sent before.
pub struct Part {
    pub first_row: i64,
    pub last_row: i64,
    pub digest: Digest,
}

pub fn parts(database: &Database, stage: &str) -> Result<Vec<Part>> {
    let rows = database.query(
        &format!(
            "SELECT first_row::text, last_row::text, rows::text, sum::text FROM opdb_deploy.part
             WHERE stage = {} ORDER BY first_row",
            literal(stage)
        ),
        4,
    )?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let [first_row, last_row, rows, sum] = <[Option<String>; 4]>::try_from(row).ok()?;
            Some(Part {
                first_row: first_row?.parse().ok()?,
                last_row: last_row?.parse().ok()?,
                digest: Digest { rows: rows?.parse().ok()?, sum: sum?.parse().ok()? },
            })
        })
        .collect())
}

pub fn add_part(stage: &str, part: &Part) -> String {
    format!(
        "INSERT INTO opdb_deploy.part (stage, first_row, last_row, rows, sum) VALUES ({}, {}, {}, {}, {})",
        literal(stage),
        part.first_row,
        part.last_row,
        part.digest.rows,
        part.digest.sum
    )
}

pub fn forget_part(stage: &str, first_row: i64) -> String {
    format!("DELETE FROM opdb_deploy.part WHERE stage = {} AND first_row = {first_row}", literal(stage))
}

pub fn forget_parts(stage: &str) -> String {
    format!("DELETE FROM opdb_deploy.part WHERE stage = {}", literal(stage))
}
