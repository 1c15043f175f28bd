//! The default partition: looked through without a lock, emptied without a reader missing a row.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;

use super::{StopAtEnd, done, maintain, names, new_session, partitions, status};
use crate::fixture::{execute, on_test, refused, rows, text};

/// A default partition of a few hundred pages, with rows long ago.
const LARGE: &str = "
    CREATE TABLE t (id int NOT NULL, at date NOT NULL, filler text) PARTITION BY RANGE (at);
    CREATE TABLE t_default PARTITION OF t DEFAULT;
    INSERT INTO t SELECT i, '2001-01-01', repeat('x', 200) FROM generate_series(1, 12000) i;";

const AHEAD: &str =
    "SELECT count(*) FROM pg_constraint WHERE conrelid = 't_default'::regclass AND contype = 'c'";

#[test]
fn a_large_default_partition_is_not_scanned_under_a_lock() {
    let (mut client, _) = new_session();
    execute(&mut client, LARGE);
    execute(&mut client, "SELECT opdb.manage_partitions('t', premake => 2, retention => '1 year')");
    assert_eq!(names(&mut client, "t"), ["t_default"]);
    let planned = rows(&mut client, "SELECT action, lock FROM opdb.plan_partitions('t')");
    let lock = |place: usize| planned[place][1].as_str();
    let actions: Vec<&str> = planned.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(actions, ["create", "check", "check", "create", "create", "check"]);
    assert_eq!(lock(1), "ACCESS EXCLUSIVE on public.t_default");
    assert_eq!(lock(2), "SHARE UPDATE EXCLUSIVE on public.t_default");
    maintain(&mut client);
    assert_eq!(names(&mut client, "t").len(), 4);
    assert_eq!(text(&mut client, AHEAD), "0", "the check is gone, so that strays are taken again");
    execute(&mut client, "INSERT INTO t VALUES (1, current_date + 30)");
}

#[test]
fn attaching_with_the_check_reads_nothing_of_the_default_partition() {
    let (mut client, _) = new_session();
    execute(&mut client, LARGE);
    execute(&mut client, "SELECT opdb.manage_partitions('t', premake => 1, retention => '1 year')");
    let mut tasks = rows(&mut client, "SELECT task FROM opdb.partition_tasks('t', 'create')").concat();
    assert_eq!(tasks.len(), 5, "{tasks:?}");
    // Rows of today must not be refused: the partition of today is made without.
    let today = tasks.remove(0);
    execute(&mut client, &format!("SELECT opdb.run_partition_task('t', '{today}', false)"));
    let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 't_default'::regclass";
    let mut run = |task: &str| {
        execute(&mut client, &format!("SELECT opdb.run_partition_task('t', '{task}', false)"));
        execute(&mut client, "SELECT pg_stat_force_next_flush()");
        text(&mut client, scans).parse::<i64>().unwrap()
    };
    let before = run(&tasks[0]);
    let validated = run(&tasks[1]);
    let attached = run(&tasks[2]);
    assert!(validated > before, "VALIDATE reads it");
    assert_eq!(attached, validated, "ATTACH does not");
}

#[test]
fn a_check_that_an_interrupted_run_left_is_used_or_taken_away() {
    let (mut client, _) = new_session();
    execute(&mut client, LARGE);
    execute(&mut client, "SELECT opdb.manage_partitions('t', premake => 1, retention => '1 year')");
    let tasks = rows(&mut client, "SELECT task FROM opdb.partition_tasks('t', 'create')").concat();
    execute(&mut client, &format!("SELECT opdb.run_partition_task('t', '{}', false)", tasks[1]));
    assert_eq!(text(&mut client, AHEAD), "1");
    assert_eq!(refused(&mut client, "INSERT INTO t VALUES (1, current_date + 1)").sqlstate, "23514");
    execute(&mut client, "INSERT INTO t VALUES (1, current_date)");
    maintain(&mut client);
    assert_eq!((names(&mut client, "t").len(), text(&mut client, AHEAD).as_str()), (3, "0"));
    // One that serves nothing any more.
    execute(
        &mut client,
        "ALTER TABLE t_default ADD CONSTRAINT opdb_ahead_1_2 CHECK (id > 0) NOT VALID; UPDATE opdb.partition_state SET due_at = NULL",
    );
    maintain(&mut client);
    assert_eq!(text(&mut client, AHEAD), "0");
}

