//! What must be true of the target as a whole.

use super::checks::{Check, failed, passed};
use super::database::Database;
use super::table_checks::may_call;
use crate::environment;
use crate::pg::error::Result;
use crate::pg::remote::Remote;
use crate::pg::spi;

/// Two names for one running server and database are not two databases.
pub fn other_database(remote: &Remote) -> Result<Check> {
    const NAME: &str = "other_database";
    const IDENTITY: &str = "SELECT pg_catalog.concat_ws('/', pg_catalog.pg_postmaster_start_time(),
            (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
            (SELECT system_identifier FROM pg_catalog.pg_control_system()))";
    let here = spi::read_value::<String>(IDENTITY, &[])?;
    let there = remote.query_row(IDENTITY, 1)?.pop().flatten();
    Ok(if here == there {
        failed(NAME, "the environment is this very database")
    } else {
        passed(NAME, "the environment is another database")
    })
}

/// If the other side has opdb, its own word counts too.
pub fn target_kind(remote: &Remote, environment: &str) -> Result<Check> {
    const NAME: &str = "target_kind";
    let registered = environment::kind_of(environment)?.unwrap_or_default();
    let readable = remote.query_row(&format!("SELECT {}", may_call("current_environment")), 1)?;
    if readable.first().and_then(Option::as_deref) != Some("t") {
        return Ok(passed(NAME, format!("registered as {registered}; the target does not say what it is")));
    }
    let declared = remote.query_row("SELECT kind FROM opdb.current_environment()", 1)?.pop().flatten();
    Ok(match declared {
        Some(kind) if kind != registered => {
            failed(NAME, format!("registered as {registered}, but the target says it is {kind}"))
        }
        Some(kind) => passed(NAME, format!("registered as {kind}, and the target says the same")),
        None => passed(NAME, format!("registered as {registered}; the target has not been declared")),
    })
}

pub fn target_writable(target: &Database) -> Result<Check> {
    const NAME: &str = "target_writable";
    let [problem] = target.row::<1>(
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'the target is a standby'
                     WHEN pg_catalog.current_setting('default_transaction_read_only') = 'on' THEN 'the target is read-only'
                     WHEN pg_catalog.current_setting('server_version_num')::int < 150000
                          THEN 'the target is older than PostgreSQL 15'
                     WHEN pg_catalog.current_setting('session_replication_role') <> 'origin'
                          THEN 'session_replication_role there switches constraints and triggers off' END",
    )?;
    Ok(match problem {
        Some(problem) => failed(NAME, problem),
        None => passed(NAME, "the target takes writes"),
    })
}
