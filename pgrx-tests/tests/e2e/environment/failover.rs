//! Environments of several hosts, and standbys.

use opdb_e2e::cluster::Cluster;
use postgres::Client;
use serde_json::{Value, json};

use super::{at, register_at, until};
use crate::fixture::{database, execute, installation, on_test, refused, rows, servers, text};

/// Two hosts under one name, in this order.
fn hosts(first: &Cluster, second: &Cluster, target_session_attrs: &str) -> Value {
    json!({
        "host": format!("{},{}", first.host(), second.host()),
        "port": format!("{},{}", first.port(), second.port()),
        "dbname": "events", "target_session_attrs": target_session_attrs,
    })
}

fn primary() -> Cluster {
    let primary = Cluster::start_temporary(&installation(), &[]).unwrap();
    primary.create_database("events").unwrap();
    execute(
        &mut primary.connect_as_superuser("events").unwrap(),
        "CREATE TABLE t (id int PRIMARY KEY, a text)",
    );
    primary
}

fn here() -> Client {
    let mut here = on_test(&database(&servers().test));
    execute(
        &mut here,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'one');
         SELECT opdb.set_environment('test', 'test'); SELECT opdb.capture_schema()",
    );
    here
}

fn state(client: &mut Client, environment: &str) -> Vec<String> {
    let check = format!(
        "SELECT reachable, port, in_recovery, read_only, detail LIKE '%a standby: nothing can be deployed to it%'
         FROM opdb.check_environment('{environment}')"
    );
    rows(client, &check).remove(0)
}

#[test]
fn a_streaming_standby_is_read_and_not_deployed_to() {
    let primary = primary();
    let standby = primary.start_standby().unwrap();
    let mut here = here();
    register_at(&mut here, "standby", &at(&standby, "events"), &primary);
    let port = standby.port().to_string();
    assert_eq!(state(&mut here, "standby"), ["t", port.as_str(), "t", "t", "t"]);
    // It follows.
    execute(&mut primary.connect_as_superuser("events").unwrap(), "ALTER TABLE t ADD b int");
    let mut there = standby.connect_as_superuser("events").unwrap();
    until(
        &mut there,
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'b'",
        "1",
    );

    let verdicts = "SELECT string_agg(DISTINCT verdict, ' ') FROM opdb.check_compatibility('standby', '{t}')
                    WHERE object <> 'b'";
    assert!(text(&mut here, verdicts).contains("identical"));
    let b = "SELECT count(*) FROM opdb.diff_schema('env:standby', 'live') WHERE object LIKE '%t.b'";
    assert_eq!(text(&mut here, b), "1");
    let refusal = refused(&mut here, "SELECT opdb.deploy('standby', '{t}', '{\"raise\": true}')");
    assert_eq!(refusal.sqlstate, "55000");
    assert!(
        refusal.message.contains("standby") && refusal.message.contains("target_writable"),
        "{refusal:?}"
    );
}

#[test]
fn calls_go_to_the_next_host_when_the_first_is_stopped() {
    let primary = primary();
    let standby = primary.start_standby().unwrap();
    let mut here = here();
    register_at(&mut here, "any", &hosts(&primary, &standby, "any"), &primary);
    register_at(&mut here, "standby_first", &hosts(&primary, &standby, "prefer-standby"), &primary);
    register_at(&mut here, "writable", &hosts(&standby, &primary, "read-write"), &primary);
    assert_eq!(
        text(&mut here, "SELECT bool_and(port IS NULL AND host IS NOT NULL) FROM opdb.environments"),
        "t"
    );
    let [first, second] = [&primary, &standby].map(|cluster| cluster.port().to_string());
    let (writes, reads) = (["t", first.as_str(), "f", "f", "NULL"], ["t", second.as_str(), "t", "t", "t"]);
    let writes = [&writes[..4], &["f"]].concat();
    assert_eq!(state(&mut here, "any"), writes);
    assert_eq!(state(&mut here, "standby_first"), reads);
    assert_eq!(state(&mut here, "writable"), writes, "the standby, which comes first, is skipped");
    let deploy = "SELECT state FROM opdb.deployments WHERE deployment_id =
                  (SELECT max(deployment_id) FROM opdb.deployments)";
    execute(&mut here, "SELECT opdb.deploy('writable', '{t}', '{\"raise\": true}')");
    assert_eq!(text(&mut here, deploy), "applied");
    let mut there = standby.connect_as_superuser("events").unwrap();
    until(&mut there, "SELECT count(*) FROM t", "1");

    primary.stop().unwrap();
    assert_eq!(state(&mut here, "any"), reads);
    assert_eq!(state(&mut here, "standby_first"), reads);
    assert_eq!(
        text(&mut here, "SELECT bool_and(verdict = 'identical') FROM opdb.check_compatibility('any', '{t}')"),
        "t"
    );
    // Nobody is left who could write, and the reasons of both are told.
    let refusal = refused(&mut here, "SELECT opdb.deploy('writable', '{t}', '{\"raise\": true}')");
    assert_eq!(refusal.sqlstate, "08001");
    assert!(refusal.whole.contains("read-only") && refusal.whole.contains("refused"), "{refusal:?}");

    execute(&mut there, "SELECT pg_promote()");
    let writes = [&["t", second.as_str()], &writes[2..]].concat();
    assert_eq!(state(&mut here, "writable"), writes);
    execute(&mut here, "INSERT INTO t VALUES (2, 'two');");
    execute(&mut here, "SELECT opdb.deploy('writable', '{t}', '{\"raise\": true}')");
    assert_eq!(text(&mut there, "SELECT string_agg(a, ' ' ORDER BY id) FROM t"), "one two");
}
