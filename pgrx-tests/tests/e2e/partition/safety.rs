//! What must not happen: rights that leak, data that is lost, holds that do not hold.

use std::thread;
use std::time::Duration;

use super::{maintain, names, new_session, status};
use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

/// A stray of three days ago in the default partition of a table whose CHECK calls a function.
fn table_with_code(owner: &str, body: &str) -> String {
    format!(
        "CREATE SCHEMA his AUTHORIZATION {owner}; SET ROLE {owner};
         CREATE FUNCTION his.f(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {body} RETURN true; END $$;
         CREATE TABLE his.t (at date NOT NULL, v int CHECK (his.f(v))) PARTITION BY RANGE (at);
         CREATE TABLE his.t_default PARTITION OF his.t DEFAULT;
         CREATE TABLE his.t_old PARTITION OF his.t FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
         SELECT opdb.manage_partitions('his.t', premake => 0); INSERT INTO his.t VALUES (current_date - 3, 1);
         RESET ROLE"
    )
}

#[test]
fn an_owners_code_has_no_rights_of_a_replica_and_leaves_no_setting() {
    let owner = role(&servers().test, &["opdb_operator"]);
    let (mut client, _) = new_session();
    execute(
        &mut client,
        &format!(
            "CREATE TABLE ledger (amount int); GRANT INSERT ON ledger TO {owner};
             CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'forbidden'; END $$;
             CREATE TRIGGER forbid BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION forbid();
             CREATE TABLE seen (role text); GRANT INSERT ON seen TO {owner}"
        ),
    );
    let body = "PERFORM pg_catalog.set_config('search_path', 'his', false); PERFORM pg_catalog.set_config('statement_timeout', '77s', false);
        INSERT INTO public.seen VALUES (pg_catalog.current_setting('session_replication_role'));
        BEGIN INSERT INTO public.ledger VALUES (1000000); EXCEPTION WHEN OTHERS THEN NULL; END;";
    execute(&mut client, &table_with_code(&owner, body));
    let before =
        text(&mut client, "SELECT current_setting('search_path') || current_setting('statement_timeout')");
    execute(&mut client, "SELECT opdb.run_partitions('his.t')");
    assert_eq!(
        text(&mut client, "SELECT current_setting('search_path') || current_setting('statement_timeout')"),
        before
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY his.t_default"), "0", "it was moved");
    assert_eq!(text(&mut client, "SELECT string_agg(DISTINCT role, ',') FROM public.seen"), "origin");
    assert_eq!(text(&mut client, "SELECT count(*) FROM public.ledger"), "0");
}

#[test]
fn somebody_elses_operators_are_not_called() {
    let other = role(&servers().test, &[]);
    let (mut client, _) = new_session();
    execute(
        &mut client,
        &format!(
            "GRANT CREATE ON SCHEMA public TO {other}; SET ROLE {other};
             CREATE TABLE caught (who text); GRANT INSERT ON caught TO PUBLIC;
             CREATE FUNCTION trap(jsonb[], jsonb) RETURNS jsonb[] LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user); RETURN pg_catalog.array_append($1, $2); END $$;
             CREATE OPERATOR || (LEFTARG = jsonb[], RIGHTARG = jsonb, FUNCTION = trap);
             CREATE FUNCTION trap(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user); RETURN true; END $$;
             CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = trap);
             CREATE FUNCTION trap(float8, numeric) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user); RETURN 0; END $$;
             CREATE OPERATOR * (LEFTARG = float8, RIGHTARG = numeric, FUNCTION = trap);
             RESET ROLE;
             CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at); SELECT opdb.manage_partitions('t', premake => 0);
             UPDATE opdb.partition_set SET premake = 2; CREATE TABLE plain (id int, at timestamptz, PRIMARY KEY (id, at))"
        ),
    );
    maintain(&mut client);
    execute(&mut client, "CALL opdb.partition_table('plain', 'at')");
    assert_eq!(text(&mut client, "SELECT count(*) FROM caught"), "0");
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.partition_runs"), "2");
}

