//! What is retired, when and how; and what never is.

use super::{done, maintain, names, new_session, status};
use crate::fixture::{execute, rows, text};

fn daily(client: &mut postgres::Client, retention: &str, more: &str) {
    execute(
        client,
        &format!(
            "CREATE TABLE t (id int, at date NOT NULL) PARTITION BY RANGE (at);
             SELECT opdb.manage_partitions('t', premake => 1, start_at => now() - interval '6 days', retention => '{retention}' {more});
             INSERT INTO t SELECT i, current_date - i FROM generate_series(0, 6) i"
        ),
    );
}

#[test]
fn what_ends_before_the_retention_is_detached_and_kept() {
    let (mut client, _) = new_session();
    daily(&mut client, "3 days", "");
    assert_eq!(names(&mut client, "t").len(), 8);
    assert_eq!(status(&mut client, "t", "expired"), "3");
    maintain(&mut client);
    // A day that ended three days ago at midnight has had its three days.
    assert_eq!(
        text(&mut client, "SELECT string_agg((current_date - at)::text, ',' ORDER BY at DESC) FROM t"),
        "0,1,2,3"
    );
    assert_eq!(
        text(
            &mut client,
            "SELECT count(*) FROM pg_class WHERE relname LIKE 't\\_2%' AND NOT relispartition AND relkind = 'r'"
        ),
        "3"
    );
    let retired = rows(&mut client, "SELECT action, state FROM opdb.retired_partition");
    assert_eq!(retired, [["detach", "done"], ["detach", "done"], ["detach", "done"]]);
    maintain(&mut client);
    assert_eq!(names(&mut client, "t").len(), 5);
}

#[test]
fn dropped_means_gone_and_creation_comes_first() {
    let (mut client, _) = new_session();
    daily(&mut client, "5 days", ", retention_action => 'drop'");
    execute(&mut client, "UPDATE opdb.partition_set SET premake = 2");
    maintain(&mut client);
    let done: Vec<String> =
        done(&mut client, "t").into_iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(done.last_chunk::<3>().unwrap().as_slice(), ["create", "detach", "drop"]);
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM pg_class WHERE relname LIKE 't\\_2%' AND NOT relispartition"),
        "0"
    );
}

#[test]
fn an_archive_is_a_schema_or_a_tablespace() {
    let (mut client, _) = new_session();
    execute(&mut client, "CREATE SCHEMA \"the Archive\"");
    daily(
        &mut client,
        "4 days",
        r#", retention_action => 'archive', options => '{"archive_schema": "the Archive", "archive_tablespace": "pg_default"}'"#,
    );
    let planned =
        rows(&mut client, "SELECT action, ddl FROM opdb.plan_partitions('t') WHERE action <> 'detach'");
    assert!(planned[0][1].ends_with("SET SCHEMA \"the Archive\""), "{planned:?}");
    maintain(&mut client);
    let archived = "SELECT count(*) FROM pg_class WHERE relnamespace = '\"the Archive\"'::regnamespace AND relkind = 'r'";
    assert_eq!(text(&mut client, archived), "2");
    assert_eq!(
        rows(&mut client, "SELECT DISTINCT state, detail FROM opdb.retired_partition"),
        [["done", "archived in tablespace 'pg_default' and schema 'the Archive'"]]
    );
}

#[test]
fn a_month_is_kept_whatever_interval_is_configured_later() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at timestamptz NOT NULL) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions('t', every => '1 month', premake => 0, start_at => now() - interval '3 months');
         INSERT INTO t SELECT now() - i * interval '1 day' FROM generate_series(0, 60) i",
    );
    execute(
        &mut client,
        "SELECT opdb.manage_partitions('t', every => '1 day', premake => 40, retention => '7 days', retention_action => 'drop')",
    );
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t WHERE at > now() - interval '7 days'"), "7");
    // The month that ended more than a week ago is gone, the one that ended since or has not ended is not.
    let kept = text(&mut client, "SELECT min(at) < date_trunc('month', now() - interval '7 days') FROM t");
    assert_eq!(kept, "f");
    assert_eq!(
        text(
            &mut client,
            "SELECT count(*) = count(*) FILTER (WHERE at >= date_trunc('month', now() - interval '7 days')) FROM t"
        ),
        "t"
    );
}

