//! Which ranges are made, and what they are called.

use super::{maintain, names, new_session, partitions, status};
use crate::fixture::{execute, refused, rows, text};

/// The partition that opdb makes around a time, for a key of a type.
fn plan(key: &str, every: &str, timezone: &str, options: &str, at: &str) -> Vec<String> {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        &format!(
            "CREATE TABLE t (k {key} NOT NULL) PARTITION BY RANGE (k);
             SELECT opdb.manage_partitions('t', every => '{every}', premake => 1, timezone => '{timezone}', options => '{options}')"
        ),
    );
    let sql = format!(
        "SELECT concat_ws(' | ', partition, lower_bound, upper_bound) FROM opdb.plan_partitions('t', '{at}')
         WHERE action = 'create' LIMIT 1"
    );
    // What opdb writes, the server reads the same way.
    let ddl = text(
        &mut client,
        &format!("SELECT ddl FROM opdb.plan_partitions('t', '{at}') WHERE action = 'create' LIMIT 1"),
    );
    execute(&mut client, &ddl);
    let planned = format!("SELECT count(*) FROM opdb.plan_partitions('t', '{at}') WHERE ddl = $${ddl}$$");
    assert_eq!(text(&mut client, &planned), "0", "made, but not recognised: {ddl}");
    let mut planned = rows(&mut client, &sql).concat();
    planned.insert(0, ddl.lines().last().unwrap_or_default().to_owned());
    planned
}

fn attached(key: &str, every: &str, timezone: &str, options: &str, at: &str) -> String {
    let ddl = plan(key, every, timezone, options, at).remove(0);
    ddl.replace("ALTER TABLE public.t ATTACH PARTITION public.", "").replace(" FOR VALUES", "")
}

#[test]
fn every_interval_begins_where_the_calendar_says() {
    let at = "2031-08-20 13:30:15+00";
    for (every, expected) in [
        ("1 hour", "t_2031_08_20_13 FROM ('2031-08-20 13:00:00+00') TO ('2031-08-20 14:00:00+00')"),
        ("15 minutes", "t_2031_08_20_13_30 FROM ('2031-08-20 13:30:00+00') TO ('2031-08-20 13:45:00+00')"),
        ("1 day", "t_2031_08_20 FROM ('2031-08-20 00:00:00+00') TO ('2031-08-21 00:00:00+00')"),
        ("1 week", "t_2031_08_18 FROM ('2031-08-18 00:00:00+00') TO ('2031-08-25 00:00:00+00')"),
        ("1 month", "t_2031_08 FROM ('2031-08-01 00:00:00+00') TO ('2031-09-01 00:00:00+00')"),
        ("3 months", "t_2031_q3 FROM ('2031-07-01 00:00:00+00') TO ('2031-10-01 00:00:00+00')"),
        ("1 year", "t_2031 FROM ('2031-01-01 00:00:00+00') TO ('2032-01-01 00:00:00+00')"),
        ("10 days", "t_2031_08_16 FROM ('2031-08-16 00:00:00+00') TO ('2031-08-26 00:00:00+00')"),
    ] {
        assert_eq!(attached("timestamptz", every, "UTC", "{}", at), expected, "{every}");
    }
}

