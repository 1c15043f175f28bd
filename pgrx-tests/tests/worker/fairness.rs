//! What one user, job or database does must not be felt by the others.

use std::time::{Duration, Instant};

use crate::fixture::{Scene, execute, refused, server, wait_for};

#[test]
fn a_transaction_that_somebody_leaves_open_stops_no_other_job() {
    let mut scene = Scene::new();
    scene.add("held", "0 0 1 1 *", "SELECT 1", "");
    let mut holder = scene.as_role();
    execute(&mut holder, "BEGIN; SELECT opdb.run_job('held')");
    for number in 0..3 {
        scene.run_now(&format!("other {number}"), "SELECT 1", "");
        assert_eq!(scene.outcome(&format!("other {number}")).0, "succeeded");
    }
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE name = 'held'"), "0");
    execute(&mut holder, "COMMIT");
    assert_eq!(scene.outcome("held").0, "succeeded");
}

#[test]
fn jobs_that_are_due_and_held_take_no_room() {
    let mut scene = Scene::new();
    // More than may run at once.
    for number in 0..20 {
        scene.add(&format!("held {number}"), "every 1 second", "SELECT 1", "");
    }
    let mut holder = scene.as_role();
    execute(&mut holder, "BEGIN; SELECT opdb.disable_job(name), opdb.run_job(name) FROM opdb.jobs");
    scene.execute("SELECT pg_sleep(1.5)");
    scene.run_now("other", "SELECT 1", "");
    assert_eq!(scene.outcome("other").0, "succeeded");
    execute(&mut holder, "ROLLBACK");
    scene.execute("SELECT opdb.drop_job(name) FROM opdb.jobs");
}

#[test]
fn databases_whose_jobs_take_long_do_not_keep_others_waiting() {
    let mut scene = Scene::alone();
    let mut busy: Vec<Scene> = (0..6).map(|_| scene.also_in_a_new_one()).collect();
    for other in &mut busy {
        other.run_now("long", "SELECT pg_sleep(1000)", "");
        other.pid_of("long");
    }
    let started = Instant::now();
    scene.run_now("quick", "SELECT 1", "");
    assert_eq!(scene.outcome("quick").0, "succeeded");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    for other in &mut busy {
        let pid = other.pid_of("long");
        other.execute(&format!("SELECT pg_cancel_backend({pid})"));
        other.outcome("long");
    }
}

#[test]
fn jobs_whose_extension_is_gone_give_their_places_back() {
    let mut scene = Scene::alone();
    let mut other = scene.also_in_a_new_one();
    for number in 0..16 {
        other.run_now(&format!("long {number}"), "SELECT pg_sleep(1000)", "");
    }
    other.wait_until(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'opdb job' AND wait_event = 'PgSleep'",
        "16",
    );
    other.execute("DROP EXTENSION opdb");
    scene.run_now("waits", "SELECT 1", "");
    scene.execute("SELECT pg_sleep(1)");
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs"), "0", "all places are in use");
    scene.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'opdb job'");
    assert_eq!(scene.outcome("waits").0, "succeeded");
}

