//! Keys, and how their values stand for places on the line.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime};

use super::Range;
use crate::zone::{Zone, local};

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400 * MICROS;
/// The least UUID of version 7 in its millisecond: version 7 and variant 2, and nothing else.
const FIRST_OF_VERSION_7: u128 = 0x7000_8000_0000_0000_0000;
const REST_OF_UUID: u128 = (1 << 80) - 1;

/// What a number counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
pub enum Unit {
    #[strum(serialize = "s")]
    Seconds,
    #[strum(serialize = "ms")]
    Milliseconds,
    #[strum(serialize = "us", serialize = "µs")]
    Microseconds,
}

impl Unit {
    fn micros(self) -> i64 {
        match self {
            Self::Seconds => MICROS,
            Self::Milliseconds => 1000,
            Self::Microseconds => 1,
        }
    }
}

/// The partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Timestamptz,
    Timestamp,
    Date,
    Epoch(Unit),
    Uuid7,
    Integer,
}

/// Why a bound cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the bound {0} is not understood")]
    Unreadable(String),
}

impl Key {
    /// Whether its places are instants; otherwise they are those of a clock without a zone, or numbers.
    pub fn is_instant(self) -> bool {
        matches!(self, Self::Timestamptz | Self::Epoch(_) | Self::Uuid7)
    }

    pub fn is_time(self) -> bool {
        self != Self::Integer
    }

    /// The value at a place, as SQL reads it. None if the key has no such value.
    pub fn value(self, place: i64, zone: &impl Zone, uuid_rest: u128) -> Option<String> {
        match self {
            Self::Integer => Some(place.to_string()),
            Self::Epoch(unit) => (place % unit.micros() == 0).then(|| (place / unit.micros()).to_string()),
            Self::Uuid7 => uuid_at(place, uuid_rest),
            Self::Date => (place % DAY == 0).then(|| clock(place)).flatten().map(|text| date_of(&text)),
            Self::Timestamp => clock(place),
            Self::Timestamptz => {
                let seconds = place.div_euclid(MICROS);
                let offset = local(zone, seconds) - seconds;
                let text = clock(place.checked_add(offset.checked_mul(MICROS)?)?)?;
                // The era goes last.
                let (text, era) = text.strip_suffix(" BC").map_or((text.as_str(), ""), |text| (text, " BC"));
                Some(format!("{text}{}{era}", shown(offset)))
            }
        }
    }

    /// The range that `FOR VALUES FROM (…) TO (…)` means, as PostgreSQL writes it with dates in ISO and times in UTC.
    pub fn range(self, bound: &str) -> Result<Range, KeyError> {
        let unreadable = || KeyError::Unreadable(bound.to_owned());
        let inner = bound.strip_prefix("FOR VALUES FROM (").and_then(|rest| rest.strip_suffix(')'));
        let (lower, upper) = inner.and_then(|inner| inner.split_once(") TO (")).ok_or_else(unreadable)?;
        let end = |text: &str, is_upper| match text {
            "MINVALUE" => Some(i64::MIN),
            "MAXVALUE" => Some(i64::MAX),
            text => self.place(text.trim_matches('\''), is_upper),
        };
        let range = end(lower, false).zip(end(upper, true));
        range.map(|(lower, upper)| Range { lower, upper }).ok_or_else(unreadable)
    }

    fn place(self, text: &str, is_upper: bool) -> Option<i64> {
        match self {
            Self::Integer => text.parse().ok(),
            Self::Epoch(unit) => text.parse::<i64>().ok()?.checked_mul(unit.micros()),
            Self::Uuid7 => place_of_uuid(text, is_upper),
            _ => match text {
                "-infinity" => Some(i64::MIN),
                "infinity" => Some(i64::MAX),
                text => place_of_time(text),
            },
        }
    }

    /// How the bounds of a UUID go on after the time: with nothing, or as the first of version 7.
    pub fn uuid_rest<'a>(bounds: impl Iterator<Item = &'a str>) -> u128 {
        let is_versioned = |bound: &str| {
            bound.split('\'').filter_map(uuid).any(|uuid| uuid & REST_OF_UUID == FIRST_OF_VERSION_7)
        };
        if bounds.into_iter().any(is_versioned) { FIRST_OF_VERSION_7 } else { 0 }
    }
}

fn clock(place: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(place)?.naive_utc();
    let (year, era) = match time.year() {
        year if year > 0 => (year, ""),
        year => (1 - year, " BC"),
    };
    let rest = time.format("-%m-%d %H:%M:%S");
    let fraction = place.rem_euclid(MICROS);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    Some(format!("{year:04}{rest}{fraction}{era}"))
}

fn date_of(clock: &str) -> String {
    let era = if clock.ends_with(" BC") { " BC" } else { "" };
    format!("{}{era}", clock.split(' ').next().unwrap_or_default())
}

/// An offset from UTC, as PostgreSQL writes it.
fn shown(offset: i64) -> String {
    let (sign, seconds) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        text += &format!(":{:02}", seconds % 3600 / 60);
    }
    if seconds % 60 != 0 {
        text += &format!(":{:02}", seconds % 60);
    }
    text
}

