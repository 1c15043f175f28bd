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
    #[error("partition {partition} is copied, and transactions that began before would not see the copy")]
    OlderTransactions { partition: String, blockers: String },
    #[error("the name {0} in the archive is taken")]
    ArchiveNameTaken(String),
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
        "rows cannot be moved out of {default}: publication {publication} would tell its subscribers that they are deleted"
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
    #[error("partition {partition} was written to since it was copied to environment \"{environment}\"")]
    WrittenSince { partition: String, environment: String },
    #[error("partition {partition} is not copied to environment \"{environment}\" yet")]
    NotShipped { partition: String, environment: String },
    #[error("partition {0} is being written to")]
    Written(String),
}

impl Report for PartitionError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NotPartitioned(_)
            | Self::NotByRange(..)
            | Self::SeveralColumns(_)
            | Self::OfExpression(_)
            | Self::NothingToHold(_) => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::OwnCode { .. }
            | Self::Published { .. }
            | Self::UnsupportedType(..)
            | Self::NoForeignPartition { .. }
            | Self::SortsOtherwise(_) => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Endless(_) | Self::InTheWay { .. } | Self::Unreadable { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION
            }
            Self::NotManaged(_)
            | Self::UnknownPlace { .. }
            | Self::NotOnHold(_)
            | Self::MissingThere { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::NotOwner(_) | Self::OwnerCannotReach { .. } => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::NoColumn { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::WrittenSince { .. } => PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            Self::NameTaken { .. }
            | Self::ArchiveNameTaken(_)
            | Self::NameTakenThere { .. }
            | Self::OtherRowsThere { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_TABLE,
            Self::OnHold { .. } | Self::Changed(_) | Self::NotShipped { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::Locked { .. } | Self::Busy(_) | Self::Written(_) | Self::OlderTransactions { .. } => {
                PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
            }
            _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::OlderTransactions { blockers, .. } => Some(blockers.clone()),
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
            Self::OlderTransactions { .. } => "The next run goes on when they have ended.".into(),
            Self::ArchiveNameTaken(name) => format!("ALTER TABLE {name} RENAME TO …, or archive to another schema."),
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
            Self::NoForeignPartition { .. } => {
                "Use archive_schema or archive_tablespace without archive_environment.".into()
            }
            Self::OwnerCannotReach { owner, environment, .. } => format!(
                "GRANT opdb_operator TO {}; then, as that role, SELECT opdb.register_environment({}, …) with credentials.",
                crate::pg::name::identifier(owner),
                literal(environment)
            ),
            Self::NameTakenThere { .. } => "Rename it there, or give another archive_schema.".into(),
            Self::OtherRowsThere { table, .. } => format!(
                "opdb empties no table that may be in use. If none uses it, DROP TABLE {table} there; it is then copied again."
            ),
            Self::MissingThere { kind, name, .. } => format!("Create {kind} {name} there, just as it is here."),
            Self::SortsOtherwise(_) => {
                "Use a database there with the same locale, or give the table's columns a COLLATE that both have.".into()
            }
            Self::NotShipped { .. } => {
                "SELECT * FROM opdb.partition_runs shows why; the next run tries again.".into()
            }
            Self::WrittenSince { .. } => "Nothing was changed; the next run copies it again.".into(),
            Self::Written(_) => {
                "Nothing was changed, and the next run tries again. Keep partitions longer if they are still written to.".into()
            }
        })
    }
}

crate::reported!(PartitionError);
