//! User mappings, without SQL text: a password never becomes part of a statement that
//! pg_stat_statements, an error's CONTEXT or the log could show.

use std::ffi::CStr;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;

use super::error::Result;
use super::session::c_string;
use super::spi;

/// Gives the current role a user mapping on `server` with exactly these options, in place of any it had.
///
/// Errors: those of CREATE USER MAPPING.
#[allow(unsafe_code)]
pub fn replace(server: &str, options: &[(String, String)]) -> Result<()> {
    let options = options
        .iter()
        .map(|(name, value)| Ok((c_string(name)?, c_string(value)?)))
        .collect::<Result<Vec<_>>>()?;
    let has_mapping = spi::read_value::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_user_mappings WHERE srvname = $1 AND usename = current_user)",
        &[server.into()],
    )?;
    let server = c_string(server)?;
    // SAFETY: every node is palloc'd in the current context with its tag set, as the parser would have
    // made it; the server copies what it keeps.
    unsafe {
        if has_mapping == Some(true) {
            let drop = node::<pg_sys::DropUserMappingStmt>(pg_sys::NodeTag::T_DropUserMappingStmt);
            (*drop).user = current_role();
            (*drop).servername = copy(&server);
            pg_sys::RemoveUserMapping(drop);
            pg_sys::CommandCounterIncrement();
        }
        let create = node::<pg_sys::CreateUserMappingStmt>(pg_sys::NodeTag::T_CreateUserMappingStmt);
        (*create).user = current_role();
        (*create).servername = copy(&server);
        for (name, value) in &options {
            let value = pg_sys::makeString(copy(value)).cast();
            let option = pg_sys::makeDefElem(copy(name), value, -1);
            (*create).options = pg_sys::lappend((*create).options, option.cast());
        }
        pg_sys::CreateUserMapping(create);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

/// # Safety
/// `T` is the node type that `tag` stands for.
#[allow(unsafe_code)]
unsafe fn node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: zeroed memory of T's size whose first field is the tag is what makeNode() gives.
    unsafe {
        let node = PgMemoryContexts::CurrentMemoryContext.palloc0_struct::<T>();
        (*node.cast::<pg_sys::Node>()).type_ = tag;
        node
    }
}

#[allow(unsafe_code)]
unsafe fn current_role() -> *mut pg_sys::RoleSpec {
    // SAFETY: as `node`; the role type says that no name is needed.
    unsafe {
        let role = node::<pg_sys::RoleSpec>(pg_sys::NodeTag::T_RoleSpec);
        (*role).roletype = pg_sys::RoleSpecType::ROLESPEC_CURRENT_USER;
        (*role).location = -1;
        role
    }
}

#[allow(unsafe_code)]
unsafe fn copy(text: &CStr) -> *mut std::ffi::c_char {
    // SAFETY: `text` is NUL-terminated.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}
