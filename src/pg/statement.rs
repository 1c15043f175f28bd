//! SQL statements that a user wrote, read by the server's own parser and run by it later.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::{PgList, PgSqlErrorCode};

use super::error::{Failure, Report, Result};
use super::{session, subtransaction};

#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("the command is not SQL: {0}")]
    Syntax(String),
    #[error("the command is {0} statements instead of one")]
    NotOne(i32),
    #[error("the command cannot be {0}")]
    Unfit(&'static str),
}

impl Report for StatementError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Syntax(_) | Self::NotOne(_) => PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
            Self::Unfit(_) => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax(_) => "Try the command in psql first.".into(),
            Self::NotOne(_) => {
                "Put several statements into a procedure and CALL it, or into a DO block; VACUUM and the like need a job each.".into()
            }
            Self::Unfit(_) => {
                "There is no client: each job runs in a transaction of its own, and its results go nowhere.".into()
            }
        })
    }
}

crate::reported!(StatementError);

/// What a statement leaves behind if it is interrupted, because it works in several transactions.
#[derive(Debug, PartialEq, Eq)]
pub enum Leaves {
    Nothing,
    /// CREATE INDEX CONCURRENTLY: an index that is not valid. `columns` are those of an index of plain columns.
    Index {
        table: String,
        name: Option<String>,
        columns: Option<Vec<String>>,
    },
    /// REINDEX CONCURRENTLY: indexes beside the old ones.
    Reindexed(Reindexed),
    /// ALTER TABLE … DETACH PARTITION … CONCURRENTLY: a partition that is neither in nor out.
    Partition {
        parent: String,
        partition: String,
    },
}

/// What is reindexed; names are quoted.
#[derive(Debug, PartialEq, Eq)]
pub enum Reindexed {
    Index(String),
    Table(String),
    Schema(String),
    Database,
}

/// Checks that `sql` is one statement that can run without a client, and says what it may leave.
///
/// Errors: 42601 for what does not parse or is not one statement, 0A000 for what needs a client.
pub fn check(sql: &str) -> Result<Leaves> {
    let text = session::c_string(sql)?;
    subtransaction::run(|| read(&text)).map_err(|failure: Failure| match failure.sqlstate {
        PgSqlErrorCode::ERRCODE_SYNTAX_ERROR if failure.hint.is_none() => {
            StatementError::Syntax(failure.message).into()
        }
        _ => failure,
    })
}

#[allow(unsafe_code)]
fn read(sql: &CStr) -> Result<Leaves> {
    // SAFETY: the parser's trees live in the current memory context; a node is read as what its tag says.
    unsafe {
        let statements = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::raw_parser(
            sql.as_ptr(),
            pg_sys::RawParseMode::RAW_PARSE_DEFAULT,
        ));
        let raw = match (statements.len(), statements.get_ptr(0)) {
            (1, Some(raw)) => raw,
            (count, _) => return Err(StatementError::NotOne(count as i32).into()),
        };
        let node = (*raw).stmt;
        match (*node).type_ {
            pg_sys::NodeTag::T_TransactionStmt => {
                Err(StatementError::Unfit("BEGIN, COMMIT or the like").into())
            }
            pg_sys::NodeTag::T_CopyStmt if (*node.cast::<pg_sys::CopyStmt>()).filename.is_null() => {
                Err(StatementError::Unfit("COPY from or to the client").into())
            }
            pg_sys::NodeTag::T_IndexStmt => Ok(of_index(&*node.cast())),
            pg_sys::NodeTag::T_ReindexStmt => Ok(of_reindex(&*node.cast())),
            pg_sys::NodeTag::T_AlterTableStmt => Ok(of_alter(&*node.cast())),
            _ => Ok(Leaves::Nothing),
        }
    }
}

#[allow(unsafe_code)]
unsafe fn of_index(statement: &pg_sys::IndexStmt) -> Leaves {
    if !statement.concurrent {
        return Leaves::Nothing;
    }
    // SAFETY: a parse tree as the server's grammar makes it: the list holds IndexElem nodes.
    unsafe {
        let elements = PgList::<pg_sys::IndexElem>::from_pg(statement.indexParams);
        let columns = elements.iter_ptr().map(|element| text((*element).name)).collect();
        Leaves::Index { table: name(statement.relation), name: text(statement.idxname), columns }
    }
}

