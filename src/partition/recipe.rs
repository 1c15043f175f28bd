//! What a new partition is made of: what LIKE and ATTACH bring, and everything that neither brings.

use std::time::Duration;

use pgrx::pg_sys;

use super::archive::shipment::Shipment;
use super::children::Children;
use super::error::PartitionError;
use super::moving::Move;
use super::parent::Parent;
use super::retired::Still;
use crate::pg::error::{Failure, Result};
use crate::pg::lock::Mode;
use crate::pg::name::{Qualified, literal};
use crate::pg::types::Regclass;
use crate::pg::{lock, session, spi};

/// A statement, cut where the partition's name goes.
struct Part {
    before: String,
    after: String,
    /// Indexes, foreign keys and triggers: rows come in before.
    is_late: bool,
}

impl Part {
    fn of(&self, partition: &str) -> Statement {
        Statement::Sql(format!("{}{partition}{}", self.before, self.after))
    }
}

/// The statements for any new partition of one table.
pub struct Recipe {
    parent: Qualified,
    statements: Vec<Part>,
    /// Whether the part of an index of the parent's is to be the replica identity.
    has_identity_index: bool,
}

/// A part of a step; parts are carried out in order.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Taken without keeping others waiting for long.
    Lock(Lock),
    Sql(String),
    /// Taken when nobody holds what is in the way, and never waited for in the queue.
    Unqueued(Lock),
    /// Rows change their place.
    Move(Move),
    /// What was planned must be so still, after locks were waited for.
    Still(Still),
    /// Rows are copied to another server.
    Ship(Box<Shipment>),
    /// And are the same there, or the step fails: what comes after it is done while both sides are kept as they are.
    Verify(Box<Shipment>),
}

#[derive(Debug, Clone)]
pub struct Lock {
    pub relation: Regclass,
    pub name: Qualified,
    pub mode: Mode,
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lock(lock) | Self::Unqueued(lock) => {
                write!(f, "{} on {}", lock.mode.name(), lock.name.sql())
            }
            Self::Sql(sql) => f.write_str(sql),
            Self::Move(moved) => f.write_str(&moved.shown()),
            Self::Still(_) => Ok(()),
            Self::Ship(shipment) => f.write_str(&shipment.shown()),
            Self::Verify(shipment) => f.write_str(&shipment.comparison_shown()),
        }
    }
}

impl Recipe {
    pub fn of(parent: &Parent, children: &Children, storage: &[String]) -> Result<Self> {
        Self::after(parent, children.model(), storage)
    }

    /// For partitions that get their rows before they are attached.
    pub fn for_rows(parent: &Parent, children: &Children, storage: &[String]) -> Result<Self> {
        Self::read(parent, children.model(), storage, true)
    }

    /// For partitions that take after `model`.
    pub fn after(parent: &Parent, model: Option<pg_sys::Oid>, storage: &[String]) -> Result<Self> {
        Self::read(parent, model, storage, false)
    }

    fn read(parent: &Parent, model: Option<pg_sys::Oid>, storage: &[String], for_rows: bool) -> Result<Self> {
        let sql = include_str!("../../sql/partition/recipe.sql");
        let args = [parent.table.into(), model.into(), storage.to_vec().into(), for_rows.into()];
        let statements = session::pinned(|| {
            spi::read_now(sql, &args, |row| {
                let part = row.get::<String>(1)?.zip(row.get::<String>(2)?);
                let is_late = row.get::<bool>(3)? == Some(true);
                Ok(part.map(|(before, after)| Part { before, after, is_late }))
            })
        })?;
        let has_identity_index = spi::read_one_now(
            "SELECT relreplident = 'i' FROM pg_catalog.pg_class WHERE oid = $1",
            &[parent.table.into()],
            |row| row.get::<bool>(1),
        )?;
        Ok(Self {
            parent: parent.name.clone(),
            statements: statements.into_iter().flatten().collect(),
            has_identity_index: has_identity_index.flatten() == Some(true),
        })
    }

    /// For partitions of a table called `name`, which is to be made like the parent.
    #[must_use]
    pub fn of_copy(mut self, name: &Qualified) -> Self {
        let like = |table: &Qualified| format!(" (LIKE {} ", table.sql());
        for part in &mut self.statements {
            if let Some(rest) = part.after.strip_prefix(&like(&self.parent)) {
                part.after = like(name) + rest;
            }
        }
        self.parent = name.clone();
        self
    }

    /// Makes the table that is to be a partition.
    pub fn create(&self, partition: &Qualified) -> Vec<Statement> {
        self.parts(partition, |_| true)
    }

    /// The table, for rows to come in without a trigger seeing them.
    pub fn before_rows(&self, partition: &Qualified) -> Vec<Statement> {
        self.parts(partition, |part| !part.is_late)
    }

