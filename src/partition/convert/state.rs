//! Where a conversion stands: a row of opdb.partition_conversion, written in the transaction of each step.

use pgrx::JsonB;
use pgrx::datum::Interval;

use super::error::ConvertError;
use super::options::ConvertOptions;
use super::source::Source;
use crate::partition::manage::Wanted;
use crate::pg::error::Result;
use crate::pg::types::Regclass;
use crate::pg::{name, own, spi};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Copying,
    Analyzing,
    Applying,
    Swapped,
    Done,
}

impl State {
    const ALL: [Self; 5] = [Self::Copying, Self::Analyzing, Self::Applying, Self::Swapped, Self::Done];

    pub fn name(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Analyzing => "analyzing",
            Self::Applying => "applying",
            Self::Swapped => "swapped",
            Self::Done => "done",
        }
    }

    pub fn is_swapped(self) -> bool {
        matches!(self, Self::Swapped | Self::Done)
    }
}

pub struct Conversion {
    pub source: Regclass,
    pub target: Regclass,
    pub changes: Regclass,
    pub state: State,
    pub column: String,
    every: Interval,
    premake: i32,
    timezone: String,
    pub options: serde_json::Value,
    pub definition: String,
    pub file: u32,
    pub blocks: i64,
    pub next_block: i64,
    /// What writes changes down, since the copy began.
    pub captured: Option<String>,
}

/// What is being copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// pg_class.relfilenode: a rewrite gives the table another one.
    pub number: u32,
    pub blocks: i64,
}

/// The old table when its copy begins.
pub struct Begun {
    pub definition: String,
    pub captured: Option<String>,
    pub file: File,
}

impl Conversion {
    /// Of a table, by what it was or by what it is now.
    pub fn find(table: Regclass) -> Result<Option<Self>> {
        spi::read_one_now(
            "SELECT source, target, changes, state, key_column::text, every, premake, timezone, options, definition, file,
                    blocks, next_block, captured
             FROM opdb.partition_conversion WHERE $1 IN (source, target)",
            &[table.into()],
            |row| {
                let state = spi::known::<String>(&row, 4)?;
                let state = State::ALL.into_iter().find(|it| it.name() == state);
                Ok(Self {
                    source: spi::known(&row, 1)?,
                    target: spi::known(&row, 2)?,
                    changes: spi::known(&row, 3)?,
                    state: state.ok_or(pgrx::spi::SpiError::InvalidPosition)?,
                    column: spi::known(&row, 5)?,
                    every: spi::known(&row, 6)?,
                    premake: spi::known(&row, 7)?,
                    timezone: spi::known(&row, 8)?,
                    options: spi::known::<JsonB>(&row, 9)?.0,
                    definition: spi::known(&row, 10)?,
                    file: spi::known::<pgrx::pg_sys::Oid>(&row, 11)?.to_u32(),
                    blocks: spi::known(&row, 12)?,
                    next_block: spi::known(&row, 13)?,
                    captured: row.get(14)?,
                })
            },
        )
    }

    /// Errors: 42704 if it is not being converted, and never was.
    pub fn get(table: Regclass) -> Result<Self> {
        match Self::find(table)? {
            Some(found) => Ok(found),
            None => Err(ConvertError::NotConverted(name::of(table)?.sql()).into()),
        }
    }

    pub fn options(&self) -> Result<ConvertOptions> {
        ConvertOptions::read(&self.options)
    }

    pub fn source(&self) -> Result<Source> {
        Source::get(self.source, &self.column, &self.options()?)
    }

    pub fn wanted(&self) -> Result<Wanted> {
        Ok(wanted(self.every, self.premake, &self.timezone, self.options()?))
    }

    /// Errors: 55000 if the table is not what the new one was made of.
    pub fn check_definition(&self, source: &Source) -> Result<()> {
        if source.definition()? == self.definition {
            return Ok(());
        }
        Err(ConvertError::Altered(source.parent.name.sql()).into())
    }

    pub fn set_state(&self, state: State) -> Result<()> {
        own::write(
            "UPDATE opdb.partition_conversion SET state = $2, last_error = NULL, updated_at = pg_catalog.clock_timestamp(),
                 copied_at = CASE WHEN $2 = 'applying' THEN coalesce(copied_at, pg_catalog.clock_timestamp()) ELSE copied_at END,
                 copied_by = CASE WHEN $2 = 'applying' THEN coalesce(copied_by, pg_catalog.pg_current_xact_id()::xid) ELSE copied_by END
             WHERE source = $1",
            &[self.source.into(), state.name().into()],
        )
        .map(drop)
    }

    /// Whether fewer changes are left than ever before since [`Self::expect_fewer`].
    pub fn is_fewest(&self, left: i64) -> Result<bool> {
        let fewer = own::write(
            "UPDATE opdb.partition_conversion SET fewest_left = $2, updated_at = pg_catalog.clock_timestamp()
             WHERE source = $1 AND (fewest_left > $2 OR fewest_left IS NULL)",
            &[self.source.into(), left.into()],
        )?;
        Ok(fewer > 0)
    }

