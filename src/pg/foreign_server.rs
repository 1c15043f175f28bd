//! Connecting to a foreign server with the credentials that the current role has for it, under dblink's rules: they keep a
//! role from connecting as the operating system's user that this server runs as.

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgrx::PgList;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;

use super::error::{Failure, Result};
use super::libpq::{self, Broken, Connection, Known, NotOpen};
use super::session::c_string;
use super::subtransaction;

/// The options that may list several hosts.
const LISTS: [&CStr; 3] = [c"host", c"hostaddr", c"port"];

type Options = Vec<(CString, CString)>;

/// Connects to a foreign server; each of its hosts has its `connect_timeout`.
///
/// Errors: 42704 if there is no such server or the role has no mapping for it, 42501 without USAGE, 2F003 for a role that is
/// no superuser and needs no password there.
pub fn connect(server: &str) -> Result<std::result::Result<Connection, Broken>> {
    let options = options(server)?;
    let must_use_password = !is_superuser();
    if must_use_password && value(&options, c"password").is_none_or(CStr::is_empty) {
        return Err(no_password("Non-superusers must provide a password in the user mapping."));
    }
    let limit = value(&options, c"connect_timeout").and_then(|text| text.to_str().ok()?.trim().parse().ok());
    let limit = limit.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let mut left = options;
    let connection = loop {
        match Connection::open(&left, limit)? {
            Ok(connection) => break connection,
            Err(NotOpen::Broken(broken)) => return Ok(Err(broken)),
            Err(NotOpen::Silent { host, port }) => match without(&left, &host, &port) {
                Some(others) => left = others,
                None => return Ok(Err(Broken("timeout expired".into()))),
            },
        }
    };
    if must_use_password && !connection.used_password() {
        return Err(no_password("Non-superusers cannot connect if the server does not request a password."));
    }
    Ok(Ok(connection))
}

fn no_password(detail: &str) -> Failure {
    Failure {
        detail: Some(detail.to_owned()),
        hint: Some(
            "Call opdb.register_environment as this role, with a password in credentials, and have pg_hba.conf there \
             ask for it."
                .into(),
        ),
        ..Failure::new(
            PgSqlErrorCode::ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED,
            "password is required",
        )
    }
}

#[allow(unsafe_code)]
fn is_superuser() -> bool {
    // SAFETY: looks at the current role.
    unsafe { pg_sys::superuser() }
}

/// What libpq is told: the options of the server, and those of the role's mapping.
#[allow(unsafe_code)]
fn options(server: &str) -> Result<Options> {
    let name = c_string(server)?;
    let known = libpq::options();
    if known.is_empty() {
        return Err(Failure::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory"));
    }
    // The server raises what is missing.
    subtransaction::run(|| {
        // SAFETY: catalog lookups in a transaction, each in memory of the current context.
        unsafe {
            let server = pg_sys::GetForeignServerByName(name.as_ptr(), false);
            let role = pg_sys::GetUserId();
            check_usage(server, role);
            let mapping = pg_sys::GetUserMapping(role, (*server).serverid);
            let mut options = Vec::new();
            add(&mut options, (*server).options, &known, false);
            add(&mut options, (*mapping).options, &known, true);
            Ok(options)
        }
    })
}

/// # Safety
/// `server` is one.
#[allow(unsafe_code)]
unsafe fn check_usage(server: *mut pg_sys::ForeignServer, role: pg_sys::Oid) {
    let usage = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    // SAFETY: as the caller says; raises if it is refused.
    unsafe {
        #[cfg(feature = "pg15")]
        let checked = pg_sys::pg_foreign_server_aclcheck((*server).serverid, role, usage);
        #[cfg(not(feature = "pg15"))]
        let checked =
            pg_sys::object_aclcheck(pg_sys::ForeignServerRelationId, (*server).serverid, role, usage);
        if checked != pg_sys::AclResult::ACLCHECK_OK {
            pg_sys::aclcheck_error(checked, pg_sys::ObjectType::OBJECT_FOREIGN_SERVER, (*server).servername);
        }
    }
}

/// Adds those of a list that libpq knows, and that belong there; the others are postgres_fdw's.
///
/// # Safety
/// `list` is one of DefElem.
#[allow(unsafe_code)]
unsafe fn add(options: &mut Options, list: *mut pg_sys::List, known: &[Known], is_of_the_user: bool) {
    // SAFETY: as the caller says; the strings are NUL-terminated, and copied.
    unsafe {
        for definition in PgList::<pg_sys::DefElem>::from_pg(list).iter_ptr() {
            let keyword = CStr::from_ptr((*definition).defname);
            let belongs = |option: &Known| {
                option.keyword.as_c_str() == keyword && option.is_of_the_user == is_of_the_user
            };
            if known.iter().any(belongs) {
                let value = CStr::from_ptr(pg_sys::defGetString(definition));
                options.push((keyword.to_owned(), value.to_owned()));
            }
        }
    }
}

fn value<'o>(options: &'o Options, keyword: &CStr) -> Option<&'o CStr> {
    options.iter().find(|(known, _)| known.as_c_str() == keyword).map(|(_, value)| value.as_c_str())
}

/// The options without a host; none if there is no other.
fn without(options: &Options, host: &CStr, port: &CStr) -> Option<Options> {
    let list = |keyword: &CStr| value(options, keyword).map(items).unwrap_or_default();
    let hosts = if list(c"host").is_empty() { list(c"hostaddr") } else { list(c"host") };
    let ports = list(c"port");
    let port_of = |place: usize| if ports.len() > 1 { ports.get(place) } else { ports.first() };
    let is_it = |place: &usize| {
        hosts[*place] == host.to_bytes() && port_of(*place).is_none_or(|it| *it == port.to_bytes())
    };
    let place = (0..hosts.len()).find(is_it).filter(|_| hosts.len() > 1)?;
    let cut = |(keyword, value): &(CString, CString)| {
        let mut items = items(value);
        if items.len() == hosts.len() && LISTS.contains(&keyword.as_c_str()) {
            items.remove(place);
        }
        (keyword.clone(), CString::new(items.join(&b',')).unwrap_or_default())
    };
    Some(options.iter().map(cut).collect())
}

fn items(list: &CStr) -> Vec<&[u8]> {
    list.to_bytes().split(|byte| *byte == b',').collect()
}
