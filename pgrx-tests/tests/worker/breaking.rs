//! Whatever breaks: a process, the server, the disk, the extension, the database.

use std::time::{Duration, Instant};

use opdb_e2e::cluster::Shutdown;

use crate::fixture::{Scene, execute, rows, server, text, wait_for};

#[test]
fn a_terminated_job_is_interrupted_and_resumed_by_its_policy() {
    let mut scene = Scene::new();
    for (name, policy) in [("again", "run_once"), ("once", "skip")] {
        scene.run_now(
            name,
            "SELECT pg_sleep(CASE WHEN count(*) = 1 THEN 1000 ELSE 0 END) FROM opdb.job_runs WHERE name = substr(current_setting('application_name'), 10)",
            &format!(r#""catch_up": "{policy}", "retry_delay": "100 ms""#),
        );
    }
    for name in ["again", "once"] {
        let pid = scene.pid_of(name);
        scene.execute(&format!("SELECT pg_terminate_backend({pid})"));
    }
    let of = |name: &str| {
        format!("SELECT string_agg(status, ' ' ORDER BY run_id) FROM opdb.job_runs WHERE name = '{name}'")
    };
    scene.wait_until(&of("again"), "interrupted succeeded");
    scene.wait_until(&of("once"), "interrupted");
    let next =
        scene.text("SELECT next_run_at > now() + interval '1 hour' FROM opdb.jobs WHERE name = 'once'");
    assert_eq!(next, "t");
}

#[test]
fn a_job_that_takes_the_server_down_each_time_is_not_resumed_for_ever() {
    let mut scene = Scene::new();
    let command = "SELECT pg_terminate_backend(pg_backend_pid())";
    scene.run_now("deadly", command, r#""retry_delay": "50 ms""#);
    scene.wait_until(
        "SELECT string_agg(attempt || status, ' ' ORDER BY run_id) FROM opdb.job_runs WHERE name = 'deadly'",
        "1interrupted 2interrupted 3interrupted",
    );
    scene.wait_until("SELECT next_run_at > now() + interval '1 hour' FROM opdb.jobs", "t");
}

#[test]
fn a_cancelled_job_has_failed() {
    let mut scene = Scene::new();
    scene.run_now("long", "SELECT pg_sleep(1000)", "");
    let pid = scene.pid_of("long");
    scene.execute(&format!("SELECT pg_cancel_backend({pid})"));
    assert_eq!(scene.outcome("long"), ("failed".into(), "canceling statement due to user request".into()));
}

#[test]
fn the_launcher_and_the_dispatcher_may_die() {
    let mut scene = Scene::alone();
    scene.run_now("long", "SELECT pg_sleep(1.5)", "");
    scene.pid_of("long");
    let killed = scene.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type IN ('opdb launcher', 'opdb dispatcher')");
    assert_eq!(killed, "2");
    // The job goes on, and whoever comes next writes down how it ended.
    assert_eq!(scene.outcome("long").0, "succeeded");
    scene.run_now("next", "SELECT 1", "");
    assert_eq!(scene.outcome("next").0, "succeeded");
    // Cancelling them means nothing.
    scene.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'opdb launcher'");
    scene.run_now("after", "SELECT 1", "");
    assert_eq!(scene.outcome("after").0, "succeeded");
}

#[test]
fn a_crash_of_the_server_is_written_down_and_the_job_resumed() {
    let mut scene = Scene::alone();
    let command = "SELECT pg_sleep(CASE WHEN count(*) = 1 THEN 1000 ELSE 0 END) FROM opdb.job_runs WHERE name = substr(current_setting('application_name'), 10)";
    scene.run_now("resumed", command, r#""retry_delay": "100 ms""#);
    scene.run_now("left", command, r#""catch_up": "skip""#);
    scene.pid_of("left");
    let pid = scene.pid_of("resumed");
    server().kill_backend(pid).unwrap();
    wait_for(|| scene.client.batch_execute("SELECT 1").err());
    scene.reconnect();
    let of = |name: &str| {
        format!("SELECT string_agg(status, ' ' ORDER BY run_id) FROM opdb.job_runs WHERE name = '{name}'")
    };
    scene.wait_until(&of("resumed"), "interrupted succeeded");
    scene.wait_until(&of("left"), "interrupted");
    let detail = scene.text("SELECT detail FROM opdb.job_runs WHERE name = 'left'");
    assert_eq!(detail, "the server was restarted or crashed during the run");
}

#[test]
fn a_killed_server_resumes_its_jobs() {
    let mut scene = Scene::alone();
    scene.run_now(
        "long",
        "SELECT pg_sleep(CASE WHEN count(*) = 1 THEN 1000 ELSE 0 END) FROM opdb.job_runs WHERE name = 'long'",
        r#""retry_delay": "100 ms""#,
    );
    scene.pid_of("long");
    server().kill_nine().unwrap();
    server().start_again().unwrap();
    scene.reconnect();
    scene.wait_until(
        "SELECT string_agg(status, ' ' ORDER BY run_id) FROM opdb.job_runs",
        "interrupted succeeded",
    );
}

#[test]
fn a_fast_shutdown_takes_less_than_two_seconds() {
    let mut scene = Scene::alone();
    execute(
        &mut scene.as_role(),
        "CREATE PROCEDURE work.busy() LANGUAGE plpgsql AS $$ BEGIN LOOP PERFORM 1; END LOOP; END $$",
    );
    scene.run_now("asleep", "SELECT pg_sleep(1000)", "");
    scene.run_now("busy", "CALL work.busy()", "");
    scene.run_now("many", "SELECT 'SELECT pg_sleep(1000)' AS command", r#""gexec": true"#);
    for name in ["asleep", "busy", "many"] {
        scene.pid_of(name);
    }
    // Without a job, the same server.
    scene.execute("CHECKPOINT");
    let started = Instant::now();
    server().stop().unwrap();
    let took = started.elapsed();
    server().start_again().unwrap();
    scene.reconnect();
    scene.execute("UPDATE opdb.job SET enabled = false");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn dropping_the_extension_under_its_jobs_harms_nobody() {
    let mut scene = Scene::new();
    scene.add("tick", "every 1 second", "SELECT 1", "");
    scene.run_now("long", "SELECT pg_sleep(1000)", "");
    let pid = scene.pid_of("long");
    scene.execute("DROP EXTENSION opdb");
    // What runs goes on.
    assert_eq!(scene.text(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")), "1");
    scene.execute("SET client_min_messages = error; CREATE EXTENSION opdb");
    scene.run_now("new", "SELECT 1", "");
    assert_eq!(scene.outcome("new").0, "succeeded");
    scene.execute(&format!("SELECT pg_terminate_backend({pid})"));
    scene.run_now("newer", "SELECT 1", "");
    assert_eq!(scene.outcome("newer").0, "succeeded");
    let names =
        scene.text("SELECT string_agg(name || ' ' || status, ', ' ORDER BY run_id) FROM opdb.job_runs");
    assert_eq!(names, "new succeeded, newer succeeded");
}

#[test]
fn a_database_can_be_dropped_while_its_jobs_are_due() {
    let mut scene = Scene::new();
    let mut other = Scene::new();
    scene.add("soon", "every 1 second", "SELECT 1", "");
    assert_eq!(scene.outcome("soon").0, "succeeded");
    let mut admin = server().connect_as_superuser("postgres").unwrap();
    let name = scene.name.clone();
    drop(scene);
    execute(&mut admin, &format!("DROP DATABASE {name} WITH (FORCE)"));
    other.run_now("elsewhere", "SELECT 1", "");
    assert_eq!(other.outcome("elsewhere").0, "succeeded");
    assert_eq!(text(&mut admin, &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")), "0");
}

#[test]
fn processes_say_what_they_do() {
    let mut scene = Scene::new();
    scene.run_now("shown", "SELECT pg_sleep(1000)", "");
    let pid = scene.pid_of("shown");
    let shown = rows(
        &mut scene.client,
        &format!(
            "SELECT backend_type, state, query, usename, datname FROM pg_stat_activity WHERE pid = {pid}"
        ),
    );
    assert_eq!(shown, [["opdb job", "active", "SELECT pg_sleep(1000)", "etl", scene.name.as_str()]]);
    assert_eq!(scene.text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'opdb launcher'"), "1");
    assert_eq!(scene.text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'opdb dispatcher' AND datname = current_database()"), "1");
    scene.execute(&format!("SELECT pg_cancel_backend({pid})"));
    scene.outcome("shown");
}

#[test]
fn more_jobs_than_places_all_run() {
    let mut scene = Scene::new();
    for number in 0..60 {
        scene.add(&format!("j{number}"), "0 0 1 1 *", "SELECT pg_sleep(0.02)", "");
    }
    scene.execute("SELECT opdb.run_job(name) FROM opdb.jobs");
    scene.wait_until("SELECT count(*) FROM opdb.job_runs WHERE status = 'succeeded'", "60");
    assert_eq!(scene.text("SELECT count(DISTINCT name) FROM opdb.job_runs"), "60");
}

#[test]
fn what_is_rolled_back_never_runs() {
    let mut scene = Scene::new();
    scene.execute(r#"BEGIN; SELECT opdb.add_job('never', 'every 1 second', 'SELECT 1', options => '{"role": "etl"}'); ROLLBACK"#);
    scene.run_now("other", "SELECT 1", "");
    scene.outcome("other");
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE name = 'never'"), "0");
}
