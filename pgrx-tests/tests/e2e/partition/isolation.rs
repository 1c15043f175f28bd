//! Others at work: readers, writers, other runs, tables that cannot be kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use super::{StopAtEnd, done, maintain, names, new_session, status};
use crate::fixture::{execute, on_test, rows, text};

/// Sets as they are when a day has passed: one more partition is wanted.
const ONE_MORE: &str =
    "UPDATE opdb.partition_set SET premake = premake + 1; UPDATE opdb.partition_state SET due_at = NULL";

fn tables(client: &mut Client, tables: &[&str]) {
    for table in tables {
        execute(
            client,
            &format!(
                "CREATE TABLE {table} (id int, at date NOT NULL) PARTITION BY RANGE (at);
                 SELECT opdb.manage_partitions('{table}', premake => 1, retention => '1 year', retention_action => 'drop')"
            ),
        );
    }
}

#[test]
fn the_failure_of_one_table_never_touches_another() {
    let (mut client, name) = new_session();
    tables(&mut client, &["a", "b", "c", "d", "e"]);
    execute(&mut client, ONE_MORE);
    // b has no zone any more, c a name that is taken, d is locked; e is dropped while nobody looks.
    execute(
        &mut client,
        "UPDATE opdb.partition_set SET timezone = 'Nowhere/Land' WHERE parent = 'b'::regclass;
         DO $$ BEGIN EXECUTE format('CREATE TABLE c_%s ()', to_char(current_date + 2, 'YYYY_MM_DD')); END $$",
    );
    let mut blocker = on_test(&name);
    execute(&mut blocker, "BEGIN; LOCK TABLE d IN SHARE UPDATE EXCLUSIVE MODE");
    maintain(&mut client);
    let states =
        rows(&mut client, "SELECT parent, last_status FROM opdb.partition_status ORDER BY 1").concat();
    assert_eq!(states, ["a", "done", "b", "failed", "c", "failed", "d", "failed", "e", "done"]);
    let errors = rows(
        &mut client,
        "SELECT last_error FROM opdb.partition_status WHERE last_status = 'failed' ORDER BY parent",
    )
    .concat();
    assert!(
        errors[0].contains("Nowhere/Land")
            && errors[1].contains("is taken")
            && errors[2].contains("could not lock"),
        "{errors:?}"
    );
    assert_eq!((names(&mut client, "a").len(), names(&mut client, "e").len()), (3, 3));
    // What is repaired is kept again; what was dropped is forgotten.
    execute(&mut blocker, "COMMIT");
    execute(
        &mut client,
        "UPDATE opdb.partition_set SET timezone = 'UTC'; DROP TABLE e;
         DO $$ BEGIN EXECUTE format('DROP TABLE c_%s', to_char(current_date + 2, 'YYYY_MM_DD')); END $$",
    );
    maintain(&mut client);
    let states =
        rows(&mut client, "SELECT parent, last_status FROM opdb.partition_status ORDER BY 1").concat();
    assert_eq!(states, ["a", "done", "b", "done", "c", "done", "d", "done"]);
}

#[test]
fn two_runs_at_once_do_everything_once() {
    let (mut client, name) = new_session();
    tables(&mut client, &["a", "b"]);
    execute(
        &mut client,
        "UPDATE opdb.partition_set SET premake = 40; UPDATE opdb.partition_state SET due_at = NULL;
         DO $$ BEGIN FOR day IN 400 .. 420 LOOP EXECUTE format('CREATE TABLE a%s PARTITION OF a FOR VALUES FROM (%L) TO (%L)',
             day, current_date - day, current_date - day + 1); END LOOP; END $$",
    );
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| maintain(&mut on_test(&name)));
        }
    });
    assert_eq!((names(&mut client, "a").len(), names(&mut client, "b").len()), (41, 41));
    let twice = "SELECT count(*) FROM (SELECT 1 FROM opdb.partition_runs WHERE status = 'done' GROUP BY action, partition HAVING count(*) > 1) x";
    assert_eq!(text(&mut client, twice), "0");
    assert_eq!(
        text(
            &mut client,
            "SELECT string_agg(DISTINCT detail, ' ') FROM opdb.partition_runs WHERE status = 'failed'"
        ),
        "NULL"
    );
    maintain(&mut client);
    assert_eq!(status(&mut client, "a", "last_status || ' ' || unfinished"), "done 0");
}

/// The longest of what is done again and again until it is to stop, and how often.
fn repeat(stop: &AtomicBool, longest: &AtomicU64, mut work: impl FnMut()) -> u64 {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        work();
        longest.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        times += 1;
    }
    times
}

