//! One scoring of a table: all rules in one statement, the score, the gate, the record.

use num_rational::BigRational;
use num_traits::One;
use opdb_core::quality::{Dimension, Outcome, Score, parse_decimal, score, to_decimal};
use pgrx::JsonB;
use serde_json::{Map, Value};

use super::error::QualityError;
use super::implied;
use super::options::Options;
use super::record::record;
use super::rule::Check;
use super::scorer::Scorer;
use crate::pg::error::Result;
use crate::pg::name::Qualified;
use crate::pg::types::Regclass;
use crate::pg::{spi, subtransaction};

/// How a rule's result is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A validated constraint guarantees it; the values were only counted.
    Constraint,
    /// The rows were read.
    Measured,
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub rule_id: Option<i64>,
    pub dimension: Dimension,
    /// What the rule is called.
    pub name: String,
    /// What to evaluate, or why the rule cannot be evaluated any more (its column is gone, say).
    pub check: std::result::Result<Check, String>,
    pub columns: Vec<String>,
    pub weight: BigRational,
    pub threshold: Option<BigRational>,
    pub is_warning: bool,
    pub is_primary_key: bool,
    pub evidence: Evidence,
}

impl Rule {
    pub fn new(dimension: Dimension, check: Check, columns: Vec<String>, evidence: Evidence) -> Self {
        Self {
            rule_id: None,
            dimension,
            name: check.name().to_owned(),
            check: Ok(check),
            columns,
            weight: BigRational::one(),
            threshold: None,
            is_warning: false,
            is_primary_key: false,
            evidence,
        }
    }

    pub fn implied(dimension: Dimension, check: Check, column: &str, evidence: Evidence) -> Self {
        Self::new(dimension, check, vec![column.to_owned()], evidence)
    }

    /// The two aggregates, each after a comma. What a constraint guarantees of every value that is there is
    /// only counted.
    fn counts(&self, source: &str) -> String {
        let Ok(check) = &self.check else { return ", 0::bigint, 0::bigint".to_owned() };
        let counts = check.counts(source, &self.columns);
        match self.evidence {
            Evidence::Measured => format!(", {}, {}", counts.evaluated, counts.passed),
            Evidence::Constraint => {
                let evaluated = check.guaranteed(&self.columns, counts.evaluated);
                format!(", {evaluated}, {evaluated}")
            }
        }
    }

    /// A row condition; `columns` only says what it is about.
    pub fn implied_expression(dimension: Dimension, condition: &str, columns: &[String]) -> Result<Self> {
        let expression = crate::pg::expression::parenthesised(condition)?;
        Ok(Self::new(dimension, Check::Expression { expression }, columns.to_vec(), Evidence::Measured))
    }
}

/// A rule and what it found.
pub struct Finding {
    pub rule: Rule,
    pub outcome: Outcome,
}

/// A finished run.
pub struct Run {
    pub run_id: i64,
    pub rows: i64,
    pub score: Score,
    pub passed: bool,
    pub reason: String,
}

/// Scores the rows of `table` for which `condition` (in parentheses) holds, on the snapshot of the calling
/// statement, and records the run.
pub fn run(table: Regclass, name: &Qualified, condition: Option<&str>, options: &Options) -> Result<Run> {
    let source = match condition {
        Some(condition) => format!("(SELECT * FROM {} WHERE {condition})", name.sql()),
        None => name.sql(),
    };
    let scorer = Scorer::new(table, name, condition)?;
    let mut rules = implied::rules(table)?;
    rules.extend(added(table, &source, &scorer)?);
    let (rows, results) = scorer.run(|| evaluate(&source, rules))?;
    let outcomes: Vec<Outcome> = results.iter().map(|result| result.outcome.clone()).collect();
    let score = score(&outcomes, &options.weights);
    let (passed, reason) = gate(rows, &score, &results, options);
    let run_id = record(table, rows, &score, passed, &reason, &results)?;
    Ok(Run { run_id, rows, score, passed, reason })
}

