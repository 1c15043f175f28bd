use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;
use crate::pg::name::{identifier, literal};

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{table} cannot have a partition on another server: {why}")]
    NoForeignPartition { table: String, why: String },
    #[error("{owner}, the owner of {table}, lacks {lacks} environment \"{environment}\"")]
    OwnerCannotReach { table: String, owner: String, environment: String, lacks: &'static str },
    #[error("environment \"{environment}\" has a table {table} that opdb did not make for this partition")]
    NameTakenThere { environment: String, table: String },
    #[error("the archived table {table} on environment \"{environment}\" has other rows than the partition")]
    OtherRowsThere { environment: String, table: String },
    #[error("environment \"{environment}\" has no {kind} {name}")]
    MissingThere { environment: String, kind: &'static str, name: String },
    #[error("environment \"{0}\" sorts texts otherwise than this database")]
    SortsOtherwise(String),
    #[error("partition {partition} is not copied to environment \"{environment}\" yet")]
    NotShipped { partition: String, environment: String },
    #[error("partition {partition} was written to since it was copied to environment \"{environment}\"")]
    WrittenSince { partition: String, environment: String },
    #[error("partition {0} is being written to")]
    Written(String),
    #[error("partition {partition} is copied, and transactions that began before would not see the copy")]
    OlderTransactions { partition: String, blockers: String },
}

impl Report for ArchiveError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NoForeignPartition { .. } | Self::SortsOtherwise(_) => {
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED
            }
            Self::OwnerCannotReach { .. } => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NameTakenThere { .. } | Self::OtherRowsThere { .. } => {
                PgSqlErrorCode::ERRCODE_DUPLICATE_TABLE
            }
            Self::MissingThere { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::NotShipped { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::WrittenSince { .. } => PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            Self::Written(_) | Self::OlderTransactions { .. } => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::OlderTransactions { blockers, .. } => Some(blockers.clone()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoForeignPartition { .. } => {
                "Use archive_schema or archive_tablespace without archive_environment.".into()
            }
            Self::OwnerCannotReach { owner, environment, .. } => format!(
                "GRANT opdb_operator TO {}; then, as that role, SELECT opdb.register_environment({}, …) with credentials.",
                identifier(owner),
                literal(environment)
            ),
            Self::NameTakenThere { .. } => "Rename it there, or give another archive_schema.".into(),
            Self::OtherRowsThere { table, .. } => format!(
                "opdb empties no table that may be in use. If none uses it, DROP TABLE {table} there; it is then copied again."
            ),
            Self::MissingThere { kind, name, .. } => {
                format!("Create {kind} {name} there, just as it is here.")
            }
            Self::SortsOtherwise(_) => {
                "Use a database there with the same locale, or give the table's columns a COLLATE that both have."
                    .into()
            }
            Self::NotShipped { .. } => {
                "SELECT * FROM opdb.partition_runs shows why; the next run tries again.".into()
            }
            Self::WrittenSince { .. } => "Nothing was changed; the next run copies it again.".into(),
            Self::Written(_) => "Nothing was changed, and the next run tries again. Keep partitions longer if they are still written to.".into(),
            Self::OlderTransactions { .. } => "The next run goes on when they have ended.".into(),
        })
    }
}

crate::reported!(ArchiveError);
