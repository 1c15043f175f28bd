//! Tables that somebody alters while they are scored.

use crate::fixture::{database, execute, on_test, refused, rows, servers, text};

const WAITS: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// What a run finds that waits for a transaction which does `change`.
fn scored_after(database: &str, change: &str) -> Vec<String> {
    let mut other = on_test(database);
    execute(&mut other, &format!("BEGIN; {change}"));
    std::thread::scope(|scope| {
        let score = "SELECT run_id, rows FROM opdb.quality_score('t')";
        let waiting = scope.spawn(|| rows(&mut on_test(database), score).remove(0));
        let mut watcher = on_test(database);
        while text(&mut watcher, WAITS) == "0" && !waiting.is_finished() {
            std::thread::yield_now();
        }
        execute(&mut other, "COMMIT");
        waiting.join().unwrap()
    })
}

/// Of a table that was rewritten, an older snapshot shows no row.
#[test]
fn all_rows_are_scored_of_what_is_rewritten_meanwhile() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        r#"CREATE TABLE t (id int, k int, v int) PARTITION BY LIST (k);
           CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);
           INSERT INTO t SELECT i, 1 + i % 2, -i FROM generate_series(1, 100) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": -50}')"#,
    );
    for change in [
        "ALTER TABLE t ALTER id TYPE bigint",
        "TRUNCATE t2; INSERT INTO t2 SELECT i, 2, -60 FROM generate_series(1, 50) i",
    ] {
        let run = scored_after(&name, change);
        assert_eq!(run[1], "100", "{change}");
        let digest = format!("SELECT digest IS NOT NULL FROM opdb.quality_run WHERE run_id = {}", run[0]);
        assert_eq!(text(&mut client, &digest), "t");
    }
}

/// A constraint that is added meanwhile is true of the rows as they are then, not as they were.
#[test]
fn a_new_constraint_proves_nothing_of_older_rows() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, -1), (2, 2);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = scored_after(&name, "DELETE FROM t WHERE v < 0; ALTER TABLE t ADD CHECK (v >= 0)");
    let report = format!(
        "SELECT evidence, passed || '/' || evaluated FROM opdb.quality_report({}) WHERE rule_id = 1",
        run[0]
    );
    assert_eq!(
        (run[1].as_str(), rows(&mut client, &report)),
        ("1", vec![vec!["constraint".into(), "1/1".into()]])
    );
}

/// What a rule or a view reads elsewhere is locked only when it is read.
#[test]
fn all_rows_are_seen_of_other_tables_that_are_rewritten_meanwhile() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        r#"CREATE TABLE ref (id int PRIMARY KEY); INSERT INTO ref SELECT generate_series(1, 10);
           CREATE TABLE own (id int, r int); INSERT INTO own SELECT i, i FROM generate_series(1, 10) i;
           CREATE VIEW t AS SELECT id, r FROM own;
           SELECT opdb.add_quality_rule('t', 'integrity', 'foreign_key', '{r}', '{"table": "public.ref", "columns": ["id"]}')"#,
    );
    for table in ["ref", "own"] {
        let run = scored_after(&name, &format!("ALTER TABLE {table} ADD u uuid DEFAULT gen_random_uuid()"));
        let found = format!(
            "SELECT passed || '/' || evaluated FROM opdb.quality_report({}) WHERE rule_id = 1",
            run[0]
        );
        assert_eq!(text(&mut client, &found), "10/10", "{table}");
    }
    execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class");
    execute(&mut on_test(&name), "TRUNCATE ref; INSERT INTO ref SELECT generate_series(1, 10)");
    assert_eq!(refused(&mut client, "SELECT opdb.quality_score('t')").sqlstate, "40001");
}

#[test]
fn members_are_those_that_are_there_once_they_are_locked() {
    let name = database(&servers().test);
    execute(
        &mut on_test(&name),
        "CREATE TABLE t (id int, v int); CREATE TABLE c1 () INHERITS (t); CREATE TABLE c2 () INHERITS (t);
         INSERT INTO t VALUES (1, 1); INSERT INTO c1 VALUES (2, 2); INSERT INTO c2 VALUES (3, 3)",
    );
    assert_eq!(scored_after(&name, "ALTER TABLE c1 NO INHERIT t")[1], "2");
    assert_eq!(scored_after(&name, "DROP TABLE c2")[1], "1");
}

/// What is attached between two passes of a run would be in one of them.
#[test]
fn a_partition_that_is_attached_during_a_run_is_in_none_of_its_passes() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        r#"CREATE FUNCTION wait_for_lock(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS
               'BEGIN PERFORM pg_advisory_xact_lock_shared(4712); RETURN true; END';
           CREATE TABLE t (d int, v int) PARTITION BY LIST (d); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
           CREATE TABLE t3 PARTITION OF t FOR VALUES IN (3); CREATE TABLE t2 (d int, v int);
           INSERT INTO t SELECT 1, i FROM generate_series(1, 4) i; INSERT INTO t VALUES (3, 9);
           INSERT INTO t2 SELECT 2, i FROM generate_series(1, 4) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "public.wait_for_lock(v)"}'),
                  opdb.add_quality_rule('t', 'consistency', 'unique', '{v}')"#,
    );
    let mut other = on_test(&name);
    execute(&mut other, "SELECT pg_advisory_lock(4712)");
    let run = std::thread::scope(|scope| {
        let score = "SELECT run_id, rows FROM opdb.quality_score('t')";
        let waiting = scope.spawn(|| rows(&mut on_test(&name), score).remove(0));
        let waits =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4712";
        while text(&mut other, waits) == "0" && !waiting.is_finished() {
            std::thread::yield_now();
        }
        execute(
            &mut other,
            "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES IN (2); SELECT pg_advisory_unlock(4712)",
        );
        waiting.join().unwrap()
    });
    assert_eq!(run[1], "5");
    let found =
        format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({}) WHERE rule_id = 2", run[0]);
    assert_eq!(text(&mut client, &found), "5/5");
}

#[test]
fn a_transaction_that_keeps_its_snapshot_is_told() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(&mut client, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class");
    execute(&mut on_test(&name), "ALTER TABLE t ALTER v TYPE bigint");
    let refusal = refused(&mut client, "SELECT opdb.quality_score('t')");
    assert_eq!(refusal.sqlstate, "40001");
    assert!(refusal.message.contains("public.t was altered"), "{refusal:?}");
    execute(&mut client, "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(text(&mut client, "SELECT rows FROM opdb.quality_score('t')"), "1");
}

#[test]
fn what_does_not_change_the_rows_is_no_reason_to_repeat() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE x (id int); INSERT INTO t VALUES (1, 1)",
    );
    execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t");
    execute(
        &mut on_test(&name),
        "CREATE INDEX ON t (v); GRANT SELECT ON t TO PUBLIC; ANALYZE t; TRUNCATE x; CREATE TABLE y (id int)",
    );
    execute(&mut client, "INSERT INTO x VALUES (1); INSERT INTO y VALUES (1)");
    assert_eq!(text(&mut client, "SELECT rows FROM opdb.quality_score('t')"), "1");
}
