//! Whether a text is a value of a format that the world has agreed on.

use std::net::{Ipv4Addr, Ipv6Addr};

use email_address::EmailAddress;
use fluent_uri::Iri;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use isolang::Language;

/// The formats, under the names that SQL gives them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    Email,
    Url,
    Uuid,
    Date,
    Datetime,
    Ipv4,
    Ipv6,
    Country,
    Currency,
    Language,
    Json,
}

/// What an SMTP path leaves to the address between its brackets (RFC 5321, 4.5.3.1.3; RFC 3696, erratum 1690).
const MAX_EMAIL: usize = 254;

impl Format {
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;
    pub const NAMES: &'static [&'static str] = <Self as strum::VariantNames>::VARIANTS;

    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Whether all of `value` is of this format: a blank before or after it is none of it (but white space is
    /// part of JSON's grammar).
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Self::Email => is_email(value),
            Self::Url => is_url(value),
            Self::Uuid => is_uuid(value),
            Self::Date => is_date(value),
            Self::Datetime => is_datetime(value),
            Self::Ipv4 => value.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => value.parse::<Ipv6Addr>().is_ok(),
            Self::Country => is_country(value),
            Self::Currency => is_currency(value),
            Self::Language => is_language(value),
            Self::Json => serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok(),
        }
    }
}

/// A mailbox as RFC 5321 writes it, at a host with at least two labels: `postmaster@localhost` and an address in
/// brackets reach nobody from elsewhere. Letters of other scripts may be in the host, not before the `@`, where few
/// servers take them (RFC 6531).
fn is_email(value: &str) -> bool {
    let Some((local_part, host)) = value.rsplit_once('@') else {
        return false;
    };
    value.len() <= MAX_EMAIL
        && local_part.is_ascii()
        && EmailAddress::is_valid_local_part(local_part)
        && host.contains('.')
        && !host.ends_with('.')
        && is_host_name(host)
}

/// An absolute http, https or ftp address with a host (RFC 3986, or RFC 3987 with letters of other scripts).
fn is_url(value: &str) -> bool {
    let Ok(url) = Iri::parse(value) else {
        return false;
    };
    let is_of_the_web =
        ["http", "https", "ftp"].iter().any(|scheme| url.scheme().as_str().eq_ignore_ascii_case(scheme));
    is_of_the_web
        && url
            .authority()
            .is_some_and(|authority| authority.port_to_u16().is_ok() && is_host(authority.host()))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_host_name(host),
    }
}

/// A name that the DNS can hold: labels of letters of any script (UTS 46), digits and inner hyphens (RFC 1123), of at
/// most 63 bytes each and 253 together. One whose last label is a number would be an address, and is none.
fn is_host_name(host: &str) -> bool {
    let last_label = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    !last_label.bytes().all(|byte| byte.is_ascii_digit())
        && Uts46::new()
            .to_ascii(
                host.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::VerifyAllowRootDot,
            )
            .is_ok()
}

/// The text form of RFC 9562, in either case. Other forms, in braces or without hyphens, are other texts for one value.
fn is_uuid(value: &str) -> bool {
    value.len() == 36 && uuid::Uuid::try_parse(value).is_ok()
}

/// `YYYY-MM-DD`, a day that exists in the (proleptic Gregorian) year 0001 to 9999.
fn is_date(value: &str) -> bool {
    is_day(value.as_bytes())
}

fn is_day(bytes: &[u8]) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else {
        return false;
    };
    match (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2])) {
        (Some(year @ 1..), Some(month), Some(day)) => {
            chrono::NaiveDate::from_ymd_opt(year.cast_signed(), month, day).is_some()
        }
        _ => false,
    }
}

/// `YYYY-MM-DDThh:mm:ss` with a blank in place of the `T` if liked, then a fraction and then an offset from UTC, both
/// optional: RFC 3339, and what PostgreSQL writes, whose offset leaves out zero minutes and may have seconds. The hour
/// is 00 to 23; the second is 60 at the end of an hour only.
fn is_datetime(value: &str) -> bool {
    let Some((day, [b'T' | b't' | b' ', time @ ..])) = value.as_bytes().split_at_checked(10) else {
        return false;
    };
    is_day(day) && is_time(time)
}