    /// More changes may have come together while nobody applied them.
    pub fn expect_fewer(&self) -> Result<()> {
        let sql = "UPDATE opdb.partition_conversion SET fewest_left = NULL WHERE source = $1 AND fewest_left IS NOT NULL";
        own::write(sql, &[self.source.into()]).map(drop)
    }

    pub fn copied(&self, rows: i64, next_block: i64) -> Result<()> {
        let state = if next_block >= self.blocks { State::Analyzing } else { State::Copying };
        own::write(
            "UPDATE opdb.partition_conversion SET state = $2, next_block = $3, rows_copied = rows_copied + $4, last_error = NULL,
                 updated_at = pg_catalog.clock_timestamp()
             WHERE source = $1",
            &[
                self.source.into(),
                state.name().into(),
                next_block.into(),
                rows.into(),
            ],
        )
        .map(drop)
    }

    /// Whether all that changed since the copy began was written down, by what is there `now`.
    pub fn is_captured(&self, now: Option<&str>) -> bool {
        now.is_some() && now == self.captured.as_deref()
    }

    /// From the first block on, of a file that took the place of the one that was copied.
    pub fn restart(&self, file: File, captured: Option<&str>) -> Result<()> {
        own::write(
            "UPDATE opdb.partition_conversion SET state = 'copying', next_block = 0, rows_copied = 0, copied_at = NULL, copied_by = NULL, fewest_left = NULL, file = $2,
                 blocks = $3, captured = $4, updated_at = pg_catalog.clock_timestamp()
             WHERE source = $1",
            &[
                self.source.into(),
                pgrx::pg_sys::Oid::from(file.number).into(),
                file.blocks.into(),
                captured.into(),
            ],
        )
        .map(drop)
    }

    pub fn remember_keys(&self, keys: serde_json::Value) -> Result<()> {
        own::write(
            "UPDATE opdb.partition_conversion SET foreign_keys = $2 WHERE source = $1",
            &[self.source.into(), JsonB(keys).into()],
        )
        .map(drop)
    }

    pub fn failed(&self, message: Option<&str>) -> Result<()> {
        own::write(
            "UPDATE opdb.partition_conversion SET last_error = $2, updated_at = pg_catalog.clock_timestamp()
             WHERE source = $1 AND last_error IS DISTINCT FROM $2",
            &[self.source.into(), message.into()],
        )
        .map(drop)
    }

    pub fn forget(&self) -> Result<()> {
        own::write("DELETE FROM opdb.partition_conversion WHERE source = $1", &[self.source.into()]).map(drop)
    }
}

pub fn wanted(every: Interval, premake: i32, timezone: &str, options: ConvertOptions) -> Wanted {
    Wanted {
        every,
        premake,
        retention: None,
        retention_action: "detach".into(),
        timezone: timezone.to_owned(),
        start_at: None,
        options: options.partitions,
    }
}

/// The file that a table is stored in now. It stays for as long as the caller's lock.
pub fn file_of(table: Regclass) -> Result<File> {
    let file = spi::read_one_now(
        "SELECT pg_catalog.pg_relation_filenode($1::oid),
                pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::bigint",
        &[table.into()],
        |row| Ok((row.get::<pgrx::pg_sys::Oid>(1)?, row.get::<i64>(2)?)),
    )?;
    let (number, blocks) = file.unwrap_or_default();
    Ok(File { number: number.map(|it| it.to_u32()).unwrap_or_default(), blocks: blocks.unwrap_or_default() })
}

/// Writes down a conversion that begins.
pub fn begin(source: &Source, wanted: &Wanted, options: &serde_json::Value, begun: &Begun) -> Result<()> {
    // Of tables that were dropped since.
    own::write(
        "DELETE FROM opdb.partition_conversion p
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid IN (p.source, p.target))",
        &[],
    )?;
    own::write(
        "INSERT INTO opdb.partition_conversion (source, target, changes, state, key_column, every, premake, timezone, options,
             definition, file, blocks, captured, rows_estimated)
         SELECT $1, pg_catalog.to_regclass($2), pg_catalog.to_regclass($3), 'copying', $4, $5, $6, $7, $8, $9, $10, $11, $12,
             greatest(0, c.reltuples * $11 / greatest(c.relpages, 1))::bigint
         FROM pg_catalog.pg_class c WHERE c.oid = $1",
        &[
            source.parent.table.into(),
            source.target.sql().into(),
            source.changes.sql().into(),
            source.parent.column.name.as_str().into(),
            wanted.every.into(),
            wanted.premake.into(),
            wanted.timezone.as_str().into(),
            JsonB(options.clone()).into(),
            begun.definition.as_str().into(),
            pgrx::pg_sys::Oid::from(begun.file.number).into(),
            begun.file.blocks.into(),
            begun.captured.as_deref().into(),
        ],
    )
    .map(drop)
}