#[test]
fn what_drift_advises_is_nobodys_sql() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at); SELECT opdb.manage_partitions('t', premake => 0);
           CREATE INDEX "x USING btree (at); DROP TABLE t; --" ON ONLY t (at);
           CREATE POLICY p ON t USING (true)"#,
    );
    let ddl = text(&mut client, "SELECT ddl FROM opdb.partition_drift('t') WHERE aspect = 'indexes'");
    assert!(ddl.ends_with(" USING btree (at)") && !ddl.contains("DROP"), "{ddl}");
    // A policy that was made stricter is a difference, too.
    let policies = text(&mut client, "SELECT ddl FROM opdb.partition_drift('t') WHERE aspect = 'policies'");
    execute(&mut client, &policies);
    execute(&mut client, "ALTER POLICY p ON t USING (at > '2020-01-01')");
    let policies = text(&mut client, "SELECT ddl FROM opdb.partition_drift('t') WHERE aspect = 'policies'");
    execute(&mut client, &policies);
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM opdb.partition_drift('t') WHERE aspect = 'policies'"),
        "0"
    );
}

/// A partition of January 2020 that retention drops.
const OLD: &str = "
    CREATE TABLE t (at date NOT NULL, v int) PARTITION BY RANGE (at);
    CREATE TABLE t_old PARTITION OF t FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
    SELECT opdb.manage_partitions('t', premake => 0, retention => '30 days', retention_action => 'drop');
    INSERT INTO t VALUES ('2020-01-05', 1);";

/// Runs retention while `other` is in a transaction that it commits a moment later.
fn run_meanwhile(client: &mut postgres::Client, name: &str, other: &str) {
    let mut session = on_test(name);
    execute(&mut session, &format!("BEGIN; {other}"));
    thread::scope(|scope| {
        let run = scope.spawn(|| execute(client, "SELECT opdb.run_partitions('t')"));
        thread::sleep(Duration::from_millis(600));
        execute(&mut session, "COMMIT");
        run.join().unwrap();
    });
}

#[test]
fn what_changed_while_a_lock_was_waited_for_is_not_dropped() {
    for (other, kept) in [
        (
            "ALTER TABLE t ATTACH PARTITION t_old FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')",
            "SELECT count(*) FROM t",
        ),
        (
            "ALTER TABLE t_old RENAME TO kept; CREATE TABLE t_old AS SELECT 1 AS one",
            "SELECT (SELECT count(*) FROM kept) * (SELECT count(*) FROM t_old)",
        ),
    ] {
        let (mut client, name) = new_session();
        execute(&mut client, OLD);
        let tasks = rows(&mut client, "SELECT task FROM opdb.partition_tasks('t', 'retire')").concat();
        execute(&mut client, &format!("SELECT opdb.run_partition_task('t', '{}', false)", tasks[0]));
        run_meanwhile(&mut client, &name, other);
        assert_eq!(text(&mut client, kept), "1", "{other}");
    }
}

#[test]
fn a_hold_holds_for_parts_and_wholes_in_every_isolation_level() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE top (at date NOT NULL, v int) PARTITION BY LIST (v);
         CREATE TABLE t PARTITION OF top FOR VALUES IN (1) PARTITION BY RANGE (at);
         CREATE TABLE t_old PARTITION OF t FOR VALUES FROM ('2020-01-01') TO ('2020-02-01') PARTITION BY RANGE (at);
         CREATE TABLE t_part PARTITION OF t_old DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 0, retention => '30 days', retention_action => 'drop')",
    );
    for held in ["t_part", "t_old", "t", "top"] {
        execute(&mut client, &format!("SELECT opdb.hold_partitions('{held}', 'case')"));
        execute(&mut client, "SELECT opdb.run_partitions('t')");
        assert!(names(&mut client, "t").contains(&"t_old".to_owned()), "{held}");
        execute(&mut client, &format!("SELECT opdb.release_partitions('{held}')"));
    }
    execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM opdb.partition_set");
    execute(&mut on_test(&name), "SELECT opdb.hold_partitions('t_old', 'case')");
    execute(&mut client, "SELECT opdb.run_partitions('t'); COMMIT");
    assert!(names(&mut client, "t").contains(&"t_old".to_owned()));
    // A hold that is placed during a run comes before it, or after it and says so.
    execute(&mut client, "SELECT opdb.release_partitions('t_old'); BEGIN; SELECT opdb.run_partitions('t')");
    let mut other = on_test(&name);
    execute(&mut other, "SET lock_timeout = '10s'");
    let refusal = refused(&mut other, "SELECT opdb.hold_partitions('t_old', 'case')");
    assert_eq!(refusal.sqlstate, "55P03", "{refusal:?}");
    execute(&mut client, "COMMIT");
    assert!(!names(&mut client, "t").contains(&"t_old".to_owned()));
}

