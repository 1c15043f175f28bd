//! One look at all rows of both sides, by digests.

use opdb_core::compat::digest::{Buckets, Digest, Suspects, buckets_for};
use opdb_core::compat::form::Side;

use super::plan::{Pages, Plan};
use pgrx::spi::SpiHeapTupleData;

use crate::compat::error::CompatError;
use crate::pg::error::Result;
use crate::pg::progress::{Number, Progress};
use crate::pg::remote::{Remote, Row};
use crate::pg::types::Regclass;
use crate::pg::{session, spi, subtransaction};

/// What the planner knows of the groups is wrong: as many as rows. So it would sort, and never work in parallel.
const SETTINGS: [(&str, &str); 6] = [
    ("row_security", "off"),
    // One side may take much longer than the other.
    ("idle_in_transaction_session_timeout", "1d"),
    ("jit", "off"),
    ("enable_sort", "off"),
    ("parallel_setup_cost", "0"),
    ("parallel_tuple_cost", "0"),
];

/// For whatever else reads rows.
pub const READING: [(&str, &str); 2] = [("row_security", "off"), ("jit", "off")];

/// Columns of a query for digests.
const COLUMNS: usize = 3;

/// A scan of a table by one session or several at once.
pub struct Scan<'a> {
    pub plan: &'a mut Plan,
    pub remotes: &'a [Remote],
    pub progress: &'a Progress,
}

impl Scan<'_> {
    /// The buckets whose rows are not the same; none if both sides are.
    ///
    /// Errors: 42501 where a policy hides rows from either role, 22000 if the servers hash text unlike.
    pub fn suspects(&mut self, table: Regclass) -> Result<Option<Suspects>> {
        let of = buckets_for(estimated_rows(table)?);
        self.progress.set(Number::Buckets, of);
        let mut suspects = self.differing(of, None)?;
        if let Some(finer) = suspects.as_ref().and_then(Suspects::finer) {
            self.progress.set(Number::Buckets, finer);
            suspects = self.differing(finer, suspects)?;
        }
        let differing = suspects.as_ref().map_or(0, |suspects| suspects.buckets.len());
        self.progress.set(Number::DifferingBuckets, differing as i64);
        Ok(suspects)
    }

    fn differing(&mut self, of: i64, within: Option<Suspects>) -> Result<Option<Suspects>> {
        let parts = self.parts()?;
        let (here, there) = self.both(|plan, side, part| match side {
            Side::Local => plan.digests(side, of, within.as_ref(), None),
            Side::Remote => plan.digests(side, of, within.as_ref(), parts.get(part).copied()),
        })?;
        let (buckets, rows) = here.differing(&there);
        Ok((!buckets.is_empty()).then_some(Suspects { of, buckets, rows }))
    }

    /// The number of rows and the sum of their hashes, here and there.
    pub fn totals(&mut self) -> Result<(Digest, Digest)> {
        let parts = self.parts()?;
        let (here, there) = self.both(|plan, side, part| match side {
            Side::Local => plan.total(side, None),
            Side::Remote => plan.total(side, parts.get(part).copied()),
        })?;
        Ok((here.total(), there.total()))
    }

    /// Runs a query for digests on both sides at the same time: what `sql` gives for each of the sessions there.
    fn both(&mut self, sql: impl Fn(&Plan, Side, usize) -> String) -> Result<(Buckets, Buckets)> {
        let samples = self.plan.hash_samples();
        let queries: Vec<String> =
            (0..self.remotes.len()).map(|part| sql(self.plan, Side::Remote, part)).collect();
        let asked = self.remotes.iter().zip(&queries).map(|(remote, query)| {
            self.plan.begin(remote, &SETTINGS);
            remote.ask(&[(&samples, 1), (query, COLUMNS)])
        });
        let asked = asked.collect::<Result<Vec<_>>>()?;
        let local_sql = sql(self.plan, Side::Local, 0);
        // What fails here must not leave an answer from there untaken.
        let here = subtransaction::run(|| {
            locally(&SETTINGS, || {
                let samples = spi::read_value::<String>(&samples, &[])?;
                let mut found = Found::default();
                spi::read(&as_text(&local_sql), &[], |row: SpiHeapTupleData| {
                    found.add(
                        (1..=COLUMNS).map(|column| row.get(column)).collect::<pgrx::spi::Result<Row>>()?,
                    );
                    Ok(())
                })?;
                Ok((samples.unwrap_or_default(), found))
            })
        });
        if let Err(failure) = &here
            && failure.is_interrupt
        {
            return Err(failure.clone());
        }
        let (mut found, mut hashes) = (Found::default(), Vec::new());
        let mut take = |query, row: Row| match query {
            0 => hashes.extend(row.into_iter().next().flatten()),
            _ => found.add(row),
        };
        let answers: Vec<Result<()>> = asked.into_iter().map(|asked| asked.each(&mut take)).collect();
        let (samples_here, here) = here?;
        answers.into_iter().collect::<Result<()>>()?;
        // Only the first has more to do.
        self.remotes.iter().skip(1).try_for_each(Remote::pause)?;
        let mut are_alike = true;
        for samples in hashes {
            are_alike &= self.plan.trust(&samples_here, &samples)?;
        }
        if !are_alike {
            // Once: a text has no other form.
            return self.both(sql);
        }
        Ok((here.buckets()?, found.buckets()?))
    }

    /// Which pages of the table each session there reads; none where one reads all.
    fn parts(&self) -> Result<Vec<Pages>> {
        let [first, _, ..] = self.remotes else { return Ok(Vec::new()) };
        let row = first.query_row(&self.plan.pages(), 1)?;
        let pages: i64 = row.into_iter().next().flatten().and_then(|pages| pages.parse().ok()).unwrap_or(0);
        let count = self.remotes.len() as i64;
        // Where the table has no pages of its own, as a partitioned one, the first session reads all and the others nothing.
        let start =
            |part: i64| if pages == 0 && part > 0 { i64::from(u32::MAX) } else { pages * part / count };
        Ok((0..count)
            .map(|part| (start(part), (pages > 0 && part + 1 < count).then(|| start(part + 1))))
            .collect())
    }
}

