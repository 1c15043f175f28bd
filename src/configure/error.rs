use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    #[error("unknown setting \"{0}\"")]
    Unknown(String),
    #[error("setting \"{name}\" must be {needs}")]
    Invalid { name: String, needs: &'static str },
}

impl Report for ConfigureError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Unknown(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::Invalid { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("SELECT name, value, description FROM opdb.settings shows what there is to set.".into())
    }
}

crate::reported!(ConfigureError);
