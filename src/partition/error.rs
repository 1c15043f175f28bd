use pgrx::PgSqlErrorCode;

use crate::pg::error::Report;
use crate::pg::name::literal;

/// A table, its key's column and that column's type.
type Named = String;

#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("{0} is not a partitioned table")]
    NotPartitioned(String),
    #[error("{0} is partitioned by {1}, not by RANGE")]
    NotByRange(String, &'static str),
    #[error("{0} is partitioned by several columns")]
    SeveralColumns(String),
    #[error("{0} is partitioned by an expression")]
    OfExpression(String),
    #[error("the partition key \"{1}\" of {0} is of type {2}, which opdb cannot make ranges of")]
    UnsupportedType(Named, Named, Named),
    #[error("the partition key \"{1}\" of {0} is of type {2}, and nobody said what it counts")]
    NeedsWidth(Named, Named, Named),
    #[error("the partition key \"{1}\" of {0} is of type {2}, which has neither width nor unit")]
    NoNumber(Named, Named, Named),
    #[error("partitions cannot span {every}: {why}")]
    InvalidSpan { every: String, why: String },
    #[error("partitions cannot be {0} numbers wide")]
    InvalidWidth(i64),
    #[error("partitions of {table} cannot span {every}: its key is a date")]
    FinerThanDays { table: String, every: String },
    #[error("time zone \"{0}\" is not known")]
    UnknownZone(String),
    #[error("premake is {0}")]
    InvalidPremake(i32),
    #[error("retention of {0} is not positive, or longer than a thousand years")]
    InvalidRetention(String),
    #[error("retention of {retention} is shorter than a partition, which spans {every}")]
    RetentionTooShort { retention: String, every: String },
    #[error("retention_action \"{0}\" is unknown")]
    UnknownAction(String),
    #[error("retention_action archive needs a place, and only archive has one")]
    ArchivePlace,
    #[error("partition {partition} is not detached, as it could not be {done}: {}", why.join("; "))]
    NotToBeFinished { partition: String, done: &'static str, why: Vec<String> },
    #[error("values of \"{column}\", of type {type_name}, end before the partition from {from} would")]
    KeyEnds { column: String, type_name: String, from: String },
    #[error("start_at is infinite")]
    InfiniteStart,
    #[error("start_at would make {0} partitions at once")]
    StartTooEarly(usize),
    #[error("partition {0} has no upper bound")]
    Endless(String),
    #[error("partition {partition}, from {lower} to {upper}, is in the way of the range from {from} to {to}")]
    InTheWay { partition: String, lower: String, upper: String, from: String, to: String },
    #[error("partition {partition}: {why}")]
    Unreadable { partition: String, why: String },
    #[error("the partitions of {0} are not managed")]
    NotManaged(String),
    #[error("{table} has no column \"{column}\"")]
    NoColumn { table: String, column: String },
    #[error("must be owner of table {0}")]
    NotOwner(String),
    #[error("option \"{0}\" is unknown")]
    UnknownOption(String),
    #[error("option \"{option}\" must be {needs}")]
    InvalidOption { option: String, needs: &'static str },
    #[error("{kind} \"{name}\" does not exist")]
    UnknownPlace { kind: &'static str, name: String },
    #[error("the name {name} for the partition from {lower} to {upper} is taken")]
    NameTaken { name: String, lower: String, upper: String },
    #[error("{relation} is on hold: {reason}")]
    OnHold { relation: String, reason: String },
    #[error("{0} is neither a partitioned table nor a partition")]
    NothingToHold(String),
    #[error("{0} is not on hold")]
    NotOnHold(String),
    #[error("could not lock {relation} within {seconds} s")]
    Locked { relation: String, seconds: u64, blockers: String },
    #[error(
        "rows cannot be moved out of {default}: while they are, foreign keys are not looked after, and {what} runs code of its owner"
    )]
    OwnCode { default: String, what: String },
    #[error(
        "rows cannot be moved out of {default}: publication {publication} would tell its subscribers that they are gone, or new"
    )]
    Published { default: String, publication: String },
    #[error("{taken} rows were taken out of the default partition and {put} came to their place")]
    NotAllMoved { taken: usize, put: usize },
    #[error("another run works on the partitions of {0}")]
    Busy(String),
    #[error("partition {0} is no longer as it was planned")]
    Changed(String),
    #[error("that is no task of partition_tasks")]
    NoTask,
}

