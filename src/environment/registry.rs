//! Registered environments: a row, foreign servers and user mappings that stand and fall together.

use serde_json::Value;

use crate::pg::error::Result;
use crate::pg::name::MAX_IDENTIFIER_BYTES;
use crate::pg::remote::RemoteError;
use crate::pg::{address, own, spi, user_mapping};

use super::error::EnvironmentError;
use super::options::{self, Addresses};
use super::server::{self, Options};

/// An environment's name is its server's name too.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES || name.chars().any(char::is_control) {
        return Err(EnvironmentError::InvalidName(name.to_owned()).into());
    }
    Ok(())
}

pub fn register(name: &str, kind: &str, options: &Value, credentials: Option<&Value>) -> Result<()> {
    check_name(name)?;
    let wanted = Addresses::read(options)?;
    let external = wanted.external.is_some().then(|| server::external_name(name)).transpose()?;
    let credentials = credentials.map(options::credentials).transpose()?;
    match registered(name)? {
        None => create(name, kind, &wanted, external.as_deref())?,
        // Somebody else gives the environment credentials of their own: there is nothing to change.
        Some(known) if known.kind == kind && known.is_at(&wanted) => {}
        Some(known) => replace(name, kind, &known, &wanted, external.as_deref())?,
    }
    let Some(credentials) = credentials else { return Ok(()) };
    user_mapping::replace(name, &credentials)?;
    external.map_or(Ok(()), |external| user_mapping::replace(&external, &credentials))
}

pub fn drop(name: &str) -> Result<()> {
    let external = own::write_returning(
        "DELETE FROM opdb.environment WHERE name = $1 RETURNING external_server::text",
        &[name.into()],
        |row| row.get::<String>(1),
    )?
    .pop()
    .ok_or_else(|| RemoteError::UnknownEnvironment(name.to_owned()))?;
    address::forget(name);
    server::drop(name)?;
    external.map_or(Ok(()), |external| server::drop(&external))
}

/// What is known of an environment that is registered.
struct Registered {
    kind: String,
    internal: Options,
    external: Option<(String, Options)>,
    /// The caller owns its servers.
    is_own: bool,
}

impl Registered {
    fn is_at(&self, wanted: &Addresses) -> bool {
        let same_external = match (&self.external, &wanted.external) {
            (Some((_, known)), Some(wanted)) => server::same(known, wanted),
            (None, None) => true,
            _ => false,
        };
        same_external && server::same(&self.internal, &wanted.internal)
    }
}

fn registered(name: &str) -> Result<Option<Registered>> {
    spi::read_one(
        "SELECT e.kind, e.external_server::text,
                pg_catalog.pg_has_role(s.srvowner, 'USAGE')
                AND (x.oid IS NULL OR pg_catalog.pg_has_role(x.srvowner, 'USAGE')),
                ARRAY(SELECT o.option_name FROM pg_catalog.pg_options_to_table(s.srvoptions) o ORDER BY 1),
                ARRAY(SELECT o.option_value FROM pg_catalog.pg_options_to_table(s.srvoptions) o ORDER BY o.option_name),
                ARRAY(SELECT o.option_name FROM pg_catalog.pg_options_to_table(x.srvoptions) o ORDER BY 1),
                ARRAY(SELECT o.option_value FROM pg_catalog.pg_options_to_table(x.srvoptions) o ORDER BY o.option_name)
         FROM opdb.environment e
         LEFT JOIN pg_catalog.pg_foreign_server s ON s.srvname = e.server
         LEFT JOIN pg_catalog.pg_foreign_server x ON x.srvname = e.external_server
         WHERE e.name = $1",
        &[name.into()],
        |row| {
            let list = |column| row.get::<Vec<String>>(column).map(Option::unwrap_or_default);
            let external = row.get::<String>(2)?;
            let internal = list(4)?.into_iter().zip(list(5)?).collect();
            let external_options = list(6)?.into_iter().zip(list(7)?).collect();
            Ok(Registered {
                kind: row.get::<String>(1)?.unwrap_or_default(),
                internal,
                external: external.map(|server| (server, external_options)),
                is_own: row.get::<bool>(3)?.unwrap_or(false),
            })
        },
    )
}

fn create(name: &str, kind: &str, wanted: &Addresses, external: Option<&str>) -> Result<()> {
    server::create(name, name, &wanted.internal)?;
    if let (Some(server), Some(options)) = (external, &wanted.external) {
        server::create(server, name, options)?;
    }
    own::write(
        "INSERT INTO opdb.environment (name, kind, server, external_server) VALUES ($1, $2, $1, $3)",
        &[name.into(), kind.into(), external.into()],
    )?;
    Ok(())
}

/// Errors: 42501 unless the caller owns the servers.
fn replace(
    name: &str,
    kind: &str,
    known: &Registered,
    wanted: &Addresses,
    external: Option<&str>,
) -> Result<()> {
    if !known.is_own {
        return Err(EnvironmentError::NotOwner(name.to_owned()).into());
    }
    own::write(
        "UPDATE opdb.environment SET kind = $2, external_server = $3 WHERE name = $1",
        &[name.into(), kind.into(), external.into()],
    )?;
    address::forget(name);
    server::alter(name, &known.internal, &wanted.internal)?;
    match (&known.external, external.zip(wanted.external.as_ref())) {
        (Some((server, known)), Some((_, options))) => server::alter(server, known, options),
        (Some((server, _)), None) => server::drop(server),
        (None, Some((server, options))) => server::create(server, name, options),
        (None, None) => Ok(()),
    }
}
