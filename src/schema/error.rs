use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;
use crate::pg::name::literal;

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
    #[error("{place} has a catalog that opdb does not know: {catalog}")]
    UnknownCatalog { place: String, catalog: String },
    #[error("{count} objects could not be described, so the schema cannot be captured or fingerprinted")]
    Incomplete { count: usize, first: Vec<String>, is_locked: bool },
    #[error("the schema changed while it was read")]
    Changing,
    #[error("\"{from}\" and \"{to}\" were captured of different schemas")]
    OtherSchemas { from: String, to: String, detail: String },
    #[error("the schema is not as captured as \"{name}\": {count} differences")]
    Drifted { name: String, count: usize, first: Vec<String> },
}

impl Report for SchemaError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::UnknownSnapshot(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::UnknownSchema(_) => PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
            Self::InvalidName(_) => PgSqlErrorCode::ERRCODE_INVALID_NAME,
            Self::NoSchemas | Self::OtherSchemas { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::OtherFormat { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Unreadable { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            Self::UnknownCatalog { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Incomplete { is_locked: true, .. } => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            Self::Incomplete { .. } => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::Changing => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::Drifted { .. } => PgSqlErrorCode::ERRCODE_ASSERT_FAILURE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Incomplete { first, count, .. } | Self::Drifted { first, count, .. } => {
                let more = count.saturating_sub(first.len());
                let more = (more > 0).then(|| format!("… and {more} more"));
                Some(first.iter().cloned().chain(more).collect::<Vec<_>>().join("\n"))
            }
            Self::OtherSchemas { detail, .. } => Some(detail.clone()),
            _ => None,
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
            Self::InvalidName(_) => {
                "Use 1 to 63 bytes, for example expected; live and names that begin with env: mean something else \
                 to opdb.diff_schema."
                    .into()
            }
            Self::NoSchemas => "Pass NULL for all schemas, or name at least one.".into(),
            Self::OtherFormat { name, .. } => {
                format!("Capture it again: SELECT opdb.capture_schema({}).", literal(name))
            }
            Self::Unreadable { .. } => {
                "Capture the schema again, or check the version of the other server.".into()
            }
            Self::UnknownCatalog { .. } => {
                "That version of PostgreSQL is newer than this opdb: install an opdb that knows it.".into()
            }
            Self::Incomplete { is_locked: true, .. } => {
                "Try again when the process has ended its transaction: opdb does not wait for it.".into()
            }
            Self::Incomplete { .. } => "The owner of the extension must be able to see them.".into(),
            Self::Changing => "Try again.".into(),
            Self::OtherSchemas { .. } => "Capture both of the same schemas.".into(),
            Self::Drifted { name, .. } => format!(
                "SELECT * FROM opdb.schema_drift({name}) shows every difference; if they are meant, \
                 SELECT opdb.capture_schema({name}).",
                name = literal(name)
            ),
        })
    }
}

crate::reported!(SchemaError);
