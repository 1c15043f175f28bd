//! Many strays leave the default partition in batches, while it is read and written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{StopAtEnd, done, maintain, names, new_session, status};
use crate::fixture::{execute, on_test, refused, role, rows, servers, text};

/// 60,000 rows of five days, and such as have no place: ahead, NULL and infinite ones.
const STRAYS: &str = "
    CREATE TABLE t (id bigint NOT NULL, at timestamptz, n int NOT NULL DEFAULT 0, twice int GENERATED ALWAYS AS (n * 2) STORED)
        PARTITION BY RANGE (at);
    CREATE UNIQUE INDEX t_key ON t (id, at);
    CREATE TABLE t_default PARTITION OF t DEFAULT;
    INSERT INTO t SELECT i, now() - (i % 5) * interval '1 day' FROM generate_series(1, 60000) i;
    INSERT INTO t VALUES (-1, '2097-01-01'), (-2, 'infinity'), (-3, '2097-01-02');
    ANALYZE t;";
const MANAGE: &str = "SELECT opdb.manage_partitions('t', premake => 2)";

fn strays() -> String {
    STRAYS.replace("at timestamptz,", "at timestamptz NOT NULL,")
}

fn nothing_is_left(client: &mut postgres::Client) {
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'opdb\\_%' AND relnamespace = 'public'::regnamespace";
    assert_eq!(text(client, left), "0");
    let checks = "SELECT string_agg(conrelid::regclass || ' ' || conname, ',') FROM pg_constraint WHERE contype = 'c' AND conname LIKE 'opdb%' AND connamespace = 'public'::regnamespace";
    assert_eq!(text(client, checks), "NULL");
    assert_eq!(text(client, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'opdb\\_capture%'"), "0");
    assert_eq!(text(client, "SELECT count(*) FROM opdb.partition_conversion"), "0");
}

#[test]
fn readers_and_writers_go_on_while_many_rows_move() {
    let (mut client, name) = new_session();
    execute(&mut client, &strays());
    execute(&mut client, MANAGE);
    let stop = AtomicBool::new(false);
    let (updates, inserts, longest) = thread::scope(|scope| {
        let readers = ["READ COMMITTED", "REPEATABLE READ"].map(|isolation| {
            let (name, stop) = (&name, &stop);
            scope.spawn(move || {
                let (mut reader, mut longest) = (on_test(name), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let sql = format!(
                        "BEGIN ISOLATION LEVEL {isolation}; SELECT 1;
                         SELECT count(*) || ' ' || sum(id) FROM t WHERE id > 100 AND id <= 60000; COMMIT"
                    );
                    let found = rows(&mut reader, &sql).pop().unwrap();
                    assert_eq!(found, ["59900 1800024950"], "{isolation}");
                    longest = longest.max(begun.elapsed());
                }
                longest
            })
        });
        let updater = scope.spawn(|| {
            let (mut session, mut updates) = (on_test(&name), 0);
            while !stop.load(Ordering::Relaxed) {
                for id in 1..=10 {
                    let sql = format!("UPDATE t SET n = n + 1 WHERE id = {id}");
                    assert_eq!(session.execute(&sql, &[]).unwrap(), 1, "row {id}");
                    updates += 1;
                }
            }
            updates
        });
        let inserter = scope.spawn(|| {
            let (mut session, mut inserts) = (on_test(&name), 0);
            while !stop.load(Ordering::Relaxed) {
                let id = 100_000 + inserts;
                let sql = format!("INSERT INTO t VALUES ({id}, now() - {} * interval '1 day')", inserts % 5);
                assert_eq!(session.execute(&sql, &[]).unwrap(), 1);
                if inserts % 35 == 7 {
                    // To another day, and away.
                    let sql = format!("UPDATE t SET at = at - interval '1 day' WHERE id = {id}");
                    assert_eq!(session.execute(&sql, &[]).unwrap(), 1);
                }
                inserts += 1;
            }
            inserts
        });
        let stopped = StopAtEnd(&stop);
        thread::sleep(Duration::from_millis(200));
        maintain(&mut client);
        thread::sleep(Duration::from_millis(200));
        drop(stopped);
        let longest = readers.map(|it| it.join().unwrap()).into_iter().max().unwrap();
        (updater.join().unwrap(), inserter.join().unwrap(), longest)
    });
    println!("{updates} updates, {inserts} inserts, the longest read {longest:?}");
    let moved =
        done(&mut client, "t").into_iter().filter(|it| it.starts_with("move_rows")).collect::<Vec<_>>();
    assert_eq!(moved, ["move_rows t_default done"], "{}", status(&mut client, "t", "last_error"));
    assert_eq!(text(&mut client, "SELECT sum(n) FROM t"), updates.to_string());
    assert_eq!(text(&mut client, "SELECT sum(twice) FROM t"), (2 * updates).to_string());
    let inserted = "SELECT count(*) || ' ' || count(DISTINCT id) FROM t WHERE id >= 100000";
    assert_eq!(text(&mut client, inserted), format!("{inserts} {inserts}"));
    assert_eq!(text(&mut client, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t_default"), "-3,-2,-1");
    assert_eq!(names(&mut client, "t").len(), 1 + 5 + 2);
    assert!(updates > 0 && inserts > 0 && longest < Duration::from_secs(2), "{longest:?}");
    nothing_is_left(&mut client);
}

#[test]
fn the_new_default_partition_is_like_the_old_one() {
    let (mut client, _) = new_session();
    let reader = role(&servers().test, &[]);
    execute(&mut client, &strays());
    execute(
        &mut client,
        &format!(
            "GRANT SELECT ON t_default TO {reader}; GRANT UPDATE (n) ON t_default TO {reader}; COMMENT ON TABLE t_default IS 'the rest';
             ALTER TABLE t_default SET (fillfactor = 80); ALTER TABLE t_default REPLICA IDENTITY FULL;
             ALTER TABLE t_default ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON t_default USING (n >= 0);
             CREATE INDEX t_default_n ON t_default (n); INSERT INTO t VALUES (-9, '2097-01-01')"
        ),
    );
    execute(&mut client, MANAGE);
    let look = "SELECT c.relname, c.relacl::text, c.reloptions::text, c.relreplident, c.relrowsecurity, obj_description(c.oid), c.relowner::text,
            (SELECT string_agg(attname || attacl::text, ',') FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL),
            (SELECT string_agg(polname || pg_get_expr(polqual, polrelid), ',') FROM pg_policy WHERE polrelid = c.oid),
            (SELECT string_agg(indexdef, ',' ORDER BY indexname) FROM pg_indexes WHERE tablename = 't_default' AND indexname NOT LIKE '%_n%'),
            (SELECT count(*)::text FROM pg_index WHERE indrelid = c.oid)
        FROM pg_class c WHERE c.oid = 't_default'::regclass";
    let before = rows(&mut client, look);
    let planned = rows(
        &mut client,
        "SELECT action, partition, note LIKE '60000 rows into 5 partitions, in batches%' FROM opdb.plan_partitions('t') WHERE action = 'move_rows'",
    );
    assert_eq!(planned, [["move_rows", "public.t_default", "t"]]);
    let skipped = rows(
        &mut client,
        "SELECT status, detail LIKE '%CALL opdb.run_partition_maintenance%' FROM opdb.run_partitions('t') WHERE action = 'move_rows'",
    );
    assert_eq!(skipped, [["skipped", "t"]]);
    maintain(&mut client);
    assert_eq!(rows(&mut client, look), before);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t_default"), "4");
    assert_eq!(text(&mut client, "SELECT count(*) || ' ' || count(DISTINCT id) FROM t"), "60004 60004");
    assert_eq!(
        text(
            &mut client,
            "SELECT count(*) FROM opdb.partition_drift('t') WHERE partition NOT LIKE '%default'"
        ),
        "0"
    );
    nothing_is_left(&mut client);
}

#[test]
fn what_cannot_be_moved_in_batches_is_moved_at_once() {
    for more in [
        "DROP INDEX t_key",
        "CREATE VIEW v AS SELECT * FROM t_default",
        "CREATE PUBLICATION p FOR TABLE t WITH (publish = insert)",
    ] {
        let (mut client, _) = new_session();
        execute(&mut client, &strays());
        execute(&mut client, more);
        execute(&mut client, MANAGE);
        maintain(&mut client);
        let moved = done(&mut client, "t").into_iter().filter(|it| it.starts_with("move_rows")).count();
        assert_eq!((moved, text(&mut client, "SELECT count(*) FROM t_default").as_str()), (5, "3"), "{more}");
        assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.partition_conversion"), "0");
    }
}

#[test]
fn attaching_scans_nothing() {
    let (mut client, name) = new_session();
    execute(&mut client, &strays());
    execute(&mut client, MANAGE);
    // A snapshot keeps the partitions from taking their places; all else is done.
    let mut older = on_test(&name);
    execute(&mut older, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    let step = "SELECT status, detail IS NULL FROM opdb.run_partition_task('t', '\"move_in_batches\"', true)";
    while rows(&mut client, step) == [["continues", "t"]] {}
    let progress = "SELECT kind, state, rows_copied FROM opdb.partition_conversions";
    assert_eq!(rows(&mut client, progress), [["default", "applying", "60003"]]);
    // Waited for too long, it has failed, and nothing is lost.
    let waited =
        step.replace("detail IS NULL", "blockers LIKE '%has a snapshot%'").replace("true)", "false)");
    assert_eq!(rows(&mut client, &waited), [["failed", "t"]]);
    drop(older);
    let tables = text(
        &mut client,
        "SELECT string_agg(inhrelid::text, ',') FROM pg_inherits
         WHERE inhparent = (SELECT target FROM opdb.partition_conversion) AND inhrelid::regclass::text NOT LIKE 'pg_%'",
    );
    let scans = format!("SELECT sum(seq_scan) FROM pg_stat_all_tables WHERE relid IN ({tables})");
    let mut scanned = || {
        execute(&mut client, "SELECT pg_stat_force_next_flush()");
        text(&mut client, &scans)
    };
    let before = scanned();
    let begun = Instant::now();
    let swapped = rows(&mut on_test(&name), step);
    println!("the swap took {:?}", begun.elapsed());
    assert_eq!(swapped, [["done", "f"]]);
    assert_eq!(scanned(), before);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t_default"), "3");
    nothing_is_left(&mut client);
}

#[test]
fn what_changes_meanwhile_begins_anew_and_a_move_can_be_cancelled() {
    let (mut client, _) = new_session();
    execute(&mut client, &strays());
    execute(&mut client, MANAGE);
    let step = "SELECT status FROM opdb.run_partition_task('t', '\"move_in_batches\"', true)";
    for _ in 0..3 {
        assert_eq!(rows(&mut client, step), [["continues"]]);
    }
    assert_eq!(refused(&mut client, "CALL opdb.partition_table('t_default', 'at')").sqlstate, "42809");
    execute(&mut client, "SELECT opdb.cancel_partition_table('t_default')");
    nothing_is_left(&mut client);
    for _ in 0..3 {
        assert_eq!(rows(&mut client, step), [["continues"]]);
    }
    execute(
        &mut client,
        "ALTER TABLE t ADD more int; UPDATE t SET more = 1 WHERE id = 7; DELETE FROM t WHERE id = 8",
    );
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT count(*) || ' ' || sum(more) FROM t"), "60002 1");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t_default"), "3");
    nothing_is_left(&mut client);
}
