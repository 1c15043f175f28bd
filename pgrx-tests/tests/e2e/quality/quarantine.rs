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

/// A copy that is less than the row must not take its place.
#[test]
fn nothing_of_a_row_is_lost_on_the_way() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE p (id int, v int); CREATE TABLE c (extra text) INHERITS (p); INSERT INTO c VALUES (3, -3, 'precious');
           CREATE TABLE q (id int PRIMARY KEY, v numeric(10, 2), s varchar(5)); INSERT INTO q VALUES (1, -1.25, 'a');
           SELECT opdb.add_quality_rule(t::regclass, 'accuracy', 'range', '{v}', '{"min": 0}') FROM unnest('{p,q}'::text[]) t"#,
    );
    let quarantine = |client: &mut Client, table: &str| {
        let run = text(client, &format!("SELECT run_id FROM opdb.quality_score('{table}')"));
        format!("SELECT copied, deleted FROM opdb.quarantine_failures({run}, NULL, true)")
    };
    let of_children = quarantine(&mut client, "p");
    let refusal = refused(&mut client, &of_children);
    assert_eq!(refusal.sqlstate, "0A000");
    assert!(refusal.message.contains(r#"child public.c has the column "extra""#), "{refusal:?}");

    let first = quarantine(&mut client, "q");
    assert_eq!(rows(&mut client, &first), [["1", "1"]]);
    for change in
        ["ALTER v TYPE numeric(12, 6)", "ALTER s TYPE text", r#"ALTER s TYPE varchar(5) COLLATE "C""#]
    {
        execute(
            &mut client,
            &format!("BEGIN; ALTER TABLE q {change}; INSERT INTO q VALUES (3, -1.234567, 'b')"),
        );
        let again = quarantine(&mut client, "q");
        assert_eq!(refused(&mut client, &again).sqlstate, "42804", "{change}");
        execute(&mut client, "ROLLBACK");
    }
}

#[test]
fn a_partition_that_is_gone_does_not_keep_the_others_from_it() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE p (d int, v int) PARTITION BY LIST (d);
           CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
           INSERT INTO p VALUES (1, -1), (1, 1), (2, -2), (2, 2);
           SELECT opdb.add_quality_rule('p', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('p')");
    execute(&mut client, "DROP TABLE p2");
    let moved = format!("SELECT copied, skipped FROM opdb.quarantine_failures({run})");
    assert_eq!(rows(&mut client, &moved), [["1", "1"]]);
}

#[test]
fn all_copies_go_whatever_else_raises_an_error() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int, v int);
           INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 8, 0), (4, 9, 1);
           SELECT opdb.add_quality_rule('t', 'integrity', 'unique', '{a}'),
                  opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "10 / v > 0"}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    execute(
        &mut client,
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         BEGIN; CREATE TRIGGER k BEFORE DELETE ON t FOR EACH ROW WHEN (old.id = 2) EXECUTE FUNCTION keep()",
    );
    let moved = format!("SELECT copied, deleted, skipped FROM opdb.quarantine_failures({run}, NULL, true)");
    assert_eq!(refused(&mut client, &moved).sqlstate, "55000");
    execute(&mut client, "ROLLBACK");
    assert_eq!(rows(&mut client, &moved), [["3", "3", "0"]]);
    assert_eq!(rows(&mut client, "SELECT id FROM t").concat(), ["4"]);
}

#[test]
fn values_are_compared_as_their_types_do() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TYPE en AS ENUM ('x', 'a'); CREATE DOMAIN de AS en;
           CREATE TABLE parent (k de PRIMARY KEY); INSERT INTO parent VALUES ('x');
           CREATE TABLE t (k de, id de PRIMARY KEY); INSERT INTO t VALUES ('x', 'x'), ('x', 'a');
           SELECT opdb.add_quality_rule('t', 'integrity', 'unique', '{k}'),
                  opdb.add_quality_rule('t', 'integrity', 'foreign_key', '{id}', '{"table": "public.parent", "columns": ["k"]}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let counts = format!(
        "SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id IS NOT NULL ORDER BY rule_id"
    );
    assert_eq!(rows(&mut client, &counts).concat(), ["0/2", "1/2"]);
    let moved = format!("SELECT copied, deleted, skipped FROM opdb.quarantine_failures({run}, NULL, true)");
    assert_eq!(rows(&mut client, &moved), [["2", "2", "0"]]);
}

/// What another row raises says nothing of one that was put right.
#[test]
fn rows_that_were_put_right_stay_whatever_others_raise() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'x'), (2, '7'), (3, '5');
           CREATE TABLE u (id int PRIMARY KEY, a int, x int); INSERT INTO u VALUES (1, 1, 1), (2, 1, 1), (4, 7, 1), (5, 7, 1);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "s::int > 6"}'),
                  opdb.add_quality_rule('u', 'consistency', 'unique', '{a}', '{"where": "10 / x > 0"}')"#,
    );
    let runs = ["t", "u"]
        .map(|table| text(&mut client, &format!("SELECT run_id FROM opdb.quality_score('{table}')")));
    execute(
        &mut client,
        "UPDATE t SET s = '8' WHERE id = 3; INSERT INTO t VALUES (4, 'y');
         UPDATE u SET a = 5 WHERE id = 2; INSERT INTO u VALUES (3, 9, 0)",
    );
    execute(&mut client, "ANALYZE t; ANALYZE u");
    for run in runs {
        let moved =
            format!("SELECT copied, deleted, skipped FROM opdb.quarantine_failures({run}, NULL, true)");
        assert_eq!(rows(&mut client, &moved), [["1", "1", "1"]]);
    }
    assert_eq!(rows(&mut client, "SELECT id FROM t ORDER BY id").concat(), ["2", "3", "4"]);
    assert_eq!(rows(&mut client, "SELECT id FROM u ORDER BY id").concat(), ["1", "2", "3", "4"]);
}
