//! What need not be measured, because a validated constraint already guarantees it.

use super::rule::{Check, Evidence, Rule};
use super::table::{KEEPS_UNIQUE, Table};
use crate::pg::error::Result;
use crate::pg::expression::{self, Volatility};
use crate::pg::{spi, subtransaction};

/// A constraint of a table.
pub struct Constraint {
    /// As the catalog calls it: p, u, f or c.
    pub kind: char,
    /// Whether it holds for every row that a query on the table reads.
    pub holds: bool,
    pub columns: Vec<String>,
    /// The condition of a CHECK constraint, as SQL and as the catalog stores it.
    pub condition: String,
    stored: String,
    /// Whether a rule says the same. It does not of keys over periods of time, and not of what is no business of the
    /// children of a table.
    pub can_be_measured: bool,
    /// The table that a foreign key refers to, as it stands in SQL, and its columns there.
    pub referenced: String,
    pub theirs: Vec<String>,
}

/// What PostgreSQL guarantees of a table.
pub struct Guarantees {
    /// Sets of columns that are never the same in two rows.
    keys: Vec<Vec<String>>,
    /// Conditions that are never false, as the catalog stores them.
    checks: Vec<String>,
    foreign_keys: Vec<Constraint>,
}

impl Guarantees {
    pub fn of(table: &Table) -> Result<Self> {
        let (mut checks, mut foreign_keys) = (Vec::new(), Vec::new());
        for constraint in constraints(table)?.into_iter().filter(|constraint| constraint.holds) {
            match constraint.kind {
                'c' => checks.push(constraint.stored),
                'f' if constraint.can_be_measured => foreign_keys.push(constraint),
                _ => {}
            }
        }
        let keys = if table.constraints_hold { keys(table)? } else { Vec::new() };
        Ok(Self { keys, checks, foreign_keys })
    }

    /// Marks the rules of which the result is known.
    pub fn prove(&self, table: &Table, rules: &mut [Rule]) -> Result<()> {
        for rule in rules.iter_mut().filter(|rule| rule.evidence == Evidence::Measured) {
            if let Ok(check) = &rule.check
                && self.proves(table, rule, check)?
            {
                rule.evidence = Evidence::Constraint;
            }
        }
        Ok(())
    }

    fn proves(&self, table: &Table, rule: &Rule, check: &Check) -> Result<bool> {
        let is_not_null = |name: &String| table.column(name).is_some_and(|column| column.not_null);
        Ok(match check {
            Check::NotNull => rule.columns.iter().all(is_not_null),
            Check::Unique => {
                let has_key = self.keys.iter().any(|key| key.iter().all(|name| rule.columns.contains(name)));
                has_key && (!rule.is_key() || rule.columns.iter().all(is_not_null))
            }
            Check::ForeignKey(key) => self.foreign_keys.iter().any(|known| {
                known.columns == rule.columns && known.referenced == key.table && known.theirs == key.columns
            }),
            Check::Range { .. }
            | Check::Length { .. }
            | Check::Regex { .. }
            | Check::AcceptedValues { .. }
            | Check::Finite
            | Check::Expression { .. } => {
                rule.conditions(table).iter().try_fold(true, |proven, condition| {
                    Ok::<_, crate::pg::error::Failure>(proven && self.implies(table, condition)?)
                })?
            }
            _ => false,
        })
    }

    /// A condition that the prover cannot judge (its types are gone, say) is not proven.
    fn implies(&self, table: &Table, condition: &str) -> Result<bool> {
        if self.checks.is_empty() {
            return Ok(false);
        }
        let from = format!("{} t", table.name.sql());
        let implied = subtransaction::run(|| {
            Ok(expression::volatility(condition, &from)? == Volatility::Immutable
                && expression::is_implied(condition, &from, &self.checks)?)
        });
        match implied {
            Err(failure) if failure.is_interrupt => Err(failure),
            implied => Ok(implied.unwrap_or(false)),
        }
    }
}

fn keys(table: &Table) -> Result<Vec<Vec<String>>> {
    spi::read_now(
        &format!(
            "SELECT ARRAY(SELECT a.attname::text
                      FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                      WHERE k.place <= i.indnkeyatts)
         FROM pg_catalog.pg_index i
         WHERE i.indrelid = $1 AND {KEEPS_UNIQUE}"
        ),
        &[table.relation.into()],
        |row| spi::known::<Vec<String>>(&row, 1),
    )
}

/// The constraints of a table. One does not hold if it is not validated, if the index that keeps it is not valid, if its
/// triggers are disabled, on a partition too, or if it depends on more than the row.
pub fn constraints(table: &Table) -> Result<Vec<Constraint>> {
    let mut constraints = spi::read_now(
        include_str!("../../sql/quality/constraints.sql"),
        &[table.relation.into(), table.constraints_hold.into()],
        |row| {
            Ok(Constraint {
                kind: spi::known::<String>(&row, 1)?.chars().next().unwrap_or_default(),
                holds: spi::known(&row, 2)?,
                can_be_measured: spi::known(&row, 3)?,
                columns: spi::known(&row, 4)?,
                condition: spi::known(&row, 5)?,
                stored: spi::known(&row, 6)?,
                referenced: spi::known(&row, 7)?,
                theirs: spi::known(&row, 8)?,
            })
        },
    )?;
    let from = format!("{} t", table.name.sql());
    for check in constraints.iter_mut().filter(|constraint| constraint.kind == 'c' && constraint.holds) {
        check.holds = expression::volatility(&check.condition, &from)? == Volatility::Immutable;
    }
    Ok(constraints)
}
