//! What a deployment leaves when a server is killed or stopped in the middle of it. These tests have two
//! servers of their own and take turns with them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod deploy;
mod partition_table;
mod resume;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use opdb_e2e::cluster::{Cluster, Installation, Shutdown};
use postgres::Client;

struct Servers {
    test: Cluster,
    production: Cluster,
}

fn servers() -> (&'static Servers, MutexGuard<'static, ()>) {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let servers = SERVERS.get_or_init(|| {
        let installation = Installation::from_env().unwrap();
        let start = || Cluster::start_temporary(&installation, &[]).unwrap();
        Servers { test: start(), production: start() }
    });
    (servers, turn)
}

/// A table of 100 rows to deploy, in databases called `name`; production has one row of its own.
struct Scene {
    servers: &'static Servers,
    name: &'static str,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    fn set(name: &'static str) -> Self {
        let (servers, turn) = servers();
        let scene = Self { servers, name, _turn: turn };
        for cluster in [&servers.test, &servers.production] {
            cluster.create_database(name).unwrap();
        }
        let production = &servers.production;
        scene
            .on_production()
            .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (-1)")
            .unwrap();
        scene
            .on_test()
            .batch_execute(&format!(
                r#"SET client_min_messages = error; CREATE EXTENSION opdb CASCADE;
                   SELECT opdb.set_environment('test', 'test');
                   SELECT opdb.register_environment('production', 'production',
                       '{{"host": "127.0.0.1", "port": {}, "dbname": "{name}"}}', '{{"user": "{}", "password": "{}"}}');
                   CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100);
                   SELECT opdb.capture_schema()"#,
                production.port(),
                production.superuser(),
                production.password()
            ))
            .unwrap();
        scene
    }

    fn on_test(&self) -> Client {
        self.servers.test.connect_as_superuser(self.name).unwrap()
    }

    fn on_production(&self) -> Client {
        self.servers.production.connect_as_superuser(self.name).unwrap()
    }

    /// Deploys in the background; gives the deployment's id, or nothing if the call did not return.
    fn deploy(&self) -> JoinHandle<Option<i64>> {
        let mut client = self.on_test();
        thread::spawn(move || {
            let row = client.query_one("SELECT opdb.deploy('production', '{t}')", &[]).ok()?;
            row.try_get(0).ok()
        })
    }

    fn state_of(&self, id: i64) -> (String, Option<i64>) {
        let sql = "SELECT state, inserted FROM opdb.deployments WHERE deployment_id = $1";
        let row = self.on_test().query_one(sql, &[&id]).unwrap();
        (row.get(0), row.get(1))
    }

    fn rows_there(&self) -> i64 {
        self.on_production().query_one("SELECT count(*) FROM t", &[]).unwrap().get(0)
    }

    /// Waits until the deployment, which is a session of production, waits for `event` there.
    fn wait_for(&self, event: &str, deployment: &JoinHandle<Option<i64>>) {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND $2 IN (wait_event, wait_event_type)";
        let mut client = self.on_production();
        while client.query_one(sql, &[&self.name, &event]).unwrap().get::<_, i64>(0) == 0 {
            assert!(!deployment.is_finished(), "the deployment ended before it waited for {event}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The states of all deployments, oldest first.
    fn history(&self) -> Vec<String> {
        let sql = "SELECT state FROM opdb.deployments ORDER BY deployment_id";
        self.on_test().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// The only deployment so far was broken off while it was at work on the target, and its call did not live to say
    /// how it ended.
    fn is_open(&self) {
        assert_eq!(self.history(), ["applying"]);
    }

    /// A later deployment does what the broken one did not.
    fn next_deployment_inserts(&self, rows: i64) {
        let id = self.deploy().join().unwrap().unwrap();
        assert_eq!(self.state_of(id), ("applied".to_owned(), Some(rows)));
        assert_eq!(self.rows_there(), 101);
    }
}

/// Keeps deployments of t waiting on production until it is dropped.
fn block(scene: &Scene) -> Client {
    let mut blocker = scene.on_production();
    blocker.batch_execute("BEGIN; LOCK TABLE t IN EXCLUSIVE MODE").unwrap();
    blocker
}

/// Returns once commits wait for a standby that never comes.
fn commits_wait_for_a_standby(cluster: &Cluster) {
    const ELSEWHERE: &str = "postgres";
    let mut client = cluster.connect_as_superuser(ELSEWHERE).unwrap();
    client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    // Some process of the server has it written down for all others, sooner or later. Whoever found it is never answered.
    let mut other = cluster.connect_as_superuser(ELSEWHERE).unwrap();
    thread::spawn(move || while other.batch_execute("CREATE TABLE tried (); DROP TABLE tried").is_ok() {});
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'SyncRep'";
    while client.query_one(sql, &[&ELSEWHERE]).unwrap().get::<_, i64>(0) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn production_killed_before_the_commit_changes_nothing_there() {
    let scene = Scene::set("killed_before");
    let blocker = block(&scene);
    let deployment = scene.deploy();
    scene.wait_for("Lock", &deployment);
    scene.servers.production.kill_nine().unwrap();
    drop(blocker);
    let id = deployment.join().unwrap().unwrap();
    assert_eq!(scene.state_of(id), ("failed".to_owned(), None));
    scene.servers.production.start_again().unwrap();
    assert_eq!(scene.rows_there(), 1);
    scene.next_deployment_inserts(100);
}

#[test]
fn production_killed_during_the_commit_is_settled_by_the_next_deployment() {
    let scene = Scene::set("killed_during");
    // Parts of a stage are committed before: only the last commit is to wait.
    let blocker = block(&scene);
    let deployment = scene.deploy();
    scene.wait_for("Lock", &deployment);
    commits_wait_for_a_standby(&scene.servers.production);
    drop(blocker);
    scene.wait_for("SyncRep", &deployment);
    scene.servers.production.kill_nine().unwrap();
    let id = deployment.join().unwrap().unwrap();
    assert_eq!(scene.state_of(id), ("in_doubt".to_owned(), None), "nobody can be asked what it did");

    scene.servers.production.start_again().unwrap();
    let mut client = scene.on_production();
    client.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    assert_eq!(scene.rows_there(), 101, "its transaction had committed");
    let ledger = "SELECT count(*) FROM opdb_deploy.ledger WHERE source_id = $1";
    assert_eq!(client.query_one(ledger, &[&id]).unwrap().get::<_, i64>(0), 1);
    scene.next_deployment_inserts(0);
    assert_eq!(scene.state_of(id), ("applied".to_owned(), Some(100)), "the ledger there has its counts");
}

#[test]
fn the_deploying_server_killed_changes_nothing_on_production() {
    let scene = Scene::set("source_killed");
    let blocker = block(&scene);
    let deployment = scene.deploy();
    scene.wait_for("Lock", &deployment);
    scene.servers.test.kill_nine().unwrap();
    assert_eq!(deployment.join().unwrap(), None);
    drop(blocker);
    scene.servers.test.start_again().unwrap();
    assert_eq!(scene.rows_there(), 1);
    scene.is_open();
    scene.next_deployment_inserts(100);
    assert_eq!(scene.history(), ["failed", "applied"], "the ledger there does not have it");
}

#[test]
fn a_fast_shutdown_does_not_wait_for_the_other_server() {
    let scene = Scene::set("fast_shutdown");
    // The blocker stays: a shutdown that waited for the deployment would wait for it.
    let blocker = block(&scene);
    let deployment = scene.deploy();
    scene.wait_for("Lock", &deployment);
    scene.servers.test.restart(Shutdown::Fast).unwrap();
    assert_eq!(deployment.join().unwrap(), None);
    scene.is_open();
    drop(blocker);
    assert_eq!(scene.rows_there(), 1);
    scene.next_deployment_inserts(100);
    assert_eq!(scene.history(), ["failed", "applied"], "what was shut down is settled by the next");
}
