//! Under which of its addresses an environment is reached. Each is a foreign server of its own, because a password is taken
//! from nowhere but a user mapping.

use std::cell::RefCell;
use std::collections::HashMap;

use super::error::{Failure, Result};
use super::remote::RemoteError;
use super::spi;
use crate::settings;

/// One of the two ways to the same environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Internal,
    External,
}

impl Address {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Internal => Self::External,
            Self::External => Self::Internal,
        }
    }
}

/// On which side of the addresses this server is: the values of the setting `opdb.network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, pgrx::PostgresGucEnum)]
pub enum Network {
    #[name = c""]
    #[hidden = true]
    Unsaid,
    #[name = c"internal"]
    Internal,
    #[name = c"external"]
    External,
}

thread_local! {
    /// What was reached last where nobody said which: whoever waited once for an address that is dead does not wait for
    /// it in every call.
    static REACHED: RefCell<HashMap<String, Address>> = RefCell::new(HashMap::new());
}

/// Forgets which address was reached, because they are others now.
pub fn forget(environment: &str) {
    REACHED.with_borrow_mut(|reached| reached.remove(environment));
}

/// Has `connect` connect to a foreign server of the environment: the one that `opdb.network` chooses, otherwise the one
/// that was reached last, at first the internal one, and the other if that one cannot be reached.
///
/// Errors: 42704 for an unknown environment or a foreign server that is gone, and those of `connect`, of which only class
/// 08 means that an address cannot be reached.
pub fn reach<T>(environment: &str, connect: impl Fn(&str) -> Result<T>) -> Result<(Address, T)> {
    let [internal, external] = servers(environment)?;
    let internal = internal.ok_or_else(|| RemoteError::NoServer(environment.to_owned()))?;
    let Some(external) = external else {
        return connect(&internal).map(|it| (Address::Internal, it));
    };
    let server = |address| if address == Address::Internal { &internal } else { &external };
    match settings::network() {
        Some(said) => connect(server(said)).map(|it| (said, it)),
        None => {
            let first = REACHED.with_borrow(|reached| reached.get(environment).copied());
            let first = first.unwrap_or(Address::Internal);
            let reached = either(first, |address| connect(server(address)))?;
            REACHED.with_borrow_mut(|all| all.insert(environment.to_owned(), reached.0));
            Ok(reached)
        }
    }
}

fn either<T>(first: Address, connect: impl Fn(Address) -> Result<T>) -> Result<(Address, T)> {
    let failure = match connect(first) {
        Ok(it) => return Ok((first, it)),
        Err(failure) if failure.class() == "08" => failure,
        Err(failure) => return Err(failure),
    };
    let second = first.other();
    connect(second).map(|it| (second, it)).map_err(|last| both(&[(first, &failure), (second, &last)], &last))
}

/// The failure of the second attempt, with the reasons of both.
fn both(reasons: &[(Address, &Failure)], last: &Failure) -> Failure {
    let reason = |(address, failure): &(Address, &Failure)| {
        format!("{} address: {}", address.as_str(), failure.detail.as_ref().unwrap_or(&failure.message))
    };
    let detail = reasons.iter().map(reason).collect::<Vec<_>>().join("; ");
    Failure { detail: Some(detail), ..last.clone() }
}

/// The foreign servers of the internal and the external address; the latter is None if there is no such address.
fn servers(environment: &str) -> Result<[Option<String>; 2]> {
    let unknown = || RemoteError::UnknownEnvironment(environment.to_owned());
    let (internal, external, has_external) = spi::read_one(
        "SELECT s.srvname::text, x.srvname::text, e.external_server IS NOT NULL FROM opdb.environment e
         LEFT JOIN pg_catalog.pg_foreign_server s ON s.srvname = e.server
         LEFT JOIN pg_catalog.pg_foreign_server x ON x.srvname = e.external_server
         WHERE e.name = $1",
        &[environment.into()],
        |row| Ok((row.get::<String>(1)?, row.get::<String>(2)?, row.get::<bool>(3)?)),
    )?
    .ok_or_else(unknown)?;
    if has_external == Some(true) && external.is_none() {
        return Err(RemoteError::NoServer(environment.to_owned()).into());
    }
    Ok([internal, external])
}
