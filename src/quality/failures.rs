//! The rows that failed in a run.

use pgrx::pg_sys;

use super::error::QualityError;
use super::scorer::Scorer;
use super::table::Table;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi, spool};

/// The table of a run. Errors: 42704 for an unknown run.
pub fn table_of(run_id: i64) -> Result<Regclass> {
    spi::read_value::<Regclass>(
        "SELECT table_name FROM opdb.quality_run WHERE run_id = $1",
        &[run_id.into()],
    )?
    .ok_or_else(|| QualityError::UnknownRun(run_id).into())
}

/// Errors: 42704 for a rule that was not in the run, 55000 if it is not kept any more which rows failed.
pub fn check_kept(run_id: i64, rule_id: Option<i64>) -> Result<()> {
    let found = spi::read_one(
        "SELECT EXISTS (SELECT FROM opdb.quality_result WHERE run_id = $1 AND ($2 IS NULL OR rule_id = $2)),
                EXISTS (SELECT FROM opdb.quality_run_scan WHERE run_id = $1)",
        &[run_id.into(), rule_id.into()],
        |row| Ok((spi::known::<bool>(&row, 1)?, spi::known::<bool>(&row, 2)?)),
    )?;
    match (found, rule_id) {
        (Some((false, _)), Some(rule_id)) => Err(QualityError::NotInRun { run_id, rule_id }.into()),
        (Some((_, false)), _) => Err(QualityError::Forgotten(run_id).into()),
        _ => Ok(()),
    }
}

/// Answers the call with the rows that failed in a run, for one of its rules or for all: rule_id, key, rule and columns.
///
/// Errors: 42501 if the caller may not read the table, or only some of its rows: keys tell what is in it.
pub fn answer(call: pg_sys::FunctionCallInfo, run_id: i64, rule_id: Option<i64>) -> Result<()> {
    let table = Table::read(table_of(run_id)?)?;
    Scorer::new(&table, None)?.check_sees_all(&table)?;
    check_kept(run_id, rule_id)?;
    let rule = rule_id.map_or("true".to_owned(), |rule_id| format!("r.rule_id = {rule_id}"));
    // There are few masks, and many rows.
    let sql = format!(
        "WITH asked AS (
             SELECT s.scan_id, p.place::int, r.position, r.rule_id, r.rule, r.columns
             FROM opdb.quality_run_scan s
             CROSS JOIN LATERAL pg_catalog.unnest(s.positions) WITH ORDINALITY p (position, place)
             JOIN opdb.quality_result r ON r.run_id = s.run_id AND r.position = p.position
             WHERE s.run_id = {run_id} AND r.status <> 'broken' AND {rule}),
         masks AS (
             SELECT DISTINCT scan_id, mask FROM opdb.quality_failing_row
             WHERE scan_id IN (SELECT scan_id FROM asked)),
         failed AS (
             SELECT DISTINCT m.scan_id, m.mask, a.position, a.rule_id, a.rule, a.columns
             FROM masks m JOIN asked a ON a.scan_id = m.scan_id AND pg_catalog.substr(m.mask, a.place, 1) = '0')
         SELECT f.rule_id, w.key::jsonb, f.rule, f.columns
         FROM opdb.quality_failing_row w JOIN failed f ON f.scan_id = w.scan_id AND f.mask = w.mask
         WHERE w.scan_id IN (SELECT scan_id FROM asked)"
    );
    // Nobody knows how many rows stand in an array: each would be compared with each mask. What is off seems to cost a
    // lot, and what costs a lot would be compiled.
    let by_hash = [("enable_nestloop", "off"), ("enable_mergejoin", "off"), ("jit", "off")];
    own::read_as_owner(|| session::pinned_with(&by_hash, || spool::answer(call, &sql)))
}

/// How many rows failed the same rules together.
pub struct Together {
    pub rules: Vec<String>,
    pub rule_ids: Vec<Option<i64>>,
    pub rows: i64,
}

/// What fails together in a run, by the passes over its rows. Errors: as [`Failures::of_run`].
pub fn together(run_id: i64) -> Result<Vec<Together>> {
    table_of(run_id)?;
    check_kept(run_id, None)?;
    own::read_as_owner(|| {
        spi::read(
            "WITH counted AS (
                 SELECT s.positions, f.mask, pg_catalog.count(*) AS rows
                 FROM opdb.quality_run_scan s JOIN opdb.quality_failing_row f USING (scan_id)
                 WHERE s.run_id = $1 GROUP BY s.positions, f.mask)
             SELECT t.rules, t.rule_ids, pg_catalog.sum(c.rows)::bigint
             FROM counted c
             CROSS JOIN LATERAL (
                 SELECT pg_catalog.array_agg(coalesce(r.name, r.rule || CASE WHEN r.columns <> '{}'
                                                 THEN ' ' || pg_catalog.array_to_string(r.columns, ', ')
                                                 ELSE coalesce(' ' || r.rule_id, '') END)
                                             ORDER BY r.position) AS rules,
                        pg_catalog.array_agg(r.rule_id ORDER BY r.position) AS rule_ids
                 FROM opdb.quality_result r
                 WHERE r.run_id = $1 AND r.position IN (
                     SELECT p.position FROM pg_catalog.unnest(c.positions) WITH ORDINALITY p (position, place)
                     WHERE pg_catalog.substr(c.mask, p.place::int, 1) = '0')) t
             GROUP BY t.rules, t.rule_ids ORDER BY 3 DESC, 1",
            &[run_id.into()],
            |row| {
                Ok(Together {
                    rules: spi::known(&row, 1)?,
                    rule_ids: spi::known(&row, 2)?,
                    rows: spi::known(&row, 3)?,
                })
            },
        )
    })
}
