//! The rows that differ, where a key tells them apart: first the keys of the rows that may, then their columns.

use std::time::Duration;

use opdb_core::compat::digest::Suspects;
use opdb_core::compat::form::Side;

use super::plan::{Column, Plan};
use super::scan::locally;
use crate::compat::error::CompatError;
use crate::pg::error::Result;
use crate::pg::name::literal;
use crate::pg::progress::{Number, Progress};
use crate::pg::remote::{Asked, Remote};
use crate::pg::spool::{Answer, Source, Spool};
use crate::pg::{session, spi};

/// Keys that are looked up at a time.
const BATCH: i64 = 10_000;
/// How often a batch is read again whose rows go away while they are read.
const ATTEMPTS: usize = 5;
const SETTINGS: [(&str, &str); 2] = [("row_security", "off"), ("jit", "off")];

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
        session::wait(lag);
        let mut checked = 0;
        candidates.in_parts(BATCH, usize::MAX, |part| {
            self.check(part, answer)?;
            checked += part.count();
            self.progress.set(Number::CandidatesChecked, checked);
            Ok(())
        })
    }

    /// The keys of rows whose hashes differ or that one side lacks, as text.
    fn candidates(&self, suspects: &Suspects) -> Result<Spool> {
        let plan = self.plan;
        self.begin();
        let sql = format!("DECLARE opdb_rows NO SCROLL CURSOR FOR {}", plan.keys(Side::Remote, suspects));
        let there = fetched(self.remote, &sql, "k text, h bigint", self.fetch_size, self.progress)?;
        let sql = format!(
            "SELECT coalesce(l.k, r.k) AS k FROM ({}) l FULL JOIN there r ON l.k = r.k COLLATE \"C\"
             WHERE l.h IS DISTINCT FROM r.h",
            plan.keys(Side::Local, suspects)
        );
        locally(&SETTINGS, || Spool::fill_from(&[(c"there", &there)], &sql))
    }

    /// A transaction of its own, so that what is read is of now and no horizon is held back.
    fn begin(&self) {
        self.remote.restart();
        self.remote.set_local(&SETTINGS);
        self.plan.limits(self.remote);
    }

    fn check(&self, keys: &Spool, answer: &Answer) -> Result<()> {
        let lists = keys.read(&self.plan.key_lists(), &[], |row| row.get::<Vec<String>>(1))?;
        let lists = lists.into_iter().flatten().next().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let (here, there) = self.both(&lists)?;
            self.check_unique(&here, &there)?;
            if let Some(whole) = self.whole(&here, &there, &lists)? {
                let sources: [Source; 3] = [(c"here", &here), (c"there", &there), (c"whole", &whole)];
                return locally(&SETTINGS, || answer.add(&sources, &self.differences()));
            }
        }
        Err(CompatError::KeepsChanging(self.plan.table.sql()).into())
    }

    /// The rows of these keys, both sides at once: sketches of all columns, and here their texts too.
    fn both(&self, lists: &[String]) -> Result<(Spool, Spool)> {
        let sketches = self.list(|place, column| format!("{} AS s{place}", column.sketch(Side::Remote)));
        self.begin();
        let sql = format!("SELECT k.i, {sketches} {}", self.plan.lookup(Side::Remote, lists));
        let asked = self.remote.ask(&[(&sql, 1)])?;
        let texts = self.list(|place, column| {
            let sketch = format!("{} AS s{place}", column.sketch(Side::Local));
            // Of a short one the sketch is the text.
            match column.form.may_be_long() {
                true => format!("{sketch}, {} AS t{place}", column.text(Side::Local)),
                false => sketch,
            }
        });
        let sql = format!("SELECT k.i, {texts} {}", self.plan.lookup(Side::Local, lists));
        let here = locally(&SETTINGS, || Spool::fill(&sql))?;
        Ok((here, self.stored(asked, "s")?))
    }

    /// What a query there returns: the number of a key, and a text for each column.
    fn stored(&self, asked: Asked, prefix: &str) -> Result<Spool> {
        let columns = self.list(|place, _| format!("{prefix}{place} text"));
        let mut spool = None;
        asked.store(&mut spool, &format!("i bigint, {columns}"))?;
        spool.ok_or_else(|| CompatError::Unreadable("nothing".to_owned()).into())
    }

    /// `part` of each column, as a list.
    fn list(&self, part: impl Fn(usize, &Column) -> String) -> String {
        let parts: Vec<String> =
            self.plan.columns.iter().enumerate().map(|(place, column)| part(place, column)).collect();
        parts.join(", ")
    }

    /// Errors: 21000 for a key that more than one row has.
    fn check_unique(&self, here: &Spool, there: &Spool) -> Result<()> {
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
        let wanted = self.list(|place, column| {
            let sketch = format!("r.s{place}");
            format!(
                "pg_catalog.array_agg(r.i) FILTER (WHERE {} AND {sketch} IS DISTINCT FROM l.s{place})::text",
                column.form.is_hash(&sketch)
            )
        });
        let sql = format!("SELECT ARRAY[{wanted}] FROM there r LEFT JOIN here l USING (i)");
        let sources: [Source; 2] = [(c"here", here), (c"there", there)];
        let wanted = Spool::read_from(&sources, &sql, |row| row.get::<Vec<Option<String>>>(1))?;
        let wanted = wanted.into_iter().flatten().next().unwrap_or_default();
        let none = self.list(|place, _| format!("NULL::text AS x{place}"));
        let rows: Vec<String> =
            wanted.iter().flatten().map(|list| format!("{}::bigint[]", literal(list))).collect();
        if rows.is_empty() {
            return Spool::fill(&format!("SELECT 0::bigint AS i, {none} WHERE false")).map(Some);
        }
        let values = self.list(|place, column| match wanted.get(place).cloned().flatten() {
            Some(rows) => {
                format!(
                    "CASE WHEN k.i = ANY ({}::bigint[]) THEN {} END",
                    literal(&rows),
                    column.text(Side::Remote)
                )
            }
            None => "NULL::text".to_owned(),
        });
        let rows = rows.join(" || ");
        let from = self.plan.lookup(Side::Remote, lists);
        let sql = format!("SELECT k.i, {values} {from} WHERE k.i = ANY ({rows})");
        let whole = self.stored(self.remote.ask(&[(&sql, 1)])?, "x")?;
        let expected = format!("SELECT pg_catalog.count(DISTINCT i) FROM pg_catalog.unnest({rows}) w (i)");
        let expected = spi::read_value::<i64>(&expected, &[])?;
        Ok((Some(whole.count()) == expected).then_some(whole))
    }

    /// What differs, from the rows here, the sketches of those there and the whole values.
    fn differences(&self) -> String {
        let texts = self.list(|place, column| {
            if !column.form.may_be_long() {
                return format!("l.s{place} AS t{place}, r.s{place} AS u{place}");
            }
            let sketch = format!("r.s{place}");
            format!(
                "l.t{place}, CASE WHEN NOT {} THEN {} WHEN {sketch} = l.s{place} THEN l.t{place} ELSE w.x{place} END AS u{place}",
                column.form.is_hash(&sketch),
                column.form.unwrapped(&sketch),
            )
        });
        let all = |side: &str| self.list(|place, _| format!("{side}.s{place}"));
        let columns = self.list(|place, column| {
            let (one, other) = (format!("d.t{place}"), format!("d.u{place}"));
            format!(
                "({place}, {}, {}, {}, {})",
                literal(&column.name),
                column.form.is_same(&one, &other),
                column.form.json(&one),
                column.form.json(&other)
            )
        });
        format!(
            "SELECT {key}, CASE WHEN NOT d.is_there THEN 'missing' WHEN NOT d.is_here THEN 'extra' ELSE 'changed' END,
                    CASE WHEN d.is_here AND d.is_there THEN c.columns END,
                    CASE WHEN d.is_here THEN c.here END, CASE WHEN d.is_there THEN c.there END
             FROM (SELECT l.i IS NOT NULL AS is_here, r.i IS NOT NULL AS is_there, {texts}
                   FROM here l FULL JOIN there r USING (i) LEFT JOIN whole w USING (i)
                   WHERE ROW({left}) IS DISTINCT FROM ROW({right}) OR l.i IS NULL OR r.i IS NULL) d
             CROSS JOIN LATERAL (
                 SELECT pg_catalog.array_agg(v.name ORDER BY v.place) AS columns,
                        pg_catalog.jsonb_object_agg(v.name, v.here) AS here,
                        pg_catalog.jsonb_object_agg(v.name, v.there) AS there
                 FROM (VALUES {columns}) v (place, name, is_same, here, there)
                 WHERE NOT (v.is_same AND d.is_here AND d.is_there)) c
             WHERE c.columns IS NOT NULL",
            key = self.key(),
            left = all("l"),
            right = all("r"),
        )
    }

    fn key(&self) -> String {
        let parts = self.plan.key.iter().flatten().filter_map(|place| {
            let column = self.plan.columns.get(*place)?;
            let value = column.form.json(&format!("coalesce(d.t{place}, d.u{place})"));
            Some(format!("{}, {value}", literal(&column.name)))
        });
        format!("pg_catalog.jsonb_build_object({})", parts.collect::<Vec<_>>().join(", "))
    }
}

/// Opens a cursor there and fetches all of it, never holding more than `fetch_size` rows in memory.
pub fn fetched(
    remote: &Remote,
    declare: &str,
    columns: &str,
    fetch_size: i64,
    progress: &Progress,
) -> Result<Spool> {
    remote.precede(declare);
    let fetch = format!("FETCH {fetch_size} FROM opdb_rows");
    let mut spool = None;
    while remote.ask(&[(&fetch, 1)])?.store(&mut spool, columns)? == fetch_size {
        progress.set(Number::RowsFetched, spool.as_ref().map_or(0, Spool::count));
    }
    spool.ok_or_else(|| CompatError::Unreadable("nothing".to_owned()).into())
}