#[test]
fn what_was_detached_is_dropped_only_by_what_is_configured_now() {
    let (mut client, _) = new_session();
    execute(&mut client, OLD);
    execute(
        &mut client,
        "SELECT opdb.run_partition_task('t', (SELECT task FROM opdb.partition_tasks('t', 'retire') LIMIT 1), false)",
    );
    assert_eq!(status(&mut client, "t", "unfinished"), "1");
    execute(
        &mut client,
        "SELECT opdb.manage_partitions('t', premake => 0, retention => '100 years', retention_action => 'drop')",
    );
    execute(&mut client, "SELECT opdb.run_partitions('t')");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t_old"), "1");
    execute(
        &mut client,
        "SELECT opdb.unmanage_partitions('t'); SELECT opdb.manage_partitions('t', premake => 0, retention => '30 days', retention_action => 'drop')",
    );
    execute(&mut client, "SELECT opdb.run_partitions('t')");
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM t_old"),
        "1",
        "whoever ended the management took it over"
    );
    assert_eq!(status(&mut client, "t", "unfinished"), "0");
}

#[test]
fn one_high_id_retires_nothing() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE TABLE t (id bigint NOT NULL) PARTITION BY RANGE (id);
           SELECT opdb.manage_partitions('t', premake => 7, retention_action => 'drop', options => '{"width": 1000, "retention_width": 1000}');
           INSERT INTO t SELECT generate_series(1, 500); INSERT INTO t VALUES (7999); SELECT opdb.run_partitions('t')"#,
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "501");
    execute(&mut client, "INSERT INTO t SELECT generate_series(501, 3500); SELECT opdb.run_partitions('t')");
    assert_eq!(text(&mut client, "SELECT min(id) FROM t"), "2000");
}

#[test]
fn rows_that_a_trigger_would_skip_are_moved_all_the_same() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN new.v <> 7 THEN new END; END $$;
         CREATE TABLE t (at date NOT NULL, v int) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         CREATE TABLE t_last PARTITION OF t FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');
         CREATE TRIGGER skip BEFORE INSERT ON t_last FOR EACH ROW EXECUTE FUNCTION skip();
         ALTER TABLE t_last ENABLE ALWAYS TRIGGER skip;
         CREATE TRIGGER odd AFTER DELETE ON t_default FOR EACH ROW EXECUTE FUNCTION skip();
         ALTER TABLE t_default ENABLE REPLICA TRIGGER odd;
         INSERT INTO t SELECT current_date - 3, i FROM generate_series(1, 10) i;
         SELECT opdb.manage_partitions('t', premake => 0); SELECT opdb.run_partitions('t')",
    );
    assert_eq!(
        text(&mut client, "SELECT count(*) || ' ' || (SELECT count(*) FROM ONLY t_default) FROM t"),
        "10 0"
    );
    assert_eq!(
        text(&mut client, "SELECT tgenabled FROM pg_trigger WHERE tgrelid = 't_default'::regclass"),
        "R"
    );
}

