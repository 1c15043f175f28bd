//! The rows that differ, where a key tells them apart: first the keys of the rows that may, then their columns.

use std::time::Duration;

use opdb_core::compat::digest::Suspects;
use opdb_core::compat::form::{Form, Side};

use super::plan::{Column, Plan, object};
use super::scan::{READING, locally};
use crate::compat::error::CompatError;
use crate::pg::error::Result;
use crate::pg::name::literal;
use crate::pg::progress::{Number, Progress};
use crate::pg::remote::Remote;
use crate::pg::spool::{Answer, Source, Spool};
use crate::pg::{session, spi};

/// Keys that are looked up at a time.
const BATCH: i64 = 10_000;
/// And at most so many bytes of them.
const KEY_BYTES: usize = 1_000_000;
/// Rows by which it is seen how wide they are, and bytes that are fetched at a time.
pub const FIRST_ROWS: i64 = 100;
const BYTES: i64 = 16_000_000;
/// How often a batch is read again whose rows go away while they are read.
const ATTEMPTS: usize = 5;

pub struct Keyed<'a> {
    pub plan: &'a Plan,
    pub remote: &'a Remote,
    pub progress: &'a Progress,
    /// Rows that are fetched at a time.
    pub fetch_size: i64,
}

impl Keyed<'_> {
    /// Answers with the rows of suspects that still differ after `lag`. Each side is read as it is then.
    pub fn answer(&self, suspects: &Suspects, lag: Duration, answer: &Answer) -> Result<()> {
        let candidates = self.candidates(suspects)?;
        self.progress.set(Number::Candidates, candidates.count());
        lagged(self.remote, lag)?;
        let mut checked = 0;
        candidates.in_parts(BATCH, KEY_BYTES, |part| {
            self.check(part, answer)?;
            checked += part.count();
            self.progress.set(Number::CandidatesChecked, checked);
            Ok(())
        })
    }

    /// The keys of rows whose hashes differ or that one side lacks, as text.
    fn candidates(&self, suspects: &Suspects) -> Result<Spool> {
        let plan = self.plan;
        self.plan.begin(self.remote, &READING);
        let keys = plan.keys(Side::Remote, suspects);
        let sizes = (FIRST_ROWS, self.fetch_size);
        let read_here = || locally(&READING, || Spool::fill(&plan.keys(Side::Local, suspects)));
        let (here, there) =
            fetched_beside(self.remote, (&keys, "k text, h bigint"), sizes, self.progress, read_here)?;
        let sql = "SELECT coalesce(l.k, r.k) AS k FROM here l FULL JOIN there r ON l.k = r.k COLLATE \"C\"
                   WHERE l.h IS DISTINCT FROM r.h"
            .to_owned();
        let sql = match plan.one_of_each_key() {
            Some(one) => format!("SELECT pg_catalog.min(c.k) AS k FROM ({sql}) c GROUP BY {one}"),
            None => sql,
        };
        locally(&READING, || Spool::fill_from(&[(c"here", &here), (c"there", &there)], &sql))
    }

    fn check(&self, keys: &Spool, answer: &Answer) -> Result<()> {
        let lists = keys.read(&self.plan.key_lists(), &[], |row| row.get::<Vec<String>>(1))?;
        let lists = lists.into_iter().flatten().next().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let (here, there) = self.both(&lists)?;
            self.check_unique(&here, &there)?;
            if let Some(whole) = self.whole(&here, &there, &lists)? {
                let sources: [Source; 3] = [(c"here", &here), (c"there", &there), (c"whole", &whole)];
                return locally(&READING, || answer.add(&sources, &self.differences()));
            }
        }
        Err(CompatError::KeepsChanging(self.plan.table.sql()).into())
    }

    /// The rows of these keys, both sides at once: here the texts of all columns, there sketches.
    fn both(&self, lists: &[String]) -> Result<(Spool, Spool)> {
        let sketches = self.plan.list(|place, column| format!("{} AS s{place}", column.sketch(Side::Remote)));
        self.plan.begin(self.remote, &READING);
        let sql = format!("SELECT k.i, {sketches} {}", self.plan.lookup(Side::Remote, lists));
        let asked = self.remote.ask(&[(&sql, 1)])?;
        let texts = self.plan.list(|place, column| format!("{} AS t{place}", column.text(Side::Local)));
        let sql = format!("SELECT k.i, {texts} {}", self.plan.lookup(Side::Local, lists));
        let here = locally(&READING, || Spool::fill(&sql))?;
        let mut there = None;
        asked.store(&mut there, &self.columns("s"))?;
        Ok((here, there.ok_or_else(|| CompatError::Unreadable("nothing".to_owned()))?))
    }

    /// What a query there returns: the number of a key, and a text for each column.
    fn columns(&self, prefix: &str) -> String {
        format!("i bigint, {}", self.plan.list(|place, _| format!("{prefix}{place} text")))
    }

    /// Errors: 21000 for a key that more than one row has.
    fn check_unique(&self, here: &Spool, there: &Spool) -> Result<()> {
        if !self.plan.is_key_claimed {
            return Ok(());
        }
        let sql = "SELECT pg_catalog.count(*) > pg_catalog.count(DISTINCT i) FROM spool";
        let is_ambiguous = |rows: &Spool| -> Result<bool> {
            Ok(rows.read(sql, &[], |row| row.get::<bool>(1))? == [Some(true)])
        };
        if !is_ambiguous(here)? && !is_ambiguous(there)? {
            return Ok(());
        }
        let key = self.plan.key_names().join(", ");
        Err(CompatError::KeyNotUnique { table: self.plan.table.sql(), key }.into())
    }

    /// The long values that differ, of the rows that have any; none if some of these rows are gone by now.
    fn whole(&self, here: &Spool, there: &Spool, lists: &[String]) -> Result<Option<Spool>> {
        // Of a column the rows whose value is wanted, and how long the longest is.
        let wanted = self.plan.list(|place, column| {
            let sketch = format!("r.s{place}");
            let differs = format!(
                "{} AND {sketch} IS DISTINCT FROM {}",
                column.form.is_hash(&sketch),
                column.form.sketch_of(&format!("l.t{place}"))
            );
            format!(
                "pg_catalog.array_agg(r.i) FILTER (WHERE {differs})::text, pg_catalog.max(CASE WHEN {differs} THEN {} END)::text",
                Form::length_in(&sketch)
            )
        });
        let sql = format!("SELECT ARRAY[{wanted}] FROM there r LEFT JOIN here l USING (i)");
        let sources: [Source; 2] = [(c"here", here), (c"there", there)];
        let wanted = Spool::read_from(&sources, &sql, |row| row.get::<Vec<Option<String>>>(1))?;
        let wanted = wanted.into_iter().flatten().next().unwrap_or_default();
        let (lists_of, longest): (Vec<_>, Vec<_>) = wanted
            .chunks(2)
            .map(|pair| (pair.first().cloned().flatten(), pair.last().cloned().flatten()))
            .unzip();
        let none = self.plan.list(|place, _| format!("NULL::text AS x{place}"));
        let rows: Vec<String> =
            lists_of.iter().flatten().map(|list| format!("{}::bigint[]", literal(list))).collect();
        if rows.is_empty() {
            return Spool::fill(&format!("SELECT 0::bigint AS i, {none} WHERE false")).map(Some);
        }
        let values = self.plan.list(|place, column| match lists_of.get(place).cloned().flatten() {
            Some(rows) => {
                let text = column.text(Side::Remote);
                format!("CASE WHEN k.i = ANY ({}::bigint[]) THEN {text} END", literal(&rows))
            }
            None => "NULL::text".to_owned(),
        });
        let rows = rows.join(" || ");
        let from = self.plan.lookup(Side::Remote, lists);
        let sql = format!("SELECT k.i, {values} {from} WHERE k.i = ANY ({rows})");
        let bytes: i64 = longest.iter().flatten().filter_map(|it| it.parse::<i64>().ok()).sum();
        let size = (BYTES / bytes.max(1)).clamp(1, self.fetch_size);
        let whole = fetched(self.remote, (&sql, &self.columns("x")), (size, size), self.progress)?;
        let expected = format!("SELECT pg_catalog.count(DISTINCT i) FROM pg_catalog.unnest({rows}) w (i)");
        let expected = spi::read_value::<i64>(&expected, &[])?;
        Ok((Some(whole.count()) == expected).then_some(whole))
    }

    /// What differs, from the rows here, the sketches of those there and the whole values.
    fn differences(&self) -> String {
        let here = self.plan.list(|place, column| column.form.sketch_of(&format!("l.t{place}")));
        let there = self.plan.list(|place, _| format!("r.s{place}"));
        let names = self.of_differing(|_, column| literal(&column.name));
        let values_here = object(&self.of_differing(|place, column| column.member(&format!("l.t{place}"))));
        let values_there =
            object(&self.of_differing(|place, column| column.member(&self.text_there(place, column))));
        format!(
            "SELECT d.key, CASE WHEN NOT d.is_there THEN 'missing' WHEN NOT d.is_here THEN 'extra' ELSE 'changed' END,
                    CASE WHEN d.is_here AND d.is_there THEN d.columns END,
                    CASE WHEN d.is_here THEN d.here::jsonb END, CASE WHEN d.is_there THEN d.there::jsonb END
             FROM (SELECT l.i IS NOT NULL AS is_here, r.i IS NOT NULL AS is_there, {key} AS key,
                          pg_catalog.array_remove({names}, NULL) AS columns, {values_here} AS here, {values_there} AS there
                   FROM here l FULL JOIN there r USING (i) LEFT JOIN whole w USING (i)
                   WHERE ROW({here}) IS DISTINCT FROM ROW({there}) OR l.i IS NULL OR r.i IS NULL OFFSET 0) d
             WHERE d.columns <> '{{}}'",
            key = self.key(),
        )
    }

    /// An array of `part` of each column that differs, or of all if one side has no row; NULL for the others.
    fn of_differing(&self, part: impl Fn(usize, &Column) -> String) -> String {
        let parts = self.plan.list(|place, column| {
            let is_same = column.form.is_same(&format!("l.t{place}"), &self.text_there(place, column));
            format!(
                "CASE WHEN l.i IS NULL OR r.i IS NULL OR NOT ({is_same}) THEN {} END",
                part(place, column)
            )
        });
        format!("ARRAY[{parts}]::text[]")
    }

    /// The text of a column there, by its sketch or, where that is a hash, from the whole values.
    fn text_there(&self, place: usize, column: &Column) -> String {
        let sketch = format!("r.s{place}");
        if !column.form.may_be_long() {
            return sketch;
        }
        format!(
            "CASE WHEN NOT {} THEN {} WHEN {sketch} = {} THEN l.t{place} ELSE w.x{place} END",
            column.form.is_hash(&sketch),
            column.form.unwrapped(&sketch),
            column.form.sketch_of(&format!("l.t{place}"))
        )
    }

    fn key(&self) -> String {
        let parts = self.plan.key.iter().flatten().filter_map(|place| {
            let column = self.plan.columns.get(*place)?;
            let value =
                column.form.json(&format!("coalesce(l.t{place}, {})", self.text_there(*place, column)));
            Some(format!("{}, {value}", literal(&column.name)))
        });
        format!("pg_catalog.jsonb_build_object({})", parts.collect::<Vec<_>>().join(", "))
    }
}

