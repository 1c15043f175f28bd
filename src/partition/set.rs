//! How partitions of a table are made and retired: what manage_partitions was told.

use opdb_core::partition::{Grid, Key, Range, Span, Unit};
use opdb_core::zone::{Zone as _, first_instant};
use pgrx::datum::Interval;

use super::archive::shipment::Place;
use super::children::Children;
use super::column;
use super::error::PartitionError;
use super::manage::{self, Wanted};
use super::parent::Parent;
use crate::pg::error::Result;
use crate::pg::spi;
use crate::pg::types::Regclass;
use crate::pg::zone::Zone;

/// A table whose partitions opdb makes.
pub struct Set {
    pub parent: Parent,
    pub key: Key,
    pub grid: Grid<Zone>,
    /// In which days begin.
    pub zone: Zone,
    pub premake: usize,
    pub retention: Option<Retention>,
    /// Storage parameters of new partitions.
    pub storage: Vec<String>,
    pub analyze: bool,
    /// Now, on the key's line. For numbers that only count themselves it is the highest there is, and not known here.
    now: i64,
}

#[derive(Debug, Clone)]
pub struct Retention {
    pub action: RetentionAction,
    /// What ends up to here is retired. For numbers: how far behind the highest.
    cutoff: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionAction {
    Detach,
    Drop,
    Archive(Archive),
}

/// Where retired partitions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archive {
    /// A schema, a tablespace or both.
    Here { schema: Option<String>, tablespace: Option<String> },
    /// A registered environment; a foreign table takes the partition's place.
    Environment(Place),
}

impl RetentionAction {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Detach => "detach",
            Self::Drop => "drop",
            Self::Archive(_) => "archive",
        }
    }

    pub fn of(
        name: &str,
        schema: Option<String>,
        tablespace: Option<String>,
        environment: Option<String>,
    ) -> Option<Self> {
        match (name, schema, tablespace, environment) {
            ("detach", None, None, None) => Some(Self::Detach),
            ("drop", None, None, None) => Some(Self::Drop),
            ("archive", schema, None, Some(environment)) => {
                Some(Self::Archive(Archive::Environment(Place { environment, schema })))
            }
            ("archive", schema, tablespace, None) if schema.is_some() || tablespace.is_some() => {
                Some(Self::Archive(Archive::Here { schema, tablespace }))
            }
            _ => None,
        }
    }
}

/// A row of opdb.partition_set, with the moments that its time zone and intervals make of one instant.
struct Row {
    unit: Option<String>,
    every: Option<Interval>,
    width: Option<i64>,
    premake: i32,
    retention_width: Option<i64>,
    action: [Option<String>; 4],
    timezone: String,
    storage: Vec<String>,
    analyze: bool,
    /// Of start_at, now and now less retention, each as an instant and as the zone's clock shows it: microseconds
    /// since 1970.
    instants: [Option<i64>; 3],
    clock: [Option<i64>; 3],
}

const ROW: &str = "
    SELECT s.unit, s.every, s.width, s.premake, s.retention_width, s.retention_action, s.archive_schema::text,
           s.archive_tablespace::text, s.archive_environment, s.timezone, s.storage, s.analyze_parent,
           (1000000 * extract(epoch FROM s.start_at))::bigint,
           (1000000 * extract(epoch FROM n.at))::bigint,
           (1000000 * extract(epoch FROM (n.at AT TIME ZONE s.timezone - s.retention) AT TIME ZONE s.timezone))::bigint,
           (1000000 * extract(epoch FROM s.start_at AT TIME ZONE s.timezone))::bigint,
           (1000000 * extract(epoch FROM n.at AT TIME ZONE s.timezone))::bigint,
           (1000000 * extract(epoch FROM n.at AT TIME ZONE s.timezone - s.retention))::bigint
    FROM opdb.partition_set s, (SELECT coalesce($2, pg_catalog.clock_timestamp())) n (at)
    WHERE s.parent = $1";

impl Set {
    /// Of a table that is managed, at an instant (now, if None).
    ///
    /// Errors: 42704 if the table is not managed; those of [`Parent::get`]; 22023 if its time zone is none any more.
    pub fn get(table: Regclass, at: Option<pgrx::datum::TimestampWithTimeZone>) -> Result<Self> {
        match Self::find(table, at)? {
            Some(set) => Ok(set),
            None => Err(PartitionError::NotManaged(crate::pg::name::of(table)?.sql()).into()),
        }
    }

    pub fn find(table: Regclass, at: Option<pgrx::datum::TimestampWithTimeZone>) -> Result<Option<Self>> {
        let row = spi::read_one_now(ROW, &[table.into(), at.into()], |row| {
            let text = |column| row.get::<String>(column);
            let micros = |first| {
                Ok::<_, pgrx::spi::SpiError>([row.get(first)?, row.get(first + 1)?, row.get(first + 2)?])
            };
            Ok(Row {
                unit: text(1)?,
                every: row.get(2)?,
                width: row.get(3)?,
                premake: row.get(4)?.unwrap_or_default(),
                retention_width: row.get(5)?,
                action: [text(6)?, text(7)?, text(8)?, text(9)?],
                timezone: text(10)?.unwrap_or_default(),
                storage: row.get(11)?.unwrap_or_default(),
                analyze: row.get(12)? == Some(true),
                instants: micros(13)?,
                clock: micros(16)?,
            })
        })?;
        row.map(|row| Self::of(Parent::get(table)?, row)).transpose()
    }

