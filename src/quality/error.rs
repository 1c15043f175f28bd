use opdb_core::format::Format;
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
    #[error("rule \"{rule}\" needs the argument \"{argument}\"")]
    MissingArgument { rule: &'static str, argument: &'static str },
    #[error("{table} has a rule \"{name}\" already")]
    NameTaken { table: String, name: String },
    #[error("\"{0}\" calls a volatile function")]
    Volatile(String),
    #[error("column \"{0}\" is neither a date nor a timestamp")]
    NotATime(String),
    #[error("the values of column \"{0}\" are in no order that a distance could be measured in")]
    NotOrdered(String),
    #[error("{relation} is {what}")]
    NotScorable { relation: String, what: String },
    #[error("{0} cannot be sampled")]
    NoSample(String),
    #[error("rule \"{rule}\" has no argument \"{argument}\"")]
    UnknownArgument { rule: &'static str, argument: String },
    #[error("{0}")]
    OutOfRange(&'static str),
    #[error("rule \"{rule}\" cannot be evaluated on {table}: {reason}")]
    NotEvaluable { rule: &'static str, table: String, reason: String },
    #[error("rules of {table} are evaluated as its owner, \"{owner}\", who may not call opdb's functions")]
    OwnerMayNot { table: String, owner: String },
    #[error("row security hides rows of {0}")]
    HiddenRows(String),
    #[error("run {run_id} has no rule {rule_id}")]
    NotInRun { run_id: i64, rule_id: i64 },
    #[error("it is not kept any more which rows failed in run {0}")]
    Forgotten(i64),
    #[error("{0} is not fit to hold what is set aside")]
    UnfitQuarantine(String),
    #[error("{0} is read with the rights of its owner")]
    ReadAsOwner(String),
    #[error("rows of {0} cannot be set aside")]
    NoQuarantine(String),
    #[error("must be owner of table {0}")]
    NotOwner(String),
    #[error("permission denied for table {0}")]
    NotReadable(String),
    #[error("row security is forced on the owner of {0}")]
    ForcedRowSecurity(String),
    #[error("a condition on {0} takes the rights of its owner")]
    ForeignCondition(String),
    #[error(
        "rows of table {table} cannot be set aside: its column \"{column}\" has the name of one that the table for them has of its own"
    )]
    ReservedColumn { table: String, column: &'static str },
    #[error(
        "rows of table {table} cannot be set aside: its child {child} has the column \"{column}\", which it has not"
    )]
    ColumnsOfAChild { table: String, child: String, column: String },
    #[error(
        "column \"{column}\" of {quarantine} is of type {is}, or of another collation, where {wanted} is copied to it"
    )]
    OtherColumn { quarantine: String, column: String, is: String, wanted: String },
    #[error(
        "{kept} of the rows of table {table} that were copied could not be deleted: a trigger or a rule keeps them"
    )]
    NotDeleted { table: String, kept: usize },
    #[error("table {0} was altered after the snapshot on which this call reads its rows")]
    Altered(String),
    #[error("unknown option \"{0}\"")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: String },
    #[error("unknown format \"{0}\"")]
    UnknownFormat(String),
    #[error("quality run {0} does not exist")]
    UnknownRun(i64),
}

