use std::sync::Barrier;
use std::thread;

use crate::fixture::{database, execute, ingest, on_test, records, refused, role, rows, servers, text};

#[test]
fn two_sessions_with_the_same_records_write_each_once() {
    let name = database(&servers().test);
    execute(&mut on_test(&name), "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    let (start, feed) = (Barrier::new(4), records(300));
    let totals: Vec<(i64, i64, i64)> = thread::scope(|scope| {
        let sessions: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut session = on_test(&name);
                    start.wait();
                    ingest(&mut session, "events", &feed)
                })
            })
            .collect();
        sessions.into_iter().map(|session| session.join().unwrap()).collect()
    });
    assert_eq!(totals.iter().map(|(inserted, ..)| inserted).sum::<i64>(), 300, "{totals:?}");
    assert_eq!(totals.iter().map(|(_, duplicates, _)| duplicates).sum::<i64>(), 900, "{totals:?}");
    let mut client = on_test(&name);
    assert_eq!(
        text(&mut client, "SELECT count(*) || ' ' || count(DISTINCT source_id) FROM events"),
        "300 300"
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM events_keys"), "300");
}

#[test]
fn who_writes_directly_cannot_write_twice_either() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    ingest(&mut client, "events", &records(2));
    let values = "(source, source_id, occurred_at, payload) VALUES ('x', 'event-1', '2024-03-01', '{}')";
    assert_eq!(refused(&mut client, &format!("INSERT INTO events {values}")).sqlstate, "23505");
    let partition = "(id, source, source_id, occurred_at, payload) OVERRIDING SYSTEM VALUE
                     VALUES (99, 'x', 'event-1', '2024-03-01', '{}')";
    let direct = refused(&mut client, &format!("INSERT INTO events_2024_03_01 {partition}"));
    assert_eq!(direct.sqlstate, "23505");
    let twice = "INSERT INTO events (source, source_id, occurred_at, payload)
                 VALUES ('x', 'a', '2024-03-01', '{}'), ('x', 'a', '2024-03-01', '{}')";
    assert_eq!(refused(&mut client, twice).sqlstate, "23505");
}

#[test]
fn keys_follow_their_rows() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    ingest(&mut client, "events", &records(30));
    let keys_are_right = "SELECT (SELECT count(*) FROM events) = (SELECT count(*) FROM events_keys)
        AND NOT EXISTS (SELECT FROM events e WHERE NOT EXISTS (
            SELECT FROM events_keys k WHERE (k.source_id, k.id, k.occurred_at) = (e.source_id, e.id, e.occurred_at)))";
    for change in [
        "DELETE FROM events WHERE source_id = 'event-1'",
        "UPDATE events SET source_id = 'renamed' WHERE source_id = 'event-2'",
        "UPDATE events SET occurred_at = occurred_at + '1 day' WHERE source_id = 'event-3'",
        "UPDATE events SET processed = true",
        "DELETE FROM events_2024_03_02",
        "TRUNCATE events_2024_03_01",
        "INSERT INTO events (source, source_id, occurred_at, payload) VALUES ('x', 'event-4', '2024-03-01', '{}')",
        "TRUNCATE events",
    ] {
        execute(&mut client, change);
        assert_eq!(text(&mut client, keys_are_right), "t", "{change}");
    }
    assert_eq!(ingest(&mut client, "events", &records(30)), (30, 0, 0));
}

#[test]
fn a_record_that_the_table_refuses_is_kept_and_the_others_go_in() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         ALTER TABLE events ADD CONSTRAINT small CHECK ((payload ->> 'n')::int NOT IN (7, 200, 201))",
    );
    assert_eq!(ingest(&mut client, "events", &records(300)), (297, 0, 3));
    let letters =
        rows(&mut client, "SELECT source_id, sqlstate, error FROM opdb.dead_letters ORDER BY source_id");
    assert_eq!(
        letters.iter().map(|letter| letter[0].as_str()).collect::<Vec<_>>(),
        ["event-200", "event-201", "event-7"]
    );
    assert!(
        letters.iter().all(|letter| letter[1] == "23514" && letter[2].contains("\"small\"")),
        "{letters:?}"
    );
}

