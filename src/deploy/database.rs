//! Where rows are deployed to: a registered environment, or this database.

use crate::pg::error::{Failure, Result};
use crate::pg::remote::{Remote, Row};
use crate::pg::{spi, subtransaction};

pub enum Database<'a> {
    Here,
    There(&'a Remote),
}

const SAVEPOINT: &str = "SAVEPOINT opdb_attempt";
const RELEASE: &str = "RELEASE SAVEPOINT opdb_attempt";
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT opdb_attempt";

impl Database<'_> {
    /// Runs a query, which sees what was written before it. All of its columns are text.
    pub fn query(&self, sql: &str, columns: usize) -> Result<Vec<Row>> {
        match self {
            Self::There(remote) => remote.query(sql, columns),
            Self::Here => {
                spi::read_now(sql, &[], |row| (1..=columns).map(|column| row.get::<String>(column)).collect())
            }
        }
    }

    /// The first row of a query.
    pub fn row<const COLUMNS: usize>(&self, sql: &str) -> Result<[Option<String>; COLUMNS]> {
        let row = self.query(sql, COLUMNS)?.into_iter().next().unwrap_or_default();
        Ok(row.try_into().unwrap_or([const { None }; COLUMNS]))
    }

    /// The only value of a query, as text; empty for none.
    pub fn value(&self, sql: &str) -> Result<String> {
        let [value] = self.row::<1>(sql)?;
        Ok(value.unwrap_or_default())
    }

    /// The only value of a query that is a number.
    pub fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.value(sql)?.parse().unwrap_or(0))
    }

    /// Runs one command and returns how many rows it touched.
    pub fn execute(&self, sql: &str) -> Result<i64> {
        match self {
            Self::There(remote) => remote.execute(sql),
            Self::Here => Ok(i64::try_from(spi::write(sql, &[])?).unwrap_or(i64::MAX)),
        }
    }

    /// Runs `work`; if it fails, nothing of it stays and the transaction goes on.
    pub fn attempt<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let Self::There(remote) = self else { return subtransaction::run(work) };
        remote.precede(SAVEPOINT);
        match work() {
            Ok(value) => {
                remote.precede(RELEASE);
                Ok(value)
            }
            Err(failure) if is_lost(&failure) => Err(failure),
            Err(failure) => {
                remote.execute(ROLL_BACK)?;
                remote.precede(RELEASE);
                Err(failure)
            }
        }
    }
}

/// Whether there is no transaction to go on with.
fn is_lost(failure: &Failure) -> bool {
    failure.is_interrupt || failure.class() == "08" || failure.class() == "57"
}