fn uuid_at(place: i64, rest: u128) -> Option<String> {
    let milliseconds = u128::try_from(place).ok().filter(|place| place % 1000 == 0)? / 1000;
    let value = (milliseconds < 1 << 48).then_some((milliseconds << 80) | rest)?;
    let hex = format!("{value:032x}");
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

fn uuid(text: &str) -> Option<u128> {
    let hex: String = text.chars().filter(|character| *character != '-').collect();
    (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok()).flatten()
}

/// No UUID of version 7 is below its first, so a bound up to that is at the millisecond itself.
fn place_of_uuid(text: &str, is_upper: bool) -> Option<i64> {
    let value = uuid(text)?;
    let begun = is_upper && value & REST_OF_UUID > FIRST_OF_VERSION_7;
    i64::try_from((value >> 80) + u128::from(begun)).ok()?.checked_mul(1000)
}

/// `2026-11-20`, `2026-11-20 00:00:00`, with a fraction, ` BC`, and `+00`.
fn place_of_time(text: &str) -> Option<i64> {
    let (text, is_bc) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let mut parts = date.splitn(3, '-');
    let year: i32 = parts.next()?.parse().ok()?;
    let year = if is_bc { 1 - year } else { year };
    let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let time = time.strip_suffix("+00").unwrap_or(time);
    let time = NaiveTime::parse_from_str(time, "%H:%M:%S%.f").ok()?;
    let moment = NaiveDateTime::new(NaiveDate::from_ymd_opt(year, month, day)?, time);
    Some(moment.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn bound(key: Key, range: Range, rest: u128) -> String {
        let value = |place| key.value(place, &Tz::UTC, rest).unwrap();
        format!("FOR VALUES FROM ('{}') TO ('{}')", value(range.lower), value(range.upper))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let range = Range { lower: 1_763_596_800_000_000, upper: 1_763_683_200_000_000 };
        let (old, ids) = (Range { lower: -70_000 * DAY, upper: -800_000 }, Range { lower: -5, upper: 7 });
        let far = Range { lower: -900_000 * DAY, upper: 3_000_000 * DAY };
        for key in [
            Key::Timestamptz,
            Key::Timestamp,
            Key::Date,
            Key::Epoch(Unit::Seconds),
            Key::Epoch(Unit::Milliseconds),
            Key::Uuid7,
        ] {
            assert_eq!(key.range(&bound(key, range, 0)), Ok(range), "{key:?}");
        }
        assert_eq!(Key::Timestamptz.range(&bound(Key::Timestamptz, old, 0)), Ok(old));
        assert_eq!(Key::Timestamptz.range(&bound(Key::Timestamptz, far, 0)), Ok(far));
        assert_eq!(Key::Date.range(&bound(Key::Date, far, 0)), Ok(far));
        assert_eq!(Key::Integer.range("FOR VALUES FROM ('-5') TO (7)"), Ok(ids));
        assert_eq!(
            Key::Integer.range("FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"),
            Ok(Range { lower: i64::MIN, upper: i64::MAX })
        );
    }

    #[test]
    fn an_instant_is_written_in_its_zone() {
        let value = Key::Timestamptz.value(1_763_593_200_000_000, &Tz::Europe__Paris, 0).unwrap();
        assert_eq!(value, "2025-11-20 00:00:00+01");
        let value = Key::Timestamptz.value(1_763_593_200_000_000, &Tz::Asia__Kathmandu, 0).unwrap();
        assert_eq!(value, "2025-11-20 04:45:00+05:45");
    }

    #[test]
    fn bounds_of_uuids_are_met_as_they_are() {
        let range = Range { lower: 1_763_596_800_000_000, upper: 1_763_683_200_000_000 };
        let versioned = bound(Key::Uuid7, range, FIRST_OF_VERSION_7);
        assert!(versioned.contains("-7000-8000-000000000000"), "{versioned}");
        assert_eq!(Key::Uuid7.range(&versioned), Ok(range));
        assert_eq!(Key::uuid_rest([versioned.as_str()].into_iter()), FIRST_OF_VERSION_7);
        assert_eq!(Key::uuid_rest([bound(Key::Uuid7, range, 0).as_str()].into_iter()), 0);
        // A bound amid a millisecond leaves that millisecond to whoever is below it.
        let amid = bound(Key::Uuid7, range, FIRST_OF_VERSION_7 + 1);
        assert_eq!(Key::Uuid7.range(&amid), Ok(Range { upper: range.upper + 1000, ..range }));
    }

    #[test]
    fn what_no_key_can_hold_has_no_value() {
        assert_eq!(Key::Date.value(1, &Tz::UTC, 0), None);
        assert_eq!(Key::Epoch(Unit::Seconds).value(1, &Tz::UTC, 0), None);
        assert_eq!(Key::Uuid7.value(-1000, &Tz::UTC, 0), None);
        assert!(Key::Integer.range("FOR VALUES IN ('a')").is_err());
        assert!(Key::Timestamp.range("FOR VALUES FROM ('x') TO ('y')").is_err());
    }
}
