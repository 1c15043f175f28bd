//! SQL on a registered environment, over a connection to the postgres_fdw server that was made for it.
//! Nothing of opdb is needed on the other side.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;

use super::address::{self, Address};
use super::error::{Failure, Report, Result};
use super::foreign_server;
use super::libpq::{Answer, Broken, Connection, Next};
use super::spool::Spool;
use super::{name, session, spi, subtransaction};

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
            Self::NoServer(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
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
    connection: Connection,
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
        let (remote, mut stored) = (self.remote, 0);
        if spool.is_none() {
            *spool = Some(Spool::with_columns(columns)?);
        }
        self.take(|_, answer| {
            let Some(spool) = spool.as_mut() else { return Ok(()) };
            stored += i64::try_from(answer.rows()).unwrap_or(i64::MAX);
            spool.take_in(answer).map_err(|failure| explain_no_answer(&remote.environment, failure))
        })?;
        Ok(stored)
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
        let (remote, columns) = (self.remote, self.columns.clone());
        self.take(|query, answer| {
            let expected = columns.get(query).copied().unwrap_or(1);
            remote.rows(answer, expected, |row| take(query, row))
        })
    }

    /// Waits for the answers and hands on each, with the number of its query. All are waited for, also after a failure:
    /// only then is the connection free again.
    fn take(self, mut take: impl FnMut(usize, &Answer) -> Result<()>) -> Result<()> {
        let (mut answered, mut result) = (0, Ok(()));
        loop {
            match self.remote.next()? {
                Next::End => return result,
                Next::Answer(answer) => {
                    if answered >= self.ahead && result.is_ok() {
                        result = take(answered - self.ahead, &answer);
                    }
                    answered += 1;
                }
                Next::Failure(failure) => result = result.and(Err(failure)),
                Next::CopyIn => return Err(self.remote.unexpected("COPY", "no copy")),
            }
        }
    }
}

/// A row of a remote query: every value as text.
pub type Row = Vec<Option<String>>;

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
    let closed: Vec<Result<()>> = remotes.into_iter().map(|remote| remote.close(result.is_ok())).collect();
    let value = result?;
    closed.into_iter().collect::<Result<()>>()?;
    Ok(value)
}

