//! What a new partition has, and how it is planned and made.

use super::{done, maintain, names, new_session, status};
use crate::fixture::{execute, refused, role, rows, servers, text};

/// A table with everything that a partition needs and neither LIKE nor ATTACH brings.
const RICH: &str = "
    CREATE TABLE kind (id int PRIMARY KEY);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TABLE t (
        id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, kind int REFERENCES kind, a text COLLATE \"C\",
        twice int GENERATED ALWAYS AS (kind * 2) STORED, CHECK (kind > 0), PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE UNIQUE INDEX t_identity ON t (id, at, (1)) ;
    DROP INDEX t_identity;
    CREATE UNIQUE INDEX t_identity ON t (at, id);
    CREATE INDEX t_kind ON t (kind) WHERE kind > 5;
    CREATE STATISTICS t_stats ON kind, a FROM t;
    CREATE TRIGGER each_row BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
    ALTER TABLE t REPLICA IDENTITY USING INDEX t_identity;
    ALTER TABLE t ENABLE ROW LEVEL SECURITY;
    ALTER TABLE t FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_rows ON t AS RESTRICTIVE FOR UPDATE TO public USING (kind = 1) WITH CHECK (kind = 2);
    ALTER TABLE t ALTER COLUMN a SET STATISTICS 321;
    ALTER TABLE t ALTER COLUMN a SET (n_distinct = 17);
    ALTER TABLE t ALTER COLUMN a SET STORAGE EXTERNAL;
    COMMENT ON TABLE t IS 'it''s everything';
    COMMENT ON COLUMN t.a IS 'a column';";

#[test]
fn a_partition_has_all_that_its_table_has() {
    let cluster = &servers().test;
    let (owner, writer, reader) = (role(cluster, &["opdb_operator"]), role(cluster, &[]), role(cluster, &[]));
    let (mut client, _) = new_session();
    execute(
        &mut client,
        &format!(
            r#"{RICH}
            GRANT USAGE, CREATE ON SCHEMA public TO {owner}; ALTER TABLE kind OWNER TO {owner};
            ALTER TABLE t OWNER TO {owner};
            GRANT SELECT ON t TO {reader}; GRANT INSERT, SELECT ON t TO {writer} WITH GRANT OPTION;
            GRANT UPDATE (a, kind) ON t TO {writer};
            ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT DELETE ON TABLES TO {reader};
            ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT TRUNCATE ON TABLES TO PUBLIC;
            SELECT opdb.manage_partitions('t', premake => 2, options =>
                '{{"storage": {{"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02, "toast.autovacuum_enabled": false}}}}')"#
        ),
    );
    let sql = "SELECT pg_get_userbyid(c.relowner), c.relacl::text, c.relrowsecurity || ' ' || c.relforcerowsecurity, c.relreplident,
                obj_description(c.oid), col_description(c.oid, 4), c.reloptions::text,
                (SELECT t.reloptions::text FROM pg_class t WHERE t.oid = c.reltoastrelid),
                (SELECT string_agg(concat(polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid)), ',') FROM pg_policy WHERE polrelid = c.oid),
                (SELECT concat_ws(' ', attstattarget, array(SELECT o FROM unnest(attoptions) o WHERE o LIKE 'n_d%'), attstorage, attacl)
                 FROM pg_attribute WHERE attrelid = c.oid AND attname = 'a'),
                (SELECT string_agg(pg_get_statisticsobjdef_columns(oid), ',') FROM pg_statistic_ext WHERE stxrelid = c.oid),
                (SELECT count(*) FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisvalid),
                (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident),
                (SELECT string_agg(contype::text, '' ORDER BY contype) FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n'),
                (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 't'::regclass";
    let found = rows(&mut client, sql);
    assert_eq!(found.len(), 3);
    let acl = format!("{{{owner}=arwdDxt/{owner},{writer}=a*r*/{owner},{reader}=r/{owner}}}");
    for partition in found {
        let mut given: Vec<&str> = partition[1].trim_matches(['{', '}']).split(',').collect();
        let mut wanted: Vec<&str> = acl.trim_matches(['{', '}']).split(',').collect();
        given.sort_unstable();
        wanted.sort_unstable();
        // Version 17 has one privilege more.
        assert_eq!(given.join(",").replace("arwdDxtm/", "arwdDxt/"), wanted.join(","));
        assert_eq!(partition[0], owner);
        assert_eq!(partition[2..6], ["true true", "i", "it's everything", "a column"]);
        assert_eq!(partition[6], "{fillfactor=70,autovacuum_vacuum_scale_factor=0.02}");
        assert_eq!(partition[7], "{autovacuum_enabled=false}");
        assert_eq!(partition[8], "own_rowswf(kind = 1)");
        assert_eq!(partition[9], format!("321 {{n_distinct=17}} e {{{writer}=w/{owner}}}"));
        assert!(partition[10].contains("kind") && partition[10].contains('a'), "{partition:?}");
        assert_eq!(partition[11..15], ["3", "1", "cfp", "each_row"]);
    }
    assert!(rows(&mut client, "SELECT * FROM opdb.partition_drift()").is_empty());
    // Identity works through the table, which is all that LIKE … INCLUDING ALL would have broken.
    execute(
        &mut client,
        "INSERT INTO kind VALUES (1); INSERT INTO t (at, kind) VALUES (now(), 1), (now(), 1)",
    );
}

#[test]
fn what_a_single_partition_has_goes_on_with_the_next() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TABLE t (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
         SELECT opdb.manage_partitions('t', premake => 0)",
    );
    let today = names(&mut client, "t").remove(0);
    execute(
        &mut client,
        &format!(
            "ALTER TABLE {today} ADD UNIQUE (id); CREATE INDEX ON {today} (at) WHERE id > 3;
             ALTER TABLE {today} SET (fillfactor = 60);
             CREATE TRIGGER \"my ON trigger\" AFTER INSERT ON {today} REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION note();
             ALTER TABLE {today} DISABLE TRIGGER \"my ON trigger\";
             SELECT opdb.manage_partitions('t', premake => 1)"
        ),
    );
    let tomorrow = names(&mut client, "t").remove(1);
    let sql = format!(
        "SELECT (SELECT string_agg(pg_get_constraintdef(oid), ',') FROM pg_constraint WHERE conrelid = c.oid AND contype = 'u'),
                (SELECT string_agg(split_part(pg_get_indexdef(indexrelid), ' USING ', 2), ',') FROM pg_index WHERE indrelid = c.oid AND NOT indisunique),
                (SELECT string_agg(concat(tgname, tgenabled), ',') FROM pg_trigger WHERE tgrelid = c.oid), c.reloptions::text
         FROM pg_class c WHERE c.oid = '{tomorrow}'::regclass"
    );
    assert_eq!(
        rows(&mut client, &sql)[0],
        ["UNIQUE (id)", "btree (at) WHERE (id > 3)", "my ON triggerD", "{fillfactor=60}"]
    );
}

#[test]
fn what_is_planned_is_what_is_run() {
    let (mut client, _) = new_session();
    execute(&mut client, RICH);
    execute(
        &mut client,
        "SELECT opdb.manage_partitions('t', premake => 0); CREATE TABLE t_rest PARTITION OF t DEFAULT;
         INSERT INTO kind VALUES (1);
         INSERT INTO t (at, kind) SELECT now() + interval '25 hours', 1 FROM generate_series(1, 10);
         SELECT opdb.manage_partitions('t', premake => 0); UPDATE opdb.partition_set SET premake = 3",
    );
    let planned = rows(
        &mut client,
        "SELECT action, partition, lower_bound, upper_bound, ddl, lock, note FROM opdb.plan_partitions('t')",
    );
    let actions: Vec<&str> = planned.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(actions, ["move_rows", "create", "create"]);
    assert!(planned[0][5].starts_with(
        "SHARE ROW EXCLUSIVE on public.kind; EXCLUSIVE on public.t; EXCLUSIVE on public.t_rest; ACCESS EXCLUSIVE on public.t; ACCESS EXCLUSIVE on public.t_rest"
    ), "{planned:?}");
    assert_eq!(planned[0][6], "10 rows, out of public.t_rest");
    // Planning changed nothing; the statements are complete.
    assert_eq!(names(&mut client, "t").len(), 2);
    execute(
        &mut client,
        &format!("BEGIN; SET LOCAL session_replication_role = replica; {}; COMMIT", planned[0][4]),
    );
    let run = rows(&mut client, "SELECT action, partition, status FROM opdb.run_partitions('t')");
    let rest: Vec<&[String]> = planned[1..].iter().map(|row| &row[..2]).collect();
    assert_eq!(run.iter().map(|row| &row[..2]).collect::<Vec<_>>(), rest);
    assert!(run.iter().all(|row| row[2] == "done"), "{run:?}");
    assert!(rows(&mut client, "SELECT * FROM opdb.plan_partitions('t')").is_empty());
    assert_eq!(text(&mut client, "SELECT count(*) FROM ONLY t_rest"), "0");
}

#[test]
fn the_table_is_analyzed_when_asked() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        r#"CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at);
           SELECT opdb.manage_partitions('t', premake => 0, options => '{"analyze": true}');
           UPDATE opdb.partition_set SET premake = 1; UPDATE opdb.partition_state SET due_at = NULL"#,
    );
    maintain(&mut client);
    assert_eq!(done(&mut client, "t").last().unwrap(), "analyze done");
    assert_eq!(text(&mut client, "SELECT reltuples FROM pg_class WHERE oid = 't'::regclass"), "0");
    maintain(&mut client);
    assert_eq!(done(&mut client, "t").iter().filter(|it| it.starts_with("analyze")).count(), 1);
}

