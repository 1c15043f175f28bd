use crate::fixture::{Pair, execute, rows};

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