/// Waits, with no transaction there.
pub fn lagged(remote: &Remote, lag: Duration) -> Result<()> {
    if !lag.is_zero() {
        remote.pause()?;
        session::wait_all(lag);
    }
    Ok(())
}

/// Opens a cursor there and fetches all of it, never holding more than about so many bytes in memory, nor more than
/// `fetch_size` rows. How wide rows are is seen by the `first` of them.
pub fn fetched(
    remote: &Remote,
    (declare, columns): (&str, &str),
    (first, fetch_size): (i64, i64),
    progress: &Progress,
) -> Result<Spool> {
    fetched_beside(remote, (declare, columns), (first, fetch_size), progress, || Ok(()))
        .map(|((), spool)| spool)
}

/// `fetched`, and what `work` does here while the other server comes to its first rows.
fn fetched_beside<T>(
    remote: &Remote,
    (declare, columns): (&str, &str),
    (first, fetch_size): (i64, i64),
    progress: &Progress,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Spool)> {
    remote.precede(&format!("DECLARE opdb_rows NO SCROLL CURSOR FOR {declare}"));
    let (mut spool, mut size) = (None, first.clamp(1, fetch_size));
    let mut asked = remote.ask(&[(&format!("FETCH {size} FROM opdb_rows"), 1)])?;
    let done = work()?;
    let mut is_measured = false;
    while asked.store(&mut spool, columns)? == size {
        let Some(fetched) = &spool else { break };
        progress.set(Number::RowsFetched, fetched.count());
        if !is_measured {
            let sql = "SELECT pg_catalog.max(pg_catalog.pg_column_size(spool.*)) FROM spool";
            let widest = fetched.read(sql, &[], |row| row.get::<i32>(1))?.into_iter().flatten().next();
            size = (BYTES / i64::from(widest.unwrap_or(1)).max(1)).clamp(1, fetch_size);
            is_measured = true;
        }
        asked = remote.ask(&[(&format!("FETCH {size} FROM opdb_rows"), 1)])?;
    }
    let spool = spool.ok_or_else(|| CompatError::Unreadable("nothing".to_owned()))?;
    Ok((done, spool))
}
