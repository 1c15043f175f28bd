//! Schedules, policies, rights and history.

use crate::fixture::{ROLE, Scene, execute, refused, rows, server, text};

#[test]
fn a_job_runs_by_its_schedule_as_its_role() {
    let mut scene = Scene::new();
    execute(&mut scene.as_role(), "CREATE TABLE work.seen (who name, at timestamptz, app text)");
    let insert =
        "INSERT INTO work.seen SELECT current_user, clock_timestamp(), current_setting('application_name')";
    execute(
        &mut scene.as_role(),
        &format!("SELECT opdb.add_job('tick', 'every 1 second', '{}')", insert.replace('\'', "''")),
    );
    scene.wait_until("SELECT count(*) >= 3 FROM work.seen", "t");
    let seen = scene.text("SELECT DISTINCT who || ' ' || app FROM work.seen");
    assert_eq!(seen, format!("{ROLE} opdb job tick"));
    // Each has its own second, and none comes early.
    let wrong = scene.text("SELECT count(*) FROM opdb.job_runs WHERE started_at < scheduled_at OR status NOT IN ('succeeded', 'running')");
    assert_eq!(wrong, "0");
    let slots = scene.text("SELECT count(*) = count(DISTINCT scheduled_at) FROM opdb.job_runs");
    assert_eq!(slots, "t");
    let job = rows(
        &mut scene.client,
        "SELECT enabled, overdue, role, runner, next_run_at > now() - interval '2 s' FROM opdb.jobs",
    );
    assert_eq!(job, [["t", "f", ROLE, "worker", "t"]]);
    scene.execute("SELECT opdb.drop_job('tick')");
    assert_eq!(scene.text("SELECT count(*) FROM opdb.jobs"), "0");
    assert_ne!(scene.text("SELECT count(*) FROM opdb.job_runs"), "0", "the history outlives the job");
}

#[test]
fn one_bad_job_stops_no_other() {
    let mut scene = Scene::new();
    scene.run_now("bad", "SELECT 1 / 0", "");
    scene.run_now("good", "SELECT 1", "");
    assert_eq!(scene.outcome("good").0, "succeeded");
    assert_eq!(scene.outcome("bad"), ("failed".into(), "division by zero".into()));
    assert_eq!(scene.text("SELECT sqlstate FROM opdb.job_runs WHERE name = 'bad'"), "22012");
    assert_eq!(scene.text("SELECT last_status FROM opdb.jobs WHERE name = 'bad'"), "failed");
}

