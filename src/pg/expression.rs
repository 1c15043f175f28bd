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
    let syntax =
        |failure: Failure| ExpressionError::Syntax { text: text.to_owned(), message: failure.message };
    let single = placed("SELECT ".len(), || Ok(is_single_expression(&bare))).map_err(syntax)?
        && placed("SELECT (".len(), || Ok(is_single_expression(&enclosed))).map_err(syntax)?;
    if !single {
        return Err(ExpressionError::NotOne(text.to_owned()).into());
    }
    Ok(format!("({text}\n)"))
}

/// How far the answer of a condition depends on anything but the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatility {
    /// On nothing else.
    Immutable,
    /// On what other tables hold, on settings or on the time, but not within a statement.
    Stable,
    /// On each call, or it has effects of its own.
    Volatile,
}

/// Whether `condition` calls a function that may answer otherwise for the same row of `table`. Raises what is
/// wrong with the condition on that table.
pub fn is_volatile(condition: &str, table: &str) -> Result<bool> {
    Ok(volatility(condition, table)? == Volatility::Volatile)
}

/// What the answer of `condition` on the rows of `from` (a table, with an alias or not) depends on.
///
/// Errors: what is wrong with the condition there, with the place.
#[allow(unsafe_code)]
pub fn volatility(condition: &str, from: &str) -> Result<Volatility> {
    let qualification = analysed(condition, from)?;
    // SAFETY: a tree that the analyser made.
    unsafe {
        Ok(match () {
            () if pg_sys::contain_volatile_functions(qualification) => Volatility::Volatile,
            () if pg_sys::contain_mutable_functions(qualification)
                || pg_sys::checkExprHasSubLink(qualification) =>
            {
                Volatility::Stable
            }
            () => Volatility::Immutable,
        })
    }
}

/// Whether CHECK constraints of the table (as the catalog stores them) leave no row for which the condition is false,
/// as far as the planner's prover sees. The condition must be immutable.
#[allow(unsafe_code)]
pub fn is_implied(condition: &str, from: &str, constraints: &[String]) -> Result<bool> {
    let qualification = analysed(condition, from)?;
    let stored: Vec<_> = constraints.iter().map(|tree| session::c_string(tree)).collect::<Result<_>>()?;
    // SAFETY: trees that the analyser made, or made once and stored in the catalog; treated as ALTER TABLE does when it
    // looks for a constraint that implies another.
    unsafe {
        let clauses = |node: *mut pg_sys::Node, is_check: bool| {
            let node = pg_sys::eval_const_expressions(std::ptr::null_mut(), node);
            pg_sys::make_ands_implicit(pg_sys::canonicalize_qual(node.cast(), is_check))
        };
        let mut known = std::ptr::null_mut();
        for tree in &stored {
            known = pg_sys::list_concat(known, clauses(pg_sys::stringToNode(tree.as_ptr()).cast(), true));
        }
        Ok(pg_sys::predicate_implied_by(clauses(qualification, true), known, true))
    }
}

/// A condition on the rows of `from`, with names and types looked up.
#[allow(unsafe_code)]
fn analysed(condition: &str, from: &str) -> Result<*mut pg_sys::Node> {
    let before = format!("SELECT FROM {from} WHERE ");
    let sql = session::c_string(&format!("{before}{condition}"))?;
    // SAFETY: the parser and the analyser allocate in the current memory context and raise their own errors;
    // the statement is one SELECT, so the list holds one RawStmt and the query has a FROM-WHERE tree.
    let parenthesis = usize::from(condition.starts_with('('));
    placed(before.chars().count() + parenthesis, || unsafe {
        let statements = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let raw = (*(*statements).elements).ptr_value.cast::<pg_sys::RawStmt>();
        let query =
            pg_sys::parse_analyze_fixedparams(raw, sql.as_ptr(), std::ptr::null(), 0, std::ptr::null_mut());
        Ok((*(*query).jointree).quals)
    })
}

/// Runs `work`, and says in its failure at which character the server found what is wrong; `before` are not the
/// user's.
#[allow(unsafe_code)]
fn placed<T>(before: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut position = 0;
    let result = {
        // SAFETY: `position` outlives the callback, which is taken off the stack at the end of this block, also when an
        // error passes.
        let mut callback = pg_sys::ErrorContextCallback {
            previous: unsafe { pg_sys::error_context_stack },
            callback: Some(note_position),
            arg: (&raw mut position).cast(),
        };
        let _pushed = Pushed::new(&raw mut callback);
        subtransaction::run(work)
    };
    result.map_err(|failure: Failure| match usize::try_from(position) {
        Ok(position) if position > before => Failure {
            message: format!("{} (at character {})", failure.message, position - before),
            ..failure
        },
        _ => failure,
    })
}

/// A callback on the server's stack of those that add to an error.
struct Pushed(*mut pg_sys::ErrorContextCallback);

#[allow(unsafe_code)]
impl Pushed {
    fn new(callback: *mut pg_sys::ErrorContextCallback) -> Self {
        // SAFETY: main thread; the caller keeps the callback until this is dropped.
        unsafe {
            let previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = callback;
            Self(previous)
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Pushed {
    fn drop(&mut self) {
        // SAFETY: what was on the stack before is still alive.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}

/// # Safety
/// Called while an error is reported; `position` is where to keep the place that it names.
#[pg_guard]
#[allow(unsafe_code)]
unsafe extern "C-unwind" fn note_position(position: *mut std::ffi::c_void) {
    // SAFETY: as above.
    unsafe { *position.cast::<i32>() = pg_sys::geterrposition() };
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
