//! Partitions are scored one by one, and not again while they stay as they are.

use postgres::Client;

use crate::fixture::{database, execute, on_test, rows, servers, text};

/// Three days of events, all pages marked as visible to all.
fn events() -> Client {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int NOT NULL, day date NOT NULL, v int, name text) PARTITION BY RANGE (day);
           CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2024-01-02');
           CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM ('2024-01-02') TO ('2024-01-03');
           CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM ('2024-01-03') TO ('2024-01-04');
           INSERT INTO t SELECT i, '2024-01-01'::date + i % 3, i, 'n' FROM generate_series(1, 300) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 10}');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_blank', '{name}')"#,
    );
    vacuum(&mut client);
    client
}

fn vacuum(client: &mut Client) {
    for partition in ["t_1", "t_2", "t_3"] {
        execute(client, &format!("VACUUM (FREEZE, INDEX_CLEANUP on, DISABLE_PAGE_SKIPPING) {partition}"));
    }
}

/// The run, and which partitions it read.
fn score(client: &mut Client) -> (String, Vec<String>) {
    let before = text(client, "SELECT coalesce(max(scan_id), 0) FROM opdb.quality_scan");
    let run = text(client, "SELECT run_id FROM opdb.quality_score('t')");
    let read =
        format!("SELECT table_name::text FROM opdb.quality_scan WHERE scan_id > {before} ORDER BY scan_id");
    (run, rows(client, &read).concat())
}

fn counts(client: &mut Client, run: &str) -> Vec<Vec<String>> {
    let sql = format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id = 1");
    let mut counts = rows(client, &sql);
    counts.extend(rows(client, &format!("SELECT count(*) FROM opdb.quality_failures({run}, 1)")));
    counts
        .extend(rows(client, &format!("SELECT digest FROM opdb.quality_history('t') WHERE run_id = {run}")));
    counts
}

#[test]
fn a_partition_that_did_not_change_is_not_read_again() {
    let mut client = events();
    let (first, read) = score(&mut client);
    assert_eq!(read, ["t_1", "t_2", "t_3"]);
    let (again, read) = score(&mut client);
    assert!(read.is_empty(), "{read:?}");
    assert_eq!(counts(&mut client, &first), counts(&mut client, &again));
    assert_eq!(counts(&mut client, &again)[..2], [["291/300"], ["9"]]);

    execute(&mut client, "UPDATE t SET v = 0 WHERE id = 99");
    let (changed, read) = score(&mut client);
    assert_eq!(read, ["t_1"]);
    assert_eq!(counts(&mut client, &changed)[..2], [["290/300"], ["10"]]);
    assert_ne!(counts(&mut client, &changed)[2], counts(&mut client, &again)[2]);
    // Without VACUUM nobody knows that it did not change once more.
    assert_eq!(score(&mut client).1, ["t_1"]);
    vacuum(&mut client);
    assert_eq!(score(&mut client).1, ["t_1"]);
    assert!(score(&mut client).1.is_empty());
}

#[test]
fn every_way_to_change_a_partition_is_noticed() {
    let mut client = events();
    score(&mut client);
    for (change, partition) in [
        ("INSERT INTO t VALUES (1000, '2024-01-02', 5, 'x')", "t_2"),
        ("DELETE FROM t WHERE id = 1000", "t_2"),
        ("TRUNCATE t_3", "t_3"),
        ("COPY t_3 FROM PROGRAM 'printf \"1\\t2024-01-03\\t5\\tx\\n\"'", "t_3"),
        ("ALTER TABLE t_1 ALTER v SET DEFAULT 3; UPDATE t_1 SET v = DEFAULT WHERE id = 3", "t_1"),
        // The rows come back as they were, but nobody can know.
        ("BEGIN; DELETE FROM t_1; ROLLBACK", "t_1"),
    ] {
        for statement in change.split("; ") {
            execute(&mut client, statement);
        }
        vacuum(&mut client);
        let (run, read) = score(&mut client);
        assert_eq!(read, [partition], "{change}");
        let truth = text(&mut client, "SELECT count(*) FILTER (WHERE v >= 10) || '/' || count(v) FROM t");
        assert_eq!(counts(&mut client, &run)[0], [truth], "{change}");
    }
    for change in ["VACUUM FULL t_2", "CLUSTER t_2 USING t_2_id_idx"] {
        execute(&mut client, "CREATE INDEX IF NOT EXISTS t_2_id_idx ON t_2 (id)");
        execute(&mut client, change);
        assert_eq!(score(&mut client).1, ["t_2"], "{change}");
        vacuum(&mut client);
        score(&mut client);
    }
    execute(&mut client, "ALTER TABLE t DROP v; ALTER TABLE t ADD v int DEFAULT 5");
    assert_eq!(score(&mut client).1, ["t_1", "t_2", "t_3"], "another column of that name");
}

/// Another session's change that is not committed yet is not seen, and not forgotten either.
#[test]
fn a_change_that_is_committed_later_is_noticed() {
    let mut client = events();
    score(&mut client);
    let name = text(&mut client, "SELECT current_database()");
    let mut other = on_test(&name);
    execute(&mut other, "BEGIN; UPDATE t SET v = 0 WHERE id = 99");
    let (during, read) = score(&mut client);
    assert_eq!(read, ["t_1"]);
    assert_eq!(counts(&mut client, &during)[0], ["291/300"]);
    execute(&mut other, "COMMIT");
    let (after, read) = score(&mut client);
    assert_eq!(read, ["t_1"]);
    assert_eq!(counts(&mut client, &after)[0], ["290/300"]);
}

