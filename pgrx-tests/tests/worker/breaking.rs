//! Whatever breaks: a process, the server, the disk, the extension, the database.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::fixture::{Scene, another_server, execute, rows, server, text, wait_for};

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
    assert!(took < Duration::from_secs(10), "{took:?}");
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
    let mut other = Scene::new();
    let mut scene = other.also_in_a_new_one();
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

/// A file system of a few megabytes, which goes with this value.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Only root can make one.
    fn mount() -> Option<Self> {
        if !opdb_e2e::cluster::is_root().unwrap() {
            println!("without a full disk: only root can make a small one");
            return None;
        }
        let dir = opdb_e2e::cluster::temporary_directory().unwrap();
        let script = r#"mount -t tmpfs -o "size=32m,mode=0700,uid=$(id -u postgres)" tmpfs "$1""#;
        let mounted = Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).status().unwrap();
        if !mounted.success() {
            println!("without a full disk: this system lets nobody mount one");
            return None;
        }
        Some(Self { dir })
    }
}

impl SmallDisk {
    /// A directory on it that belongs to the server.
    fn directory(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let given = Command::new("chown").arg("postgres").arg(&path).status().unwrap();
        assert!(given.success());
        path.display().to_string()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: after a failed test the server still has files open there.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[test]
fn on_a_full_disk_nothing_is_lost() {
    let Some(disk) = SmallDisk::mount() else { return };
    // What can be given up later, to make room.
    let ballast = disk.dir.path().join("ballast");
    std::fs::write(&ballast, vec![b'x'; 4 << 20]).unwrap();
    let cluster = another_server();
    let mut admin = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut admin, &format!("CREATE TABLESPACE small LOCATION '{}'", disk.directory("space")));
    execute(&mut admin, "CREATE DATABASE on_small_disk TABLESPACE small");
    let mut scene = Scene::on(cluster, "on_small_disk");
    scene.add("good", "0 0 1 1 *", "SELECT 1", "");
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.big (filler text); ALTER TABLE work.big ALTER filler SET STORAGE plain",
    );
    scene.run_now("fill", "INSERT INTO work.big SELECT repeat('x', 7000) FROM generate_series(1, 10000)", "");
    let (status, _) = scene.outcome("fill");
    assert_eq!(
        (status.as_str(), scene.text("SELECT sqlstate FROM opdb.job_runs").as_str()),
        ("failed", "53100")
    );
    // No room for another run either: its last page is filled, and there is none to add.
    for rows in [1000, 20, 1] {
        let filler = format!(
            "INSERT INTO opdb.job_run (job_id, name, role, scheduled_at, attempt, started_at, status)
             SELECT 0, 'filler', 'etl', now(), 1, now(), 'failed' FROM generate_series(1, {rows})"
        );
        while scene.client.batch_execute(&filler).is_ok() {}
    }
    scene.execute("SELECT opdb.run_job('good')");
    wait_for(|| cluster.log().contains("the dispatcher failed and will try again").then_some(()));
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE name = 'good'"), "0");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(scene.outcome("good").0, "succeeded");
    drop((scene, admin));
    cluster.stop().unwrap();
}

#[test]
fn the_ready_made_jobs_keep_tables_in_order() {
    let mut scene = Scene::new();
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.t (a int) WITH (autovacuum_enabled = off); INSERT INTO work.t SELECT generate_series(1, 1000); DELETE FROM work.t",
    );
    scene.execute(r#"SELECT opdb.add_maintenance_jobs('00:00', '23:59:59', options => '{"role": "power", "max_active": 50}')"#);
    for (name, needed) in [("opdb vacuum daily", "1 of 1"), ("opdb vacuum weekly", " of ")] {
        // Both may run at any time of the day.
        let vacuumed = "SELECT vacuum_count FROM pg_stat_user_tables WHERE relid = 'work.t'::regclass";
        let before: i32 = scene.text(vacuumed).parse().unwrap();
        scene.wait_until(
            "SELECT count(*) > 0 FROM opdb.vacuum_plan(true) WHERE table_name = 'work.t'::regclass",
            "t",
        );
        scene.execute(&format!("SELECT opdb.run_job('{name}')"));
        let (status, detail) = scene.outcome(name);
        assert_eq!(status, "succeeded", "{detail}");
        assert!(detail.contains(needed) || name.ends_with("daily"), "{name}: {detail}");
        scene.wait_until(vacuumed, &(before + 1).to_string());
    }
    let jobs =
        rows(&mut scene.client, "SELECT name, schedule, window_end, gexec FROM opdb.jobs ORDER BY name");
    assert_eq!(
        jobs,
        [
            ["opdb vacuum daily", "0 0 * * 1-6", "23:59:59", "t"],
            ["opdb vacuum weekly", "0 0 * * 0", "23:59:59", "t"],
        ]
    );
}

#[test]
fn a_busy_server_is_given_time() {
    let mut scene = Scene::alone();
    let mut client = scene.session();
    let busy = std::thread::spawn(move || client.batch_execute("SELECT pg_sleep(3)"));
    scene.wait_until(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3)' AND state = 'active'",
        "1",
    );
    scene.run_now("polite", "SELECT 'SELECT 1' AS command", r#""gexec": true, "max_active": 0"#);
    scene.wait_until(
        "SELECT query FROM pg_stat_activity WHERE application_name = 'opdb job polite'",
        "waiting for fewer active sessions",
    );
    busy.join().unwrap().unwrap();
    // Nobody may be at work when it looks, this test neither.
    let outcome = wait_for(|| {
        std::thread::sleep(Duration::from_secs(2));
        let status = scene.text("SELECT last_status FROM opdb.jobs");
        (status != "running").then_some(status)
    });
    assert_eq!(outcome, "succeeded");
}
