//! What needs VACUUM, why, whether it would help, and who is in the way.

mod blocked;

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use opdb_e2e::cluster::Cluster;
use postgres::Client;

use crate::fixture::{database, execute, installation, on_test, refused, role, rows, servers, text};

/// A session on a database of its own, and its name.
fn scene() -> (String, Client) {
    let name = database(&servers().test);
    let client = on_test(&name);
    (name, client)
}

/// A table that autovacuum leaves alone, vacuumed and analyzed, with rows 1 to `count`.
fn table(client: &mut Client, name: &str, count: u32) {
    change(
        client,
        &format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, a text) WITH (autovacuum_enabled = false);
             INSERT INTO {name} SELECT i, 'row ' || i FROM generate_series(1, {count}) i"
        ),
    );
    execute(client, &format!("VACUUM (FREEZE, ANALYZE) {name}"));
}

/// Runs something and hands its counts to the server at once.
fn change(client: &mut Client, sql: &str) {
    execute(client, sql);
    execute(client, "SELECT pg_stat_force_next_flush()");
}

/// What the plan says of a table; columns without a value are "NULL".
struct Row {
    command: String,
    reason: String,
    blocked_by: String,
    helps: String,
    removable: String,
    dead: String,
    reclaimable: String,
}

#[track_caller]
fn find(client: &mut Client, call: &str, table: &str) -> Option<Row> {
    let sql = format!(
        "SELECT command, reason, blocked_by, helps, removable_rows, dead_rows, reclaimable_bytes
         FROM opdb.{call} WHERE table_name = '{table}'::regclass"
    );
    let mut found = rows(client, &sql);
    assert!(found.len() < 2, "{found:?}");
    let [command, reason, blocked_by, helps, removable, dead, reclaimable] = found.pop()?.try_into().ok()?;
    Some(Row { command, reason, blocked_by, helps, removable, dead, reclaimable })
}

#[track_caller]
fn due(client: &mut Client, table: &str) -> Row {
    let row = find(client, "vacuum_plan()", table);
    assert!(row.is_some(), "{table} is not in the plan");
    row.unwrap()
}

fn is_due(client: &mut Client, table: &str) -> bool {
    find(client, "vacuum_plan()", table).is_some()
}

/// Runs the command of a table in the plan; after that, the table is not in it.
#[track_caller]
fn settle(client: &mut Client, table: &str) {
    let command = due(client, table).command;
    execute(client, &command);
    assert!(!is_due(client, table), "{command}: {}", due(client, table).reason);
}

/// Makes the database older.
fn burn_transaction_ids(client: &mut Client, count: u32) {
    execute(
        client,
        &format!(
            "CREATE TABLE IF NOT EXISTS burnt (a int);
             DO $$ BEGIN FOR i IN 1..{count} LOOP
                 BEGIN INSERT INTO burnt VALUES (NULL); EXCEPTION WHEN division_by_zero THEN NULL; END;
             END LOOP; END $$;
             DROP TABLE burnt"
        ),
    );
}

#[test]
fn dead_rows_are_due_over_the_threshold_and_not_at_it() {
    let (_, mut client) = scene();
    table(&mut client, "t", 1_000);
    // 50 + 0.2 * 1000, and 50 + 0.1 * 1000 to analyze.
    change(&mut client, "DELETE FROM t WHERE id <= 150");
    assert!(!is_due(&mut client, "t"));
    change(&mut client, "DELETE FROM t WHERE id <= 250");
    assert!(!due(&mut client, "t").reason.contains("dead rows"), "250 are not more than 250");
    change(&mut client, "DELETE FROM t WHERE id = 251");
    let row = due(&mut client, "t");
    assert_eq!(row.command, "VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0, ANALYZE) public.t");
    assert_eq!(
        row.reason,
        "251 dead rows, threshold 250; 251 rows changed since the last analyze, threshold 150; \
         autovacuum is off for this table"
    );
    assert_eq!([row.helps, row.removable, row.dead, row.blocked_by], ["t", "251", "251", "NULL"]);
    settle(&mut client, "t");
}

