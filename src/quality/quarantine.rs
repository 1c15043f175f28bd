//! Setting rows that failed aside.

mod aside;
mod rows;

use super::error::QualityError;
use super::failures::{check_kept, table_of};
use super::options::Options;
use super::rule::{Evidence, Rule};
use super::rules;
use super::scorer::Scorer;
use super::table::{Column, Key, Table};
use crate::pg::error::Result;
use crate::pg::name::{Qualified, identifier};
use crate::pg::spool::Spool;
use crate::pg::{lock, name, own, session, spi, subtransaction};
use pgrx::{JsonB, pg_sys};

/// Into how many parts rows are divided to find those that raise an error.
const PARTS: i64 = 16;

/// What the table for what is set aside has beside the columns of the other one.
const OWN_COLUMNS: [&str; 4] = ["quarantine_run_id", "quarantine_key", "quarantine_rules", "quarantined_at"];

/// What became of the rows that failed.
pub struct Quarantined {
    pub table: Qualified,
    pub copied: i64,
    pub deleted: i64,
    /// Rows that are gone, or do not fail any more.
    pub skipped: i64,
}

/// Of the rows that keys stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those that still fail.
    Failing,
    All,
}

/// The rows that are set aside, by the rule that they failed.
struct Move<'a> {
    table: &'a Table,
    aside: Qualified,
    /// Of which rules a row must still fail one.
    rules: Vec<&'a Rule>,
    run_id: i64,
    deletes: bool,
}

/// Copies the rows that failed in a run, and still do, to a table beside theirs; `deletes` them if asked.
///
/// Errors: 42501 unless the caller has the rights of the table's owner; 0A000 for what is no table.
pub fn run(run_id: i64, rule_id: Option<i64>, deletes: bool) -> Result<Quarantined> {
    session::check_writable()?;
    let mut table = Table::read(table_of(run_id)?)?;
    check_kept(run_id, rule_id)?;
    if table.key == Key::Row || table.other_than_table.is_some() {
        return Err(QualityError::NoQuarantine(table.name.sql()).into());
    }
    let scorer = Scorer::new(&table, None)?;
    scorer.check_is_owner(&table)?;
    session::pinned(|| {
        let rules = rules::of(&mut table, &scorer, &options_of(run_id)?)?;
        let rules = wanted(&rules, run_id, rule_id)?;
        let aside = table.name.sibling(format!("{}_quarantine", table.name.name));
        name::check_length(&aside.name)?;
        if let Some(column) = OWN_COLUMNS.into_iter().find(|name| table.column(name).is_some()) {
            return Err(QualityError::ReservedColumn { table: table.name.sql(), column }.into());
        }
        check_children(&table)?;
        let work = Move { table: &table, aside, rules, run_id, deletes };
        let keys = work.keys(rule_id)?;
        // Two of them would both make the table.
        lock::quarantine(table.relation);
        let (copied, deleted) = scorer.run(|| {
            work.prepare()?;
            work.move_all(&keys)
        })?;
        let skipped = keys.count() - copied;
        Ok(Quarantined { table: work.aside, copied, deleted, skipped })
    })
}

/// Errors: 0A000 if a child of the table has columns that the table has not: a copy would be without them.
fn check_children(table: &Table) -> Result<()> {
    let members: Vec<pg_sys::Oid> = table.members.iter().map(|member| member.relation.0).collect();
    let known: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    let more = spi::read_one_now(
        "SELECT a.attrelid::regclass::text, a.attname::text FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL ($2) LIMIT 1",
        &[members.into(), known.into()],
        |row| Ok((spi::known::<String>(&row, 1)?, spi::known::<String>(&row, 2)?)),
    )?;
    match more {
        Some((child, column)) => {
            Err(QualityError::ColumnsOfAChild { table: table.name.sql(), child, column }.into())
        }
        None => Ok(()),
    }
}

/// What the run was asked for: columns may have been required by it alone.
fn options_of(run_id: i64) -> Result<Options> {
    let options =
        spi::read_value::<JsonB>("SELECT options FROM opdb.quality_run WHERE run_id = $1", &[run_id.into()])?;
    Options::read(&options.map_or_else(|| serde_json::json!({}), |options| options.0))
}

/// The rules that rows failed in the run, as they are now. One that was deleted since says nothing any more.
fn wanted(rules: &[Rule], run_id: i64, rule_id: Option<i64>) -> Result<Vec<&Rule>> {
    let failed = spi::read(
        "SELECT rule_id, rule, columns FROM opdb.quality_result
         WHERE run_id = $1 AND ($2 IS NULL OR rule_id = $2) AND passed < evaluated",
        &[run_id.into(), rule_id.into()],
        |row| Ok((row.get::<i64>(1)?, spi::known::<String>(&row, 2)?, spi::known::<Vec<String>>(&row, 3)?)),
    )?;
    let is_wanted = |rule: &&Rule| {
        rule.check.is_ok()
            && rule.evidence == Evidence::Measured
            && failed.iter().any(|(id, kind, columns)| {
                *id == rule.rule_id && *kind == rule.kind && *columns == rule.columns
            })
    };
    Ok(rules.iter().filter(is_wanted).collect())
}

