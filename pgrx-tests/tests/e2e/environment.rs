mod address;
mod check;
mod failover;
mod lost;
mod pgbouncer;
mod tls;

use opdb_e2e::cluster::Cluster;
use postgres::Client;
use serde_json::{Value, json};

use crate::fixture::{
    Pair, database, execute, installation, on_test, refused, register, role, rows, servers, sockets, text,
};

/// Registers whatever the options lead to, with the credentials of the superuser of `cluster`.
fn register_at(client: &mut Client, name: &str, options: &Value, cluster: &Cluster) {
    let credentials = json!({"user": cluster.superuser(), "password": cluster.password()});
    client
        .execute(
            "SELECT opdb.register_environment($1, 'staging', $2::text::jsonb, $3::text::jsonb)",
            &[&name, &options.to_string(), &credentials.to_string()],
        )
        .unwrap();
}

/// The options for a database of a cluster.
fn at(cluster: &Cluster, dbname: &str) -> Value {
    json!({"host": cluster.host(), "port": cluster.port(), "dbname": dbname})
}

/// The options of `base` with others in their place, or more.
fn with(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

/// Asks until the answer is the expected one. Whether it ever comes is what the test is about, and not when.
pub fn until(client: &mut Client, sql: &str, expected: &str) {
    for _ in 0..1200 {
        if text(client, sql) == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{sql} is not {expected} but {}", text(client, sql));
}

#[test]
fn a_reachable_environment_is_described_and_an_unreachable_one_is_a_row() {
    let mut pair = Pair::with_plain_production();
    let found = rows(
        &mut pair.here,
        "SELECT reachable, latency_ms > 0, in_recovery, read_only, database, role, tls, detail
         FROM opdb.check_environment('production')",
    );
    let database = pair.there_name.as_str();
    let superuser = "the role is a superuser there, which is more than opdb needs";
    assert_eq!(found, [["t", "t", "f", "f", database, "postgres", "f", superuser]]);

    register(&mut pair.here, "wrong", "staging", database, "postgres", "not the password");
    let wrong =
        rows(&mut pair.here, "SELECT reachable, detail FROM opdb.check_environment('wrong')").remove(0);
    assert_eq!(wrong[0], "f");
    assert!(wrong[1].contains("password authentication failed"), "{wrong:?}");

    execute(
        &mut pair.here,
        r#"SELECT opdb.register_environment('down', 'staging', '{"host": "127.0.0.1", "port": 1}', '{"user": "x", "password": "y"}')"#,
    );
    let down = rows(&mut pair.here, "SELECT reachable, detail FROM opdb.check_environment('down')").remove(0);
    assert_eq!(down[0], "f");
    assert!(down[1].contains("port 1"), "{down:?}");
}

#[test]
fn a_read_only_target_is_seen() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.there,
        &format!("ALTER DATABASE {} SET default_transaction_read_only = on", pair.there_name),
    );
    assert_eq!(text(&mut pair.here, "SELECT read_only FROM opdb.check_environment('production')"), "t");
}

#[test]
fn dropping_an_environment_leaves_nothing_unless_something_needs_it() {
    let mut pair = Pair::with_plain_production();
    execute(&mut pair.here, "CREATE FOREIGN TABLE f (a int) SERVER production");
    let refusal = refused(&mut pair.here, "SELECT opdb.drop_environment('production')");
    assert_eq!(refusal.sqlstate, "2BP01");
    assert_eq!(text(&mut pair.here, "SELECT reachable FROM opdb.check_environment('production')"), "t");
    execute(&mut pair.here, "DROP FOREIGN TABLE f; SELECT opdb.drop_environment('production')");
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT (SELECT count(*) FROM pg_foreign_server) + (SELECT count(*) FROM pg_user_mappings)
                  + (SELECT count(*) FROM opdb.environments)"
        ),
        "0"
    );
}

#[test]
fn odd_environment_names_work() {
    let mut client = on_test(&database(&servers().test));
    let name = r#"Prod "1" ü's"#;
    register(&mut client, name, "production", "postgres", "postgres", servers().production.password());
    let reachable: bool =
        client.query_one("SELECT reachable FROM opdb.check_environment($1)", &[&name]).unwrap().get(0);
    assert!(reachable);
    client.execute("SELECT opdb.drop_environment($1)", &[&name]).unwrap();
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_foreign_server"), "0");
}

