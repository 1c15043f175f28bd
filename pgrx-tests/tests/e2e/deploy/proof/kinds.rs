//! Kinds of tables, columns and values, through a deployment and back.

use super::goes_there_and_back;
use crate::deploy::{applied, content, deploy, pair_with};
use crate::fixture::{execute, rows, text};

#[test]
fn names_that_need_quotes_go_there_and_back() {
    let long = "ä".repeat(31) + "x";
    assert_eq!(long.len(), 63, "as long as a name can be");
    for name in [
        "Upper Case",
        "it's",
        "a\"b",
        "select",
        "ünï😀",
        "a.b",
        "back\\slash",
        "%I $1 {x}",
        "opdb_row",
        "t",
        "s",
        long.as_str(),
    ] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let table = format!(
            r#"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, "V ""1""" text, "opdb row" int, "$1" text)"#
        );
        let mut pair = pair_with(
            &format!(
                "{table}; INSERT INTO {quoted} VALUES (1, 'x', 1, NULL), (2, NULL, 2, 'NULL'), (3, '', NULL, '')"
            ),
            &format!("{table}; INSERT INTO {quoted} VALUES (1, 'old', NULL, ''), (2, NULL, 2, 'NULL')"),
        );
        goes_there_and_back(&mut pair, &[&quoted], r#"{"max_change_ratio": 1}"#);
    }
}

const TYPES: &str = "CREATE TYPE mood AS ENUM ('good', 'bad mood', '\"');
    CREATE TYPE spot AS (x int, name text, moods mood[]);
    CREATE DOMAIN small AS int CHECK (VALUE < 100); CREATE DOMAIN smalls AS small[];
    CREATE DOMAIN place AS spot; CREATE TYPE span AS RANGE (subtype = int);
    CREATE TABLE t (id small PRIMARY KEY, m mood NOT NULL, ms mood[], s spot, ss spot[], d small, ds smalls, p place,
                    grid int[][], r span, rs span[], mr int4multirange, texts text[])";

#[test]
fn values_of_types_of_ones_own_go_there_and_back() {
    let mut pair = pair_with(
        &format!(
            r#"{TYPES};
            INSERT INTO t VALUES
                (1, 'good', '{{good,"bad mood",NULL}}', '(1,"a ""b"", c","{{good}}")', ARRAY['(1,x,)', '(,,)', NULL]::spot[], 99,
                 '{{1,2}}', '(2,"",)', '{{{{1,2}},{{3,4}}}}', '[1,5)', ARRAY['empty', '[,3]']::span[], '{{[1,3),[5,6)}}',
                 '{{"NULL",NULL,"",",","{{}}","\\"}}'),
                (2, '"', '{{}}', NULL, '{{}}', NULL, '{{}}', NULL, '[0:1][2:2]={{{{1}},{{2}}}}', 'empty', NULL, '{{}}', NULL),
                (3, 'bad mood', NULL, '(,,)', NULL, -5, NULL, '(,,)', NULL, NULL, NULL, NULL, '{{}}')"#
        ),
        &format!("{TYPES}; INSERT INTO t (id, m, s) VALUES (1, 'bad mood', '(7,,)'), (50, 'good', NULL)"),
    );
    let options = r#"{"max_change_ratio": 1, "delete_missing": true}"#;
    goes_there_and_back(&mut pair, &["t"], options);
}

#[test]
fn partitioned_tables_go_there_and_back() {
    let list =
        "CREATE TABLE t (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a'); CREATE TABLE t_rest PARTITION OF t DEFAULT";
    let nested =
        "CREATE TABLE t (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY HASH (id);
        CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0) PARTITION BY LIST (region);
        CREATE TABLE t_0a PARTITION OF t_0 FOR VALUES IN ('a'); CREATE TABLE t_0b PARTITION OF t_0 DEFAULT;
        CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)";
    let plain = "CREATE TABLE t (id int, region text, v text, PRIMARY KEY (id, region))";
    for (here, there) in [(list, nested), (nested, list), (plain, list), (list, plain)] {
        let mut pair = pair_with(
            &format!(
                "{here}; INSERT INTO t SELECT i, CASE WHEN i % 3 = 0 THEN 'a' ELSE 'b' END, 'new' FROM generate_series(1, 30) i"
            ),
            &format!(
                "{there}; INSERT INTO t SELECT i, CASE WHEN i % 3 = 0 THEN 'a' ELSE 'b' END, 'old' FROM generate_series(20, 50) i"
            ),
        );
        goes_there_and_back(&mut pair, &["t"], r#"{"max_change_ratio": 1, "delete_missing": true}"#);
    }
}

