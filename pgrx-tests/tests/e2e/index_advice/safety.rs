//! What must not be advised, whatever it looks like, and whose code must not run.

use std::time::{Duration, Instant};

use postgres::Client;

use super::hypothetical::create_hypopg;
use super::{advised, advised_where};
use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

fn prepared(sql: &str) -> Client {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, sql);
    client
}

#[test]
fn what_serves_a_foreign_key_of_the_whole_table_is_used() {
    let mut client = prepared(
        "CREATE TABLE ref (id int PRIMARY KEY);
         CREATE TABLE pt (a int REFERENCES ref, b int) PARTITION BY RANGE (b);
         CREATE TABLE pt1 PARTITION OF pt FOR VALUES FROM (0) TO (10);
         CREATE TABLE pt2 PARTITION OF pt FOR VALUES FROM (10) TO (20);
         CREATE INDEX pt1_a ON pt1 (a); CREATE INDEX pt2_a ON pt2 (a)",
    );
    assert!(advised(&mut client).is_empty(), "{:?}", advised(&mut client));
    let refusal = refused(&mut client, "SELECT opdb.drop_advised_index('pt1_a', min_age => '0')");
    assert_eq!(refusal.sqlstate, "55000");
}

#[test]
fn of_two_that_do_the_same_one_stays() {
    let mut client = prepared(
        "CREATE TABLE t (a int, b int);
         CREATE INDEX plain ON t (a); CREATE INDEX carrying ON t (a) INCLUDE (a);
         CREATE TABLE r (a int); CREATE INDEX coarse ON r USING brin (a);
         CREATE INDEX fine ON r USING brin (a) WITH (pages_per_range = 1)",
    );
    let drops = advised_where(&mut client, "'7 days'", "action = 'drop'");
    assert_eq!(drops, ["duplicate drop public.carrying"]);
}