#[test]
fn every_kind_of_key_has_bounds_of_its_own() {
    let at = "2031-08-20 13:30:15+00";
    for (key, options, expected) in [
        ("timestamptz", "{}", "t_2031_08_20 FROM ('2031-08-20 00:00:00+02') TO ('2031-08-21 00:00:00+02')"),
        ("timestamp", "{}", "t_2031_08_20 FROM ('2031-08-20 00:00:00') TO ('2031-08-21 00:00:00')"),
        ("date", "{}", "t_2031_08_20 FROM ('2031-08-20') TO ('2031-08-21')"),
        ("bigint", r#"{"unit": "s"}"#, "t_2031_08_20 FROM ('1944943200') TO ('1945029600')"),
        ("integer", r#"{"unit": "s"}"#, "t_2031_08_20 FROM ('1944943200') TO ('1945029600')"),
        ("bigint", r#"{"unit": "ms"}"#, "t_2031_08_20 FROM ('1944943200000') TO ('1945029600000')"),
        ("bigint", r#"{"unit": "us"}"#, "t_2031_08_20 FROM ('1944943200000000') TO ('1945029600000000')"),
        (
            "uuid",
            "{}",
            "t_2031_08_20 FROM ('01c4d7a6-0700-0000-0000-000000000000') TO ('01c4dccc-6300-0000-0000-000000000000')",
        ),
    ] {
        assert_eq!(attached(key, "1 day", "Europe/Paris", options, at), expected, "{key}");
    }
}

#[test]
fn days_of_23_and_25_hours_are_whole() {
    for (at, expected) in [
        ("2031-03-30 12:00+00", "t_2031_03_30 FROM ('2031-03-30 00:00:00+01') TO ('2031-03-31 00:00:00+02')"),
        ("2031-10-26 12:00+00", "t_2031_10_26 FROM ('2031-10-26 00:00:00+02') TO ('2031-10-27 00:00:00+01')"),
    ] {
        assert_eq!(attached("timestamptz", "1 day", "Europe/Paris", "{}", at), expected);
        // The session's own time zone means nothing.
    }
    let hour = attached("timestamptz", "1 hour", "Europe/Paris", "{}", "2031-10-26 01:30+00");
    assert_eq!(hour, "t_2031_10_26_02 FROM ('2031-10-26 02:00:00+02') TO ('2031-10-26 03:00:00+01')");
}

#[test]
fn a_year_of_hours_has_no_gap_in_any_zone() {
    let (mut client, _) = new_session();
    for (table, zone) in
        [("paris", "Europe/Paris"), ("howe", "Australia/Lord_Howe"), ("johns", "America/St_Johns")]
    {
        execute(
            &mut client,
            &format!(
                "CREATE TABLE {table} (at timestamptz NOT NULL) PARTITION BY RANGE (at);
                 SELECT opdb.manage_partitions('{table}', every => '6 hours', premake => 0, timezone => '{zone}',
                     start_at => now() - interval '1 year')"
            ),
        );
        assert_eq!(status(&mut client, table, "gaps || misaligned"), "{}", "{zone}");
        // Each local day begins with a partition of its own.
        let wrong = format!(
            "SELECT count(*) FROM generate_series(1, 360) d,
                    LATERAL (SELECT (current_date - d)::timestamp AT TIME ZONE '{zone}') m (midnight)
             WHERE NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = '{table}'::regclass
                   AND (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''([^'']*)'))[1]::timestamptz = m.midnight)"
        );
        assert_eq!(text(&mut client, &wrong), "0", "{zone}");
    }
}

#[test]
fn partitions_are_known_by_their_bounds_whatever_they_are_called() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE SCHEMA elsewhere;
           CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at);
           DO $$ BEGIN
               EXECUTE format('CREATE TABLE elsewhere."Today!" PARTITION OF t FOR VALUES FROM (%L) TO (%L)', current_date, current_date + 1);
               EXECUTE format('CREATE TABLE old PARTITION OF t FOR VALUES FROM (MINVALUE) TO (%L)', current_date - 30);
           END $$;
           SELECT opdb.manage_partitions('t', premake => 1)"#,
    );
    let found = names(&mut client, "t");
    let tomorrow = text(&mut client, "SELECT 't_' || to_char(current_date + 1, 'YYYY_MM_DD')");
    assert_eq!(found.len(), 3 + 30, "today, old, tomorrow, and the days that were missed: {found:?}");
    assert!(found.contains(&tomorrow) && found.contains(&"Today!".to_owned()), "{found:?}");
}

#[test]
fn long_and_odd_names_are_shortened_and_quoted() {
    let (mut client, _) = new_session();
    let long = "ä".repeat(31);
    for name in [format!("{long}1"), format!("{long}2"), "select \"all\" 'x'".to_owned()] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        execute(
            &mut client,
            &format!(
                "CREATE TABLE {quoted} (\"the Key\" date NOT NULL) PARTITION BY RANGE (\"the Key\");
                 SELECT opdb.manage_partitions($${quoted}$$, premake => 2); INSERT INTO {quoted} VALUES (current_date)"
            ),
        );
        let sql = format!(
            "SELECT count(*) FILTER (WHERE c.relname ~ '_[0-9]{{4}}_[0-9]{{2}}_[0-9]{{2}}$') FROM pg_inherits i
             JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $${quoted}$$::regclass"
        );
        assert_eq!(text(&mut client, &sql), "3", "{name}");
    }
    maintain(&mut client);
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM opdb.partition_status WHERE last_status <> 'done'"),
        "0"
    );
}