#[test]
fn no_connection_outlives_the_call() {
    let mut pair = Pair::with_plain_production();
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        pair.there_name
    );
    text(&mut pair.here, "SELECT reachable FROM opdb.check_environment('production')");
    assert_eq!(
        refused(&mut pair.here, "SELECT opdb.verify_column_mapping('production', 'opdb.environment')")
            .sqlstate,
        "42809"
    );
    execute(&mut pair.here, "CREATE TABLE only_here (a int PRIMARY KEY)");
    assert_eq!(
        refused(&mut pair.here, "SELECT opdb.verify_column_mapping('production', 'only_here')").sqlstate,
        "42P01"
    );
    assert_eq!(sockets(&mut pair.here), 1, "its own client's");
    // The other server notices a closed connection a moment later.
    for _ in 0..200 {
        if text(&mut pair.there, &open) == "0" {
            return;
        }
        text(&mut pair.there, "SELECT pg_sleep(0.05)");
    }
    panic!("a connection is still open");
}

#[test]
fn a_role_that_is_no_superuser_needs_usage_and_a_password_that_is_asked_for() {
    let mut here = on_test(&database(&servers().test));
    let here_name = text(&mut here, "SELECT current_database()");
    let there = Cluster::start_temporary(&installation(), &[]).unwrap();
    register_at(&mut here, "there", &at(&there, "postgres"), &there);
    let operator = role(&servers().test, &["opdb_operator"]);
    let mut session = servers().test.connect(&here_name, &operator, &operator).unwrap();
    let call = "SELECT opdb.check_compatibility('there')";

    execute(&mut here, &format!("CREATE USER MAPPING FOR {operator} SERVER there OPTIONS (user 'postgres')"));
    let refusal = refused(&mut session, call);
    assert_eq!((refusal.sqlstate.as_str(), refusal.hint.is_empty()), ("2F003", false), "{refusal:?}");
    // What the owner of the server may allow for foreign tables does not count here.
    execute(
        &mut here,
        &format!("ALTER USER MAPPING FOR {operator} SERVER there OPTIONS (ADD password_required 'false')"),
    );
    assert_eq!(refused(&mut session, call).sqlstate, "2F003");

    let credentials = format!(r#"{{"user": "postgres", "password": "{}"}}"#, there.password());
    let options = at(&there, "postgres");
    let register =
        format!("SELECT opdb.register_environment('there', 'staging', '{options}', '{credentials}')");
    execute(&mut session, &register);
    assert_eq!(text(&mut session, "SELECT reachable FROM opdb.check_environment('there')"), "t");
    let asks_nobody = "host all all 127.0.0.1/32 trust\nlocal all all trust\n";
    std::fs::write(there.data_dir().join("pg_hba.conf"), asks_nobody).unwrap();
    text(&mut there.connect_as_superuser("postgres").unwrap(), "SELECT pg_reload_conf()");
    until_refused(&mut session, call, "2F003");
    text(&mut here, call);

    execute(&mut here, "REVOKE USAGE ON FOREIGN SERVER there FROM opdb_operator");
    assert_eq!(refused(&mut session, call).sqlstate, "42501");
}

/// A server reads its configuration again some time after it was told to.
fn until_refused(client: &mut Client, sql: &str, sqlstate: &str) {
    for _ in 0..1200 {
        match client.simple_query(sql) {
            Err(error) if error.code().is_some_and(|code| code.code() == sqlstate) => return,
            _ => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
    panic!("{sql} is not refused");
}

#[test]
fn every_role_adds_its_own_credentials_and_only_the_owner_changes_the_server() {
    let mut pair = Pair::with_plain_production();
    let (operator, deployer) = (role(&servers().test, &["opdb_operator"]), role(&servers().production, &[]));
    let mut session = servers().test.connect(&pair.here_name, &operator, &operator).unwrap();
    let refusal = refused(&mut session, "SELECT opdb.check_compatibility('production')");
    assert_eq!(refusal.sqlstate, "28000");
    register(&mut session, "production", "production", &pair.there_name, &deployer, &deployer);
    let role_there = "SELECT role FROM opdb.check_environment('production')";
    assert_eq!(text(&mut session, role_there), deployer);
    assert_eq!(text(&mut pair.here, role_there), "postgres", "the first one's credentials are untouched");
    let other = r#"SELECT opdb.register_environment('production', 'production', '{"host": "elsewhere"}')"#;
    let refusal = refused(&mut session, other);
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("\"production\"") && !refusal.hint.is_empty(), "{refusal:?}");
    let other_kind = "SELECT opdb.register_environment('production', 'staging', '{}')";
    assert_eq!(refused(&mut session, other_kind).sqlstate, "42501");
}
