use pgrx::PgSqlErrorCode;

use super::checks::CHECKS;
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
    #[error("somebody else made rows in the table that was empty")]
    NotEmpty,
    #[error("{there} rows were stored of {sent}, or others than were sent")]
    LoadDiffers { sent: i64, there: i64 },
    #[error("{rows} rows are not as they were sent after the upsert")]
    ResultDiffers { rows: String },
    #[error("{rows} rows were made there while others were written: what they were is not known")]
    MadeMeanwhile { rows: i64 },
    #[error("{left_out} rows were refused, so it is not certain which are to be deleted")]
    DeletesUncertain { left_out: usize },
    #[error("{rows} rows that were deleted are there all the same")]
    StillThere { rows: i64 },
    #[error("{errors} rows were refused, the threshold is {limit}; the first: {first}")]
    TooManyErrors { errors: usize, limit: usize, first: String },
    #[error(
        "the connection to environment \"{environment}\" broke while it committed, and it cannot be asked"
    )]
    InDoubt { environment: String },
    #[error("{errors} rows were refused and left out")]
    RowsLeftOut { id: i64, errors: usize, threshold: usize, by_hand: bool },
    #[error("unknown check \"{0}\"")]
    UnknownCheck(String),
    #[error("deployment {deployment_id} could not be recorded as {state}")]
    NotRecorded { deployment_id: i64, state: String },
    #[error("the server has no place for the process that records deployments")]
    NoProcess,
    #[error("deployment {0} does not exist")]
    UnknownDeployment(i64),
    #[error("deployment {id} cannot be rolled back: it is {state}")]
    NotApplied { id: i64, state: String },
    #[error("deployment {0} is a rollback itself")]
    IsRollback(i64),
    #[error("{rows} rows were changed since and left alone")]
    RowsSkipped { id: i64, rows: usize },
    #[error(
        "the setting opdb.target of this session names \"{target}\", the deployment went to \"{environment}\""
    )]
    OtherTarget { target: String, environment: String },
    #[error("deployment {id} went to another server, or another database, than the environment leads to now")]
    OtherServer { id: i64 },
    #[error("what was recorded of deployment {id} cannot be read: {reason}")]
    UnreadableDetails { id: i64, reason: String },
    #[error("column \"{column}\" of {table} does not exist, or is generated")]
    NoColumn { table: String, column: String },
    #[error("the transformation {0} is volatile")]
    VolatileTransformation(String),
    #[error("column \"{column}\" of {table} has no transformation")]
    NoTransformation { table: String, column: String },
    #[error("environment \"{0}\" is another server, or another database, than the last deployment went to")]
    UnknownTarget(String),
    #[error("{table} references itself by ({columns}), a number that is left to the target")]
    ReferencesItself { table: String, columns: String },
    #[error("{table} references {parent} by its key, and column \"{column}\" of that has a transformation")]
    TransformedKey { table: String, parent: String, column: String },
    #[error("schema opdb_deploy on the target is not what opdb makes: {what}")]
    UntrustedSchema { what: String },
    #[error("row security hides rows that may reference what is deleted: of {tables}")]
    HiddenReferences { tables: String },
    #[error("rows cannot be pulled in a transaction that keeps its snapshot")]
    KeepsSnapshot,
    #[error(
        "the rows that were written are not good enough (quality run {run}, which is not kept): {reason}"
    )]
    NotGood { table: String, run: i64, reason: String },
    #[error("what deployment {id} kept on the target is gone: {table}")]
    NothingKept { id: i64, table: String },
}

