//! One server that preloads opdb, and pg_cron where it is installed. Tests share it and have databases of their own;
//! those that crash or restart it have it alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use opdb_e2e::cluster::{Cluster, Installation};
pub use opdb_e2e::psql::{execute, rows, text};
use postgres::Client;

/// Nothing takes so long but what never happens.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

static TURN: RwLock<()> = RwLock::new(());

/// The role that jobs run as: no superuser.
pub const ROLE: &str = "etl";

pub fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        let installation = Installation::from_env().unwrap();
        let preload = if has_pg_cron() { "opdb, pg_cron" } else { "opdb" };
        let settings = [
            ("shared_preload_libraries", preload),
            ("max_worker_processes", "40"),
            ("opdb.max_running_jobs", "16"),
            ("max_connections", "200"),
            ("autovacuum", "off"),
            ("cron.use_background_workers", "on"),
        ];
        let settings = if has_pg_cron() { &settings[..] } else { &settings[..5] };
        start(&installation, settings)
    })
}

fn start(installation: &Installation, settings: &[(&str, &str)]) -> Cluster {
    let cluster = Cluster::start_temporary(installation, settings).unwrap();
    execute(
        &mut cluster.connect_as_superuser("postgres").unwrap(),
        "CREATE ROLE etl LOGIN PASSWORD 'etl'; CREATE ROLE power LOGIN SUPERUSER PASSWORD 'power'",
    );
    cluster
}

/// A server of its own, which stays until this process ends.
pub fn another_server() -> &'static Cluster {
    let installation = Installation::from_env().unwrap();
    Box::leak(Box::new(start(&installation, &[("shared_preload_libraries", "opdb"), ("autovacuum", "off")])))
}

/// Whether this PostgreSQL has the extension pg_cron.
pub fn has_pg_cron() -> bool {
    let installation = Installation::from_env().unwrap();
    let is_there = installation.share.join("extension/pg_cron.control").exists();
    if !is_there {
        println!("without pg_cron: it is not installed for this PostgreSQL");
    }
    is_there
}

/// A database of one test.
pub struct Scene {
    cluster: &'static Cluster,
    pub name: String,
    pub client: Client,
    _shared: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
    _one: Option<MutexGuard<'static, ()>>,
}

impl Scene {
    /// A database with opdb, on the server that other tests use too.
    pub fn new() -> Self {
        let turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        Self::in_new_database(Some(turn), None)
    }

    /// The same while no other test runs.
    pub fn alone() -> Self {
        let turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
        Self::in_new_database(None, Some(turn))
    }

