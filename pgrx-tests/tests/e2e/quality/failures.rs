//! Which rows failed, and setting them aside.

use postgres::Client;

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

fn keys(client: &mut Client, run: &str, rule: u32) -> Vec<String> {
    rows(client, &format!("SELECT key::text FROM opdb.quality_failures({run}, {rule}) ORDER BY key")).concat()
}

#[test]
fn keys_are_those_of_the_table_whatever_they_are_called() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE "Odd ""name" ("the Key" uuid, "select" timestamptz, "V" int, PRIMARY KEY ("select", "the Key"));
           INSERT INTO "Odd ""name" VALUES ('00000000-0000-0000-0000-000000000001', '2024-05-01 12:00+02', -1);
           SELECT opdb.add_quality_rule('"Odd ""name"', 'accuracy', 'range', '{V}', '{"min": 0}');
           SET timezone = 'Asia/Tokyo'"#,
    );
    let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('"Odd ""name"')"#);
    assert_eq!(
        keys(&mut client, &run, 1),
        [r#"{"select": "2024-05-01T10:00:00+00:00", "the Key": "00000000-0000-0000-0000-000000000001"}"#]
    );
}

#[test]
fn without_a_primary_key_a_unique_one_will_do_and_otherwise_the_place() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE u (a int UNIQUE, b int NOT NULL UNIQUE, v int); INSERT INTO u VALUES (1, 7, -1);
           CREATE TABLE n (a int UNIQUE, v int); INSERT INTO n VALUES (1, 0), (2, -1);
           CREATE VIEW w AS SELECT v FROM n;
           SELECT opdb.add_quality_rule(t::regclass, 'accuracy', 'range', '{v}', '{"min": 0}')
           FROM unnest('{u,n,w}'::text[]) t"#,
    );
    for (table, key) in [("u", r#"{"b": 7}"#), ("n", r#"{"ctid": "(0,2)"}"#), ("w", r#"{"v": -1}"#)] {
        let run = text(&mut client, &format!("SELECT run_id FROM opdb.quality_score('{table}')"));
        let found =
            rows(&mut client, &format!("SELECT key::text FROM opdb.quality_failures({run})")).concat();
        assert_eq!(found, [key], "{table}");
    }
}

#[test]
fn what_fails_together_is_counted() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int, b int);
           INSERT INTO t VALUES (1, 1, 1), (2, NULL, 1), (3, NULL, NULL), (4, NULL, NULL);
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{b}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    assert_eq!(
        rows(&mut client, &format!("SELECT * FROM opdb.quality_failures_together({run})")),
        [["{\"not_null a\",\"not_null b\"}", "{1,2}", "2"], ["{\"not_null a\"}", "{1}", "1"]]
    );
}

/// A key tells what is in the table.
#[test]
fn only_who_may_read_the_table_sees_keys() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        r#"CREATE TABLE t (secret text PRIMARY KEY, a int); INSERT INTO t VALUES ('hidden');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    let failures = format!("SELECT key FROM opdb.quality_failures({run})");
    assert_eq!(refused(&mut session, &failures).sqlstate, "42501");
    assert_eq!(refused(&mut session, "SELECT codes FROM opdb.quality_failure").sqlstate, "42501");
    assert_eq!(refused(&mut session, "SELECT key FROM opdb.quality_failing_row").sqlstate, "42501");
    execute(&mut client, &format!("GRANT SELECT ON t TO {reader}"));
    assert_eq!(text(&mut session, &failures), r#"{"secret": "hidden"}"#);
    execute(&mut client, "ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    let refusal = refused(&mut session, &failures);
    assert_eq!((refusal.sqlstate.as_str(), refusal.message.contains("row security")), ("42501", true));
}

#[test]
fn failures_are_forgotten_in_time_but_never_those_of_the_last_run() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, NULL);
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}')"#,
    );
    let first = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    execute(&mut client, "UPDATE opdb.quality_run SET at = at - interval '31 days'");
    assert_eq!(keys(&mut client, &first, 1).len(), 1);
    let second = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let refusal = refused(&mut client, &format!("SELECT * FROM opdb.quality_failures({first})"));
    assert_eq!(refusal.sqlstate, "55000");
    assert_eq!(keys(&mut client, &second, 1).len(), 1);
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.quality_failure"), "1");
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.quality_history('t')"), "2", "scores stay");
}

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

/// What a query on it would show to one caller is not what its owner sees.
#[test]
fn a_view_that_reads_with_the_rights_of_its_caller_is_scored_by_its_owner_only() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    let reader = role(&servers().test, &["opdb_operator"]);
    execute(
        &mut client,
        &format!(
            "CREATE TABLE b (id int, x int); INSERT INTO b VALUES (1, NULL);
             CREATE VIEW w WITH (security_invoker = true) AS SELECT * FROM b; GRANT SELECT ON w TO {reader}"
        ),
    );
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    assert_eq!(refused(&mut session, "SELECT opdb.quality_score('w')").sqlstate, "42501");
    assert_eq!(text(&mut client, "SELECT rows FROM opdb.quality_score('w')"), "1");
}
