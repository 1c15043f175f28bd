//! Indexes for slow statements, tried with hypopg.

use postgres::Client;

use super::{advised_where, follow};
use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

/// Whether the server has hypopg; without it there is nothing to test.
pub fn create_hypopg(client: &mut Client) -> bool {
    let available = text(client, "SELECT count(*) FROM pg_available_extensions WHERE name = 'hypopg'") == "1";
    match available {
        true => execute(client, "CREATE EXTENSION hypopg"),
        false => eprintln!("hypopg is not installed: indexes for slow statements are not tested"),
    }
    available
}

const TABLES: &str = "CREATE EXTENSION pg_stat_statements;
    CREATE TABLE t (id int PRIMARY KEY, a int, b int, c text, at timestamptz) WITH (autovacuum_enabled = off);
    INSERT INTO t SELECT i, i % 5000, i % 30, md5(i::text), now() - random() * interval '1 year' FROM generate_series(1, 50000) i;
    ANALYZE t";

const OF_HERE: &str =
    "pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()";

/// A database with a table, if there is hypopg.
fn prepared() -> Option<(String, Client)> {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    create_hypopg(&mut client).then(|| {
        execute(&mut client, TABLES);
        (name, client)
    })
}

fn missing(client: &mut Client) -> Vec<String> {
    advised_where(client, "'7 days'", "kind = 'missing'")
}

#[test]
fn what_the_planner_would_use_is_advised_and_helps() {
    let Some((_, mut client)) = prepared() else { return };
    for value in 1..4 {
        execute(&mut client, &format!("SELECT count(*) FROM t WHERE a = {value}"));
        execute(&mut client, &format!("SELECT * FROM t WHERE b = {value} ORDER BY at DESC LIMIT 5"));
        // Half of the table, and a function of the column: no index helps.
        execute(&mut client, &format!("SELECT count(*) FROM t WHERE b > {value} AND length(c) < 100"));
        execute(&mut client, &format!("SELECT count(*) FROM t WHERE upper(c) = '{value}'"));
        execute(&mut client, &format!("SELECT count(*) FROM t WHERE id = {value}"));
    }
    assert_eq!(missing(&mut client), ["missing create public.t_a_idx", "missing create public.t_b_at_idx"]);
    let own = format!(
        "SELECT count(*) FROM {OF_HERE} AND s.query ~* '^select.*hypopg_create|^explain|^with member'"
    );
    assert_eq!(text(&mut client, &own), "0", "reading statistics does not change them");
    let row = "SELECT ddl, reason, bytes, gain FROM opdb.index_advice() WHERE object = 'public.t_a_idx'";
    let row = rows(&mut client, row).remove(0);
    assert_eq!(row[0], "CREATE INDEX CONCURRENTLY t_a_idx ON public.t (a)");
    let id = text(&mut client, &format!("SELECT s.queryid FROM {OF_HERE} AND s.query ~ 'a = .1$'"));
    assert!(row[1].starts_with(&format!("statement {id} (3 calls of ")), "{row:?}");
    assert!(row[1].contains(": cost ") && !row[1].contains("count"), "{row:?}");
    let gain: f64 = row[3].parse().unwrap();
    assert!((0.9..=1.0).contains(&gain), "{row:?}");
    follow(&mut client, &row[0]);
    let real: f64 = text(&mut client, "SELECT pg_relation_size('t_a_idx')").parse().unwrap();
    assert!(row[2].parse::<f64>().unwrap() > real / 2.0, "{row:?} {real}");
    assert_eq!(missing(&mut client), ["missing create public.t_b_at_idx"]);
}

#[test]
fn typed_constants_and_joins_and_updates_are_understood() {
    let Some((_, mut client)) = prepared() else { return };
    execute(
        &mut client,
        "SELECT count(*) FROM t WHERE at BETWEEN now() - interval '2 days' AND now() - INTERVAL '1 day';
         UPDATE t SET b = 0 WHERE c = 'x' AND a IN (1, 2)",
    );
    assert_eq!(missing(&mut client), ["missing create public.t_at_idx", "missing create public.t_c_idx"]);
}

