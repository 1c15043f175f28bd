//! One planted case of each kind, and what must not be taken for one.

use super::{advice, advised, advised_where, fingerprint, follow};
use crate::fixture::{database, execute, on_test, refused, rows, servers, text};

#[test]
fn duplicates_are_indexes_that_are_the_same_and_nothing_less() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int, b text, c text, j jsonb);
           CREATE INDEX plain_id ON t (id);
           CREATE INDEX a_old ON t (a); CREATE INDEX a_new ON t (a) WITH (fillfactor = 50);
           CREATE INDEX a_desc ON t (a DESC); CREATE INDEX a_nulls ON t (a NULLS FIRST);
           CREATE INDEX a_hash ON t USING hash (a);
           CREATE INDEX a_part ON t (a) WHERE b IS NULL; CREATE INDEX a_part_same ON t (a) WHERE (b IS  NULL);
           CREATE INDEX a_part_other ON t (a) WHERE b IS NOT NULL;
           CREATE INDEX b_text ON t (b); CREATE INDEX b_c ON t (b COLLATE "C"); CREATE INDEX b_like ON t (b text_pattern_ops);
           CREATE INDEX c_lower ON t (lower(c)); CREATE INDEX c_lower_same ON t ( lower( c ) ); CREATE INDEX c_upper ON t (upper(c));
           CREATE INDEX j_ops ON t USING gin (j); CREATE INDEX j_path ON t USING gin (j jsonb_path_ops);
           CREATE UNIQUE INDEX u_nulls ON t (a, b); CREATE UNIQUE INDEX u_no_nulls ON t (a, b) NULLS NOT DISTINCT"#,
    );
    assert_eq!(
        advised_where(&mut client, "'7 days'", "kind IN ('duplicate', 'redundant')"),
        [
            "duplicate drop public.a_part_same",
            "duplicate drop public.c_lower_same",
            "duplicate drop public.plain_id",
            // Both are the beginning of the unique index on (a, b), which stays.
            "redundant drop public.a_new",
            "redundant drop public.a_old",
        ]
    );
    execute(&mut client, "DROP INDEX u_nulls, u_no_nulls");
    let kept = "SELECT object, reason FROM opdb.index_advice() WHERE kind = 'duplicate' AND object ~ 'a_|id' ORDER BY 1";
    let reasons = rows(&mut client, kept);
    assert_eq!(reasons[0], ["public.a_new", "the same as public.a_old, which stays"]);
    assert_eq!(reasons[2], ["public.plain_id", "the same as public.t_pkey, which stays"]);
}

#[test]
fn a_prefix_is_redundant_unless_it_does_something_of_its_own() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (a int NOT NULL, b int, c int, d int, e int, f int, g int, h text, i int);
           CREATE UNIQUE INDEX t_ab ON t (a, b); CREATE INDEX t_a ON t (a);
           CREATE UNIQUE INDEX t_c ON t (c); CREATE INDEX t_cd ON t (c, d);
           CREATE INDEX t_d ON t (d); CREATE INDEX t_de_desc ON t (d DESC, e);
           CREATE INDEX t_e_inc ON t (e) INCLUDE (f); CREATE INDEX t_eg ON t (e, g);
           CREATE INDEX t_f_inc ON t (f) INCLUDE (g); CREATE INDEX t_fhg ON t (f, h, g);
           CREATE INDEX t_low ON t (lower(h)); CREATE INDEX t_low_a ON t (lower(h), a);
           CREATE INDEX t_g_brin ON t USING brin (g); CREATE INDEX t_gi_brin ON t USING brin (g, i);
           CREATE INDEX t_i ON t (i); CREATE INDEX t_ia_part ON t (i, a) WHERE b > 0"#,
    );
    assert_eq!(
        advised_where(&mut client, "'7 days'", "true"),
        ["redundant drop public.t_a", "redundant drop public.t_f_inc", "redundant drop public.t_low"]
    );
    // What is named as staying stays.
    execute(
        &mut client,
        "CREATE INDEX t_1 ON t (g); CREATE INDEX t_2 ON t (g) INCLUDE (a); CREATE INDEX t_3 ON t (g) INCLUDE (a, b)",
    );
    let named = "SELECT object || ': ' || split_part(reason, ',', 1) FROM opdb.index_advice() WHERE object ~ 't_[12]$' ORDER BY 1";
    assert_eq!(rows(&mut client, named).concat(), ["public.t_1: public.t_3", "public.t_2: public.t_3"]);
    // One that nobody uses is no reason to drop one that is used.
    execute(
        &mut client,
        "DROP INDEX t_ab; INSERT INTO t SELECT i FROM generate_series(1, 1000) i; ANALYZE t;
         SELECT count(*) FROM t WHERE a = 7; CREATE INDEX t_ab ON t (a, b)",
    );
    assert_eq!(advised_where(&mut client, "'0'", "object ~ 't_a'"), ["unused drop public.t_ab"]);
    assert_eq!(advised_where(&mut client, "'7 days'", "object ~ 't_a'"), ["redundant drop public.t_a"]);
}