#[test]
fn options_of_a_table_change_its_thresholds() {
    let (_, mut client) = scene();
    for name in ["usual", "own", "toast_of_own"] {
        table(&mut client, name, 1_000);
    }
    execute(
        &mut client,
        "ALTER TABLE own SET (autovacuum_vacuum_threshold = 9, autovacuum_vacuum_scale_factor = 0.001,
                              autovacuum_analyze_threshold = 100000);
         ALTER TABLE toast_of_own SET (toast.autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 3,
                                       toast.autovacuum_vacuum_scale_factor = 0)",
    );
    change(&mut client, "DELETE FROM usual WHERE id <= 11; DELETE FROM own WHERE id <= 11");
    assert!(!is_due(&mut client, "usual"));
    let row = due(&mut client, "own");
    assert_eq!(row.reason, "11 dead rows, threshold 10; autovacuum is off for this table");
    assert!(!row.command.contains("ANALYZE"), "{}", row.command);
    settle(&mut client, "own");

    execute(&mut client, "ALTER TABLE toast_of_own ALTER a SET STORAGE EXTERNAL");
    change(&mut client, "UPDATE toast_of_own SET a = repeat('x', 3000) WHERE id <= 5");
    change(&mut client, "UPDATE toast_of_own SET a = 'x' WHERE id <= 2");
    let row = due(&mut client, "toast_of_own");
    assert!(row.reason.starts_with("4 dead rows in its TOAST table, threshold 3"), "{}", row.reason);
    assert_eq!([row.helps, row.dead], ["t", "11"], "7 old rows and 4 chunks");
    settle(&mut client, "toast_of_own");
}

#[test]
fn inserts_alone_are_due_too() {
    let (_, mut client) = scene();
    table(&mut client, "t", 1_000);
    execute(&mut client, "ALTER TABLE t SET (autovacuum_analyze_threshold = 100000)");
    // 1000 + 0.2 * 1000; from PostgreSQL 18 on, frozen pages do not count, and all of them are.
    let sql = "SELECT CASE WHEN current_setting('server_version_num')::int < 180000 THEN 1200 ELSE 1000 END";
    let threshold: u32 = text(&mut client, sql).parse().unwrap();
    let last = 1_000 + threshold;
    change(&mut client, &format!("INSERT INTO t SELECT i FROM generate_series(1001, {last}) i"));
    assert!(!is_due(&mut client, "t"));
    change(&mut client, "INSERT INTO t VALUES (0)");
    let row = due(&mut client, "t");
    let reason = format!("{} rows inserted since the last vacuum, threshold {threshold}", threshold + 1);
    assert!(row.reason.starts_with(&reason), "{}", row.reason);
    assert_eq!(row.command, "VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) public.t");
    assert_eq!([row.helps, row.removable], ["t", "0"]);
    settle(&mut client, "t");
    execute(&mut client, "ALTER TABLE t SET (autovacuum_vacuum_insert_threshold = -1)");
    change(&mut client, "INSERT INTO t SELECT i FROM generate_series(10001, 20000) i");
    assert!(!is_due(&mut client, "t"), "-1 switches it off");
}

#[test]
fn an_analyze_alone_is_no_vacuum() {
    let (_, mut client) = scene();
    table(&mut client, "t", 1_000);
    change(&mut client, "UPDATE t SET a = 'x' WHERE id <= 151");
    let row = due(&mut client, "t");
    assert_eq!(row.command, "ANALYZE (SKIP_LOCKED) public.t");
    assert_eq!(row.helps, "t");
    settle(&mut client, "t");
}

#[test]
fn a_partitioned_table_that_nobody_analyzes_is_due() {
    let (_, mut client) = scene();
    execute(
        &mut client,
        "CREATE TABLE p (id int) PARTITION BY RANGE (id);
         CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (1000) WITH (autovacuum_enabled = false);
         CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (1000) TO (9000) PARTITION BY RANGE (id);
         CREATE TABLE p_3 PARTITION OF p_2 FOR VALUES FROM (1000) TO (9000) WITH (autovacuum_enabled = false)",
    );
    assert!(!is_due(&mut client, "p"), "empty");
    change(&mut client, "INSERT INTO p SELECT generate_series(990, 1009)");
    let row = due(&mut client, "p");
    let recurses = text(&mut client, "SELECT current_setting('server_version_num')::int < 180000") == "t";
    assert_eq!(row.command, format!("ANALYZE (SKIP_LOCKED) {}public.p", if recurses { "" } else { "ONLY " }));
    assert_eq!(row.reason, "the partitioned table was never analyzed, its partitions hold 20 rows");
    assert_eq!([row.helps, row.reclaimable], ["t", "NULL"]);
    settle(&mut client, "p");
    assert_eq!(is_due(&mut client, "p_2"), !recurses);
    change(&mut client, "INSERT INTO p SELECT generate_series(1010, 1133)");
    execute(&mut client, "ANALYZE p_3");
    let row = due(&mut client, "p");
    assert!(row.reason.starts_with("its partitions hold 124 rows more or less"), "{}", row.reason);
    settle(&mut client, "p");
}