/// Runs `work` on a snapshot of now, with the settings that fix how values are written, and more.
pub fn locally<T>(settings: &[(&str, &str)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    session::pinned_with(settings, || spi::on_latest_snapshot(work))
}

/// The columns as text, as they come from the other side.
fn as_text(sql: &str) -> String {
    format!("SELECT b::text, c::text, s::text FROM ({sql}) d (b, c, s)")
}

/// Buckets, as they come in.
#[derive(Default)]
struct Found {
    buckets: Buckets,
    unreadable: Option<String>,
}

impl Found {
    fn add(&mut self, row: Row) {
        match digest(&row) {
            Some((bucket, digest)) => self.buckets.add(bucket, digest),
            None => self.unreadable = Some(format!("{row:?}")),
        }
    }

    fn buckets(self) -> Result<Buckets> {
        match self.unreadable {
            Some(row) => Err(CompatError::Unreadable(row).into()),
            None => Ok(self.buckets),
        }
    }
}

fn digest(row: &Row) -> Option<(i64, Digest)> {
    let [bucket, rows, sum] = row.as_slice() else { return None };
    // The sum of no rows is NULL.
    let sum = sum.as_ref().map_or(Some(0), |sum| sum.parse().ok())?;
    Some((bucket.as_ref()?.parse().ok()?, Digest { rows: rows.as_ref()?.parse().ok()?, sum }))
}

/// About how many rows the table has, by what the planner knows and the size of its files.
fn estimated_rows(table: Regclass) -> Result<i64> {
    let rows = spi::read_value::<i64>(
        "SELECT coalesce(pg_catalog.sum(CASE WHEN c.reltuples >= 0 AND c.relpages > 0
                    THEN c.reltuples / c.relpages * pg_catalog.pg_relation_size(c.oid)
                         / pg_catalog.current_setting('block_size')::int
                    ELSE pg_catalog.pg_relation_size(c.oid) / 100.0 END), 0)::bigint
         FROM pg_catalog.pg_class c
         WHERE c.oid = $1::pg_catalog.regclass OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) p)",
        &[table.into()],
    )?;
    Ok(rows.unwrap_or(0))
}
