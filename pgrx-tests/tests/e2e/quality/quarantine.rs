//! Setting rows that failed aside.

use postgres::Client;

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

fn planted() -> (Client, String) {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, v int, g int GENERATED ALWAYS AS (id * 2) STORED);
           INSERT INTO t VALUES (1, 'a', 5), (2, 'b', -1), (3, 'c', -2), (4, 'd', NULL), (5, 'd', 5);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 0}', name => 'not negative');
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{name}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    (client, run)
}

const ASIDE: &str =
    "SELECT quarantine_run_id, quarantine_rules, id, name, v, g FROM t_quarantine ORDER BY id";

#[test]
fn rows_are_copied_aside_and_only_deleted_if_asked() {
    let (mut client, run) = planted();
    let moved = rows(&mut client, &format!("SELECT * FROM opdb.quarantine_failures({run}, 1)"));
    assert_eq!(moved, [["public.t_quarantine", "2", "0", "0"]]);
    assert_eq!(
        rows(&mut client, ASIDE),
        [
            [run.as_str(), "{\"not negative\"}", "2", "b", "-1", "4"],
            [run.as_str(), "{\"not negative\"}", "3", "c", "-2", "6"]
        ]
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "5");

    let moved =
        rows(&mut client, &format!(r#"SELECT * FROM opdb.quarantine_failures({run}, "delete" => true)"#));
    assert_eq!(moved, [["public.t_quarantine", "3", "3", "0"]]);
    assert_eq!(rows(&mut client, "SELECT id FROM t ORDER BY id").concat(), ["1", "4"]);
    // Nothing that was set aside before is replaced.
    assert_eq!(
        rows(&mut client, "SELECT id FROM t_quarantine ORDER BY id").concat(),
        ["2", "2", "3", "3", "5"]
    );
    // What was deleted is not there a second time.
    let moved =
        rows(&mut client, &format!(r#"SELECT * FROM opdb.quarantine_failures({run}, "delete" => true)"#));
    assert_eq!(moved, [["public.t_quarantine", "0", "0", "3"]]);
}

#[test]
fn a_row_that_was_put_right_is_left_alone() {
    let (mut client, run) = planted();
    execute(
        &mut client,
        "UPDATE t SET v = 3 WHERE id = 2; DELETE FROM t WHERE id = 4; ALTER TABLE t ADD more int",
    );
    let moved =
        rows(&mut client, &format!(r#"SELECT * FROM opdb.quarantine_failures({run}, "delete" => true)"#));
    // Of 4 and 5, which had the same name, one is left.
    assert_eq!(moved, [["public.t_quarantine", "1", "1", "2"]]);
    assert_eq!(rows(&mut client, "SELECT id FROM t ORDER BY id").concat(), ["1", "2", "5"]);
}

#[test]
fn a_row_that_raises_an_error_is_set_aside_too() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, d int); INSERT INTO t VALUES (1, 1), (2, 0), (3, 5);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "5 / d > 2"}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let moved = rows(&mut client, &format!(r#"SELECT * FROM opdb.quarantine_failures({run}, 1, true)"#));
    assert_eq!(moved, [["public.t_quarantine", "2", "2", "0"]]);
    assert_eq!(rows(&mut client, "SELECT id FROM t").concat(), ["1"]);
}

#[test]
fn a_failure_to_delete_leaves_no_copy() {
    let (mut client, run) = planted();
    execute(&mut client, "CREATE TABLE child (id int REFERENCES t); INSERT INTO child VALUES (2)");
    let quarantine = format!(r#"SELECT * FROM opdb.quarantine_failures({run}, 1, true)"#);
    assert_eq!(refused(&mut client, &quarantine).sqlstate, "23503");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "5");
    assert_eq!(text(&mut client, "SELECT to_regclass('t_quarantine') IS NULL"), "t");
}

#[test]
fn rows_of_partitions_without_a_key_are_found_again() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE SCHEMA "Odd"; CREATE TABLE "Odd".p (k int, v int) PARTITION BY LIST (k);
           CREATE TABLE "Odd"."P 1" PARTITION OF "Odd".p FOR VALUES IN (1);
           CREATE TABLE "Odd"."P 2" PARTITION OF "Odd".p FOR VALUES IN (2);
           INSERT INTO "Odd".p VALUES (1, 1), (1, -1), (2, 2), (2, -2);
           SELECT opdb.add_quality_rule('"Odd".p', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('"Odd".p')"#);
    let moved = rows(&mut client, &format!("SELECT * FROM opdb.quarantine_failures({run}, 1, true)"));
    assert_eq!(moved, [["\"Odd\".p_quarantine", "2", "2", "0"]]);
    assert_eq!(rows(&mut client, r#"SELECT v FROM "Odd".p ORDER BY v"#).concat(), ["1", "2"]);
}

#[test]
fn only_the_owner_sets_rows_aside_and_only_of_tables() {
    let (mut client, run) = planted();
    let name = text(&mut client, "SELECT current_database()");
    let operator = role(&servers().test, &["opdb_operator"]);
    execute(&mut client, &format!("GRANT ALL ON t TO {operator}"));
    let mut session = servers().test.connect(&name, &operator, &operator).unwrap();
    let refusal = refused(&mut session, &format!("SELECT opdb.quarantine_failures({run})"));
    assert_eq!(refusal.sqlstate, "42501");
    execute(
        &mut client,
        r#"CREATE VIEW w AS SELECT * FROM t;
           SELECT opdb.add_quality_rule('w', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('w')");
    assert_eq!(refused(&mut client, &format!("SELECT opdb.quarantine_failures({run})")).sqlstate, "0A000");
    assert_eq!(refused(&mut client, "SELECT opdb.quarantine_failures(4711)").sqlstate, "42704");
    assert_eq!(
        refused(&mut client, &format!("SELECT opdb.quarantine_failures({run}, 4711)")).sqlstate,
        "42704"
    );
}

#[test]
fn rows_only_go_to_a_table_of_the_same_owner_that_keeps_them() {
    let (mut client, run) = planted();
    let somebody = role(&servers().test, &[]);
    let quarantine = format!("SELECT * FROM opdb.quarantine_failures({run}, 1, true)");
    let columns =
        "quarantine_run_id bigint, quarantine_key jsonb, quarantine_rules text[], quarantined_at timestamptz,
                   id int, name text, v int, g int";
    for planted in [
        format!("CREATE TABLE t_quarantine ({columns}); ALTER TABLE t_quarantine OWNER TO {somebody}"),
        format!(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TABLE t_quarantine ({columns});
             CREATE TRIGGER s BEFORE INSERT ON t_quarantine FOR EACH ROW EXECUTE FUNCTION swallow()"
        ),
        format!("CREATE TABLE kept ({columns}); CREATE VIEW t_quarantine AS SELECT * FROM kept"),
    ] {
        execute(&mut client, "BEGIN");
        execute(&mut client, &planted);
        assert_eq!(refused(&mut client, &quarantine).sqlstate, "42501", "{planted}");
        execute(&mut client, "ROLLBACK");
    }
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "5");
}

#[test]
fn a_copy_that_a_rule_does_not_look_at_any_more_is_left_alone() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, k int, active boolean); INSERT INTO t VALUES (1, 7, true), (2, 7, true);
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{k}', '{"where": "active"}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    execute(&mut client, "UPDATE t SET active = false WHERE id = 2");
    let moved =
        rows(&mut client, &format!("SELECT deleted, skipped FROM opdb.quarantine_failures({run}, 1, true)"));
    assert_eq!(moved, [["0", "1"]]);
}

#[test]
fn rows_that_raise_errors_are_found_among_many() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, d int); INSERT INTO t SELECT i, i % 1000 FROM generate_series(1, 20000) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "5 / d > 0"}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    execute(&mut client, "UPDATE t SET d = 1 WHERE id = 1000");
    let moved = rows(&mut client, &format!(r#"SELECT * FROM opdb.quarantine_failures({run}, 1, true)"#));
    // 5 of each thousand are good; one that raised an error was put right.
    assert_eq!(moved, [["public.t_quarantine", "19899", "19899", "1"]]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t WHERE d NOT BETWEEN 1 AND 5"), "0");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t_quarantine WHERE d = 0"), "19");
}

#[test]
fn rows_without_what_the_run_required_are_set_aside() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (2, ' ')",
    );
    let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('t', '{"required": ["a"]}')"#);
    let moved = rows(&mut client, &format!(r#"SELECT * FROM opdb.quarantine_failures({run}, NULL, true)"#));
    assert_eq!(moved, [["public.t_quarantine", "1", "1", "0"]]);
    assert_eq!(rows(&mut client, "SELECT id FROM t").concat(), ["1"]);
}

#[test]
fn columns_may_be_of_any_type_but_not_have_the_names_that_are_taken() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE DOMAIN sure AS text NOT NULL CHECK (VALUE <> '');
           CREATE TABLE t (s sure, k sure, v int, n numeric, "opdb key" int, PRIMARY KEY (k, n));
           INSERT INTO t VALUES ('a', 'b', -1, 1.50), ('c', 'd', 1, 2);
           CREATE TABLE u (id int PRIMARY KEY, quarantine_key int); INSERT INTO u VALUES (1, -1);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 0}');
           SELECT opdb.add_quality_rule('u', 'accuracy', 'range', '{quarantine_key}', '{"min": 0}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let moved =
        rows(&mut client, &format!("SELECT copied, deleted FROM opdb.quarantine_failures({run}, 1, true)"));
    assert_eq!(moved, [["1", "1"]]);
    assert_eq!(rows(&mut client, "SELECT k FROM t").concat(), ["d"]);
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('u')");
    let refusal = refused(&mut client, &format!("SELECT opdb.quarantine_failures({run})"));
    assert_eq!(refusal.sqlstate, "42701");
    assert!(
        refusal.message.contains("quarantine_key") && refusal.message.contains("public.u"),
        "{refusal:?}"
    );
}

#[test]
fn several_may_set_rows_aside_for_the_first_time_at_once() {
    let (mut client, run) = planted();
    let name = text(&mut client, "SELECT current_database()");
    let quarantine = format!("SELECT copied, deleted, skipped FROM opdb.quarantine_failures({run}, 1, true)");
    execute(&mut client, "BEGIN");
    assert_eq!(rows(&mut client, &quarantine), [["2", "2", "0"]]);
    let moved = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rows(&mut on_test(&name), &quarantine));
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while text(&mut on_test(&name), waits) == "0" && !waiting.is_finished() {
            std::thread::yield_now();
        }
        execute(&mut client, "COMMIT");
        waiting.join().unwrap()
    });
    assert_eq!(moved, [["0", "0", "2"]]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t_quarantine"), "2");
}
