//! Servers that go away before, during and after a call.

use std::thread;

use opdb_e2e::cluster::{Cluster, Shutdown};
use postgres::Client;

use super::{at, register_at, until};
use crate::fixture::{
    Pair, Refusal, database, execute, installation, on_test, refused, rows, servers, sockets, text,
};

const DEPLOY: &str = "SELECT opdb.deploy('there', '{t}', '{\"raise\": true}')";
/// Everything that a call on another server may be doing.
const CALLS: [&str; 2] = ["SELECT * FROM opdb.check_compatibility('there', '{t}')", DEPLOY];

fn here(there: &Cluster) -> Client {
    let mut here = on_test(&database(&servers().test));
    execute(
        &mut here,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'one');
         SELECT opdb.set_environment('test', 'test'); SELECT opdb.capture_schema()",
    );
    register_at(&mut here, "there", &at(there, "postgres"), there);
    here
}

fn start() -> Cluster {
    let cluster = Cluster::start_temporary(&installation(), &[]).unwrap();
    execute(
        &mut cluster.connect_as_superuser("postgres").unwrap(),
        // Every deployment waits for the lock that a session of the test may hold.
        "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE gate ();
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM FROM public.gate; RETURN NULL; END';
         CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    );
    cluster
}

/// Calls while a lock there is held, does something to the server once the call waits for it, and returns how the call
/// failed.
fn during(here: &mut Client, there: &Cluster, call: &str, happens: impl FnOnce(i32)) -> Refusal {
    let mut locker = there.connect_as_superuser("postgres").unwrap();
    execute(&mut locker, "BEGIN; LOCK TABLE pg_catalog.pg_attrdef, gate");
    thread::scope(|scope| {
        let calling = scope.spawn(|| refused(here, call));
        let mut looker = there.connect_as_superuser("postgres").unwrap();
        let waiting = |what| {
            format!(
                "SELECT {what} FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'"
            )
        };
        until(&mut looker, &waiting("count(*)"), "1");
        happens(text(&mut looker, &waiting("pid")).parse().unwrap());
        calling.join().unwrap()
    })
}

fn nothing_is_open(here: &mut Client) {
    assert_eq!(sockets(here), 1, "its own client's");
}

#[test]
fn a_server_that_goes_down_during_a_call_is_an_error_and_the_next_call_works() {
    let there = start();
    let mut here = here(&there);
    type Happening<'a> = (&'a str, Box<dyn Fn(i32) + 'a>);
    let happenings: [Happening<'_>; 4] = [
        (
            "terminated",
            Box::new(|pid| {
                let terminate = format!("SELECT pg_terminate_backend({pid})");
                execute(&mut there.connect_as_superuser("postgres").unwrap(), &terminate);
            }),
        ),
        (
            "killed",
            Box::new(|pid| {
                let mut bystander = there.connect_as_superuser("postgres").unwrap();
                there.kill_backend(pid).unwrap();
                // The server throws out everybody, recovers by itself and is back.
                while bystander.batch_execute("SELECT 1").is_ok() {}
                while there.connect_as_superuser("postgres").is_err() {}
            }),
        ),
        ("shut down", Box::new(|_| there.stop().unwrap())),
        ("crashed", Box::new(|_| there.kill_nine().unwrap())),
    ];
    for (what, happens) in happenings {
        for call in CALLS {
            let refusal = during(&mut here, &there, call, &happens);
            assert_eq!(refusal.sqlstate, "08006", "{what}, {call}: {refusal:?}");
            assert!(refusal.message.contains("connection to environment \"there\" broke"), "{refusal:?}");
            assert!(!refusal.hint.is_empty(), "{refusal:?}");
            nothing_is_open(&mut here);
            if there.connect_as_superuser("postgres").is_err() {
                let refusal = refused(&mut here, call);
                assert_eq!(refusal.sqlstate, "08001", "{what}, {call}: {refusal:?}");
                there.start_again().unwrap();
            }
            let mut after = there.connect_as_superuser("postgres").unwrap();
            assert_eq!(text(&mut after, "SELECT count(*) FROM t"), "0", "nothing is half done: {what}");
            assert_eq!(text(&mut here, "SELECT reachable FROM opdb.check_environment('there')"), "t");
        }
    }
    execute(&mut here, DEPLOY);
    assert_eq!(text(&mut there.connect_as_superuser("postgres").unwrap(), "SELECT a FROM t"), "one");
    there.restart(Shutdown::Immediate).unwrap();
    assert_eq!(text(&mut here, "SELECT reachable FROM opdb.check_environment('there')"), "t");
}

#[test]
fn a_server_that_is_down_before_and_after_a_call_is_an_error_of_that_call() {
    let there = start();
    let mut here = here(&there);
    there.stop().unwrap();
    let down = "SELECT reachable, detail LIKE '%refused%' FROM opdb.check_environment('there')";
    for call in CALLS {
        let refusal = refused(&mut here, call);
        assert_eq!(refusal.sqlstate, "08001", "{refusal:?}");
        nothing_is_open(&mut here);
    }
    assert_eq!(rows(&mut here, down), [["f", "t"]]);
    there.start_again().unwrap();
    execute(&mut here, DEPLOY);
    there.stop().unwrap();
    // What was done stays recorded.
    assert_eq!(
        text(&mut here, "SELECT string_agg(state, ' ') FROM opdb.deployments WHERE state <> 'refused'"),
        "applied"
    );
    assert_eq!(rows(&mut here, down), [["f", "t"]]);
}

#[test]
fn a_statement_that_runs_out_of_time_there_fails_and_leaves_nothing() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'one'); SELECT opdb.capture_schema()",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id int PRIMARY KEY, a text);
         CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM set_config('statement_timeout', '100ms', true); RETURN NULL; END $$;
         CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(900); RETURN NULL; END $$;
         CREATE TRIGGER hurry AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION hurry();
         CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION dawdle()",
    );
    let refusal = refused(&mut pair.here, "SELECT opdb.deploy('production', '{t}', '{\"raise\": true}')");
    assert_eq!(refusal.sqlstate, "57014", "{refusal:?}");
    assert!(
        refusal.message.contains("environment \"production\": canceling statement due to statement timeout")
    );
    nothing_is_open(&mut pair.here);
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");

    // One of that role or database is too short for anything, and does not count.
    execute(
        &mut pair.there,
        &format!(
            "ALTER DATABASE {} SET statement_timeout = '1s'; DROP TRIGGER hurry ON t; DROP TRIGGER dawdle ON t;
             CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'limit %', current_setting('statement_timeout'); END $$;
             CREATE TRIGGER told BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION told()",
            pair.there_name
        ),
    );
    let deploy = "SELECT opdb.deploy('production', '{t}', '{\"raise\": true, \"error_threshold\": 1}')";
    let refusal = refused(&mut pair.here, deploy);
    assert!(refusal.message.contains("limit 15min"), "{refusal:?}");
}