    fn of(parent: Parent, row: Row) -> Result<Self> {
        let unit = row.unit.as_deref().and_then(|unit| unit.parse().ok());
        let key = column::key(&parent, unit, row.width.is_some())?;
        let span = span(row.every, row.width)?;
        let zone = zone_named(&row.timezone)?;
        let [start, now, cutoff] = if key.is_instant() { row.instants } else { row.clock };
        let [action, schema, tablespace, environment] = row.action;
        let action = RetentionAction::of(&action.unwrap_or_default(), schema, tablespace, environment);
        let cutoff = if key == Key::Integer { row.retention_width } else { cutoff };
        Ok(Self {
            grid: Grid::new(span, line_zone(key, zone)?, start.filter(|_| key.is_time())),
            zone,
            parent,
            key,
            premake: usize::try_from(row.premake).unwrap_or_default(),
            retention: action.zip(cutoff).map(|(action, cutoff)| Retention { action, cutoff }),
            storage: row.storage,
            analyze: row.analyze,
            now: now.unwrap_or_default(),
        })
    }

    /// One that nobody manages, by the clock in UTC.
    pub fn unmanaged(parent: Parent, span: Span) -> Result<Self> {
        let key = column::key(&parent, None, false)?;
        let zone = zone_named("UTC")?;
        Ok(Self {
            grid: Grid::new(span, zone, None),
            zone,
            parent,
            key,
            premake: 0,
            retention: None,
            storage: Vec::new(),
            analyze: false,
            now: crate::pg::time::now(),
        })
    }

    /// Of a table that is to be managed as it is said.
    ///
    /// Errors: those of manage_partitions for its arguments.
    pub fn wanted(parent: Parent, wanted: &Wanted) -> Result<Self> {
        let unit = wanted.options.unit.as_deref().map(unit).transpose()?;
        let key = column::key(&parent, unit, wanted.options.width.is_some())?;
        let zone = zone_named(&wanted.timezone)?;
        let mut set = Self {
            grid: Grid::new(manage::span(&parent, key, wanted)?, line_zone(key, zone)?, None),
            zone,
            parent,
            key,
            premake: usize::try_from(wanted.premake).unwrap_or_default(),
            retention: None,
            storage: Vec::new(),
            analyze: false,
            now: 0,
        };
        set.now = set.place_of(crate::pg::time::now());
        Ok(set)
    }

    /// Now, by the clock.
    pub fn clock(&self) -> i64 {
        self.now
    }

    pub fn children(&self) -> Result<Children> {
        Children::of(&self.parent, self.key)
    }

    /// The place of an instant on a line of time.
    pub fn place_of(&self, instant: i64) -> i64 {
        let offset = self.zone.offset_at(instant.div_euclid(1_000_000));
        if self.key.is_instant() { instant } else { instant.saturating_add(offset * 1_000_000) }
    }

    /// The instant of a place on a line of time.
    pub fn instant_of(&self, place: i64) -> i64 {
        match self.key.is_instant() {
            true => place,
            false => first_instant(&self.zone, place.div_euclid(1_000_000)).saturating_mul(1_000_000),
        }
    }

    /// Now, on the key's line; for numbers, the highest there is.
    pub fn now(&self, children: &Children) -> Result<i64> {
        if self.key.is_time() {
            return Ok(self.now);
        }
        column::highest(&self.parent, children)
    }

    /// What ends up to here is to be retired.
    pub fn cutoff(&self, now: i64) -> Option<i64> {
        let retention = self.retention.as_ref()?;
        let cutoff = if self.key.is_time() { retention.cutoff } else { now.checked_sub(retention.cutoff)? };
        // What is going on now is never over.
        Some(cutoff.min(now))
    }

    /// The ends of a range as SQL reads them. None if the key has no such values.
    pub fn bounds(&self, range: Range, uuid_rest: u128) -> Option<(String, String)> {
        let value = |place| self.key.value(place, self.grid.zone(), uuid_rest);
        let fits = |(lower, upper): &(String, String)| {
            column::fits(&self.parent, lower) && column::fits(&self.parent, upper)
        };
        value(range.lower).zip(value(range.upper)).filter(fits)
    }
}

/// Errors: 22023 unless exactly one is given and a partition can span it.
pub fn span(every: Option<Interval>, width: Option<i64>) -> Result<Span> {
    match (every, width) {
        (None, Some(width)) if width > 0 => Ok(Span::Numbers(width)),
        (Some(every), None) => {
            Span::of_interval(every.months(), every.days(), every.micros()).map_err(|error| {
                PartitionError::InvalidSpan { every: every.to_string(), why: error.to_string() }.into()
            })
        }
        (_, width) => Err(PartitionError::InvalidWidth(width.unwrap_or_default()).into()),
    }
}

/// The zone of the key's line: a key that is no instant is a clock without changes.
pub fn line_zone(key: Key, zone: Zone) -> Result<Zone> {
    if key.is_instant() { Ok(zone) } else { zone_named("UTC") }
}

/// Errors: 22023 if there is no such time zone.
pub fn zone_named(name: &str) -> Result<Zone> {
    Ok(Zone::named(name)?.ok_or_else(|| PartitionError::UnknownZone(name.to_owned()))?)
}

/// What the unit of an option means. Errors: 22023.
pub fn unit(name: &str) -> Result<Unit> {
    Ok(name
        .parse()
        .map_err(|_| PartitionError::InvalidOption { option: "unit".into(), needs: "s, ms or us" })?)
}
