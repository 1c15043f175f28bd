use pgrx::PgSqlErrorCode;

use super::data::Options;
use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum CompatError {
    #[error("table {table} does not exist on environment \"{environment}\"")]
    MissingThere { table: String, environment: String },
    #[error("permission denied for table {0}")]
    NotReadable(String),
    #[error("the list of tables is empty")]
    NoTables,
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: &'static str },
    #[error("the condition {0} is volatile")]
    VolatileCondition(String),
    #[error("column \"{column}\" of table {table} is not on both sides")]
    UnknownColumn { table: String, column: String },
    #[error("there is no column \"{column}\" in table {table} {place}")]
    NoSuchColumn { table: String, column: String, place: &'static str },
    #[error("two columns of table {table} would go to column \"{column}\"")]
    MappedTwice { table: String, column: String },
    #[error("no table has a column \"{0}\" to exclude")]
    UnknownExcluded(String),
    #[error("the mapping must be a JSON object of names there by names here")]
    InvalidMapping,
    #[error("table {table} and the one on environment \"{environment}\" have no column in common")]
    NoCommonColumns { table: String, environment: String },
    #[error("column \"{column}\" of table {table} is no part of a key: it may be NULL")]
    KeyMayBeNull { table: String, column: String },
    #[error("more than one row of table {table} has the same {key}")]
    KeyNotUnique { table: String, key: String },
    #[error("rows of table {0} go away as fast as they are compared")]
    KeepsChanging(String),
    #[error("the other server hashes text otherwise: table {0} cannot be compared")]
    HashesUnlike(String),
    #[error("the other server answered with something unexpected: {0}")]
    Unreadable(String),
}

impl Report for CompatError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::MissingThere { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Self::NotReadable(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NoTables
            | Self::UnknownOption(_)
            | Self::InvalidOption { .. }
            | Self::VolatileCondition(_)
            | Self::InvalidMapping => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::UnknownColumn { .. }
            | Self::UnknownExcluded(_)
            | Self::NoSuchColumn { .. }
            | Self::NoCommonColumns { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::MappedTwice { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            Self::KeyMayBeNull { .. } => PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
            Self::KeyNotUnique { .. } => PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
            Self::KeepsChanging(_) => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::HashesUnlike(_) => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Unreadable(_) => PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::MissingThere { .. } => {
                "Create it there first, under the same schema and name; the role that connects must see it."
                    .into()
            }
            Self::NotReadable(_) => "Its owner can GRANT SELECT on it.".into(),
            Self::NoTables => "Name at least one table, for example '{raw_events}'.".into(),
            Self::UnknownOption(_) | Self::InvalidOption { .. } => format!("Options: {}.", Options::HELP),
            Self::VolatileCondition(_) => {
                "It could choose other rows each time it is asked: use functions that are STABLE or IMMUTABLE."
                    .into()
            }
            Self::UnknownExcluded(_) => "Name columns as they are, without quotes.".into(),
            Self::UnknownColumn { .. } => "Name columns that the table has here and there.".into(),
            Self::NoSuchColumn { .. } | Self::MappedTwice { .. } | Self::InvalidMapping => {
                "For example '{\"name_here\": \"name_there\"}'; a column that is not named goes to the one of its name.".into()
            }
            Self::NoCommonColumns { .. } => {
                "Compare their columns with opdb.check_compatibility(); columns go by their names.".into()
            }
            Self::KeyMayBeNull { .. } => {
                "Name columns that are NOT NULL on both sides, or leave the option \"key\" out: rows are then \
                 compared as a whole."
                    .into()
            }
            Self::KeyNotUnique { .. } => {
                "Name columns that tell rows apart on both sides in the option \"key\", or leave it out: rows are \
                 then compared as a whole."
                    .into()
            }
            Self::KeepsChanging(_) => "Compare again when less is deleted there.".into(),
            Self::HashesUnlike(_) => {
                "The two machines may differ in byte order. Compare schemas and counts instead.".into()
            }
            Self::Unreadable(_) => "The other server may be of an unsupported version.".into(),
        })
    }
}

crate::reported!(CompatError);