#[test]
fn a_broken_record_sent_again_is_the_same_dead_letter() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SELECT opdb.create_event_table('events')");
    let broken = r#"[17, {"source": "s", "source_id": "1", "occurred_at": "2024-03-01T10:00:00", "payload": {}},
                     {"source": "s", "source_id": "2", "occurred_at": "2024-03-01T10:00:00Z", "payload": {}, "extra": 1},
                     {"source": " ", "source_id": "3", "occurred_at": "2024-03-01T10:00:00Z", "payload": {}},
                     {"source": "s", "source_id": "4", "occurred_at": "2024-03-01T10:00:00Z"}]"#;
    for attempt in ["1", "2"] {
        assert_eq!(ingest(&mut client, "events", broken), (0, 0, 5));
        assert_eq!(
            rows(&mut client, "SELECT DISTINCT attempts FROM opdb.dead_letters"),
            [[attempt.to_owned()]]
        );
    }
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.dead_letters"), "5");
    let errors = rows(&mut client, "SELECT error FROM opdb.dead_letters ORDER BY id").concat().join("\n");
    for part in ["number", "UTC offset: 2024-03-01T10:00:00", "extra", "\"source\"", "\"payload\""] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
}

#[test]
fn partitions_are_whole_days_in_utc_whatever_the_session_says() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German';
         SELECT opdb.create_event_table('events', start_at => '2024-03-10T00:30:00Z')",
    );
    ingest(
        &mut client,
        "events",
        r#"[{"source": "s", "source_id": "1", "occurred_at": "2024-03-31T23:59:59.999999-10:00", "payload": {}}]"#,
    );
    let bounds = rows(
        &mut client,
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO';
         SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
         WHERE i.inhparent = 'events'::regclass ORDER BY 1",
    );
    assert_eq!(
        bounds,
        [
            ["events_2024_03_10", "FOR VALUES FROM ('2024-03-10 00:00:00+00') TO ('2024-03-11 00:00:00+00')"],
            ["events_2024_04_01", "FOR VALUES FROM ('2024-04-01 00:00:00+00') TO ('2024-04-02 00:00:00+00')"],
        ]
    );
}

#[test]
fn other_periods_have_names_as_fine_as_they_need() {
    let mut client = on_test(&database(&servers().test));
    for (every, partition) in
        [("1 hour", "e0_2024_03_10_15"), ("7 days", "e1_2024_03_04"), ("1 month", "e2_2024_03")]
    {
        let table = &partition[..2];
        execute(
            &mut client,
            &format!("SELECT opdb.create_event_table('{table}', '{every}', false, '2024-03-10 15:30Z')"),
        );
        assert_eq!(text(&mut client, &format!("SELECT to_regclass('{partition}')")), partition);
    }
    assert_eq!(ingest(&mut client, "e0", &records(3)), (3, 0, 0));
    assert_eq!(ingest(&mut client, "e0", &records(3)), (3, 0, 0), "no key table was asked for");
}

