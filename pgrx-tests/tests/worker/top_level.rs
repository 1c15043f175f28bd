//! What runs only at top level, and what is left when it is interrupted.

use crate::fixture::{Scene, execute};

#[test]
fn what_runs_in_no_function_runs_as_a_job() {
    let mut scene = Scene::new();
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.t (id int PRIMARY KEY, a int);
         INSERT INTO work.t SELECT n, n FROM generate_series(1, 1000) n;
         CREATE TABLE work.p (d int) PARTITION BY RANGE (d);
         CREATE TABLE work.p1 PARTITION OF work.p FOR VALUES FROM (0) TO (10);
         CREATE TABLE work.steps (n int, xid xid8);
         CREATE PROCEDURE work.committing() LANGUAGE plpgsql AS $$ BEGIN
             FOR n IN 1..3 LOOP INSERT INTO work.steps VALUES (n, pg_current_xact_id()); COMMIT; END LOOP;
         END $$",
    );
    for (name, command, check) in [
        (
            "vacuum",
            "VACUUM (ANALYZE) work.t",
            "SELECT last_vacuum IS NOT NULL FROM pg_stat_all_tables WHERE relid = 'work.t'::regclass",
        ),
        (
            "analyze",
            "ANALYZE work.t",
            "SELECT last_analyze IS NOT NULL FROM pg_stat_all_tables WHERE relid = 'work.t'::regclass",
        ),
        (
            "create",
            "CREATE INDEX CONCURRENTLY t_a ON work.t (a)",
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'work.t_a'::regclass",
        ),
        (
            "reindex",
            "REINDEX INDEX CONCURRENTLY work.t_a",
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'work.t_a'::regclass",
        ),
        (
            "detach",
            "ALTER TABLE work.p DETACH PARTITION work.p1 CONCURRENTLY",
            "SELECT NOT relispartition FROM pg_class WHERE oid = 'work.p1'::regclass",
        ),
        ("call", "CALL work.committing()", "SELECT count(*) = 3 AND count(DISTINCT xid) = 3 FROM work.steps"),
        ("select", "SELECT * FROM work.t", "SELECT true"),
        ("explain", "EXPLAIN SELECT * FROM work.t", "SELECT true"),
        ("drop", "DROP INDEX CONCURRENTLY work.t_a", "SELECT to_regclass('work.t_a') IS NULL"),
    ] {
        scene.run_now(name, command, "");
        let (status, detail) = scene.outcome(name);
        assert_eq!(status, "succeeded", "{name}: {detail}");
        scene.wait_until(check, "t");
    }
    assert_eq!(scene.text("SELECT count(*) FROM opdb.job_runs WHERE status <> 'succeeded'"), "0");
}

#[test]
fn an_index_left_invalid_is_built_anew() {
    let mut scene = Scene::new();
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.t (a int, b int); INSERT INTO work.t SELECT n % 10, n FROM generate_series(1, 100) n",
    );
    // A unique index that cannot be: it fails, and stays.
    for (name, command) in [
        ("named", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_u ON work.t (a)"),
        ("unnamed", "CREATE UNIQUE INDEX CONCURRENTLY ON work.t (a)"),
    ] {
        scene.run_now(name, command, "");
        assert_eq!(scene.outcome(name).0, "failed");
    }
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indrelid = 'work.t'::regclass";
    assert_eq!(scene.text(invalid), "2");
    scene.execute("UPDATE work.t SET a = b");
    for name in ["named", "unnamed"] {
        scene.execute(&format!("SELECT opdb.run_job('{name}')"));
        scene.wait_until(&format!("SELECT last_status FROM opdb.jobs WHERE name = '{name}'"), "succeeded");
        let (_, detail) = scene.outcome(name);
        assert!(
            detail.starts_with("left by an interrupted run, repaired: DROP INDEX CONCURRENTLY work."),
            "{detail}"
        );
    }
    assert_eq!(scene.text(invalid), "0");
    assert_eq!(scene.text("SELECT count(*) FROM pg_index WHERE indrelid = 'work.t'::regclass"), "2");
}

#[test]
fn a_reindex_cut_short_leaves_nothing_for_long() {
    let mut scene = Scene::new();
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.t (a int); CREATE INDEX t_a ON work.t (a); INSERT INTO work.t VALUES (1)",
    );
    // A reader's transaction keeps it waiting with the new index built.
    let mut reader = scene.session();
    execute(&mut reader, "BEGIN; SELECT * FROM work.t");
    scene.run_now("reindex", "REINDEX TABLE CONCURRENTLY work.t", "");
    let pid = scene.pid_of("reindex");
    scene.wait_until("SELECT count(*) FROM pg_class WHERE relname LIKE 't\\_a\\_cc%'", "1");
    scene.execute(&format!("SELECT pg_cancel_backend({pid})"));
    assert_eq!(scene.outcome("reindex").0, "failed");
    assert_eq!(scene.text("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "1");
    drop(reader);
    scene.execute("SELECT opdb.run_job('reindex')");
    scene.wait_until("SELECT last_status FROM opdb.jobs", "succeeded");
    assert_eq!(
        scene.text("SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE 't\\_a%'"),
        "t_a"
    );
}

#[test]
fn a_detach_cut_short_is_finished() {
    let mut scene = Scene::new();
    execute(
        &mut scene.as_role(),
        "CREATE TABLE work.p (d int) PARTITION BY RANGE (d);
         CREATE TABLE work.\"P 1\" PARTITION OF work.p FOR VALUES FROM (0) TO (10)",
    );
    let mut reader = scene.session();
    execute(&mut reader, "BEGIN; SELECT * FROM work.p");
    scene.run_now("detach", "ALTER TABLE work.p DETACH PARTITION work.\"P 1\" CONCURRENTLY", "");
    let pid = scene.pid_of("detach");
    scene.wait_until("SELECT count(*) FROM pg_inherits WHERE inhdetachpending", "1");
    scene.execute(&format!("SELECT pg_terminate_backend({pid})"));
    scene.wait_until("SELECT last_status FROM opdb.jobs", "interrupted");
    drop(reader);
    scene.execute("SELECT opdb.run_job('detach')");
    scene.wait_until("SELECT last_status FROM opdb.jobs", "succeeded");
    assert_eq!(scene.text("SELECT relispartition FROM pg_class WHERE relname = 'P 1'"), "f");
}

#[test]
fn an_index_that_somebody_may_be_building_is_no_leftover() {
    let mut scene = Scene::new();
    execute(&mut scene.as_role(), "CREATE TABLE work.t (a int); INSERT INTO work.t VALUES (1), (1)");
    let mut builder = scene.as_role();
    assert!(builder.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY t_u ON work.t (a)").is_err());
    let index = "SELECT indexrelid FROM pg_index WHERE indrelid = 'work.t'::regclass AND NOT indisvalid";
    let before = scene.text(index);
    // What building it would hold.
    execute(&mut builder, "BEGIN; LOCK TABLE work.t IN SHARE UPDATE EXCLUSIVE MODE");
    scene.run_now("same", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_u ON work.t (a)", "");
    let pid = scene.pid_of("same");
    scene.wait_until(&format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted"), "1");
    execute(&mut builder, "COMMIT");
    assert_eq!(scene.outcome("same"), ("succeeded".into(), "NULL".into()));
    assert_eq!(scene.text(index), before);
}
