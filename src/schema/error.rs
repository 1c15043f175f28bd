use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("no schema was captured as \"{0}\"")]
    UnknownSnapshot(String),
    #[error("schema \"{0}\" does not exist")]
    UnknownSchema(String),
    #[error("\"{0}\" is not a valid name for a captured schema")]
    InvalidName(String),
    #[error("the list of schemas is empty")]
    NoSchemas,
    #[error("the schema captured as \"{name}\" has format {found}, this opdb reads format {known}")]
    OtherFormat { name: String, found: i32, known: i32 },
    #[error("{place} described its schema in a way that opdb does not understand: {reason}")]
    Unreadable { place: String, reason: String },
}

impl Report for SchemaError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::UnknownSnapshot(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::UnknownSchema(_) => PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
            Self::InvalidName(_) => PgSqlErrorCode::ERRCODE_INVALID_NAME,
            Self::NoSchemas => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::OtherFormat { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Unreadable { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownSnapshot(_) => {
                "SELECT opdb.capture_schema() captures the present schema as \"expected\"; \
                 SELECT * FROM opdb.schema_snapshots lists what was captured."
                    .into()
            }
            Self::UnknownSchema(_) => {
                "Check the spelling: names in the array are taken as they stand.".into()
            }
            Self::InvalidName(_) => "Use 1 to 63 bytes, for example expected.".into(),
            Self::NoSchemas => "Pass NULL for all schemas, or name at least one.".into(),
            Self::OtherFormat { name, .. } => {
                format!("Capture it again: SELECT opdb.capture_schema({}).", crate::pg::name::literal(name))
            }
            Self::Unreadable { .. } => {
                "Capture the schema again, or check the version of the other server.".into()
            }
        })
    }
}

crate::reported!(SchemaError);