#[test]
fn strays_are_counted_by_day_and_moved_and_those_far_ahead_stay() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at timestamptz, twice int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 1);
         UPDATE opdb.partition_set SET premake = 3;
         INSERT INTO t SELECT i, date_trunc('day', now()) + i * interval '12 hours' FROM generate_series(-10, 20) i",
    );
    let strays = status(
        &mut client,
        "t",
        "(SELECT string_agg(s ->> 'rows', ',') FROM jsonb_array_elements(stray_rows) s)",
    );
    assert_eq!(strays, "2,2,2,2,2,2,2,2,2,2,2,2,2,1");
    assert_eq!(status(&mut client, "t", "default_rows"), "27");
    let digest =
        "SELECT count(*) || ' ' || sum(id) || ' ' || sum(twice) || ' ' || sum(extract(epoch FROM at)) FROM t";
    let before = text(&mut client, digest);
    maintain(&mut client);
    assert_eq!(text(&mut client, digest), before);
    // Five days back, today, and three ahead; days that are not made yet keep their strays.
    assert_eq!(names(&mut client, "t").len(), 1 + 5 + 1 + 3);
    assert_eq!(status(&mut client, "t", "default_rows"), "13");
    let moved = done(&mut client, "t").into_iter().filter(|it| it.starts_with("move_rows")).count();
    assert_eq!(moved, 5 + 2);
}

#[test]
fn a_move_fires_no_trigger_and_no_foreign_key_acts() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE log (what text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (TG_OP); RETURN NULL; END';
         CREATE TABLE t (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT;
         CREATE TABLE child (id int, at date, FOREIGN KEY (id, at) REFERENCES t ON DELETE CASCADE);
         INSERT INTO t SELECT 1, current_date; INSERT INTO child SELECT 1, current_date;
         CREATE TRIGGER note AFTER INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
         SELECT opdb.manage_partitions('t', premake => 0)",
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
    assert_eq!(
        text(&mut client, "SELECT (SELECT count(*) FROM log) || ' ' || (SELECT count(*) FROM child)"),
        "0 1"
    );
    // The foreign key holds for the new partition.
    execute(&mut client, "DELETE FROM t");
    assert_eq!(text(&mut client, "SELECT count(*) FROM child"), "0");
}

#[test]
fn no_reader_misses_a_row_or_sees_one_twice_while_rows_move() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at timestamptz) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT;
         INSERT INTO t SELECT i, now() - (i % 5) * interval '1 day' FROM generate_series(1, 50000) i",
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let isolation = ["READ COMMITTED", "REPEATABLE READ"].map(|isolation| {
            let (name, stop) = (&name, &stop);
            scope.spawn(move || {
                let mut reader = on_test(name);
                let mut looks = 0;
                while !stop.load(Ordering::Relaxed) || looks == 0 {
                    let sql = format!("BEGIN ISOLATION LEVEL {isolation}; SELECT 1; SELECT pg_sleep(0.001); SELECT count(*) || ' ' || sum(id) FROM t; COMMIT");
                    let found = rows(&mut reader, &sql).pop().unwrap();
                    assert_eq!(found, ["50000 1250025000"], "{isolation}");
                    looks += 1;
                }
                looks
            })
        });
        let stopped = StopAtEnd(&stop);
        execute(&mut client, "SELECT opdb.manage_partitions('t', premake => 2)");
        maintain(&mut client);
        drop(stopped);
        for reader in isolation {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
    assert_eq!(partitions(&mut client, "t").len(), 1 + 4 + 3);
}

#[test]
fn a_table_whose_rows_may_not_be_read_is_told_and_does_not_stop_the_others() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE a (at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE b (at date NOT NULL) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions('a', premake => 0); SELECT opdb.manage_partitions('b', premake => 0);
         CREATE TABLE foreign_default (at date NOT NULL) PARTITION BY RANGE (at);
         ALTER TABLE a ATTACH PARTITION foreign_default DEFAULT; CREATE TABLE f PARTITION OF foreign_default DEFAULT;
         INSERT INTO a VALUES ('2001-01-01'); UPDATE opdb.partition_set SET premake = 1",
    );
    maintain(&mut client);
    assert_eq!(status(&mut client, "a", "note"), "the rows of public.foreign_default are not counted");
    assert_eq!(status(&mut client, "a", "default_rows"), "NULL");
    assert_eq!((names(&mut client, "a").len(), names(&mut client, "b").len()), (3, 2));
}

#[test]
fn no_writer_misses_a_row_that_moves_and_none_fails() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at timestamptz, n int NOT NULL DEFAULT 0) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT;
         INSERT INTO t SELECT i, now() - (i % 8) * interval '1 day' FROM generate_series(0, 20000) i",
    );
    let stop = AtomicBool::new(false);
    let (updates, inserts) = thread::scope(|scope| {
        let updater = scope.spawn(|| {
            let mut session = on_test(&name);
            let mut updates = 0;
            while !stop.load(Ordering::Relaxed) {
                for id in 0..8 {
                    let touched =
                        session.execute(&format!("UPDATE t SET n = n + 1 WHERE id = {id}"), &[]).unwrap();
                    assert_eq!(touched, 1, "row {id} was missed");
                    updates += 1;
                }
            }
            updates
        });
        let inserter = scope.spawn(|| {
            let mut session = on_test(&name);
            let mut inserts = 0;
            while !stop.load(Ordering::Relaxed) {
                execute(
                    &mut session,
                    "INSERT INTO t SELECT -1, now() - i * interval '1 day' FROM generate_series(0, 7) i",
                );
                inserts += 8;
            }
            inserts
        });
        let stopped = StopAtEnd(&stop);
        execute(&mut client, "SELECT opdb.manage_partitions('t', premake => 0)");
        maintain(&mut client);
        drop(stopped);
        (updater.join().unwrap(), inserter.join().unwrap())
    });
    assert_eq!(text(&mut client, "SELECT sum(n) FROM t"), updates.to_string());
    assert_eq!(text(&mut client, "SELECT count(*) FROM t WHERE id = -1"), inserts.to_string());
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
}

