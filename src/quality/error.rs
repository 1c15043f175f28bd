use opdb_core::quality::Dimension;
use pgrx::PgSqlErrorCode;

use super::rule::Check;
use crate::pg::error::Report;

#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    #[error("unknown dimension \"{0}\"")]
    UnknownDimension(String),
    #[error("unknown rule \"{0}\"")]
    UnknownRule(String),
    #[error("column \"{column}\" of {table} does not exist")]
    UnknownColumn { table: String, column: String },
    #[error("rule \"{rule}\" needs {needs}")]
    Incomplete { rule: &'static str, needs: &'static str },
    #[error("rule \"{rule}\" has no argument \"{argument}\"")]
    UnknownArgument { rule: &'static str, argument: String },
    #[error("{0}")]
    OutOfRange(&'static str),
    #[error("rule \"{rule}\" cannot be evaluated on {table}: {reason}")]
    NotEvaluable { rule: &'static str, table: String, reason: String },
    #[error("must be owner of table {0}")]
    NotOwner(String),
    #[error("permission denied for table {0}")]
    NotReadable(String),
    #[error("row security is forced on the owner of {0}")]
    ForcedRowSecurity(String),
    #[error("a condition on {0} takes the rights of its owner")]
    ForeignCondition(String),
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: &'static str },
    #[error("quality run {0} does not exist")]
    UnknownRun(i64),
}

impl Report for QualityError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::UnknownColumn { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::NotEvaluable { .. } => PgSqlErrorCode::ERRCODE_INVALID_COLUMN_DEFINITION,
            Self::NotOwner(_) | Self::NotReadable(_) | Self::ForeignCondition(_) => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::UnknownRun(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::ForcedRowSecurity(_) => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownDimension(_) => {
                format!("Use one of: {}.", Dimension::ALL.map(Dimension::as_str).join(", "))
            }
            Self::UnknownRule(_) => format!("Use one of: {}.", Check::NAMES.join(", ")),
            Self::UnknownColumn { .. } => {
                "Column names are taken as they stand, without folding case.".into()
            }
            Self::Incomplete { rule, .. } | Self::UnknownArgument { rule, .. } => {
                format!("Its arguments are: {}.", Check::arguments(rule))
            }
            Self::OutOfRange(_) => {
                "weight is greater than 0, threshold between 0 and 1, severity error or warning.".into()
            }
            Self::NotEvaluable { .. } => "Check the types of the columns and of the arguments; a function outside the table's schema needs its own.".into(),
            Self::ForcedRowSecurity(table) => format!(
                "Rules are evaluated as the owner, who would not see every row: ALTER TABLE {table} NO FORCE ROW LEVEL \
                 SECURITY, or score as a role that is subject to the policies."
            ),
            Self::NotReadable(table) => format!("GRANT SELECT ON {table} TO this role."),
            Self::ForeignCondition(_) => {
                "Rules are evaluated as the table's owner, and a condition beside them: leave it out, or call as a \
                 member of the owner."
                    .into()
            }
            Self::NotOwner(_) => {
                "A rule is evaluated with the rights of the table's owner, so only the owner adds one.".into()
            }
            Self::UnknownOption(_) | Self::InvalidOption { .. } => {
                "Options: threshold (0..1, default 0.95), min_coverage (0..1, default 0.5), weights \
                 (an object with completeness, accuracy, consistency, integrity)."
                    .into()
            }
            Self::UnknownRun(_) => "opdb.quality_score returns the run_id.".into(),
        })
    }
}

crate::reported!(QualityError);
