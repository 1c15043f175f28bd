//! SQL expressions that a user wrote, checked before they become part of a query.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::error::{Failure, Report, Result};
use super::{session, subtransaction};

#[derive(Debug, thiserror::Error)]
pub enum ExpressionError {
    #[error("\"{text}\" is not an expression: {message}")]
    Syntax { text: String, message: String },
    #[error("\"{0}\" is more than one expression")]
    NotOne(String),
}

impl Report for ExpressionError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_SYNTAX_ERROR
    }

    fn hint(&self) -> Option<String> {
        Some(
            "Write what could stand in a CHECK constraint, for example: price >= 0 AND currency <> ''."
                .into(),
        )
    }
}

crate::reported!(ExpressionError);

/// `text` in parentheses, if the server's own parser takes it for exactly one expression. Nothing else
/// (a second statement, another clause, a comment that swallows what follows) passes.
pub fn parenthesised(text: &str) -> Result<String> {
    // Without the parentheses too: in them, what closes and opens some would still be one expression.
    let sources = [format!("SELECT {text}\n"), format!("SELECT ({text}\n)")];
    let sources = sources.map(|sql| session::c_string(&sql));
    let [bare, enclosed] = sources;
    let (bare, enclosed) = (bare?, enclosed?);
    let single =
        subtransaction::run(|| Ok(is_single_expression(&bare) && is_single_expression(&enclosed))).map_err(
            |failure: Failure| ExpressionError::Syntax { text: text.to_owned(), message: failure.message },
        )?;
    if !single {
        return Err(ExpressionError::NotOne(text.to_owned()).into());
    }
    Ok(format!("({text}\n)"))
}

/// Whether `condition` calls a function that may answer otherwise for the same row of `table`. Raises what is
/// wrong with the condition on that table.
#[allow(unsafe_code)]
pub fn is_volatile(condition: &str, table: &str) -> Result<bool> {
    let sql = session::c_string(&format!("SELECT FROM {table} WHERE {condition}"))?;
    // SAFETY: the parser and the analyser allocate in the current memory context and raise their own errors;
    // the statement is one SELECT, so the list holds one RawStmt and the query has a FROM-WHERE tree.
    unsafe {
        let statements = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let raw = (*(*statements).elements).ptr_value.cast::<pg_sys::RawStmt>();
        let query =
            pg_sys::parse_analyze_fixedparams(raw, sql.as_ptr(), std::ptr::null(), 0, std::ptr::null_mut());
        Ok(pg_sys::contain_volatile_functions((*(*query).jointree).quals))
    }
}

#[allow(unsafe_code)]
fn is_single_expression(sql: &std::ffi::CStr) -> bool {
    // SAFETY: the parser's trees live in the current memory context; every pointer is checked before use,
    // and a node is read as SelectStmt or ResTarget only after its tag said so.
    unsafe {
        let statements = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if statements.is_null() || (*statements).length != 1 {
            return false;
        }
        let raw = (*(*statements).elements).ptr_value.cast::<pg_sys::RawStmt>();
        let node = (*raw).stmt;
        if (*node).type_ != pg_sys::NodeTag::T_SelectStmt {
            return false;
        }
        let select = &*node.cast::<pg_sys::SelectStmt>();
        let bare = select.fromClause.is_null()
            && select.whereClause.is_null()
            && select.groupClause.is_null()
            && select.havingClause.is_null()
            && select.windowClause.is_null()
            && select.sortClause.is_null()
            && select.limitCount.is_null()
            && select.limitOffset.is_null()
            && select.lockingClause.is_null()
            && select.withClause.is_null()
            && select.intoClause.is_null()
            && select.distinctClause.is_null()
            && select.op == pg_sys::SetOperation::SETOP_NONE;
        bare && !select.targetList.is_null()
            && (*select.targetList).length == 1
            && unlabelled(select.targetList)
    }
}

/// Whether the only target has no alias and no indirection of its own.
#[allow(unsafe_code)]
unsafe fn unlabelled(targets: *mut pg_sys::List) -> bool {
    // SAFETY: the caller made sure the list has one element; a SELECT's targets are ResTarget nodes.
    unsafe {
        let target = (*(*targets).elements).ptr_value.cast::<pg_sys::ResTarget>();
        (*target).name.is_null()
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parenthesised;
    use pgrx::prelude::*;

    #[pg_test]
    fn only_a_single_expression_passes() {
        for good in ["a > 0", "a > 0 -- why", "(a + 1) * 2 BETWEEN 3 AND 4", "EXISTS (SELECT 1)"] {
            assert!(parenthesised(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a >",
            "1) , (2",
            "1) FROM pg_class WHERE (true",
            "1); DROP TABLE x; SELECT (2",
            "1) UNION SELECT (2",
            "a /*",
            "true) OR (true",
            "1) AS (x",
        ] {
            assert!(parenthesised(bad).is_err(), "{bad}");
        }
    }
}
