//! Who brings the table to production.

use std::time::{Duration, Instant};

use super::item::{Item, Target};
use crate::process::pipe;

/// What is on production before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    FirstLoad,
    OneInAHundred,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// What ratios are taken of: no way to have all rows there is shorter.
    Copy,
    ForeignTable,
    Dump,
    Opdb,
    OpdbSinceLast,
}

impl Case {
    pub const ALL: [Self; 2] = [Self::FirstLoad, Self::OneInAHundred];

    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstLoad => "first load",
            Self::OneInAHundred => "1 % changed, every 100th row",
        }
    }

    /// In turn. The last of the first load is opdb: what changes then has been deployed by it.
    pub const fn contenders(self) -> &'static [Contender] {
        match self {
            Self::FirstLoad => &[Contender::Copy, Contender::ForeignTable, Contender::Dump, Contender::Opdb],
            Self::OneInAHundred => &[Contender::Copy, Contender::Opdb, Contender::OpdbSinceLast],
        }
    }

    /// By how many times the time of copying opdb promises to be done.
    pub const fn bound(self) -> f64 {
        match self {
            Self::FirstLoad => 2.5,
            Self::OneInAHundred => 0.2,
        }
    }
}

impl Contender {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "COPY (FORMAT binary), psql | psql",
            Self::ForeignTable => "INSERT through postgres_fdw, batch_size 1000",
            Self::Dump => "pg_dump -t | psql",
            Self::Opdb => "opdb.deploy",
            Self::OpdbSinceLast => "opdb.deploy, mode since_last",
        }
    }

    /// Those whose times are promised.
    pub const fn is_opdb(self) -> bool {
        matches!(self, Self::Opdb | Self::OpdbSinceLast)
    }

    const fn target(self) -> Target {
        if self.is_opdb() { Target::Opdb } else { Target::Peers }
    }

    /// How long it takes in fresh sessions, connecting and the start of programs included.
    pub fn run(self, item: &Item, case: Case) -> anyhow::Result<Duration> {
        self.prepare(item, case)?;
        let begun = Instant::now();
        let deployment = self.bring(item)?;
        let wall = begun.elapsed();
        if let Some(deployment) = deployment {
            item.check_applied(deployment)?;
        }
        item.check_alike(self.target())?;
        Ok(wall)
    }

    fn prepare(self, item: &Item, case: Case) -> anyhow::Result<()> {
        if case == Case::OneInAHundred {
            item.change()?;
        }
        match (case, self) {
            (_, Self::Dump) => item.drop_table()?,
            // It finds there what it deployed before.
            (Case::OneInAHundred, Self::Opdb | Self::OpdbSinceLast) => {}
            _ => item.empty(self.target())?,
        }
        item.checkpoint()
    }

    /// Returns which deployment it was, if it is one.
    fn bring(self, item: &Item) -> anyhow::Result<Option<i64>> {
        match self {
            Self::Copy => copy(item)?,
            Self::ForeignTable => item.here()?.batch_execute("INSERT INTO peers.item SELECT * FROM item")?,
            Self::Dump => dump(item)?,
            Self::Opdb => return deploy(item, "{}").map(Some),
            Self::OpdbSinceLast => return deploy(item, r#"{"mode": "since_last"}"#).map(Some),
        }
        Ok(None)
    }
}

fn copy(item: &Item) -> anyhow::Result<()> {
    let (mut out, mut into) = (item.program_here("psql"), item.program_there("psql"));
    out.args(["-X", "-q", "-c", "COPY item TO STDOUT (FORMAT binary)"]);
    into.args(["-X", "-q", "-c", "COPY item FROM STDIN (FORMAT binary)"]);
    pipe(out, into)
}

fn dump(item: &Item) -> anyhow::Result<()> {
    let (mut pg_dump, mut psql) = (item.program_here("pg_dump"), item.program_there("psql"));
    pg_dump.args(["-t", "item"]);
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
    pipe(pg_dump, psql)
}

fn deploy(item: &Item, options: &str) -> anyhow::Result<i64> {
    let sql = format!("SELECT opdb.deploy('production', '{{item}}', '{options}')");
    Ok(item.here()?.query_one(&sql, &[])?.get(0))
}