/// The rules that were added to the table. One that cannot be evaluated any more fails the run, and not the
/// caller's statement.
fn added(table: Regclass, source: &str, scorer: &Scorer) -> Result<Vec<Rule>> {
    let rows = spi::read(
        "SELECT rule_id, dimension, rule, columns, args, weight::text, threshold::text, severity,
                table_owner = (SELECT pg_catalog.pg_get_userbyid(c.relowner)
                               FROM pg_catalog.pg_class c WHERE c.oid = $1)
         FROM opdb.quality_rule WHERE table_name = $1 ORDER BY rule_id",
        &[table.into()],
        |row| {
            let text = |column| row.get::<String>(column).map(Option::unwrap_or_default);
            let args = row.get::<JsonB>(5)?.map(|args| args.0).unwrap_or_default();
            Ok((
                row.get::<i64>(1)?,
                (text(2)?, text(3)?),
                row.get::<Vec<String>>(4)?.unwrap_or_default(),
                args.as_object().cloned().unwrap_or_else(Map::<String, Value>::new),
                (text(6)?, row.get::<String>(7)?, text(8)?),
                row.get::<bool>(9)? == Some(true),
            ))
        },
    )?;
    rows.into_iter()
        .map(|(rule_id, (dimension, rule), columns, args, (weight, threshold, severity), is_owners)| {
            let dimension =
                Dimension::from_name(&dimension).ok_or(QualityError::UnknownDimension(dimension))?;
            let check = match is_owners {
                false => Err("it was added under another owner of the table".to_owned()),
                true => Check::read(&rule, &columns, &args)
                    .and_then(|check| scorer.run(|| try_on_no_rows(source, &check, &columns)).map(|()| check))
                    .map_err(|failure| failure.message),
            };
            Ok(Rule {
                rule_id,
                dimension,
                name: rule,
                check,
                columns,
                weight: parse_decimal(&weight).unwrap_or_else(BigRational::one),
                threshold: threshold.as_deref().and_then(parse_decimal),
                is_warning: severity == "warning",
                is_primary_key: false,
                evidence: Evidence::Measured,
            })
        })
        .collect()
}

/// Plans and runs a rule over no rows: a column that is not there, or a constant that is none, shows at once.
pub fn try_on_no_rows(source: &str, check: &Check, columns: &[String]) -> Result<()> {
    if let Check::Regex { pattern } = check {
        subtransaction::run(|| spi::read("SELECT '' ~ $1", &[pattern.as_str().into()], |_| Ok(())))?;
    }
    let none = format!("(SELECT * FROM {source} t LIMIT 0)");
    let counts = check.counts(&none, columns);
    let sql = format!("SELECT {}, {} FROM {none} t", counts.evaluated, counts.passed);
    subtransaction::run(|| spi::read(&sql, &[], |_| Ok(())))?;
    Ok(())
}

/// A SELECT can return 1,664 columns, and each rule takes two.
const RULES_PER_STATEMENT: usize = 800;

/// Evaluates the rules: normally in one statement, and where it takes several, on the same snapshot.
fn evaluate(source: &str, rules: Vec<Rule>) -> Result<(i64, Vec<Finding>)> {
    let mut findings = Vec::new();
    let mut rest = rules.into_iter().peekable();
    loop {
        let some: Vec<Rule> = rest.by_ref().take(RULES_PER_STATEMENT).collect();
        let (rows, found) = evaluate_some(source, some)?;
        findings.extend(found);
        if rest.peek().is_none() {
            return Ok((rows, findings));
        }
    }
}

