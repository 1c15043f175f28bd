//! Rules about a table as a whole.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use opdb_core::quality::{agreement, parse_decimal, to_decimal};

use super::careful::{is_of_a_value, without_values};
use super::distribution::Profile;
use super::members::Members;
use super::options::Options;
use super::record;
use super::rule::{Against, Check, Rule, Scope};
use super::run::Finding;
use super::scorer::Scorer;
use super::table::Table;
use crate::pg::error::Result;
use crate::pg::remote::{self, Access};
use crate::pg::{spi, subtransaction, time};

/// What a rule about the whole found.
struct Judgement {
    /// `None` if there is nothing to compare with.
    ratio: Option<BigRational>,
    detail: String,
    profile: Option<Profile>,
}

/// Judges what is measured once for the whole table; `latest` are the latest times that the pass over the rows met.
pub fn judge(
    table: &Table,
    scorer: &Scorer,
    members: &Members,
    rows: i64,
    latest: &[(usize, Option<i64>)],
    findings: &mut [Finding],
    options: &Options,
) -> Result<()> {
    for (place, finding) in findings.iter_mut().enumerate() {
        let Some(check) = finding.rule.check.as_ref().ok().cloned() else { continue };
        if !finding.is_measured(Scope::Table) || (options.sample.is_some() && !check.can_be_sampled()) {
            continue;
        }
        let judged = match &check {
            Check::Freshness { max_age } => {
                let latest = latest.iter().find(|(of, _)| *of == place).and_then(|(_, latest)| *latest);
                freshness(max_age, latest)
            }
            Check::RowCount { min, max, max_change } => {
                row_count(table, rows, (*min, *max), max_change.as_ref())
            }
            Check::Reconcile { query, against } => reconcile(scorer, query, against),
            Check::Distribution { .. } => distribution(table, scorer, members, &finding.rule, &check),
            _ => continue,
        };
        match judged {
            Ok(judgement) => finding.take(judgement),
            Err(failure) if failure.is_interrupt => return Err(failure),
            // A query of a rule that fails is the rule's fault, and not the run's.
            Err(failure) if is_of_a_value(&failure) && !failure.is_remote => {
                finding.rule.check = Err(without_values(&failure.message));
            }
            Err(failure) => finding.rule.check = Err(failure.told()),
        }
    }
    Ok(())
}

impl Finding {
    fn take(&mut self, judgement: Judgement) {
        if let Some(ratio) = &judgement.ratio {
            self.outcome.evaluated = 1;
            self.outcome.passed = i64::from(ratio.is_one());
        }
        self.outcome.measured = judgement.ratio;
        self.detail = Some(judgement.detail);
        self.profile = judgement.profile;
    }
}

fn verdict(passed: bool, detail: String) -> Judgement {
    let ratio = if passed { BigRational::one() } else { BigRational::zero() };
    Judgement { ratio: Some(ratio), detail, profile: None }
}

/// Whether the latest time is no older than it may be.
fn freshness(max_age: &str, latest: Option<i64>) -> Result<Judgement> {
    let Some(latest) = latest.and_then(time::to_sql) else {
        return Ok(verdict(false, "no row has a time".into()));
    };
    let sql = "SELECT $1 >= pg_catalog.now() - $2::interval,
                      pg_catalog.date_trunc('second', pg_catalog.now() - $1)::text, $1::text";
    let found = subtransaction::run(|| {
        spi::read_one(sql, &[latest.into(), max_age.into()], |row| {
            Ok((spi::known::<bool>(&row, 1)?, spi::known::<String>(&row, 2)?, spi::known::<String>(&row, 3)?))
        })
    })?;
    let (is_fresh, age, latest) = found.unwrap_or_default();
    Ok(verdict(is_fresh, format!("the latest time, {latest}, is {age} ago, at most {max_age} may be")))
}

