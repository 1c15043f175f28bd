use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum SuggestError {
    #[error("permission denied for table {0}")]
    NotReadable(String),
    #[error("{0} has no rows to look at")]
    NoRows(String),
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: &'static str },
}

impl Report for SuggestError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NotReadable(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NoRows(_) => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::UnknownOption(_) | Self::InvalidOption { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotReadable(table) => format!("GRANT SELECT ON {table} TO this role."),
            Self::NoRows(_) => "Name a table, a view, a materialized view or a foreign table.".into(),
            Self::UnknownOption(_) | Self::InvalidOption { .. } => {
                "Options: sample_rows (1 to 10000000; by default 100000, fewer for more than 50 columns), min_rows \
                 (at least 1, default 30), min_ratio (greater than 0, at most 1, default 0.95)."
                    .into()
            }
        })
    }
}

crate::reported!(SuggestError);