#[test]
fn a_partition_of_moved_rows_is_like_one_that_was_made_before() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE TABLE kind (id int PRIMARY KEY); INSERT INTO kind VALUES (1);
           CREATE FUNCTION low(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower($1)';
           CREATE TABLE "Odd ""ON ONLY" (id int GENERATED ALWAYS AS IDENTITY, at date NOT NULL, kind int NOT NULL REFERENCES kind, "a b" text,
               long text GENERATED ALWAYS AS ("a b" || 'x') STORED,
               CONSTRAINT "its key" PRIMARY KEY (id, at) INCLUDE (kind), UNIQUE ("a b", at)) PARTITION BY RANGE (at);
           CREATE INDEX "an ""index" ON "Odd ""ON ONLY" (at DESC, "a b" COLLATE "C" text_pattern_ops) WHERE kind > 0;
           CREATE UNIQUE INDEX unique_kind ON "Odd ""ON ONLY" (kind, id, at);
           CREATE INDEX ON "Odd ""ON ONLY" USING hash (lower("a b")); CREATE INDEX ON "Odd ""ON ONLY" USING brin (at) WITH (pages_per_range = 7);
           ALTER TABLE "Odd ""ON ONLY" REPLICA IDENTITY USING INDEX unique_kind;
           CREATE TABLE odd_default PARTITION OF "Odd ""ON ONLY" DEFAULT;
           SELECT opdb.manage_partitions('"Odd ""ON ONLY"', premake => 1)"#,
    );
    let same = |client: &mut Client, days: i32| {
        let insert = format!(
            r#"INSERT INTO "Odd ""ON ONLY" (at, kind, "a b") SELECT current_date - {days}, 1, 'row' || g FROM generate_series(1, 10) g"#
        );
        execute(client, &insert);
        maintain(client);
        assert_eq!(text(client, "SELECT coalesce(last_error, 'none') FROM opdb.partition_status"), "none");
        let of = |client: &mut Client, day: &str| {
            let sql = format!(
                "WITH partition AS (SELECT c.oid, c.relname FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid
                                    WHERE c.relname LIKE 'Odd%' || to_char({day}, 'YYYY_MM_DD')),
                 part (text) AS (
                     SELECT replace(pg_get_indexdef(i.indexrelid), right(p.relname, 10), 'day') || i.indisreplident || i.indisvalid
                            || (SELECT h.inhparent::regclass FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
                     FROM pg_index i JOIN partition p ON p.oid = i.indrelid
                     UNION ALL
                     SELECT replace(k.conname, right(p.relname, 10), 'day') || pg_get_constraintdef(k.oid) || k.convalidated || k.conparentid
                     FROM pg_constraint k JOIN partition p ON p.oid = k.conrelid
                     UNION ALL
                     SELECT t.tgfoid::regproc || t.tgenabled::text || t.tgtype FROM pg_trigger t JOIN partition p ON p.oid = t.tgrelid)
                 SELECT string_agg(text, E'\\n' ORDER BY text) FROM part"
            );
            text(client, &sql)
        };
        let made = of(client, "current_date + 1");
        assert!(made.contains("unique_kind") && made.contains("PRIMARY KEY"), "{made}");
        assert_eq!(of(client, &format!("current_date - {days}")), made);
        assert_eq!(text(client, "SELECT count(*) FROM ONLY odd_default"), "0");
        assert_eq!(
            text(client, "SELECT count(*) FROM opdb.partition_drift() WHERE partition NOT LIKE '%default'"),
            "0"
        );
    };
    let key = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid <> 0 AND convalidated";
    assert_eq!(text(&mut client, key), "3");
    same(&mut client, 3);
    assert_eq!(text(&mut client, key), "4");
    // What only LIKE brings, and what the owner might not be allowed to name, is there from the beginning.
    let own = r#"ALTER TABLE "Odd ""ON ONLY" DROP CONSTRAINT "Odd ""ON ONLY_kind_fkey"; CREATE INDEX ON "Odd ""ON ONLY" (low("a b"))"#;
    execute(&mut client, own);
    same(&mut client, 5);
    execute(&mut client, r#"COMMENT ON INDEX "an ""index" IS 'told'"#);
    same(&mut client, 7);
    let comments = "SELECT count(*) FROM pg_description WHERE description = 'told'";
    assert_eq!(text(&mut client, comments), "2");
}