#[test]
fn only_the_owner_and_members_of_its_role_manage() {
    let cluster = &servers().test;
    let (owner, stranger) = (role(cluster, &["opdb_operator"]), role(cluster, &["opdb_operator"]));
    let (mut client, name) = new_session();
    execute(
        &mut client,
        &format!(
            "GRANT CREATE ON SCHEMA public TO {owner}, {stranger}; CREATE TABLE t (at date NOT NULL) PARTITION BY RANGE (at);
             ALTER TABLE t OWNER TO {owner}"
        ),
    );
    let mut of_stranger = cluster.connect(&name, &stranger, &stranger).unwrap();
    let mut of_owner = cluster.connect(&name, &owner, &owner).unwrap();
    let refusal = refused(&mut of_stranger, "SELECT opdb.manage_partitions('t')");
    assert_eq!(refusal.sqlstate, "42501", "{refusal:?}");
    execute(&mut of_owner, "SELECT opdb.manage_partitions('t', premake => 0)");
    execute(
        &mut client,
        "UPDATE opdb.partition_set SET premake = 2; UPDATE opdb.partition_state SET due_at = NULL",
    );
    for call in [
        "SELECT opdb.unmanage_partitions('t')",
        "SELECT * FROM opdb.run_partitions('t')",
        "SELECT opdb.hold_partitions('t', 'x')",
        "SELECT opdb.run_partition_task('t', '\"analyze\"', false)",
        "SELECT opdb.finish_partition_run('t', NULL, NULL)",
    ] {
        assert_eq!(refused(&mut of_stranger, call).sqlstate, "42501", "{call}");
    }
    // Where others have tables, too, theirs are left to them.
    execute(&mut of_stranger, "CALL opdb.run_partition_maintenance()");
    assert_eq!(rows(&mut of_stranger, "SELECT status FROM opdb.run_partitions()"), [["skipped"]]);
    assert_eq!(names(&mut client, "t").len(), 1);
    execute(&mut of_owner, "CALL opdb.run_partition_maintenance()");
    assert_eq!(names(&mut client, "t").len(), 3);
    // A superuser makes partitions for their owner.
    execute(
        &mut client,
        "UPDATE opdb.partition_set SET premake = 3; UPDATE opdb.partition_state SET due_at = NULL",
    );
    maintain(&mut client);
    assert_eq!(
        text(
            &mut client,
            "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class WHERE relispartition"
        ),
        owner
    );
    assert_eq!(status(&mut client, "t", "last_status"), "done");
}