#[test]
fn unused_are_those_that_nothing_depends_on_and_only_after_a_while() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "CREATE EXTENSION btree_gist; CREATE SCHEMA other;
         CREATE TABLE p (id int PRIMARY KEY);
         CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int, d int, e int, p int REFERENCES p,
                         EXCLUDE USING gist (e WITH =));
         CREATE UNIQUE INDEX t_unique ON t (a);
         CREATE UNIQUE INDEX t_identity ON t (b); ALTER TABLE t REPLICA IDENTITY USING INDEX t_identity;
         CREATE INDEX t_clustered ON t (c, d); ALTER TABLE t CLUSTER ON t_clustered;
         CREATE INDEX t_fk ON t (p);
         CREATE INDEX t_used ON t (d, e); CREATE INDEX t_unused ON t (e, d); CREATE INDEX t_expr ON t ((c + d));
         CREATE TEMP TABLE temporary (a int); CREATE INDEX temporary_a ON temporary (a);
         INSERT INTO t SELECT i, i, i, i, i, i FROM generate_series(1, 1000) i; ANALYZE t;
         SELECT count(*) FROM t WHERE d = 5",
    );
    assert_eq!(advised(&mut client), ["unused drop public.t_expr", "unused drop public.t_unused"]);
    let young: [&str; 0] = [];
    assert_eq!(advised_where(&mut client, "", "true"), young, "statistics are too young");
    assert_eq!(advised_where(&mut client, "'1 hour'", "true"), young);
    let reason =
        text(&mut client, "SELECT reason FROM opdb.index_advice('0') WHERE object = 'public.t_expr'");
    for part in
        ["not scanned once in the 0 minutes since 20", "standby", "statistics that it keeps for the expr"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    let cost = "SELECT write_cost > 0, bytes = pg_relation_size('t_unused') FROM opdb.index_advice('0')
                WHERE object = 'public.t_unused'";
    assert_eq!(rows(&mut client, cost), [["t", "t"]]);
    // Statistics that began anew know nothing.
    execute(&mut client, "SELECT pg_stat_reset()");
    assert_eq!(advised_where(&mut client, "'5 seconds'", "true"), young);
}

#[test]
fn a_foreign_key_is_served_by_its_columns_in_any_order() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE q (id int PRIMARY KEY);
           CREATE TABLE ordered (a int, b int, x int, FOREIGN KEY (a, b) REFERENCES p); CREATE INDEX ON ordered (b, a, x);
           CREATE TABLE apart (a int, b int, x int, FOREIGN KEY (a, b) REFERENCES p); CREATE INDEX ON apart (a, x, b);
           CREATE TABLE partial (a int REFERENCES q, b int); CREATE INDEX ON partial (a) WHERE b > 0;
           CREATE TABLE other_null (a int REFERENCES q, b int); CREATE INDEX ON other_null (a) WHERE b IS NOT NULL;
           CREATE TABLE not_null (a int REFERENCES q, b int); CREATE INDEX ON not_null (a) WHERE a IS NOT NULL;
           CREATE TABLE both_null (a int, b int, FOREIGN KEY (a, b) REFERENCES p);
           CREATE INDEX ON both_null (a, b) WHERE a IS NOT NULL AND b IS NOT NULL;
           CREATE TABLE hashed (a int REFERENCES q); CREATE INDEX ON hashed USING hash (a);
           CREATE TABLE brin (a int REFERENCES q); CREATE INDEX ON brin USING brin (a);
           CREATE TABLE expression (a int REFERENCES q); CREATE INDEX ON expression ((a + 0));
           CREATE TABLE twice (a int REFERENCES q, FOREIGN KEY (a) REFERENCES q (id));
           CREATE TABLE "Odd; "" table" ("A b" int REFERENCES q);
           INSERT INTO q SELECT generate_series(1, 2000); INSERT INTO twice SELECT 1 + i % 100 FROM generate_series(1, 20000) i; ANALYZE"#,
    );
    let expected = [
        r#"unindexed_foreign_key create public."Odd; "" table_A b_idx""#,
        "unindexed_foreign_key create public.apart_a_b_idx",
        "unindexed_foreign_key create public.brin_a_idx1",
        "unindexed_foreign_key create public.expression_a_idx",
        "unindexed_foreign_key create public.other_null_a_idx1",
        "unindexed_foreign_key create public.partial_a_idx1",
        "unindexed_foreign_key create public.twice_a_idx",
    ];
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), expected);
    let first = "SELECT object, bytes FROM opdb.index_advice() LIMIT 1";
    let first = rows(&mut client, first).remove(0);
    assert_eq!(first[0], "public.twice_a_idx", "the largest table comes first");
    let found = rows(&mut client, "SELECT object, ddl, undo FROM opdb.index_advice()");
    let before = fingerprint(&mut client);
    found.iter().for_each(|row| follow(&mut client, &row[1]));
    let none: [&str; 0] = [];
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), none);
    let estimated: f64 = first[1].parse().unwrap();
    let real: f64 = text(&mut client, "SELECT pg_relation_size('twice_a_idx')").parse().unwrap();
    assert!((estimated / real - 1.0).abs() < 0.15, "{estimated} {real}");
    found.iter().for_each(|row| follow(&mut client, &row[2]));
    assert_eq!(fingerprint(&mut client), before);
}