#[test]
fn a_database_without_its_extension_is_not_looked_into_again_and_again() {
    let mut scene = Scene::alone();
    let mut other = scene.also_in_a_new_one();
    other.execute(r#"BEGIN; SELECT opdb.add_job('x', '@daily', 'SELECT 1', options => '{"role": "etl"}'); DROP EXTENSION opdb; COMMIT"#);
    scene.run_now("first", "SELECT 1", "");
    scene.outcome("first");
    // Each process has a number of its own.
    let newest = |scene: &mut Scene| {
        let name = format!("next {}", scene.text("SELECT count(*) FROM opdb.job_runs"));
        scene.run_now(&name, "SELECT pg_sleep(0.2)", "");
        scene.pid_of(&name)
    };
    let before = newest(&mut scene);
    scene.execute("SELECT pg_sleep(2)");
    let after = newest(&mut scene);
    assert!(after - before < 100, "{before} {after}");
}

#[test]
fn a_run_may_follow_the_one_before_at_once() {
    let mut scene = Scene::new();
    // Its process has to tidy up when its statement is done.
    let command = "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TEMP TABLE t%s (a text)', i); END LOOP; END $$";
    scene.add("untidy", "0 0 1 1 *", command, "");
    for count in 1..=3 {
        scene.execute("SELECT opdb.run_job('untidy')");
        scene.wait_until("SELECT count(*) FROM opdb.job_runs WHERE status = 'succeeded'", &count.to_string());
    }
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE status <> 'succeeded'"), "0");
}

#[test]
fn a_database_that_is_no_longer_chosen_stops_its_jobs() {
    let mut scene = Scene::alone();
    scene.add("tick", "every 1 second", "SELECT 1", "");
    scene.wait_until("SELECT count(*) >= 2 FROM opdb.job_runs", "t");
    scene.execute("ALTER SYSTEM SET opdb.databases = '\"a,b\", elsewhere'");
    scene.execute("SELECT pg_reload_conf()");
    wait_for(|| {
        let dispatchers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'opdb dispatcher' AND datname = current_database()";
        (scene.text(dispatchers) == "0").then_some(())
    });
    let before = scene.text("SELECT count(*) FROM opdb.job_runs");
    scene.execute("SELECT pg_sleep(3)");
    let after = scene.text("SELECT count(*) FROM opdb.job_runs");
    scene.execute("ALTER SYSTEM RESET opdb.databases");
    scene.execute("SELECT pg_reload_conf()");
    assert_eq!(before, after);
    scene.wait_until(&format!("SELECT count(*) > {after} FROM opdb.job_runs"), "t");
}

#[test]
fn what_a_crash_left_does_not_hide_that_nobody_runs_the_job() {
    let mut scene = Scene::new();
    scene.add("left", "0 0 1 1 *", "SELECT 1", "");
    scene.execute(
        "INSERT INTO opdb.job_run (job_id, name, role, scheduled_at, attempt, started_at, status)
         SELECT job_id, name, role, now(), 1, now(), 'running' FROM opdb.job;
         UPDATE opdb.job SET runner = 'worker', enabled = true",
    );
    // A dispatcher would settle it; without one it stands there. A role's lock is what tells.
    let overdue = "SELECT overdue FROM (SELECT * FROM opdb.jobs) j";
    scene.execute("BEGIN; UPDATE opdb.job_state SET next_run_at = now() - interval '2 minutes'");
    assert_eq!(scene.text(overdue), "t");
    scene.execute("ROLLBACK");
}

#[test]
fn a_role_that_has_come_to_the_name_is_another_one() {
    let mut scene = Scene::new();
    let role = format!("bob_{}", scene.name);
    scene.execute(&format!("CREATE ROLE {role} LOGIN"));
    scene.add("old", "0 0 1 1 *", "SELECT 1", &format!(r#""role": "{role}""#));
    scene.execute(&format!("DROP ROLE {role}; CREATE ROLE {role} LOGIN SUPERUSER"));
    // Nothing but adding it anew gives it another role.
    scene
        .execute("SELECT opdb.disable_job('old'); SELECT opdb.enable_job('old'); SELECT opdb.run_job('old')");
    let (status, detail) = scene.outcome("old");
    assert_eq!(status, "failed");
    assert!(detail.contains("not the one that the job was added for"), "{detail}");
}

#[test]
fn membership_without_the_right_to_become_is_not_enough() {
    let mut scene = Scene::new();
    if scene.text("SELECT current_setting('server_version_num')::int < 160000") == "t" {
        return; // Every member may SET ROLE there.
    }
    let (member, boss) = (format!("member_{}", scene.name), format!("boss_{}", scene.name));
    scene.execute(&format!(
        "CREATE ROLE {boss} LOGIN; CREATE ROLE {member} LOGIN PASSWORD 'x'; GRANT opdb_operator TO {member};
         GRANT {boss} TO {member} WITH INHERIT FALSE, SET FALSE"
    ));
    scene.add("of the boss", "0 0 1 1 *", "SELECT 1", &format!(r#""role": "{boss}""#));
    let mut session = server().connect(&scene.name, &member, "x").unwrap();
    let add = format!(r#"SELECT opdb.add_job('x', '@daily', 'SELECT 1', options => '{{"role": "{boss}"}}')"#);
    assert_eq!(refused(&mut session, &add).0, "42501");
    assert_eq!(refused(&mut session, "SELECT opdb.run_job('of the boss')").0, "42501");
}
