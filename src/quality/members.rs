//! The passes over the relations that hold a table's rows, one after the other, and what need not be read again.

use num_rational::BigRational;
use opdb_core::quality::{parse_decimal, to_decimal};

use super::careful;
use super::error::QualityError;
use super::grouping::Grouping;
use super::kept::{self, Identity};
use super::options::Options;
use super::run::KeptScan;
use super::scan::{Scan, Source, Tally};
use super::scorer::Scorer;
use super::table::{Member, Table};
use crate::pg::error::Result;
use crate::pg::expression::{self, Volatility};
use crate::pg::{spi, visibility};

/// The relations of a table, each with the rows that are scored.
pub struct Members<'a> {
    table: &'a Table,
    scorer: &'a Scorer,
    condition: Option<&'a str>,
    is_sample: bool,
    sources: Vec<(Member, Source)>,
    /// Whether the sources are the relations themselves, and not a query on the table that they belong to.
    are_separate: bool,
    keeps_failures: bool,
    scans: Vec<KeptScan>,
}

/// What the passes over the rows found.
pub struct Found {
    pub tally: Tally,
    /// Times that could not be evaluated, and why.
    pub broken_times: Vec<(usize, String)>,
    /// Whether the digest is of all rows.
    pub has_digest: bool,
    /// What could not be evaluated, and why: cells of one relation, and rules of all.
    pub broken: Vec<(usize, String)>,
}

impl Default for Found {
    fn default() -> Self {
        Self { tally: Tally::default(), broken_times: Vec::new(), has_digest: true, broken: Vec::new() }
    }
}

impl<'a> Members<'a> {
    pub fn of(
        table: &'a Table,
        scorer: &'a Scorer,
        condition: Option<&'a str>,
        options: &Options,
    ) -> Result<Self> {
        let sample = options.sample.as_ref().map(sample_clause);
        let are_separate = scorer.may_read_members(table)?;
        if sample.is_some() && !are_separate {
            return Err(QualityError::NoSample(table.name.sql()).into());
        }
        let sources = match are_separate {
            true => table
                .members
                .iter()
                .map(|member| (member.clone(), Source::member(table, member, condition, sample.as_deref())))
                .collect(),
            false => {
                let member = Member { relation: table.relation, name: table.name.clone(), is_heap: false };
                vec![(member, Source::whole(table, condition))]
            }
        };
        let is_sample = sample.is_some();
        Ok(Self {
            table,
            scorer,
            condition,
            is_sample,
            sources,
            are_separate,
            keeps_failures: options.failures,
            scans: Vec::new(),
        })
    }

    /// Makes the pass over every relation; `positions` are the rules of the cells, and `required` are cells.
    pub fn scan(&mut self, scan: &Scan, positions: &[usize], required: &[usize]) -> Result<Found> {
        let (mut found, mut scans) = (Found::default(), Vec::new());
        found.tally.evaluated = vec![0; scan.cells.len()];
        found.tally.passed = vec![0; scan.cells.len()];
        let can_be_kept = self.can_be_kept(scan)?;
        for (member, source) in &self.sources {
            let identity = match can_be_kept {
                true => identity(member, &format!("{} {required:?}", scan.sql(source)))?,
                false => None,
            };
            let (one, scan_id) = self.pass(scan, member, source, required, identity.as_ref())?;
            found.has_digest &= one.has_digest;
            found.broken_times.extend(one.broken_times);
            found.broken.extend(one.broken.into_iter().map(|(cell, reason)| (positions[cell], reason)));
            found.tally.add(&one.tally);
            scans.push(scan_id);
        }
        let positions: Vec<i32> = positions.iter().map(|position| *position as i32).collect();
        let kept = scans.into_iter().map(|scan_id| KeptScan { scan_id, positions: positions.clone() });
        self.scans.extend(kept);
        Ok(found)
    }

    /// One pass over one relation, or what it found out before, and its id.
    fn pass(
        &self,
        scan: &Scan,
        member: &Member,
        source: &Source,
        required: &[usize],
        identity: Option<&Identity>,
    ) -> Result<(Found, i64)> {
        if let Some((scan_id, tally)) = known(member, identity)? {
            return Ok((Found { tally, ..Found::default() }, scan_id));
        }
        let careful::Outcome { passed, scan: made, broken, broken_times } =
            self.scorer.run(|| careful::run(scan, source, member, !self.is_sample))?;
        let tally = made.tally(&passed, required)?;
        let is_whole = broken.is_empty() && broken_times.is_empty();
        let scan_id = kept::keep(member, identity.filter(|_| is_whole), &tally)?;
        passed.keep_failures(scan_id)?;
        let has_digest = made.hashed.len() == scan.hashed.len();
        Ok((Found { tally, broken, broken_times, has_digest }, scan_id))
    }

    /// One pass for rules about groups of rows, or what it found out before, and its id.
    fn group_pass(
        &self,
        scan: &Scan,
        grouping: &Grouping,
        member: &Member,
        source: &Source,
        identity: Option<&Identity>,
    ) -> Result<(Tally, i64)> {
        if let Some((scan_id, tally)) = known(member, identity)? {
            return Ok((tally, scan_id));
        }
        let passed = self.scorer.run(|| grouping.run(scan, self.table, source))?;
        let tally = scan.tally(&passed, &[])?;
        let scan_id = kept::keep(member, identity, &tally)?;
        passed.keep_failures(scan_id)?;
        Ok((tally, scan_id))
    }

