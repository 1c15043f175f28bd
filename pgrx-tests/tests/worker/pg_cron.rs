//! The same jobs, run by the real pg_cron.

use crate::fixture::{Scene, execute, has_pg_cron, refused, rows, server};

/// pg_cron lives in one database of a server.
fn scene() -> Option<Scene> {
    has_pg_cron().then(|| {
        let scene = Scene::in_database("postgres");
        let mut client = scene.session();
        execute(&mut client, "SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS pg_cron");
        execute(&mut client, "SELECT cron.unschedule(jobid) FROM cron.job; TRUNCATE cron.job_run_details");
        execute(&mut client, "GRANT USAGE ON SCHEMA cron TO etl");
        scene
    })
}

#[test]
fn pg_cron_runs_what_it_is_told_and_opdb_shows_it() {
    let Some(mut scene) = scene() else { return };
    execute(&mut scene.as_role(), "CREATE TABLE work.seen (who name)");
    scene.add("insert", "every 1 minute", "INSERT INTO work.seen SELECT current_user", "");
    scene.add("vacuum", "* * * * *", "VACUUM work.seen", "");
    let scheduled = rows(&mut scene.client, "SELECT * FROM opdb.schedule_with_pg_cron()");
    assert_eq!(
        scheduled,
        [
            ["insert", "* * * * *", "INSERT INTO work.seen SELECT current_user", "NULL"],
            ["vacuum", "* * * * *", "VACUUM work.seen", "NULL"],
        ]
    );
    assert_eq!(scene.text("SELECT count(*) FROM opdb.jobs WHERE runner = 'pg_cron' AND next_run_at > now() - interval '1 minute' AND NOT overdue"), "2");
    scene.wait_long("SELECT bool_and(last_status = 'succeeded') FROM opdb.jobs", "t");
    assert_eq!(scene.text("SELECT DISTINCT who FROM work.seen"), "etl");
    // By one of them only.
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_run"), "0");
    let runs =
        "SELECT DISTINCT name, status, runner FROM opdb.job_runs WHERE status = 'succeeded' ORDER BY name";
    assert_eq!(
        rows(&mut scene.client, runs),
        [["insert", "succeeded", "pg_cron"], ["vacuum", "succeeded", "pg_cron"]]
    );
    // A job that silently stopped is overdue.
    scene.execute("UPDATE cron.job_run_details SET start_time = start_time - interval '1 day'");
    scene.execute("UPDATE cron.job SET schedule = '0 0 1 1 *'; UPDATE cron.job_run_details SET start_time = start_time - interval '2 years'");
    scene.wait_until("SELECT count(*) FROM opdb.jobs WHERE overdue", "2");
}

#[test]
fn telling_it_again_changes_nothing() {
    let Some(mut scene) = scene() else { return };
    scene.add("same", "5 0 * * *", "SELECT 1", "");
    let told = "SELECT jobid, schedule, command, username, active, xmin FROM cron.job";
    scene.execute("SELECT opdb.schedule_with_pg_cron()");
    let first = rows(&mut scene.client, told);
    assert_eq!(first.len(), 1);
    scene.execute("SELECT opdb.schedule_with_pg_cron()");
    assert_eq!(rows(&mut scene.client, told), first);
    // What was changed over there is brought up to date.
    scene.execute("UPDATE cron.job SET schedule = '7 7 * * *'; SELECT opdb.schedule_with_pg_cron()");
    assert_eq!(scene.text("SELECT schedule FROM cron.job"), "5 0 * * *");
    // And back.
    assert_eq!(scene.text("SELECT opdb.unschedule_from_pg_cron()"), "1");
    assert_eq!(scene.text("SELECT count(*) FROM cron.job"), "0");
    assert_eq!(scene.text("SELECT runner || (next_run_at > now()) FROM opdb.jobs"), "workertrue");
    scene.execute("SELECT opdb.schedule_with_pg_cron(); SELECT opdb.drop_job('same')");
    assert_eq!(scene.text("SELECT count(*) FROM cron.job"), "0");
}

#[test]
fn what_is_different_there_is_said() {
    let Some(mut scene) = scene() else { return };
    scene.execute(r#"SELECT opdb.add_job('berlin', '5 0 * * *', 'SELECT 1', 'Europe/Berlin', '{"role": "etl", "retries": 3, "timeout": "1 min"}')"#);
    scene.add("odd", "every 7 minutes", "SELECT 1", "");
    scene.add("many", "@daily", "SELECT command FROM work.plan", r#""gexec": true"#);
    scene.add("last", "0 0 L * *", "SELECT 1", "");
    let notes =
        rows(&mut scene.client, "SELECT job, schedule, note FROM opdb.schedule_with_pg_cron() ORDER BY job");
    let note = |job: &str| {
        notes.iter().find(|row| row[0] == job).map(|row| (row[1].as_str(), row[2].as_str())).unwrap()
    };
    assert_eq!(
        note("berlin"),
        (
            "5 0 * * *",
            "pg_cron runs it by the clock of GMT (cron.timezone), not of Europe/Berlin; pg_cron does not know timeout, retries"
        )
    );
    assert_eq!(note("odd"), ("NULL", "no cron expression says \"every 7 minutes\""));
    assert!(note("many").1.contains("gexec"));
    assert!(note("last").0 == "NULL" && note("last").1.starts_with("pg_cron refused it"), "{notes:?}");
    // What it cannot run stays opdb's.
    assert_eq!(
        scene.text("SELECT string_agg(name, ' ' ORDER BY name) FROM opdb.jobs WHERE runner = 'worker'"),
        "last many odd"
    );
    let (sqlstate, message) = refused(&mut scene.client, "SELECT opdb.run_job('berlin')");
    assert_eq!(sqlstate, "55000");
    assert!(message.contains("run by pg_cron"), "{message}");
}

#[test]
fn without_pg_cron_it_is_said_where_it_is() {
    let mut scene = Scene::new();
    let (sqlstate, message) = refused(&mut scene.client, "SELECT opdb.schedule_with_pg_cron()");
    assert_eq!(sqlstate, "55000");
    assert!(message.contains(&scene.name), "{message}");
    // A schema of that name is not pg_cron: nothing of it is called.
    execute(
        &mut server().connect_as_superuser(&scene.name).unwrap(),
        "CREATE SCHEMA cron AUTHORIZATION etl; CREATE TABLE cron.job (jobid bigint); CREATE TABLE cron.job_run_details (jobid bigint)",
    );
    assert_eq!(refused(&mut scene.client, "SELECT opdb.schedule_with_pg_cron()").0, "55000");
}

#[test]
fn a_role_schedules_its_own_jobs_only() {
    let Some(mut scene) = scene() else { return };
    let other = format!("cron_{}", std::process::id());
    scene.execute(&format!("DROP ROLE IF EXISTS {other}; CREATE ROLE {other} LOGIN"));
    scene.add("mine", "@daily", "SELECT 1", "");
    scene.add("other", "@daily", "SELECT 1", &format!(r#""role": "{other}""#));
    let told = rows(&mut scene.as_role(), "SELECT job, schedule, note FROM opdb.schedule_with_pg_cron()");
    assert_eq!(told[0], ["mine", "0 0 * * *", "NULL"]);
    assert!(told[1][1] == "NULL" && told[1][2].starts_with("pg_cron refused it"), "{told:?}");
    scene.execute(&format!("SELECT opdb.drop_job('other'); DROP ROLE {other}"));
}
