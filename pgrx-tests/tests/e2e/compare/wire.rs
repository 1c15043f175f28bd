//! What passes between the servers.

use std::time::Duration;

use opdb_e2e::cluster::Proxy;

use super::differences;
use crate::fixture::{Pair, execute, servers, text};

const DIGESTS: &str = "pg_catalog.sum(pg_catalog.hash_record_extended(";

/// A pair whose servers are connected through something that counts.
fn counted() -> (Pair, Proxy) {
    let mut pair = Pair::with_plain_production();
    let production = &servers().production;
    let proxy = Proxy::start(production.port(), Duration::ZERO).unwrap();
    let options = serde_json::json!({"host": "127.0.0.1", "port": proxy.port(), "dbname": pair.there_name});
    execute(
        &mut pair.here,
        &format!("SELECT opdb.register_environment('production', 'production', '{options}')"),
    );
    (pair, proxy)
}

#[test]
fn digests_are_computed_there_and_only_what_differs_is_sent() {
    let (mut pair, proxy) = counted();
    for client in [&mut pair.here, &mut pair.there] {
        execute(
            client,
            "CREATE TABLE t (id bigint PRIMARY KEY, a text, n numeric, at timestamptz, u uuid, b boolean);
             INSERT INTO t SELECT i, md5(i::text), i / 7.0, '2024-01-01', md5(i::text)::uuid, i % 2 = 0 FROM generate_series(1, 20000) i;
             ANALYZE t",
        );
    }
    execute(
        &mut pair.there,
        "DELETE FROM t WHERE id = 1; UPDATE t SET n = -n WHERE id = 777; INSERT INTO t VALUES (0)",
    );
    assert_eq!(
        differences(&mut pair.here, "'t'"),
        [r#"changed {"id": 777} {n}"#, r#"extra {"id": 0}"#, r#"missing {"id": 1}"#]
    );
    // The table has a megabyte and a half; what asks for its columns, constraints and indexes has most of this.
    assert!(proxy.bytes() < 150_000, "{} bytes", proxy.bytes());
    let queries = proxy.queries();
    assert!(queries.len() <= 6, "{} messages", queries.len());
    let digests = queries.iter().find(|sql| sql.contains(DIGESTS)).unwrap();
    let digests = &digests[digests.rfind(";\n").unwrap() + 2..];
    let plan = text(&mut pair.there, &format!("EXPLAIN (FORMAT JSON) {digests}"));
    assert!(plan.contains("Aggregate") && digests.contains("pg_catalog.sum("), "{digests}\n{plan}");
    let rows = text(&mut pair.there, &format!("SELECT count(*) <= 64 FROM ({digests}) d"));
    assert_eq!(rows, "t", "{digests}");
}

#[test]
fn of_long_values_only_those_are_sent_that_differ() {
    let (mut pair, proxy) = counted();
    for client in [&mut pair.here, &mut pair.there] {
        execute(
            client,
            "CREATE TABLE t (id int PRIMARY KEY, short int, one text, other text);
             INSERT INTO t SELECT i, i, repeat('a', 300000), repeat('b', 100000) FROM generate_series(1, 30) i",
        );
    }
    execute(
        &mut pair.there,
        "UPDATE t SET short = -1 WHERE id = 3; UPDATE t SET other = other || 'c' WHERE id = 4",
    );
    assert_eq!(
        differences(&mut pair.here, "'t'"),
        [r#"changed {"id": 3} {short}"#, r#"changed {"id": 4} {other}"#]
    );
    assert!((100_000..220_000).contains(&proxy.bytes()), "{} bytes", proxy.bytes());
    let remote = "SELECT length(remote ->> 'other') FROM opdb.compare_data('production', 't') WHERE key = '{\"id\": 4}'";
    assert_eq!(text(&mut pair.here, remote), "100001");
}

#[test]
fn where_one_row_in_a_hundred_differs_a_second_look_is_cheaper_than_all_keys() {
    let (mut pair, proxy) = counted();
    for client in [&mut pair.here, &mut pair.there] {
        execute(
            client,
            "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT i, i FROM generate_series(1, 150000) i; ANALYZE t",
        );
    }
    execute(&mut pair.there, "UPDATE t SET a = 0 WHERE id % 200 = 0");
    let sql = "SELECT count(*) || ' ' || sum((key ->> 'id')::int) FROM opdb.compare_data('production', 't') WHERE difference = 'changed'";
    let expected = "SELECT count(*) || ' ' || sum(id) FROM t WHERE id % 200 = 0";
    assert_eq!(text(&mut pair.here, sql), text(&mut pair.here, expected));
    assert_eq!(proxy.queries().iter().filter(|sql| sql.contains(DIGESTS)).count(), 2);
    // All keys with their hashes would be six million bytes.
    assert!(proxy.bytes() < 2_000_000, "{} bytes", proxy.bytes());
}
