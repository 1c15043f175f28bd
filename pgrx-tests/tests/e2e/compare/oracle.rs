//! Random tables of odd types and values, compared by opdb and row by row.

use std::collections::BTreeSet;
use std::ops::Range;

use opdb_e2e::cluster::Cluster;
use postgres::Client;
use serde_json::json;

use crate::fixture::{Pair, execute, on_test, rows, servers, text};
use crate::schema_majors::older;

/// Types with values that are easily taken for each other, or not known again.
const TYPES: &[(&str, &[&str])] = &[
    ("smallint", &["0", "-1", "32767", "-32768", "7"]),
    ("integer", &["0", "-1", "1", "2147483647", "-2147483648"]),
    ("bigint", &["0", "-1", "1", "9223372036854775807", "-9223372036854775808", "4294967296"]),
    (
        "numeric",
        &[
            "0",
            "1",
            "1.0",
            "1.00",
            "-1",
            "100",
            "10000",
            "NaN",
            "Infinity",
            "-Infinity",
            "12345678901234567890.5",
            "0.00001",
        ],
    ),
    ("numeric(10,2)", &["0", "-0.01", "0.01", "99999999.99", "5", "-5", "NaN"]),
    ("real", &["0", "-0", "1.1", "-1.1", "NaN", "Infinity", "-Infinity", "1e-40"]),
    ("double precision", &["0", "-0", "0.1", "-0.1", "0.30000000000000004", "NaN", "Infinity", "-Infinity"]),
    (
        "text",
        &[
            "", " ", "a", "A", "ä", "Ä", "a\u{308}", "ß", "ss", "NULL", "null", "{}", "\"", "\\", "a,b",
            "東京", "'", "#1", "=1", "a ", "%s",
        ],
    ),
    ("varchar(20)", &["", "Straße", "STRASSE", "é", "e", "E", "z", "Z", "{a}", "\\N"]),
    ("char(5)", &["", "a", "a  ", "A", " a", "äöü"]),
    ("bytea", &["", "\\x00", "\\x0000", "\\xdeadbeef", "\\x5c"]),
    ("boolean", &["t", "f"]),
    ("date", &["2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "1970-01-01"]),
    ("time", &["00:00", "24:00", "12:34:56.789", "00:00:00.000001", "01:11:34.967296"]),
    ("timetz", &["12:00+00", "13:00+01", "12:00+01", "00:00:00.000001+00", "01:11:34.967296+00"]),
    (
        "timestamp",
        &[
            "2024-03-31 02:30",
            "infinity",
            "-infinity",
            "2024-03-31 02:30:00.000001",
            "2000-01-01 00:00:00.000001",
            "2000-01-01 01:11:34.967296",
        ],
    ),
    (
        "timestamptz",
        &[
            "2024-03-31 02:30+00",
            "2024-03-31 04:30+02",
            "infinity",
            "-infinity",
            "1900-01-01 00:00+00",
            "2000-01-01 00:00:00.000001+00",
            "2000-01-01 01:11:34.967296+00",
        ],
    ),
    (
        "interval",
        &[
            "1 day",
            "24:00:00",
            "1 mon",
            "30 days",
            "-1 day",
            "00:00:00.000001",
            "01:11:34.967296",
            "1 mon -30 days",
            "0",
            "1 year",
        ],
    ),
    ("uuid", &["00000000-0000-0000-0000-000000000000", "01234567-89ab-cdef-0123-456789abcdef"]),
    ("inet", &["10.0.0.1", "10.0.0.1/32", "10.0.0.1/24", "::1"]),
    ("cidr", &["10.0.0.0/24", "10.0.0.0/16"]),
    ("macaddr", &["08:00:2b:01:02:03", "08:00:2b:01:02:04"]),
    (
        "jsonb",
        &[
            "{}",
            "[]",
            "null",
            "\"\"",
            "{\"a\": 1, \"b\": 2}",
            "{\"b\": 2, \"a\": 1}",
            "{\"a\": -1, \"b\": 2}",
            "{\"a\": 1.0, \"b\": 2}",
            "{\"a\": 2, \"b\": 1}",
            "[1, 2]",
            "[2, 1]",
            "{\"a\": null}",
        ],
    ),
    ("json", &["{}", "{ }", "{\"a\": 1, \"a\": 2}", "{\"a\": 1}"]),
    ("integer[]", &["{}", "{1,2}", "{2,1}", "{{1},{2}}", "{{1,2}}", "[0:1]={1,2}", "{NULL}", "{1,NULL}"]),
    ("text[]", &["{}", "{a,b}", "{\"a,b\"}", "{NULL}", "{\"NULL\"}", "{\"\"}"]),
    ("numeric[]", &["{1.0}", "{1}", "{-1}", "{1.0,2}", "{1,2.00}"]),
    ("double precision[]", &["{0}", "{-0}", "{NaN}"]),
    ("mood", &["happy", "sad", "MiXed", "so, so"]),
    ("mood[]", &["{happy}", "{sad,happy}", "{}"]),
    ("price", &["1", "1.0", "-1", "NaN"]),
    ("pair", &["(1,a)", "(1,)", "(,a)", "(1,\"a,b\")"]),
    ("int4range", &["empty", "[1,5)", "[1,4]", "(0,5)", "(,)"]),
    ("int8range", &["[1,2)", "[4294967296,4294967297)", "(,1)"]),
    ("numrange", &["empty", "[1,5)", "[1.0,5)", "[-1,5)", "[1,5]"]),
    (
        "tstzrange",
        &[
            "[2024-01-01 00:00+00,2024-01-02 00:00+00)",
            "[2024-01-01 01:00+01,2024-01-02 00:00+00)",
            "(,infinity)",
        ],
    ),
    ("nummultirange", &["{}", "{[1,5)}", "{[1.0,5.00)}", "{[-1,5)}"]),
    ("bit(4)", &["0000", "1010", "0101"]),
    ("varbit", &["", "0", "00", "1"]),
    ("point", &["(0,0)", "(0,-0)", "(1,2)", "(2,1)"]),
    ("xml", &["<a/>", "<a></a>", "<a> </a>"]),
    ("money", &["1.00", "-1.00", "0.10"]),
    ("oid", &["0", "4294967295"]),
    ("name", &["a", "A", ""]),
    ("\"char\"", &["a", "b", ""]),
    ("tsvector", &["", "a:1 b:2", "b:2 a:1", "a:2 b:1"]),
    ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF", "0/1", "1/0"]),
];

/// Types that a key is made of.
const KEYS: &[&str] = &[
    "bigint",
    "integer",
    "text",
    "varchar(20)",
    "char(5)",
    "uuid",
    "timestamptz",
    "timestamp",
    "date",
    "numeric",
    "numeric(10,2)",
    "double precision",
    "real",
    "interval",
    "bytea",
    "boolean",
    "inet",
    "integer[]",
    "text[]",
    "mood",
    "price",
    "numrange",
    "int4range",
    "jsonb",
    "timetz",
    "numeric[]",
    "macaddr",
    "name",
];

const OTHER_ORDER: &str = "CREATE TYPE mood AS ENUM ('so, so', 'MiXed', 'sad', 'unknown here', 'happy')";
const ORDER: &str = "CREATE TYPE mood AS ENUM ('happy', 'sad', 'MiXed', 'so, so')";
const SHARED: &str =
    "CREATE DOMAIN price AS numeric CHECK (VALUE <> 1300); CREATE TYPE pair AS (n int, t text)";

/// The same numbers on every run: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

struct Table {
    types: Vec<&'static str>,
    /// How many columns are the key.
    key: usize,
}

impl Table {
    /// A server may be built without xml.
    fn random(numbers: &mut Numbers, has_xml: bool) -> Self {
        let key = [1, 1, 1, 2, 2, 3, 0, 0][numbers.below(8)];
        let mut types: Vec<&str> = (0..key).map(|_| *numbers.one(KEYS)).collect();
        let others = 1 + numbers.below(7);
        types.extend((0..others).map(|_| numbers.one(TYPES).0).filter(|of| has_xml || *of != "xml"));
        Self { types, key }
    }

    fn names(&self) -> Vec<String> {
        (0..self.types.len()).map(|place| format!("c{place}")).collect()
    }

    /// A column of the key, written in one way.
    fn key_value(&self, place: usize, of: &str) -> String {
        match self.types[place] {
            "real" | "double precision" => format!("{of} + 0::{}", self.types[place]),
            "numeric" | "price" => format!("trim_scale({of})"),
            "interval" => format!("justify_interval({of})"),
            // jsonb_populate_record makes NULL of null.
            "jsonb" => format!("coalesce(replace({of}::text, '.0', ''), 'null')"),
            "numeric[]" | "numrange" => format!("replace({of}::text, '.0', '')"),
            _ => of.to_owned(),
        }
    }

    fn create(&self, name: &str) -> String {
        let mut parts: Vec<String> =
            self.types.iter().enumerate().map(|(place, of)| format!("c{place} {of}")).collect();
        if self.key > 0 {
            parts.push(format!("PRIMARY KEY ({})", self.names()[..self.key].join(", ")));
        }
        format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({})", parts.join(", "))
    }

    /// A row in SQL; what a key needs is made up where there are too few values.
    fn row(&self, numbers: &mut Numbers) -> String {
        let values = self.types.iter().enumerate().map(|(place, of)| {
            let known = TYPES.iter().find(|(name, _)| name == of).unwrap().1;
            if place >= self.key && numbers.below(5) == 0 {
                return "NULL".to_owned();
            }
            if place < self.key && numbers.below(3) > 0 {
                let number = numbers.below(400);
                match *of {
                    "bigint" | "integer" | "numeric" | "numeric(10,2)" | "double precision" | "real"
                    | "price" => return format!("'{number}'"),
                    "text" | "varchar(20)" | "name" => return format!("'Key {number}'"),
                    "date" | "timestamp" | "timestamptz" => return format!("date '2020-01-01' + {number}"),
                    "interval" => return format!("'{number} hours'"),
                    _ => {}
                }
            }
            format!("'{}'", numbers.one(known).replace('\'', "''"))
        });
        format!("({})", values.collect::<Vec<_>>().join(", "))
    }

    /// Whether two values are the same, as their type says; where it says nothing, as they are written.
    fn same(&self, place: usize) -> String {
        let (l, r) = (format!("l.c{place}"), format!("r.c{place}"));
        match self.types[place] {
            "json" | "xml" | "point" => format!("{l}::text IS NOT DISTINCT FROM {r}::text"),
            "text" | "varchar(20)" => format!("{l} COLLATE \"C\" IS NOT DISTINCT FROM {r} COLLATE \"C\""),
            _ => format!("{l} IS NOT DISTINCT FROM {r}"),
        }
    }

    fn comparable(&self) -> String {
        let parts = self.types.iter().enumerate().map(|(place, of)| match *of {
            "json" | "xml" | "point" => format!("c{place}::text AS c{place}"),
            _ => format!("c{place}"),
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// What is expected, from a copy of the other table beside this one: difference, key and columns as text.
fn expected(here: &mut Client, table: &Table) -> BTreeSet<Vec<String>> {
    let columns = table.names();
    let json = |alias: &str| {
        let parts: Vec<String> =
            (0..table.key).map(|place| table.key_value(place, &format!("{alias}.c{place}"))).collect();
        format!("ROW({})::text", parts.join(", "))
    };
    let differing: Vec<String> = (0..columns.len())
        .map(|place| format!("CASE WHEN NOT ({}) THEN '{}' END", table.same(place), columns[place]))
        .collect();
    let on: Vec<String> = columns[..table.key].iter().map(|name| format!("l.{name} = r.{name}")).collect();
    let sql = format!(
        "SELECT * FROM (
             SELECT CASE WHEN r.c0 IS NULL THEN 'missing' WHEN l.c0 IS NULL THEN 'extra' ELSE 'changed' END AS difference,
                    CASE WHEN l.c0 IS NULL THEN {extra} ELSE {own} END,
                    CASE WHEN l.c0 IS NOT NULL AND r.c0 IS NOT NULL
                         THEN array_to_string(ARRAY[{differing}], ',') END AS columns
             FROM t l FULL JOIN copy r ON {on}) d
         WHERE difference <> 'changed' OR columns <> ''",
        extra = json("r"),
        own = json("l"),
        differing = differing.join(", "),
        on = on.join(" AND "),
    );
    rows(here, &sql).into_iter().collect()
}

fn found(here: &mut Client, table: &Table) -> BTreeSet<Vec<String>> {
    let keys: Vec<String> = (0..table.key)
        .map(|place| table.key_value(place, &format!("(jsonb_populate_record(NULL::t, d.key)).c{place}")))
        .collect();
    let sql = format!(
        "SELECT d.difference, ROW({})::text, array_to_string(d.columns, ',') FROM opdb.compare_data('production', 't') d",
        keys.join(", ")
    );
    rows(here, &sql).into_iter().collect()
}

/// The number of copies that either side has too many of.
fn surplus(here: &mut Client, table: &Table) -> (String, String) {
    let columns = table.comparable();
    let count = |one: &str, other: &str| {
        format!(
            "SELECT count(*) FROM (SELECT {columns} FROM {one} EXCEPT ALL SELECT {columns} FROM {other}) x"
        )
    };
    (text(here, &count("t", "copy")), text(here, &count("copy", "t")))
}

fn fill(client: &mut Client, rows: &[String]) {
    for chunk in rows.chunks(200) {
        // A key that is there twice is not put in the second time.
        let sql = format!("INSERT INTO t VALUES {} ON CONFLICT DO NOTHING", chunk.join(", "));
        execute(client, &sql);
    }
}

fn copy_back(pair: &mut Pair, table: &Table) {
    execute(&mut pair.here, &table.create("copy"));
    let names = table.names();
    let values: Vec<String> = names.iter().map(|name| format!("quote_nullable({name}::text)")).collect();
    let sql = format!("SELECT '(' || concat_ws(', ', {}) || ')' FROM t", values.join(", "));
    execute(
        &mut pair.there,
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'",
    );
    let there: Vec<String> = rows(&mut pair.there, &sql).concat();
    for chunk in there.chunks(200) {
        execute(&mut pair.here, &format!("INSERT INTO copy VALUES {}", chunk.join(", ")));
    }
}

/// A pair whose databases differ in everything that changes how values are written or sorted.
fn unlike(production: &Cluster) -> Pair {
    let mut pair = Pair::with_plain_production();
    let name = format!("{}_icu", pair.there_name);
    let mut postgres = production.connect_as_superuser("postgres").unwrap();
    execute(
        &mut postgres,
        &format!(
            "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
        ),
    );
    execute(
        &mut postgres,
        &format!(
            "ALTER DATABASE {name} SET TimeZone = 'Asia/Kolkata'; ALTER DATABASE {name} SET DateStyle = 'German';
             ALTER DATABASE {name} SET IntervalStyle = 'iso_8601'; ALTER DATABASE {name} SET extra_float_digits = -3;
             ALTER DATABASE {name} SET bytea_output = 'escape'"
        ),
    );
    pair.there = production.connect_as_superuser(&name).unwrap();
    let options = json!({"host": production.host(), "port": production.port(), "dbname": name});
    let credentials = json!({"user": production.superuser(), "password": production.password()});
    execute(
        &mut pair.here,
        &format!(
            "SELECT opdb.register_environment('production', 'production', '{options}', '{credentials}')"
        ),
    );
    execute(&mut pair.here, &format!("ALTER DATABASE {} SET TimeZone = 'America/New_York'", pair.here_name));
    pair.here = on_test(&pair.here_name);
    pair.there_name = name;
    execute(&mut pair.here, &format!("{ORDER}; {SHARED}; SET lc_monetary = 'C'"));
    execute(&mut pair.there, &format!("{OTHER_ORDER}; {SHARED}; SET lc_monetary = 'C'"));
    pair
}

fn check(pair: &mut Pair, seed: u64, has_xml: bool) {
    let mut numbers = Numbers(seed);
    let table = Table::random(&mut numbers, has_xml);
    for client in [&mut pair.here, &mut pair.there] {
        execute(client, &table.create("t"));
    }
    let count = numbers.below(120);
    let mut all: Vec<String> = (0..count).map(|_| table.row(&mut numbers)).collect();
    fill(&mut pair.here, &all);
    // The same rows there, but for a few; now and then all of them differ.
    let share = [0, 0, 10, 50, 2][numbers.below(5)];
    for row in &mut all {
        if share > 0 && numbers.below(share) == 0 {
            *row = table.row(&mut numbers);
        }
    }
    if !all.is_empty() && numbers.below(3) == 0 {
        all.remove(numbers.below(all.len()));
    }
    fill(&mut pair.there, &all);
    // Values that are written otherwise, in what is no key.
    for place in table.key..table.types.len() {
        let otherwise = match table.types[place] {
            "numeric" | "price" => format!("trim_scale(c{place}) + 0.000"),
            "real" | "double precision" => format!("CASE WHEN c{place} = 0 THEN '-0' ELSE c{place} END"),
            "interval" => format!("justify_interval(c{place})"),
            _ => continue,
        };
        execute(&mut pair.there, &format!("UPDATE t SET c{place} = {otherwise} WHERE c{place} IS NOT NULL"));
    }
    copy_back(pair, &table);
    let context = format!("seed {seed}: {:?}, key {}", table.types, table.key);
    if table.key == 0 {
        let missing = "SELECT count(*) FILTER (WHERE difference = 'missing'), count(*) FILTER (WHERE difference = 'extra'),
                              count(*) FILTER (WHERE difference = 'changed' OR key IS NOT NULL)
                       FROM opdb.compare_data('production', 't')";
        let (missing, expected) = (rows(&mut pair.here, missing).concat(), surplus(&mut pair.here, &table));
        assert_eq!(missing, [expected.0, expected.1, "0".to_owned()], "{context}");
    } else {
        assert_eq!(found(&mut pair.here, &table), expected(&mut pair.here, &table), "{context}");
    }
    let is_equal =
        text(&mut pair.here, "SELECT state = 'equal' FROM opdb.compare_summary('production', '{t}')");
    let rows = text(&mut pair.here, "SELECT count(*) FROM opdb.compare_data('production', 't')");
    // Values whose text alone tells them apart make a digest differ that nothing else differs by.
    if is_equal == "t" {
        assert_eq!(rows, "0", "{context}");
    }
}

fn check_all(production: &Cluster, seeds: Range<u64>) {
    let mut pair = unlike(production);
    // A server may be built without it.
    let has_xml = [&mut pair.here, &mut pair.there]
        .into_iter()
        .all(|client| client.batch_execute("SELECT '<a/>'::xml").is_ok());
    for seed in seeds {
        check(&mut pair, seed, has_xml);
    }
}

#[test]
fn nothing_is_found_that_is_not_there_and_nothing_is_missed() {
    check_all(&servers().production, 0..120);
}

#[test]
fn nor_on_an_older_major_version() {
    let Some(older) = older() else { return };
    check_all(older, 1000..1060);
}

#[test]
fn every_two_values_of_a_type_are_the_same_or_not_as_the_type_says() {
    let mut pair = unlike(&servers().production);
    let has_xml = pair.here.batch_execute("SELECT '<a/>'::xml").is_ok();
    for (of, values) in TYPES.iter().filter(|(of, _)| has_xml || *of != "xml") {
        let values: Vec<String> =
            values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
        let list = format!(
            "(VALUES {}, (NULL))",
            values.iter().map(|it| format!("({it})")).collect::<Vec<_>>().join(", ")
        );
        let pairs = format!(
            "SELECT row_number() OVER (), v.a::{of} AS c0, v.b::{of} AS c1 FROM (SELECT a, b FROM {list} l (a), {list} r (b)) v"
        );
        for client in [&mut pair.here, &mut pair.there] {
            execute(client, &format!("DROP TABLE IF EXISTS t, pairs; CREATE TABLE pairs AS {pairs}"));
        }
        // One side has the first of each two, the other the second.
        for (client, column) in [(&mut pair.here, "c0"), (&mut pair.there, "c1")] {
            execute(
                client,
                &format!(
                    "CREATE TABLE t (id bigint PRIMARY KEY, c {of}); INSERT INTO t SELECT row_number, {column} FROM pairs"
                ),
            );
        }
        let table = Table { types: vec![*of], key: 0 };
        let same = table.same(0).replace("l.c0", "p.c0").replace("r.c0", "p.c1");
        let expected = format!("SELECT row_number, p.c0, p.c1 FROM pairs p WHERE NOT ({same}) ORDER BY 1");
        let found = "SELECT p.row_number, p.c0, p.c1 FROM opdb.compare_data('production', 't') d
                     JOIN pairs p ON p.row_number = (d.key ->> 'id')::bigint WHERE d.difference = 'changed' ORDER BY 1";
        assert_eq!(rows(&mut pair.here, found), rows(&mut pair.here, &expected), "{of}");
    }
}