impl Report for PartitionError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NotPartitioned(_)
            | Self::NotByRange(..)
            | Self::SeveralColumns(_)
            | Self::OfExpression(_)
            | Self::NothingToHold(_) => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::OwnCode { .. } | Self::Published { .. } | Self::UnsupportedType(..) => {
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED
            }
            Self::Endless(_) | Self::InTheWay { .. } | Self::Unreadable { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION
            }
            Self::NotManaged(_) | Self::UnknownPlace { .. } | Self::NotOnHold(_) => {
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT
            }
            Self::NotOwner(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NoColumn { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::NameTaken { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_TABLE,
            Self::NotToBeFinished { .. } => PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            Self::OnHold { .. } | Self::Changed(_) => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::Locked { .. } | Self::Busy(_) => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Locked { blockers, .. } if !blockers.is_empty() => Some(blockers.clone()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPartitioned(table) => format!(
                "CALL opdb.partition_table({}, …) makes it one; SELECT * FROM opdb.plan_partition_table(…) shows how.",
                literal(table)
            ),
            Self::NotByRange(..) | Self::SeveralColumns(_) | Self::OfExpression(_) => {
                "opdb makes partitions of tables with PARTITION BY RANGE (one column).".into()
            }
            Self::UnsupportedType(..) => {
                "Keys may be timestamptz, timestamp, date, uuid (version 7), bigint, integer and smallint.".into()
            }
            Self::NeedsWidth(..) => {
                "For ids give options => '{\"width\": 1000000}'; for times since 1970 '{\"unit\": \"s\"}', ms or us.".into()
            }
            Self::NoNumber(..) => "Leave out width and unit; every says how much time a partition spans.".into(),
            Self::InvalidSpan { .. } => {
                "Use one unit of at least a second, such as '1 hour', '1 day', '7 days', '1 month' or '1 year'.".into()
            }
            Self::InvalidWidth(_) => "Give a width above 0.".into(),
            Self::FinerThanDays { .. } => "Use '1 day' or more.".into(),
            Self::UnknownZone(_) => "SELECT name FROM pg_timezone_names lists them; abbreviations are not taken.".into(),
            Self::InvalidPremake(_) => "Give how many partitions are to be there ahead of now: 0 to 1000.".into(),
            Self::InvalidRetention(_) => "Give how long data is kept, such as '90 days', or NULL for ever.".into(),
            Self::RetentionTooShort { .. } => "Keep data for at least one partition's span, or make partitions shorter.".into(),
            Self::UnknownAction(_) => "Use detach, drop or archive.".into(),
            Self::ArchivePlace => {
                "Give options archive_schema, archive_tablespace or both, or archive_environment, with retention_action => 'archive'.".into()
            }
            Self::InfiniteStart => "Give the time of the first row, or NULL for now.".into(),
            Self::StartTooEarly(_) => "At most 5000 are made: choose a later start_at or longer partitions.".into(),
            Self::Endless(_) => {
                "It takes every row to come. Detach it, or give it an upper bound: DETACH, then ATTACH with another bound.".into()
            }
            Self::InTheWay { .. } => {
                "Choose an interval that begins where it ends, or make one partition by hand that ends where a range begins.".into()
            }
            Self::Unreadable { .. } => "Detach it; opdb manages partitions with plain bounds of one column.".into(),
            Self::NotManaged(table) => format!("SELECT opdb.manage_partitions({});", literal(table)),
            Self::NoColumn { .. } => "Name a column of the table, without quotes.".into(),
            Self::NotOwner(_) => "Have the table's owner do it, or a member of that role.".into(),
            Self::UnknownOption(_) => format!("Options are {}.", super::options::HELP),
            Self::InvalidOption { .. } => format!("Options are {}.", super::options::HELP),
            Self::UnknownPlace { .. } => "Create it first, or check the spelling.".into(),
            Self::NameTaken { name, .. } => {
                format!("If that table belongs there, ATTACH it; otherwise rename it: ALTER TABLE {name} RENAME TO ….")
            }
            Self::OnHold { relation, .. } => {
                format!("When the hold is over: SELECT opdb.release_partitions({}).", literal(relation))
            }
            Self::NothingToHold(_) => "Name a partition, or a partitioned table for all of its partitions.".into(),
            Self::NotOnHold(_) => "SELECT * FROM opdb.partition_hold lists what is.".into(),
            Self::Locked { .. } => {
                "Nothing was changed, and the next run tries again. End what holds the lock if it should not run so long.".into()
            }
            Self::Busy(_) => "It does the same work; try again when it has ended.".into(),
            Self::Changed(_) => "SELECT * FROM opdb.plan_partitions() shows what is to be done now.".into(),
            Self::NotToBeFinished { .. } => {
                "Its rows stay in the table until that is changed; or choose another retention_action or place.".into()
            }
            Self::KeyEnds { .. } => {
                "Rows beyond the last partition have no place soon: ALTER the column's type to bigint.".into()
            }
            Self::OwnCode { .. } => "Move the rows by hand, or make the check one of built-in functions.".into(),
            Self::Published { publication, .. } => format!(
                "ALTER PUBLICATION {publication} to leave the table out until the next run has moved them, and move them on each subscriber, too."
            ),
            Self::NotAllMoved { .. } => {
                "Nothing was changed. A rule of a partition does not let all rows in; drop it, or move the rows by hand.".into()
            }
            Self::NoTask => "CALL opdb.run_partition_maintenance() does all that is to be done.".into(),
        })
    }
}

crate::reported!(PartitionError);