#[test]
fn odd_names_are_names() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, r#"CREATE SCHEMA "My ""Schema"; SET search_path = "My ""Schema""#);
    let created =
        text(&mut client, r#"SELECT opdb.create_event_table('"Räw ''Events"', start_at => '2024-03-01')"#);
    assert_eq!(created, r#""Räw 'Events""#);
    assert_eq!(ingest(&mut client, r#""Räw 'Events""#, &records(30)), (30, 0, 0));
    assert_eq!(ingest(&mut client, r#""Räw 'Events""#, &records(30)), (0, 30, 0));
    assert_eq!(text(&mut client, r#"SELECT passed FROM opdb.quality_score('"Räw ''Events"')"#), "t");
}

#[test]
fn a_writer_needs_insert_on_the_table_and_nothing_else() {
    let name = database(&servers().test);
    let mut owner = on_test(&name);
    execute(&mut owner, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    let writer = role(&servers().test, &["opdb_operator"]);
    let mut session = servers().test.connect(&name, &writer, &writer).unwrap();
    let call = format!("SELECT opdb.ingest('events', '{}')", records(3));
    let refusal = refused(&mut session, &call);
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.hint.contains("GRANT INSERT ON public.events"), "{refusal:?}");
    execute(&mut owner, &format!("GRANT INSERT ON events TO {writer}"));
    assert_eq!(ingest(&mut session, "events", &records(60)), (60, 0, 0), "new partitions included");
    assert_eq!(refused(&mut session, "SELECT * FROM events").sqlstate, "42501");
}

#[test]
fn an_event_table_keeps_its_promise_without_opdb() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    ingest(&mut client, "events", &records(2));
    execute(&mut client, "DROP EXTENSION opdb");
    let values = "(source, source_id, occurred_at, payload) VALUES ('x', 'event-1', '2024-03-01', '{}')";
    assert_eq!(refused(&mut client, &format!("INSERT INTO events {values}")).sqlstate, "23505");
}

#[test]
fn a_partition_that_somebody_made_under_another_name_is_used() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         CREATE TABLE mine PARTITION OF events FOR VALUES FROM ('2024-03-02') TO ('2024-03-20')",
    );
    assert_eq!(ingest(&mut client, "events", &records(200)), (200, 0, 0));
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass"),
        "2"
    );
}

#[test]
fn what_a_dropped_event_table_left_is_named_and_then_the_name_is_free() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SELECT opdb.create_event_table('events'); DROP TABLE events");
    for (left, remedy) in [
        ("public.events_keys", "DROP TABLE events_keys"),
        ("events_keep_keys()", "DROP FUNCTION events_keep_keys()"),
    ] {
        let refusal = refused(&mut client, "SELECT opdb.create_event_table('events')");
        assert_eq!(refusal.sqlstate, "42P07");
        assert!(refusal.message.contains(left) && refusal.hint.contains("_keep_keys"), "{refusal:?}");
        execute(&mut client, remedy);
    }
    execute(&mut client, "SELECT opdb.create_event_table('events')");
    assert_eq!(text(&mut client, "SELECT string_agg(table_name::text, ',') FROM opdb.event_table"), "events");
}

#[test]
fn thirty_days_are_not_a_month() {
    let mut client = on_test(&database(&servers().test));
    for every in ["30 days", "24 hours", "-1 day", "0", "1 year"] {
        let refusal = refused(&mut client, &format!("SELECT opdb.create_event_table('e', '{every}')"));
        assert_eq!(refusal.sqlstate, "0A000", "{every}");
    }
}

#[test]
fn a_day_that_cannot_be_made_costs_its_own_records_only() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         ALTER TABLE events DETACH PARTITION events_2024_03_01",
    );
    assert_eq!(ingest(&mut client, "events", &records(60)), (37, 0, 23));
    let errors = rows(&mut client, "SELECT DISTINCT sqlstate, left(error, 21) FROM opdb.dead_letters");
    assert_eq!(errors, [["23514", "no partition of relat"]]);
    execute(&mut client, "CREATE TABLE events_rest PARTITION OF events DEFAULT");
    assert_eq!(ingest(&mut client, "events", &records(60)), (23, 37, 0), "a DEFAULT partition takes them");
}

