//! The table, and in what that of production is another.

use opdb_e2e::cluster::Cluster;
use postgres::Client;

use super::contender::Found;

const EVENT: &str = include_str!("event.sql");
/// The database that the others are copied from.
const SAME: &str = "same";

/// How many rows differ, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    Same,
    Three,
    OneInAHundred,
    /// As many, but those with the highest keys: for who looks at ranges of keys, as good as it can be.
    LastHundredth,
    Half,
}

impl Case {
    pub const ALL: [Self; 5] =
        [Self::Same, Self::Three, Self::OneInAHundred, Self::LastHundredth, Self::Half];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "no differences",
            Self::Three => "3 differences",
            Self::OneInAHundred => "1 % changed, every 100th row",
            Self::LastHundredth => "1 % changed, the last rows",
            Self::Half => "50 % changed, every 2nd row",
        }
    }

    pub const fn database(self) -> &'static str {
        match self {
            Self::Same => SAME,
            Self::Three => "three",
            Self::OneInAHundred => "hundredth",
            Self::LastHundredth => "last_hundredth",
            Self::Half => "half",
        }
    }

    /// Makes its database on production. Returns what there is to be found.
    pub fn make(self, production: &Cluster, rows: u32) -> anyhow::Result<Found> {
        if self == Self::Same {
            production.create_database(SAME)?;
            make_event(&mut production.connect_as_superuser(SAME)?, rows)?;
            return Ok(Found::default());
        }
        let copy = format!("CREATE DATABASE {} TEMPLATE {SAME} STRATEGY file_copy", self.database());
        production.connect_as_superuser("postgres")?.batch_execute(&copy)?;
        let mut client = production.connect_as_superuser(self.database())?;
        let mut change = |condition: &str| {
            client.execute(&format!("UPDATE event SET amount = amount + 1 WHERE {condition}"), &[])
        };
        let changed = match self {
            Self::Same => 0,
            Self::Three => change(&format!("id = {}", rows / 2))?,
            Self::OneInAHundred => change("id % 100 = 0")?,
            Self::LastHundredth => change(&format!("id > {}", rows - rows / 100))?,
            Self::Half => change("id % 2 = 0")?,
        };
        let mut found = Found { changed, ..Found::default() };
        if self == Self::Three {
            let missing = format!("DELETE FROM event WHERE id = {}", rows / 4);
            let extra = format!("INSERT INTO event SELECT * FROM made_event({0}, {0})", rows + 1);
            found = Found {
                missing: client.execute(&missing, &[])?,
                extra: client.execute(&extra, &[])?,
                ..found
            };
        }
        // Neither side has more pages for its rows than the other.
        client.batch_execute("VACUUM (FULL, FREEZE, ANALYZE) event")?;
        client.batch_execute("VACUUM event")?;
        client.batch_execute("CHECKPOINT")?;
        Ok(found)
    }
}

/// The table with so many rows.
pub fn make_event(client: &mut Client, rows: u32) -> anyhow::Result<()> {
    client.batch_execute(EVENT)?;
    client.batch_execute(&format!(
        "BEGIN; TRUNCATE event;
         INSERT INTO event SELECT * FROM made_event(1, {rows}); COMMIT"
    ))?;
    client.batch_execute("VACUUM (FREEZE, ANALYZE) event")?;
    Ok(client.batch_execute("CHECKPOINT")?)
}
