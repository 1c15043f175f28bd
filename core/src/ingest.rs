//! Reading what a feed sends.

use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc};

/// The forms of ISO 8601 that feeds use beside RFC 3339: no seconds, an offset without colon or minutes.
const FORMS: [&str; 4] =
    ["%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];

/// A moment written in ISO 8601 with a UTC offset, in microseconds since 1970; `None` if it is anything
/// else. A time without an offset is a different moment in every time zone, so it is not guessed.
/// What is finer than a microsecond is cut off. Years 1 to 9999.
pub fn iso8601_micros(text: &str) -> Option<i64> {
    let text = text.trim();
    // chrono reads years of two digits and months of one.
    let shape = b"0000-00-00T00:00";
    let fits = |(byte, model): (u8, &u8)| match model {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == *model,
    };
    if text.len() < shape.len() || !text.bytes().zip(shape).all(fits) {
        return None;
    }
    let zulu = text.strip_suffix(['Z', 'z']).map(|local| format!("{local}+00:00"));
    let text = zulu.as_deref().unwrap_or(text);
    let moment = DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| FORMS.iter().find_map(|form| DateTime::<FixedOffset>::parse_from_str(text, form).ok()))?
        .with_timezone(&Utc);
    // A leap second comes at the end of an hour; chrono takes a 60 anywhere.
    let is_leap = moment.timestamp_subsec_nanos() >= 1_000_000_000;
    if is_leap && moment.minute() != 59 {
        return None;
    }
    (1..=9999).contains(&moment.year()).then(|| moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_one_moment_agree() {
        let moment = Some(1_517_966_773_840_000);
        for text in [
            "2018-02-07T01:26:13.840Z",
            "2018-02-07T01:26:13.84z",
            "2018-02-07 01:26:13.840+00:00",
            "2018-02-06T17:26:13.840-08:00",
            "2018-02-06T17:26:13.840-0800",
            "2018-02-06T17:26:13.840-08",
            " 2018-02-07T01:26:13.8400009Z ",
        ] {
            assert_eq!(iso8601_micros(text), moment, "{text}");
        }
        assert_eq!(iso8601_micros("2018-02-07T01:26Z"), Some(1_517_966_760_000_000));
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2018-02-07",
            "2018-02-07T01:26:13",
            "2018-02-30T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "1517966773840",
            "0000-01-01T00:00:00Z",
            "infinity",
            "2018-02-07T25:00:00Z",
            "18-02-06T00:00:00Z",
            "+2018-02-06T00:00:00Z",
            "2018-2-6T0:0:0Z",
            "2018-02-06T12:30:60Z",
            "2018-02-07T01:26:13.840Z; DROP TABLE x",
        ] {
            assert_eq!(iso8601_micros(text), None, "{text}");
        }
    }
}
