//! What is compared with what, and what is said of it.

use super::differences;
use crate::fixture::{Pair, execute, records, refused, rows, text};

fn both(pair: &mut Pair, sql: &str) {
    for client in [&mut pair.here, &mut pair.there] {
        execute(client, sql);
    }
}

#[test]
fn missing_extra_and_changed_rows_are_told_with_what_differs() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (id int PRIMARY KEY, name text, price numeric(10,2), at timestamptz);
         INSERT INTO t SELECT i, 'n' || i, i, '2024-01-01 00:00+00' FROM generate_series(1, 1000) i",
    );
    execute(
        &mut pair.there,
        "DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (2000, NULL, -1, 'infinity');
         UPDATE t SET price = -price, name = NULL WHERE id = 500",
    );
    let found = rows(
        &mut pair.here,
        "SELECT difference, key, columns, local, remote FROM opdb.compare_data('production', 't') ORDER BY 1",
    );
    assert_eq!(
        found,
        [
            [
                "changed",
                r#"{"id": 500}"#,
                "{name,price}",
                r#"{"name": "n500", "price": 500.00}"#,
                r#"{"name": null, "price": -500.00}"#
            ],
            [
                "extra",
                r#"{"id": 2000}"#,
                "NULL",
                "NULL",
                r#"{"at": "infinity", "id": 2000, "name": null, "price": -1.00}"#
            ],
            [
                "missing",
                r#"{"id": 7}"#,
                "NULL",
                r#"{"at": "2024-01-01T00:00:00+00:00", "id": 7, "name": "n7", "price": 7.00}"#,
                "NULL"
            ],
        ]
    );
}