#[test]
fn readers_and_writers_go_on_while_partitions_come_and_go() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, worker int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT;
         CREATE INDEX ON t (worker);
         SELECT opdb.manage_partitions('t', every => '1 hour', premake => 2, start_at => now() - interval '30 hours',
             retention => '30 hours', retention_action => 'drop');
         INSERT INTO t (at, worker) SELECT now() - i * interval '1 minute', 0 FROM generate_series(0, 1700) i",
    );
    let (stop, reads, writes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let written = thread::scope(|scope| {
        for reader in [
            "SELECT count(*) FROM t",
            "SELECT count(*) FROM t_default",
            "SELECT max(at) FROM t WHERE at > now() - interval '1 hour'",
        ] {
            let (name, stop, reads) = (&name, &stop, &reads);
            scope.spawn(move || {
                let mut session = on_test(name);
                repeat(stop, reads, || drop(rows(&mut session, reader)))
            });
        }
        let writers: Vec<_> = (1..=2)
            .map(|worker| {
                let (name, stop, writes) = (&name, &stop, &writes);
                scope.spawn(move || {
                    let mut session = on_test(name);
                    // A reader of the table and of a partition, in both orders, and a midnight inserter into the next one.
                    let sql = format!(
                        "BEGIN; INSERT INTO t (at, worker) VALUES (now(), {worker}), (now() + interval '{worker} hours', {worker}); SELECT count(*) FROM t_default;
                         SELECT count(*) FROM t WHERE at > now() - interval '2 hours'; COMMIT"
                    );
                    repeat(stop, writes, || execute(&mut session, &sql))
                })
            })
            .collect();
        let stopped = StopAtEnd(&stop);
        for round in 1..=12 {
            execute(
                &mut client,
                &format!(
                    "UPDATE opdb.partition_set SET premake = premake + 1, retention = interval '30 hours' - {round} * interval '1 hour'; UPDATE opdb.partition_state SET due_at = NULL"
                ),
            );
            maintain(&mut client);
        }
        drop(stopped);
        writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>()
    });
    let longest = |of: &AtomicU64| Duration::from_micros(of.load(Ordering::Relaxed));
    println!(
        "{written} transactions; longest reader {:?}, longest writer {:?}",
        longest(&reads),
        longest(&writes)
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.partition_runs WHERE status <> 'done'"), "0");
    assert!(done(&mut client, "t").len() > 12 + 20, "{:?}", done(&mut client, "t"));
    // No row lost, none doubled.
    assert_eq!(text(&mut client, "SELECT count(*) FROM t WHERE worker > 0"), (2 * written).to_string());
    assert_eq!(text(&mut client, "SELECT count(*) - count(DISTINCT id) FROM t"), "0");
    // The queue is at most one short turn long; what is above that is a busy machine.
    assert!(longest(&reads) < Duration::from_secs(1), "{reads:?}");
}

#[test]
fn a_long_transaction_makes_nobody_else_wait() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 1)",
    );
    execute(&mut client, ONE_MORE);
    let mut report = on_test(&name);
    execute(&mut report, "BEGIN; SELECT count(*) FROM t");
    let (stop, longest) = (AtomicBool::new(false), AtomicU64::new(0));
    let looks = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut session = on_test(&name);
            repeat(&stop, &longest, || drop(rows(&mut session, "SELECT count(*) FROM t")))
        });
        let stopped = StopAtEnd(&stop);
        maintain(&mut client);
        drop(stopped);
        reader.join().unwrap()
    });
    // Three times two seconds of asking; in a queue behind that nobody could have read more than a few times.
    assert_eq!(status(&mut client, "t", "last_status"), "failed");
    let longest = Duration::from_micros(longest.load(Ordering::Relaxed));
    println!("{looks} looks, the longest {longest:?}");
    assert!(looks > 50 && longest < Duration::from_secs(1), "{looks} {longest:?}");
    execute(&mut report, "COMMIT");
    maintain(&mut client);
    assert_eq!(status(&mut client, "t", "last_status"), "done");
}

#[test]
fn a_run_without_anything_to_do_writes_nothing() {
    let (mut client, _) = new_session();
    tables(&mut client, &["a", "b"]);
    maintain(&mut client);
    let before = text(&mut client, "SELECT pg_current_wal_insert_lsn()");
    let due = "SELECT count(*) FROM opdb.due_partition_sets()";
    assert_eq!(text(&mut client, due), "0");
    maintain(&mut client);
    let ran = text(&mut client, "SELECT count(*) FROM opdb.partition_runs");
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.partition_runs"), ran);
    assert!(!before.is_empty());
    // What somebody changes by hand makes it due: a premade partition dropped, a row in the default partition.
    let ahead = names(&mut client, "a").pop().unwrap();
    execute(&mut client, &format!("DROP TABLE {ahead}"));
    assert_eq!(text(&mut client, due), "1");
    maintain(&mut client);
    execute(
        &mut client,
        "CREATE TABLE b_default PARTITION OF b DEFAULT; SELECT opdb.manage_partitions('b', premake => 1)",
    );
    maintain(&mut client);
    assert_eq!(text(&mut client, due), "0");
    execute(&mut client, "INSERT INTO b VALUES (1, '2001-01-01')");
    execute(&mut client, "SELECT pg_stat_force_next_flush()");
    assert_eq!(text(&mut client, due), "1");
}
