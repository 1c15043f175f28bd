//! A schema is the same after pg_dump: no drift, and the same fingerprint.

use std::sync::Once;

use postgres::Client;

use crate::fixture::{database, execute, installation, on_test, plain_database, rows, servers, text};

pub const PRINTED: &str = include_str!("schema_round_trip/printed.sql");
pub const OWNED: &str = include_str!("schema_round_trip/owned.sql");
/// Roles belong to the cluster.
pub const ROLES: &str = r#"
    CREATE ROLE round_trip_owner;
    CREATE ROLE "Round trip ""reader""";
    CREATE ROLE round_trip_grantor;
    GRANT round_trip_owner TO round_trip_grantor"#;
const OF_18: &str = include_str!("schema_round_trip/of_18.sql");

/// Makes the roles of `OWNED` on the test server, once.
pub fn with_roles() {
    static ROLES_ARE_THERE: Once = Once::new();
    ROLES_ARE_THERE.call_once(|| execute(&mut on_test("postgres"), ROLES));
}

/// Captures the schema of a database of the test server, and compares with it what pg_dump makes of it.
pub fn survives_pg_dump(name: &str) {
    execute(&mut on_test(name), "SELECT opdb.capture_schema('dumped')");
    let restored = plain_database(&servers().test);
    servers().test.restore_to(name, &servers().test, &restored).unwrap();
    let mut client = on_test(&restored);
    let differences = differences(&mut client, "opdb.schema_drift('dumped')");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let captured = "SELECT fingerprint FROM opdb.schema_snapshots WHERE name = 'dumped'";
    assert_eq!(text(&mut client, "SELECT opdb.schema_fingerprint()"), text(&mut client, captured));
}

/// The differences that a table function of opdb finds, whole.
pub fn differences(client: &mut Client, function: &str) -> Vec<String> {
    rows(client, &format!("SELECT to_jsonb(d) FROM {function} d")).into_iter().flatten().collect()
}

#[test]
fn what_is_printed_otherwise_than_written_survives_pg_dump() {
    let name = database(&servers().test);
    execute(&mut on_test(&name), PRINTED);
    if installation().major >= 18 {
        execute(&mut on_test(&name), OF_18);
    }
    survives_pg_dump(&name);
}

#[test]
fn owners_privileges_and_comments_survive_pg_dump() {
    with_roles();
    let name = database(&servers().test);
    execute(&mut on_test(&name), OWNED);
    survives_pg_dump(&name);
}
