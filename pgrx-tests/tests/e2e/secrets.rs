//! A password is in the user mapping and nowhere else.

use crate::fixture::{database, execute, on_test, refused, rows, servers};

const SECRET: &str = "correct-horse-battery";

#[test]
fn no_error_view_or_log_shows_a_password() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE EXTENSION pg_stat_statements");
    let good = format!(r#"'{{"user": "u", "password": "{SECRET}"}}'"#);
    let call = |name: &str, options: &str, credentials: &str| {
        format!("SELECT opdb.register_environment('{name}', 'staging', '{options}', {credentials})")
    };
    execute(&mut client, &call("fine", r#"{"host": "127.0.0.1", "port": 1}"#, &good));
    execute(&mut client, &call("fine", r#"{"host": "127.0.0.1", "port": 1}"#, &good));
    let both = r#"{"host": "127.0.0.1", "port": 1, "external": {"port": 2}}"#;
    execute(&mut client, &call("both", both, &good));
    execute(&mut client, &call("both", both, &good));
    execute(
        &mut client,
        &call("both", r#"{"host": "127.0.0.1", "port": 3, "external": {"port": 2}}"#, &good),
    );

    let unknown_option = format!(r#"'{{"user": "u", "passwort": "{SECRET}"}}'"#);
    let in_function = format!(
        "DO $do$ BEGIN PERFORM opdb.register_environment('x', 'staging', '{{\"nope\": 1}}', {good}); END $do$"
    );
    for failing in [
        call("x", "{}", &unknown_option),
        call("x", r#"{"nope": 1}"#, &good),
        call("x", &format!(r#"{{"password": "{SECRET}"}}"#), "NULL"),
        call("", "{}", &good),
        call("x", r#"{"host": "a", "external": {"nope": 1}}"#, &good),
        call("x", r#"{"host": "a", "external": {"port": 2}}"#, &unknown_option),
        call("x", r#"{"host": "a", "external": {}}"#, &good),
        call("x", &format!(r#"{{"host": "a", "external": {{"password": "{SECRET}"}}}}"#), "NULL"),
        call("x", &format!(r#"{{"host": "a", "external": "{SECRET}"}}"#), &good),
        call(&"x".repeat(60), both, &good),
        format!("SELECT opdb.register_environment('x', 'nonsense', '{{}}', {good})"),
        in_function,
        "SELECT opdb.check_compatibility('fine')".to_owned(),
        "SELECT opdb.check_compatibility('both')".to_owned(),
    ] {
        let refusal = refused(&mut client, &failing);
        assert!(!refusal.whole.contains(SECRET), "{refusal:?}");
    }

    assert_eq!(rows(&mut client, "SELECT reachable FROM opdb.check_environment('fine')"), [["f"]]);
    for view in [
        "opdb.environments",
        "opdb.environment",
        "opdb.check_environment('fine')",
        "opdb.check_environment('both')",
        "pg_foreign_server",
        "pg_stat_activity",
        "pg_stat_statements",
    ] {
        let shown = rows(&mut client, &format!("SELECT v::text FROM {view} v")).concat().join("\n");
        assert!(!shown.contains(SECRET), "{view}: {shown}");
    }
    assert!(!servers().test.log().contains(SECRET), "the server's log");
}

#[test]
fn the_error_after_a_call_with_credentials_still_has_its_statement() {
    let mut client = on_test(&database(&servers().test));
    let credentials = format!(r#"'{{"user": "u", "password": "{SECRET}"}}'"#);
    execute(&mut client, &format!("SELECT opdb.register_environment('e', 'test', '{{}}', {credentials})"));
    refused(&mut client, "SELECT 'marker of the next statement' / 0");
    assert!(servers().test.log().contains("marker of the next statement"));
}
