use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum CompatError {
    #[error("table {table} does not exist on environment \"{environment}\"")]
    MissingThere { table: String, environment: String },
    #[error("the list of tables is empty")]
    NoTables,
}

impl Report for CompatError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::MissingThere { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Self::NoTables => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::MissingThere { .. } => {
                "Create it there first, under the same schema and name; the role that connects must see it."
                    .into()
            }
            Self::NoTables => "Name at least one table, for example '{raw_events}'.".into(),
        })
    }
}

crate::reported!(CompatError);