#[test]
fn a_managed_event_table_keeps_its_keys() {
    let (mut client, _) = new_session();
    execute(&mut client, "SELECT opdb.create_event_table('events')");
    // A day in UTC is there already, and days begin at another time in that zone.
    let refusal =
        refused(&mut client, "SELECT opdb.manage_partitions('events', timezone => 'Asia/Kathmandu')");
    assert_eq!(refusal.sqlstate, "42P17", "{refusal:?}");
    execute(&mut client, "SELECT opdb.manage_partitions('events', premake => 2)");
    let ahead = names(&mut client, "events").pop().unwrap();
    let triggers = format!(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = '{ahead}'::regclass AND tgname LIKE 'opdb_keep_keys_%'"
    );
    assert_eq!(text(&mut client, &triggers), "4");
    // Who writes to the partition directly meets the keys, and ingest makes days that nobody premade.
    let record = |at: &str| {
        format!(r#"[{{"source": "s", "source_id": "one", "occurred_at": "{at}", "payload": {{}}}}]"#)
    };
    let tomorrow =
        text(&mut client, "SELECT to_char(now() + interval '1 day', 'YYYY-MM-DD') || 'T00:00:00Z'");
    assert_eq!(crate::fixture::ingest(&mut client, "events", &record(&tomorrow)), (1, 0, 0));
    assert_eq!(crate::fixture::ingest(&mut client, "events", &record("2001-02-03T00:00:00Z")), (0, 1, 0));
    let twice = format!(
        "INSERT INTO {ahead} (id, source, source_id, occurred_at, payload) OVERRIDING SYSTEM VALUE SELECT 99, 's', 'one', now() + interval '2 days', '{{}}'"
    );
    assert_eq!(refused(&mut client, &twice).sqlstate, "23505");
}
