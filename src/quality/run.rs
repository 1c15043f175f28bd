//! One scoring of a table: the passes, the score, the gate, the record.

use opdb_core::quality::{Dimension, Outcome, Score, lowest_score, score};

use super::distribution::Profile;
use super::error::QualityError;
use super::gate::{self, Verdict};
use super::grouping::Grouping;
use super::members::Members;
use super::options::Options;
use super::record::{self, Record};
use super::rule::{Check, Evidence, Rule, Scope};
use super::rules;
use super::scan::{Digest, Scan, Tally};
use super::scorer::Scorer;
use super::table::Table;
use super::whole;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{lock, session, spi};

/// A rule and what it found.
pub struct Finding {
    pub rule: Rule,
    pub outcome: Outcome,
    /// Of a rule about several columns, what it found in each.
    pub by_column: Vec<(String, Outcome)>,
    /// What more there is to say of what was measured.
    pub detail: Option<String>,
    /// How values are distributed, for later runs to compare with.
    pub profile: Option<Profile>,
}

/// A finished run.
pub struct Run {
    pub run_id: i64,
    pub rows: i64,
    pub score: Score,
    pub passed: bool,
    pub reason: String,
}

/// What the passes found.
pub struct Measured {
    pub rows: i64,
    pub findings: Vec<Finding>,
    /// Rows in which a required column has no value.
    pub incomplete: i64,
    pub digest: Option<Digest>,
    /// The snapshot on which all of it was read.
    pub snapshot: String,
    /// The passes, and to which rules the marks that they made on rows belong.
    pub scans: Vec<KeptScan>,
}

/// A pass whose findings are kept.
pub struct KeptScan {
    pub scan_id: i64,
    /// For each place of its masks, the place of a rule in the run.
    pub positions: Vec<i32>,
}

/// Scores the rows of `relation` and records the run, on a snapshot of now.
///
/// Errors: 40001 if the transaction keeps its snapshot, and what is read was altered after it.
pub fn run(relation: Regclass, options: &Options) -> Result<Run> {
    match session::keeps_its_snapshot() {
        true => run_where(relation, None, options),
        false => score_of(Table::read(relation)?, None, options, Moment::Now),
    }
}

/// Scores the rows for which `condition` (in parentheses) holds, and records the run: on the snapshot of the calling
/// statement, on which the caller reads too.
///
/// Errors: 40001 if what is read was altered after it.
pub fn run_where(relation: Regclass, condition: Option<&str>, options: &Options) -> Result<Run> {
    let table = Table::read(relation)?;
    if !table.fits_snapshot()? {
        return Err(QualityError::Altered(table.name.sql()).into());
    }
    score_of(table, condition, options, Moment::OfStatement)
}

/// The same on a snapshot of now.
pub fn run_now(relation: Regclass, condition: &str, options: &Options) -> Result<Run> {
    score_of(Table::read(relation)?, Some(condition), options, Moment::Now)
}

/// Of when the snapshot is that all of a run is read on.
enum Moment {
    Now,
    OfStatement,
}

impl Moment {
    fn measured(&self, table: &Table, measure: impl Fn() -> Result<Measured>) -> Result<Measured> {
        let once = || Ok((measure()?, lock::was_one_rewritten()?));
        let (measured, was_one_rewritten) = match self {
            Self::Now => spi::on_latest_snapshot(once)?,
            Self::OfStatement => once()?,
        };
        match (was_one_rewritten, self) {
            (false, _) => Ok(measured),
            // What was rewritten while its lock was waited for showed no rows. By now all are locked.
            (true, Self::Now) => spi::on_latest_snapshot(measure),
            (true, Self::OfStatement) => {
                Err(QualityError::Altered(format!("{}, or one that its rules read,", table.name.sql()))
                    .into())
            }
        }
    }
}