#[test]
fn what_is_invalid_is_dropped_rebuilt_or_left_to_those_who_build_it() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, c int); INSERT INTO t VALUES (1, 1, 1, 1), (2, 1, 1, 1);
         CREATE TABLE other (a int)",
    );
    // A unique index on what is not unique stays behind, invalid.
    for index in ["t_a", "t_b_idx_ccnew", "t_c"] {
        let column = &index[2..3];
        let statement = format!("CREATE UNIQUE INDEX CONCURRENTLY {index} ON t ({column})");
        assert_eq!(refused(&mut client, &statement).sqlstate, "23505");
    }
    execute(&mut client, "UPDATE t SET a = id, c = id; CREATE UNIQUE INDEX t_c_valid ON t (c)");
    assert_eq!(
        advised_where(&mut client, "'7 days'", "true"),
        ["invalid rebuild public.t_a", "invalid drop public.t_b_idx_ccnew", "invalid drop public.t_c"]
    );
    let found = rows(&mut client, "SELECT ddl FROM opdb.index_advice()").concat();
    found.iter().for_each(|ddl| follow(&mut client, ddl));
    let none: [&str; 0] = [];
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), none);

    // While somebody builds one, it is invalid too.
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN; INSERT INTO t VALUES (3, 3, 3, 3)");
    let mut builder = on_test(&name);
    let building =
        std::thread::spawn(move || builder.batch_execute("CREATE INDEX CONCURRENTLY t_b_building ON t (b)"));
    let is_invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    while text(&mut client, is_invalid) == "0" {
        assert!(!building.is_finished());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), none);
    execute(&mut holder, "COMMIT");
    building.join().unwrap().unwrap();
    assert_eq!(text(&mut client, is_invalid), "0");
}

#[test]
fn what_is_dropped_comes_back_as_it_was() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SET allow_in_place_tablespaces = on");
    execute(&mut client, "CREATE TABLESPACE \"index; space\" LOCATION ''");
    execute(
        &mut client,
        r#"CREATE SCHEMA "S;s"; CREATE EXTENSION pg_trgm;
           CREATE TABLE "S;s"."T ""1" ("A b" text, n int, m int);
           CREATE INDEX "i;""x" ON "S;s"."T ""1" USING btree (lower("A b") COLLATE "C" text_pattern_ops DESC NULLS LAST, n)
               INCLUDE (m) WITH (fillfactor = 70, deduplicate_items = off) TABLESPACE "index; space"
               WHERE "A b" <> ' WHERE ';
           ALTER INDEX "S;s"."i;""x" ALTER COLUMN 1 SET STATISTICS 500;
           COMMENT ON INDEX "S;s"."i;""x" IS 'it''s; mine';
           ALTER INDEX "S;s"."i;""x" DEPENDS ON EXTENSION pg_trgm"#,
    );
    let before = fingerprint(&mut client);
    let (ddl, undo) = advice(&mut client, r#""S;s"."i;""x""#);
    follow(&mut client, &ddl);
    assert_ne!(fingerprint(&mut client), before);
    follow(&mut client, &undo);
    assert_eq!(fingerprint(&mut client), before);
    execute(&mut client, r#"DROP TABLE "S;s"."T ""1""#);
    execute(&mut client, "DROP TABLESPACE \"index; space\"");
}
