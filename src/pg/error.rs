//! From what went wrong to what the user sees.

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::spi::SpiError;

/// An error on its way to the user. Capabilities make it from their own error enum (see [`Report`]);
/// it is also what an error raised by the server becomes once a subtransaction has caught it.
#[derive(Debug, Clone)]
pub struct Failure {
    pub sqlstate: PgSqlErrorCode,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Raised by another server, not by this one.
    pub is_remote: bool,
    /// The session was told to stop, by a person, a timeout or a shutdown: whatever comes next would not run either. Code
    /// that raises the same SQLSTATE only fails.
    pub is_interrupt: bool,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// An error of opdb's own, without more to say.
    pub fn new(sqlstate: PgSqlErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { sqlstate, message, detail: None, hint: None, is_remote: false, is_interrupt: false }
    }

    /// An error of the server or of Rust, as the server would have shown it.
    pub fn from_caught(caught: CaughtError) -> Self {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic { ereport: report, .. }) = caught;
        Self {
            sqlstate: report.sql_error_code(),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
            is_remote: false,
            // A lock_timeout is found out there, too, and only fails.
            is_interrupt: report.function_name() == Some("ProcessInterrupts")
                && sqlstate_text(report.sql_error_code() as i32).starts_with("57"),
        }
    }

    /// For undoing what was begun: a lock is missing, and will be asked for again.
    pub fn lock_not_available(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, message)
    }

    /// Whether a lock was not to be had, or not without a deadlock.
    pub fn is_of_locks(&self) -> bool {
        matches!(self.sqlstate_text().as_str(), "55P03" | "40P01")
    }

    /// Says where it happened, in front of the message.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// An error of another server.
    #[must_use]
    pub fn on_environment(mut self, environment: &str) -> Self {
        self.is_remote = true;
        self.at(&format!("environment \"{environment}\""))
    }

    /// All that there is to say, in one line.
    pub fn told(&self) -> String {
        let mut text = self.message.clone();
        for (label, more) in [("DETAIL", &self.detail), ("HINT", &self.hint)] {
            if let Some(more) = more {
                text += &format!(" {label}: {more}");
            }
        }
        text
    }

    /// The five characters of the SQLSTATE.
    pub fn sqlstate_text(&self) -> String {
        sqlstate_text(self.sqlstate as i32)
    }

    /// The two characters that name the SQLSTATE's class.
    pub fn class(&self) -> String {
        self.sqlstate_text().chars().take(2).collect()
    }
}

/// PostgreSQL packs each of the five characters of an SQLSTATE into six bits, the first one lowest.
fn sqlstate_text(packed: i32) -> String {
    (0..5).map(|place| char::from(((packed >> (6 * place)) & 0x3F) as u8 + b'0')).collect()
}

impl From<Failure> for ErrorReport {
    fn from(failure: Failure) -> Self {
        let mut report = ErrorReport::new(failure.sqlstate, failure.message, "opdb");
        if let Some(detail) = failure.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = failure.hint {
            report = report.set_hint(hint);
        }
        report
    }
}

/// What SPI itself answers (a wrong column number, a type that does not fit) is a defect of opdb:
/// the server's own errors never come this way.
impl From<SpiError> for Failure {
    fn from(error: SpiError) -> Self {
        let message = format!("opdb could not read the result of its own query: {error}");
        Self::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, message)
    }
}

/// What an error says beyond its message. The message itself is the error's `Display`.
pub trait Report: std::error::Error {
    /// The most specific of PostgreSQL's own SQLSTATEs.
    fn sqlstate(&self) -> PgSqlErrorCode;
    fn detail(&self) -> Option<String> {
        None
    }
    /// What to do next.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Lets `?` turn a capability's error enum into a [`Failure`], and so into what `#[pg_extern]` returns.
#[macro_export]
macro_rules! reported {
    ($error:ty) => {
        impl From<$error> for $crate::pg::error::Failure {
            fn from(error: $error) -> Self {
                use $crate::pg::error::Report;
                let (detail, hint) = (error.detail(), error.hint());
                Self { detail, hint, ..Self::new(error.sqlstate(), error.to_string()) }
            }
        }

        impl From<$error> for pgrx::pg_sys::panic::ErrorReport {
            fn from(error: $error) -> Self {
                $crate::pg::error::Failure::from(error).into()
            }
        }
    };
}

/// An argument that may not be NULL. opdb's functions are not STRICT, because a silent NULL (or no row)
/// for a forgotten argument looks like "nothing to report".
pub fn required<T>(argument: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Failure {
        hint: Some(format!("Pass a value for \"{argument}\".")),
        ..Failure::new(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument \"{argument}\" must not be NULL"),
        )
    })
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn an_sqlstate_is_unpacked_to_its_five_characters() {
        let text = super::sqlstate_text(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT as i32);
        assert_eq!(text, "42704");
    }
}
