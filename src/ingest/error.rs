use pgrx::PgSqlErrorCode;

use super::period::Period;
use crate::pg::error::Report;
use crate::pg::name::identifier;

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("{0} is not an event table")]
    NotAnEventTable(String),
    #[error("records must be a JSON array, not {0}")]
    NotAnArray(String),
    #[error("permission denied to ingest into {0}")]
    NoRight(String),
    #[error("{what} is, or runs what is, not the table owner's")]
    ForeignCode { table: String, what: String },
    #[error("the keys of {table} do not belong to its owner, {owner}")]
    KeysOfAnother { table: String, owner: String },
    #[error("row security of {0} applies to this role")]
    RowSecurity(String),
    #[error("a trigger of {0} discarded the record")]
    Discarded(String),
    #[error("the owner of {table}, {owner}, may not ingest")]
    OwnerIsNoOperator { table: String, owner: String },
    #[error("events cannot be partitioned by {0}")]
    UnsupportedPeriod(String),
    #[error("{0} already exists")]
    Exists(String),
    #[error("start_at must be a finite time")]
    InfiniteStart,
}

impl Report for IngestError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NotAnEventTable(_) => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::NotAnArray(_) | Self::InfiniteStart => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Discarded(_) => PgSqlErrorCode::ERRCODE_TRIGGERED_ACTION_EXCEPTION,
            Self::NoRight(_)
            | Self::OwnerIsNoOperator { .. }
            | Self::ForeignCode { .. }
            | Self::KeysOfAnother { .. } => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::UnsupportedPeriod(_) | Self::RowSecurity(_) => {
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED
            }
            Self::Exists(_) => PgSqlErrorCode::ERRCODE_DUPLICATE_TABLE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAnEventTable(_) => {
                "opdb.ingest writes to tables made by opdb.create_event_table('name'); name that table, not one of \
                 its partitions."
                    .into()
            }
            Self::NotAnArray(_) => {
                "Pass '[{\"source\": …, \"source_id\": …, \"occurred_at\": …, \"payload\": {…}}, …]'.".into()
            }
            Self::ForeignCode { table, .. } => format!(
                "Events are written as the owner of {table}, and so would it be run: give it to the owner, or drop it."
            ),
            Self::KeysOfAnother { owner, .. } => format!(
                "After ALTER TABLE … OWNER TO, give {0} the rest as well: ALTER TABLE name_keys OWNER TO {0} and ALTER \
                 FUNCTION name_keep_keys() OWNER TO {0}.",
                identifier(owner)
            ),
            Self::RowSecurity(_) => {
                "Events are written as the table's owner, which would pass by the policies: ingest as a role that they do \
                 not apply to."
                    .into()
            }
            Self::Discarded(_) => "A BEFORE trigger returned NULL for it.".into(),
            Self::OwnerIsNoOperator { owner, .. } => {
                format!("Events are written as the table's owner: GRANT opdb_operator TO {}.", identifier(owner))
            }
            Self::NoRight(table) => format!("GRANT INSERT ON {table} TO this role."),
            Self::UnsupportedPeriod(_) => format!(
                "Use one of: {}.",
                Period::ALL.map(|period| format!("1 {}", period.unit())).join(", ")
            ),
            Self::Exists(_) => "Choose another name, or drop what is there; name_keys and the function name_keep_keys() \
                                stay when an event table is dropped."
                .into(),
            Self::InfiniteStart => "Leave start_at out to begin with today.".into(),
        })
    }
}

crate::reported!(IngestError);