#[test]
fn a_value_too_large_for_an_index_and_a_discarded_record_are_kept_aside() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         CREATE INDEX ON events ((payload ->> 'u'));
         CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF NEW.payload ? ''skip'' THEN RETURN NULL; END IF; NEW.source_id := lower(NEW.source_id); RETURN NEW; END';
         CREATE TRIGGER skip BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION skip()",
    );
    let noise: String =
        (0..4000).map(|number: u32| format!("{:x}", number.wrapping_mul(2_654_435_761))).collect();
    let feed = serde_json::json!([
        {"source": "s", "source_id": "GOOD", "occurred_at": "2024-03-01T00:00:00Z", "payload": {}},
        {"source": "s", "source_id": "large", "occurred_at": "2024-03-01T00:00:00Z", "payload": {"u": noise}},
        {"source": "s", "source_id": "skipped", "occurred_at": "2024-03-01T00:00:00Z", "payload": {"skip": 1}},
    ])
    .to_string();
    assert_eq!(ingest(&mut client, "events", &feed), (1, 0, 2));
    let letters = "SELECT source_id, sqlstate FROM opdb.dead_letters ORDER BY source_id";
    assert_eq!(rows(&mut client, letters), [["large", "54000"], ["skipped", "09000"]]);
    assert_eq!(rows(&mut client, "SELECT source_id FROM events_keys"), [["good"]], "no key without its row");

    execute(
        &mut client,
        "SELECT opdb.create_event_table('plain', unique_source_id => false, start_at => '2024-03-01');
         CREATE TRIGGER skip BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION skip()",
    );
    assert_eq!(ingest(&mut client, "plain", &feed), (2, 0, 1));
}

#[test]
fn keys_follow_partitions_and_not_policies() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    ingest(&mut client, "events", &records(80));
    let keys = "SELECT count(*) FROM events_keys";
    execute(
        &mut client,
        "DROP TABLE events_2024_03_01; ALTER TABLE events DETACH PARTITION events_2024_03_02",
    );
    assert_eq!(text(&mut client, keys), "80", "what was retired stays known");
    execute(&mut client, "TRUNCATE events_2024_03_03; DELETE FROM events_2024_03_02");
    assert_eq!(text(&mut client, keys), "56", "the detached table no longer speaks for the keys");
    execute(
        &mut client,
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; ALTER TABLE events FORCE ROW LEVEL SECURITY; TRUNCATE events_2024_03_04",
    );
    assert_eq!(text(&mut client, keys), "47");
}

#[test]
fn a_renamed_event_table_goes_on() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE SCHEMA app; SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         ALTER TABLE events RENAME TO happenings",
    );
    assert_eq!(ingest(&mut client, "happenings", &records(60)), (60, 0, 0));
    assert_eq!(ingest(&mut client, "happenings", &records(60)), (0, 60, 0));
    execute(&mut client, "TRUNCATE happenings");
    assert_eq!(ingest(&mut client, "happenings", &records(60)), (60, 0, 0));
}

#[test]
fn many_refused_records_do_not_stop_the_feed() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         ALTER TABLE events ADD CHECK ((payload ->> 'n')::int % 2 = 0)",
    );
    assert_eq!(ingest(&mut client, "events", &records(600)), (300, 0, 300));
    assert_eq!(text(&mut client, "SELECT count(DISTINCT fingerprint) FROM opdb.dead_letters"), "1");
}

#[test]
fn two_sessions_with_the_same_refused_records_do_not_deadlock() {
    let name = database(&servers().test);
    execute(
        &mut on_test(&name),
        "SELECT opdb.create_event_table('events', start_at => '2024-03-01'); ALTER TABLE events ADD CHECK (source <> 'bad')",
    );
    let record = |number: i32| serde_json::json!({"source": "bad", "source_id": "same", "occurred_at": "2024-03-01T00:00:00Z", "payload": {"n": number}});
    let feeds: Vec<String> = [(0..40).collect::<Vec<i32>>(), (0..40).rev().collect()]
        .into_iter()
        .map(|numbers| serde_json::Value::Array(numbers.into_iter().map(record).collect()).to_string())
        .collect();
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for feed in &feeds {
            let (name, start) = (&name, &start);
            scope.spawn(move || {
                let mut session = on_test(name);
                for _ in 0..10 {
                    start.wait();
                    assert_eq!(ingest(&mut session, "events", feed), (0, 0, 40));
                }
            });
        }
    });
}
