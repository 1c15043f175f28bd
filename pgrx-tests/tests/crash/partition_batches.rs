//! Many rows on their way out of a default partition that is written to, with the server killed at every step of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use opdb_e2e::cluster::{Cluster, Installation};
use postgres::Client;

const CALL: &str = "CALL opdb.run_partition_maintenance()";

fn scene() -> Arc<Cluster> {
    let installation = Installation::from_env().unwrap();
    let cluster = Cluster::start_temporary(&installation, &[("max_connections", "50")]).unwrap();
    connect(&cluster)
        .batch_execute(
            "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE;
             CREATE TABLE t (id bigint NOT NULL, at timestamptz NOT NULL, n int NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE t_default PARTITION OF t DEFAULT;
             INSERT INTO t SELECT i, now() - (i % 5) * interval '1 day', 0 FROM generate_series(1, 60000) i;
             INSERT INTO t VALUES (-1, '2097-01-01', 0), (-2, 'infinity', 0);
             ANALYZE; SELECT opdb.manage_partitions('t', premake => 1)",
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

fn maintain(cluster: &Arc<Cluster>) -> JoinHandle<Result<(), postgres::Error>> {
    let cluster = Arc::clone(cluster);
    thread::spawn(move || connect(&cluster).batch_execute(CALL))
}

/// Whether the server went away, as after a kill whose consequences came late.
fn is_gone(error: &postgres::Error) -> bool {
    error.as_db_error().is_none_or(|it| it.code().code().starts_with("57"))
}

fn is_cut(ended: &Result<(), postgres::Error>) -> bool {
    ended.as_ref().is_err_and(is_gone)
}

/// By id, how often each row was updated at least, and at most: what a killed server was doing is not known.
type Updates = BTreeMap<i64, (i32, i32)>;

fn write(cluster: &Arc<Cluster>, stop: &'static AtomicBool) -> JoinHandle<(Updates, i64)> {
    let cluster = Arc::clone(cluster);
    thread::spawn(move || {
        let (mut client, mut updates, mut inserts) = (connect(&cluster), Updates::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            for id in 1..=20 {
                let (least, most) = updates.entry(id).or_default();
                *most += 1;
                match client.execute("UPDATE t SET n = n + 1 WHERE id = $1", &[&id]) {
                    Ok(touched) => {
                        assert_eq!(touched, 1, "row {id}");
                        *least += 1;
                    }
                    Err(_) => client = connect(&cluster),
                }
            }
            let insert = "INSERT INTO t VALUES ($1, now() - interval '1 day', 0)";
            if client.execute(insert, &[&(100_000 + inserts)]).is_err() {
                client = connect(&cluster);
            }
            inserts += 1;
        }
        (updates, inserts)
    })
}

/// Not known while the server starts anew.
fn state(client: &mut Client) -> (String, i64) {
    let sql = "SELECT coalesce((SELECT state FROM opdb.partition_conversion), 'none'),
                      coalesce((SELECT next_block FROM opdb.partition_conversion), 0)";
    match client.query_one(sql, &[]) {
        Ok(row) => (row.get(0), row.get(1)),
        Err(error) if is_gone(&error) => ("unknown".into(), 0),
        Err(error) => panic!("{error:?}"),
    }
}

/// Kills the backend that moves rows, at which the server starts anew, or the whole server as well.
fn kill(cluster: &Cluster, whole: bool) {
    let sql = "SELECT pid FROM pg_stat_activity
               WHERE query LIKE '%run_partition_maintenance%' AND state = 'active' AND pid <> pg_backend_pid()";
    if let Some(row) = connect(cluster).query_opt(sql, &[]).unwrap() {
        let _ended = cluster.kill_backend(row.get(0));
    }
    if whole {
        cluster.kill_nine().unwrap();
        cluster.start_again().unwrap();
    }
}

fn check(cluster: &Cluster, updates: &Updates, inserts: i64) {
    let mut client = connect(cluster);
    let one = |client: &mut Client, sql: &str| client.query_one(sql, &[]).unwrap().get::<_, String>(0);
    let fixed =
        "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(id) FROM t WHERE id BETWEEN 1 AND 60000";
    assert_eq!(one(&mut client, fixed), "60000 60000 1800030000");
    let twice = "SELECT (count(*) - count(DISTINCT id))::text FROM t";
    assert_eq!(one(&mut client, twice), "0", "a row is there twice");
    for row in client.query("SELECT id, n FROM t WHERE id BETWEEN 1 AND 20", &[]).unwrap() {
        let (id, n): (i64, i32) = (row.get(0), row.get(1));
        let (least, most) = updates[&id];
        assert!((least..=most).contains(&n), "row {id}: {n}, not {least} to {most}");
    }
    let inserted =
        client.query_one("SELECT count(*) FROM t WHERE id >= 100000", &[]).unwrap().get::<_, i64>(0);
    assert!(inserted <= inserts && inserted > inserts - 20, "{inserted} of {inserts}");
    assert_eq!(one(&mut client, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t_default"), "-2,-1");
    let left = "SELECT count(*)::text FROM pg_class WHERE relname LIKE 'opdb\\_%' AND relnamespace = 'public'::regnamespace";
    assert_eq!(one(&mut client, left), "0");
    assert_eq!(state(&mut client).0, "none");
}

#[test]
fn a_move_goes_on_after_a_kill_at_every_step() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let cluster = scene();
    let writer = write(&cluster, &STOP);
    let mut seen = Vec::new();
    let mut kill_when = |whole: bool, is_there: &dyn Fn(&(String, i64)) -> bool| {
        let mut run = maintain(&cluster);
        let mut client = connect(&cluster);
        let begun = Instant::now();
        while !is_there(&state(&mut client)) {
            if client.is_closed() {
                client = connect(&cluster);
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{seen:?}");
            if run.is_finished() {
                let ended = run.join().unwrap();
                assert!(is_cut(&ended), "it ended after {seen:?}: {ended:?}");
                (run, client) = (maintain(&cluster), connect(&cluster));
            }
        }
        thread::sleep(Duration::from_millis(5));
        seen.push(state(&mut client));
        drop(client);
        kill(&cluster, whole);
        assert!(is_cut(&run.join().unwrap()), "it came to its end");
    };
    kill_when(false, &|(state, block)| state == "copying" && *block > 0);
    kill_when(true, &|(state, block)| state == "copying" && *block > 120);
    for whole in [false, true] {
        // A snapshot keeps the partitions from taking their places.
        let mut held = connect(&cluster);
        held.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
        kill_when(whole, &|(state, _)| state == "applying");
    }
    println!("killed at {seen:?}");
    while is_cut(&maintain(&cluster).join().unwrap()) {}
    STOP.store(true, Ordering::Relaxed);
    let (updates, inserts) = writer.join().unwrap();
    check(&cluster, &updates, inserts);
}
