//! The foreign servers of an environment: one for each address.

use crate::pg::error::Result;
use crate::pg::name::{MAX_IDENTIFIER_BYTES, identifier, literal};
use crate::pg::spi;

use super::error::EnvironmentError;

/// Names and values of libpq and postgres_fdw.
pub type Options = Vec<(String, String)>;

const EXTERNAL: &str = " (external)";

/// What the foreign server of an environment's external address is called; that of the internal one has the
/// environment's name.
///
/// Errors: 42622 for a name that leaves no room.
pub fn external_name(environment: &str) -> Result<String> {
    let longest = MAX_IDENTIFIER_BYTES - EXTERNAL.len();
    if environment.len() > longest {
        return Err(EnvironmentError::NameTooLong { name: environment.to_owned(), longest }.into());
    }
    Ok(format!("{environment}{EXTERNAL}"))
}

/// Makes a foreign server that operators may use; each of them still needs a user mapping.
///
/// Errors: 42501 without the right to, 42710 if there is one of that name.
pub fn create(server: &str, environment: &str, options: &Options) -> Result<()> {
    let may = spi::read_value::<bool>(
        "SELECT pg_catalog.has_foreign_data_wrapper_privilege('postgres_fdw', 'USAGE')",
        &[],
    )?;
    if may != Some(true) {
        return Err(EnvironmentError::NotAdmin(environment.to_owned()).into());
    }
    let exists = spi::read_one_now(
        "SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = $1",
        &[server.into()],
        |_| Ok(()),
    )?;
    if exists.is_some() {
        return Err(EnvironmentError::ServerExists(server.to_owned()).into());
    }
    let list: Vec<String> =
        options.iter().map(|(option, value)| format!("{} {}", identifier(option), literal(value))).collect();
    let server = identifier(server);
    spi::write(
        &format!("CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({})", list.join(", ")),
        &[],
    )?;
    spi::write(&format!("GRANT USAGE ON FOREIGN SERVER {server} TO opdb_operator"), &[])?;
    Ok(())
}

/// Gives a foreign server these options in place of those that it has.
pub fn alter(server: &str, known: &Options, options: &Options) -> Result<()> {
    let is_kept = |name: &String| options.iter().any(|(option, _)| option == name);
    let is_known = |name: &String| known.iter().any(|(option, _)| option == name);
    let dropped = known.iter().filter(|(option, _)| !is_kept(option));
    let mut changes: Vec<String> =
        dropped.map(|(option, _)| format!("DROP {}", identifier(option))).collect();
    changes.extend(options.iter().map(|(option, value)| {
        let verb = if is_known(option) { "SET" } else { "ADD" };
        format!("{verb} {} {}", identifier(option), literal(value))
    }));
    spi::write(&format!("ALTER SERVER {} OPTIONS ({})", identifier(server), changes.join(", ")), &[])?;
    Ok(())
}

/// Drops a foreign server and its user mappings, if it is still there.
pub fn drop(server: &str) -> Result<()> {
    let mapped = spi::read_now(
        "SELECT CASE WHEN umuser = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(usename) END
         FROM pg_catalog.pg_user_mappings WHERE srvname = $1",
        &[server.into()],
        |row| row.get::<String>(1),
    )?;
    let server = identifier(server);
    for role in mapped.into_iter().flatten() {
        spi::write(&format!("DROP USER MAPPING IF EXISTS FOR {role} SERVER {server}"), &[])?;
    }
    spi::write(&format!("DROP SERVER IF EXISTS {server}"), &[])?;
    Ok(())
}

pub fn same(known: &Options, wanted: &Options) -> bool {
    known.len() == wanted.len() && wanted.iter().all(|option| known.contains(option))
}
