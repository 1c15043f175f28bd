//! What need not be measured, because a validated constraint already guarantees it.

use super::rule::{Check, Evidence, Rule};
use super::table::Table;
use crate::pg::error::Result;
use crate::pg::expression::{self, Volatility};
use crate::pg::{spi, subtransaction};

/// What PostgreSQL guarantees of a table.
pub struct Constraints {
    /// Sets of columns that are never the same in two rows.
    keys: Vec<Vec<String>>,
    /// Conditions that are never false, as the catalog stores them.
    checks: Vec<String>,
    foreign_keys: Vec<ForeignKey>,
}

struct ForeignKey {
    columns: Vec<String>,
    referenced: String,
    theirs: Vec<String>,
}

impl Constraints {
    /// None are to be relied upon where others than the table itself have rows that it shows.
    pub fn of(table: &Table) -> Result<Self> {
        if !table.constraints_hold {
            return Ok(Self { keys: Vec::new(), checks: Vec::new(), foreign_keys: Vec::new() });
        }
        Ok(Self { keys: keys(table)?, checks: checks(table)?, foreign_keys: foreign_keys(table)? })
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
        "SELECT ARRAY(SELECT a.attname::text
                      FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                      WHERE k.place <= i.indnkeyatts)
         FROM pg_catalog.pg_index i
         WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
           AND i.indpred IS NULL AND i.indexprs IS NULL",
        &[table.relation.into()],
        |row| spi::known::<Vec<String>>(&row, 1),
    )
}

fn checks(table: &Table) -> Result<Vec<String>> {
    spi::read_now(
        "SELECT o.conbin::text FROM pg_catalog.pg_constraint o
         WHERE o.conrelid = $1 AND o.contype = 'c' AND o.convalidated AND NOT o.connoinherit",
        &[table.relation.into()],
        |row| spi::known::<String>(&row, 1),
    )
}

fn foreign_keys(table: &Table) -> Result<Vec<ForeignKey>> {
    spi::read_now(
        "SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum
                      ORDER BY k.place),
                (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = o.confrelid),
                ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(o.confkey) WITH ORDINALITY k (attnum, place)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.attnum
                      ORDER BY k.place)
         FROM pg_catalog.pg_constraint o
         WHERE o.conrelid = $1 AND o.contype = 'f' AND o.convalidated
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                           WHERE t.tgconstraint = o.oid AND t.tgenabled NOT IN ('O', 'A'))",
        &[table.relation.into()],
        |row| {
            Ok(ForeignKey {
                columns: spi::known(&row, 1)?,
                referenced: spi::known(&row, 2)?,
                theirs: spi::known(&row, 3)?,
            })
        },
    )
}
