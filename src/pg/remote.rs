//! SQL on a registered environment, through dblink and the postgres_fdw server that was made for it.
//! Nothing of opdb is needed on the other side.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;

use super::address::{self, Address};
use super::error::{Failure, Report, Result};
use super::spool::Spool;
use super::{name, session, spi, subtransaction, timeout};

/// How long a statement on another server may run, and wait for a lock, before that server ends it.
const STATEMENT_TIMEOUT: &str = "15min";
const LOCK_TIMEOUT: &str = "10s";
/// How long the other server keeps a transaction of a session that went away without a word.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "15min";
/// Makes the other server look every five seconds whether this one is still there while it works on a
/// statement; only some systems can, and no version before 14.
const CHECK_CONNECTION: &str = "CASE WHEN pg_catalog.version() LIKE '%linux%'
         AND pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL
    THEN pg_catalog.set_config('client_connection_check_interval', '5s', true) END";
/// What is committed there is to stay committed, whatever the role or the database was set to.
const COMMIT_TO_DISK: &str = "pg_catalog.set_config('synchronous_commit',
    CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'
         ELSE pg_catalog.current_setting('synchronous_commit') END, true)";

/// How often what has arrived is taken in between two pauses, and how long they may be: together they let through 50
/// megabytes a second.
const BUFFERS: usize = 32;
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// Fails on a server whose catalogs opdb does not know, without a question of its own: the error shows the text that is
/// no number.
const SUPPORTED: &str = "CASE WHEN pg_catalog.current_setting('server_version_num')::integer < 150000
    THEN pg_catalog.concat('older than 15: ', pg_catalog.current_setting('server_version'))::integer END";
const TOO_OLD: &str = "\"older than 15: ";

#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("environment \"{0}\" is not registered")]
    UnknownEnvironment(String),
    #[error("could not connect to environment \"{environment}\"")]
    Unreachable { environment: String, detail: String },
    #[error("environment \"{environment}\" refused the password")]
    WrongPassword { environment: String, detail: String },
    #[error("environment \"{environment}\" has no credentials for role \"{role}\"")]
    NoCredentials { environment: String, role: String },
    #[error("the connection to environment \"{environment}\" broke")]
    ConnectionLost { environment: String, detail: String },
    #[error("environment \"{environment}\" accepted the connection and did not answer in time")]
    TimedOut { environment: String },
    #[error("environment \"{0}\" is behind a pooler that pools statements, not transactions")]
    StatementPooling(String),
    #[error("environment \"{environment}\" is PostgreSQL {version}, which is older than 15")]
    TooOld { environment: String, version: String },
    #[error("the foreign server of environment \"{0}\" is gone")]
    NoServer(String),
    #[error("extension \"dblink\" is not installed")]
    NoDblink,
    #[error("environment \"{environment}\" answered \"{answer}\" where {expected} was expected")]
    UnexpectedAnswer { environment: String, answer: String, expected: &'static str },
}

impl Report for RemoteError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::UnknownEnvironment(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::Unreachable { .. } => PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
            Self::WrongPassword { .. } => PgSqlErrorCode::ERRCODE_INVALID_PASSWORD,
            Self::NoCredentials { .. } => PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            Self::ConnectionLost { .. } | Self::TimedOut { .. } => PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
            Self::StatementPooling(_) | Self::TooOld { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::NoDblink | Self::NoServer(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::UnexpectedAnswer { .. } => PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Unreachable { detail, .. }
            | Self::WrongPassword { detail, .. }
            | Self::ConnectionLost { detail, .. } => Some(detail.clone()),
            Self::StatementPooling(_) => Some(
                "Everything that opdb does on another server is one transaction of several statements."
                    .into(),
            ),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownEnvironment(_) => {
                "SELECT * FROM opdb.environments lists what is registered; opdb.register_environment() adds one.".into()
            }
            Self::Unreachable { environment, .. } => format!(
                "Check that the server runs, and host, port and dbname in opdb.environments; then try \
                 SELECT * FROM opdb.check_environment({}).",
                name::literal(environment)
            ),
            Self::WrongPassword { environment, .. } | Self::NoCredentials { environment, .. } => format!(
                "Call opdb.register_environment({}, …) as this role, with credentials '{{\"user\": …, \"password\": …}}'.",
                name::literal(environment)
            ),
            Self::ConnectionLost { environment, .. } | Self::TimedOut { environment } => format!(
                "What was not committed there is rolled back. Look at that server, and at \
                 SELECT * FROM opdb.check_environment({}).",
                name::literal(environment)
            ),
            Self::StatementPooling(_) => {
                "Give that database pool_mode = transaction (or session) in pgbouncer.ini, or register the server's own address.".into()
            }
            Self::TooOld { .. } => {
                "Its catalogs lack what opdb reads and compares: upgrade that server. check_environment works with it.".into()
            }
            Self::NoServer(environment) => format!(
                "It was dropped or renamed: SELECT opdb.drop_environment({}), then register it again.",
                name::literal(environment)
            ),
            Self::NoDblink => "CREATE EXTENSION dblink.".into(),
            Self::UnexpectedAnswer { .. } => "The other server may be of an unsupported version.".into(),
        })
    }
}