fn score_of(mut table: Table, condition: Option<&str>, options: &Options, moment: Moment) -> Result<Run> {
    session::check_writable()?;
    let scored = table.relation;
    if options.sample.is_some() && !table.members.iter().all(|member| member.is_heap) {
        return Err(QualityError::NoSample(table.name.sql()).into());
    }
    let scorer = Scorer::new(&table, condition)?;
    let rules = rules::of(&mut table, &scorer, options)?;
    let measured = moment.measured(&table, || measure(&table, &scorer, &rules, condition, options))?;
    let outcomes: Vec<Outcome> = measured.findings.iter().map(|finding| finding.outcome.clone()).collect();
    let score = score(&outcomes, &options.weights);
    let least = match options.sample {
        Some(_) => lowest_score(&outcomes, &options.weights),
        None => score.clone(),
    };
    let is_whole = condition.is_none() && options.sample.is_none() && !scorer.is_limited();
    let unusual = if is_whole { record::unusual(scored, measured.rows, &score)? } else { None };
    let verdict = gate::judge(&table, &measured, &score, &least, options, unusual.as_deref());
    let record = Record {
        table: &table,
        measured: &measured,
        score: &score,
        verdict: &verdict,
        options,
        unusual,
        is_whole,
    };
    let run_id = record.write()?;
    let Verdict { passed, reason } = verdict;
    Ok(Run { run_id, rows: measured.rows, score, passed, reason })
}

/// Makes the passes that the rules need.
fn measure(
    table: &Table,
    scorer: &Scorer,
    rules: &[Rule],
    condition: Option<&str>,
    options: &Options,
) -> Result<Measured> {
    let snapshot = spi::read_value::<String>("SELECT pg_catalog.pg_current_snapshot()::text", &[])?;
    let mut findings: Vec<Finding> = rules.iter().cloned().map(Finding::new).collect();
    let mut members = Members::of(table, scorer, condition, options)?;
    let pass = RowPass::of(table, &findings, options);
    let found = members.scan(&pass.scan, &pass.positions, &pass.required)?;
    for (place, reason) in found.broken {
        for place in pass.judged_with(place) {
            findings[place].rule.check = Err(reason.clone());
        }
    }
    for (time, reason) in found.broken_times {
        findings[pass.times[time]].rule.check = Err(reason);
    }
    pass.judge(&found.tally, &mut findings);
    let rows = found.tally.rows;
    for (grouping, places) in &pass.groupings {
        if findings[places[0]].rule.check.is_ok() {
            judge_groups(&mut members, grouping, places, &mut findings)?;
        }
    }
    let latest = pass.latest(&found.tally);
    whole::judge(table, scorer, &members, rows, &latest, &mut findings, options)?;
    let mut incomplete = found.tally.incomplete;
    for finding in &mut findings {
        if finding.settle(table, rows) {
            incomplete = rows;
        }
    }
    let has_digest = options.digest && options.sample.is_none() && found.has_digest;
    let digest = has_digest.then_some(found.tally.digest);
    let snapshot = snapshot.unwrap_or_default();
    Ok(Measured { rows, findings, incomplete, digest, snapshot, scans: members.into_scans() })
}

/// Takes what is surplus off what the pass over all rows counted for the first of the rules.
fn judge_groups(
    members: &mut Members,
    grouping: &Grouping,
    places: &[usize],
    findings: &mut [Finding],
) -> Result<()> {
    let counted = findings[places[0]].outcome.clone();
    let surplus = members.group(grouping, places)?;
    for place in places {
        let finding = &mut findings[*place];
        match &surplus {
            Ok(surplus) => {
                finding.outcome.evaluated = counted.evaluated;
                finding.outcome.passed = counted.passed - surplus;
            }
            Err(reason) => {
                finding.rule.check = Err(reason.clone());
                finding.outcome = nothing_seen(&finding.rule);
            }
        }
    }
    Ok(())
}

/// The groupings that rules ask for, each with the places of its rules.
fn groupings(findings: &[Finding]) -> Vec<(Grouping, Vec<usize>)> {
    let mut groupings: Vec<(Grouping, Vec<usize>)> = Vec::new();
    for (place, finding) in
        findings.iter().enumerate().filter(|(_, finding)| finding.is_measured(Scope::Group))
    {
        let grouping = Grouping::of(&finding.rule);
        match groupings.iter_mut().find(|(known, _)| *known == grouping) {
            Some((_, places)) => places.push(place),
            None => groupings.push((grouping, vec![place])),
        }
    }
    groupings
}

impl Finding {
    fn new(rule: Rule) -> Self {
        let outcome = nothing_seen(&rule);
        Self { rule, outcome, by_column: Vec::new(), detail: None, profile: None }
    }

    /// Whether a pass is made for it.
    pub fn is_measured(&self, scope: Scope) -> bool {
        self.rule.evidence == Evidence::Measured
            && self.rule.check.as_ref().is_ok_and(|check| check.scope() == scope)
    }