    /// The database of that name, with a fresh opdb, for one test at a time.
    pub fn in_database(name: &str) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = server().connect_as_superuser(name).unwrap();
        execute(
            &mut client,
            "SET client_min_messages = error; DROP EXTENSION IF EXISTS opdb CASCADE; DROP SCHEMA IF EXISTS work CASCADE",
        );
        Self { _one: Some(one), ..Self::prepared(name.to_owned(), client, Some(turn), None) }
    }

    fn in_new_database(
        shared: Option<RwLockReadGuard<'static, ()>>,
        alone: Option<RwLockWriteGuard<'static, ()>>,
    ) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("w{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server().create_database(&name).unwrap();
        let client = server().connect_as_superuser(&name).unwrap();
        Self::prepared(name, client, shared, alone)
    }

    fn prepared(
        name: String,
        mut client: Client,
        shared: Option<RwLockReadGuard<'static, ()>>,
        alone: Option<RwLockWriteGuard<'static, ()>>,
    ) -> Self {
        execute(
            &mut client,
            "SET client_min_messages = error; CREATE EXTENSION opdb CASCADE; GRANT opdb_operator TO etl;
             CREATE SCHEMA work AUTHORIZATION etl; GRANT CREATE ON SCHEMA public TO etl",
        );
        Self { cluster: server(), name, client, _shared: shared, _alone: alone, _one: None }
    }

    /// A database that is there already and has no opdb, on another server.
    pub fn on(cluster: &'static Cluster, name: &str) -> Self {
        let client = cluster.connect_as_superuser(name).unwrap();
        Self { cluster, ..Self::prepared(name.to_owned(), client, None, None) }
    }

    /// Another new database in the same turn: two turns of one test would wait for each other.
    pub fn also_in_a_new_one(&self) -> Self {
        Self::in_new_database(None, None)
    }

    /// Another session, of the superuser.
    pub fn session(&self) -> Client {
        self.cluster.connect_as_superuser(&self.name).unwrap()
    }

    /// A session of the role that jobs run as.
    pub fn as_role(&self) -> Client {
        self.cluster.connect(&self.name, ROLE, ROLE).unwrap()
    }

    pub fn reconnect(&mut self) {
        self.client = wait_for(|| self.cluster.connect_as_superuser(&self.name).ok());
    }

    pub fn execute(&mut self, sql: &str) {
        execute(&mut self.client, sql);
    }

    pub fn text(&mut self, sql: &str) -> String {
        text(&mut self.client, sql)
    }

    /// Adds a job of the role `etl`; `options` are more options, as JSON without braces.
    pub fn add(&mut self, name: &str, schedule: &str, command: &str, options: &str) {
        let comma = if options.is_empty() { "" } else { ", " };
        let role =
            if options.contains("\"role\"") { String::new() } else { format!(r#""role": "{ROLE}"{comma}"#) };
        let options = format!("{{{role}{options}}}");
        self.client
            .execute(
                "SELECT opdb.add_job($1, $2, $3, options => $4::text::jsonb)",
                &[&name, &schedule, &command, &options],
            )
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    /// A job that runs once, now.
    pub fn run_now(&mut self, name: &str, command: &str, options: &str) {
        self.add(name, "0 0 1 1 *", command, options);
        self.execute(&format!("SELECT opdb.run_job('{name}')"));
    }

    /// Waits until a query gives this text.
    pub fn wait_until(&mut self, sql: &str, expected: &str) {
        self.wait(sql, expected, PATIENCE);
    }

    /// The same for what comes with the next minute or the one after.
    pub fn wait_long(&mut self, sql: &str, expected: &str) {
        self.wait(sql, expected, PATIENCE + Duration::from_secs(120));
    }

    fn wait(&mut self, sql: &str, expected: &str, patience: Duration) {
        let started = Instant::now();
        loop {
            let found = self.text(sql);
            if found == expected {
                return;
            }
            if started.elapsed() > patience {
                let runs = rows(&mut self.client, "SELECT name, status, attempt, detail FROM opdb.job_runs");
                panic!("{sql}: {found} instead of {expected}; runs: {runs:?}; log:\n{}", tail(self.cluster));
            }
            thread::sleep(POLL);
        }
    }

    /// Waits for the last run of a job to have ended; gives its status and detail.
    pub fn outcome(&mut self, name: &str) -> (String, String) {
        self.wait_until(
            &format!(
                "SELECT count(*) > 0 AND bool_and(status <> 'running') FROM opdb.job_runs WHERE name = '{name}'"
            ),
            "t",
        );
        let row = rows(
            &mut self.client,
            &format!(
                "SELECT status, detail FROM opdb.job_runs WHERE name = '{name}' ORDER BY run_id DESC LIMIT 1"
            ),
        );
        (row[0][0].clone(), row[0][1].clone())
    }

    /// Waits until a job runs; gives the number of its process.
    pub fn pid_of(&mut self, name: &str) -> i32 {
        let sql = format!(
            "SELECT coalesce(max(pid), 0) FROM pg_stat_activity
             WHERE application_name = 'opdb job {name}' AND state = 'active' AND datname = current_database()"
        );
        wait_for(|| self.text(&sql).parse().ok().filter(|pid| *pid != 0))
    }
}

fn tail(cluster: &Cluster) -> String {
    let log = cluster.log();
    log.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

pub fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "it never happened; log:\n{}", tail(server()));
        thread::sleep(POLL);
    }
}

/// The SQLSTATE and the message of a statement that fails.
pub fn refused(client: &mut Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).err().unwrap_or_else(|| panic!("no error: {sql}"));
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}"));
    let hint = error.hint().unwrap_or_default();
    (error.code().code().to_owned(), format!("{} HINT: {hint}", error.message()))
}