crate::reported!(RemoteError);

fn set_config((name, value): &(&str, &str)) -> String {
    format!("pg_catalog.set_config('{name}', '{value}', true)")
}

/// What the transaction there may do. Everything there happens in one, and every setting is the transaction's own: so
/// a pooler may give each transaction to another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads, and takes a server of any version.
    Look,
    /// Reads; every statement sees what was committed before it. Works on a standby.
    Read,
    /// Reads; all statements see the same. Works on a standby.
    Snapshot,
    /// Reads, and writes unless that database or role is set to read-only; whoever wants to keep what was written sends
    /// COMMIT.
    Write,
}

impl Access {
    const fn begin(self) -> &'static str {
        match self {
            Self::Look | Self::Read => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            Self::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Begins a transaction with opdb's settings. Returns two answers.
    fn statements(self) -> String {
        let limits = [
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("lock_timeout", LOCK_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
            ("client_min_messages", "error"),
        ];
        let calls: Vec<String> = session::PINNED.iter().chain(&limits).map(set_config).collect();
        let supported = if self == Self::Look { "NULL" } else { SUPPORTED };
        format!(
            "{}; SELECT pg_catalog.concat({}, {CHECK_CONNECTION}, {COMMIT_TO_DISK}, {supported}); ",
            self.begin(),
            calls.join(", ")
        )
    }
}

/// An open connection to an environment, in a transaction there.
pub struct Remote {
    environment: String,
    connection: String,
    dblink: String,
    address: Address,
    access: Access,
    /// When to stop waiting for answers.
    deadline: Cell<Option<Instant>>,
    /// What goes ahead of the next statement, in the same message, and how many answers it has.
    ahead: RefCell<(String, usize)>,
}

/// Queries that the other server works on. Nothing else can be asked there before they are answered.
pub struct Asked<'a> {
    remote: &'a Remote,
    ahead: usize,
    columns: Vec<usize>,
}

impl Asked<'_> {
    /// Waits for the answer of a single query and adds its rows, whose columns are of the given names and types, to
    /// `spool`. Returns how many there are.
    pub fn store(self, spool: &mut Option<Spool>, columns: &str) -> Result<i64> {
        let Self { remote, ahead, .. } = self;
        remote.wait_for_answer()?;
        let sql = format!(
            "SELECT * FROM {}.dblink_get_result({}) AS answer ({columns})",
            remote.dblink,
            name::literal(&remote.connection)
        );
        let told = |failure| explain_no_answer(&remote.environment, failure);
        let before = spool.as_ref().map_or(0, Spool::count);
        let stored =
            (0..ahead).try_for_each(|_| remote.fetch(1).map(drop)).and_then(|()| match spool.as_mut() {
                Some(spool) => spool.append(&sql).map_err(told),
                None => Spool::fill(&sql).map(|filled| *spool = Some(filled)).map_err(told),
            });
        let end = remote.fetch(1);
        stored?;
        end?;
        Ok(spool.as_ref().map_or(0, Spool::count) - before)
    }

    /// Waits for the answers and returns the rows of each query.
    pub fn answers(self) -> Result<Vec<Vec<Row>>> {
        let mut answers: Vec<Vec<Row>> = self.columns.iter().map(|_| Vec::new()).collect();
        self.each(|query, row| {
            if let Some(rows) = answers.get_mut(query) {
                rows.push(row);
            }
        })?;
        Ok(answers)
    }

