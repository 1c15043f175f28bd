use std::time::Duration;

use opdb_e2e::cluster::Proxy;

use crate::fixture::{Pair, execute, refused, rows, servers, text};

fn verdicts(pair: &mut Pair, filter: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', aspect, object, verdict, CASE WHEN blocking THEN 'blocking' END)
         FROM opdb.check_compatibility('production', '{{t}}') WHERE {filter}"
    );
    rows(&mut pair.here, &sql).concat()
}

#[test]
fn each_aspect_is_compared_by_name_and_judged() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id bigint PRIMARY KEY, a text, b int, only_here int, d timestamptz);
         CREATE INDEX here_a ON t (a); CREATE INDEX only_here_b ON t (b)",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id bigint PRIMARY KEY, a varchar(3), b bigint, d timestamp, needed int NOT NULL,
                         fine int NOT NULL DEFAULT 1, CONSTRAINT positive CHECK (b > 0));
         CREATE INDEX another_name ON t (a)",
    );
    assert_eq!(
        verdicts(&mut pair, "verdict <> 'identical'"),
        [
            "column_types a narrowing blocking",
            "column_types b widening",
            "table_structure only_here missing blocking",
            "column_types d lossy blocking",
            "table_structure needed incompatible blocking",
            "indexes only_here_b missing",
            "constraints positive narrowing",
        ]
    );
    assert_eq!(
        verdicts(&mut pair, "verdict = 'identical'"),
        [
            "table_structure public.t identical",
            "column_types id identical",
            "indexes here_a identical",
            "constraints t_pkey identical"
        ]
    );
}

#[test]
fn the_data_decides_what_the_types_leave_open() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, short text, long text, small bigint, big bigint, money numeric, empty int);
         INSERT INTO t VALUES (1, 'abc', 'abcd', 7, 70000, 1.25, NULL), (2, NULL, 'x', 8, 8, 1.255, 1)",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id int PRIMARY KEY, short varchar(3), long varchar(3), small smallint, big smallint,
                         money numeric(5,2), empty int NOT NULL)",
    );
    let evidence = rows(
        &mut pair.here,
        "SELECT local_column, verdict, evidence FROM opdb.verify_column_mapping('production', 't') OFFSET 1",
    );
    assert_eq!(
        evidence,
        [
            ["short", "narrowing", "safe for this data: all 2 rows fit; max length 3, allowed 3"],
            ["long", "narrowing", "1 of 2 rows do not fit, for example abcd; max length 4, allowed 3"],
            [
                "small",
                "narrowing",
                "safe for this data: all 2 rows fit; range 7 to 8, allowed -32768 to 32767"
            ],
            [
                "big",
                "narrowing",
                "1 of 2 rows do not fit, for example 70000; range 8 to 70000, allowed -32768 to 32767"
            ],
            ["money", "lossy", "1 of 2 rows do not fit, for example 1.255; max decimals 3, allowed 2"],
            ["empty", "narrowing", "1 of 2 rows are NULL, which is refused there"],
        ]
    );
}

#[test]
fn without_tables_named_all_are_compared_and_only_the_users() {
    let mut pair = Pair::with_opdb_on_both();
    execute(&mut pair.here, "SELECT opdb.create_event_table('events'); CREATE TABLE t (id int PRIMARY KEY)");
    execute(&mut pair.there, "SELECT opdb.create_event_table('events')");
    let found = rows(
        &mut pair.here,
        "SELECT table_name, bool_or(blocking) FROM opdb.check_compatibility('production') GROUP BY 1 ORDER BY 1",
    );
    assert_eq!(found, [["public.events", "f"], ["public.t", "t"]]);
}

#[test]
fn settings_of_the_session_do_not_matter() {
    let mut pair = Pair::with_plain_production();
    let table = "CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, at timestamptz DEFAULT '2024-01-01 00:00+00')";
    execute(&mut pair.here, table);
    execute(&mut pair.there, table);
    let there = pair.there_name.clone();
    execute(&mut pair.there, &format!("ALTER DATABASE {there} SET TimeZone = 'Asia/Tokyo'"));
    execute(
        &mut pair.here,
        "SET search_path = s; SET DateStyle = 'German'; SET TimeZone = 'America/New_York'",
    );
    assert!(verdicts(&mut pair, "verdict <> 'identical'").is_empty());
}