    /// What it has besides.
    pub fn after_rows(&self, partition: &Qualified) -> Vec<Statement> {
        self.parts(partition, |part| part.is_late)
    }

    fn parts(&self, partition: &Qualified, chosen: impl Fn(&Part) -> bool) -> Vec<Statement> {
        let partition = partition.sql();
        self.statements.iter().filter(|part| chosen(part)).map(|part| part.of(&partition)).collect()
    }

    /// Takes away what default privileges gave to a table that was made otherwise: it has no policies of its own.
    pub fn revoke(&self, partition: &Qualified) -> Vec<Statement> {
        self.parts(partition, |part| part.before.starts_with("REVOKE ALL ON "))
    }

    /// Makes it one.
    pub fn attach(&self, partition: &Qualified, lower: &str, upper: &str) -> Vec<Statement> {
        self.attach_as(partition, &format!("FOR VALUES FROM ({}) TO ({})", literal(lower), literal(upper)))
    }

    /// Makes it the default partition.
    pub fn attach_default(&self, partition: &Qualified) -> Vec<Statement> {
        self.attach_as(partition, "DEFAULT")
    }

    fn attach_as(&self, partition: &Qualified, bound: &str) -> Vec<Statement> {
        let (parent, partition) = (self.parent.sql(), partition.sql());
        let mut statements =
            vec![Statement::Sql(format!("ALTER TABLE {parent} ATTACH PARTITION {partition} {bound}"))];
        statements.extend(self.has_identity_index.then(|| identify(&partition, &parent)));
        statements
    }
}

/// How long a lock is asked for.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

impl Statement {
    /// Whether it is a part of what would be typed.
    pub fn is_sql(&self) -> bool {
        !matches!(self, Self::Lock(_) | Self::Unqueued(_) | Self::Still(_))
    }

    pub fn is_lock(&self) -> bool {
        matches!(self, Self::Lock(_) | Self::Unqueued(_))
    }

    #[must_use]
    pub fn unqueued(self) -> Self {
        if let Self::Lock(lock) = self { Self::Unqueued(lock) } else { self }
    }

    /// Runs them in order; locks that follow each other are taken all together.
    pub fn run_all(mut statements: &[Self]) -> Result<()> {
        while let [first, rest @ ..] = statements {
            let locks: Vec<&Lock> = statements.iter().map_while(Self::as_lock).collect();
            statements = match first {
                Self::Verify(shipment) => return shipment.verified(|| Self::run_all(rest)),
                Self::Lock(_) => Lock::take_all(&locks).map(|()| &statements[locks.len()..])?,
                _ => first.run().map(|()| rest)?,
            };
        }
        Ok(())
    }

    fn as_lock(&self) -> Option<&Lock> {
        if let Self::Lock(lock) = self { Some(lock) } else { None }
    }

    /// Errors: 55P03 for a lock that is not to be had in time; those of the server.
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Lock(wanted) => Lock::take_all(&[wanted]),
            Self::Unqueued(wanted) => match lock::when_free(wanted.relation, wanted.mode, LOCK_TIMEOUT)? {
                true => Ok(()),
                false => Err(wanted.missed()?),
            },
            Self::Sql(sql) => spi::write(sql, &[]).map(drop),
            Self::Move(moved) => moved.run(),
            Self::Still(still) => still.check(),
            Self::Ship(shipment) => shipment.ship(),
            Self::Verify(shipment) => shipment.verified(|| Ok(())),
        }
    }
}

impl Lock {
    /// Errors: 55P03 if one of them is not to be had in time.
    fn take_all(locks: &[&Self]) -> Result<()> {
        let wanted: Vec<(Regclass, Mode)> = locks.iter().map(|it| (it.relation, it.mode)).collect();
        match lock::all_in_turns(&wanted, LOCK_TIMEOUT)? {
            None => Ok(()),
            Some(missed) => Err(locks[missed].missed()?),
        }
    }

    fn missed(&self) -> Result<Failure> {
        Ok(PartitionError::Locked {
            relation: self.name.sql(),
            seconds: LOCK_TIMEOUT.as_secs(),
            blockers: lock::holders(self.relation)?,
        }
        .into())
    }
}

/// The server names a partition's indexes: which is the one shows only when it is attached.
fn identify(partition: &str, parent: &str) -> Statement {
    let body = format!(
        "BEGIN EXECUTE (
    SELECT pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', i.indrelid::pg_catalog.regclass, c.relname)
    FROM pg_catalog.pg_index p
    JOIN pg_catalog.pg_inherits h ON h.inhparent = p.indexrelid
    JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhrelid AND i.indrelid = {}::pg_catalog.regclass
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    WHERE p.indrelid = {}::pg_catalog.regclass AND p.indisreplident); END",
        literal(partition),
        literal(parent)
    );
    Statement::Sql(format!("DO {}", literal(&body)))
}
