use pgrx::PgSqlErrorCode;

use super::options::Options;
use crate::pg::error::Report;
use crate::pg::name::literal;

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("opdb.deploy cannot run inside a transaction block, a function, CALL or DO")]
    InTransactionBlock,
    #[error("table {0} has no primary key to deploy by")]
    NoKey(String),
    #[error("key column \"{column}\" of {table} does not exist or is not sent")]
    KeyColumn { table: String, column: String },
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: &'static str },
    #[error("deployment to \"{environment}\" refused: {reasons}")]
    Refused { environment: String, tables: Vec<String>, options: String, reasons: String },
    #[error("column \"{0}\" to exclude exists in none of the tables")]
    UnknownExcluded(String),
    #[error("a row could not be read: {0}")]
    UnreadableRow(String),
    #[error("the {sent} rows that would be sent are not the {scored} that were scored")]
    NotAsScored { table: String, sent: i64, scored: i64 },
    #[error("the condition {0} is volatile")]
    VolatileCondition(String),
    #[error("tables reference each other in a circle: {0}")]
    ReferenceCycle(String),
    #[error("what was staged is not what was sent ({staged} of {sent} rows, digest {digest})")]
    StagedDiffers { sent: i64, staged: i64, digest: &'static str },
    #[error("{changed} of {present} rows would change, more than the share of {limit}")]
    TooManyChanges { changed: i64, present: i64, limit: f64 },
    #[error("{table}: {rows} rows are not as they were sent after the upsert")]
    ResultDiffers { table: String, rows: String },
}

impl Report for DeployError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::InTransactionBlock => PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            Self::NoKey(_) => PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
            Self::KeyColumn { .. } | Self::UnknownExcluded(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::UnreadableRow(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            Self::NotAsScored { .. } => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            Self::VolatileCondition(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::UnknownOption(_) | Self::InvalidOption { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::Refused { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::ReferenceCycle(_) => PgSqlErrorCode::ERRCODE_INVALID_FOREIGN_KEY,
            Self::StagedDiffers { .. } | Self::ResultDiffers { .. } => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            Self::TooManyChanges { .. } => PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InTransactionBlock => {
                "The other server commits before this call returns, so a ROLLBACK here could not undo it: call it \
                 outside BEGIN, for example with psql or pg_cron."
                    .into()
            }
            Self::UnknownExcluded(_) => "Column names are taken as they stand, without folding case.".into(),
            Self::UnreadableRow(_) => "Report this as a defect of opdb, with the column types of the table.".into(),
            Self::NotAsScored { table, .. } => {
                format!(
                    "Rules are evaluated as the owner of {table} with its schema as search_path: a condition must choose \
                     the same rows there (no current_user, no names without a schema)."
                )
            }
            Self::VolatileCondition(_) => {
                "It could choose other rows each time it is asked: use functions that are STABLE or IMMUTABLE.".into()
            }
            Self::NoKey(_) => "Add a primary key, or pass the option key: '{\"key\": [\"column\", …]}'.".into(),
            Self::KeyColumn { .. } => "The option key names columns that are sent, as they stand in the catalog.".into(),
            Self::UnknownOption(_) | Self::InvalidOption { .. } => format!("Options: {}.", Options::HELP),
            Self::Refused { environment, tables, options, .. } => {
                let names: Vec<String> = tables.iter().map(literal).collect();
                format!(
                    "Nothing was changed. See SELECT * FROM opdb.pre_deployment_check({}, ARRAY[{}], {})",
                    literal(environment),
                    names.join(", "),
                    literal(options)
                )
            }
            Self::ReferenceCycle(_) => "Deploy them one at a time, with the constraint dropped there meanwhile.".into(),
            Self::StagedDiffers { .. } => {
                "A value changed on its way: compare the columns with opdb.verify_column_mapping. Nothing was changed."
                    .into()
            }
            Self::TooManyChanges { .. } => {
                "If that is meant, raise the option max_change_ratio. Nothing was changed.".into()
            }
            Self::ResultDiffers { .. } => "A trigger or a rule there alters rows, or a key is spelled otherwise there; nothing was changed.".into(),
        })
    }
}

crate::reported!(DeployError);
