//! What is told: how far ahead, what lies between, what differs, what failed and who was in the way.

use super::{maintain, names, new_session, status};
use crate::fixture::{execute, on_test, refused, rows, servers, text};

#[test]
fn the_status_tells_the_runway_gaps_and_what_is_misaligned() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at timestamptz NOT NULL) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions('t', premake => 4);
         CREATE TABLE odd PARTITION OF t FOR VALUES FROM ('2001-01-01 06:00+00') TO ('2001-01-02 00:00+00');
         DO $$ BEGIN EXECUTE format('ALTER TABLE t DETACH PARTITION %I', 't_' || to_char((now() + interval '2 days') AT TIME ZONE 'UTC', 'YYYY_MM_DD')); END $$",
    );
    assert_eq!(
        status(&mut client, "t", "premade_until = date_trunc('day', now(), 'UTC') + interval '2 days'"),
        "t"
    );
    assert_eq!(status(&mut client, "t", "runway BETWEEN interval '1 day' AND interval '2 days'"), "t");
    assert_eq!(status(&mut client, "t", "cardinality(gaps)"), "2");
    assert_eq!(
        status(&mut client, "t", "misaligned[1]"),
        "public.odd: 2001-01-01 06:00:00+00 to 2001-01-02 00:00:00+00"
    );
    // A table of that name is in the way: it is told what to do, and nothing else is.
    maintain(&mut client);
    assert_eq!(status(&mut client, "t", "last_status"), "failed");
    let error = status(&mut client, "t", "last_error");
    assert!(error.contains("is taken") && error.contains("ATTACH"), "{error}");
    assert_eq!(status(&mut client, "t", "runway > interval '1 day'"), "t");
}

#[test]
fn a_table_without_a_partition_for_now_has_no_runway() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at timestamptz NOT NULL) PARTITION BY RANGE (at); SELECT opdb.manage_partitions('t', premake => 0)",
    );
    let today = names(&mut client, "t").remove(0);
    execute(&mut client, &format!("DROP TABLE {today}"));
    assert_eq!(status(&mut client, "t", "runway"), "00:00:00");
    assert_eq!(status(&mut client, "t", "premade_until"), "NULL");
    // What is missing though nothing is due is noticed.
    maintain(&mut client);
    assert_eq!(names(&mut client, "t"), [today]);
}

#[test]
fn drift_is_told_with_the_statements_that_end_it() {
    let (mut client, _) = new_session();
    let other = crate::fixture::role(&servers().test, &[]);
    execute(
        &mut client,
        &format!(
            r#"CREATE TABLE t (id int NOT NULL, at date NOT NULL, a text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
               CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
               CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
               SELECT opdb.manage_partitions('t', premake => 1, options => '{{"storage": {{"fillfactor": 80}}}}');
               GRANT SELECT ON t TO {other}; GRANT UPDATE (a) ON t TO {other}; ALTER TABLE t ENABLE ROW LEVEL SECURITY;
               CREATE POLICY p ON t USING (id > 0); ALTER TABLE t REPLICA IDENTITY FULL"#
        ),
    );
    let found = names(&mut client, "t");
    execute(
        &mut client,
        &format!(
            "ALTER TABLE {0} OWNER TO {other}; GRANT DELETE ON {1} TO PUBLIC; ALTER TABLE {1} SET (fillfactor = 50);
             ALTER TABLE {1} DISABLE TRIGGER note; ALTER TABLE {1} SET UNLOGGED",
            found[0], found[1]
        ),
    );
    let aspects = "SELECT string_agg(DISTINCT aspect, ' ' ORDER BY aspect) FROM opdb.partition_drift('t')";
    assert_eq!(
        text(&mut client, aspects),
        "owner persistence policies privileges replica_identity row_security storage triggers"
    );
    let mut followed = 0;
    while let Some(ddl) =
        rows(&mut client, "SELECT ddl FROM opdb.partition_drift('t') ORDER BY aspect LIMIT 1").concat().pop()
    {
        execute(&mut client, &ddl);
        followed += 1;
        assert!(followed < 30, "{ddl} ends nothing");
    }
    assert!(followed >= 12, "{followed}");
}

#[test]
fn an_index_without_a_part_in_a_partition_is_told() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at date NOT NULL) PARTITION BY RANGE (at); SELECT opdb.manage_partitions('t', premake => 0);
         CREATE INDEX t_id ON ONLY t (id)",
    );
    let found = rows(&mut client, "SELECT aspect, detail, ddl FROM opdb.partition_drift()");
    assert_eq!(
        found[0][..2],
        ["indexes", "index public.t_id has no part here: make it, then ALTER INDEX … ATTACH PARTITION"]
    );
    assert!(found[0][2].contains("USING btree (id)"), "{found:?}");
}

#[test]
fn who_was_in_the_way_is_told_and_the_status_waits_for_nobody() {
    let (mut client, name) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at); CREATE TABLE t_default PARTITION OF t DEFAULT;
         SELECT opdb.manage_partitions('t', premake => 0); UPDATE opdb.partition_set SET premake = 1",
    );
    let mut blocker = on_test(&name);
    execute(&mut blocker, "SET application_name = 'nightly report'; BEGIN; SELECT * FROM t");
    let pid = text(&mut blocker, "SELECT pg_backend_pid()");
    let run = rows(&mut client, "SELECT status, detail FROM opdb.run_partitions('t')").remove(0);
    assert_eq!(run[0], "failed");
    assert!(run[1].starts_with("could not lock public.t_default within 2 s"), "{run:?}");
    let blockers = status(&mut client, "t", "last_blockers");
    assert!(
        blockers.contains(&format!("process {pid} of role "))
            && blockers.contains("nightly report")
            && blockers.contains("AccessShareLock"),
        "{blockers}"
    );
    execute(&mut blocker, "LOCK TABLE t_default");
    execute(&mut client, "SET statement_timeout = '5s'");
    assert_eq!(status(&mut client, "t", "default_rows"), "NULL");
    assert!(status(&mut client, "t", "note").starts_with("could not lock public.t_default"));
    assert_eq!(status(&mut client, "t", "partitions"), "1");
}

#[test]
fn the_maintenance_is_no_part_of_a_transaction() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at); SELECT opdb.manage_partitions('t'); UPDATE opdb.partition_state SET due_at = NULL",
    );
    assert_eq!(refused(&mut client, "BEGIN; CALL opdb.run_partition_maintenance()").sqlstate, "2D000");
}