fn fixes(pair: &mut Pair) -> Vec<Vec<String>> {
    rows(
        &mut pair.here,
        "SELECT object, fix, fix_lock, fix_cost FROM opdb.check_compatibility('production', '{t}') WHERE fix IS NOT NULL",
    )
}

#[test]
fn what_would_fix_it_does_fix_it() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TYPE mood AS ENUM ('sad', 'it''s', 'happy');
         CREATE TABLE u (id int PRIMARY KEY);
         CREATE TABLE t (id bigint PRIMARY KEY, name text, price numeric(12,2), m mood, g int, only_here text,
                         c text COLLATE \"C\", u_id int REFERENCES u, CONSTRAINT positive CHECK (price > 0), UNIQUE (name, id));
         CREATE INDEX by_name ON t (name) WHERE price > 5",
    );
    execute(
        &mut pair.there,
        "CREATE TYPE mood AS ENUM ('happy', 'sad');
         CREATE TABLE u (id int PRIMARY KEY);
         CREATE TABLE t (id integer NOT NULL, name varchar(10) NOT NULL, price numeric(10,2), m mood,
                         g int GENERATED ALWAYS AS (1) STORED, c text, u_id int, needed int NOT NULL)",
    );
    assert_eq!(text(&mut pair.here, "SELECT opdb.is_compatible('production', '{t}')"), "f");
    let found = fixes(&mut pair);
    let of = |object: &str| found.iter().find(|row| row[0] == object).unwrap().clone();
    assert_eq!(
        of("name"),
        [
            "name",
            "ALTER TABLE public.t ALTER COLUMN name TYPE text USING name::text, ALTER COLUMN name DROP NOT NULL",
            "ACCESS EXCLUSIVE",
            "catalog only"
        ]
    );
    assert_eq!(of("id")[3], "rewrite");
    assert_eq!(of("price")[3], "catalog only");
    assert_eq!(of("m"), ["m", "ALTER TYPE public.mood ADD VALUE 'it''s'", "none", "catalog only"]);
    assert_eq!(of("c")[3], "rebuilds indexes");
    assert_eq!(of("by_name")[2..], ["SHARE UPDATE EXCLUSIVE", "builds an index"]);
    assert_eq!(of("positive")[2..], ["ACCESS EXCLUSIVE", "scan"]);
    for fix in &found {
        for statement in fix[1].split("; ") {
            execute(&mut pair.there, statement);
        }
    }
    assert_eq!(fixes(&mut pair), Vec::<Vec<String>>::new());
    assert_eq!(text(&mut pair.here, "SELECT opdb.is_compatible('production', '{t}')"), "t");
}

#[test]
fn columns_that_are_excluded_do_not_block_and_the_data_judges_when_asked() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, name text, note text); INSERT INTO t VALUES (1, repeat('x', 37), 'n')",
    );
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY, name varchar(40) NOT NULL)");
    let is = |pair: &mut Pair, arguments: &str| {
        text(&mut pair.here, &format!("SELECT opdb.is_compatible('production', '{{t}}'{arguments})"))
    };
    assert_eq!(is(&mut pair, ""), "f");
    assert_eq!(is(&mut pair, ", '{note}'"), "f");
    assert_eq!(is(&mut pair, ", '{note}', true"), "t");
    assert_eq!(is(&mut pair, ", check_data => true"), "f");
    let judged = rows(
        &mut pair.here,
        "SELECT verdict, detail, blocking FROM opdb.check_compatibility('production', '{t}', '{note}', true) WHERE object = 'name'",
    );
    assert_eq!(judged, [["narrowing", "safe for this data: all 1 rows fit; max length 37, allowed 40", "f"]]);
    execute(&mut pair.here, "INSERT INTO t VALUES (2, repeat('x', 41), 'n')");
    assert_eq!(is(&mut pair, ", '{note}', true"), "f");
    let refusal = refused(&mut pair.here, "SELECT opdb.is_compatible('production', '{t}', '{nothing}')");
    assert_eq!(refusal.sqlstate, "42703");
    assert!(!refusal.hint.is_empty());
}

