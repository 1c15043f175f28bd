//! A database with an object of every kind, on a server of its own: roles, tablespaces and subscriptions belong to a
//! server, and mutations rename them.

use opdb_e2e::cluster::{Cluster, Installation};
use postgres::Client;

use crate::fixture::{execute, rows, text};

pub struct Fixture {
    pub cluster: Cluster,
    pub client: Client,
}

const SETTINGS: [(&str, &str); 2] =
    [("allow_in_place_tablespaces", "on"), ("max_logical_replication_workers", "0")];

impl Fixture {
    pub fn new() -> Self {
        let mut fixture = Self::empty();
        let client = &mut fixture.client;
        execute(client, include_str!("roles.sql"));
        execute(client, "CREATE TABLESPACE app_space LOCATION ''");
        fill(client);
        fixture
    }

    pub fn empty() -> Self {
        let installation = Installation::from_env().unwrap();
        let cluster = Cluster::start_temporary(&installation, &SETTINGS).unwrap();
        let client = database(&cluster, "first");
        Self { cluster, client }
    }
}

/// A database with opdb, where the catalogs may be written to.
pub fn database(cluster: &Cluster, name: &str) -> Client {
    cluster.create_database(name).unwrap();
    let mut client = cluster.connect_as_superuser(name).unwrap();
    execute(
        &mut client,
        "CREATE EXTENSION opdb CASCADE; SET allow_system_table_mods = on; SET client_min_messages = error",
    );
    client
}

/// Creates the objects of every kind.
pub fn fill(client: &mut Client) {
    execute(client, include_str!("relations.sql"));
    execute(client, include_str!("code.sql"));
    execute(client, include_str!("database.sql"));
}

pub fn fingerprint(client: &mut Client) -> String {
    text(client, "SELECT opdb.schema_fingerprint()")
}

pub fn capture(client: &mut Client) {
    execute(client, "SELECT opdb.capture_schema('before')");
}

/// The differences from what was captured, as [`super::case::Case::found`] writes them.
pub fn drift(client: &mut Client) -> Vec<String> {
    let mut found: Vec<String> = rows(
        client,
        "SELECT concat_ws(' ', aspect, kind, object, change)
                || CASE WHEN change = 'changed' THEN ': ' || (SELECT string_agg(name, ', ' ORDER BY name)
                                                             FROM jsonb_object_keys(expected) name) ELSE '' END
         FROM opdb.schema_drift('before')",
    )
    .into_iter()
    .flatten()
    .collect();
    found.sort();
    found
}