    /// What need not be measured. Whether a required column is missing altogether, so that no row has a value.
    fn settle(&mut self, table: &Table, rows: i64) -> bool {
        if self.rule.check.is_ok() && self.rule.evidence == Evidence::Constraint {
            (self.outcome.evaluated, self.outcome.passed) = (rows, rows);
        }
        let is_absent = self.rule.dimension == Dimension::Completeness
            && self.rule.check.is_err()
            && self.rule.columns.iter().any(|name| table.column(name).is_none());
        if is_absent {
            (self.outcome.evaluated, self.outcome.passed) = (rows, 0);
        }
        is_absent
    }
}

fn nothing_seen(rule: &Rule) -> Outcome {
    let (dimension, weight) = (rule.dimension, rule.weight.clone());
    Outcome { dimension, weight, evaluated: 0, passed: 0, measured: None }
}

/// The pass over the rows, and what of it belongs to which rule.
struct RowPass {
    scan: Scan,
    /// For each cell the place of its rule.
    positions: Vec<usize>,
    /// The cells of required columns.
    required: Vec<usize>,
    /// For each of the latest times the place of its rule.
    times: Vec<usize>,
    /// What is looked at in groups, each with the places of its rules: one cell, that of the first of them, counts for
    /// all.
    groupings: Vec<(Grouping, Vec<usize>)>,
}

impl RowPass {
    fn of(table: &Table, findings: &[Finding], options: &Options) -> Self {
        let mut pass = Self {
            scan: Scan::default(),
            positions: Vec::new(),
            required: Vec::new(),
            times: Vec::new(),
            groupings: if options.sample.is_none() { groupings(findings) } else { Vec::new() },
        };
        for (place, finding) in findings.iter().enumerate() {
            if finding.is_measured(Scope::Row) {
                pass.add(table, &finding.rule, place);
            }
            if finding.is_measured(Scope::Table) && options.sample.is_none() {
                pass.add_time(table, &finding.rule, place);
            }
        }
        for (grouping, places) in &pass.groupings {
            pass.scan.cells.push(grouping.counting(table));
            pass.positions.push(places[0]);
        }
        pass.scan.keeps_failures = options.failures;
        if options.digest && options.sample.is_none() {
            pass.scan.hashed = table.columns.iter().map(|column| column.hashed()).collect();
        }
        pass
    }

    fn add(&mut self, table: &Table, rule: &Rule, place: usize) {
        let added = rule.cells(table, place);
        for cell in added.cells {
            if rule.dimension == Dimension::Completeness {
                self.required.push(self.scan.cells.len());
            }
            self.scan.cells.push(cell);
            self.positions.push(place);
        }
        self.scan.joins.extend(added.join);
    }

    fn add_time(&mut self, table: &Table, rule: &Rule, place: usize) {
        let (Ok(Check::Freshness { .. }), Some(column)) =
            (&rule.check, rule.columns.first().and_then(|name| table.column(name)))
        else {
            return;
        };
        let time = format!("{}::timestamptz", column.sql());
        self.scan.time_filters.extend(rule.filter.clone());
        self.scan.times.push(match &rule.filter {
            Some(filter) => format!("CASE WHEN {filter} THEN {time} END"),
            None => time,
        });
        self.times.push(place);
    }

    /// The places of the rules that have a cell in common with the rule at `place`, itself among them.
    fn judged_with(&self, place: usize) -> Vec<usize> {
        let shared = self.groupings.iter().find(|(_, places)| places[0] == place);
        shared.map_or_else(|| vec![place], |(_, places)| places.clone())
    }

    fn judge(&self, tally: &Tally, findings: &mut [Finding]) {
        for (cell, place) in self.positions.iter().enumerate() {
            let finding = &mut findings[*place];
            let (Some(evaluated), Some(passed)) = (tally.evaluated.get(cell), tally.passed.get(cell)) else {
                continue;
            };
            if finding.rule.check.is_err() {
                continue;
            }
            finding.outcome.evaluated += evaluated;
            finding.outcome.passed += passed;
            let column = finding.rule.columns.get(finding.by_column.len()).cloned().unwrap_or_default();
            let outcome = Outcome { evaluated: *evaluated, passed: *passed, ..nothing_seen(&finding.rule) };
            finding.by_column.push((column, outcome));
        }
    }

    /// For rules about time, when the latest one was, in microseconds since 1970.
    fn latest(&self, tally: &Tally) -> Vec<(usize, Option<i64>)> {
        self.times.iter().copied().zip(tally.latest.iter().copied().chain(std::iter::repeat(None))).collect()
    }
}
