//! Plans of statements that nobody runs.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::spi::{Spi, SpiHeapTupleData};
use serde_json::Value;

use super::error::Result;
use super::session::c_string;

/// A statement whose names and types the server has looked up.
struct Analyzed {
    parameters: Vec<pg_sys::Oid>,
    relations: Vec<pg_sys::Oid>,
}

/// The plan of a statement for whatever values its parameters (`$1`) have, as EXPLAIN (FORMAT JSON, VERBOSE) prints it.
/// None if it is not one SELECT, UPDATE or DELETE, or if `accepts` refuses the relations that it names. Assigns no
/// transaction id. Everything that planning runs, runs as the current role; locks are kept.
pub fn generic(sql: &str, accepts: impl FnOnce(&[pg_sys::Oid]) -> Result<bool>) -> Result<Option<Value>> {
    let Some(mut analyzed) = analyze(&c_string(sql)?) else { return Ok(None) };
    if !accepts(&analyzed.relations)? {
        return Ok(None);
    }
    explain(&c_string(&format!("EXPLAIN (FORMAT JSON, VERBOSE) {sql}"))?, &mut analyzed.parameters)
}

/// EXPLAIN of a statement with parameters that have no values: the planner then assumes none.
#[allow(unsafe_code)]
fn explain(sql: &CStr, parameters: &mut [pg_sys::Oid]) -> Result<Option<Value>> {
    let plan = Spi::connect(|_| {
        // SAFETY: SPI is connected; the types live through the call; both the plan and the table of its rows are freed
        // when SPI disconnects, after the row was read.
        unsafe {
            let plan = pg_sys::SPI_prepare(sql.as_ptr(), parameters.len() as i32, parameters.as_mut_ptr());
            let status = match plan.is_null() {
                true => pg_sys::SPI_result,
                false => pg_sys::SPI_execute_plan_with_paramlist(plan, std::ptr::null_mut(), false, 0),
            };
            Spi::check_status(status)?;
            let Some(table) = pg_sys::SPI_tuptable.as_mut().filter(|table| table.numvals > 0) else {
                return Ok(None);
            };
            match SpiHeapTupleData::new(table.tupdesc, *table.vals)? {
                Some(row) => row.get::<pgrx::Json>(1),
                None => Ok(None),
            }
        }
    })?;
    Ok(plan.map(|plan| plan.0))
}

#[allow(unsafe_code)]
fn analyze(sql: &CStr) -> Option<Analyzed> {
    // SAFETY: parser, analyser and rewriter allocate in the current memory context and raise their own errors; lists
    // are checked for their length, and the one statement is a RawStmt, each of its queries a Query.
    unsafe {
        let statements = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if statements.is_null() || (*statements).length != 1 {
            return None;
        }
        let raw = (*(*statements).elements).ptr_value.cast::<pg_sys::RawStmt>();
        use pg_sys::NodeTag::{T_DeleteStmt, T_SelectStmt, T_UpdateStmt};
        if !matches!((*(*raw).stmt).type_, T_SelectStmt | T_UpdateStmt | T_DeleteStmt) {
            return None;
        }
        let (mut types, mut count) = (std::ptr::null_mut(), 0);
        let no_environment = std::ptr::null_mut();
        let queries = pg_sys::pg_analyze_and_rewrite_varparams(
            raw,
            sql.as_ptr(),
            &raw mut types,
            &raw mut count,
            no_environment,
        );
        if queries.is_null() || (*queries).length != 1 {
            return None;
        }
        let query = (*(*queries).elements).ptr_value.cast::<pg_sys::Query>();
        // SELECT INTO is a utility statement.
        if (*query).commandType == pg_sys::CmdType::CMD_UTILITY {
            return None;
        }
        let parameters = (0..count as usize).map(|place| *types.add(place)).collect();
        Some(Analyzed { parameters, relations: relations(queries) })
    }
}

/// The relations that analysed queries name, by themselves or through views.
///
/// # Safety
/// `queries` is a list of Query nodes.
#[allow(unsafe_code)]
unsafe fn relations(queries: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    let (mut oids, mut items, mut has_row_security) = (std::ptr::null_mut(), std::ptr::null_mut(), false);
    // SAFETY: the out-parameters live through the call; the list holds OIDs.
    unsafe {
        pg_sys::extract_query_dependencies(
            queries.cast(),
            &raw mut oids,
            &raw mut items,
            &raw mut has_row_security,
        );
        if oids.is_null() {
            return Vec::new();
        }
        let oids = &*oids;
        (0..oids.length as usize).map(|place| (*oids.elements.add(place)).oid_value).collect()
    }
}
