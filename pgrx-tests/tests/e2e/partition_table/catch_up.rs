//! Changes that are made while a table is copied come to the new table, all of them and once.

use super::*;

const CALL: &str =
    "CALL opdb.partition_table('events', 'at', options => '{\"weaker_keys\": true, \"wait_seconds\": 1}')";

/// Looks again and again until the condition is true.
fn until(client: &mut Client, condition: &str) {
    let begun = Instant::now();
    while text(client, &format!("SELECT {condition}")) != "t" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{condition}");
    }
}

/// What is applied at a time follows what is left to apply, not only what was asked for.
#[test]
fn writers_who_are_faster_than_a_batch_are_caught_up_with() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (mut client, name) = new_session();
    execute(&mut client, &EVENTS.replace("20000", "2000"));
    let writers: Vec<_> =
        [100_000, 200_000, 300_000].map(|first| (first, write(name.clone(), first, &STOP))).into();
    until(&mut client, "max(value) > 1000 FROM events");
    // It ends if it never catches up.
    execute(&mut client, "SET statement_timeout = '60s'");
    execute(
        &mut client,
        r#"CALL opdb.partition_table('events', 'at', options => '{"weaker_keys": true, "batch_rows": 1}')"#,
    );
    STOP.store(true, Ordering::Relaxed);
    for (first, writer) in writers {
        assert_eq!(writer.join().unwrap(), rows_of(&mut client, first), "rows of the writer from {first}");
    }
    assert_eq!(text(&mut client, "SELECT state FROM opdb.partition_conversions"), "done");
}

#[test]
fn writers_who_cannot_be_caught_up_with_are_told() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (mut client, name) = new_session();
    // A row takes its time where it is applied, and not where it is written.
    execute(
        &mut client,
        &format!(
            "{};
             CREATE FUNCTION slow() RETURNS bool LANGUAGE plpgsql AS $$BEGIN
                 IF current_setting('application_name') = 'converter' THEN PERFORM pg_sleep(0.005); END IF;
                 RETURN true; END$$;
             ALTER TABLE events ADD CHECK (slow()); SET application_name = 'converter'",
            EVENTS.replace("20000", "100")
        ),
    );
    let writers: Vec<_> =
        [100_000, 200_000, 300_000].map(|first| (first, write(name.clone(), first, &STOP))).into();
    let old = with_a_snapshot(&name);
    assert_eq!(refused(&mut client, CALL).sqlstate, "55P03");
    drop(old);
    until(&mut client, "pending_changes > 2000 FROM opdb.partition_conversions");
    let refusal = refused(&mut client, CALL);
    assert_eq!(refusal.sqlstate, "55P03");
    assert!(refusal.whole.contains("changes are made as fast as they are applied, "), "{refusal:?}");
    let pauses = "SELECT pauses FROM opdb.continue_partition_table('events')";
    assert_eq!(text(&mut client, pauses), "f", "it does not rest while it is behind");
    STOP.store(true, Ordering::Relaxed);
    let rows: Vec<_> = writers.into_iter().map(|(first, writer)| (first, writer.join().unwrap())).collect();
    execute(&mut client, CALL);
    for (first, rows) in rows {
        assert_eq!(rows, rows_of(&mut client, first), "rows of the writer from {first}");
    }
}

/// Rows are looked for where their changes say that they were, in several rounds.
#[test]
fn rows_without_a_time_get_one_and_lose_it() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE moving (id int NOT NULL UNIQUE, at date, value int NOT NULL);
         INSERT INTO moving SELECT g, CASE WHEN g % 2 = 0 THEN date '2024-01-01' + g END, 0 FROM generate_series(1, 12) g;
         CREATE TABLE kept AS TABLE moving",
    );
    let both = |client: &mut Client, sql: &str| {
        execute(client, &sql.replace("$t", "moving"));
        execute(client, &sql.replace("$t", "kept"));
    };
    let call =
        r#"CALL opdb.partition_table('moving', 'at', options => '{"weaker_keys": true, "wait_seconds": 1}')"#;
    let old = with_a_snapshot(&name);
    assert_eq!(refused(&mut client, call).sqlstate, "55P03");
    for round in 1..=2 {
        both(
            &mut client,
            "UPDATE $t SET at = date '2024-01-03' + id, value = value + 1 WHERE id IN (1, 4, 6)",
        );
        both(&mut client, "UPDATE $t SET at = NULL, value = value + 1 WHERE id IN (1, 2, 6)");
        both(&mut client, "UPDATE $t SET value = value + 1 WHERE id IN (3, 8)");
        both(&mut client, "UPDATE $t SET at = date '2024-01-09' WHERE id = 5");
        both(&mut client, &format!("DELETE FROM $t WHERE id IN (8 + {round}, 10 + {round})"));
        both(
            &mut client,
            &format!("INSERT INTO $t VALUES (8 + {round}, NULL, 7), (20 + {round}, '2024-01-04', 7)"),
        );
        assert_eq!(refused(&mut client, call).sqlstate, "55P03");
        assert_eq!(text(&mut client, "SELECT pending_changes FROM opdb.partition_conversions"), "0");
    }
    both(&mut client, "UPDATE $t SET at = date '2024-01-02', value = 9 WHERE at IS NULL AND id < 6");
    drop(old);
    execute(&mut client, call);
    let all = |table: &str| format!("SELECT id, at, value FROM {table} ORDER BY id, at");
    assert_eq!(rows(&mut client, &all("moving")), rows(&mut client, &all("kept")));
}

