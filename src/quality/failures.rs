//! The rows that failed in a run.

use std::collections::VecDeque;

use pgrx::JsonB;

use super::error::QualityError;
use super::scorer::Scorer;
use super::table::Table;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{own, session, spi};

/// Rows that are held at once.
const PAGE: i64 = 5_000;

/// A row that failed a rule.
pub struct Failed {
    pub rule_id: Option<i64>,
    pub rule: String,
    pub columns: Vec<String>,
    pub key: JsonB,
}

/// The rules of a pass that are asked for, and the places in its masks where each is.
struct Pass {
    scan_id: i64,
    rules: Vec<Asked>,
}

struct Asked {
    rule_id: Option<i64>,
    rule: String,
    columns: Vec<String>,
    places: Vec<i32>,
}

/// Goes through the rows that failed, a page at a time: there may be as many as the table has.
pub struct Failures {
    passes: VecDeque<Pass>,
    /// The last row of the first of the passes that was looked at.
    last: i64,
    page: VecDeque<Failed>,
}

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

impl Failures {
    /// The rows that failed in a run, for one of its rules or for all.
    ///
    /// Errors: 42501 if the caller may not read the table, or only some of its rows: keys tell what is in it.
    pub fn of_run(run_id: i64, rule_id: Option<i64>) -> Result<Self> {
        let table = Table::read(table_of(run_id)?)?;
        Scorer::new(&table, None)?.check_sees_all(&table)?;
        check_kept(run_id, rule_id)?;
        let found = spi::read(
            "SELECT s.scan_id, r.rule_id, r.rule, r.columns, pg_catalog.array_agg(p.place::int - 1)
             FROM opdb.quality_run_scan s
             CROSS JOIN LATERAL pg_catalog.unnest(s.positions) WITH ORDINALITY p (position, place)
             JOIN opdb.quality_result r ON r.run_id = s.run_id AND r.position = p.position
             WHERE s.run_id = $1 AND ($2 IS NULL OR r.rule_id = $2)
             GROUP BY s.scan_id, r.position, r.rule_id, r.rule, r.columns ORDER BY s.scan_id, r.position",
            &[run_id.into(), rule_id.into()],
            |row| {
                let asked = Asked {
                    rule_id: row.get(2)?,
                    rule: spi::known(&row, 3)?,
                    columns: spi::known(&row, 4)?,
                    places: spi::known(&row, 5)?,
                };
                Ok((spi::known::<i64>(&row, 1)?, asked))
            },
        )?;
        let mut passes: VecDeque<Pass> = VecDeque::new();
        for (scan_id, asked) in found {
            match passes.back_mut().filter(|pass| pass.scan_id == scan_id) {
                Some(pass) => pass.rules.push(asked),
                None => passes.push_back(Pass { scan_id, rules: vec![asked] }),
            }
        }
        Ok(Self { passes, last: 0, page: VecDeque::new() })
    }

    /// The next row, if there is one.
    pub fn next_row(&mut self) -> Result<Option<Failed>> {
        while self.page.is_empty() {
            let Some(pass) = self.passes.front() else { return Ok(None) };
            let (rows, last) = pass.page(self.last)?;
            match last {
                Some(last) => self.last = last,
                None => {
                    self.passes.pop_front();
                    self.last = 0;
                }
            }
            self.page.extend(rows);
        }
        Ok(self.page.pop_front())
    }
}

impl Pass {
    /// The next rows after `last`, and the last that was looked at. `None` at the end.
    fn page(&self, last: i64) -> Result<(Vec<Failed>, Option<i64>)> {
        // Without statistics the planner would sort all that is left for each page.
        let by_index = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off")];
        let read = || {
            spi::read(
                "SELECT number, failed::text, key FROM opdb.quality_failure
                 WHERE scan_id = $1 AND number > $2 ORDER BY number LIMIT $3",
                &[self.scan_id.into(), last.into(), PAGE.into()],
                |row| {
                    let (number, mask) = (spi::known::<i64>(&row, 1)?, spi::known::<String>(&row, 2)?);
                    Ok((number, mask, spi::known::<JsonB>(&row, 3)?.0))
                },
            )
        };
        let found = own::read_as_owner(|| session::pinned_with(&by_index, read))?;
        let end = found.last().map(|(number, ..)| *number);
        let mut rows = Vec::new();
        for (_, mask, key) in found {
            let mask = mask.as_bytes();
            let failed =
                |asked: &&Asked| asked.places.iter().any(|place| mask.get(*place as usize) == Some(&b'1'));
            rows.extend(self.rules.iter().filter(failed).map(|asked| Failed {
                rule_id: asked.rule_id,
                rule: asked.rule.clone(),
                columns: asked.columns.clone(),
                key: JsonB(key.clone()),
            }));
        }
        Ok((rows, end))
    }
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
                 SELECT s.positions, f.failed, pg_catalog.count(*) AS rows
                 FROM opdb.quality_run_scan s JOIN opdb.quality_failure f USING (scan_id)
                 WHERE s.run_id = $1 GROUP BY s.positions, f.failed)
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
                     WHERE pg_catalog.get_bit(c.failed, p.place::int - 1) = 1)) t
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
