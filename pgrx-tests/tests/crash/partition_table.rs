//! The conversion of a table that is written to, with the server killed at every step of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use opdb_e2e::cluster::{Cluster, Installation};
use opdb_e2e::psql::describe;
use postgres::Client;

const CALL: &str =
    r#"CALL opdb.partition_table('events', 'at', options => '{"weaker_keys": true, "batch_rows": 50}')"#;

fn scene() -> Arc<Cluster> {
    let installation = Installation::from_env().unwrap();
    let cluster = Cluster::start_temporary(&installation, &[("max_connections", "50")]).unwrap();
    cluster
        .connect_as_superuser("postgres")
        .unwrap()
        .batch_execute(
            "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE;
             CREATE TABLE kind (id int PRIMARY KEY); INSERT INTO kind SELECT generate_series(1, 10);
             CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL, kind int NOT NULL REFERENCES kind, value int NOT NULL);
             INSERT INTO events SELECT g, now() - g % 20 * interval '1 day', 1 + g % 10, 0 FROM generate_series(1, 30000) g;
             ANALYZE",
        )
        .unwrap();
    Arc::new(cluster)
}

fn connect(cluster: &Cluster) -> Client {
    let begun = Instant::now();
    loop {
        match cluster.connect_as_superuser("postgres") {
            Ok(client) => return client,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error:#}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Converts in the background; tells whether the procedure came to its end.
fn convert(cluster: &Arc<Cluster>) -> JoinHandle<Result<(), String>> {
    let cluster = Arc::clone(cluster);
    thread::spawn(move || {
        let mut client = connect(&cluster);
        // What never ends is told, not waited for.
        let settings = "SET client_min_messages = warning; SET statement_timeout = '120s'";
        client.batch_execute(settings).map_err(|error| describe(&error))?;
        client.batch_execute(CALL).map_err(|error| describe(&error))
    })
}

type Rows = BTreeMap<i64, i32>;

/// Writes rows of its own; whatever a killed server was doing is looked up when it is back.
fn write(cluster: &Arc<Cluster>, first: i64, stop: &'static AtomicBool) -> JoinHandle<Rows> {
    let cluster = Arc::clone(cluster);
    thread::spawn(move || {
        let (mut client, mut rows, mut number) = (connect(&cluster), Rows::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let id = first + i64::from(number % 97);
            let at = format!("now() - {} * interval '1 day'", number % 25);
            let sql = match rows.get(&id) {
                None => format!("INSERT INTO events VALUES ({id}, {at}, 1, {number})"),
                Some(_) if number % 3 == 0 => format!("DELETE FROM events WHERE id = {id}"),
                Some(_) => format!("UPDATE events SET at = {at}, value = {number} WHERE id = {id}"),
            };
            match client.execute(&sql, &[]) {
                Ok(done) => {
                    assert_eq!(done, 1, "{sql}");
                    if sql.starts_with("DELETE") {
                        rows.remove(&id)
                    } else {
                        rows.insert(id, number)
                    };
                }
                Err(error) => {
                    assert!(
                        error.as_db_error().is_none_or(|it| it.code().code().starts_with("57")),
                        "{sql}: {error:?}"
                    );
                    client = settle(&cluster, id, number, &sql, &mut rows);
                }
            }
        }
        rows
    })
}

/// It was done, or it was not. Who connects before the postmaster has noticed a kill is thrown out once more.
fn settle(cluster: &Cluster, id: i64, number: i32, sql: &str, rows: &mut Rows) -> Client {
    let begun = Instant::now();
    let (client, found): (_, Vec<i32>) = loop {
        let mut client = connect(cluster);
        match client.query("SELECT value FROM events WHERE id = $1", &[&id]) {
            Ok(found) => break (client, found.iter().map(|row| row.get(0)).collect()),
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    let before: Vec<i32> = rows.get(&id).copied().into_iter().collect();
    let after = if sql.starts_with("DELETE") { vec![] } else { vec![number] };
    assert!(found == before || found == after, "{sql}: {before:?} became {found:?}");
    match found.first() {
        Some(value) => rows.insert(id, *value),
        None => rows.remove(&id),
    };
    client
}

fn state(client: &mut Client) -> (String, i64) {
    let sql = "SELECT coalesce((SELECT state FROM opdb.partition_conversion), 'none'),
                      coalesce((SELECT next_block FROM opdb.partition_conversion), 0)";
    let row = client.query_one(sql, &[]).unwrap();
    (row.get(0), row.get(1))
}

/// Kills the backend that converts, at which the server starts anew, or the whole server, the postmaster last: a busy
/// backend would only notice later that it is gone. Tells whether one was there.
fn kill(cluster: &Cluster, whole: bool) -> bool {
    let sql = "SELECT pid FROM pg_stat_activity
               WHERE query LIKE 'CALL opdb.partition_table%' AND state = 'active' AND pid <> pg_backend_pid()";
    let mut client = connect(cluster);
    let converts = client.query_opt(sql, &[]).unwrap();
    // It may have come to its end just now.
    let is_killed = converts.is_some_and(|row| cluster.kill_backend(row.get(0)).is_ok());
    if is_killed {
        // Who connects before the postmaster has noticed is thrown out with all others.
        let mut looks = 0;
        while client.batch_execute("SELECT 1").is_ok() && looks < 400 {
            thread::sleep(Duration::from_millis(5));
            looks += 1;
        }
    }
    if whole {
        cluster.kill_nine().unwrap();
        cluster.start_again().unwrap();
    }
    is_killed
}

fn check(cluster: &Cluster, first: i64, rows: &Rows) {
    let sql = "SELECT id, value FROM events WHERE id >= $1 AND id < $1 + 1000 ORDER BY id";
    let found = connect(cluster).query(sql, &[&first]).unwrap();
    let found: Vec<(i64, i32)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, rows.iter().map(|(id, value)| (*id, *value)).collect::<Vec<_>>());
}

fn check_done(cluster: &Cluster) {
    let mut client = connect(cluster);
    let one = |client: &mut Client, sql: &str| client.query_one(sql, &[]).unwrap().get::<_, String>(0);
    assert_eq!(one(&mut client, "SELECT state FROM opdb.partition_conversions"), "done");
    assert_eq!(one(&mut client, "SELECT relkind::text FROM pg_class WHERE oid = 'events'::regclass"), "p");
    assert_eq!(
        one(
            &mut client,
            "SELECT count(*)::text || count(DISTINCT id) FROM events WHERE value = 0 AND id <= 30000"
        ),
        "3000030000"
    );
    let left = "SELECT count(*)::text FROM pg_class WHERE relname LIKE 'opdb\\_%' AND relnamespace = 'public'::regnamespace";
    assert_eq!(one(&mut client, left), "0");
    let key =
        "SELECT convalidated::text FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'f'";
    assert_eq!(one(&mut client, key), "true");
    assert_eq!(one(&mut client, "SELECT parent::text FROM opdb.partition_set"), "events");
}

/// Keeps the conversion at a step until the server is killed; the statement tells whether it is there.
fn held_at(cluster: &Cluster, step: &str) -> (Client, &'static str) {
    const ADVISORY: &str = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
    const APPLYING: &str =
        "SELECT EXISTS (SELECT FROM opdb.partition_conversion WHERE state = 'applying')
            AND EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL opdb.partition_table%' AND state = 'active')";
    let blocks = |number: i32| {
        format!(
            "CREATE OR REPLACE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END$$;
             CREATE OR REPLACE TRIGGER pause AFTER UPDATE ON opdb.partition_conversion FOR EACH ROW
                 WHEN (OLD.next_block <= {number} AND NEW.next_block > {number}) EXECUTE FUNCTION pause();
             SELECT pg_advisory_lock(1)"
        )
    };
    let (hold, is_there) = match step {
        // A writer does not end: the triggers cannot be made.
        "preparing" => (
            "BEGIN; UPDATE events SET value = 0 WHERE id = 1".to_owned(),
            "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND relation = 'events'::regclass)",
        ),
        // The blocks are copied, and nothing is committed.
        "the first blocks" => (blocks(0), ADVISORY),
        "more blocks" => (blocks(60), ADVISORY),
        // A snapshot keeps the tables from changing places.
        _ => ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1".to_owned(), APPLYING),
    };
    let mut client = connect(cluster);
    client.batch_execute(&hold).unwrap();
    (client, is_there)
}

#[test]
fn it_goes_on_after_a_kill_at_every_step() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let cluster = scene();
    let writers: Vec<_> =
        [100_000, 200_000].map(|first| (first, write(&cluster, first, &STOP))).into_iter().collect();
    let kill_at = |step: &str, whole: bool| {
        let (_held, is_there) = held_at(&cluster, step);
        let conversion = convert(&cluster);
        let mut client = connect(&cluster);
        while !client.query_one(is_there, &[]).unwrap().get::<_, bool>(0) {
            assert!(!conversion.is_finished(), "it ended before {step}: {:?}", conversion.join().unwrap());
        }
        println!("{step}: {:?}", state(&mut client));
        drop(client);
        assert!(kill(&cluster, whole), "{step}: nothing was killed");
        assert!(conversion.join().unwrap().is_err(), "{step}");
    };
    kill_at("preparing", true);
    kill_at("the first blocks", false);
    kill_at("more blocks", true);
    kill_at("the swap", false);
    kill_at("the swap", true);
    {
        let conversion = convert(&cluster);
        let mut client = connect(&cluster);
        while state(&mut client).0 != "swapped" && !conversion.is_finished() {}
        // A writer of the other table keeps the foreign key from becoming the table's own.
        let held = client.batch_execute("BEGIN; UPDATE kind SET id = 1 WHERE id = 1");
        println!("the foreign keys: {held:?}, {:?}", state(&mut connect(&cluster)));
        kill(&cluster, true);
        let _ended = conversion.join().unwrap();
    }
    assert_eq!(convert(&cluster).join().unwrap(), Ok(()));
    STOP.store(true, Ordering::Relaxed);
    for (first, writer) in writers {
        check(&cluster, first, &writer.join().unwrap());
    }
    check_done(&cluster);
}

#[test]
fn it_goes_on_after_kills_at_any_moment() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let cluster = scene();
    let writer = write(&cluster, 100_000, &STOP);
    let mut kills = 0;
    loop {
        let conversion = convert(&cluster);
        thread::sleep(Duration::from_millis(20 + 31 * kills % 200));
        if conversion.is_finished() {
            assert_eq!(conversion.join().unwrap(), Ok(()));
            break;
        }
        kill(&cluster, kills % 2 == 0);
        kills += 1;
        if conversion.join().unwrap().is_ok() || kills == 12 {
            break;
        }
    }
    assert_eq!(convert(&cluster).join().unwrap(), Ok(()));
    STOP.store(true, Ordering::Relaxed);
    println!("{kills} kills");
    check(&cluster, 100_000, &writer.join().unwrap());
    check_done(&cluster);
}
