//! Two servers and as many databases as tests need.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use opdb_e2e::cluster::{Cluster, Installation};
use opdb_e2e::psql::describe;
pub use opdb_e2e::psql::{execute, rows, text};
use postgres::Client;

pub struct Servers {
    pub test: Cluster,
    pub production: Cluster,
}

/// Started by the first test that asks; stopped by their watchdogs when this process ends.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let installation = Installation::from_env().unwrap();
        let start = |settings: &[(&str, &str)]| Cluster::start_temporary(&installation, settings).unwrap();
        let test = start(&[
            ("shared_preload_libraries", "pg_stat_statements"),
            ("pg_stat_statements.track", "all"),
            // Of a statement that it has to forget while it runs it would keep the text with its constants.
            ("pg_stat_statements.max", "50000"),
            ("max_connections", "200"),
            ("max_prepared_transactions", "10"),
            // On, and not seen: what it does at a moment of its own choice would be in the way of tests.
            ("autovacuum_naptime", "1h"),
        ]);
        let production = start(&[("max_connections", "200"), ("wal_level", "logical")]);
        for cluster in [&test, &production] {
            cluster.create_database("with_opdb").unwrap();
            execute(&mut cluster.connect_as_superuser("with_opdb").unwrap(), "CREATE EXTENSION opdb CASCADE");
        }
        Servers { test, production }
    })
}

pub fn installation() -> Installation {
    Installation::from_env().unwrap()
}

/// A new database of `cluster`, with opdb.
pub fn database(cluster: &Cluster) -> String {
    new_database(cluster, "with_opdb")
}

/// A new database of `cluster`, without anything.
pub fn plain_database(cluster: &Cluster) -> String {
    new_database(cluster, "template1")
}

fn new_database(cluster: &Cluster, template: &str) -> String {
    // A template may not be in use, by another CREATE DATABASE either.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    execute(
        &mut cluster.connect_as_superuser("postgres").unwrap(),
        &format!("CREATE DATABASE {name} TEMPLATE {template}"),
    );
    name
}

/// How many connections the server process of a session has: with its client, and with other servers.
pub fn sockets(client: &mut Client) -> usize {
    let pid = text(client, "SELECT pg_backend_pid()");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_socket = |file: &std::io::Result<std::fs::DirEntry>| {
        let target = file.as_ref().ok().and_then(|file| std::fs::read_link(file.path()).ok());
        target.is_some_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    open.filter(is_socket).count()
}

/// A login role with a name of its own; its password is its name.
pub fn role(cluster: &Cluster, member_of: &[&str]) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("role{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut client, &format!("CREATE ROLE {name} LOGIN PASSWORD '{name}'"));
    for group in member_of {
        execute(&mut client, &format!("GRANT {group} TO {name}"));
    }
    name
}

/// A session on a database of the test server.
pub fn on_test(database: &str) -> Client {
    servers().test.connect_as_superuser(database).unwrap()
}

/// A session on a database of the production server.
pub fn on_production(database: &str) -> Client {
    servers().production.connect_as_superuser(database).unwrap()
}

/// A test database with opdb, declared as test, that knows a production database (with or without opdb)
/// under the name "production".
pub struct Pair {
    pub here: Client,
    pub there: Client,
    pub here_name: String,
    pub there_name: String,
}

impl Pair {
    pub fn with_plain_production() -> Self {
        Self::new(plain_database(&servers().production))
    }

    pub fn with_opdb_on_both() -> Self {
        Self::new(database(&servers().production))
    }

    fn new(there_name: String) -> Self {
        let here_name = database(&servers().test);
        let mut here = on_test(&here_name);
        execute(&mut here, "SELECT opdb.set_environment('test', 'test')");
        let pair = Self { here, there: on_production(&there_name), here_name, there_name };
        let production = &servers().production;
        pair.register("production", "production", production.superuser(), production.password())
    }

    /// What a statement says besides its result, in a session of its own.
    pub fn notices(&self, sql: &str) -> String {
        let heard = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&heard);
        let test = &servers().test;
        let mut client = postgres::Config::new()
            .host(test.host())
            .port(test.port())
            .user(test.superuser())
            .password(test.password())
            .dbname(&self.here_name)
            .notice_callback(move |notice| told.lock().unwrap().push_str(notice.message()))
            .connect(postgres::NoTls)
            .unwrap();
        execute(&mut client, sql);
        heard.lock().unwrap().clone()
    }

    /// New sessions on both databases, with nothing in their caches.
    pub fn reconnect(&mut self) {
        self.here = on_test(&self.here_name);
        self.there = on_production(&self.there_name);
    }

    /// Registers the production database once more, under another name or role.
    pub fn register(mut self, name: &str, kind: &str, user: &str, password: &str) -> Self {
        register(&mut self.here, name, kind, &self.there_name, user, password);
        self
    }
}

pub fn register(client: &mut Client, name: &str, kind: &str, dbname: &str, user: &str, password: &str) {
    let production = &servers().production;
    let options = serde_json::json!({
        "host": production.host(), "port": production.port(), "dbname": dbname,
    });
    let credentials = serde_json::json!({"user": user, "password": password});
    client
        .execute(
            "SELECT opdb.register_environment($1, $2, $3::text::jsonb, $4::text::jsonb)",
            &[&name, &kind, &options.to_string(), &credentials.to_string()],
        )
        .unwrap();
}

/// What a failing statement says.
#[derive(Debug)]
pub struct Refusal {
    pub sqlstate: String,
    pub message: String,
    pub hint: String,
    /// Everything that reaches the client.
    pub whole: String,
}

pub fn refused(client: &mut Client, sql: &str) -> Refusal {
    let error = match client.batch_execute(sql) {
        Ok(()) => panic!("no error: {sql}"),
        Err(error) => error,
    };
    let Some(database) = error.as_db_error() else { panic!("{sql}: {error}") };
    let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Refusal {
        sqlstate: database.code().code().to_owned(),
        message: database.message().to_owned(),
        hint: owned(database.hint()),
        whole: format!("{database:?}"),
    }
}

/// A few well-formed records, source_id event-1 to event-`count`, an hour apart from `2024-03-01T00:00Z`.
pub fn records(count: usize) -> String {
    let records: Vec<serde_json::Value> = (1..=count)
        .map(|number| {
            serde_json::json!({
                "source": "feed",
                "source_id": format!("event-{number}"),
                "occurred_at": format!("2024-03-{:02}T{:02}:00:00Z", 1 + number / 24, number % 24),
                "payload": {"n": number},
            })
        })
        .collect();
    serde_json::Value::Array(records).to_string()
}

/// Ingests records and returns (inserted, duplicates, rejected).
pub fn ingest(client: &mut Client, table: &str, records: &str) -> (i64, i64, i64) {
    let row = client
        .query_one("SELECT * FROM opdb.ingest($1::text::regclass, $2::text::jsonb)", &[&table, &records])
        .unwrap_or_else(|error| panic!("{}", describe(&error)));
    (row.get(0), row.get(1), row.get(2))
}
