//! Cron expressions: the crate croner parses them and finds the times of a clock that is never changed. What changes
//! of the clock mean is decided here: croner itself runs a job of half past one twice when two o'clock is skipped.

use chrono::{DateTime, NaiveDateTime};
use croner::errors::CronError as CronerError;
use croner::parser::{CronParser, Seconds, Year};

use super::{SECOND, Zone};
use crate::zone::{Resolved, change_within_a_day, first_instant, local, resolve};

const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("it has {0} fields instead of 5")]
    Fields(usize),
    #[error("\"{0}\" is not one of @yearly, @monthly, @weekly, @daily and @hourly")]
    Nickname(String),
    #[error("field {number} ({name}), \"{text}\" at character {character}, is not valid: {why}")]
    Field { number: usize, name: &'static str, text: String, character: usize, why: String },
    #[error("it never comes: there is no such day")]
    Never,
}

/// A cron expression: minute, hour, day of month, month, day of week; names of months and weekdays; `L`, `W` and
/// `#` for last, nearest weekday and nth; or @hourly, @daily, @weekly, @monthly, @yearly.
///
/// Times of day (`5 0 * * *`) come once a day whatever the clock does: when it is put forward over them, at the
/// end of the gap; when it is put back over them, the first time. What repeats (`*/5 * * * *`) follows the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron(Box<croner::Cron>);