#[test]
fn an_old_table_is_frozen() {
    let (_, mut client) = scene();
    table(&mut client, "t", 10);
    execute(&mut client, "ALTER TABLE t SET (autovacuum_freeze_max_age = 100000)");
    assert!(!is_due(&mut client, "t"));
    burn_transaction_ids(&mut client, 101_000);
    let row = due(&mut client, "t");
    assert_eq!(row.command, "VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0, FREEZE) public.t");
    let expected = "transactions old, VACUUM freezes the whole table from 95000 on; autovacuum forces that from 100000 on";
    assert!(row.reason.contains(expected), "{}", row.reason);
    assert_eq!([&row.helps, &row.blocked_by], ["t", "NULL"]);
    assert_eq!(
        text(&mut client, "SELECT xid_age > 100000 FROM opdb.vacuum_plan() WHERE table_name = 't'::regclass"),
        "t"
    );
    settle(&mut client, "t");
}

#[test]
fn free_space_that_no_row_can_use_is_not_reclaimable() {
    let (_, mut client) = scene();
    let shapes = [
        (
            "padding",
            "a bool, b bigint, c bool, d bigint, e bool, f bigint",
            "",
            "true, i, true, i, true, i",
            50_000,
        ),
        ("wide", "a text", "", "repeat(md5(i::text), 86)", 3_000),
        ("wider", "a text", "", "repeat(md5(i::text), 131)", 3_000),
        ("half_full", "a int, b text", ", fillfactor = 50", "i, 'row ' || i", 50_000),
        ("mostly_null", "a int, b text, c text, d text, e text", "", "i, NULL, NULL, NULL, 'x'", 50_000),
        (
            "dropped",
            "a text, b text, c text, d text, i int",
            "",
            "md5(i::text), md5(i::text), md5(i::text), md5(i::text), i",
            20_000,
        ),
    ];
    for (name, columns, options, values, count) in shapes {
        execute(
            &mut client,
            &format!("CREATE TABLE {name} ({columns}) WITH (autovacuum_enabled = false{options})"),
        );
        if name.starts_with("wide") {
            execute(&mut client, &format!("ALTER TABLE {name} ALTER a SET STORAGE PLAIN"));
        }
        // What is counted after the VACUUM is counted twice.
        change(
            &mut client,
            &format!("INSERT INTO {name} SELECT {values} FROM generate_series(1, {count}) i"),
        );
    }
    execute(&mut client, "ALTER TABLE dropped DROP a, DROP b, DROP c, DROP d");
    execute(&mut client, "VACUUM ANALYZE");
    for (name, ..) in shapes {
        let share = format!(
            "SELECT round(reclaimable_bytes::numeric / table_bytes, 3) FROM opdb.vacuum_plan(true) WHERE table_name = '{name}'::regclass"
        );
        let share: f64 = text(&mut client, &share).parse().unwrap();
        assert!(share < 0.01, "{name}: {share}");
    }
}