#[test]
fn a_stray_that_no_calendar_knows_stops_nothing() {
    for (key, options, stray) in [
        ("bigint", r#"{"unit": "s"}"#, "1700000000000000"),
        ("date", "{}", "'5874897-12-31'"),
        ("timestamptz", "{}", "'294276-12-31'"),
        ("timestamptz", "{}", "'-infinity'"),
    ] {
        let (mut client, _) = new_session();
        execute(
            &mut client,
            &format!(
                "CREATE TABLE t (k {key}) PARTITION BY RANGE (k); CREATE TABLE t_default PARTITION OF t DEFAULT;
                 SELECT opdb.manage_partitions('t', premake => 0, options => '{options}'); INSERT INTO t VALUES ({stray});
                 UPDATE opdb.partition_set SET premake = 1; UPDATE opdb.partition_state SET due_at = NULL"
            ),
        );
        maintain(&mut client);
        assert_eq!(names(&mut client, "t").len(), 3, "{stray}");
        assert_eq!(status(&mut client, "t", "default_rows || last_status"), "1done", "{stray}");
    }
}

#[test]
fn what_cannot_be_archived_is_not_detached_and_the_end_of_a_key_is_told() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE SCHEMA a; CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at);
           CREATE TABLE t_old PARTITION OF t FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
           SELECT opdb.manage_partitions('t', premake => 0, retention => '30 days', retention_action => 'archive', options => '{"archive_schema": "a"}');
           CREATE TABLE a.t_old (); SELECT opdb.run_partitions('t');
           CREATE TABLE s (id smallint NOT NULL) PARTITION BY RANGE (id);
           SELECT opdb.manage_partitions('s', premake => 2, options => '{"width": 10000}');
           INSERT INTO s VALUES (15000); SELECT opdb.run_partitions('s')"#,
    );
    assert!(names(&mut client, "t").contains(&"t_old".to_owned()));
    assert!(status(&mut client, "t", "last_error").contains("schema a has a relation t_old already"));
    let told = status(&mut client, "s", "last_error");
    assert!(told.contains("of type smallint, end before the partition from 30000"), "{told}");
}

#[test]
fn a_gap_of_partitions_keeps_ids_and_a_hold_keeps_strays() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE TABLE t (id bigint NOT NULL) PARTITION BY RANGE (id);
           CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (1000);
           CREATE TABLE t_far PARTITION OF t FOR VALUES FROM (1000000) TO (1001000);
           INSERT INTO t VALUES (1), (1000000);
           SELECT opdb.manage_partitions('t', premake => 1, retention_action => 'drop', options => '{"width": 1000, "retention_width": 5000}');
           CREATE TABLE s (at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE s_default PARTITION OF s DEFAULT;
           SELECT opdb.manage_partitions('s', premake => 0); INSERT INTO s VALUES (current_date - 3);
           SELECT opdb.hold_partitions('s_default', 'court'); SELECT opdb.run_partitions()"#,
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "2");
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY s_default"), "1");
}

#[test]
fn no_code_of_an_owner_runs_while_foreign_keys_are_off() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT; SELECT opdb.manage_partitions('t', premake => 0);
         INSERT INTO t VALUES (1, current_date - 3, 'x'), (3, '2099-01-01', 'referenced');
         CREATE TABLE bill (id int, at date, FOREIGN KEY (id, at) REFERENCES t); INSERT INTO bill VALUES (3, '2099-01-01');
         CREATE FUNCTION evil(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN IF $1 = 'x' THEN DELETE FROM t_default WHERE id = 3; END IF; RETURN true; END $$;
         ALTER TABLE t ADD CONSTRAINT evil CHECK (evil(v)) NOT VALID",
    );
    let run = rows(&mut client, "SELECT status, detail FROM opdb.run_partitions('t')");
    assert!(run[0][0] == "failed" && run[0][1].contains("constraint evil"), "{run:?}");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "2");
    execute(&mut client, "ALTER TABLE t DROP CONSTRAINT evil; SELECT opdb.run_partitions('t')");
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "1");
    let off = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 't_default'::regclass AND tgenabled = 'D'";
    assert_eq!(text(&mut client, off), "0");
    assert_eq!(refused(&mut client, "DELETE FROM t WHERE id = 3").sqlstate, "23503");
}