#[test]
fn what_is_applied_of_a_key_is_all_of_it() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL);
         INSERT INTO events SELECT g, date '2024-01-01' FROM generate_series(1, 200) g",
    );
    let _old = with_a_snapshot(&name);
    let call = r#"CALL opdb.partition_table('events', 'at', options => '{"weaker_keys": true, "wait_seconds": 1, "batch_rows": 1}')"#;
    assert_eq!(refused(&mut client, call).sqlstate, "55P03");
    // An update is two changes: there are 306. The older half of them is about 101 keys, which have 204.
    for (number, (first, last)) in
        [(1, 1), (11, 60), (1, 1), (61, 110), (1, 1), (111, 160)].into_iter().enumerate()
    {
        let update = format!("UPDATE events SET at = at + {number} WHERE id BETWEEN {first} AND {last}");
        execute(&mut client, &update);
    }
    let pending = "SELECT pending_changes FROM opdb.partition_conversions";
    assert_eq!(step(&mut client, "events"), "NULL");
    assert_eq!(text(&mut client, pending), "102");
    assert_eq!(step(&mut client, "events"), "NULL");
    assert_eq!(text(&mut client, pending), "0");
    let new = text(&mut client, "SELECT target FROM opdb.partition_conversion");
    let all = |table: &str| format!("SELECT id, at FROM {table} ORDER BY id, at");
    assert_eq!(rows(&mut client, &all(&new)), rows(&mut client, &all("events")));
}

/// Begins to convert a table and comes as far as to apply changes.
fn begin(client: &mut Client, table: &str) {
    let begin = format!(
        "SELECT source FROM opdb.begin_partition_table('{table}', 'at', '1 month', 1, 'UTC', '{{\"weaker_keys\": true, \"wait_seconds\": 1}}')"
    );
    execute(client, &begin);
    while text(client, "SELECT state FROM opdb.partition_conversion") != "applying" {
        assert_eq!(step(client, table), "NULL");
    }
}

/// The SQLSTATE of a step.
fn step(client: &mut Client, table: &str) -> String {
    text(client, &format!("SELECT sqlstate FROM opdb.continue_partition_table('{table}')"))
}

#[test]
fn a_column_that_was_not_null_for_a_while_leaves_no_rows_behind() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int NOT NULL UNIQUE, at date, value int);
         INSERT INTO events SELECT g, NULL, g FROM generate_series(1, 400) g",
    );
    begin(&mut client, "events");
    execute(&mut client, "UPDATE events SET at = '2024-01-01'; ALTER TABLE events ALTER at SET NOT NULL");
    step(&mut client, "events");
    execute(&mut client, "ALTER TABLE events ALTER at DROP NOT NULL");
    execute(&mut client, CALL);
    assert_eq!(rows(&mut client, "SELECT count(*), count(at) FROM events"), [["400", "400"]]);
}

#[test]
fn indexes_that_come_and_go_alter_nothing() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int NOT NULL UNIQUE, code text NOT NULL UNIQUE, at date NOT NULL, value int);
         INSERT INTO events SELECT g, g, '2024-01-01', 0 FROM generate_series(1, 10) g",
    );
    begin(&mut client, "events");
    execute(&mut client, "REINDEX INDEX CONCURRENTLY events_id_key");
    execute(&mut client, "UPDATE events SET value = 1 WHERE id > 1");
    // It is left behind, not valid, as one is while it is built.
    let same = "CREATE UNIQUE INDEX CONCURRENTLY same ON events (value, at)";
    assert_eq!(refused(&mut client, same).sqlstate, "23505");
    let refusal = refused(&mut client, CALL);
    assert_eq!(refusal.sqlstate, "0A000");
    assert!(refusal.whole.contains("index same is invalid"), "{refusal:?}");
    execute(&mut client, "DROP INDEX same");
    execute(&mut client, CALL);
    assert_eq!(text(&mut client, "SELECT sum(value) FROM events"), "9");
}

#[test]
fn what_was_altered_is_the_reason_of_what_fails() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL);
         INSERT INTO events VALUES (1, '2024-01-01')",
    );
    begin(&mut client, "events");
    execute(&mut client, "ALTER TABLE events ADD later int; UPDATE events SET later = 1");
    assert_eq!(step(&mut client, "events"), "55000");
}

#[test]
fn who_locks_the_new_table_is_named() {
    let (mut client, name) = new_session();
    execute(&mut client, "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL)");
    begin(&mut client, "events");
    let target = text(&mut client, "SELECT target FROM opdb.partition_conversion");
    let mut other = session(&name);
    let pid = text(&mut other, "SELECT pg_backend_pid()");
    execute(&mut other, &format!("BEGIN; LOCK TABLE {target} IN ACCESS SHARE MODE"));
    let refusal = refused(&mut client, CALL);
    assert_eq!(refusal.sqlstate, "55P03");
    assert!(
        refusal.whole.contains(&format!("public.{target} is locked: process {pid} of role")),
        "{refusal:?}"
    );
    execute(&mut other, "COMMIT");
    execute(&mut client, CALL);
}