#[test]
fn a_failure_is_tried_again_after_a_while() {
    let mut scene = Scene::new();
    execute(&mut scene.as_role(), "CREATE SEQUENCE work.attempts");
    let command = "SELECT 1 / CASE WHEN nextval('work.attempts') < 3 THEN 0 ELSE 1 END";
    scene.run_now("flaky", command, r#""retries": 5, "retry_delay": "200 ms""#);
    scene.wait_until(
        "SELECT string_agg(attempt || status, ' ' ORDER BY run_id) FROM opdb.job_runs",
        "1failed 2failed 3succeeded",
    );
    assert_eq!(scene.text("SELECT attempt FROM opdb.jobs"), "1");
}

#[test]
fn retries_end_and_the_schedule_goes_on() {
    let mut scene = Scene::new();
    scene.run_now("hopeless", "SELECT 1 / 0", r#""retries": 2, "retry_delay": "100 ms""#);
    scene.wait_until(
        "SELECT string_agg(attempt::text, ' ' ORDER BY run_id) FROM opdb.job_runs WHERE status = 'failed'",
        "1 2 3",
    );
    let job = rows(
        &mut scene.client,
        "SELECT attempt, next_run_at > now() + interval '1 hour', last_status FROM opdb.jobs",
    );
    assert_eq!(job, [["1", "t", "failed"]]);
}

#[test]
fn time_limits_hold() {
    let mut scene = Scene::new();
    scene.run_now("slow statement", "SELECT pg_sleep(1000)", r#""timeout": "200 ms""#);
    scene.run_now("slow run", "SELECT pg_sleep(1000)", r#""max_runtime": "200 ms""#);
    scene.run_now("slow role", "SELECT pg_sleep(1000)", r#""settings": {"statement_timeout": "200 ms"}"#);
    scene.run_now(
        "slow query",
        "SELECT 'SELECT 1' AS command, pg_sleep(1000)",
        r#""gexec": true, "timeout": "200 ms""#,
    );
    let (status, detail) = scene.outcome("slow statement");
    assert_eq!(
        (status.as_str(), detail.as_str()),
        ("failed", "canceling statement due to statement timeout")
    );
    let (status, detail) = scene.outcome("slow run");
    assert_eq!((status.as_str(), detail.as_str()), ("failed", "cancelled: its max_runtime was over"));
    assert_eq!(scene.outcome("slow query").0, "failed");
    assert_eq!(scene.outcome("slow role").0, "failed");
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE sqlstate = '57014'"), "4");
}

#[test]
fn what_was_missed_is_caught_up_once_or_skipped() {
    let mut scene = Scene::new();
    for (name, policy) in [("once", "run_once"), ("skip", "skip")] {
        scene.add(name, "*/5 * * * *", "SELECT 1", &format!(r#""catch_up": "{policy}", "enabled": false"#));
    }
    // As if the server had been down for days.
    scene.execute("UPDATE opdb.job_state SET next_run_at = now() - interval '3 days'; UPDATE opdb.job SET enabled = true");
    assert_eq!(scene.outcome("once").0, "succeeded");
    let (status, detail) = scene.outcome("skip");
    assert_eq!(status, "skipped");
    assert!(detail.contains("missed"), "{detail}");
    let next = "SELECT bool_and(next_run_at > now() - interval '1 minute' AND next_run_at < now() + interval '6 minutes') FROM opdb.jobs";
    assert_eq!(scene.text(next), "t");
    assert_eq!(
        scene.text("SELECT count(*) FROM opdb.job_runs WHERE scheduled_at < now() - interval '2 days'"),
        "2"
    );
}

#[test]
fn a_job_does_not_overtake_itself() {
    let mut scene = Scene::new();
    execute(&mut scene.as_role(), "CREATE TABLE work.span (a timestamptz, b timestamptz)");
    let command = "INSERT INTO work.span SELECT clock_timestamp(), clock_timestamp() FROM pg_sleep(0.3)";
    let command =
        command.replace("SELECT clock_timestamp(),", "SELECT clock_timestamp() - interval '0.3 s',");
    scene.add("long", "every 1 second", &command, "");
    for _ in 0..5 {
        scene.execute("SELECT opdb.run_job('long')");
        scene.execute("SELECT pg_sleep(0.1)");
    }
    scene.wait_until("SELECT count(*) >= 3 FROM work.span", "t");
    let overlaps = "SELECT count(*) FROM opdb.job_run a JOIN opdb.job_run b ON a.run_id < b.run_id AND b.started_at < a.finished_at";
    assert_eq!(scene.text(overlaps), "0");
}

#[test]
fn a_disabled_job_rests_until_it_is_enabled() {
    let mut scene = Scene::new();
    scene.add("idle", "every 1 second", "SELECT 1", r#""enabled": false"#);
    scene.run_now("other", "SELECT 1", "");
    scene.outcome("other");
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE name = 'idle'"), "0");
    assert_eq!(scene.text("SELECT next_run_at FROM opdb.jobs WHERE name = 'idle'"), "NULL");
    scene.execute("SELECT opdb.enable_job('idle')");
    assert_eq!(scene.outcome("idle").0, "succeeded");
    scene.execute("SELECT opdb.disable_job('idle')");
    assert_eq!(scene.text("SELECT enabled, next_run_at FROM opdb.jobs WHERE name = 'idle'"), "f");
}

#[test]
fn the_window_is_kept() {
    let mut scene = Scene::new();
    // Windows beside the present, and one that holds it and is about to close.
    let at = |scene: &mut Scene, shift: &str| {
        scene.text(&format!("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '{shift}', 'HH24:MI:SS')"))
    };
    let (later, latest) = (at(&mut scene, "1 hour"), at(&mut scene, "2 hours"));
    scene.run_now("outside", "SELECT 1", &format!(r#""window": {{"start": "{later}", "end": "{latest}"}}"#));
    assert_eq!(scene.outcome("outside"), ("skipped".into(), "outside its window".into()));
    let (before, soon) = (at(&mut scene, "-1 hour"), at(&mut scene, "3 seconds"));
    let query = "SELECT 'SELECT pg_sleep(' || CASE n WHEN 1 THEN 0 ELSE 1000 END || ')' AS command FROM generate_series(1, 3) n";
    scene.run_now(
        "closing",
        query,
        &format!(r#""gexec": true, "window": {{"start": "{before}", "end": "{soon}"}}"#),
    );
    let (status, detail) = scene.outcome("closing");
    assert_eq!(
        (status.as_str(), detail.as_str()),
        ("succeeded", "1 of 3 statements done, stopped: its window closed; the rest is for the next run")
    );
}

#[test]
fn each_statement_of_a_query_runs_and_failures_are_counted() {
    let mut scene = Scene::new();
    execute(&mut scene.as_role(), "CREATE TABLE work.a (x int); CREATE TABLE work.b (x int)");
    let query = "SELECT command FROM (VALUES ('VACUUM work.a'), ('SELECT 1/0'), ('VACUUM (ANALYZE) work.b')) v (command);";
    scene.run_now("all", query, r#""gexec": true"#);
    let (status, detail) = scene.outcome("all");
    assert_eq!(status, "failed");
    assert_eq!(detail, "2 of 3 statements done; SELECT 1/0: division by zero");
    assert_eq!(
        scene.text(
            "SELECT count(*) FROM pg_stat_user_tables WHERE schemaname = 'work' AND last_vacuum IS NOT NULL"
        ),
        "2"
    );
}

#[test]
fn settings_are_those_of_the_job() {
    let mut scene = Scene::new();
    execute(&mut scene.as_role(), "CREATE TABLE work.seen (v text)");
    let command =
        "INSERT INTO work.seen SELECT current_setting('lock_timeout') || current_setting('my.note')";
    scene.run_now("set", command, r#""settings": {"lock_timeout": "7s", "my.note": "x"}"#);
    assert_eq!(scene.outcome("set").0, "succeeded");
    assert_eq!(scene.text("SELECT v FROM work.seen"), "7sx");
    scene.run_now("forbidden", "SELECT 1", r#""settings": {"log_statement": "all"}"#);
    let (status, detail) = scene.outcome("forbidden");
    assert_eq!(status, "failed");
    assert!(detail.contains("permission denied"), "{detail}");
}

#[test]
fn a_job_has_the_rights_of_its_role_and_no_more() {
    let mut scene = Scene::new();
    for (name, command) in [
        ("table", "DELETE FROM opdb.job"),
        (
            "reset",
            "DO $$ BEGIN RESET SESSION AUTHORIZATION; RESET ROLE; EXECUTE 'DELETE FROM opdb.job'; END $$",
        ),
        ("superuser", "SET SESSION AUTHORIZATION postgres"),
    ] {
        scene.run_now(name, command, "");
        let (status, detail) = scene.outcome(name);
        assert_eq!(status, "failed", "{name}");
        assert!(detail.contains("permission denied"), "{name}: {detail}");
    }
    // A role's own operators are not what opdb's bookkeeping finds.
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.caught (who name);
         CREATE FUNCTION work.trap(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO work.caught VALUES (current_user); RETURN true; END $$;
         CREATE OPERATOR work.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = work.trap)",
    );
    scene.execute("ALTER ROLE etl SET search_path = work, pg_catalog");
    scene.run_now("trapped", "SELECT 1", "");
    let outcome = scene.outcome("trapped");
    scene.execute("ALTER ROLE etl RESET search_path");
    assert_eq!(outcome.0, "succeeded");
    assert_eq!(scene.text("SELECT count(*) FROM work.caught"), "0");
}

#[test]
fn a_role_that_cannot_run_it_any_more_is_named() {
    let mut scene = Scene::new();
    let role = format!("gone_{}", scene.name);
    scene.execute(&format!("CREATE ROLE {role} LOGIN"));
    scene.add("later", "0 0 1 1 *", "SELECT 1", &format!(r#""role": "{role}""#));
    scene.execute(&format!("ALTER ROLE {role} NOLOGIN; SELECT opdb.run_job('later')"));
    assert_eq!(scene.outcome("later"), ("failed".into(), format!("role \"{role}\" may not log in")));
    scene.execute(&format!("DROP ROLE {role}; SELECT opdb.run_job('later')"));
    scene.wait_until("SELECT last_detail FROM opdb.jobs", &format!("role \"{role}\" does not exist"));
}

#[test]
fn whose_job_it_is_counts() {
    let mut scene = Scene::new();
    let other = format!("other_{}", scene.name);
    scene.execute(&format!("CREATE ROLE {other} LOGIN PASSWORD 'x'; GRANT opdb_operator TO {other}"));
    scene.add("mine", "0 0 1 1 *", "SELECT 1", "");
    let mut stranger = server().connect(&scene.name, &other, "x").unwrap();
    for call in ["drop_job", "disable_job", "enable_job", "run_job"] {
        assert_eq!(refused(&mut stranger, &format!("SELECT opdb.{call}('mine')")).0, "42501", "{call}");
    }
    let as_etl = r#"SELECT opdb.add_job('x', '@daily', 'SELECT 1', options => '{"role": "etl"}')"#;
    assert_eq!(refused(&mut stranger, as_etl).0, "42501");
    let (sqlstate, message) = refused(&mut scene.client, "SELECT opdb.add_job('x', '@daily', 'SELECT 1')");
    assert_eq!(sqlstate, "28000");
    assert!(message.contains("bootstrap superuser \"postgres\"") && message.contains("options"), "{message}");
    execute(
        &mut scene.as_role(),
        "SELECT opdb.disable_job('mine'); SELECT opdb.enable_job('mine'); SELECT opdb.drop_job('mine')",
    );
}

#[test]
fn history_is_kept_for_its_time() {
    let mut scene = Scene::alone();
    scene.add("old", "0 0 1 1 *", "SELECT 1", "");
    scene.execute(
        "INSERT INTO opdb.job_run (job_id, name, role, scheduled_at, attempt, started_at, finished_at, status)
         SELECT job_id, name, role, t, 1, t, t, 'succeeded'
         FROM opdb.job, generate_series(now() - interval '90 days', now() - interval '20 days', interval '10 days') t
         ORDER BY t",
    );
    // It is shortened once an hour, and by the first dispatcher after a start.
    server().stop().unwrap();
    server().start_again().unwrap();
    scene.reconnect();
    scene.wait_until("SELECT count(*) FROM opdb.job_runs WHERE started_at < now() - interval '30 days'", "0");
    assert_eq!(
        scene.text("SELECT count(*) FROM opdb.job_runs WHERE started_at < now() - interval '1 day'"),
        "1"
    );
}

#[test]
fn dumped_jobs_are_planned_anew() {
    let mut scene = Scene::new();
    scene.add(
        "daily",
        "5 0 * * *",
        "SELECT 1",
        r#""retries": 3, "window": {"start": "00:00", "end": "04:00"}"#,
    );
    scene.execute("UPDATE opdb.job_state SET next_run_at = now() + interval '1 year'");
    let copy = format!("{}_copy", scene.name);
    server().create_database(&copy).unwrap();
    server().restore_to(&scene.name, server(), &copy).unwrap();
    let mut there = server().connect_as_superuser(&copy).unwrap();
    let same = "SELECT name, schedule, command, retries, window_start, role FROM opdb.jobs";
    assert_eq!(rows(&mut there, same), rows(&mut scene.client, same));
    assert_eq!(text(&mut there, "SELECT count(*) FROM opdb.job_runs"), "0");
    // The launcher hears of it without being asked, and nothing is overdue.
    crate::fixture::wait_for(|| {
        let next = text(&mut there, "SELECT next_run_at = opdb.next_run('5 0 * * *') FROM opdb.jobs");
        (next == "t").then_some(())
    });
    assert_eq!(text(&mut there, "SELECT count(*) FROM opdb.job_runs"), "0");
}

#[test]
fn only_chosen_databases_have_their_jobs_run() {
    let mut scene = Scene::alone();
    scene.execute("ALTER SYSTEM SET opdb.databases = 'elsewhere, \"Other\"'");
    scene.execute("SELECT pg_reload_conf()");
    scene.wait_until("SHOW opdb.databases", "elsewhere, \"Other\"");
    scene.execute("SELECT pg_sleep(0.3)");
    scene.reconnect();
    scene.run_now("here", "SELECT 1", "");
    scene.execute("SELECT pg_sleep(1)");
    let runs = scene.text("SELECT count(*) FROM opdb.job_runs");
    scene.execute("ALTER SYSTEM RESET opdb.databases");
    scene.execute("SELECT pg_reload_conf()");
    assert_eq!(runs, "0");
    assert_eq!(scene.outcome("here").0, "succeeded", "the launcher has read its settings again");
}

#[test]
fn a_year_of_nights_in_five_zones() {
    let mut scene = Scene::new();
    for zone in ["Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "America/Havana"]
    {
        // What the clock on the wall shows, minute by minute, in the server's own words.
        let wrong = scene.text(&format!(
            "WITH RECURSIVE run (at) AS (
                 SELECT opdb.next_run('5 0 * * *', '{zone}', '2026-03-01T12:00Z')
                 UNION ALL
                 SELECT opdb.next_run('5 0 * * *', '{zone}', at) FROM run WHERE at < '2027-03-01T12:00Z'
             ), minute AS (
                 SELECT m, m AT TIME ZONE '{zone}' AS shown
                 FROM generate_series('2026-03-01T12:01Z'::timestamptz, '2027-03-01T12:00Z', interval '1 minute') m
             ), expected AS (
                 SELECT min(m) AS at FROM minute WHERE shown::time >= '00:05'
                 GROUP BY shown::date HAVING min(m) > '2026-03-01T12:01Z'
             )
             SELECT count(*) || ' of ' || (SELECT count(*) FROM expected)
             FROM (SELECT at FROM run WHERE at <= '2027-03-01T12:00Z') r FULL JOIN expected e USING (at)
             WHERE r.at IS NULL OR e.at IS NULL"
        ));
        assert_eq!(wrong, "0 of 365", "{zone}");
    }
}