#[test]
fn ids_are_made_ahead_of_the_highest_and_retired_behind_it() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
           SELECT opdb.manage_partitions('t', premake => 2, retention_action => 'drop',
               options => '{"width": 1000, "retention_width": 2000}');
           INSERT INTO t SELECT generate_series(1, 2500)"#,
    );
    assert_eq!(names(&mut client, "t"), ["t_0", "t_1000", "t_2000"]);
    maintain(&mut client);
    assert_eq!(names(&mut client, "t"), ["t_0", "t_1000", "t_2000", "t_3000", "t_4000"]);
    execute(&mut client, "INSERT INTO t SELECT generate_series(2501, 4500)");
    maintain(&mut client);
    assert_eq!(names(&mut client, "t"), ["t_2000", "t_3000", "t_4000", "t_5000", "t_6000"]);
    assert_eq!(status(&mut client, "t", "premade_until_value"), "7000");
    assert_eq!(status(&mut client, "t", "runway"), "NULL");
}

#[test]
fn uuids_follow_on_whatever_bounds_there_are() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id uuid NOT NULL) PARTITION BY RANGE (id);
         SELECT opdb.manage_partitions('t', every => '1 month', premake => 1)",
    );
    let zeros = partitions(&mut client, "t");
    assert!(zeros.iter().all(|it| it.contains("-0000-0000-000000000000')")), "{zeros:?}");
    // Bounds as others write them: the first UUID of version 7 of the millisecond.
    let versioned = zeros.iter().map(|it| it.replace("-0000-0000-000000000000", "-7000-8000-000000000000"));
    let attach: Vec<String> = versioned
        .map(|it| {
            let (name, bounds) = it.split_once(' ').unwrap();
            format!("CREATE TABLE v{name} PARTITION OF v {bounds}")
        })
        .collect();
    execute(
        &mut client,
        &format!("CREATE TABLE v (id uuid NOT NULL) PARTITION BY RANGE (id); {}", attach.join(";")),
    );
    execute(&mut client, "SELECT opdb.manage_partitions('v', every => '1 month', premake => 3)");
    let all = partitions(&mut client, "v");
    assert!(all.len() == 4 && all.iter().all(|it| it.contains("-7000-8000-000000000000')")), "{all:?}");
    assert_eq!(status(&mut client, "v", "gaps || misaligned"), "{}");
}

#[test]
fn an_interval_that_does_not_fit_is_refused_and_one_that_does_is_taken_over() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at timestamptz NOT NULL) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions('t', every => '10 days', premake => 1, start_at => date_trunc('month', now()) - interval '3 days')",
    );
    let before = partitions(&mut client, "t");
    let refusal =
        refused(&mut client, "SELECT opdb.manage_partitions('t', every => '1 month', premake => 2)");
    assert_eq!(refusal.sqlstate, "42P17", "{refusal:?}");
    assert!(
        refusal.message.contains("partition public.t_") && refusal.message.contains("is in the way"),
        "{refusal:?}"
    );
    assert_eq!(partitions(&mut client, "t"), before);
    // A day begins wherever ten days end.
    execute(&mut client, "SELECT opdb.manage_partitions('t', every => '1 day', premake => 30)");
    assert_eq!(status(&mut client, "t", "gaps"), "{}");
    assert_eq!(status(&mut client, "t", "runway >= interval '29 days'"), "t");
}

#[test]
fn what_was_missed_is_made_and_a_row_of_2097_is_no_reason_for_thousands() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT;
         DO $$ BEGIN EXECUTE format('CREATE TABLE last PARTITION OF t FOR VALUES FROM (%L) TO (%L)', current_date - 9, current_date - 8); END $$;
         INSERT INTO t VALUES ('2097-01-01')",
    );
    execute(&mut client, "SELECT opdb.manage_partitions('t', premake => 3)");
    // Last, the eight days since, today and three ahead; the stray stays where it is.
    assert_eq!(names(&mut client, "t").len(), 1 + 1 + 8 + 1 + 3);
    assert_eq!(
        status(&mut client, "t", "stray_rows ->> 0"),
        r#"{"rows": 1, "lower_bound": "2097-01-01", "upper_bound": "2097-01-02"}"#
    );
    maintain(&mut client);
    assert_eq!(names(&mut client, "t").len(), 14);
    // A partition there does not make those between come either.
    execute(
        &mut client,
        "DELETE FROM t; CREATE TABLE far PARTITION OF t FOR VALUES FROM ('2097-01-01') TO ('2097-01-02')",
    );
    maintain(&mut client);
    execute(&mut client, "SELECT opdb.run_partitions('t')");
    assert_eq!(names(&mut client, "t").len(), 15);
    assert_eq!(status(&mut client, "t", "runway < interval '5 days'"), "t");
}
