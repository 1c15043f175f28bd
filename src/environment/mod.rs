//! Which environment this database is, and which other ones it knows.

mod check;
mod error;
mod options;
mod registry;
mod server;

use std::time::Duration;

use opdb_core::environment::{KINDS, resolve};
use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::error::{Result, required};
use crate::pg::remote::RemoteError;
use crate::pg::{own, secret, spi};
use crate::settings;
use error::EnvironmentError;

/// Declares what this database is.
///
/// `kind` is one of local, development, test, staging, production, disaster_recovery. Calling it again
/// replaces the declaration.
/// Errors: 22004 for a NULL argument, 22023 for any other kind, 42602 for an empty or overlong name.
#[pg_extern(requires = ["environment_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn set_environment(name: Option<&str>, kind: Option<&str>) -> std::result::Result<(), ErrorReport> {
    let (name, kind) = (required("name", name)?, required("kind", kind)?);
    check_kind(kind)?;
    registry::check_name(name)?;
    own::write(
        "INSERT INTO opdb.own_environment (name, kind) VALUES ($1, $2)
         ON CONFLICT (one) DO UPDATE SET name = excluded.name, kind = excluded.kind",
        &[name.into(), kind.into()],
    )?;
    Ok(())
}

/// Registers another server as an environment: makes its postgres_fdw server and a user mapping for the
/// calling role.
///
/// `kind` as in set_environment. `options` are libpq and postgres_fdw server options (host, port, dbname,
/// sslmode, …); connect_timeout is 10 seconds and TCP
/// keepalives notice a vanished server after two minutes, unless given. The option external, an object, holds those
/// that are different for the environment's external address: it gets a postgres_fdw server of its own, and the
/// setting opdb.network says which of the two is used. `credentials` are the user mappings' options
/// (user, password); every role that is to reach the environment calls this for itself. Calling it again
/// replaces kind and options, and the credentials if any are given; a role that does not own the servers passes
/// the kind and options they have, and only adds its credentials.
/// Errors: 22004 for a NULL argument, 22023 for a wrong kind or shape, 42602 for an invalid name, 42622 for one that
/// is too long for an external address, HV00D for
/// an option that postgres_fdw does not know, 42710 for a server of that name that opdb did not make,
/// 42501 without the right to create a server. No error repeats a credential.
#[pg_extern(requires = ["environment_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn register_environment(
    name: Option<&str>,
    kind: Option<&str>,
    options: Option<JsonB>,
    credentials: default!(Option<JsonB>, "NULL"),
) -> std::result::Result<(), ErrorReport> {
    secret::guarded(|| {
        let (name, kind) = (required("name", name)?, required("kind", kind)?);
        let options = required("options", options)?;
        check_kind(kind)?;
        registry::register(name, kind, &options.0, credentials.as_ref().map(|credentials| &credentials.0))
    })?;
    Ok(())
}

/// Forgets an environment and drops its foreign servers and user mappings.
///
/// Errors: 22004 for NULL, 42704 for an unknown environment, 2BP01 while foreign tables use a server of it.
#[pg_extern(requires = ["environment_tables"])]
#[search_path(pg_catalog, pg_temp)]
fn drop_environment(name: Option<&str>) -> std::result::Result<(), ErrorReport> {
    registry::drop(required("name", name)?)?;
    Ok(())
}

/// What this database is, what this session writes to, and how that was decided.
///
/// One row, always: name and kind as declared (NULL if never), is_production, target, and how: explicit
/// (the setting opdb.target names it), inferred (this database's own environment) or unset. Production is
/// never inferred.
#[pg_extern(stable, requires = ["environment_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn current_environment() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(name, Option<String>),
            name!(kind, Option<String>),
            name!(is_production, bool),
            name!(target, Option<String>),
            name!(how, String),
        ),
    >,
    ErrorReport,
> {
    let (name, kind) = own()?.unzip();
    let is_production = kind.as_deref() == Some("production");
    let named = settings::target();
    let (target, how) = resolve(named.as_deref(), name.as_deref().map(|name| (name, is_production)));
    let target = target.map(str::to_owned);
    Ok(TableIterator::once((name, kind, is_production, target, how.as_str().to_owned())))
}