#[test]
fn only_what_is_asked_for_is_compared() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, a numeric, b text);
         INSERT INTO t SELECT i, 'c' || i, i, 'b' FROM generate_series(1, 100) i",
    );
    execute(
        &mut pair.there,
        "UPDATE t SET a = 1.0 WHERE id = 1; UPDATE t SET b = 'x' WHERE id IN (2, 60); UPDATE t SET id = 1000 WHERE id = 3",
    );
    assert_eq!(
        differences(&mut pair.here, "'t'"),
        [
            r#"changed {"id": 2} {b}"#,
            r#"changed {"id": 60} {b}"#,
            r#"extra {"id": 1000}"#,
            r#"missing {"id": 3}"#
        ]
    );
    for (options, expected) in [
        (r#"{"columns": ["a"], "where": "id < 3"}"#, vec![]),
        (r#"{"exclude_columns": ["b"], "where": "id <> 3 AND id < 1000"}"#, vec![]),
        (r#"{"where": "id > 50 AND id < 1000"}"#, vec![r#"changed {"id": 60} {b}"#]),
        (r#"{"as_written": true, "where": "id = 1"}"#, vec![r#"changed {"id": 1} {a}"#]),
        (r#"{"key": ["code"], "exclude_columns": ["b"]}"#, vec![r#"changed {"code": "c3"} {id}"#]),
    ] {
        assert_eq!(differences(&mut pair.here, &format!("'t', '{options}'")), expected, "{options}");
    }
}

#[test]
fn columns_of_other_types_are_compared_by_their_values() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN price AS numeric(10,2);
         CREATE TABLE t (id int PRIMARY KEY, n integer, q numeric(10,2), f real, v varchar(10), c char(5),
                         m mood, d price, at timestamptz, j json, u uuid);
         INSERT INTO t SELECT i, i, i, i / 2.0, 'v' || i, 'c' || i, 'happy', i, '2024-01-01 00:00+00', '{\"a\": 1}',
                              '01234567-89ab-cdef-0123-456789abcdef' FROM generate_series(1, 20) i",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id bigint PRIMARY KEY, n numeric, q integer, f double precision, v text, c text,
                         m text, d numeric, at timestamp, j jsonb, u text);
         INSERT INTO t SELECT i, i, i, i / 2.0, 'v' || i, 'c' || i, 'happy', i, '2024-01-01', '{\"a\":1}',
                              '01234567-89ab-cdef-0123-456789abcdef' FROM generate_series(1, 20) i",
    );
    assert!(differences(&mut pair.here, "'t'").is_empty());
    for (column, value) in [
        ("n", "-n"),
        ("q", "q + 1"),
        ("f", "f + 0.25"),
        ("v", "upper(v)"),
        ("c", "'x'"),
        ("m", "'sad'"),
        ("d", "d + 0.001"),
        ("at", "at + interval '1 microsecond'"),
        ("j", "'{\"a\": -1}'"),
        ("u", "upper(u)"),
    ] {
        execute(&mut pair.there, &format!("BEGIN; UPDATE t SET {column} = {value} WHERE id = 5; COMMIT"));
        assert_eq!(
            differences(&mut pair.here, "'t'"),
            [format!(r#"changed {{"id": 5}} {{{column}}}"#)],
            "{column}"
        );
        execute(
            &mut pair.there,
            &format!("UPDATE t SET {column} = (SELECT {column} FROM t WHERE id = 6) WHERE id = 5"),
        );
        execute(
            &mut pair.there,
            "UPDATE t SET n = id, q = id, f = id / 2.0, v = 'v' || id, c = 'c' || id, d = id WHERE id = 5",
        );
    }
}

#[test]
fn rows_without_a_key_are_counted() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (a numeric, b text); INSERT INTO t VALUES (1, 'x'), (1.0, 'x'), (1, 'x'), (2, NULL), (NULL, NULL)",
    );
    execute(
        &mut pair.there,
        "DELETE FROM t WHERE ctid IN ('(0,1)', '(0,2)'); INSERT INTO t VALUES (2.00, NULL), (3, 'y')",
    );
    let found = rows(
        &mut pair.here,
        "SELECT difference, key, columns, local, remote FROM opdb.compare_data('production', 't') ORDER BY 1, 4, 5",
    );
    assert_eq!(
        found,
        [
            ["extra", "NULL", "NULL", "NULL", r#"{"a": 2, "b": null}"#],
            ["extra", "NULL", "NULL", "NULL", r#"{"a": 3, "b": "y"}"#],
            ["missing", "NULL", "NULL", r#"{"a": 1, "b": "x"}"#, "NULL"],
            ["missing", "NULL", "NULL", r#"{"a": 1, "b": "x"}"#, "NULL"],
        ]
    );
    assert!(
        pair.notices("SELECT FROM opdb.compare_data('production', 't')").contains("has no primary key here")
    );
}

#[test]
fn a_key_that_is_none_there_is_not_used_and_one_that_is_claimed_is_checked() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id int NOT NULL, a text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (2, 'c')",
    );
    assert_eq!(differences(&mut pair.here, "'t'"), ["extra"]);
    assert!(
        pair.notices("SELECT FROM opdb.compare_data('production', 't')")
            .contains("its key (id) is not unique there")
    );
    let refusal =
        refused(&mut pair.here, r#"SELECT FROM opdb.compare_data('production', 't', '{"key": ["id"]}')"#);
    assert_eq!(refusal.sqlstate, "21000");
    let refusal =
        refused(&mut pair.here, r#"SELECT FROM opdb.compare_data('production', 't', '{"key": ["a"]}')"#);
    assert_eq!(refusal.sqlstate, "42P16");
    execute(&mut pair.there, "DELETE FROM t WHERE a = 'b'");
    assert_eq!(differences(&mut pair.here, r#"'t', '{"key": ["id"]}'"#), [r#"changed {"id": 2} {a}"#]);
}

#[test]
fn columns_of_one_side_are_told_and_no_common_column_is_an_error() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, a text, only_here int); CREATE TABLE u (a int); INSERT INTO t VALUES (1, 'a', 1)",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id int PRIMARY KEY, a text, only_there int); CREATE TABLE u (b int); INSERT INTO t VALUES (1, 'a', 2)",
    );
    assert!(differences(&mut pair.here, "'t'").is_empty());
    let told = pair.notices("SELECT FROM opdb.compare_data('production', 't')");
    assert!(told.contains("column only_here is only here, column only_there is only there"), "{told}");
    let told = pair.notices(r#"SELECT FROM opdb.compare_data('production', 't', '{"exclude_columns": []}')"#);
    assert!(told.contains("only_here"), "{told}");
    let refusal = refused(&mut pair.here, "SELECT FROM opdb.compare_data('production', 'u')");
    assert_eq!(refusal.sqlstate, "42703");
    assert!(!refusal.hint.is_empty());
}

#[test]
fn of_event_tables_the_events_are_compared() {
    let mut pair = Pair::with_opdb_on_both();
    for client in [&mut pair.here, &mut pair.there] {
        execute(client, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    }
    crate::fixture::ingest(&mut pair.there, "events", &records(1));
    execute(&mut pair.there, "UPDATE events SET processed = true");
    crate::fixture::ingest(&mut pair.here, "events", &records(3));
    assert_eq!(
        differences(&mut pair.here, "'events'"),
        [r#"missing {"source_id": "event-2"}"#, r#"missing {"source_id": "event-3"}"#]
    );
}

#[test]
fn partitions_are_compared_as_their_table_however_it_is_cut() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int, at date, a text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2024-01-15');
         CREATE TABLE t_2 PARTITION OF t DEFAULT;",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id int, at date, a text, PRIMARY KEY (id, at)) PARTITION BY HASH (id);
         CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE t_2 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    );
    both(
        &mut pair,
        "INSERT INTO t SELECT i, date '2024-01-01' + i % 30, 'x' FROM generate_series(1, 3000) i; ANALYZE t",
    );
    execute(&mut pair.there, "UPDATE t SET a = 'y' WHERE id = 77");
    for options in ["{}", r#"{"connections": 3}"#] {
        assert_eq!(
            differences(&mut pair.here, &format!("'t', '{options}'")),
            [r#"changed {"at": "2024-01-18", "id": 77} {a}"#]
        );
    }
}

#[test]
fn odd_names_are_names() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        r#"CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."T ""%s' $1" ("Id'" int PRIMARY KEY, "select" text, "k0" int, "i" int, "t" int, "spool" int);
           INSERT INTO "a.b"."T ""%s' $1" SELECT i, 'x', i, i, i, i FROM generate_series(1, 50) i"#,
    );
    execute(&mut pair.there, r#"UPDATE "a.b"."T ""%s' $1" SET "select" = NULL, t = 0 WHERE "Id'" = 9"#);
    assert_eq!(differences(&mut pair.here, r#"'"a.b"."T ""%s'' $1"'"#), [r#"changed {"Id'": 9} {select,t}"#]);
}

#[test]
fn many_columns_are_compared() {
    let mut pair = Pair::with_plain_production();
    let columns: Vec<String> = (0..400).map(|place| format!("c{place} int DEFAULT {place}")).collect();
    both(
        &mut pair,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, {}); INSERT INTO t SELECT generate_series(1, 100)",
            columns.join(", ")
        ),
    );
    execute(&mut pair.there, "UPDATE t SET c399 = NULL, c0 = 5 WHERE id = 50");
    assert_eq!(differences(&mut pair.here, "'t'"), [r#"changed {"id": 50} {c0,c399}"#]);
}

#[test]
fn a_type_that_is_hashed_otherwise_there_is_compared_by_its_text() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (id int PRIMARY KEY, u uuid); INSERT INTO t SELECT i, md5(i::text)::uuid FROM generate_series(1, 100) i",
    );
    // As if that server computed the hash of a uuid in another way: both have 16 bytes.
    execute(
        &mut pair.there,
        "UPDATE pg_amproc SET amproc = 'interval_hash_extended' WHERE amproc = 'uuid_hash_extended'::regproc",
    );
    pair.reconnect();
    assert!(differences(&mut pair.here, "'t'").is_empty());
    execute(&mut pair.there, "UPDATE t SET u = NULL WHERE id = 3");
    assert_eq!(differences(&mut pair.here, "'t'"), [r#"changed {"id": 3} {u}"#]);
    assert_eq!(
        text(&mut pair.here, "SELECT state FROM opdb.compare_summary('production', '{t}')"),
        "different"
    );
}

#[test]
fn values_that_rows_exchange_are_differences() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (id int PRIMARY KEY, a int, b float8); INSERT INTO t SELECT i, i, i FROM generate_series(1, 2000) i",
    );
    // So many of them that some are in one bucket.
    execute(&mut pair.there, "UPDATE t SET a = CASE WHEN id % 2 = 0 THEN a - 1 ELSE a + 1 END WHERE id > 2");
    let found = "SELECT count(*) FROM opdb.compare_data('production', 't') WHERE columns = '{a}'";
    assert_eq!(text(&mut pair.here, found), "1998");
    assert_eq!(
        text(&mut pair.here, "SELECT state FROM opdb.compare_summary('production', '{t}')"),
        "different"
    );
}

#[test]
fn tables_as_wide_as_they_can_be_are_compared() {
    let mut pair = Pair::with_plain_production();
    for (of, value, count) in [("text", "'x'", 800), ("numeric", "1.5", 500)] {
        let columns: Vec<String> = (0..count).map(|place| format!("c{place} {of}")).collect();
        both(
            &mut pair,
            &format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, {}); INSERT INTO t (id, c7) SELECT i, {value} FROM generate_series(1, 20) i",
                columns.join(", ")
            ),
        );
        execute(&mut pair.there, &format!("UPDATE t SET c{} = {value} WHERE id = 5", count - 1));
        assert_eq!(
            differences(&mut pair.here, "'t'"),
            [format!(r#"changed {{"id": 5}} {{c{}}}"#, count - 1)],
            "{of}"
        );
    }
}

#[test]
fn collations_that_take_letters_for_the_same_hide_nothing() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE v (id int PRIMARY KEY, name text COLLATE ci); CREATE TABLE k (k text COLLATE ci PRIMARY KEY, v int)",
    );
    execute(
        &mut pair.here,
        "INSERT INTO v VALUES (1, 'BOB'), (2, 'same'); INSERT INTO k VALUES ('Abc', 1), ('same', 1)",
    );
    execute(
        &mut pair.there,
        "INSERT INTO v VALUES (1, 'Bob'), (2, 'same'); INSERT INTO k VALUES ('aBC', 2), ('same', 1)",
    );
    assert_eq!(differences(&mut pair.here, "'v'"), [r#"changed {"id": 1} {name}"#]);
    assert_eq!(differences(&mut pair.here, "'k'"), [r#"extra {"k": "aBC"}"#, r#"missing {"k": "Abc"}"#]);
    execute(
        &mut pair.there,
        "ALTER TABLE k DROP CONSTRAINT k_pkey, ALTER k TYPE text COLLATE \"C\", ADD PRIMARY KEY (k); INSERT INTO k VALUES ('SAME', 9)",
    );
    assert_eq!(
        differences(&mut pair.here, "'k'"),
        [r#"extra {"k": "SAME"}"#, r#"extra {"k": "aBC"}"#, r#"missing {"k": "Abc"}"#]
    );
}

#[test]
fn a_key_that_is_written_otherwise_is_one_key() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (k numrange, j jsonb, v int, PRIMARY KEY (k, j)); CREATE TABLE s (n numeric PRIMARY KEY, v int)",
    );
    execute(&mut pair.here, "INSERT INTO t VALUES ('[1,2)', '{\"a\": 1}', 1); INSERT INTO s VALUES (1, 1)");
    execute(
        &mut pair.there,
        "INSERT INTO t VALUES ('[1.0,2)', '{\"a\": 1.00}', 2); INSERT INTO s VALUES (1.0, 2)",
    );
    assert_eq!(differences(&mut pair.here, "'t'").len(), 1);
    assert_eq!(differences(&mut pair.here, "'s'"), [r#"changed {"n": 1} {v}"#]);
    assert_eq!(
        differences(&mut pair.here, r#"'s', '{"as_written": true}'"#),
        [r#"extra {"n": 1.0}"#, r#"missing {"n": 1}"#]
    );
    execute(&mut pair.there, "UPDATE t SET v = 1");
    assert!(differences(&mut pair.here, "'t'").is_empty());
}

#[test]
fn a_condition_may_name_any_column() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (id int PRIMARY KEY, i int, k0 int, h text, s0 text); INSERT INTO t SELECT n, n, n, n, n FROM generate_series(1, 50) n",
    );
    execute(&mut pair.there, "UPDATE t SET h = 'x' WHERE id IN (3, 40)");
    assert_eq!(
        differences(&mut pair.here, r#"'t', '{"where": "i > 10 AND k0 > 10 AND s0 IS NOT NULL"}'"#),
        [r#"changed {"id": 40} {h}"#]
    );
}

#[test]
fn tables_that_inherit_have_no_key() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE p (id int PRIMARY KEY, a int); CREATE TABLE c () INHERITS (p); INSERT INTO p VALUES (1, 1); INSERT INTO c VALUES (1, 2)",
    );
    execute(&mut pair.there, "UPDATE c SET a = 3");
    assert_eq!(differences(&mut pair.here, "'p'"), ["extra", "missing"]);
    assert!(
        pair.notices("SELECT FROM opdb.compare_data('production', 'p')")
            .contains("other tables inherit from it")
    );
}

#[test]
fn long_keys_and_long_values_are_taken_a_few_at_a_time() {
    let mut pair = Pair::with_plain_production();
    both(
        &mut pair,
        "CREATE TABLE t (k text PRIMARY KEY, v text); INSERT INTO t SELECT repeat('k', 50000) || i, repeat('v', 200000) FROM generate_series(1, 250) i",
    );
    execute(&mut pair.there, "UPDATE t SET v = v || 'x'");
    let found = "SELECT count(*), min(length(remote ->> 'v')), bool_and(columns = '{v}') FROM opdb.compare_data('production', 't')";
    assert_eq!(rows(&mut pair.here, found), [["250", "200001", "t"]]);
}