fn is_time(bytes: &[u8]) -> bool {
    let Some((&[h1, h2, b':', m1, m2, b':', s1, s2], rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    let is_of_day = match (number(&[h1, h2]), number(&[m1, m2]), number(&[s1, s2])) {
        (Some(..=23), Some(minute @ ..=59), Some(second @ ..=60)) => second < 60 || minute == 59,
        _ => false,
    };
    is_of_day && after_fraction(rest).is_some_and(is_offset)
}

/// What is behind a fraction, if there is one; `None` for a point without digits.
fn after_fraction(bytes: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = bytes.strip_prefix(b".") else {
        return Some(bytes);
    };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &fraction[digits..])
}

/// Nothing, `Z`, or `+hh`, `+hh:mm`, `+hh:mm:ss` (or with `-`).
fn is_offset(bytes: &[u8]) -> bool {
    let below_60 = |tens: u8, ones: u8| number(&[tens, ones]).is_some_and(|number| number < 60);
    match *bytes {
        [] | [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, ref rest @ ..] => {
            number(&[h1, h2]).is_some_and(|hours| hours < 24)
                && match *rest {
                    [] => true,
                    [b':', m1, m2] => below_60(m1, m2),
                    [b':', m1, m2, b':', s1, s2] => below_60(m1, m2) && below_60(s1, s2),
                    _ => false,
                }
        }
        _ => false,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// The alpha-2 or alpha-3 code of ISO 3166-1, in capitals.
fn is_country(value: &str) -> bool {
    match value.len() {
        2 => rust_iso3166::ALPHA2_MAP.contains_key(value),
        3 => rust_iso3166::ALPHA3_MAP.contains_key(value),
        _ => false,
    }
}

/// The alphabetic code of a currency, fund or metal that ISO 4217 lists as current, in capitals.
fn is_currency(value: &str) -> bool {
    let is_current = |currency: iso_currency::Currency| {
        // The bolívar has two codes, of which the crate holds one to be withdrawn.
        currency.is_superseded().is_none() || currency == iso_currency::Currency::VES
    };
    iso_currency::Currency::from_code(value).is_some_and(is_current)
}

/// The code of ISO 639-1 or 639-3, in small letters.
fn is_language(value: &str) -> bool {
    match value.len() {
        2 => Language::from_639_1(value).is_some(),
        3 => Language::from_639_3(value).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, accepted: &[&str], refused: &[&str]) {
        for value in accepted {
            assert!(format.accepts(value), "{format:?} refuses {value:?}");
        }
        for value in refused {
            assert!(!format.accepts(value), "{format:?} accepts {value:?}");
        }
        for value in accepted.iter().filter(|_| format != Format::Json) {
            for around in
                [format!(" {value}"), format!("{value} "), format!("{value}\n"), format!("\t{value}")]
            {
                assert!(!format.accepts(&around), "{format:?} accepts {around:?}");
            }
        }
    }

    #[test]
    fn every_format_is_found_by_its_name_and_by_no_other() {
        let names = "email url uuid date datetime ipv4 ipv6 country currency language json";
        assert_eq!(Format::NAMES.join(" "), names);
        for (format, name) in Format::ALL.iter().zip(Format::NAMES) {
            assert_eq!(Format::from_name(name), Some(*format));
        }
        for name in ["", "Email", "EMAIL", " email", "phone", "date-time"] {
            assert_eq!(Format::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn nothing_is_of_no_format() {
        for format in Format::ALL {
            assert!(!format.accepts(""), "{format:?}");
            assert!(!format.accepts(" "), "{format:?}");
        }
    }

    #[test]
    fn email() {
        let of_length = |length: usize| {
            let host = format!("{0}.{0}.{1}.example", "b".repeat(60), "b".repeat(length - 195));
            format!("{}@{host}", "a".repeat(64))
        };
        let (longest, too_long) = (of_length(254), of_length(255));
        assert_eq!([longest.len(), too_long.len()], [254, 255]);
        assert!(Format::Email.accepts(&longest));
        check(
            Format::Email,
            &[
                "ada@example.org",
                "ada.lovelace+notes@mail.example.co.uk",
                "o'brien@example.org",
                "a@b.co",
                "\"ada lovelace\"@example.org",
                "\"a@b\"@example.org",
                "ada@münchen.de",
                "ada@xn--mnchen-3ya.de",
                "ada@EXAMPLE.ORG",
                "1@1.example",
                "_@example.org",
            ],
            &[
                "ada",
                "ada@",
                "@example.org",
                "ada@example",
                "ada@localhost",
                "ada@@example.org",
                "ada@b@example.org",
                "ada lovelace@example.org",
                ".ada@example.org",
                "ada.@example.org",
                "a..b@example.org",
                "ada@.org",
                "ada@example..org",
                "ada@example.org.",
                "ada@-example.org",
                "ada@exam_ple.org",
                "ada@[127.0.0.1]",
                "ada@127.0.0.1",
                "ada@example.123",
                "Ada <ada@example.org>",
                "<ada@example.org>",
                "mailto:ada@example.org",
                "ädä@example.org",
                "ada@exa\u{0}mple.org",
                "ada@example.org,bob@example.org",
                "\"\"@example.org",
                &too_long,
                &format!("{}@example.org", "a".repeat(65)),
                &format!("ada@{}.org", "a".repeat(64)),
            ],
        );
    }

    #[test]
    fn url() {
        check(
            Format::Url,
            &[
                "http://example.org",
                "https://example.org/",
                "HTTPS://EXAMPLE.ORG/",
                "ftp://user:secret@example.org/file.txt",
                "https://example.org:8443/a/b;c?d=e&f=%20#g",
                "http://localhost:8080",
                "http://127.0.0.1/",
                "http://[2001:db8::1]:80/",
                "https://münchen.de/straße",
                "https://xn--mnchen-3ya.de",
                "http://example.org./",
                "http://example.org?q",
                "http://r3---sn-4g5.example.org/",
                "http://example.org:/",
            ],
            &[
                "example.org",
                "www.example.org/a",
                "//example.org/a",
                "/a/b",
                "http:",
                "http://",
                "http:///a",
                "http:example.org",
                "http:/example.org",
                "https://?q",
                "https://:80/",
                "mailto:ada@example.org",
                "javascript:alert(1)",
                "file:///etc/hosts",
                "data:text/plain,a",
                "ws://example.org",
                "http://exa mple.org",
                "http://example.org/a b",
                "http://example.org/a\nb",
                "http://example.org\\a",
                "http://example.org/<a>",
                "http://example.org/%zz",
                "http://example.org:99999/",
                "http://example.org:http/",
                "http://example..org/",
                "http://.example.org/",
                "http://-example.org/",
                "http://exam_ple.org/",
                "http://256.256.256.256/",
                "http://1.2.3/",
                "http://[::1",
                "http://[::1%25eth0]/",
                "http://[1.2.3.4]/",
                "http://%41.org/",
                &format!("http://{}.org/", "a".repeat(64)),
            ],
        );
    }

    #[test]
    fn uuid() {
        check(
            Format::Uuid,
            &[
                "123e4567-e89b-12d3-a456-426614174000",
                "123E4567-E89B-12D3-A456-426614174000",
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ],
            &[
                "123e4567e89b12d3a456426614174000",
                "{123e4567-e89b-12d3-a456-426614174000}",
                "urn:uuid:123e4567-e89b-12d3-a456-426614174000",
                "123e4567-e89b-12d3-a456-42661417400",
                "123e4567-e89b-12d3-a456-4266141740000",
                "123e4567-e89b-12d3-a456-42661417400g",
                "123e4567e-89b-12d3-a456-426614174000",
                "123e4567-e89b-12d3-a456-42661417400é",
                "123e4567-e89b-12d3-a456_426614174000",
            ],
        );
    }

    const DAYS: [&[&str]; 2] = [
        &["2024-02-29", "2000-02-29", "2023-12-31", "0001-01-01", "9999-12-31", "2024-04-30"],
        &[
            "2023-02-29",
            "1900-02-29",
            "2024-02-30",
            "2024-04-31",
            "2024-13-01",
            "2024-00-10",
            "2024-01-00",
            "2024-01-32",
            "0000-01-01",
            "24-01-01",
            "2024-1-01",
            "2024-01-1",
            "2024/01/01",
            "20240101",
            "01-01-2024",
            "+2024-01-01",
            "-2024-01-01",
            "12024-01-01",
            "2024-01-01BC",
            "2024-W01-1",
            "2024-001",
            "2024-01",
            "today",
            "infinity",
            "２０２４-01-01",
            "٢٠٢٤-01-01",
        ],
    ];

    #[test]
    fn date() {
        let [accepted, refused] = DAYS;
        check(Format::Date, accepted, refused);
        check(Format::Date, &[], &["2024-01-01T00:00:00Z", "2024-01-01 00:00:00"]);
    }

    #[test]
    fn a_datetime_begins_with_a_date() {
        for (days, expected) in DAYS.into_iter().zip([true, false]) {
            for day in days {
                assert_eq!(Format::Datetime.accepts(&format!("{day}T12:00:00Z")), expected, "{day}");
            }
        }
    }

    #[test]
    fn datetime() {
        check(
            Format::Datetime,
            &[
                "2024-02-29T23:59:59Z",
                "2024-02-29t23:59:59z",
                "2024-02-29 23:59:59Z",
                "2024-02-29 23:59:59",
                "2024-02-29T23:59:59",
                "2024-02-29 23:59:59.5",
                "2024-02-29T23:59:59.123456789012Z",
                "2024-02-29 23:59:59.123456+00",
                "2024-02-29 23:59:59+05:30",
                "2024-02-29 23:59:59-11",
                "1890-01-01 00:00:00+00:53:28",
                "2016-12-31T23:59:60Z",
                "2017-01-01T05:59:60+05:30",
                "2024-01-01T00:00:00-00:00",
                "2024-01-01T00:00:00+23:59",
            ],
            &[
                "2024-02-29",
                "2024-02-29T",
                "2024-02-29T24:00:00Z",
                "2024-02-29T23:60:00Z",
                "2024-02-29T23:59:61Z",
                "2024-02-29T12:30:60Z",
                "2024-02-29T23:59",
                "2024-02-29T23:59Z",
                "2024-02-29T23",
                "2024-02-29T235959Z",
                "2024-02-29  23:59:59",
                "2024-02-29_23:59:59",
                "2024-02-29T23:59:59.",
                "2024-02-29T23:59:59.Z",
                "2024-02-29T23:59:59,5Z",
                "2024-02-29T23:59:59 Z",
                "2024-02-29 23:59:59 +00",
                "2024-02-29T23:59:59+0530",
                "2024-02-29T23:59:59+5",
                "2024-02-29T23:59:59+24:00",
                "2024-02-29T23:59:59+05:60",
                "2024-02-29T23:59:59+05:",
                "2024-02-29T23:59:59+05:30:",
                "2024-02-29T23:59:59ZZ",
                "2024-02-29T23:59:59 UTC",
                "2024-02-29T3:59:59Z",
                "2024-02-29T-3:59:59Z",
                "2024-02-29 23:59:59 BC",
                "23:59:59",
                "now",
                "infinity",
                "1709251199",
            ],
        );
    }

    #[test]
    fn addresses() {
        check(
            Format::Ipv4,
            &["0.0.0.0", "127.0.0.1", "255.255.255.255"],
            &[
                "256.0.0.1",
                "1.2.3",
                "1.2.3.4.5",
                "01.2.3.4",
                "1.2.3.004",
                "1.2.3.4/24",
                "0x7f.0.0.1",
                "1.2.3.",
                "::1",
            ],
        );
        check(
            Format::Ipv6,
            &["::", "::1", "2001:db8::8a2e:370:7334", "2001:DB8::1", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1"],
            &[
                "fe80::1%eth0",
                "[::1]",
                "1::2::3",
                "1:2:3:4:5:6:7",
                "1:2:3:4:5:6:7:8:9",
                "12345::",
                "g::",
                "::1/64",
                "127.0.0.1",
                ":::",
                "::ffff:192.0.02.1",
            ],
        );
    }

    #[test]
    fn country() {
        assert_eq!(rust_iso3166::ALPHA2_MAP.len(), 249);
        check(
            Format::Country,
            &["DE", "DEU", "US", "USA", "SS", "BQ", "CW", "TW", "GB", "ROU"],
            &[
                "de", "deu", "De", "UK", "EU", "XK", "AN", "SU", "YU", "ROM", "ZZ", "276", "D", "DEUT",
                "Germany", "ÄÖ",
            ],
        );
    }

    #[test]
    fn currency() {
        check(
            Format::Currency,
            &["EUR", "USD", "JPY", "VES", "VED", "XCG", "ZWG", "SLE", "XAU", "XXX", "CHW"],
            &[
                "eur", "Eur", "DEM", "HRK", "BGN", "ANG", "SLL", "ZWL", "CUC", "BTC", "CNH", "978", "€",
                "EURO", "EU", "ZZZ",
            ],
        );
    }

    #[test]
    fn language() {
        check(
            Format::Language,
            &["en", "de", "zh", "eng", "deu", "cmn", "und", "mul"],
            &["EN", "En", "ENG", "ger", "fre", "en-US", "en_US", "english", "xx", "e", "zzz", "qaa", "ßß"],
        );
    }

    #[test]
    fn json() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        check(
            Format::Json,
            &[
                "null",
                "0",
                "-0.5e+10",
                "1e999999",
                "\"a\"",
                "\"\\u00e9\\n\"",
                "[]",
                "{}",
                " {\"a\": [1, {\"b\": null}]} \n",
                "{\"a\": 1, \"a\": 2}",
                "12345678901234567890123456789012345678901234567890",
                &deep,
            ],
            &[
                "nul",
                "NULL",
                "01",
                "+1",
                ".5",
                "1.",
                "NaN",
                "'a'",
                "\"a",
                "\"\t\"",
                "\"\\x\"",
                "[1,]",
                "{\"a\":1,}",
                "{a:1}",
                "{\"a\"}",
                "[1 2]",
                "1 2",
                "[",
                "]",
                "{} x",
                "\u{feff}{}",
                "// a\n1",
                "\u{a0}1",
                &deep[..150_000],
            ],
        );
    }

    /// Whatever comes, there is an answer.
    #[test]
    fn no_value_panics() {
        let pieces = [
            "a",
            "Z",
            "0",
            "9",
            "60",
            "-",
            ":",
            ".",
            "..",
            "@",
            "/",
            "//",
            "\\",
            "[",
            "]",
            "%",
            "%zz",
            "+",
            " ",
            "T",
            "\"",
            "{",
            "}",
            "\u{0}",
            "é",
            "\u{301}",
            "ß",
            "\u{200d}",
            "😀",
            "\u{202e}",
            "http://",
            "xn--",
            "xn--a",
            "::",
            "1.2.3.4",
            "2024-",
            "-02-29",
            "T23:59:60",
            "\u{fffd}",
            "\u{10ffff}",
            "١",
            "。",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..20_000 {
            let value: String = (0..next(12)).map(|_| pieces[next(pieces.len())]).collect();
            for format in Format::ALL {
                format.accepts(&value);
            }
        }
    }
}