fn evaluate_some(source: &str, rules: Vec<Rule>) -> Result<(i64, Vec<Finding>)> {
    let counts: Vec<String> = rules.iter().map(|rule| rule.counts(source)).collect();
    let sql = format!("SELECT pg_catalog.count(*){} FROM {source} t", counts.concat());
    let numbers = spi::read_one(&sql, &[], |row| {
        (1..=1 + 2 * counts.len())
            .map(|column| row.get::<i64>(column).map(|count| count.unwrap_or(0)))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })?
    .unwrap_or_default();
    let (rows, counts) = numbers.split_first().map_or((0, &[][..]), |(rows, counts)| (*rows, counts));
    let findings = rules.into_iter().zip(counts.chunks_exact(2)).map(|(rule, counts)| {
        let outcome = Outcome {
            dimension: rule.dimension,
            weight: rule.weight.clone(),
            evaluated: counts[0],
            passed: counts[1],
        };
        Finding { rule, outcome }
    });
    Ok((rows, findings.collect()))
}

impl Finding {
    fn fails(&self) -> bool {
        if self.rule.check.is_err() {
            return true;
        }
        match (&self.rule.threshold, self.outcome.ratio()) {
            (Some(threshold), Some(ratio)) => ratio < *threshold,
            (Some(_), None) => true,
            (None, _) => self.rule.is_primary_key && self.outcome.passed < self.outcome.evaluated,
        }
    }

    pub fn status(&self) -> &'static str {
        match (self.fails(), self.outcome.ratio()) {
            _ if self.rule.check.is_err() => "broken",
            (true, _) if self.rule.is_warning => "warning",
            (true, _) => "failed",
            (false, None) => "not_evaluated",
            (false, Some(ratio)) if ratio.is_one() => "passed",
            (false, Some(_)) => "partial",
        }
    }

    /// What is wrong, for a person.
    fn complaint(&self) -> String {
        let id = self.rule.rule_id.map_or("implied rule".to_owned(), |id| format!("rule {id}"));
        let rule = match self.rule.columns.is_empty() {
            true => format!("{id} ({})", self.rule.name),
            false => format!("{id} ({} {})", self.rule.name, self.rule.columns.join(", ")),
        };
        if let Err(reason) = &self.rule.check {
            return format!("{rule} is broken: {reason}");
        }
        let share = self.outcome.ratio().map_or("no value was evaluated".to_owned(), |ratio| {
            format!("{} of the values passed", to_decimal(&ratio, 4))
        });
        match &self.rule.threshold {
            Some(threshold) => format!("{rule}: {share}, {} is required", to_decimal(threshold, 4)),
            None => format!("{rule}: {share}, all must"),
        }
    }
}

/// Whether the run is good enough, and why not. An empty table is not: nothing was seen to be good.
fn gate(rows: i64, score: &Score, results: &[Finding], options: &Options) -> (bool, String) {
    let mut reasons = Vec::new();
    if rows == 0 {
        reasons.push("the table is empty".to_owned());
    }
    match &score.total {
        Some(total) if *total < options.threshold => reasons.push(format!(
            "the score {} is below {}",
            to_decimal(total, 4),
            to_decimal(&options.threshold, 4)
        )),
        _ => {}
    }
    if rows > 0 && score.coverage < options.min_coverage {
        let missing: Vec<&str> = Dimension::ALL
            .into_iter()
            .filter(|dimension| score.of(*dimension).is_none())
            .map(Dimension::as_str)
            .collect();
        reasons.push(format!("nothing says anything about {}: add rules", missing.join(", ")));
    }
    reasons.extend(
        results.iter().filter(|result| result.fails() && !result.rule.is_warning).map(Finding::complaint),
    );
    match reasons.is_empty() {
        true => (true, summary(results)),
        false => (false, reasons.join("; ")),
    }
}

fn summary(results: &[Finding]) -> String {
    let perfect = results.iter().filter(|result| result.status() == "passed").count();
    let warnings = results.iter().filter(|result| result.fails()).map(Finding::complaint);
    let told = std::iter::once(format!("{perfect} of {} rules passed in full", results.len()));
    told.chain(warnings).collect::<Vec<_>>().join("; ")
}