#[test]
fn an_owner_who_raises_a_cancel_ends_nobody_elses_run() {
    let owner = role(&servers().test, &["opdb_operator"]);
    let (mut client, _) = new_session();
    let body = "IF pg_catalog.current_query() LIKE 'CALL%' THEN
        RAISE SQLSTATE '57014' USING MESSAGE = 'cancelled, it says'; END IF;";
    execute(&mut client, &table_with_code(&owner, body));
    execute(
        &mut client,
        "CREATE TABLE z (at date NOT NULL) PARTITION BY RANGE (at); SELECT opdb.manage_partitions('z', premake => 0);
         UPDATE opdb.partition_set SET premake = 1; UPDATE opdb.partition_state SET due_at = NULL",
    );
    maintain(&mut client);
    let errors = "SELECT parent, last_status, last_error LIKE '%cancelled, it says%' FROM opdb.partition_status ORDER BY 1";
    assert_eq!(rows(&mut client, errors), [["his.t", "failed", "t"], ["z", "done", "NULL"]]);
    assert_eq!(names(&mut client, "z").len(), 2);
    // A real one does.
    execute(&mut client, "UPDATE opdb.partition_state SET due_at = NULL; SET statement_timeout = 1");
    let sqlstate =
        refused(&mut client, "SELECT opdb.run_partitions() FROM generate_series(1, 1000)").sqlstate;
    assert_eq!(sqlstate, "57014");
}

#[test]
fn rows_that_subscribers_would_lose_are_not_moved() {
    let production = &servers().production;
    let mut client = production.connect_as_superuser(&database(production)).unwrap();
    execute(
        &mut client,
        "CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 0); INSERT INTO t VALUES (current_date - 3);
         CREATE PUBLICATION inserts FOR TABLE t WITH (publish = 'insert'); CREATE PUBLICATION \"the rows\" FOR TABLE t",
    );
    let plan = "SELECT note FROM opdb.plan_partitions('t') WHERE action = 'move_rows'";
    assert!(text(&mut client, plan).contains("\"the rows\""));
    maintain(&mut client);
    let error = "SELECT last_error FROM opdb.partition_status";
    assert!(text(&mut client, error).contains("publication \"the rows\""), "{}", text(&mut client, error));
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "1");
    execute(&mut client, "DROP PUBLICATION \"the rows\"");
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
}

#[test]
fn foreign_keys_to_a_partitioned_table_and_to_the_table_itself_survive_a_move() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE ref (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE ref1 PARTITION OF ref FOR VALUES FROM (0) TO (100); CREATE TABLE ref2 PARTITION OF ref FOR VALUES FROM (100) TO (200);
         INSERT INTO ref VALUES (1), (101);
         CREATE TABLE t (id int, at date, r int REFERENCES ref ON DELETE CASCADE ON UPDATE CASCADE, up int, up_at date,
             PRIMARY KEY (id, at), FOREIGN KEY (up, up_at) REFERENCES t) PARTITION BY RANGE (at);
         CREATE TABLE t_default PARTITION OF t DEFAULT; SELECT opdb.manage_partitions('t', premake => 1);
         INSERT INTO t SELECT g, current_date - 3, 1, NULLIF(g - 1, 0), CASE WHEN g > 1 THEN current_date - 3 END FROM generate_series(1, 10) g;
         SELECT opdb.run_partitions()",
    );
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
    let keys = "SELECT string_agg(DISTINCT confrelid::regclass::text, ' ' ORDER BY confrelid::regclass::text) FROM pg_constraint
                WHERE contype = 'f' AND conparentid = 0 AND conrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 't'::regclass)";
    assert_eq!(text(&mut client, keys), "NULL", "no partition has a key of its own");
    execute(&mut client, "UPDATE ref SET id = 150 WHERE id = 1");
    assert_eq!(text(&mut client, "SELECT count(*) || ' ' || min(r) FROM t"), "10 150");
    execute(&mut client, "INSERT INTO t VALUES (11, current_date - 3, 101)");
    assert_eq!(refused(&mut client, "DELETE FROM t WHERE id = 5").sqlstate, "23503");
    execute(&mut client, "DELETE FROM ref WHERE id = 101");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "10");
}

