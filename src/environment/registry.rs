//! Registered environments: a row, a foreign server and user mappings that stand and fall together.

use serde_json::{Map, Value};

use crate::pg::error::Result;
use crate::pg::name::{MAX_IDENTIFIER_BYTES, identifier, literal};
use crate::pg::remote::RemoteError;
use crate::pg::{own, spi, user_mapping};

use super::error::EnvironmentError;

/// What is asked of libpq where the user's options do not say: to give up an attempt to connect after ten
/// seconds, and a server that vanished without a word after two minutes.
const DEFAULTS: [(&str, &str); 4] = [
    ("connect_timeout", "10"),
    ("keepalives_idle", "60"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "6"),
];

type Options = Vec<(String, String)>;

/// An environment's name is its server's name too.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES || name.chars().any(char::is_control) {
        return Err(EnvironmentError::InvalidName(name.to_owned()).into());
    }
    Ok(())
}

pub fn register(name: &str, kind: &str, options: &Value, credentials: Option<&Value>) -> Result<()> {
    check_name(name)?;
    let options = with_defaults(pairs("options", options)?)?;
    let credentials = credentials.map(|credentials| pairs("credentials", credentials)).transpose()?;
    match registered(name)? {
        None => create_server(name, kind, &options)?,
        // Somebody else gives the environment credentials of their own: there is nothing to change.
        Some(known) if known.kind == kind && same_options(&known.options, &options) => {}
        Some(known) => replace(name, kind, &known, &options)?,
    }
    match credentials {
        Some(credentials) => user_mapping::replace(name, &credentials),
        None => Ok(()),
    }
}

pub fn drop(name: &str) -> Result<()> {
    let mapped = own::write_returning(
        "DELETE FROM opdb.environment e WHERE e.name = $1
         RETURNING ARRAY(SELECT CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(m.usename) END
                         FROM pg_catalog.pg_user_mappings m WHERE m.srvname = e.server)",
        &[name.into()],
        |row| row.get::<Vec<String>>(1),
    )?
    .pop()
    .ok_or_else(|| RemoteError::UnknownEnvironment(name.to_owned()))?
    .unwrap_or_default();
    let server = identifier(name);
    for role in mapped {
        spi::write(&format!("DROP USER MAPPING IF EXISTS FOR {role} SERVER {server}"), &[])?;
    }
    spi::write(&format!("DROP SERVER IF EXISTS {server}"), &[])?;
    Ok(())
}

/// What is known of an environment that is registered.
struct Registered {
    kind: String,
    options: Options,
    /// The caller owns its server.
    is_own: bool,
}

fn registered(name: &str) -> Result<Option<Registered>> {
    let row = spi::read_one(
        "SELECT e.kind, pg_catalog.pg_has_role(s.srvowner, 'USAGE'),
                ARRAY(SELECT o.option_name FROM pg_catalog.pg_options_to_table(s.srvoptions) o ORDER BY 1),
                ARRAY(SELECT o.option_value FROM pg_catalog.pg_options_to_table(s.srvoptions) o ORDER BY o.option_name)
         FROM opdb.environment e LEFT JOIN pg_catalog.pg_foreign_server s ON s.srvname = e.server
         WHERE e.name = $1",
        &[name.into()],
        |row| {
            Ok((
                row.get::<String>(1)?.unwrap_or_default(),
                row.get::<bool>(2)?.unwrap_or(false),
                row.get::<Vec<String>>(3)?.unwrap_or_default(),
                row.get::<Vec<String>>(4)?.unwrap_or_default(),
            ))
        },
    )?;
    Ok(row.map(|(kind, is_own, names, values)| Registered {
        kind,
        options: names.into_iter().zip(values).collect(),
        is_own,
    }))
}

fn same_options(known: &Options, wanted: &Options) -> bool {
    known.len() == wanted.len() && wanted.iter().all(|option| known.contains(option))
}

fn create_server(name: &str, kind: &str, options: &Options) -> Result<()> {
    let may = spi::read_value::<bool>(
        "SELECT pg_catalog.has_foreign_data_wrapper_privilege('postgres_fdw', 'USAGE')",
        &[],
    )?;
    if may != Some(true) {
        return Err(EnvironmentError::NotAdmin(name.to_owned()).into());
    }
    let foreign = spi::read_value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = $1)",
        &[name.into()],
    )?;
    if foreign == Some(true) {
        return Err(EnvironmentError::ServerExists(name.to_owned()).into());
    }
    let list: Vec<String> =
        options.iter().map(|(option, value)| format!("{} {}", identifier(option), literal(value))).collect();
    let server = identifier(name);
    spi::write(
        &format!("CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({})", list.join(", ")),
        &[],
    )?;
    own::write(
        "INSERT INTO opdb.environment (name, kind, server) VALUES ($1, $2, $1)",
        &[name.into(), kind.into()],
    )?;
    // Operators deploy; each of them still needs a user mapping of their own.
    spi::write(&format!("GRANT USAGE ON FOREIGN SERVER {server} TO opdb_operator"), &[])?;
    Ok(())
}

/// Errors: 42501 unless the caller owns the server.
fn replace(name: &str, kind: &str, known: &Registered, options: &Options) -> Result<()> {
    if !known.is_own {
        return Err(EnvironmentError::NotOwner(name.to_owned()).into());
    }
    own::write("UPDATE opdb.environment SET kind = $2 WHERE name = $1", &[name.into(), kind.into()])?;
    let is_kept = |name: &String| options.iter().any(|(option, _)| option == name);
    let is_known = |name: &String| known.options.iter().any(|(option, _)| option == name);
    let dropped = known.options.iter().filter(|(option, _)| !is_kept(option));
    let mut changes: Vec<String> =
        dropped.map(|(option, _)| format!("DROP {}", identifier(option))).collect();
    changes.extend(options.iter().map(|(option, value)| {
        let verb = if is_known(option) { "SET" } else { "ADD" };
        format!("{verb} {} {}", identifier(option), literal(value))
    }));
    spi::write(&format!("ALTER SERVER {} OPTIONS ({})", identifier(name), changes.join(", ")), &[])?;
    Ok(())
}

fn with_defaults(mut options: Options) -> Result<Options> {
    if let Some((credential, _)) = options.iter().find(|(name, _)| {
        matches!(name.as_str(), "user" | "password" | "sslpassword" | "passfile" | "sslkey" | "sslcert")
    }) {
        return Err(EnvironmentError::CredentialInOptions(credential.clone()).into());
    }
    for (name, value) in DEFAULTS {
        if !options.iter().any(|(given, _)| given == name) {
            options.push((name.into(), value.into()));
        }
    }
    Ok(options)
}

fn pairs(argument: &'static str, value: &Value) -> Result<Options> {
    let object: &Map<String, Value> = value.as_object().ok_or(EnvironmentError::NotAnObject(argument))?;
    object
        .iter()
        .map(|(option, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => {
                    return Err(EnvironmentError::NotAScalar { argument, option: option.clone() }.into());
                }
            };
            Ok((option.clone(), text))
        })
        .collect()
}