impl Report for DeployError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::InTransactionBlock => PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            Self::NoKey(_) => PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
            Self::KeyColumn { .. } | Self::UnknownExcluded(_) | Self::NoColumn { .. } => {
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN
            }
            Self::NotAsScored { .. } => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            Self::NoTransformation { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::VolatileCondition(_) | Self::VolatileTransformation(_) => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::UnknownOption(_) | Self::InvalidOption { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::Refused { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::ReferenceCycle(_) => PgSqlErrorCode::ERRCODE_INVALID_FOREIGN_KEY,
            Self::StagedDiffers { .. }
            | Self::ResultDiffers { .. }
            | Self::NotEmpty
            | Self::LoadDiffers { .. }
            | Self::StillThere { .. }
            | Self::DeletesUncertain { .. }
            | Self::TooManyErrors { .. } => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            Self::MadeMeanwhile { .. } => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::UnknownCheck(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::InDoubt { .. } => PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
            Self::OtherTarget { .. } | Self::OtherServer { .. } | Self::UnknownTarget(_) => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::KeepsSnapshot => {
                PgSqlErrorCode::ERRCODE_INAPPROPRIATE_ISOLATION_LEVEL_FOR_BRANCH_TRANSACTION
            }
            Self::NotGood { .. } => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            Self::TransformedKey { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::HiddenReferences { .. } | Self::UntrustedSchema { .. } => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::ReferencesItself { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::UnreadableDetails { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            Self::RowsSkipped { .. } => PgSqlErrorCode::ERRCODE_WARNING,
            Self::RowsLeftOut { .. } => PgSqlErrorCode::ERRCODE_WARNING,
            Self::NotRecorded { .. } => PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
            Self::NoProcess => PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Self::UnknownDeployment(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::NotApplied { .. } | Self::IsRollback(_) | Self::NothingKept { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
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
            Self::NotAsScored { table, .. } => {
                format!(
                    "Rules are evaluated as the owner of {table} with its schema as search_path: a condition must choose \
                     the same rows there (no current_user, no names without a schema)."
                )
            }
            Self::NoColumn { .. } => "Column names are taken as they stand, without folding case.".into(),
            Self::NoTransformation { .. } => {
                "SELECT * FROM opdb.transformation shows which columns have one.".into()
            }
            Self::VolatileTransformation(_) => {
                "What is checked would not be what is sent: use functions that are STABLE or IMMUTABLE.".into()
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
                "A value changed on its way, as text beyond ASCII does where the target is not in UTF8: compare the columns \
                 with opdb.verify_column_mapping. Nothing was changed."
                    .into()
            }
            Self::TooManyChanges { .. } => {
                "If that is meant, raise the option max_change_ratio. Nothing was changed.".into()
            }
            Self::ResultDiffers { .. } | Self::LoadDiffers { .. } => {
                "A trigger or a rule there alters rows, a key is spelled otherwise there, or the target is not in UTF8; \
                 nothing was changed."
                    .into()
            },
            Self::MadeMeanwhile { .. } | Self::NotEmpty => "Deploy again; nothing was changed.".into(),
            Self::DeletesUncertain { .. } => {
                "opdb.deployment_errors lists them: correct them, or deploy without delete_missing. Nothing was changed.".into()
            }
            Self::StillThere { .. } => "A trigger or a rule there keeps them; nothing was changed.".into(),
            Self::TooManyErrors { .. } => {
                "Everything was rolled back there. SELECT * FROM opdb.deployment_errors lists the rows; correct them, or raise \
                 the option error_threshold to leave more of them out."
                    .into()
            }
            Self::InDoubt { .. } => {
                "Bring it back and deploy again: that finds out first whether this deployment was committed.".into()
            }
            Self::RowsLeftOut { id, threshold, by_hand, .. } => {
                let look = format!("SELECT * FROM opdb.deployment_errors WHERE deployment_id = {id} lists them.");
                match by_hand {
                    true => format!(
                        "The threshold of {threshold} was reached, and auto_rollback is off. {look} To take everything back: \
                         SELECT * FROM opdb.rollback_deployment({id})"
                    ),
                    false => look,
                }
            }
            Self::UnknownCheck(_) => format!("Checks: {}.", CHECKS.join(", ")),
            Self::NotRecorded { deployment_id, .. } => format!(
                "The server's log says why. The next deployment to the environment finds out what became of deployment {deployment_id}."
            ),
            Self::NoProcess => "Raise max_worker_processes, or wait until fewer of them are in use.".into(),
            Self::RowsSkipped { id, .. } => {
                format!("SELECT * FROM opdb.deployment_errors WHERE deployment_id = {id} lists them.")
            }
            Self::OtherTarget { environment, .. } => {
                format!("Nothing was changed. SET opdb.target = {}, if that is meant.", literal(environment))
            }
            Self::UnknownTarget(_) => {
                "It has not what was deployed before: deploy once with mode all. Nothing was changed.".into()
            }
            Self::OtherServer { .. } => {
                "Nothing was changed. Only that database knows what the rows were before: register it again.".into()
            }
            Self::UnreadableDetails { .. } => "Report this as a defect of opdb. Nothing was changed.".into(),
            Self::TransformedKey { .. } => "Deploy them by another key, or drop the transformation.".into(),
            Self::UntrustedSchema { .. } => {
                "Whoever owns it could run code as the role that deploys. Look at what is in it, and drop it; nothing was changed."
                    .into()
            }
            Self::HiddenReferences { .. } => {
                "Connect there as a role from which the policies hide nothing. Nothing was changed.".into()
            }
            Self::KeepsSnapshot => "SET default_transaction_isolation = 'read committed', and call it again.".into(),
            Self::NotGood { table, .. } => format!(
                "Everything was rolled back. Score the rows where they come from: SELECT * FROM opdb.quality_score('{table}')"
            ),
            Self::ReferencesItself { .. } => {
                "Which number a row gets is not known before it is there: deploy the table by its primary key, or leave these \
                 columns out with exclude_columns."
                    .into()
            }
            Self::UnknownDeployment(_) => "SELECT deployment_id FROM opdb.deployments lists them.".into(),
            Self::NotApplied { state, .. } => match state.as_str() {
                "rolled_back" => "It was rolled back before; what was deployed later is a deployment of its own.",
                "in_doubt" | "applying" => {
                    "Deploy to the environment again: that finds out what became of it."
                }
                _ => "It changed nothing.",
            }
            .into(),
            Self::IsRollback(_) => "Deploy again what it took back.".into(),
            Self::NothingKept { .. } => {
                "It was cleaned up, or the target is another database by now. Deploy an older state of the rows instead.".into()
            }
        })
    }
}

crate::reported!(DeployError);