#[test]
fn what_is_altered_while_a_lock_is_waited_for_counts() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at date, a text) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 0); INSERT INTO t VALUES (current_date - 3, 'a');
         UPDATE opdb.partition_set SET premake = 1",
    );
    let mut other = on_test(&name);
    // What is to be done is seen, and cannot be done yet.
    execute(&mut other, "BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE");
    let runner = thread::spawn(move || {
        maintain(&mut client);
        client
    });
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'CALL opdb.run%' AND state = 'active' AND datname = current_database()";
    // Within a transaction it would not change any more.
    let mut looker = on_test(&name);
    while text(&mut looker, waits) != "t" {}
    thread::sleep(Duration::from_millis(300));
    execute(
        &mut other,
        "ALTER TABLE t ADD COLUMN b int; UPDATE t SET b = 7; ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON t USING (true); COMMIT",
    );
    let mut client = runner.join().unwrap();
    assert_eq!(status(&mut client, "t", "last_error"), "NULL");
    assert_eq!(text(&mut client, "SELECT b FROM t"), "7");
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
    let made = "SELECT count(*) FROM pg_policies JOIN pg_class c ON relname = tablename AND relrowsecurity WHERE tablename ~ '^t_2'";
    assert_eq!(text(&mut client, made), "2", "that of three days ago, and tomorrow's");
}

#[test]
fn a_locked_table_with_a_policy_does_not_stop_the_others() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE a (at date NOT NULL) PARTITION BY RANGE (at); CREATE POLICY p ON a USING (at IS NOT NULL);
         CREATE TABLE b (at date NOT NULL) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions(t, premake => 0) FROM unnest('{a,b}'::regclass[]) t; UPDATE opdb.partition_set SET premake = 1;
         UPDATE opdb.partition_state SET due_at = NULL",
    );
    let mut other = on_test(&name);
    execute(&mut other, "BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE");
    execute(&mut client, "SET statement_timeout = '60s'");
    maintain(&mut client);
    assert!(status(&mut client, "a", "last_blockers").contains("AccessExclusiveLock"));
    execute(&mut client, "SELECT * FROM opdb.plan_partitions()");
    execute(&mut other, "COMMIT");
    assert_eq!((names(&mut client, "a").len(), names(&mut client, "b").len()), (1, 2));
}

#[test]
fn rows_move_while_writers_wait() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t'); INSERT INTO t SELECT now() - interval '3 days', g FROM generate_series(1, 20000) g",
    );
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (mut session, stop) = (on_test(&name), std::sync::Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    execute(&mut session, "INSERT INTO t VALUES (now(), 0)");
                }
            })
        })
        .collect();
    maintain(&mut client);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(status(&mut client, "t", "last_error"), "NULL");
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t WHERE v > 0"), "20000");
}

#[test]
fn tables_that_refer_to_it_are_locked_before_it_is() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         CREATE TABLE child (id int, at date, FOREIGN KEY (id, at) REFERENCES t);
         SELECT opdb.manage_partitions('t', premake => 0); UPDATE opdb.partition_set SET premake = 1",
    );
    let locks = "SELECT lock FROM opdb.plan_partitions('t') WHERE action = 'create'";
    let child = "SHARE ROW EXCLUSIVE on public.child; SHARE UPDATE EXCLUSIVE on public.t; ";
    assert!(text(&mut client, locks).starts_with(child), "{}", text(&mut client, locks));
    let mut writer = on_test(&name);
    execute(&mut writer, "BEGIN; INSERT INTO child VALUES (NULL, NULL)");
    let mut reader = on_test(&name);
    execute(&mut reader, "SET lock_timeout = '300 ms'");
    let runner = thread::spawn(move || {
        maintain(&mut client);
        client
    });
    while !runner.is_finished() {
        execute(&mut reader, "SELECT count(*) FROM t");
    }
    let mut client = runner.join().unwrap();
    assert!(status(&mut client, "t", "last_error").contains("could not lock public.child"));
}