/// Connects to a registered environment and says what is there.
///
/// Connecting takes as long as the environment's connect_timeout lets each of its hosts; everything after that,
/// `timeout`.
/// One row: reachable, latency_ms (the fastest of three round trips), server_version, in_recovery,
/// read_only (new transactions there cannot write), database and role as that server sees them, tls,
/// detail (why it is not reachable, or what is unusual), clock_skew_ms (by how much its clock is ahead of ours, give
/// or take half of latency_ms), address (internal or external), host and port of the server that answered (NULL over a
/// Unix socket), rights (what the role may do there), tls_version and tls_cipher. An environment that cannot be reached
/// or does not answer in time is a row, not an error.
/// Errors: 22004 for NULL, 22023 for a timeout that is not positive, 42704 for an unknown environment.
#[pg_extern(requires = ["environment_tables"])]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn check_environment(
    name: Option<&str>,
    timeout: default!(Option<Interval>, "'10 seconds'"),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(name, String),
            name!(reachable, bool),
            name!(latency_ms, Option<f64>),
            name!(server_version, Option<String>),
            name!(in_recovery, Option<bool>),
            name!(read_only, Option<bool>),
            name!(database, Option<String>),
            name!(role, Option<String>),
            name!(tls, Option<bool>),
            name!(detail, Option<String>),
            name!(clock_skew_ms, Option<f64>),
            name!(address, Option<String>),
            name!(host, Option<String>),
            name!(port, Option<i32>),
            name!(rights, Option<Vec<String>>),
            name!(tls_version, Option<String>),
            name!(tls_cipher, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let name = required("name", name)?;
    let found = check::check(name, positive(required("timeout", timeout)?)?)?;
    Ok(TableIterator::once((
        name.to_owned(),
        found.reachable,
        found.latency.map(|latency| check::milliseconds(latency.as_micros() as i64)),
        found.server_version,
        found.in_recovery,
        found.read_only,
        found.database,
        found.role,
        found.tls,
        found.detail,
        found.clock_skew_ms,
        found.address.map(|address| address.as_str().to_owned()),
        found.host,
        found.port,
        found.rights,
        found.tls_version,
        found.tls_cipher,
    )))
}

fn positive(timeout: Interval) -> Result<Duration> {
    let microseconds = timeout.as_micros();
    if microseconds <= 0 {
        return Err(EnvironmentError::NoTime.into());
    }
    Ok(Duration::from_micros(u64::try_from(microseconds).unwrap_or(u64::MAX)))
}

fn check_kind(kind: &str) -> Result<()> {
    if KINDS.contains(&kind) {
        return Ok(());
    }
    Err(EnvironmentError::UnknownKind(kind.to_owned()).into())
}

/// Name and kind that this database was declared to be.
pub fn own() -> Result<Option<(String, String)>> {
    let own = spi::read_one("SELECT name, kind FROM opdb.own_environment", &[], |row| {
        Ok((row.get::<String>(1)?, row.get::<String>(2)?))
    })?;
    Ok(own.and_then(|(name, kind)| Some((name?, kind?))))
}

/// The kind that an environment was registered as.
pub fn kind_of(name: &str) -> Result<Option<String>> {
    spi::read_value::<String>("SELECT kind FROM opdb.environment WHERE name = $1", &[name.into()])
}

/// Errors: 42704 if no environment has this name.
pub fn known(name: &str) -> Result<()> {
    match kind_of(name)? {
        Some(_) => Ok(()),
        None => Err(RemoteError::UnknownEnvironment(name.to_owned()).into()),
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::pg::spi;
    use pgrx::prelude::*;

    fn how() -> Option<String> {
        spi::write_value::<String>("SELECT how FROM opdb.current_environment()", &[]).unwrap()
    }

    #[pg_test]
    fn a_test_database_is_inferred_and_production_is_not() {
        spi::write("SELECT opdb.set_environment('test', 'test')", &[]).unwrap();
        assert_eq!(how().as_deref(), Some("inferred"));
        spi::write("SELECT opdb.set_environment('live', 'production')", &[]).unwrap();
        assert_eq!(how().as_deref(), Some("unset"));
        spi::write("SET LOCAL opdb.target = 'live'", &[]).unwrap();
        assert_eq!(how().as_deref(), Some("explicit"));
    }

    #[pg_test(error = "unknown environment kind \"prod\"")]
    fn a_kind_outside_the_list_is_refused() {
        spi::write("SELECT opdb.set_environment('x', 'prod')", &[]).unwrap();
    }

    #[pg_test(error = "argument \"name\" must not be NULL")]
    fn null_is_not_silently_nothing() {
        spi::write("SELECT opdb.set_environment(NULL, 'test')", &[]).unwrap();
    }

    #[pg_test]
    fn registering_again_replaces_options() {
        for port in ["5432", "6000"] {
            spi::write(
                &format!("SELECT opdb.register_environment('elsewhere', 'staging', '{{\"host\": \"db1\", \"port\": {port}}}', '{{\"user\": \"u\", \"password\": \"pw\"}}')"),
                &[],
            )
            .unwrap();
        }
        let port =
            spi::write_value::<i32>("SELECT port FROM opdb.environments WHERE name = 'elsewhere'", &[]);
        assert_eq!(port.unwrap(), Some(6000));
        spi::write("SELECT opdb.drop_environment('elsewhere')", &[]).unwrap();
        let left = spi::write_value::<i64>("SELECT count(*) FROM pg_foreign_server", &[]);
        assert_eq!(left.unwrap(), Some(0));
    }

    #[pg_test(error = "option \"password\" is a credential")]
    fn a_password_does_not_go_where_everybody_reads() {
        spi::write("SELECT opdb.register_environment('e', 'test', '{\"password\": \"pw\"}')", &[]).unwrap();
    }

    #[pg_test(error = "environment \"nowhere\" is not registered")]
    fn an_unknown_environment_is_an_error() {
        spi::write("SELECT opdb.check_environment('nowhere')", &[]).unwrap();
    }
}
