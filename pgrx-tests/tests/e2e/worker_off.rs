//! Without preloading: everything of jobs but running them.

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

#[test]
fn without_the_worker_jobs_are_kept_and_seen_to_be_overdue() {
    let mut client = on_test(&database(&servers().test));
    let etl = role(&servers().test, &["opdb_operator"]);
    execute(
        &mut client,
        &format!(
            r#"SELECT opdb.add_job('tick', 'every 1 second', 'SELECT 1', options => '{{"role": "{etl}"}}');
               SELECT opdb.add_job('off', 'every 1 second', 'SELECT 1', options => '{{"role": "{etl}", "enabled": false}}')"#
        ),
    );
    let standing = "SELECT name, overdue, last_status, next_run_at IS NULL FROM opdb.jobs ORDER BY name";
    assert_eq!(rows(&mut client, standing), [["off", "f", "NULL", "t"], ["tick", "f", "NULL", "f"]]);
    execute(&mut client, "UPDATE opdb.job_state SET next_run_at = next_run_at - interval '2 minutes'");
    assert_eq!(rows(&mut client, standing), [["off", "f", "NULL", "t"], ["tick", "t", "NULL", "f"]]);
    let refusal = refused(&mut client, "SELECT opdb.run_job('tick')");
    assert_eq!(refusal.sqlstate, "55000");
    assert!(refusal.hint.contains("shared_preload_libraries"), "{refusal:?}");
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.job_runs"), "0");
}

#[test]
fn the_user_is_told_that_the_worker_is_off() {
    use std::sync::{Arc, Mutex};
    let test = &servers().test;
    let name = database(test);
    let etl = role(test, &["opdb_operator"]);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let mut client = postgres::Config::new()
        .host(test.host())
        .port(test.port())
        .dbname(&name)
        .user(&etl)
        .password(&etl)
        .notice_callback(move |notice| {
            let hint = notice.hint().unwrap_or_default().to_owned();
            heard.lock().unwrap().push((notice.message().to_owned(), hint));
        })
        .connect(postgres::NoTls)
        .unwrap();
    execute(&mut client, "SELECT opdb.add_job('tick', '@daily', 'SELECT 1')");
    let told = notices.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0.contains("opdb is not in shared_preload_libraries"), "{told:?}");
    assert!(told[0].1.contains("opdb.schedule_with_pg_cron()"), "{told:?}");
    // Ready-made jobs are what pg_cron can run then.
    let jobs =
        rows(&mut client, "SELECT * FROM opdb.add_maintenance_jobs('02:30', '04:00', 'Europe/Berlin')");
    assert_eq!(
        jobs,
        [
            ["opdb vacuum daily", "30 2 * * 1-6", "VACUUM (ANALYZE, SKIP_LOCKED)"],
            ["opdb vacuum weekly", "30 2 * * 0", "VACUUM (ANALYZE)"],
        ]
    );
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM opdb.jobs WHERE NOT gexec AND window_start IS NULL"),
        "3"
    );
}

#[test]
fn a_name_that_two_sessions_add_at_once_is_one_of_theirs() {
    let name = database(&servers().test);
    let etl = role(&servers().test, &["opdb_operator"]);
    let mut first = servers().test.connect(&name, &etl, &etl).unwrap();
    execute(&mut first, "BEGIN; SELECT opdb.add_job('same', '@daily', 'SELECT 1')");
    let mut second = servers().test.connect(&name, &etl, &etl).unwrap();
    let adds = std::thread::spawn(move || {
        refused(&mut second, "SELECT opdb.add_job('same', '@hourly', 'SELECT 2')")
    });
    let mut client = on_test(&name);
    while text(
        &mut client,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    ) == "0"
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    execute(&mut first, "COMMIT");
    assert_eq!(adds.join().unwrap().sqlstate, "42710");
    assert_eq!(text(&mut client, "SELECT schedule FROM opdb.jobs"), "@daily");
}
