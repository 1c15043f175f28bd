//! The rules of a table: those that it implies, those that are required of a run, and those that were added.

use num_rational::BigRational;
use num_traits::One;
use opdb_core::quality::{Dimension, parse_decimal};
use pgrx::JsonB;
use serde_json::{Map, Value};

use super::error::QualityError;
use super::implied;
use super::options::Options;
use super::proof::Guarantees;
use super::rule::{Check, Evidence, FILTER, Rule};
use super::scorer::Scorer;
use super::table::Table;
use super::trial;
use crate::pg::error::{Failure, Result};
use crate::pg::{expression, spi};

/// All rules of a run, with those marked that a constraint proves.
pub fn of(table: &mut Table, scorer: &Scorer, options: &Options) -> Result<Vec<Rule>> {
    let added = added(table, scorer)?;
    let is_configured = added.iter().any(|rule| rule.dimension == Dimension::Completeness);
    let mut rules: Vec<Rule> = match &options.required {
        Some(required) => required
            .iter()
            .map(|(column, weight)| Rule { weight: weight.clone(), ..implied::completeness(table, column) })
            .collect(),
        None if options.implied && !is_configured => {
            implied::required(table)?.iter().map(|column| implied::completeness(table, column)).collect()
        }
        None => Vec::new(),
    };
    if options.implied {
        rules.extend(implied::rules(table, scorer)?);
    }
    rules.extend(added);
    table.learn_placeholders(&rules);
    scorer.run(|| Guarantees::of(table)?.prove(table, &mut rules))?;
    table.learn_demands(&rules);
    Ok(rules)
}

/// A rule as it stands in opdb's table.
struct Stored {
    rule_id: i64,
    name: Option<String>,
    dimension: String,
    kind: String,
    columns: Vec<String>,
    args: Map<String, Value>,
    weight: String,
    threshold: Option<String>,
    severity: String,
    /// Whether it was added under the present owner of the table.
    is_owners: bool,
}

/// The rules that were added to the table. One that cannot be evaluated any more fails the run, and not the
/// caller's statement.
fn added(table: &Table, scorer: &Scorer) -> Result<Vec<Rule>> {
    let stored = spi::read(
        "SELECT rule_id, name, dimension, rule, columns, args, weight::text, threshold::text, severity,
                table_owner = (SELECT pg_catalog.pg_get_userbyid(c.relowner)
                               FROM pg_catalog.pg_class c WHERE c.oid = $1)
         FROM opdb.quality_rule WHERE table_name = $1 ORDER BY rule_id",
        &[table.relation.into()],
        |row| {
            let args = row.get::<JsonB>(6)?.map(|args| args.0).unwrap_or_default();
            Ok(Stored {
                rule_id: spi::known(&row, 1)?,
                name: row.get(2)?,
                dimension: spi::known(&row, 3)?,
                kind: spi::known(&row, 4)?,
                columns: spi::known(&row, 5)?,
                args: args.as_object().cloned().unwrap_or_default(),
                weight: spi::known(&row, 7)?,
                threshold: row.get(8)?,
                severity: spi::known(&row, 9)?,
                is_owners: row.get(10)? == Some(true),
            })
        },
    )?;
    stored.into_iter().map(|stored| stored.rule(table, scorer)).collect()
}

impl Stored {
    fn rule(self, table: &Table, scorer: &Scorer) -> Result<Rule> {
        let dimension = Dimension::from_name(&self.dimension)
            .ok_or_else(|| QualityError::UnknownDimension(self.dimension.clone()))?;
        let mut rule = Rule {
            rule_id: Some(self.rule_id),
            name: self.name.clone(),
            dimension,
            kind: self.kind.clone(),
            check: Err("it was added under another owner of the table: add it again".into()),
            columns: self.columns.clone(),
            filter: None,
            weight: parse_decimal(&self.weight).unwrap_or_else(BigRational::one),
            threshold: self.threshold.as_deref().and_then(parse_decimal),
            is_warning: self.severity == "warning",
            is_primary_key: false,
            evidence: Evidence::Measured,
        };
        if self.is_owners {
            match self.tried(&rule, table, scorer) {
                Ok(tried) => rule = tried,
                Err(failure) if failure.is_interrupt => return Err(failure),
                Err(failure) => rule.check = Err(failure.message),
            }
        }
        Ok(rule)
    }

    /// The rule with what it checks, if it still can.
    fn tried(&self, rule: &Rule, table: &Table, scorer: &Scorer) -> Result<Rule> {
        let check = Check::read(&self.kind, &self.columns, &self.args)?;
        scorer.check_may_evaluate(table, &check)?;
        let rule = Rule { check: Ok(check), filter: filter(&self.args)?, ..rule.clone() };
        scorer.run(|| trial::run(&rule, table))?;
        Ok(rule)
    }
}

/// The condition under which a rule looks at a row, in parentheses.
pub fn filter(args: &Map<String, Value>) -> std::result::Result<Option<String>, Failure> {
    match args.get(FILTER) {
        None => Ok(None),
        Some(Value::String(filter)) => expression::parenthesised(filter).map(Some),
        Some(_) => {
            Err(QualityError::InvalidOption { option: FILTER.into(), needs: "a condition".into() }.into())
        }
    }
}