#[allow(unsafe_code)]
unsafe fn of_reindex(statement: &pg_sys::ReindexStmt) -> Leaves {
    use pg_sys::ReindexObjectType::{REINDEX_OBJECT_INDEX, REINDEX_OBJECT_SCHEMA, REINDEX_OBJECT_TABLE};
    // SAFETY: a parse tree: the list holds DefElem nodes, and relation or name is set as the kind needs it.
    unsafe {
        let options = PgList::<pg_sys::DefElem>::from_pg(statement.params);
        let is_concurrent = |option: *mut pg_sys::DefElem| {
            CStr::from_ptr((*option).defname).to_bytes() == b"concurrently" && pg_sys::defGetBoolean(option)
        };
        if !options.iter_ptr().any(is_concurrent) {
            return Leaves::Nothing;
        }
        Leaves::Reindexed(match statement.kind {
            REINDEX_OBJECT_INDEX => Reindexed::Index(name(statement.relation)),
            REINDEX_OBJECT_TABLE => Reindexed::Table(name(statement.relation)),
            REINDEX_OBJECT_SCHEMA => Reindexed::Schema(text(statement.name).unwrap_or_default()),
            _ => Reindexed::Database,
        })
    }
}

#[allow(unsafe_code)]
unsafe fn of_alter(statement: &pg_sys::AlterTableStmt) -> Leaves {
    // SAFETY: a parse tree: the list holds AlterTableCmd nodes, and that of a DETACH holds a PartitionCmd.
    unsafe {
        let commands = PgList::<pg_sys::AlterTableCmd>::from_pg(statement.cmds);
        for command in commands.iter_ptr() {
            if (*command).subtype == pg_sys::AlterTableType::AT_DetachPartition {
                let detach = &*(*command).def.cast::<pg_sys::PartitionCmd>();
                if detach.concurrent {
                    return Leaves::Partition {
                        parent: name(statement.relation),
                        partition: name(detach.name),
                    };
                }
            }
        }
    }
    Leaves::Nothing
}

/// A relation's name as it stands in SQL.
#[allow(unsafe_code)]
unsafe fn name(relation: *const pg_sys::RangeVar) -> String {
    // SAFETY: the grammar gives every RangeVar a name; a schema is NULL or a string.
    unsafe {
        let relation = &*relation;
        let name = super::name::identifier(text(relation.relname).unwrap_or_default());
        match text(relation.schemaname) {
            Some(schema) => format!("{}.{name}", super::name::identifier(schema)),
            None => name,
        }
    }
}

#[allow(unsafe_code)]
unsafe fn text(string: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: NULL or a NUL-terminated string of the parse tree.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned())
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use pgrx::prelude::*;

    use super::{Leaves, Reindexed, check};

    #[pg_test]
    fn what_a_statement_may_leave_is_read_from_it() {
        assert_eq!(check("VACUUM (ANALYZE) t").unwrap(), Leaves::Nothing);
        assert_eq!(check("CREATE INDEX i ON t (a)").unwrap(), Leaves::Nothing);
        assert_eq!(
            check("create index concurrently if not exists \"I\" on s.\"T\" (a, b desc)").unwrap(),
            Leaves::Index {
                table: "s.\"T\"".into(),
                name: Some("I".into()),
                columns: Some(vec!["a".into(), "b".into()])
            }
        );
        assert_eq!(
            check("CREATE INDEX CONCURRENTLY ON t (lower(a))").unwrap(),
            Leaves::Index { table: "t".into(), name: None, columns: None }
        );
        assert_eq!(
            check("REINDEX (CONCURRENTLY, VERBOSE) TABLE t").unwrap(),
            Leaves::Reindexed(Reindexed::Table("t".into()))
        );
        assert_eq!(check("REINDEX (CONCURRENTLY off) TABLE t").unwrap(), Leaves::Nothing);
        assert_eq!(
            check("ALTER TABLE p DETACH PARTITION c CONCURRENTLY").unwrap(),
            Leaves::Partition { parent: "p".into(), partition: "c".into() }
        );
    }

    #[pg_test]
    fn what_cannot_be_a_job_is_refused() {
        for (sql, sqlstate) in [
            ("VACUM t", "42601"),
            ("", "42601"),
            ("SELECT 1; SELECT 2", "42601"),
            ("COMMIT", "0A000"),
            ("COPY t FROM STDIN", "0A000"),
        ] {
            assert_eq!(check(sql).unwrap_err().sqlstate_text(), sqlstate, "{sql}");
        }
    }
}
