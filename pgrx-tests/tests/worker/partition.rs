//! Partitions that the worker retires: detached concurrently, finalized where that was interrupted.

use crate::fixture::{Scene, execute, server, text, wait_for};

/// A table of the role `etl` with a week of days, of which those before the day before yesterday have expired.
fn week(scene: &mut Scene, retention_action: &str) {
    let mut owner = scene.as_role();
    execute(
        &mut owner,
        &format!(
            "CREATE TABLE work.t (id int, at date NOT NULL) PARTITION BY RANGE (at);
             SELECT opdb.manage_partitions('work.t', premake => 1, start_at => now() - interval '4 days', retention => '2 days',
                 retention_action => '{retention_action}');
             INSERT INTO work.t SELECT i, current_date - i FROM generate_series(0, 4) i"
        ),
    );
    scene.execute(r#"SELECT opdb.add_partition_job(options => '{"role": "etl", "retry_delay": "100 ms"}')"#);
}

const ROWS: &str = "SELECT string_agg(id::text, ',' ORDER BY id) FROM work.t";
const DETACHED: &str =
    "SELECT count(*) FROM pg_class WHERE relname ~ '^t_2' AND relkind = 'r' AND NOT relispartition";

#[test]
fn the_job_detaches_concurrently_and_then_drops() {
    let mut scene = Scene::new();
    week(&mut scene, "drop");
    // A reader that a plain DETACH would have to wait for, and that waits for nobody.
    let mut reader = scene.session();
    execute(&mut reader, "BEGIN; SELECT * FROM work.t");
    scene.execute("UPDATE opdb.partition_set SET premake = 2; SELECT opdb.run_job('opdb partitions')");
    scene.wait_until("SELECT count(*) FROM pg_inherits WHERE inhdetachpending", "1");
    // Creation did not wait for it.
    assert_eq!(
        scene.text("SELECT count(*) FROM opdb.partition_runs WHERE action = 'create' AND status = 'done'"),
        "1"
    );
    assert_eq!(text(&mut reader, "SELECT count(*) FROM work.t WHERE at > current_date - 2"), "2");
    execute(&mut reader, "COMMIT");
    assert_eq!(scene.outcome("opdb partitions").0, "succeeded");
    assert_eq!(scene.text(ROWS), "0,1,2");
    assert_eq!(scene.text(DETACHED), "0");
    assert_eq!(
        scene.text("SELECT string_agg(action || ' ' || state, ',') FROM opdb.retired_partition"),
        "drop done,drop done"
    );
    // Nothing was detached under a lock.
    assert_eq!(scene.text("SELECT count(*) FROM opdb.partition_runs WHERE action = 'detach' AND detail IS DISTINCT FROM 'concurrently'"), "0");
}

#[test]
fn an_interrupted_detach_is_finalized_and_the_partition_dropped() {
    let mut scene = Scene::alone();
    week(&mut scene, "drop");
    let mut reader = scene.session();
    execute(&mut reader, "BEGIN; SELECT * FROM work.t");
    scene.execute("SELECT opdb.run_job('opdb partitions')");
    scene.wait_until("SELECT count(*) FROM pg_inherits WHERE inhdetachpending", "1");
    let pid = scene.pid_of("opdb partitions");
    server().kill_backend(pid).unwrap();
    wait_for(|| scene.client.batch_execute("SELECT 1").err());
    scene.reconnect();
    // The run is resumed by the job's own rules.
    scene.wait_until(
        "SELECT string_agg(status, ' ' ORDER BY run_id) FROM opdb.job_runs",
        "interrupted succeeded",
    );
    assert_eq!(scene.text("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"), "0");
    assert_eq!((scene.text(ROWS).as_str(), scene.text(DETACHED).as_str()), ("0,1,2", "0"));
}

#[test]
fn somebody_elses_interrupted_detach_is_finalized_and_the_table_kept() {
    let mut scene = Scene::new();
    week(&mut scene, "drop");
    let mut reader = scene.session();
    execute(&mut reader, "BEGIN; SELECT * FROM work.t");
    let mut person = scene.as_role();
    let today = scene.text("SELECT 'work.t_' || to_char(current_date, 'YYYY_MM_DD')");
    execute(&mut person, "SET statement_timeout = '500 ms'");
    assert!(
        person.batch_execute(&format!("ALTER TABLE work.t DETACH PARTITION {today} CONCURRENTLY")).is_err()
    );
    execute(&mut reader, "COMMIT");
    let mut owner = scene.as_role();
    execute(&mut owner, "CALL opdb.run_partition_maintenance()");
    assert_eq!(scene.text("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"), "0");
    assert_eq!(scene.text(&format!("SELECT count(*) FROM {today}")), "1");
    assert_eq!(scene.text("SELECT string_agg(id::text, ',' ORDER BY id) FROM work.t"), "1,2");
    // Its name is taken, so today has no partition until somebody decides; that is told.
    let told = scene.text("SELECT runway = '0' AND last_error LIKE '%is taken%' FROM opdb.partition_status");
    assert_eq!(told, "t");
}

#[test]
fn what_somebody_detaches_before_the_job_does_is_kept() {
    let mut scene = Scene::new();
    let mut person = scene.as_role();
    for table in ["a", "b"] {
        execute(
            &mut person,
            &format!(
                "CREATE TABLE work.{table} (id int CHECK (id > 0), at date NOT NULL) PARTITION BY RANGE (at);
                 CREATE TABLE work.{table}_old PARTITION OF work.{table} FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
                 SELECT opdb.manage_partitions('work.{table}', premake => 0, retention => '30 days', retention_action => 'drop')"
            ),
        );
    }
    scene.execute(r#"SELECT opdb.add_partition_job(options => '{"role": "etl", "retry_delay": "100 ms"}')"#);
    let mut reader = scene.session();
    execute(&mut reader, "BEGIN; SELECT * FROM work.a");
    scene.execute("SELECT opdb.run_job('opdb partitions')");
    scene.wait_until("SELECT count(*) FROM pg_inherits WHERE inhdetachpending", "1");
    execute(&mut person, "ALTER TABLE work.b DETACH PARTITION work.b_old");
    execute(&mut reader, "COMMIT");
    scene.outcome("opdb partitions");
    assert_eq!(
        scene.text("SELECT concat(to_regclass('work.a_old'), to_regclass('work.b_old'))"),
        "work.b_old"
    );
    assert_eq!(
        scene.text("SELECT string_agg(parent || ' ' || state, ',') FROM opdb.retired_partition"),
        "work.a done"
    );
}

#[test]
fn with_a_default_partition_the_job_detaches_under_a_short_lock() {
    let mut scene = Scene::new();
    week(&mut scene, "detach");
    let mut owner = scene.as_role();
    execute(&mut owner, "CREATE TABLE work.rest PARTITION OF work.t DEFAULT");
    scene.execute("SELECT opdb.run_job('opdb partitions')");
    assert_eq!(scene.outcome("opdb partitions").0, "succeeded");
    assert_eq!((scene.text(ROWS).as_str(), scene.text(DETACHED).as_str()), ("0,1,2", "2"));
    assert_eq!(
        scene.text("SELECT count(*) FROM opdb.partition_runs WHERE action = 'detach' AND status = 'done'"),
        "2"
    );
}

#[test]
fn a_server_killed_during_maintenance_recovers_by_running_again() {
    let mut scene = Scene::alone();
    week(&mut scene, "drop");
    let name = scene.name.clone();
    // Each round is killed somewhere else: between steps, in a step, before anything.
    for round in 0..6_u64 {
        scene.execute("UPDATE opdb.partition_set SET premake = premake + 5; UPDATE opdb.partition_state SET due_at = NULL");
        let mut runner = scene.as_role();
        let run = std::thread::spawn(move || runner.batch_execute("CALL opdb.run_partition_maintenance()"));
        let before = scene.text("SELECT count(*) FROM opdb.partition_runs");
        if round > 0 {
            let sql = format!("SELECT count(*) >= {before} + {round} - 1 FROM opdb.partition_runs");
            wait_for(|| (scene.text(&sql) == "t" || run.is_finished()).then_some(()));
        }
        server().kill_nine().unwrap();
        server().start_again().unwrap();
        let _ = run.join();
        scene.reconnect();
        let halves =
            "SELECT (SELECT count(*) FROM pg_class WHERE relname ~ '^t_2' AND relkind = 'r' AND NOT relispartition
                       AND oid NOT IN (SELECT partition FROM opdb.retired_partition)) || ' ' ||
                    (SELECT count(*) FROM pg_constraint WHERE conname LIKE 'opdb%' AND connamespace = 'work'::regnamespace)";
        assert_eq!(scene.text(halves), "0 0", "{name}, round {round}: something was left half done");
        let mut runner = scene.as_role();
        execute(&mut runner, "CALL opdb.run_partition_maintenance()");
        assert_eq!(scene.text("SELECT last_status || ' ' || expired || ' ' || unfinished || ' ' || gaps::text FROM opdb.partition_status"), "done 0 0 {}");
        assert_eq!(scene.text(ROWS), "0,1,2");
    }
    assert_eq!(
        scene.text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'work.t'::regclass"),
        (3 + 1 + 30).to_string()
    );
}
