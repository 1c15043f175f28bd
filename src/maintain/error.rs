use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    #[error("the maintenance window begins and ends at {0}")]
    EmptyWindow(String),
    #[error("options must be a JSON object")]
    NotAnObject,
    #[error("option \"{0}\" is what these jobs are made of")]
    FixedOption(&'static str),
    #[error("min_age must be from 0 to 100 years")]
    AgeOutOfRange,
    #[error("{0} is not an index")]
    NotAnIndex(String),
    #[error("index {0} is {1}")]
    NotAUsersIndex(String, String),
    #[error("index {index} is a part of the partitioned index {root}")]
    PartOf { index: String, root: String },
    #[error("must be owner of table {0}")]
    NotOwner(String),
    #[error("index {index} is not advised to be dropped: {why}")]
    NotAdvised { index: String, why: String },
    #[error("could not lock index {0} and its table")]
    Locked(String),
    #[error("index {0} was dropped or altered meanwhile")]
    Changed(String),
}

impl Report for MaintainError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::EmptyWindow(_) | Self::NotAnObject | Self::FixedOption(_) | Self::AgeOutOfRange => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::NotAnIndex(_) | Self::NotAUsersIndex(..) | Self::PartOf { .. } => {
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE
            }
            Self::NotOwner(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NotAdvised { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Locked(_) => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            Self::Changed(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::EmptyWindow(_) => "Choose an end that is not the start; it may be on the next day.".into(),
            Self::FixedOption(_) => {
                "Give the window as window_start and window_end; for other jobs, use add_job.".into()
            }
            Self::NotAnObject => "Write the options of add_job, for example {\"role\": \"…\"}.".into(),
            Self::AgeOutOfRange => "'7 days' is the default; '0' takes statistics of any age.".into(),
            Self::NotAnIndex(_) => "Name an index; SELECT * FROM opdb.index_advice() lists what may go.".into(),
            Self::NotAUsersIndex(..) => "Only indexes of users' own tables are dropped here.".into(),
            Self::PartOf { root, .. } => format!("Name {root}, if index_advice advises to drop it."),
            Self::NotOwner(_) => "Have the table's owner drop it.".into(),
            Self::NotAdvised { .. } => {
                "SELECT * FROM opdb.index_advice() WHERE action = 'drop' lists what may go. If you know better, use \
                 DROP INDEX CONCURRENTLY."
                    .into()
            }
            Self::Locked(_) => {
                "Another session uses the table. Try again, or run the ddl of opdb.index_advice, which waits without \
                 keeping others from the table but leaves no row in the ledger."
                    .into()
            }
            Self::Changed(_) => "Look again at what opdb.index_advice says.".into(),
        })
    }
}

crate::reported!(MaintainError);