#[test]
fn other_rules_and_rules_that_look_elsewhere_are_measured_anew() {
    let mut client = events();
    score(&mut client);
    execute(&mut client, r#"SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"max": 100}')"#);
    assert_eq!(score(&mut client).1.len(), 3);
    assert!(score(&mut client).1.is_empty());
    execute(
        &mut client,
        r#"SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "day < now()"}')"#,
    );
    assert_eq!(score(&mut client).1.len(), 3);
    assert_eq!(score(&mut client).1.len(), 3, "what depends on the time is never the same");
}

#[test]
fn a_key_that_contains_the_partition_key_is_looked_for_in_each_partition() {
    let mut client = events();
    execute(
        &mut client,
        r#"INSERT INTO t VALUES (3, '2024-01-01', 5, 'x'), (3, '2024-01-02', 5, 'x');
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{id,day}');
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{id}')"#,
    );
    let run = score(&mut client).0;
    let unique =
        format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule = 'unique'");
    assert_eq!(rows(&mut client, &unique), [["301/302"], ["300/302"]]);
}

/// Each partition has its own owner, policies and rights: what a query on the parent shows is what counts.
#[test]
fn partitions_that_the_owner_may_not_read_are_read_through_the_parent() {
    let mut client = events();
    let owner = crate::fixture::role(&servers().test, &[]);
    execute(&mut client, &format!("ALTER TABLE t OWNER TO {owner}; DELETE FROM opdb.quality_rule"));
    execute(&mut client, &format!("GRANT SELECT ON t_1 TO {owner}; GRANT USAGE ON SCHEMA public TO {owner}"));
    let run = rows(&mut client, "SELECT rows, accuracy FROM opdb.quality_score('t')");
    assert_eq!(run, [["300", "1.0000"]]);
}

/// What is broken stays broken when nothing is read again.
#[test]
fn a_pass_in_which_a_rule_was_broken_is_not_kept() {
    let mut client = events();
    execute(
        &mut client,
        r#"DELETE FROM opdb.quality_rule;
           INSERT INTO t SELECT i, '2024-01-01', 0, 'n' FROM generate_series(1, 100500) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "100 / v > -1"}')"#,
    );
    vacuum(&mut client);
    for _ in 0..2 {
        let run = rows(&mut client, "SELECT passed, reason FROM opdb.quality_score('t')").remove(0);
        assert_eq!(run[0], "f");
        assert!(run[1].contains("is broken: division by zero"), "{run:?}");
    }
}

/// COPY FREEZE adds rows to pages that are marked, but only to a table that is new in its transaction.
#[test]
fn what_this_transaction_has_made_is_read_each_time() {
    let mut client = events();
    let copy = "COPY t_1 FROM PROGRAM 'printf \"1\\t2024-01-01\\t5\\tx\\n\"' (FREEZE)";
    execute(&mut client, &format!("BEGIN; TRUNCATE t_1; {copy}"));
    let total = "SELECT rows FROM opdb.quality_score('t')";
    assert_eq!(text(&mut client, total), "201");
    execute(&mut client, copy);
    assert_eq!(text(&mut client, total), "202");
    execute(&mut client, "COMMIT");
    assert_eq!(text(&mut client, total), "202");
}

#[test]
fn a_partition_that_is_being_detached_is_not_the_tables_any_more() {
    let mut client = events();
    let name = text(&mut client, "SELECT current_database()");
    let mut reader = on_test(&name);
    execute(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t");
    execute(&mut client, "SET lock_timeout = '100ms'");
    let refusal = crate::fixture::refused(&mut client, "ALTER TABLE t DETACH PARTITION t_3 CONCURRENTLY");
    assert_eq!(refusal.sqlstate, "55P03");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "200");
    assert_eq!(text(&mut client, "SELECT rows FROM opdb.quality_score('t')"), "200");
    execute(&mut reader, "COMMIT");
}

/// What a partition key tells apart can be the same to the column.
#[test]
fn copies_in_two_partitions_are_found_whatever_the_partition_key_compares_by() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
           CREATE TABLE t (id int, k text COLLATE blind) PARTITION BY LIST (k COLLATE "C");
           CREATE TABLE t1 PARTITION OF t FOR VALUES IN ('a'); CREATE TABLE t2 PARTITION OF t FOR VALUES IN ('A');
           INSERT INTO t VALUES (1, 'a'), (2, 'A');
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{k}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let counts =
        format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id = 1");
    assert_eq!(text(&mut client, &counts), "1/2");
}

#[test]
fn temporary_children_of_other_sessions_are_left_out() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "CREATE TABLE t (id int, v int); CREATE TABLE c () INHERITS (t); INSERT INTO c VALUES (1, 1)",
    );
    let mut other = on_test(&name);
    execute(&mut other, "CREATE TEMP TABLE own () INHERITS (t); INSERT INTO own VALUES (2, 2)");
    let score = r#"SELECT rows FROM opdb.quality_score('t', '{"required": ["v"]}')"#;
    assert_eq!((text(&mut client, score), text(&mut other, score)), ("1".into(), "2".into()));
}
