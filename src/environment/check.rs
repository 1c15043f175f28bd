//! What a registered environment looks like from here.

use std::time::Duration;

use pgrx::PgSqlErrorCode;

use crate::pg::error::{Failure, Result};
use crate::pg::remote::{self, Access, Remote};

#[derive(Default)]
pub struct Finding {
    pub reachable: bool,
    pub latency_ms: Option<f64>,
    pub server_version: Option<String>,
    pub in_recovery: Option<bool>,
    pub read_only: Option<bool>,
    pub database: Option<String>,
    pub role: Option<String>,
    pub tls: Option<bool>,
    pub detail: Option<String>,
}

pub fn check(environment: &str) -> Result<Finding> {
    match remote::with(environment, Access::Read, look) {
        Ok(finding) => Ok(finding),
        Err(failure) if means_unreachable(&failure) => Ok(Finding {
            detail: Some(
                failure
                    .detail
                    .map_or(failure.message.clone(), |detail| format!("{}: {detail}", failure.message)),
            ),
            ..Finding::default()
        }),
        Err(failure) => Err(failure),
    }
}

fn look(remote: &Remote) -> Result<Finding> {
    let latency = (0..3).map(|_| remote.round_trip()).collect::<Result<Vec<Duration>>>()?;
    let row = remote.query_row(
        "SELECT pg_catalog.current_setting('server_version'),
                pg_catalog.pg_is_in_recovery(),
                pg_catalog.current_setting('default_transaction_read_only')::boolean OR pg_catalog.pg_is_in_recovery(),
                pg_catalog.current_database(),
                current_user,
                (SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()),
                pg_catalog.current_setting('server_version_num')::int < 150000",
        7,
    )?;
    let [server_version, in_recovery, read_only, database, role, tls, too_old] =
        <[Option<String>; 7]>::try_from(row).unwrap_or_default();
    let flag = |text: Option<String>| text.map(|text| text == "t" || text == "true");
    let (in_recovery, read_only) = (flag(in_recovery), flag(read_only));
    let detail = if flag(too_old) == Some(true) {
        Some("PostgreSQL older than 15 is not supported".to_owned())
    } else if in_recovery == Some(true) {
        Some("a standby: nothing can be deployed to it".to_owned())
    } else if read_only == Some(true) {
        Some("new transactions are read-only there (default_transaction_read_only)".to_owned())
    } else {
        None
    };
    Ok(Finding {
        reachable: true,
        latency_ms: latency.iter().min().map(|fastest| fastest.as_micros() as f64 / 1000.0),
        server_version,
        in_recovery,
        read_only,
        database,
        role,
        tls: flag(tls),
        detail,
    })
}

/// Connection and authorization failures are findings; anything else is an error.
fn means_unreachable(failure: &Failure) -> bool {
    failure.sqlstate == PgSqlErrorCode::ERRCODE_INVALID_PASSWORD
        || matches!(failure.class().as_str(), "08" | "28")
}
