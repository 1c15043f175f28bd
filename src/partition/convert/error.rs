use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;
use crate::pg::name::literal;

#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("{table} cannot be partitioned by \"{column}\"")]
    Obstacles { table: String, column: String, reasons: Vec<String> },
    #[error("the rows of {table} would need {partitions} partitions")]
    TooMany { table: String, partitions: usize },
    #[error("{0} was altered since its conversion began")]
    Altered(String),
    #[error("{0} is not being converted")]
    NotConverted(String),
    #[error("{0} is partitioned already: its conversion cannot be undone")]
    Swapped(String),
    #[error("a table is converted at isolation level read committed, not {0}")]
    Isolation(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: &'static str, needs: &'static str },
}

impl Report for ConvertError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Obstacles { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::TooMany { .. } | Self::InvalidOption { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::Altered(_) | Self::Swapped(_) => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Isolation(_) => PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            Self::NotConverted(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Obstacles { reasons, .. } => Some(reasons.join("\n")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Obstacles { .. } => {
                "Each line of the detail is something to change or to drop first.".into()
            }
            Self::TooMany { .. } => {
                "At most 1000 are made: choose a longer interval or a larger width.".into()
            }
            Self::Altered(table) => {
                format!("SELECT opdb.cancel_partition_table({}); then begin again.", literal(table))
            }
            Self::NotConverted(_) => "SELECT * FROM opdb.partition_conversions lists what is.".into(),
            Self::Swapped(table) => {
                format!("CALL opdb.partition_table({}, …) does what is left to do.", literal(table))
            }
            Self::Isolation(_) => {
                "SET default_transaction_isolation = 'read committed'; then call it again.".into()
            }
            Self::InvalidOption { .. } => super::options::HELP.into(),
        })
    }
}

crate::reported!(ConvertError);
