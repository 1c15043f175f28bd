//! Making partitions of a table that is partitioned by ranges of time.

use opdb_core::partition::Period;

use crate::pg::error::{Failure, Result};
use crate::pg::name::{Qualified, literal};
use crate::pg::types::Regclass;
use crate::pg::{spi, subtransaction};

/// A partition that is missing, with its bounds as PostgreSQL prints them in UTC.
struct Missing {
    name: String,
    lower: String,
    upper: String,
}

/// Makes the partitions of `parent` that `moments` (a query with one timestamptz column, its first argument
/// being `args`) fall into and that do not exist. Existing ones are recognised by their bounds.
///
/// A new partition is made beside the parent and attached, which readers and writers of the parent do not
/// wait for. Two sessions that need the same partition take turns. `with_each` gets every new partition's name.
/// A partition that cannot be made (its name or a part of its range is taken) does not stop the others.
pub fn create_missing<'a>(
    parent: Regclass,
    parent_name: &Qualified,
    period: Period,
    moments: &str,
    args: &[pgrx::datum::DatumWithOid<'a>],
    mut with_each: impl FnMut(&Qualified) -> Result<()>,
) -> Result<Created> {
    let mut created = Created::default();
    if find_missing(parent, parent_name, period, moments, args)?.is_empty() {
        return Ok(created);
    }
    spi::write(
        "SELECT pg_catalog.pg_advisory_xact_lock('pg_catalog.pg_class'::regclass::int, $1::oid::int)",
        &[parent.into()],
    )?;
    // Whoever held the lock before may have made them.
    let missing = find_missing(parent, parent_name, period, moments, args)?;
    for partition in &missing {
        let name = parent_name.sibling(partition.name.clone());
        match subtransaction::run(|| create(parent_name, &name, partition, &mut with_each)) {
            Ok(()) => created.count += 1,
            Err(failure) if matches!(failure.class().as_str(), "23" | "42") => {
                created.failures.push(failure.at(&format!("partition {} cannot be made", name.sql())));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(created)
}

/// What became of the partitions that were missing.
#[derive(Default)]
pub struct Created {
    pub count: usize,
    pub failures: Vec<Failure>,
}

impl Created {
    /// For those who need every one of them.
    pub fn or_fail(self) -> Result<usize> {
        match self.failures.into_iter().next() {
            Some(failure) => Err(failure),
            None => Ok(self.count),
        }
    }
}

fn create(
    parent: &Qualified,
    name: &Qualified,
    partition: &Missing,
    with_each: &mut impl FnMut(&Qualified) -> Result<()>,
) -> Result<()> {
    let (parent, child) = (parent.sql(), name.sql());
    // Identity stays with the parent: LIKE … INCLUDING ALL would make ATTACH fail.
    spi::write(&format!("CREATE TABLE {child} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY)"), &[])?;
    with_each(name)?;
    spi::write(
        &format!(
            "ALTER TABLE {parent} ATTACH PARTITION {child} FOR VALUES FROM ({}) TO ({})",
            literal(&partition.lower),
            literal(&partition.upper)
        ),
        &[],
    )?;
    Ok(())
}

fn find_missing<'a>(
    parent: Regclass,
    parent_name: &Qualified,
    period: Period,
    moments: &str,
    args: &[pgrx::datum::DatumWithOid<'a>],
) -> Result<Vec<Missing>> {
    let unit = literal(period.unit());
    let sql = format!(
        "WITH covered AS (
             SELECT bound[1]::timestamptz AS lower, bound[2]::timestamptz AS upper
             FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid,
                  pg_catalog.regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid),
                      'FROM \\((?:''([^'']*)''|MINVALUE)\\) TO \\((?:''([^'']*)''|MAXVALUE)\\)') AS bound
             WHERE i.inhparent = {parent}::oid AND pg_catalog.pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
         ), wanted AS (
             SELECT DISTINCT pg_catalog.date_trunc({unit}, m.moment, 'UTC') AS lower
             FROM ({moments}) AS m (moment)
             WHERE NOT EXISTS (SELECT FROM covered c
                               WHERE m.moment >= coalesce(c.lower, '-infinity')
                                 AND m.moment < coalesce(c.upper, 'infinity'))
         )
         SELECT {base} || '_' || pg_catalog.to_char(lower AT TIME ZONE 'UTC', {format}),
                lower::text,
                ((lower AT TIME ZONE 'UTC' + ('1 ' || {unit})::interval) AT TIME ZONE 'UTC')::text
         FROM wanted ORDER BY lower",
        parent = parent.0.to_u32(),
        base = literal(&parent_name.name),
        format = literal(period.suffix_format()),
    );
    let rows = spi::write_returning(&sql, args, |row| {
        Ok((row.get::<String>(1)?, row.get::<String>(2)?, row.get::<String>(3)?))
    })?;
    Ok(rows
        .into_iter()
        .filter_map(|(name, lower, upper)| Some(Missing { name: name?, lower: lower?, upper: upper? }))
        .collect())
}
