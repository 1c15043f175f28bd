//! Has the extension find the libpq of the server that it is built for, and no other: postgres_fdw uses that one, and a
//! backend has only one. The compiler's own search is pgrx's.

use std::error::Error;

use pgrx_pg_config::{PgConfig, Pgrx};

fn main() -> Result<(), Box<dyn Error>> {
    for variable in ["PGRX_HOME", "PGRX_PG_CONFIG_AS_ENV", "PGRX_PG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    // As pgrx itself finds the server.
    let server = match PgConfig::from_env() {
        Ok(server) => server,
        Err(_) => Pgrx::from_config()?.get(&format!("pg{}", major().ok_or("no feature names a server")?))?,
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", server.lib_dir()?.display());
    Ok(())
}

fn major() -> Option<u16> {
    (15..=18).find(|major| std::env::var_os(format!("CARGO_FEATURE_PG{major}")).is_some())
}