    /// Makes the pass for rules about groups of rows, which are at `places`: over each relation alone if no group has rows
    /// in two of them. Returns how many rows are surplus, or why that cannot be told.
    pub fn group(
        &mut self,
        grouping: &Grouping,
        places: &[usize],
    ) -> Result<std::result::Result<i64, String>> {
        let scan = Grouping::scan(self.keeps_failures);
        let whole = Member { relation: self.table.relation, name: self.table.name.clone(), is_heap: false };
        let are_separate = self.separates(grouping)?;
        let sources: Vec<(Member, Source)> = match are_separate {
            true => self.sources.clone(),
            false => vec![(whole, Source::whole(self.table, self.condition))],
        };
        let can_be_kept = are_separate && grouping.filter.is_none() && self.may_be_kept();
        let mut surplus = 0;
        for (member, source) in sources {
            let identity = match can_be_kept {
                true => identity(&member, &grouping.identity(&scan, self.table, &source))?,
                false => None,
            };
            // What raises an error here is a condition, of rows that the pass over all rows has looked for.
            let (tally, scan_id) = match self.group_pass(&scan, grouping, &member, &source, identity.as_ref())
            {
                Err(failure) if careful::is_of_a_value(&failure) => {
                    return Ok(Err(careful::without_values(&failure.message)));
                }
                pass => pass?,
            };
            surplus += tally.evaluated[0] - tally.passed[0];
            // The mask has one place, which may stand for several rules.
            for place in places {
                self.scans.push(KeptScan { scan_id, positions: vec![*place as i32] });
            }
        }
        Ok(Ok(surplus))
    }

    pub fn into_scans(self) -> Vec<KeptScan> {
        self.scans
    }

    /// The rows of all relations, for what looks at the table as a whole.
    pub fn whole(&self) -> Source {
        match (&self.sources[..], self.are_separate) {
            ([(_, source)], true) => source.clone(),
            _ => Source::whole(self.table, self.condition),
        }
    }

    /// Whether rows that are equal in the columns of a grouping are in the same relation: if the partition key is among
    /// them, at every level.
    fn separates(&self, grouping: &Grouping) -> Result<bool> {
        if self.sources.len() == 1 {
            return Ok(true);
        }
        let separates = spi::read_value::<bool>(
            "SELECT pg_catalog.bool_and(NOT EXISTS (
                 SELECT FROM ROWS FROM (pg_catalog.unnest(p.partattrs::int2[]), pg_catalog.unnest(p.partcollation::oid[]),
                                        pg_catalog.unnest(p.partclass::oid[])) k (attnum, coll, class)
                 JOIN pg_catalog.pg_opclass o ON o.oid = k.class
                 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relid AND a.attnum = k.attnum AND k.attnum > 0
                 -- What the column takes for equal another collation or class may put into two partitions.
                 WHERE a.attname IS NULL OR a.attname <> ALL ($2) OR k.coll <> a.attcollation OR NOT o.opcdefault))
             FROM pg_catalog.pg_partition_tree($1) t JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = t.relid",
            &[self.table.relation.into(), grouping.columns.clone().into()],
        )?;
        // NULL for what has children, but no partitions. Of a key a NULL counts too, which is in the default partition or
        // one for NULL: in one relation as well.
        Ok(separates == Some(true))
    }

    /// Whether the sources are all rows of several relations, and their values compare and print as the server's own.
    fn may_be_kept(&self) -> bool {
        let are_all_rows = !self.is_sample && self.condition.is_none();
        self.sources.len() > 1 && are_all_rows && !self.table.has_own_types()
    }

    /// Whether what a pass finds out depends on nothing but the rows of a relation.
    fn can_be_kept(&self, scan: &Scan) -> Result<bool> {
        if !self.may_be_kept() || !scan.joins.is_empty() {
            return Ok(false);
        }
        let from = self.whole();
        self.scorer.run(|| {
            let states = scan.cells.iter().map(|cell| &cell.state);
            states.chain(&scan.time_filters).try_fold(true, |so_far, condition| {
                Ok(so_far && expression::volatility(condition, from.sql())? == Volatility::Immutable)
            })
        })
    }
}

/// What must be as it was for a pass to find out the same again. The mark is taken before the pass: while it is there,
/// every row is visible to everybody, also on the snapshot that the pass is made on.
fn identity(member: &Member, query: &str) -> Result<Option<Identity>> {
    if !member.is_heap {
        return Ok(None);
    }
    let Some(mark) = visibility::unchanged_mark(member.relation)? else { return Ok(None) };
    Ok(Some(Identity::new(member, mark, query)?))
}

/// What the same pass found out before.
fn known(member: &Member, identity: Option<&Identity>) -> Result<Option<(i64, Tally)>> {
    identity.map_or(Ok(None), |identity| kept::find(member, identity))
}

/// The percentage of blocks that a sample reads, as SQL: always the same blocks of a table that has not changed.
fn sample_clause(share: &BigRational) -> String {
    let percent = share * BigRational::from_integer(100.into());
    let percent = to_decimal(&percent, 6);
    let percent = if parse_decimal(&percent).is_some_and(|percent| percent > BigRational::default()) {
        percent
    } else {
        "0.000001".to_owned()
    };
    format!(" TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0)")
}