#[test]
fn what_is_there_or_advised_for_a_foreign_key_is_not_advised_again() {
    let Some((_, mut client)) = prepared() else { return };
    execute(
        &mut client,
        "ALTER TABLE t ADD r int REFERENCES t; UPDATE t SET r = id; CREATE INDEX t_a_b ON t (a, b); ANALYZE t;
         SELECT count(*) FROM t WHERE r = 5; SELECT count(*) FROM t WHERE a = 5",
    );
    let created = advised_where(&mut client, "'7 days'", "action = 'create'");
    assert_eq!(created, ["unindexed_foreign_key create public.t_r_idx"]);
}

#[test]
fn a_partitioned_table_gets_one_for_all_partitions() {
    let Some((_, mut client)) = prepared() else { return };
    execute(
        &mut client,
        "CREATE TABLE p (k int, a int, c text) PARTITION BY RANGE (k);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
         INSERT INTO p SELECT i % 20, i, md5(i::text) FROM generate_series(1, 40000) i; ANALYZE p;
         SELECT count(*) FROM p WHERE k = 4 AND a = 7; SELECT p.c FROM t JOIN p ON p.a = t.id WHERE t.id = 77",
    );
    assert_eq!(missing(&mut client), ["missing create public.p_a_idx"]);
    let ddl = text(&mut client, "SELECT ddl FROM opdb.index_advice() WHERE kind = 'missing'");
    follow(&mut client, &ddl);
    assert_eq!(missing(&mut client), [""; 0]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
}

#[test]
fn hypothetical_indexes_of_the_session_stay_and_no_others_do() {
    let Some((name, mut client)) = prepared() else { return };
    execute(
        &mut client,
        "SELECT count(*) FROM t WHERE a = 1; SELECT hypopg_create_index('CREATE INDEX ON t (c)')",
    );
    let list = "SELECT string_agg(indexrelid || indexname, ' ') FROM hypopg()";
    let before = text(&mut client, list);
    assert_eq!(missing(&mut client), ["missing create public.t_a_idx"]);
    assert_eq!(text(&mut client, list), before);
    // Neither when the call is stopped half way.
    let pid = text(&mut client, "SELECT pg_backend_pid()");
    let canceller = std::thread::spawn(move || {
        let mut other = on_test(&name);
        for _ in 0..40 {
            execute(&mut other, &format!("SELECT pg_cancel_backend({pid})"));
            std::thread::sleep(std::time::Duration::from_millis(7));
        }
    });
    while !canceller.is_finished() {
        let _ = client.batch_execute("SELECT count(*) FROM opdb.index_advice()");
    }
    canceller.join().unwrap();
    let mut after = client.batch_execute("SELECT 1");
    while after.is_err() {
        after = client.batch_execute("SELECT 1");
    }
    assert_eq!(text(&mut client, list), before);
}

#[test]
fn it_assigns_no_transaction_id_and_leaves_settings_and_statements_alone() {
    let Some((_, mut client)) = prepared() else { return };
    execute(
        &mut client,
        "SELECT count(*) FROM t WHERE a = 1; UPDATE t SET b = 1 WHERE c = 'x'; SET hypopg.enabled = off",
    );
    execute(&mut client, "PREPARE mine AS SELECT 1");
    let settings =
        "SELECT md5(string_agg(name || setting, ' ' ORDER BY name)) FROM pg_settings WHERE name !~ '^opdb'";
    let before = text(&mut client, settings);
    execute(&mut client, "BEGIN READ ONLY");
    assert_eq!(missing(&mut client), ["missing create public.t_a_idx", "missing create public.t_c_idx"]);
    assert_eq!(text(&mut client, "SELECT pg_current_xact_id_if_assigned()"), "NULL");
    let locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 't'::regclass";
    assert_eq!(text(&mut client, locks), "0", "nothing of the planning is left");
    execute(&mut client, "COMMIT; EXECUTE mine");
    assert_eq!(text(&mut client, settings), before);
}

#[test]
fn a_statement_that_cannot_be_planned_is_passed_over() {
    let Some((name, mut client)) = prepared() else { return };
    execute(
        &mut client,
        "CREATE TABLE gone (a int); SELECT * FROM gone; DROP TABLE gone;
         SELECT count(*) FROM t WHERE at > now() - INTERVAL '3 days' AND a = 4;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', use_remote_estimate 'true');
         CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'x', password 'y');
         CREATE TABLE held (a int); INSERT INTO held SELECT generate_series(1, 10000); SELECT * FROM held WHERE a = 1;
         SELECT count(*) FROM t WHERE a = 1",
    );
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE");
    execute(&mut client, "SET statement_timeout = '60s'");
    assert_eq!(missing(&mut client), ["missing create public.t_a_idx"]);
}