impl Remote {
    fn open(environment: &str, access: Access) -> Result<Self> {
        let (address, connection) = address::reach(environment, |server| {
            let connected = foreign_server::connect(server);
            match connected.map_err(|failure| explain_no_connection(environment, failure))? {
                Ok(connection) => Ok(connection),
                Err(Broken(why)) => Err(explain_refusal(environment, &why)),
            }
        })?;
        Ok(Self {
            environment: environment.to_owned(),
            connection,
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
        self.query(sql, columns)?.pop().ok_or_else(|| self.unexpected("no row", "one"))
    }

    /// Runs one command there and returns how many rows it touched (0 where that means nothing).
    pub fn execute(&self, sql: &str) -> Result<i64> {
        let status = self.query_row(sql, 1)?.pop().flatten().unwrap_or_default();
        Ok(touched(&status))
    }

    /// Has a COPY there take the rows that `write` puts into it. Returns how many they were.
    pub fn copy_in(&self, sql: &str, write: impl FnOnce(&Connection) -> Result<()>) -> Result<i64> {
        let ahead = self.send(sql)?;
        let (mut answered, mut result) = (0, Ok(0));
        loop {
            match self.next()? {
                Next::End => return result,
                Next::CopyIn => break,
                Next::Answer(_) if answered < ahead => answered += 1,
                Next::Answer(answer) => result = Err(self.unexpected(&answer.command(), "a copy")),
                Next::Failure(failure) => result = Err(failure),
            }
        }
        let written = write(&self.connection);
        self.connection.put_end(written.is_err())?;
        loop {
            match self.next()? {
                Next::End => return self.copied(written, result),
                Next::Answer(answer) => result = Ok(touched(&answer.command())),
                Next::Failure(failure) => result = Err(failure),
                // It does not get there.
                Next::CopyIn => return Err(self.unexpected("COPY", "the end of a copy")),
            }
        }
    }

    /// What came of a copy: if the connection broke, that is why its rows could not be written.
    fn copied(&self, written: Result<()>, result: Result<i64>) -> Result<i64> {
        match written {
            Err(failure) if failure.class() != "08" => Err(failure),
            Err(failure) => {
                Err(result.err().unwrap_or_else(|| explain_no_answer(&self.environment, failure)))
            }
            Ok(()) => result,
        }
    }

    /// Returns how many answers come ahead of its own.
    fn send(&self, sql: &str) -> Result<usize> {
        let (mut text, answers) = self.ahead.take();
        text.push_str(sql);
        match self.connection.send(&text)? {
            Ok(()) => Ok(answers),
            Err(Broken(detail)) => {
                Err(RemoteError::Unreachable { environment: self.environment.clone(), detail }.into())
            }
        }
    }

    /// What comes next, with what it says about where it failed.
    fn next(&self) -> Result<Next> {
        match self.connection.next(self.deadline.get())? {
            None => Err(RemoteError::TimedOut { environment: self.environment.clone() }.into()),
            Some(Next::Failure(failure)) => Ok(Next::Failure(explain_no_answer(&self.environment, failure))),
            Some(next) => Ok(next),
        }
    }

    /// The rows of an answer; of a command, what it says that it did.
    fn rows(&self, answer: &Answer, expected: usize, mut take: impl FnMut(Row)) -> Result<()> {
        let columns = answer.columns();
        if columns == 0 {
            take(vec![Some(answer.command())]);
            return Ok(());
        }
        if columns != expected {
            return Err(self.unexpected(&format!("{columns} columns"), "another number of columns"));
        }
        for row in 0..answer.rows() {
            let values = (0..columns).map(|column| {
                let Some(value) = answer.value(row, column) else { return Ok(None) };
                let text = value.to_str();
                text.map(|text| Some(text.to_owned()))
                    .map_err(|_| self.unexpected(&value.to_string_lossy(), "text in UTF-8"))
            });
            take(values.collect::<Result<Row>>()?);
        }
        Ok(())
    }

    fn unexpected(&self, answer: &str, expected: &'static str) -> Failure {
        let (environment, answer) = (self.environment.clone(), answer.to_owned());
        RemoteError::UnexpectedAnswer { environment, answer, expected }.into()
    }

    /// Closes the connection. A statement that is still running there ends when that server next looks
    /// (see [`CHECK_CONNECTION`]): asking it to cancel would wait, unkillable, for a server that is stuck.
    fn close(self, is_idle: bool) -> Result<()> {
        // A pooler throws away a session that it gets back inside a transaction. There is none before the first
        // statement.
        let may_roll_back = is_idle && self.access != Access::Write && self.ahead.borrow().1 == 0;
        if !may_roll_back {
            return Ok(());
        }
        // A connection that breaks now has done what it was for.
        let rolled_back = subtransaction::run(|| self.execute("ROLLBACK")).map(drop);
        rolled_back.or_else(|failure| if failure.is_interrupt { Err(failure) } else { Ok(()) })
    }
}

/// How many rows, from what a command says that it did: 0 where that means nothing.
fn touched(command: &str) -> i64 {
    command.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A missing mapping has a better code than the catalog gives it.
fn explain_no_connection(environment: &str, failure: Failure) -> Failure {
    let is_mapping = failure.sqlstate == PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT
        && failure.message.contains("user mapping");
    if !is_mapping {
        return failure.on_environment(environment);
    }
    let role = spi::read_value::<String>("SELECT current_user::text", &[]);
    let role = role.ok().flatten().unwrap_or_default();
    RemoteError::NoCredentials { environment: environment.to_owned(), role }.into()
}

/// The reason stands only in libpq's text, so the wrong password of a server that does not speak English stays 08001.
fn explain_refusal(environment: &str, why: &str) -> Failure {
    let detail = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let environment = environment.to_owned();
    // The latter is PgBouncer's.
    let refusals = ["password authentication failed", "FATAL: SASL authentication failed"];
    if refusals.iter().any(|refusal| detail.contains(refusal)) {
        return RemoteError::WrongPassword { environment, detail }.into();
    }
    RemoteError::Unreachable { environment, detail }.into()
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