    /// Waits for the answers and hands on the rows of each query, with its number.
    pub fn each(self, mut take: impl FnMut(usize, Row)) -> Result<()> {
        let Self { remote, ahead, columns } = self;
        remote.wait_for_answer()?;
        let taken = (0..ahead).try_for_each(|_| remote.fetch(1).map(drop)).and_then(|()| {
            let mut queries = columns.iter().enumerate();
            queries.try_for_each(|(query, columns)| remote.fetch_each(*columns, |row| take(query, row)))
        });
        // One more call takes the end of the answer, also of one that is an error; only then is the connection free
        // again.
        let end = remote.fetch(1);
        taken?;
        end.map(drop)
    }
}

/// A row of a remote query: every value as text.
pub type Row = Vec<Option<String>>;

thread_local! {
    static CONNECTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Connects to `environment`, runs `work` in a transaction there, and closes the connection whatever happened: what
/// `work` did not commit is rolled back by the other server.
///
/// Errors: 42704 unknown environment, 08001 unreachable, 28P01 wrong password, 28000 no user mapping for
/// this role; an error of the other server keeps its SQLSTATE and says where it happened.
pub fn with<T>(environment: &str, access: Access, work: impl FnOnce(&Remote) -> Result<T>) -> Result<T> {
    let remote = Remote::open(environment, access)?;
    let result = subtransaction::run(|| work(&remote));
    let closed = remote.close(result.is_ok());
    let value = result?;
    closed?;
    Ok(value)
}

/// `with` for several sessions of one environment, at least one and at most `wanted`: as many as that server lets in.
pub fn with_several<T>(
    environment: &str,
    access: Access,
    wanted: usize,
    work: impl FnOnce(&[Remote]) -> Result<T>,
) -> Result<T> {
    let mut remotes = vec![Remote::open(environment, access)?];
    let mut refused = None;
    while remotes.len() < wanted && refused.is_none() {
        match Remote::open(environment, access) {
            Ok(remote) => remotes.push(remote),
            Err(failure) => refused = Some(failure),
        }
    }
    let result = match refused {
        Some(failure) if failure.is_interrupt => Err(failure),
        refused => {
            if let Some(failure) = refused {
                pgrx::notice!("goes on with {} of {wanted} connections: {}", remotes.len(), failure.told());
            }
            subtransaction::run(|| work(&remotes))
        }
    };
    let closed: Vec<Result<()>> = remotes.iter().map(|remote| remote.close(result.is_ok())).collect();
    let value = result?;
    closed.into_iter().collect::<Result<()>>()?;
    Ok(value)
}

impl Remote {
    fn open(environment: &str, access: Access) -> Result<Self> {
        let dblink = spi::read_value::<String>(
            "SELECT pg_catalog.quote_ident(n.nspname)
             FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
             WHERE e.extname = 'dblink'",
            &[],
        )?
        .ok_or(RemoteError::NoDblink)?;
        let number = CONNECTIONS.replace(CONNECTIONS.get() + 1);
        let connection = format!("opdb {number}");
        let sql = format!("SELECT {dblink}.dblink_connect($1, $2)");
        let address = address::reach(environment, |server| {
            let connected = subtransaction::run(|| {
                timeout::within(address::time_to_connect(server)?, || {
                    spi::read_value::<String>(&sql, &[connection.as_str().into(), server.into()]).map(drop)
                })
            });
            match connected {
                Ok(Some(())) => Ok(()),
                Ok(None) => Err(RemoteError::Unreachable {
                    environment: environment.to_owned(),
                    detail: "timeout expired".into(),
                }
                .into()),
                Err(failure) => Err(explain_no_connection(environment, failure)),
            }
        })?;
        Ok(Self {
            environment: environment.to_owned(),
            connection,
            dblink,
            address,
            access,
            deadline: Cell::new(None),
            ahead: RefCell::new((access.statements(), 2)),
        })
    }

    /// The address that was reached.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// From now on answers are waited for no longer than this, all together.
    pub fn give_up_after(&self, time: Duration) {
        self.deadline.set(Instant::now().checked_add(time));
    }

    /// Rolls back what was done, and begins anew.
    pub fn restart(&self) {
        let mut ahead = self.ahead.borrow_mut();
        // Before the first statement there is nothing to roll back.
        if ahead.1 == 0 {
            *ahead = (format!("ROLLBACK; {}", self.access.statements()), 3);
        }
    }

    /// Ends the transaction now, and begins another with the next statement: while there is none, nothing is held back
    /// there, and it does not matter how long it takes.
    pub fn pause(&self) -> Result<()> {
        if self.ahead.borrow().1 == 0 {
            self.execute("ROLLBACK")?;
            *self.ahead.borrow_mut() = (self.access.statements(), 2);
        }
        Ok(())
    }

    /// Commits what was done, and begins another transaction with the next statement.
    pub fn commit(&self) -> Result<()> {
        self.execute("COMMIT")?;
        *self.ahead.borrow_mut() = (self.access.statements(), 2);
        Ok(())
    }

    /// Settings for the transaction, sent with the next statement.
    pub fn set_local(&self, settings: &[(&str, &str)]) {
        let calls: Vec<String> = settings.iter().map(set_config).collect();
        self.precede(&format!("SELECT pg_catalog.concat({})", calls.join(", ")));
    }

    /// Sends a statement in the same message as the next one. It returns one column, or nothing.
    pub fn precede(&self, sql: &str) {
        let mut ahead = self.ahead.borrow_mut();
        ahead.0.push_str(sql);
        ahead.0.push_str("; ");
        ahead.1 += 1;
    }

    /// How messages call the other server.
    pub fn place(&self) -> String {
        format!("environment \"{}\"", self.environment)
    }

    /// Gives triggers and functions there the search_path they were written for. The caller's own SQL is
    /// qualified.
    pub fn use_own_search_path(&self) -> Result<()> {
        self.execute("RESET search_path").map(drop)
    }

    /// Runs one query there; `columns` is how many it returns. Values come as text.
    pub fn query(&self, sql: &str, columns: usize) -> Result<Vec<Row>> {
        Ok(self.queries(&[(sql, columns)])?.pop().unwrap_or_default())
    }

    /// Runs several queries in one message, each with the number of columns that it returns.
    pub fn queries(&self, queries: &[(&str, usize)]) -> Result<Vec<Vec<Row>>> {
        self.ask(queries)?.answers()
    }

    /// Begins what `queries` does, so that both servers work at the same time.
    pub fn ask(&self, queries: &[(&str, usize)]) -> Result<Asked<'_>> {
        let texts: Vec<&str> = queries.iter().map(|(sql, _)| *sql).collect();
        let ahead = self.send(&texts.join(";\n"))?;
        let columns = queries.iter().map(|(_, columns)| *columns).collect();
        Ok(Asked { remote: self, ahead, columns })
    }

    /// `query` for one row.
    pub fn query_row(&self, sql: &str, columns: usize) -> Result<Row> {
        self.query(sql, columns)?.pop().ok_or_else(|| {
            RemoteError::UnexpectedAnswer {
                environment: self.environment.clone(),
                answer: "no row".into(),
                expected: "one",
            }
            .into()
        })
    }

    /// Runs one command there and returns how many rows it touched (0 where that means nothing).
    pub fn execute(&self, sql: &str) -> Result<i64> {
        let status = self.query_row(sql, 1)?.pop().flatten().unwrap_or_default();
        let count = status.rsplit(' ').next().and_then(|count| count.parse().ok());
        Ok(count.unwrap_or(0))
    }

    fn call(&self, function: &str, arguments: &str, sql: Option<&str>) -> Result<Option<i32>> {
        let statement = format!("SELECT {}.{function}($1{arguments})::int", self.dblink);
        let mut values = vec![self.connection.as_str().into()];
        values.extend(sql.map(Into::into));
        spi::read_value::<i32>(&statement, &values)
    }

    /// Returns how many answers come ahead of its own.
    fn send(&self, sql: &str) -> Result<usize> {
        let (mut text, answers) = self.ahead.take();
        text.push_str(sql);
        if self.call("dblink_send_query", ", $2", Some(&text))? == Some(1) {
            return Ok(answers);
        }
        let detail = spi::read_value::<String>(
            &format!("SELECT {}.dblink_error_message($1)", self.dblink),
            &[self.connection.as_str().into()],
        )?;
        Err(RemoteError::Unreachable {
            environment: self.environment.clone(),
            detail: detail.unwrap_or_default(),
        }
        .into())
    }

    /// Waits without blocking this backend: it can be cancelled and stopped while the other server works
    /// (dblink's own call cannot, before PostgreSQL 17).
    fn wait_for_answer(&self) -> Result<()> {
        // Asking takes in no more than a buffer of what has arrived, so it is asked as often as an answer may have buffers.
        let sql = format!(
            "SELECT pg_catalog.min({}.dblink_is_busy($1)) FROM pg_catalog.generate_series(1, {BUFFERS})",
            self.dblink
        );
        let begun = Instant::now();
        while spi::read_value::<i32>(&sql, &[self.connection.as_str().into()])? == Some(1) {
            if self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(RemoteError::TimedOut { environment: self.environment.clone() }.into());
            }
            // What took long so far takes an eighth of that longer at most because nobody looked.
            let pause = (begun.elapsed() / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            if pause < Duration::from_millis(1) {
                std::thread::sleep(pause);
            } else {
                session::wait(pause);
            }
        }
        Ok(())
    }

    fn fetch(&self, columns: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.fetch_each(columns, |row| rows.push(row))?;
        Ok(rows)
    }

    fn fetch_each(&self, columns: usize, mut take: impl FnMut(Row)) -> Result<()> {
        let definition: Vec<String> = (1..=columns).map(|column| format!("c{column} text")).collect();
        let sql = format!(
            "SELECT * FROM {}.dblink_get_result($1) AS answer({})",
            self.dblink,
            definition.join(", ")
        );
        subtransaction::run(|| {
            spi::read(&sql, &[self.connection.as_str().into()], |row| {
                let row: pgrx::spi::Result<Row> =
                    (1..=columns).map(|column| row.get::<String>(column)).collect();
                row.map(&mut take)
            })
        })
        .map(drop)
        .map_err(|failure| explain_no_answer(&self.environment, failure))
    }

    /// Closes the connection. A statement that is still running there ends when that server next looks
    /// (see [`CHECK_CONNECTION`]): asking it to cancel would wait, unkillable, for a server that is stuck.
    fn close(&self, is_idle: bool) -> Result<()> {
        // A pooler throws away a session that it gets back inside a transaction. There is none before the first
        // statement.
        let may_roll_back = is_idle && self.access != Access::Write && self.ahead.borrow().1 == 0;
        let rolled_back = match may_roll_back {
            true => subtransaction::run(|| self.execute("ROLLBACK")).map(drop),
            false => Ok(()),
        };
        subtransaction::run(|| {
            let sql = format!("SELECT {}.dblink_disconnect($1)", self.dblink);
            spi::read_value::<String>(&sql, &[self.connection.as_str().into()])
        })?;
        // A connection that breaks now has done what it was for.
        rolled_back.or_else(|failure| if failure.is_interrupt { Err(failure) } else { Ok(()) })
    }
}