#[test]
fn rows_that_no_partition_there_takes_are_listed() {
    let table = "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)";
    let mut pair = pair_with(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)",
        &format!("{table}; CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (1) TO (9)"),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(8, 0, 0));
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT string_agg(key ->> 'id', ',' ORDER BY key ->> 'id') FROM opdb.deployment_errors"
        ),
        "10,9"
    );
}

#[test]
fn an_empty_table_there_is_filled_and_emptied() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 3000) i"), table);
    goes_there_and_back(&mut pair, &["t"], r#"{"batch_size": 100}"#);
    // A table that is nothing but its key.
    let key = "CREATE TABLE u (a int, b text, PRIMARY KEY (a, b))";
    let mut pair = pair_with(&format!("{key}; INSERT INTO u VALUES (1, 'x'), (1, 'y')"), key);
    goes_there_and_back(&mut pair, &["u"], "{}");
}

const FAMILY: &str = "CREATE TABLE grandparent (id int PRIMARY KEY, name text);
    CREATE TABLE parent (id int PRIMARY KEY, up int NOT NULL REFERENCES grandparent, name text);
    CREATE TABLE child (id int PRIMARY KEY, up int NOT NULL REFERENCES parent, next int REFERENCES child)";

#[test]
fn what_is_missing_here_goes_there_children_first_and_comes_back_parents_first() {
    let mut pair = pair_with(
        &format!(
            "{FAMILY}; INSERT INTO grandparent VALUES (1, 'a'); INSERT INTO parent VALUES (1, 1, 'b'); INSERT INTO child VALUES (1, 1, NULL)"
        ),
        &format!(
            "{FAMILY}; INSERT INTO grandparent SELECT i, 'old' FROM generate_series(1, 9) i;
             INSERT INTO parent SELECT i, i, 'old' FROM generate_series(1, 9) i;
             INSERT INTO child SELECT i, i, nullif(i + 1, 10) FROM generate_series(1, 9) i ORDER BY i DESC"
        ),
    );
    let options = r#"{"max_change_ratio": 1, "delete_missing": true}"#;
    goes_there_and_back(&mut pair, &["child", "parent", "grandparent"], options);
}

#[test]
fn what_the_target_deletes_or_changes_with_a_row_is_not_lost_in_silence() {
    // The child goes with its parent, and nobody asked for that.
    let there = "CREATE TABLE parent (id int PRIMARY KEY, name text);
        CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE)";
    let mut pair = pair_with(
        "CREATE TABLE parent (id int PRIMARY KEY, name text); INSERT INTO parent VALUES (1, 'a')",
        &format!(
            "{there}; INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (1, 1), (2, 2)"
        ),
    );
    let before = (content(&mut pair.there, "parent"), content(&mut pair.there, "child"));
    let options = r#"{"max_change_ratio": 1, "delete_missing": true}"#;
    assert_eq!(deploy(&mut pair.here, "{parent}", options)[0], "applied");
    let listed = "SELECT table_name, key, sqlstate FROM opdb.deployment_errors";
    assert_eq!(rows(&mut pair.here, listed), [["public.parent", r#"{"id": 2}"#, "23503"]]);
    assert_eq!((content(&mut pair.there, "parent"), content(&mut pair.there, "child")), before);
}

#[test]
fn large_values_go_there_and_back() {
    const BYTES: usize = 5_000_000;
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text, b bytea)";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t SELECT i, repeat(md5(i::text) || E'ü\\n''\\\\', {BYTES} / 37), convert_to(repeat(md5(i::text), 1000), 'UTF8')
             FROM generate_series(1, 3) i; INSERT INTO t VALUES (4, 'small', '')"
        ),
        &format!("{table}; INSERT INTO t VALUES (1, repeat('y', {BYTES}), '\\x00'), (4, repeat('z', {BYTES}), NULL)"),
    );
    assert_eq!(
        text(&mut pair.here, &format!("SELECT min(octet_length(a)) >= {BYTES} * 0.95 FROM t WHERE id < 4")),
        "t"
    );
    goes_there_and_back(&mut pair, &["t"], r#"{"max_change_ratio": 1}"#);
}

#[test]
fn several_tables_go_as_one() {
    let tables: Vec<String> = (1..=12).map(|n| format!("t{n}")).collect();
    let create: String =
        tables.iter().map(|t| format!("CREATE TABLE {t} (id int PRIMARY KEY, a text);")).collect();
    let fill: String =
        tables.iter().map(|t| format!("INSERT INTO {t} VALUES (1, '{t}'), (2, 'b');")).collect();
    let mut pair = pair_with(&format!("{create}{fill}"), &create);
    execute(&mut pair.there, "INSERT INTO t7 VALUES (1, 'old'), (9, 'own')");
    let names: Vec<&str> = tables.iter().map(String::as_str).collect();
    goes_there_and_back(&mut pair, &names, r#"{"max_change_ratio": 1, "delete_missing": true}"#);
}