#[test]
fn a_gap_or_another_zone_costs_no_data() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (at timestamptz NOT NULL) PARTITION BY RANGE (at);
         DO $$ BEGIN
             EXECUTE format('CREATE TABLE a PARTITION OF t FOR VALUES FROM (%L) TO (%L)', now() - interval '90 days', now() - interval '3 days' + interval '1 minute');
             EXECUTE format('CREATE TABLE b PARTITION OF t FOR VALUES FROM (%L) TO (%L)', now() - interval '400 days', now() - interval '300 days');
         END $$;
         INSERT INTO t VALUES (now() - interval '3 days')",
    );
    for zone in ["Pacific/Kiritimati", "Pacific/Niue"] {
        execute(
            &mut client,
            &format!(
                "INSERT INTO opdb.partition_set (parent, every, premake, retention, retention_action, timezone, storage, analyze_parent)
                 VALUES ('t', '1 day', 0, '3 days', 'drop', '{zone}', '{{}}', false)
                 ON CONFLICT (parent) DO UPDATE SET timezone = excluded.timezone; UPDATE opdb.partition_state SET due_at = NULL"
            ),
        );
        maintain(&mut client);
        assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "1", "{zone}");
    }
    assert!(
        names(&mut client, "t").contains(&"a".to_owned())
            && !names(&mut client, "t").contains(&"b".to_owned())
    );
}

#[test]
fn a_hold_keeps_a_partition_until_it_is_released() {
    let (mut client, _) = new_session();
    daily(&mut client, "3 days", ", retention_action => 'drop'");
    let oldest = names(&mut client, "t").remove(0);
    execute(&mut client, &format!("SELECT opdb.hold_partitions('{oldest}', 'case 4711')"));
    maintain(&mut client);
    assert_eq!(names(&mut client, "t").remove(0), oldest);
    assert_eq!(
        text(&mut client, "SELECT detail FROM opdb.partition_runs WHERE status = 'skipped'"),
        format!(
            "public.{oldest} is on hold: case 4711 HINT: When the hold is over: SELECT opdb.release_partitions('public.{oldest}')."
        )
    );
    assert_eq!(status(&mut client, "t", "last_status || ' ' || expired"), "done 1");
    execute(
        &mut client,
        &format!("SELECT opdb.hold_partitions('t', 'all of it'); SELECT opdb.release_partitions('{oldest}')"),
    );
    maintain(&mut client);
    assert_eq!(names(&mut client, "t").remove(0), oldest);
    execute(&mut client, "SELECT opdb.release_partitions('t')");
    maintain(&mut client);
    assert_ne!(names(&mut client, "t").remove(0), oldest);
}

#[test]
fn referenced_rows_keep_their_partition_and_stop_nothing_else() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE t (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions('t', premake => 0, start_at => now() - interval '6 days', retention => '3 days', retention_action => 'drop');
         INSERT INTO t SELECT i, current_date - i FROM generate_series(0, 6) i;
         CREATE TABLE invoice (t_id int, t_at date, FOREIGN KEY (t_id, t_at) REFERENCES t);
         INSERT INTO invoice SELECT 5, current_date - 5",
    );
    let note =
        text(&mut client, "SELECT DISTINCT note FROM opdb.plan_partitions('t') WHERE action = 'detach'");
    assert_eq!(note, "refused while rows of it are referenced by public.invoice (invoice_t_id_t_at_fkey)");
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t"), "0,1,2,3,5");
    assert_eq!(status(&mut client, "t", "last_status"), "failed");
    assert!(status(&mut client, "t", "last_error").contains("violates foreign key constraint"));
    execute(&mut client, "DELETE FROM invoice");
    maintain(&mut client);
    assert_eq!(status(&mut client, "t", "last_status || ' ' || expired"), "done 0");
}

#[test]
fn a_table_that_was_renamed_attached_again_or_is_used_is_not_dropped() {
    let (mut client, _) = new_session();
    daily(&mut client, "3 days", ", retention_action => 'drop'");
    let oldest = names(&mut client, "t").remove(0);
    let tasks = rows(&mut client, "SELECT task FROM opdb.partition_tasks('t', 'retire')").concat();
    execute(&mut client, &format!("SELECT opdb.run_partition_task('t', '{}', false)", tasks[0]));
    execute(&mut client, &format!("CREATE VIEW used AS SELECT * FROM {oldest}"));
    maintain(&mut client);
    assert!(status(&mut client, "t", "last_error").contains("other objects depend on it"));
    assert_eq!(status(&mut client, "t", "unfinished"), "1");
    execute(&mut client, &format!("DROP VIEW used; ALTER TABLE {oldest} RENAME TO rescued"));
    maintain(&mut client);
    assert_eq!(text(&mut client, "SELECT count(*) FROM rescued"), "1");
}