/// Whether there are as many rows as there may be, and as there were in the run before.
fn row_count(
    table: &Table,
    rows: i64,
    (min, max): (Option<i64>, Option<i64>),
    max_change: Option<&BigRational>,
) -> Result<Judgement> {
    if min.is_some_and(|min| rows < min) || max.is_some_and(|max| rows > max) {
        let limit = |limit: Option<i64>| limit.map_or("any number".to_owned(), |limit| limit.to_string());
        let detail = format!("there are {rows} rows, not between {} and {}", limit(min), limit(max));
        return Ok(verdict(false, detail));
    }
    let Some(max_change) = max_change else {
        return Ok(verdict(true, format!("there are {rows} rows")));
    };
    let Some((run_id, before)) = record::rows_before(table.relation)? else {
        let is_bound = min.is_some() || max.is_some();
        let detail = format!("there are {rows} rows, and no earlier run");
        return Ok(Judgement { ratio: is_bound.then(BigRational::one), detail, profile: None });
    };
    let change = BigRational::new((rows - before).into(), before.max(1).into()).abs();
    let detail = format!(
        "there are {rows} rows, and were {before} in run {run_id}: a change of {}, at most {} may be",
        to_decimal(&change, 4),
        to_decimal(max_change, 4)
    );
    Ok(verdict(change <= *max_change, detail))
}

/// How close a total is to the same one elsewhere. What is elsewhere comes first: once the connection is closed, the
/// code of a rule cannot use it.
fn reconcile(scorer: &Scorer, query: &str, against: &Against) -> Result<Judgement> {
    let (there, place) = match against {
        Against::Environment { name, query } => {
            let sql = format!("SELECT ({query}\n)::numeric::text");
            let answer = remote::with(name, Access::Read, |remote| remote.query_row(&sql, 1))?;
            (Some(answer.into_iter().next().flatten()), format!("on \"{name}\""))
        }
        Against::Here(_) => (None, "there".to_owned()),
    };
    let total = |query: &str| {
        let sql = format!("SELECT {query}::numeric::text");
        scorer.run(|| subtransaction::run(|| spi::read_value::<String>(&sql, &[])))
    };
    let here = total(query)?;
    let there = match (there, against) {
        (Some(there), _) => there,
        (None, Against::Here(against)) => total(against)?,
        (None, Against::Environment { .. }) => None,
    };
    let number = |text: &Option<String>| text.as_deref().and_then(parse_decimal);
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "NULL".into());
    let detail = format!("{} here, {} {place}", shown(&here), shown(&there));
    let ratio = match (number(&here), number(&there)) {
        (Some(here), Some(there)) => Some(agreement(&here, &there)),
        // No total on both sides is the same on both sides, and no evidence of anything.
        _ if here.is_none() && there.is_none() => None,
        _ => Some(BigRational::zero()),
    };
    Ok(Judgement { ratio, detail, profile: None })
}

/// How far the values of a column are from how they were distributed in an earlier run.
fn distribution(
    table: &Table,
    scorer: &Scorer,
    members: &Members,
    rule: &Rule,
    check: &Check,
) -> Result<Judgement> {
    let (Check::Distribution { method, max, baseline }, Some(column)) =
        (check, rule.columns.first().and_then(|name| table.column(name)))
    else {
        return Ok(Judgement { ratio: None, detail: "no column".into(), profile: None });
    };
    let (source, filter) = (members.whole(), rule.filter.as_deref());
    let Some((run_id, before)) = record::profile(table.relation, rule.rule_id, *baseline)? else {
        if let Some(baseline) = baseline {
            let detail = format!("run {baseline} has no distribution for this rule");
            return Ok(verdict(false, detail));
        }
        let profile = scorer.run(|| subtransaction::run(|| Profile::new(column, filter, &source)))?;
        if profile.is_empty() {
            return Ok(Judgement { ratio: None, detail: "there are no values".into(), profile: None });
        }
        let detail = "the first run: later ones are compared with it".to_owned();
        return Ok(Judgement { ratio: None, detail, profile: Some(profile) });
    };
    let now = scorer.run(|| subtransaction::run(|| before.again(column, filter, &source)))?;
    let Some(distance) = before.distance(*method, &now) else {
        let detail = format!("nothing to compare with run {run_id}");
        return Ok(Judgement { ratio: None, detail, profile: Some(now) });
    };
    let distance = parse_decimal(&format!("{distance:.6}")).unwrap_or_else(BigRational::zero);
    let detail = format!(
        "{} from run {run_id} is {}, at most {} may be",
        method.as_str(),
        to_decimal(&distance, 4),
        to_decimal(max, 4),
    );
    Ok(Judgement { profile: Some(now), ..verdict(distance <= *max, detail) })
}
