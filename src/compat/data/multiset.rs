//! The rows that differ, where no key tells them apart: those that one side has more often than the other.

use std::time::Duration;

use opdb_core::compat::digest::Suspects;
use opdb_core::compat::form::Side;

use super::keyed::{FIRST_ROWS, fetched, lagged};
use super::plan::{Plan, object};
use super::scan::{READING, locally};
use crate::pg::error::Result;
use crate::pg::progress::Progress;
use crate::pg::remote::Remote;
use crate::pg::spool::Answer;

/// Answers with each copy of a row that the other side does not have.
pub fn answer(
    (plan, remote, progress): (&Plan, &Remote, &Progress),
    fetch_size: i64,
    suspects: &Suspects,
    lag: Duration,
    answer: &Answer,
) -> Result<()> {
    lagged(remote, lag)?;
    plan.begin(remote, &READING);
    let rows = plan.whole_rows(Side::Remote, suspects);
    let columns = plan.list(|place, _| format!("c{place} text"));
    let there = fetched(remote, (&rows, &columns), (FIRST_ROWS, fetch_size), progress)?;
    let texts = plan.list(|place, _| format!("pg_catalog.min(u.c{place}) AS c{place}"));
    let values = plan.list(|place, column| column.form.group(&format!("u.c{place}")));
    let members = plan.list(|place, column| column.member(&format!("d.c{place}")));
    let row = object(&format!("ARRAY[{members}]"));
    let sql = format!(
        "SELECT NULL::jsonb, CASE WHEN d.surplus > 0 THEN 'missing' ELSE 'extra' END, NULL::text[],
                CASE WHEN d.surplus > 0 THEN ({row})::jsonb END, CASE WHEN d.surplus < 0 THEN ({row})::jsonb END
         FROM (SELECT {texts}, pg_catalog.sum(sign) AS surplus
               FROM (SELECT l.*, 1 AS sign FROM ({here}) l UNION ALL SELECT r.*, -1 FROM there r) u
               GROUP BY {values} HAVING pg_catalog.sum(sign) <> 0) d
         CROSS JOIN LATERAL pg_catalog.generate_series(1, pg_catalog.abs(d.surplus)) copy",
        here = plan.whole_rows(Side::Local, suspects)
    );
    locally(&READING, || answer.add(&[(c"there", &there)], &sql))
}