#[test]
fn columns_may_be_called_otherwise_there() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, title text, amount bigint); INSERT INTO t VALUES (1, 'x', 70000)",
    );
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY, name varchar(5), total smallint)");
    let mapped = |pair: &mut Pair, arguments: &str| {
        let sql = format!(
            "SELECT local_column, remote_column, verdict, conversion, fits FROM opdb.verify_column_mapping('production', 't'{arguments})"
        );
        rows(&mut pair.here, &sql)
    };
    assert_eq!(mapped(&mut pair, "")[1], ["title", "NULL", "missing", "NULL", "f"]);
    let mapping = r#", '{"title": "name", "amount": "total"}'"#;
    assert_eq!(
        mapped(&mut pair, mapping),
        [
            ["id", "id", "identical", "id", "t"],
            ["title", "name", "narrowing", "title::character varying(5)", "t"],
            ["amount", "total", "narrowing", "amount::smallint", "f"]
        ]
    );
    assert_eq!(mapped(&mut pair, &format!("{mapping}, false"))[2][4], "NULL");
    for (mapping, sqlstate) in [
        (r#"{"nothing": "name"}"#, "42703"),
        (r#"{"title": "nothing"}"#, "42703"),
        (r#"{"title": "id"}"#, "42701"),
        (r#"["title"]"#, "22023"),
        (r#"{"title": 1}"#, "22023"),
    ] {
        let sql = format!("SELECT opdb.verify_column_mapping('production', 't', '{mapping}')");
        let refusal = refused(&mut pair.here, &sql);
        assert_eq!(refusal.sqlstate, sqlstate, "{mapping}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{mapping}");
    }
}

#[test]
fn defaults_identity_generation_and_sorting_are_told_and_do_not_block() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, d int DEFAULT 1, g int GENERATED ALWAYS AS (1) STORED,
                         h int GENERATED ALWAYS AS (1) STORED, c text COLLATE \"C\", same int DEFAULT 5)",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE t (id int PRIMARY KEY, d int DEFAULT 2, g int GENERATED ALWAYS AS (2) STORED, h int, c text, same int DEFAULT 5)",
    );
    let found = rows(
        &mut pair.here,
        "SELECT object, verdict, detail, blocking FROM opdb.check_compatibility('production', '{t}') WHERE aspect = 'column_types'",
    );
    assert_eq!(
        found,
        [
            ["id", "widening", "the identity differs", "f"],
            ["d", "widening", "the default differs", "f"],
            ["g", "widening", "the column is not sent; it is computed otherwise there", "f"],
            ["h", "widening", "it is computed here and sent as a value", "f"],
            ["c", "widening", "the collation differs; the databases sort text otherwise", "f"],
            ["same", "identical", "", "f"],
        ]
    );
}

#[test]
fn a_lossy_column_that_only_the_types_judge_is_not_safe_because_nothing_is_null() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp); INSERT INTO t VALUES (1, '2024-01-01')",
    );
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL)");
    let found =
        "SELECT verdict, fits FROM opdb.verify_column_mapping('production', 't') WHERE local_column = 'at'";
    assert_eq!(rows(&mut pair.here, found), [["lossy", "NULL"]]);
    execute(&mut pair.here, "INSERT INTO t VALUES (2, NULL)");
    assert_eq!(rows(&mut pair.here, found), [["lossy", "f"]]);
}

#[test]
fn all_tables_are_read_in_one_message() {
    let mut pair = Pair::with_plain_production();
    let proxy = Proxy::start(servers().production.port(), Duration::ZERO).unwrap();
    let options = serde_json::json!({"host": "127.0.0.1", "port": proxy.port(), "dbname": pair.there_name});
    execute(
        &mut pair.here,
        &format!("SELECT opdb.register_environment('production', 'production', '{options}')"),
    );
    let tables: Vec<String> =
        (0..50).map(|n| format!("CREATE TABLE t{n} (id int PRIMARY KEY, a text);")).collect();
    execute(&mut pair.here, &tables.concat());
    execute(&mut pair.there, &tables.concat());
    assert_eq!(text(&mut pair.here, "SELECT opdb.is_compatible('production')"), "t");
    // The last one ends the transaction there.
    assert_eq!(proxy.queries().len(), 2);
}