impl Cron {
    /// Errors say which field is wrong and why.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let cron = Self(Box::new(parser().parse(text).map_err(|error| locate(text, &error))?));
        cron.shown_after(0).ok_or(CronError::Never)?;
        Ok(cron)
    }

    /// The expression, in capitals and with numbers instead of names.
    pub fn expression(&self) -> String {
        self.0.pattern.to_string()
    }

    pub(super) fn next(&self, zone: &impl Zone, after: i64) -> Option<i64> {
        let after = after.div_euclid(SECOND);
        let next = if self.repeats() {
            self.next_repetition(zone, after)
        } else {
            self.next_time_of_day(zone, after)
        };
        next.map(|instant| instant * SECOND)
    }

    /// Whether minute or hour are written as what repeats, and not as times.
    fn repeats(&self) -> bool {
        self.expression().split_whitespace().take(2).any(|field| field.contains(['*', '/']))
    }

    /// Each time that a clock shows, once.
    fn next_time_of_day(&self, zone: &impl Zone, after: i64) -> Option<i64> {
        let mut shown = local(zone, after);
        loop {
            shown = self.shown_after(shown)?;
            let instant = first_instant(zone, shown);
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// Every instant at which a clock shows one of the times.
    fn next_repetition(&self, zone: &impl Zone, after: i64) -> Option<i64> {
        let shown = self.shown_after(local(zone, after))?;
        match change_within_a_day(zone, after) {
            None => self.shown_at(zone, shown, after + 1),
            Some(change) if shown - zone.offset_at(after) < change => Some(shown - zone.offset_at(after)),
            // The clock goes on from another time, perhaps from one that was before.
            Some(change) => self.shown_at(zone, self.shown_after(local(zone, change) - 1)?, change),
        }
    }

    /// When a clock shows `shown`, or the next of the times if that one is skipped.
    fn shown_at(&self, zone: &impl Zone, mut shown: i64, not_before: i64) -> Option<i64> {
        loop {
            match resolve(zone, shown) {
                Resolved::Once(instant) => return Some(instant),
                Resolved::Twice(first, second) => {
                    return Some(if first >= not_before { first } else { second });
                }
                Resolved::Never => shown = self.shown_after(shown)?,
            }
        }
    }

    /// The next of the times that a clock can show, in seconds.
    fn shown_after(&self, shown: i64) -> Option<i64> {
        let shown: NaiveDateTime = DateTime::from_timestamp(shown, 0)?.naive_utc();
        let next = self.0.find_next_occurrence(&shown, false).ok()?;
        Some(next.and_utc().timestamp())
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// croner does not say where: each field is tried on its own.
fn locate(text: &str, error: &CronerError) -> CronError {
    if text.contains('@') {
        return CronError::Nickname(text.trim().to_owned());
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return CronError::Fields(fields.len());
    }
    let alone = |place: usize| {
        let mut alone = ["*"; FIELDS.len()];
        alone[place] = fields[place];
        parser().parse(&alone.join(" ")).err()
    };
    let wrong = (0..FIELDS.len()).find_map(|place| Some((place, alone(place)?)));
    let (place, why) = wrong.as_ref().map_or((0, error), |(place, why)| (*place, why));
    CronError::Field {
        number: place + 1,
        name: FIELDS[place],
        text: fields[place].to_owned(),
        character: character(text, fields[place]),
        why: reason(why),
    }
}

/// Where in `text` the slice `field` of it begins, counted from 1.
fn character(text: &str, field: &str) -> usize {
    let bytes = field.as_ptr() as usize - text.as_ptr() as usize;
    text[..bytes].chars().count() + 1
}

fn reason(error: &CronerError) -> String {
    match error {
        CronerError::ComponentError(why) => why.trim_end_matches('.').to_lowercase(),
        CronerError::IllegalCharacters(_) => "it holds a character or a name that is not known here".into(),
        other => other.to_string().trim_end_matches('.').to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono_tz::Tz;

    use super::*;
    use crate::schedule::{DAY, HOUR, MINUTE};

    fn micros(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn every_time(expression: &str, zone: &Tz, from: &str, to: &str) -> Vec<i64> {
        let (cron, end) = (Cron::parse(expression).unwrap(), micros(to));
        let next = |after: &i64| cron.next(zone, *after).filter(|next| *next < end);
        std::iter::successors(next(&(micros(from) - 1)), next).collect()
    }

    /// Minute by minute: the first one of each day at which the clock shows the time or more.
    fn oracle(minute_of_day: i64, zone: &Tz, from: &str, to: &str) -> Vec<i64> {
        let (from, to) = (micros(from), micros(to));
        let mut found = BTreeMap::new();
        for instant in (from..to).step_by(MINUTE as usize) {
            let shown = local(zone, instant / SECOND) * SECOND;
            if shown.rem_euclid(DAY) >= minute_of_day * MINUTE {
                found.entry(shown.div_euclid(DAY)).or_insert(instant);
            }
        }
        found.into_values().collect()
    }

    /// Zones that change their clocks at night, by half an hour, at midnight, in Ramadan, never.
    const ZONES: [Tz; 8] = [
        Tz::Europe__Berlin,
        Tz::America__New_York,
        Tz::Africa__Cairo,
        Tz::Asia__Beirut,
        Tz::America__Havana,
        Tz::Australia__Lord_Howe,
        Tz::Africa__Casablanca,
        Tz::Asia__Kolkata,
    ];

    #[test]
    fn a_time_of_day_comes_once_a_day_in_every_zone() {
        for zone in ZONES {
            for (expression, minute) in
                [("5 0 * * *", 5), ("30 1 * * *", 90), ("30 2 * * *", 150), ("30 2 1-31,L * *", 150)]
            {
                // From noon to noon, so that no day is cut.
                let noon = |year: i32| format!("{year}-06-01T12:00:00Z");
                let found = every_time(expression, &zone, &noon(2024), &noon(2025));
                let mut expected = oracle(minute, &zone, &noon(2024), &noon(2025));
                // The day that the year begins in had its turn before.
                expected.retain(|instant| *instant != micros(&noon(2024)));
                assert_eq!(found, expected, "{zone} {expression}");
                assert!((364..=366).contains(&found.len()), "{zone} {expression}: {}", found.len());
            }
        }
    }

    #[test]
    fn a_list_of_times_is_each_of_them_once() {
        let berlin = Tz::Europe__Berlin;
        let day = |from, to| every_time("30 2,14 * * *", &berlin, from, to);
        let shown = |instants: Vec<i64>| -> Vec<String> {
            let shown = |instant: i64| DateTime::from_timestamp_micros(instant).unwrap().format("%d %H:%M");
            instants.into_iter().map(|instant| shown(instant).to_string()).collect()
        };
        assert_eq!(shown(day("2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z")), ["28 01:00", "28 12:30"]);
        assert_eq!(shown(day("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")), ["25 00:30", "25 13:30"]);
        // Both are skipped, and are one.
        let cairo =
            every_time("5,35 0 * * *", &Tz::Africa__Cairo, "2027-04-29T20:00:00Z", "2027-04-30T20:00:00Z");
        assert_eq!(shown(cairo), ["29 22:00"]);
    }

    #[test]
    fn what_repeats_follows_the_clock() {
        // 25 hours and 23 hours.
        let berlin = Tz::Europe__Berlin;
        let day = |from, to| every_time("*/5 * * * *", &berlin, from, to);
        let long = day("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z");
        assert_eq!(long.len(), 25 * 12);
        assert!(long.windows(2).all(|pair| pair[1] - pair[0] == 5 * MINUTE));
        assert_eq!(day("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z").len(), 23 * 12);
        let hourly = every_time("@hourly", &berlin, "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z");
        assert!(hourly.windows(2).all(|pair| pair[1] - pair[0] == HOUR));
        assert_eq!(hourly.len(), 25);
    }

    #[test]
    fn what_repeats_comes_whenever_the_clock_shows_it() {
        for zone in ZONES {
            for (expression, every, at) in [("*/20 * * * *", 20, 0), ("15 */2 * * *", 120, 15)] {
                let (from, to) = ("2024-06-01T12:00:00Z", "2025-06-01T12:00:00Z");
                let shows = |instant: &i64| (local(&zone, instant / SECOND) / 60).rem_euclid(every) == at;
                let expected: Vec<i64> =
                    (micros(from)..micros(to)).step_by(MINUTE as usize).filter(shows).collect();
                assert_eq!(every_time(expression, &zone, from, to), expected, "{zone} {expression}");
            }
        }
    }

    #[test]
    fn a_day_that_was_skipped_stops_nothing() {
        let found =
            every_time("30 12 * * *", &Tz::Pacific__Apia, "2011-12-28T00:00:00Z", "2012-01-03T00:00:00Z");
        assert_eq!(found.len(), 7, "one of them at the end of the gap: {found:?}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |text: &str| Cron::parse(text).unwrap_err().to_string();
        assert!(
            error("60 * * * *").contains("field 1 (minute), \"60\" at character 1"),
            "{}",
            error("60 * * * *")
        );
        assert!(error("5  25 * * *").contains("field 2 (hour), \"25\" at character 4"));
        assert!(error("5 0 * FOO *").contains("field 4 (month), \"FOO\" at character 7"));
        assert!(error("5 0 * * MONDAY").contains("field 5 (day of week)"));
        assert_eq!(error("5 0 * *"), "it has 4 fields instead of 5");
        assert_eq!(error(""), "it has 0 fields instead of 5");
        assert_eq!(error("0 5 0 * * *"), "it has 6 fields instead of 5");
        assert!(error("@reboot").contains("\"@reboot\""));
        assert!(error("0 0 30 2 *").contains("never"));
    }
}