#[test]
fn what_could_not_be_dropped_or_archived_is_not_detached() {
    let (mut client, _) = new_session();
    let old = |table: &str, options: &str| {
        format!(
            "CREATE TABLE {table} (id int, at date, PRIMARY KEY (id, at), CHECK (id > 0)) PARTITION BY RANGE (at);
             CREATE TABLE {table}_old PARTITION OF {table} FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
             CREATE POLICY p ON {table}_old USING (id > 1);
             INSERT INTO {table} VALUES (1, '2020-01-05'); SELECT opdb.manage_partitions('{table}', premake => 0, retention => '30 days', {options});"
        )
    };
    let in_archive = r#"retention_action => 'archive', options => '{"archive_schema": "archive"}'"#;
    let drops = "retention_action => 'drop'";
    let sql = [
        "CREATE SCHEMA archive;".to_owned(),
        old("with_view", drops) + "CREATE VIEW v AS SELECT * FROM with_view_old;",
        old("with_key", drops)
            + "CREATE TABLE child (id int, at date, FOREIGN KEY (id, at) REFERENCES with_key_old);",
        old("with_type", drops) + "CREATE TABLE typed (it with_type_old);",
        old("with_index", in_archive)
            + "CREATE TABLE archive.x (a int); CREATE INDEX with_index_old_pkey ON archive.x (a);",
        old("plain", drops),
        old("archived", in_archive),
    ];
    execute(&mut client, &sql.concat());
    maintain(&mut client);
    let errors = "SELECT parent, coalesce(substring(last_error FROM ': (.*?) HINT'), 'none') FROM opdb.partition_status ORDER BY parent::text";
    assert_eq!(
        rows(&mut client, errors),
        [
            ["archived", "none"],
            ["plain", "none"],
            ["with_index", "schema archive has a relation with_index_old_pkey already"],
            ["with_key", "constraint child_id_at_fkey on table public.child depends on it"],
            ["with_type", "column it of table public.typed depends on it"],
            ["with_view", "rule _RETURN on view public.v depends on it"],
        ]
    );
    let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM with_view), (SELECT count(*) FROM with_key), (SELECT count(*) FROM with_index),
        (SELECT count(*) FROM with_type), (SELECT count(*) FROM plain), (SELECT count(*) FROM archive.archived_old), to_regclass('plain_old'))";
    assert_eq!(text(&mut client, counts), "1 1 1 1 0 1");
    let planned = "SELECT count(*) FROM opdb.plan_partitions('with_view') WHERE action IN ('drop', 'finish')";
    assert_eq!(text(&mut client, planned), "0", "what is not detached is not dropped");
}

#[test]
fn code_that_only_looks_built_in_deletes_nothing_that_is_referenced() {
    for code in [
        "ALTER TABLE t ADD CHECK (query_to_xml('SELECT public.evil()', true, true, '') IS NOT NULL) NOT VALID",
        "CREATE DOMAIN dom AS int CHECK (public.evil() IS NOT NULL); ALTER TABLE t_default ADD CHECK ((id::dom) IS NOT NULL) NOT VALID",
        "CREATE RULE r AS ON DELETE TO t_default WHERE old.id = 1 DO ALSO SELECT evil()",
    ] {
        let (mut client, _) = new_session();
        execute(
            &mut client,
            "CREATE TABLE t (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE t_default PARTITION OF t DEFAULT; SELECT opdb.manage_partitions('t', premake => 0);
             INSERT INTO t VALUES (1, current_date - 3), (3, '2099-01-01');
             CREATE TABLE bill (id int, at date, FOREIGN KEY (id, at) REFERENCES t); INSERT INTO bill VALUES (3, '2099-01-01');
             CREATE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.t_default WHERE id = 3; RETURN 1; END $$",
        );
        // A server without libxml has no such function.
        if client.batch_execute("SELECT query_to_xml('SELECT 1', true, true, '')").is_err()
            && code.contains("xml")
        {
            continue;
        }
        execute(&mut client, code);
        maintain(&mut client);
        let error = status(&mut client, "t", "last_error");
        assert!(error.contains("runs code of its owner"), "{code}: {error}");
        assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "2", "{code}");
    }
}