/// dblink says 08001 for every reason; a wrong password and a missing mapping have better codes.
/// The reason stands only in libpq's text, so a server that does not speak English stays with 08001.
fn explain_no_connection(environment: &str, failure: Failure) -> Failure {
    let detail = failure.detail.clone().unwrap_or_else(|| failure.message.clone());
    let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = environment.to_owned();
    match failure.sqlstate {
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT if failure.message.contains("user mapping") => {
            let role = spi::read_value::<String>("SELECT current_user::text", &[]);
            let role = role.ok().flatten().unwrap_or_default();
            RemoteError::NoCredentials { environment: name, role }.into()
        }
        PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION => {
            // The latter is PgBouncer's.
            let refusals = ["password authentication failed", "FATAL: SASL authentication failed"];
            if refusals.iter().any(|refusal| detail.contains(refusal)) {
                RemoteError::WrongPassword { environment: name, detail }.into()
            } else {
                RemoteError::Unreachable { environment: name, detail }.into()
            }
        }
        _ => failure.on_environment(environment),
    }
}

/// A statement's own error stays as it is. What ended the connection has other codes when it happens here, where they
/// would say that this server goes down.
fn explain_no_answer(environment: &str, failure: Failure) -> Failure {
    let name = environment.to_owned();
    let version = failure.message.split_once(TOO_OLD).and_then(|(_, rest)| rest.split('"').next());
    let has_ended = matches!(
        failure.sqlstate,
        PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE
    );
    if failure.is_interrupt {
        return failure;
    }
    if let Some(version) = version {
        return RemoteError::TooOld { environment: name, version: version.to_owned() }.into();
    }
    if failure.message.contains("not allowed in statement pooling mode") {
        return RemoteError::StatementPooling(name).into();
    }
    if has_ended {
        let detail = failure.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let lost = RemoteError::ConnectionLost { environment: name, detail };
        return Failure { is_remote: true, ..lost.into() };
    }
    failure.on_environment(environment)
}