impl Move<'_> {
    /// The keys of the rows that failed, and the rules that they failed.
    fn keys(&self, rule_id: Option<i64>) -> Result<Spool> {
        let rule = rule_id.map_or("true".to_owned(), |rule_id| format!("r.rule_id = {rule_id}"));
        own::read_as_owner(|| {
            Spool::fill(&format!(
                "SELECT f.key::jsonb AS \"opdb key\",
                        pg_catalog.array_agg(DISTINCT coalesce(r.name, r.rule || coalesce(
                            ' ' || nullif(pg_catalog.array_to_string(r.columns, ', '), ''), ''))) AS \"opdb rules\"
                 FROM opdb.quality_run_scan s
                 JOIN opdb.quality_failing_row f USING (scan_id)
                 CROSS JOIN LATERAL pg_catalog.unnest(s.positions) WITH ORDINALITY p (position, place)
                 JOIN opdb.quality_result r ON r.run_id = s.run_id AND r.position = p.position
                 WHERE s.run_id = {} AND {rule} AND pg_catalog.substr(f.mask, p.place::int, 1) = '0'
                 GROUP BY f.key",
                self.run_id
            ))
        })
    }

    /// The columns that are copied: not what is computed when it is read.
    fn columns(&self) -> impl Iterator<Item = &Column> {
        self.table.columns.iter().filter(|column| !column.is_virtual)
    }

    /// In one statement; or, if evaluating a rule raises an error, in parts: then all are copied before one is deleted, so
    /// that a rule about equal rows says of each what it says of all of them.
    fn move_all(&self, keys: &Spool) -> Result<(i64, i64)> {
        match subtransaction::run(|| self.move_rows(keys)) {
            Err(failure) if super::careful::is_of_a_value(&failure) => {}
            moved => return moved,
        }
        let mut places = Vec::new();
        self.copy_parts(keys, &mut places)?;
        let copied = places.len() as i64;
        if self.deletes {
            self.delete(places)?;
        }
        Ok((copied, if self.deletes { copied } else { 0 }))
    }

    fn move_rows(&self, keys: &Spool) -> Result<(i64, i64)> {
        let (table, values) = (self.table.name.sql(), self.values());
        let of_row: Vec<String> =
            self.columns().map(|column| format!("d.{}", identifier(&column.name))).collect();
        let taken = match self.deletes {
            true => format!(
                "DELETE FROM {table} d USING found f WHERE d.tableoid = f.relation AND d.ctid = f.place
                 RETURNING f.key, f.rules, {}",
                of_row.join(", ")
            ),
            false => format!("SELECT key, rules, {values} FROM found"),
        };
        let sql = format!(
            "WITH {}, taken (key, rules, {values}) AS ({taken}), {}
             SELECT (SELECT pg_catalog.count(*) FROM copied), (SELECT pg_catalog.count(*) FROM taken)",
            self.found(Which::Failing),
            self.copied("taken"),
        );
        let counts =
            keys.write(&sql, &[], |row| Ok((spi::known::<i64>(&row, 1)?, spi::known::<i64>(&row, 2)?)))?;
        let (copied, taken) = counts.first().copied().unwrap_or((0, 0));
        // Whatever keeps a row from being copied must keep it from being deleted.
        if copied != taken {
            return Err(QualityError::UnfitQuarantine(self.aside.sql()).into());
        }
        Ok((copied, if self.deletes { copied } else { 0 }))
    }

    /// Copies rows, which nobody changes then until they are deleted, and notes where they are. One that raises an error
    /// failed because of that.
    fn copy_parts(&self, keys: &Spool, places: &mut Vec<(pg_sys::Oid, String)>) -> Result<()> {
        match subtransaction::run(|| self.copy_rows(keys, Which::Failing)) {
            Err(failure) if super::careful::is_of_a_value(&failure) => {}
            copied => return copied.map(|copied| places.extend(copied)),
        }
        if keys.count() == 1 {
            return self.copy_rows(keys, Which::All).map(|copied| places.extend(copied));
        }
        let part = (keys.count() + PARTS - 1) / PARTS;
        keys.in_parts(part, usize::MAX, |part| self.copy_parts(part, places))
    }

    fn copy_rows(&self, keys: &Spool, which: Which) -> Result<Vec<(pg_sys::Oid, String)>> {
        let sql = format!(
            "WITH {}, {} SELECT relation, place::text, (SELECT pg_catalog.count(*) FROM copied) FROM found",
            self.found(which),
            self.copied("found"),
        );
        let rows = keys.write(&sql, &[], |row| {
            Ok(((spi::known(&row, 1)?, spi::known(&row, 2)?), spi::known::<i64>(&row, 3)?))
        })?;
        if rows.first().is_some_and(|(_, copied)| *copied != rows.len() as i64) {
            return Err(QualityError::UnfitQuarantine(self.aside.sql()).into());
        }
        Ok(rows.into_iter().map(|(place, _)| place).collect())
    }

    fn delete(&self, places: Vec<(pg_sys::Oid, String)>) -> Result<()> {
        let table = self.table.name.sql();
        let copied = places.len();
        let (relations, places): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let deleted = spi::write(
            &format!(
                "DELETE FROM {table} d
                 USING ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::text[]::tid[])) p (relation, place)
                 WHERE d.tableoid = p.relation AND d.ctid = p.place"
            ),
            &[relations.into(), places.into()],
        )?;
        if deleted != copied {
            return Err(QualityError::NotDeleted { table, kept: copied - deleted }.into());
        }
        Ok(())
    }
}