#[test]
fn what_was_deleted_is_reclaimable_before_and_after_the_vacuum() {
    let (_, mut client) = scene();
    change(
        &mut client,
        "CREATE EXTENSION pgstattuple;
         CREATE TABLE t (i int, a text) WITH (autovacuum_enabled = false);
         ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, repeat('x', 10 + i % 90) FROM generate_series(1, 100000) i",
    );
    execute(&mut client, "VACUUM ANALYZE t");
    change(&mut client, "DELETE FROM t WHERE i % 2 = 0");
    let before: f64 = due(&mut client, "t").reclaimable.parse().unwrap();
    settle(&mut client, "t");
    let everything = |client: &mut Client| -> f64 {
        find(client, "vacuum_plan(true)", "t").unwrap().reclaimable.parse().unwrap()
    };
    let after = everything(&mut client);
    let free: f64 = text(&mut client, "SELECT free_space FROM pgstattuple('t')").parse().unwrap();
    for found in [before, after] {
        assert!((0.95..1.05).contains(&(found / free)), "before {before}, after {after}, free {free}");
    }
    // TOAST, measured by its own map.
    execute(&mut client, "UPDATE t SET a = repeat('x', 5000) WHERE i <= 1000");
    execute(&mut client, "VACUUM ANALYZE t");
    let filled = everything(&mut client);
    execute(&mut client, "UPDATE t SET a = 'x' WHERE i <= 1000");
    execute(&mut client, "VACUUM (TRUNCATE false) t");
    let toast = everything(&mut client) - filled;
    assert!((2e6..3.2e6).contains(&toast), "{toast} of 500 values of 5000 bytes");
}

#[test]
fn the_remedy_for_free_space_is_named() {
    let (_, mut client) = scene();
    change(
        &mut client,
        "CREATE TABLE t (i int, a text) WITH (autovacuum_enabled = false);
         ALTER TABLE t ALTER a SET STORAGE PLAIN;
         INSERT INTO t SELECT i, repeat('x', 8000) FROM generate_series(1, 14000) i; DELETE FROM t WHERE i % 10 > 0",
    );
    execute(&mut client, "VACUUM (TRUNCATE false) t");
    let row = find(&mut client, "vacuum_plan(true)", "t").unwrap();
    assert!(row.reason.contains("97 MB of its 109 MB are free"), "{}", row.reason);
    assert!(row.reason.contains("VACUUM FULL") && row.reason.contains("pg_repack"), "{}", row.reason);
    assert!(!row.command.contains("FULL"), "{}", row.command);
}

#[test]
fn the_most_needy_comes_first() {
    let (_, mut client) = scene();
    for (name, dead) in [("a_little", 300), ("most", 900), ("more", 600)] {
        table(&mut client, name, 1_000);
        change(&mut client, &format!("DELETE FROM {name} WHERE id <= {dead}"));
    }
    let order = "SELECT table_name FROM opdb.vacuum_plan() WHERE table_name::text !~ '^pg_'";
    assert_eq!(rows(&mut client, order).concat(), ["most", "more", "a_little"]);
    let need = "SELECT need FROM opdb.vacuum_plan() WHERE table_name = 'most'::regclass";
    assert_eq!(text(&mut client, need), "6.000", "of the analyze: 900 of 150");
}

