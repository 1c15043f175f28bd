//! What a registered environment looks like from here.

use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;

use crate::pg::address::Address;
use crate::pg::error::{Failure, Result};
use crate::pg::remote::{self, Access, Remote, Row};
use crate::pg::time;

/// Nothing of opdb is needed there, so the SQL comes from here.
const LOOK: &str = include_str!("../../sql/environment/check.sql");
const LOOK_COLUMNS: usize = 13;
const CLOCK: &str = "SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::bigint";
/// The fastest of them counts: what delays an answer makes it late, and never early.
const ROUND_TRIPS: usize = 3;
/// Clocks that are kept by the network differ by milliseconds.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Finding {
    pub reachable: bool,
    pub latency: Option<Duration>,
    pub server_version: Option<String>,
    pub in_recovery: Option<bool>,
    pub read_only: Option<bool>,
    pub database: Option<String>,
    pub role: Option<String>,
    pub tls: Option<bool>,
    pub detail: Option<String>,
    pub clock_skew_ms: Option<f64>,
    pub address: Option<Address>,
    pub host: Option<String>,
    pub port: Option<i32>,
    pub rights: Option<Vec<String>>,
    pub tls_version: Option<String>,
    pub tls_cipher: Option<String>,
}

/// Connecting takes as long as the environment's `connect_timeout` lets it; everything after that, `timeout`.
pub fn check(environment: &str, timeout: Duration) -> Result<Finding> {
    let mut address = None;
    let found = remote::with(environment, Access::Look, |remote| {
        address = Some(remote.address());
        remote.give_up_after(timeout);
        look(remote)
    });
    match found {
        Ok(finding) => Ok(Finding { address, ..finding }),
        Err(failure) if means_unreachable(&failure) => {
            let detail = match failure.detail {
                Some(detail) => format!("{}: {detail}", failure.message),
                None => failure.message,
            };
            Ok(Finding { address, detail: Some(detail), ..Finding::default() })
        }
        Err(failure) => Err(failure),
    }
}

fn look(remote: &Remote) -> Result<Finding> {
    let row = remote.query_row(LOOK, LOOK_COLUMNS)?;
    let clocks = (0..ROUND_TRIPS).map(|_| Clock::read(remote)).collect::<Result<Vec<Clock>>>()?;
    let clock = clocks.into_iter().min_by_key(|clock| clock.round_trip);
    let [
        version,
        too_old,
        in_recovery,
        read_only,
        database,
        role,
        superuser,
        tls,
        tls_version,
        tls_cipher,
        host,
        port,
        rights,
    ] = <[Option<String>; LOOK_COLUMNS]>::try_from(row).unwrap_or_default();
    let flag = |text: Option<String>| text.map(|text| text == "t");
    let (in_recovery, read_only) = (flag(in_recovery), flag(read_only));
    let remarks = [
        (flag(too_old) == Some(true)).then(|| "PostgreSQL older than 15 is not supported".to_owned()),
        standing(in_recovery, read_only).map(str::to_owned),
        (flag(superuser) == Some(true))
            .then(|| "the role is a superuser there, which is more than opdb needs".to_owned()),
        clock.as_ref().and_then(Clock::remark),
    ];
    let remarks: Vec<String> = remarks.into_iter().flatten().collect();
    Ok(Finding {
        reachable: true,
        latency: clock.as_ref().map(|clock| clock.round_trip),
        server_version: version,
        in_recovery,
        read_only,
        database,
        role,
        tls: flag(tls),
        detail: (!remarks.is_empty()).then(|| remarks.join("; ")),
        clock_skew_ms: clock.map(|clock| milliseconds(clock.ahead)),
        address: None,
        host,
        port: port.and_then(|port| port.parse().ok()),
        rights: rights.map(|rights| rights.lines().map(str::to_owned).collect()),
        tls_version,
        tls_cipher,
    })
}

const fn standing(in_recovery: Option<bool>, read_only: Option<bool>) -> Option<&'static str> {
    match (in_recovery, read_only) {
        (Some(true), _) => Some("a standby: nothing can be deployed to it"),
        (_, Some(true)) => Some("new transactions are read-only there (default_transaction_read_only)"),
        _ => None,
    }
}

/// The clock there, read in one round trip.
struct Clock {
    round_trip: Duration,
    /// Microseconds by which it is ahead of ours at the middle of the round trip; off by half of that at most.
    ahead: i64,
}

impl Clock {
    fn read(remote: &Remote) -> Result<Self> {
        let (asked, start) = (time::now(), Instant::now());
        let row = remote.query_row(CLOCK, 1)?;
        let round_trip = start.elapsed();
        let theirs = number(row).unwrap_or(asked);
        Ok(Self { round_trip, ahead: theirs - asked - microseconds(round_trip / 2) })
    }

    /// What to say of clocks that differ more than can be due to the way.
    fn remark(&self) -> Option<String> {
        let certain = self.ahead.abs() - microseconds(self.round_trip / 2);
        (certain > microseconds(CLOCKS_DIFFER)).then(|| {
            let side = if self.ahead > 0 { "ahead of" } else { "behind" };
            format!("its clock is {:.1} s {side} this server's", milliseconds(self.ahead.abs()) / 1000.0)
        })
    }
}

fn number(row: Row) -> Option<i64> {
    row.into_iter().next().flatten()?.parse().ok()
}

fn microseconds(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

pub fn milliseconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1000.0
}

/// Connections that fail, authorization that is refused and a pooler that cannot be worked with are findings; anything
/// else is an error.
fn means_unreachable(failure: &Failure) -> bool {
    let pools_statements =
        failure.sqlstate == PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED && !failure.is_remote;
    pools_statements || matches!(failure.class().as_str(), "08" | "28")
}
