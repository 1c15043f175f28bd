use opdb_core::schedule::{CronError, EveryError};
use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("\"{0}\" is not a valid name for a job")]
    InvalidName(String),
    #[error("job \"{0}\" exists already")]
    Exists(String),
    #[error("job \"{0}\" does not exist")]
    Unknown(String),
    #[error("time zone \"{0}\" is not known")]
    UnknownZone(String),
    #[error("cron expression \"{text}\": {error}")]
    Cron { text: String, error: CronError },
    #[error("schedule \"{text}\": {error}")]
    Every { text: String, error: EveryError },
    #[error("schedule \"{0}\": what follows \"every\" is not an interval")]
    NoInterval(String),
    #[error("role \"{0}\" does not exist")]
    NoRole(String),
    #[error("role \"{0}\" may not log in")]
    NoLogin(String),
    #[error("role \"{role}\" may not connect to database \"{database}\"")]
    NoConnect { role: String, database: String },
    #[error("a job cannot run as the bootstrap superuser \"{0}\"")]
    Bootstrap(String),
    #[error("must be a member of role \"{0}\" to have a job run as it")]
    NotMember(String),
    #[error("job \"{name}\" belongs to role \"{role}\"")]
    NotOwner { name: String, role: String },
    #[error("the command is {0} bytes long, and at most 1 MB fits")]
    TooLong(usize),
    #[error("with gexec, the command must be a query: {0}")]
    NoQuery(String),
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: &'static str },
    #[error("pg_cron is not installed in database \"{0}\"")]
    NoPgCron(String),
    #[error("job \"{0}\" is run by pg_cron")]
    OfPgCron(String),
    #[error("the worker is off")]
    Off,
}

impl Report for WorkerError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::InvalidName(_) => PgSqlErrorCode::ERRCODE_INVALID_NAME,
            Self::Exists(_) => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            Self::Unknown(_) | Self::NoRole(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::NoLogin(_) | Self::Bootstrap(_) => {
                PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
            }
            Self::NoConnect { .. } | Self::NotMember(_) | Self::NotOwner { .. } => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::NoQuery(_) => PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
            Self::NoPgCron(_) | Self::OfPgCron(_) | Self::Off => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InvalidName(_) => "Use 1 to 100 printable characters.".into(),
            Self::Exists(name) => format!(
                "Choose another name, or drop it first: SELECT opdb.drop_job({});",
                pgrx::spi::quote_literal(name)
            ),
            Self::Unknown(_) => "SELECT name FROM opdb.jobs lists them.".into(),
            Self::UnknownZone(_) => {
                "Use a name of the IANA database, such as Europe/Berlin: SELECT name FROM pg_timezone_names.".into()
            }
            Self::Cron { .. } => {
                "Write minute, hour, day of month, month and day of week, for example 5 0 * * *; or: every 5 minutes.".into()
            }
            Self::Every { .. } | Self::NoInterval(_) => {
                "Write every and an interval of a second or more, for example: every 5 minutes.".into()
            }
            Self::NoRole(_) => "Check the spelling; names of roles are taken as they stand.".into(),
            Self::NoLogin(role) => format!(
                "Name another role in the option \"role\", or: ALTER ROLE {} LOGIN;",
                pgrx::spi::quote_identifier(role)
            ),
            Self::NoConnect { role, database } => format!(
                "GRANT CONNECT ON DATABASE {} TO {};",
                pgrx::spi::quote_identifier(database),
                pgrx::spi::quote_identifier(role)
            ),
            Self::Bootstrap(_) => {
                "Name a role that has the rights the job needs, and no more: options => '{\"role\": \"…\"}'.".into()
            }
            Self::NotMember(_) => "Add the job as a role that may SET ROLE to it, or as a superuser.".into(),
            Self::NotOwner { .. } => "Call it as a member of that role or of opdb_admin.".into(),
            Self::TooLong(_) => "Put it into a procedure, and CALL that.".into(),
            Self::NoQuery(_) => {
                "Write a SELECT with a column \"command\", without a semicolon and a comment at its end.".into()
            }
            Self::UnknownOption(_) => format!("The options are: {}.", super::options::HELP),
            Self::InvalidOption { .. } => format!("The options are: {}.", super::options::HELP),
            Self::NoPgCron(_) => {
                "CREATE EXTENSION pg_cron; in the database that cron.database_name says. In another one, call cron.schedule_in_database() there.".into()
            }
            Self::OfPgCron(_) => {
                "Its schedule is pg_cron's; SELECT opdb.unschedule_from_pg_cron(); gives it back to opdb's worker.".into()
            }
            Self::Off => {
                "Add opdb to shared_preload_libraries and restart the server, or SELECT opdb.schedule_with_pg_cron();".into()
            }
        })
    }
}

crate::reported!(WorkerError);