#[test]
fn everything_goes_on_where_it_was_interrupted_and_every_command_runs() {
    let (_, mut client) = scene();
    execute(&mut client, r#"CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."Tä""ble; x" (a int)"#);
    execute(&mut client, "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE UNLOGGED TABLE u (a int)");
    execute(
        &mut client,
        "CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p_1 PARTITION OF p DEFAULT",
    );
    execute(&mut client, "CREATE TEMP TABLE own_temp (a int); CREATE VIEW v AS SELECT 1 AS a");
    let call = "SELECT command, need::numeric, table_name FROM opdb.vacuum_plan(true)";
    let plan = rows(&mut client, call);
    let names: Vec<&str> = plan.iter().map(|row| row[2].as_str()).collect();
    for name in [
        r#""My Schema"."Tä""ble; x""#,
        "m",
        "u",
        "p",
        "p_1",
        "pg_class",
        "pg_database",
        "opdb.own_environment",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    assert!(!names.contains(&"own_temp") && !names.contains(&"v"), "{names:?}");
    for row in &plan {
        assert!(
            row[0].starts_with("VACUUM (SKIP_LOCKED") || row[0].starts_with("ANALYZE (SKIP_LOCKED"),
            "{row:?}"
        );
        execute(&mut client, &row[0]);
        assert_ne!(text(&mut client, &format!("SELECT '{}'::regclass", row[2].replace('\'', "''"))), "NULL");
    }
    // As they were run, so they come again.
    let (done, rest) = plan.split_at(plan.len() / 2);
    for row in rest {
        execute(&mut client, &row[0]);
    }
    let not_due =
        rows(&mut client, call).into_iter().filter(|row| row[1].starts_with("0.")).map(|row| row[2].clone());
    let not_due: Vec<String> = not_due.collect();
    let first_done = |names: &[Vec<String>]| {
        names.iter().filter_map(|row| not_due.iter().position(|name| *name == row[2])).collect::<Vec<_>>()
    };
    let (done, rest) = (first_done(done), first_done(rest));
    assert!(!done.is_empty() && done.iter().max() < rest.iter().min(), "{done:?} {rest:?}");
}

#[test]
fn a_reader_sees_all_of_it_but_no_query() {
    let (name, mut client) = scene();
    table(&mut client, "t", 1_000);
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'very secret' FROM t");
    change(&mut client, "DELETE FROM t WHERE id <= 600");
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    let row = due(&mut session, "t");
    assert_eq!([&row.helps, &row.removable], ["f", "0"]);
    assert!(row.blocked_by.contains("user postgres") && row.blocked_by.contains("idle in transaction"));
    assert!(!row.blocked_by.contains("secret"), "{}", row.blocked_by);
    assert_eq!(refused(&mut session, "SELECT FROM t").sqlstate, "42501", "it reads no rows for the reader");
    assert!(find(&mut session, "vacuum_plan(true)", "pg_database").is_none(), "it cannot vacuum it");
    assert_eq!(text(&mut session, "SELECT current_user"), reader);

    let nobody = role(&servers().test, &[]);
    let mut session = servers().test.connect(&name, &nobody, &nobody).unwrap();
    assert_eq!(refused(&mut session, "SELECT FROM opdb.vacuum_plan()").sqlstate, "42501");
}

/// On a server of its own, where transaction ids run out after 105,000.
#[test]
fn danger_comes_first_damage_hides_nothing_and_a_standby_can_tell() {
    let settings = [
        ("autovacuum", "off"),
        ("autovacuum_freeze_max_age", "100000"),
        ("vacuum_freeze_table_age", "50000"),
        ("vacuum_failsafe_age", "0"),
    ];
    let cluster = Cluster::start_temporary(&installation(), &settings).unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut client, "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE");
    table(&mut client, "old", 10);
    // Autovacuum would freeze it, even where it is off.
    let mut holder = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut holder, "BEGIN; LOCK TABLE old IN SHARE UPDATE EXCLUSIVE MODE");
    burn_transaction_ids(&mut client, 51_000);
    assert!(due(&mut client, "old").reason.contains("from 50000 on"));
    burn_transaction_ids(&mut client, 55_000);
    table(&mut client, "new", 1_000);
    change(&mut client, "DELETE FROM new WHERE id <= 900");
    let call = "SELECT table_name, need > 2 FROM opdb.vacuum_plan() WHERE table_name IN ('old'::regclass, 'new'::regclass)";
    assert_eq!(rows(&mut client, call), [["old", "t"], ["new", "t"]], "although it is more needy");
    assert!(due(&mut client, "old").reason.starts_with("transaction ids or multixacts run out"));

    let path = text(&mut client, "SELECT pg_relation_filepath('new')");
    execute(
        &mut client,
        "CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p_1 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1)",
    );
    execute(&mut client, "CHECKPOINT");
    drop((client, holder));
    cluster.stop().unwrap();
    let mut file = OpenOptions::new().write(true).open(cluster.data_dir().join(path)).unwrap();
    file.seek(SeekFrom::Start(8)).unwrap();
    file.write_all(&[0xFF; 12]).unwrap();
    cluster.start_again().unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    let row = due(&mut client, "new");
    assert!(row.reason.contains("not measured: invalid page in block 0"), "{}", row.reason);
    assert_eq!([row.helps, row.removable], ["NULL", "NULL"]);
    drop(client);

    cluster.restart_as_standby().unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    let row = due(&mut client, "p");
    assert_eq!([row.helps.as_str(), &row.dead, &row.reclaimable], ["f", "NULL", "NULL"]);
    assert_eq!(row.blocked_by, "this server is a standby: run it on the primary");
}