#[test]
fn nobody_is_killed_who_holds_the_table_and_writes_to_another_one() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE ord (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE ord_d PARTITION OF ord DEFAULT;
         CREATE TABLE item (id bigint, at date, FOREIGN KEY (id, at) REFERENCES ord);
         SELECT opdb.manage_partitions('ord', premake => 0)",
    );
    let mut writer = on_test(&name);
    for round in 1..=4 {
        execute(
            &mut client,
            &format!(
                "UPDATE opdb.partition_set SET premake = {round}; UPDATE opdb.partition_state SET due_at = NULL"
            ),
        );
        // He never waits for so long that the server would look for a deadlock.
        execute(
            &mut writer,
            "SET deadlock_timeout = '500ms'; BEGIN; INSERT INTO ord VALUES (1, current_date + 300)",
        );
        let runner = thread::spawn(move || {
            maintain(&mut client);
            client
        });
        thread::sleep(Duration::from_millis(300));
        execute(&mut writer, "INSERT INTO item VALUES (1, current_date + 300)");
        execute(&mut writer, "ROLLBACK");
        client = runner.join().unwrap();
        assert_eq!(status(&mut client, "ord", "last_error"), "NULL");
    }
    assert_eq!(names(&mut client, "ord").len(), 6);
}

#[test]
fn steady_readers_do_not_keep_strays_where_they_are() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at date) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 0); INSERT INTO t SELECT g, current_date - 3 FROM generate_series(1, 100) g",
    );
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (mut session, stop) = (on_test(&name), std::sync::Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(text(&mut session, "SELECT count(*), pg_sleep(0.01) FROM t"), "100");
                }
            })
        })
        .collect();
    maintain(&mut client);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(status(&mut client, "t", "last_error"), "NULL");
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_default"), "0");
}

#[test]
fn what_a_partition_has_of_its_own_does_not_keep_it_from_being_dropped() {
    let owner = role(&servers().test, &[]);
    let (mut client, _) = new_session();
    execute(
        &mut client,
        &format!(
            "CREATE TABLE kind (id int PRIMARY KEY); INSERT INTO kind VALUES (1);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
             CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, at date, kind int REFERENCES kind, twice int GENERATED ALWAYS AS (kind * 2) STORED,
                 PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE child (id int, at date, FOREIGN KEY (id, at) REFERENCES t);
             CREATE TABLE t_old (id int NOT NULL, at date NOT NULL, kind int, twice int GENERATED ALWAYS AS (kind * 2) STORED, CHECK (t_old IS NOT NULL));
             CREATE SEQUENCE own_sequence OWNED BY t_old.kind; ALTER TABLE t_old ALTER kind SET DEFAULT nextval('own_sequence');
             ALTER TABLE t ATTACH PARTITION t_old FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
             CREATE TRIGGER own_trigger BEFORE INSERT ON t_old FOR EACH ROW EXECUTE FUNCTION note();
             CREATE POLICY own_policy ON t_old USING (EXISTS (SELECT FROM kind k WHERE k.id = t_old.kind)); CREATE STATISTICS own_statistics ON id, kind FROM t_old;
             CREATE RULE own_rule AS ON UPDATE TO t_old WHERE old.id = 7 DO ALSO SELECT count(*) FROM t_old; COMMENT ON TABLE t_old IS 'old';
             CREATE PUBLICATION several FOR TABLE t_old (id, at) WHERE (id > 1); INSERT INTO t (at, kind) VALUES ('2020-01-05', 1);
             CREATE TABLE u (at date NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE u_old PARTITION OF u FOR VALUES FROM ('2020-01-01') TO ('2020-02-01'); ALTER TABLE u OWNER TO {owner};
             GRANT ALL ON SCHEMA public TO {owner};
             SELECT opdb.manage_partitions(p, premake => 0, retention => '30 days', retention_action => 'drop') FROM unnest('{{t,u}}'::regclass[]) p"
        ),
    );
    maintain(&mut client);
    assert_eq!(status(&mut client, "t", "last_error"), "NULL");
    assert_eq!(text(&mut client, "SELECT to_regclass('t_old')"), "NULL");
    let told = status(&mut client, "u", "last_error");
    assert!(told.contains("is no member of postgres, the owner of"), "{told}");
    assert!(names(&mut client, "u").contains(&"u_old".to_owned()));
}