/// Of two moments, rows that exchange unique values would be in each other's way.
#[test]
fn what_is_applied_is_of_one_moment() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL, place int NOT NULL, value int, UNIQUE (place, at));
         INSERT INTO events SELECT g, '2024-01-01', g FROM generate_series(1, 10) g",
    );
    begin(&mut client, "events");
    execute(&mut client, "UPDATE events SET value = 1 WHERE id = 1");
    let target = text(&mut client, "SELECT target FROM opdb.partition_conversion");
    // The step has seen what there is to apply, and waits for the row that it is to replace.
    let mut holder = session(&name);
    execute(&mut holder, &format!("BEGIN; SELECT FROM {target} WHERE id = 1 FOR UPDATE"));
    // It does not come to the swap.
    let _old = with_a_snapshot(&name);
    let steps = {
        let name = name.clone();
        thread::spawn(move || step(&mut session(&name), "events"))
    };
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE query LIKE '%continue_partition_table%' AND wait_event_type = 'Lock' AND datname = current_database())";
    while text(&mut client, waits) != "t" {
        assert!(!steps.is_finished(), "it did not wait");
    }
    execute(
        &mut client,
        "BEGIN; UPDATE events SET place = -1 WHERE id = 1; UPDATE events SET place = 1 WHERE id = 2;
         UPDATE events SET place = 2 WHERE id = 1; COMMIT",
    );
    execute(&mut holder, "COMMIT");
    assert_eq!(steps.join().unwrap(), "NULL");
    let new = format!("SELECT id, place, value FROM {target} WHERE id < 3 ORDER BY id");
    assert_eq!(rows(&mut client, &new), [["1", "1", "1"], ["2", "2", "NULL"]]);
    assert_eq!(text(&mut client, "SELECT pending_changes FROM opdb.partition_conversions"), "6");
    assert_eq!(step(&mut client, "events"), "NULL");
    assert_eq!(rows(&mut client, &new), [["1", "2", "1"], ["2", "1", "NULL"]]);
}

/// Statistics of a table that was empty for a moment tell of one row.
#[test]
fn whatever_the_planner_knows_rows_are_found_by_their_keys() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL, value int);
         INSERT INTO events SELECT g, '2024-01-01' FROM generate_series(1, 30000) g;
         DELETE FROM events; ANALYZE events;
         INSERT INTO events SELECT g, '2024-01-01' FROM generate_series(1, 30000) g",
    );
    begin(&mut client, "events");
    let _old = with_a_snapshot(&name);
    execute(&mut client, "UPDATE events SET value = 1 WHERE id <= 3000");
    step(&mut client, "events");
    let tables = "SELECT changes || ', ' || target FROM opdb.partition_conversion";
    let tables = text(&mut client, tables);
    execute(&mut client, &format!("ANALYZE {tables}; UPDATE events SET value = 2"));
    // Each key by itself takes a second at most, and each with each an hour.
    execute(&mut client, "SET statement_timeout = '60s'");
    assert_eq!(step(&mut client, "events"), "NULL");
    assert_eq!(text(&mut client, "SELECT pending_changes FROM opdb.partition_conversions"), "0");
}

#[test]
fn a_writer_does_not_hide_who_is_waited_for() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL, value int);
         INSERT INTO events SELECT g, '2024-01-01', 0 FROM generate_series(1, 3000) g",
    );
    let mut old = with_a_snapshot(&name);
    let pid = text(&mut old, "SELECT pg_backend_pid()");
    let writer = {
        let name = name.clone();
        thread::spawn(move || {
            let mut client = session(&name);
            while !STOP.load(Ordering::Relaxed) {
                execute(&mut client, "UPDATE events SET value = value + 1 WHERE id <= 800");
                thread::sleep(Duration::from_millis(50));
            }
        })
    };
    execute(&mut client, "SET statement_timeout = '60s'");
    let refusal = refused(&mut client, CALL);
    assert_eq!(refusal.sqlstate, "55P03");
    assert!(refusal.whole.contains(&format!("process {pid} of role")), "{refusal:?}");
    STOP.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn the_swap_follows_at_once_where_nobody_is_in_the_way() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE events (id int PRIMARY KEY, at date NOT NULL, value int);
         INSERT INTO events SELECT g, '2024-01-01' FROM generate_series(1, 600) g",
    );
    begin(&mut client, "events");
    let step = "SELECT state, pauses FROM opdb.continue_partition_table('events')";
    let old = with_a_snapshot(&name);
    assert_eq!(rows(&mut client, step), [["applying", "t"]]);
    drop(old);
    // More than are applied during a swap.
    execute(&mut client, "UPDATE events SET value = 1");
    assert_eq!(rows(&mut client, step), [["swapped", "f"]]);
}
