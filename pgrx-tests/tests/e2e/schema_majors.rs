//! The same schema on two major versions of PostgreSQL: no drift. The older one, with nothing installed, is that of
//! the `pg_config` that `OPDB_OLDER_PG_CONFIG` names.

use std::env;
use std::io::{Write, stderr};
use std::path::Path;
use std::sync::OnceLock;

use opdb_e2e::cluster::{Cluster, Installation};
use postgres::Client;

use crate::fixture::{database, execute, on_test, plain_database, rows, servers};
use crate::schema_round_trip::{OWNED, PRINTED, ROLES, differences, with_roles};

/// The older server, if there is one here.
pub fn older() -> Option<&'static Cluster> {
    static OLDER: OnceLock<Option<Cluster>> = OnceLock::new();
    let older = OLDER.get_or_init(|| {
        let installation =
            Installation::from_pg_config(Path::new(&env::var_os("OPDB_OLDER_PG_CONFIG")?)).unwrap();
        let cluster = Cluster::start_temporary(&installation, &[]).unwrap();
        execute(&mut cluster.connect_as_superuser("postgres").unwrap(), ROLES);
        Some(cluster)
    });
    if older.is_none() {
        // Not by a macro: what those print of a test that passes is not shown.
        stderr().write_all(b"not run: OPDB_OLDER_PG_CONFIG names no older PostgreSQL\n").unwrap();
    }
    older.as_ref()
}

/// A database of the older server in which `sql` ran.
fn database_of(older: &Cluster, sql: &str) -> String {
    let name = plain_database(older);
    execute(&mut older.connect_as_superuser(&name).unwrap(), sql);
    name
}

/// Declares a database of the older server as the environment "old".
fn register(client: &mut Client, older: &Cluster, dbname: &str) {
    let options = serde_json::json!({"host": older.host(), "port": older.port(), "dbname": dbname});
    let credentials = serde_json::json!({"user": older.superuser(), "password": older.password()});
    execute(
        client,
        &format!(
            "SELECT opdb.set_environment('test', 'test');
             SELECT opdb.register_environment('old', 'test', '{options}', '{credentials}')"
        ),
    );
}

/// But for the extensions that opdb needs here, there is no difference in either direction.
fn assert_same(client: &mut Client) {
    for references in ["'env:old', 'live'", "'live', 'env:old'"] {
        let function = format!("(SELECT * FROM opdb.diff_schema({references}) WHERE kind <> 'extension')");
        let found = differences(client, &function);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

#[test]
fn the_same_sql_makes_the_same_schema_on_two_major_versions() {
    let Some(older) = older() else { return };
    with_roles();
    let mut here = on_test(&database(&servers().test));
    for sql in [PRINTED, OWNED] {
        execute(&mut here, sql);
    }
    register(&mut here, older, &database_of(older, &format!("{PRINTED}{OWNED}")));
    assert_same(&mut here);
}

#[test]
fn a_dump_of_an_older_major_version_makes_the_same_schema() {
    let Some(older) = older() else { return };
    with_roles();
    let there = database_of(older, &format!("{PRINTED}{OWNED}"));
    let (same, newer) = (plain_database(older), plain_database(&servers().test));
    older.restore_to(&there, older, &same).unwrap();
    older.restore_to(&there, &servers().test, &newer).unwrap();
    let mut here = on_test(&newer);
    execute(&mut here, "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE");
    // What was loaded in both, and what it was dumped from.
    for dbname in [same, there] {
        register(&mut here, older, &dbname);
        assert_same(&mut here);
        execute(&mut here, "SELECT opdb.drop_environment('old')");
    }
}

const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.t (id int PRIMARY KEY, n int, v varchar(9), w varchar(9) CHECK (w IN ('a', 'b')), gone int,
                        CONSTRAINT v_known CHECK (v IN ('a', 'b')));
    CREATE INDEX t_n_idx ON app.t (n) WHERE v IN ('a', 'b');
    CREATE VIEW app.same AS SELECT id, v FROM app.t WHERE v IN ('a', 'b');
    CREATE VIEW app.other AS SELECT id, v FROM app.t WHERE v IN ('a', 'b');
    CREATE VIEW app.turned AS SELECT n - id AS d FROM app.t";

#[test]
fn what_differs_on_another_major_version_is_named_and_what_cannot_be_proven_is_unknown() {
    let Some(older) = older() else { return };
    let mut here = on_test(&database(&servers().test));
    execute(
        &mut here,
        &format!(
            "{SCHEMA};
             ALTER TABLE app.t DROP CONSTRAINT v_known, ADD CONSTRAINT v_known CHECK (v IN ('a', 'c'));
             ALTER TABLE app.t ALTER w TYPE varchar(10), ALTER n SET NOT NULL, DROP gone;
             DROP INDEX app.t_n_idx;
             CREATE OR REPLACE VIEW app.other AS SELECT id, v FROM app.t WHERE v IN ('a', 'd');
             CREATE OR REPLACE VIEW app.turned AS SELECT id - n AS d FROM app.t"
        ),
    );
    register(&mut here, older, &database_of(older, SCHEMA));
    let sql = "SELECT kind, object, change FROM opdb.diff_schema('env:old', 'live')
               WHERE kind <> 'extension' ORDER BY object";
    let found: Vec<String> = rows(&mut here, sql).into_iter().map(|row| row.join(" ")).collect();
    let expected = [
        "view app.other changed",
        "column app.t.gone missing",
        "column app.t.n changed",
        "index app.t.t_n_idx missing",
        "constraint app.t.v_known changed",
        "column app.t.w changed",
        "view app.turned unknown",
    ];
    assert_eq!(found, expected);
}