/// Sequences tell what ran as whom: they keep what a rollback takes back.
const HOSTILE: &str = "CREATE SEQUENCE ran_as_superuser; CREATE SEQUENCE ran_as_another; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
    CREATE FUNCTION public.secretly(writer text) RETURNS int LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM nextval(CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 'public.ran_as_superuser'
                             WHEN current_user <> writer THEN 'public.ran_as_another' END::regclass)
        WHERE current_user <> writer;
        RETURN 1;
    END $$;
    GRANT SELECT ON t TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC";

#[test]
fn nobodys_function_runs_as_another_role() {
    let Some((name, mut client)) = prepared() else { return };
    let (mallory, victim) = (role(&servers().test, &["opdb_reader"]), role(&servers().test, &[]));
    execute(&mut client, HOSTILE);
    let connect = |role: &str| servers().test.connect(&name, role, role).unwrap();
    let (mut mallory_session, mut victim_session) = (connect(&mallory), connect(&victim));
    let function = |body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.f() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )
    };
    execute(&mut mallory_session, &function("RETURN 1;"));
    execute(&mut mallory_session, &function("RETURN 2;").replace("f()", "g()"));
    execute(&mut mallory_session, "SELECT id FROM t WHERE a = f()");
    execute(&mut mallory_session, "SELECT at FROM t WHERE a = g()");
    execute(&mut victim_session, "SELECT count(*) AS v FROM t WHERE a = f()");
    execute(&mut client, "SELECT count(*) AS s FROM t WHERE a = public.f()");
    // What was harmless when the others ran it is harmless no more.
    execute(&mut mallory_session, &function(&format!("RETURN public.secretly('{mallory}');")));
    let ran = "SELECT a.is_called::text || b.is_called FROM ran_as_superuser a, ran_as_another b";
    for session in [&mut client, &mut mallory_session] {
        assert_eq!(missing(session), ["missing create public.t_a_idx"], "for the writer's own statement");
        let served = text(session, "SELECT reason FROM opdb.index_advice() WHERE kind = 'missing'");
        assert_eq!(served.matches("statement").count(), 1, "{served}");
    }
    assert_eq!(text(&mut client, ran), "falsefalse");
    // The function would have told.
    assert_eq!(text(&mut victim_session, "SELECT f()"), "1");
    assert_eq!(text(&mut client, ran), "falsetrue");
}

#[test]
fn without_the_library_there_is_a_warning_and_the_rest() {
    let mut client = crate::fixture::on_production(&database(&servers().production));
    if !create_hypopg(&mut client) {
        return;
    }
    execute(
        &mut client,
        "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY); CREATE INDEX t_id ON t (id)",
    );
    assert_eq!(refused(&mut client, "SELECT * FROM pg_stat_statements").sqlstate, "55000");
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), ["duplicate drop public.t_id"]);
}