#[test]
fn an_index_in_another_collation_finds_no_foreign_key() {
    let mut client = prepared(
        r#"CREATE TABLE ref (t text PRIMARY KEY); CREATE TABLE c (t text REFERENCES ref);
           CREATE INDEX other ON c (t COLLATE "C");
           CREATE TABLE wide (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE narrow (a int PRIMARY KEY);
           CREATE TABLE both_keys (a int REFERENCES narrow, b int, FOREIGN KEY (a, b) REFERENCES wide)"#,
    );
    // And the index for a longer key serves a shorter one.
    assert_eq!(
        advised_where(&mut client, "'7 days'", "kind = 'unindexed_foreign_key'"),
        [
            "unindexed_foreign_key create public.both_keys_a_b_idx",
            "unindexed_foreign_key create public.c_t_idx",
        ]
    );
}

#[test]
fn what_the_whole_tables_index_covers_is_judged_with_the_whole_table() {
    let mut client = prepared(
        "CREATE TABLE pr (a int, b int) PARTITION BY RANGE (a);
         CREATE TABLE pr1 PARTITION OF pr FOR VALUES FROM (0) TO (100000);
         CREATE INDEX pr_a ON pr (b, a); CREATE INDEX pr1_own ON pr1 (b);
         INSERT INTO pr SELECT i, i FROM generate_series(1, 1000) i; ANALYZE pr;
         SET enable_seqscan = off; SET enable_bitmapscan = off",
    );
    // The partition's own index is scanned, and that of the whole never is.
    execute(
        &mut client,
        "DROP INDEX pr_a; SELECT count(*) FROM pr1 WHERE b = 5; CREATE INDEX pr_a ON pr (b, a)",
    );
    assert_eq!(advised(&mut client), ["unused drop public.pr_a"]);
    let refusal = refused(&mut client, "SELECT opdb.drop_advised_index('pr1_own', min_age => '0')");
    assert_eq!(refusal.sqlstate, "55000", "what covers it goes itself");
}

#[test]
fn a_lock_that_no_process_holds_is_not_waited_for() {
    let mut client = prepared(
        "CREATE TABLE p (a int, b text); CREATE INDEX p1 ON p (a); CREATE INDEX p2 ON p (a);
         CREATE TABLE q (a int); CREATE INDEX q1 ON q (a); CREATE INDEX q2 ON q (a)",
    );
    let name = text(&mut client, "SELECT current_database()");
    execute(
        &mut client,
        &format!("BEGIN; LOCK TABLE p IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock {name}'"),
    );
    let duplicates = advised_where(&mut client, "'7 days'", "kind = 'duplicate'");
    execute(&mut client, &format!("ROLLBACK PREPARED 'lock {name}'"));
    assert_eq!(duplicates, ["duplicate drop public.q2"]);
}

#[test]
fn a_partitioned_index_is_dropped_within_two_seconds_or_not_at_all() {
    let mut client = prepared(
        "CREATE TABLE pp (a int, b int) PARTITION BY RANGE (a);
         CREATE TABLE pp1 PARTITION OF pp FOR VALUES FROM (0) TO (1);
         CREATE TABLE pp2 PARTITION OF pp FOR VALUES FROM (1) TO (2);
         CREATE INDEX pp_b ON pp (b)",
    );
    let name = text(&mut client, "SELECT current_database()");
    let mut reader = on_test(&name);
    execute(&mut reader, "BEGIN; SELECT FROM pp2");
    let started = Instant::now();
    let refusal = refused(&mut client, "SELECT opdb.drop_advised_index('pp_b', min_age => '0')");
    assert_eq!(refusal.sqlstate, "55P03", "{refusal:?}");
    // One time for all of them, and not for each.
    assert!(started.elapsed() < Duration::from_secs(10));
    execute(&mut reader, "COMMIT");
    execute(&mut client, "SELECT opdb.drop_advised_index('pp_b', min_age => '0')");
}

/// Something that tells whether the expression of a view or a policy was evaluated while a statement was planned.
const TRAP: &str = "CREATE DOMAIN trap AS text CHECK (pg_catalog.pg_try_advisory_lock(4711) IS NOT NULL);
    CREATE TYPE bait AS (a trap)";
const EXPRESSION: &str = "x <= (pg_catalog.jsonb_populate_record(NULL::bait, '{\"a\": \"1\"}')).a";
const CAUGHT: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711";

#[test]
fn nothing_is_planned_that_became_a_view_or_got_a_policy() {
    let mut client = on_test(&database(&servers().test));
    if !create_hypopg(&mut client) {
        return;
    }
    execute(
        &mut client,
        "CREATE EXTENSION pg_stat_statements;
         CREATE TABLE orders (x text) WITH (autovacuum_enabled = off);
         INSERT INTO orders SELECT i::text FROM generate_series(1, 50000) i; ANALYZE orders;
         CREATE TABLE others AS TABLE orders; ANALYZE others;
         SELECT count(*) FROM orders WHERE x = 'a'; SELECT count(*) FROM others WHERE x = 'b'",
    );
    let missing = "SELECT count(*) FROM opdb.index_advice() WHERE kind = 'missing'";
    assert_ne!(text(&mut client, missing), "0", "the statements are slow enough to be tried");
    let name = text(&mut client, "SELECT current_database()");
    // A temporary view of the caller's, of the name that the superuser's statement has.
    let reader = role(&servers().test, &["opdb_reader"]);
    execute(&mut client, "GRANT CREATE ON SCHEMA public TO PUBLIC");
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    execute(&mut session, TRAP);
    let view = |what: &str| format!("CREATE {what} AS SELECT x FROM b WHERE {EXPRESSION}");
    execute(&mut session, "CREATE TEMP TABLE b (x text); INSERT INTO b VALUES ('1'), ('2')");
    execute(&mut session, &view("TEMP VIEW orders"));
    execute(&mut session, missing);
    assert_eq!(text(&mut session, CAUGHT), "0");
    // A view in the place of the table, and a policy on the other one.
    execute(&mut client, "ALTER TABLE orders RENAME TO b");
    execute(&mut client, &view("VIEW orders"));
    execute(
        &mut client,
        &format!(
            "ALTER TABLE others ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON others USING ({EXPRESSION})"
        ),
    );
    assert_eq!(text(&mut client, missing), "0");
    assert_eq!(text(&mut client, CAUGHT), "0");
    // The trap works.
    execute(&mut client, "EXPLAIN SELECT count(*) FROM orders WHERE x = 'a'");
    assert!(rows(&mut client, CAUGHT)[0][0] != "0");
}