impl Report for QualityError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::UnknownColumn { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::NotEvaluable { .. } | Self::NotATime(_) | Self::NotOrdered(_) => {
                PgSqlErrorCode::ERRCODE_INVALID_COLUMN_DEFINITION
            }
            Self::Volatile(_) => PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
            Self::NameTaken { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            Self::ReservedColumn { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            Self::OtherColumn { .. } => PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            Self::Altered(_) => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::NotScorable { .. } | Self::NoSample(_) => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::NotOwner(_)
            | Self::UnfitQuarantine(_)
            | Self::ReadAsOwner(_)
            | Self::OwnerMayNot { .. }
            | Self::NotReadable(_)
            | Self::ForeignCondition(_)
            | Self::HiddenRows(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::UnknownRun(_) | Self::NotInRun { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::Forgotten(_) | Self::NotDeleted { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::ForcedRowSecurity(_) | Self::NoQuarantine(_) | Self::ColumnsOfAChild { .. } => {
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED
            }
            _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownDimension(_) => {
                format!("Use one of: {}.", Dimension::ALL.map(Dimension::as_str).join(", "))
            }
            Self::UnknownRule(_) => format!("Use one of: {}.", Check::names().collect::<Vec<_>>().join(", ")),
            Self::UnknownColumn { .. } => {
                "Column names are taken as they stand, without folding case.".into()
            }
            Self::Incomplete { rule, .. }
            | Self::MissingArgument { rule, .. }
            | Self::UnknownArgument { rule, .. } => {
                format!("Its arguments are: {}. Each rule takes {{\"where\": condition}} too.", Check::arguments(rule))
            }
            Self::NameTaken { .. } => "Choose another name, or delete that rule from opdb.quality_rule.".into(),
            Self::Volatile(_) => {
                "A rule must say the same of a row each time, and change nothing: use functions that are declared \
                 STABLE or IMMUTABLE, and are."
                    .into()
            }
            Self::NotATime(_) => "Freshness is measured by a date, timestamp or timestamptz.".into(),
            Self::NotOrdered(_) => "Use the method \"psi\", or a column of numbers or times.".into(),
            Self::NotScorable { .. } => {
                "Name a table, a partitioned table, a view, a materialized view or a foreign table.".into()
            }
            Self::NoSample(_) => {
                "Blocks are sampled of tables and materialized views whose owner may read every partition: leave out \
                 \"sample\"."
                    .into()
            }
            Self::OwnerMayNot { owner, .. } => {
                format!("GRANT opdb_reader TO {}.", crate::pg::name::identifier(owner))
            }
            Self::HiddenRows(_) => "Ask as a role to which the table's policies do not apply.".into(),
            Self::NotInRun { run_id, .. } => {
                format!("SELECT rule_id, rule, columns FROM opdb.quality_report({run_id}) lists its rules.")
            }
            Self::Forgotten(_) => {
                "Score the table again; opdb.quality_failure_retention says for how many days failures are kept.".into()
            }
            Self::UnfitQuarantine(table) => format!(
                "It must be a plain table of the same owner, without triggers, rules and row security: rename {table}, and \
                 it is made anew."
            ),
            Self::ReadAsOwner(_) => {
                "A foreign table, or a view with security_invoker, shows its owner other rows than its callers: call as a \
                 member of the owner."
                    .into()
            }
            Self::ReservedColumn { column, .. } => {
                format!("Rename it: ALTER TABLE … RENAME COLUMN {column} TO ….")
            }
            Self::Altered(_) => "Repeat the call, in a new transaction.".into(),
            Self::ColumnsOfAChild { child, .. } => {
                format!("Add the rules to {child}, score it, and set its rows aside.")
            }
            Self::OtherColumn { quarantine, .. } => {
                format!("Rename {quarantine}, and it is made anew; or give its column that type.")
            }
            Self::NotDeleted { .. } => "Nothing was changed: set them aside without deleting them.".into(),
            Self::NoQuarantine(_) => "Only rows of tables can be found again.".into(),
            Self::OutOfRange(_) => {
                "weight is greater than 0, threshold between 0 and 1, severity error or warn.".into()
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
                "Options: threshold (0.95), min_coverage (0.5), min_completeness (0.95), gate (mean, min or row), weights \
                 (an object with completeness, accuracy, consistency, integrity), required (column names), implied, \
                 failures, digest (true or false), sample (a share of the blocks)."
                    .into()
            }
            Self::UnknownFormat(_) => format!("Use one of: {}.", Format::NAMES.join(", ")),
            Self::UnknownRun(_) => "opdb.quality_score returns the run_id.".into(),
        })
    }
}

crate::reported!(QualityError);
