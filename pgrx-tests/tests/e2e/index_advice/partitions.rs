//! One row for a partitioned index, whatever it has of parts.

use super::{advice, advised, advised_where, fingerprint, follow};
use crate::fixture::{database, execute, on_test, refused, rows, servers, text};

const TABLES: &str = "CREATE TABLE q (id int PRIMARY KEY);
    CREATE TABLE p (k int, a int, b int, r int REFERENCES q) PARTITION BY RANGE (k);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (k);
    CREATE TABLE p21 PARTITION OF p2 FOR VALUES FROM (10) TO (15);
    CREATE TABLE p22 PARTITION OF p2 FOR VALUES FROM (15) TO (20);
    INSERT INTO q SELECT generate_series(1, 100);
    INSERT INTO p SELECT i % 20, i, i, 1 + i % 100 FROM generate_series(1, 2000) i; ANALYZE";

#[test]
fn use_is_summed_over_the_parts_and_what_is_dropped_comes_back() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        &format!(
            "{TABLES}; CREATE INDEX ON p (r); CREATE INDEX p_used ON p (a); CREATE INDEX p_unused ON p (b) WHERE a > 0;
             COMMENT ON INDEX p_unused IS 'why'; COMMENT ON INDEX p21_b_idx IS 'part';
             SET enable_seqscan = off; SELECT count(*) FROM p21 WHERE a = 11; CREATE INDEX p_same ON p (a)"
        ),
    );
    assert_eq!(advised(&mut client), ["duplicate drop public.p_same", "unused drop public.p_unused"]);
    let bytes = "SELECT bytes = (SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('p_unused')), write_cost > 0
                 FROM opdb.index_advice('0') WHERE object = 'public.p_unused'";
    assert_eq!(rows(&mut client, bytes), [["t", "t"]]);
    let before = fingerprint(&mut client);
    let names = "SELECT string_agg(relid::regclass::text, ' ' ORDER BY 1) FROM pg_partition_tree('p_unused')";
    let parts = text(&mut client, names);
    let (ddl, undo) = advice(&mut client, "public.p_unused");
    follow(&mut client, &ddl);
    follow(&mut client, &undo);
    assert_eq!(fingerprint(&mut client), before);
    assert_eq!(text(&mut client, names), parts);
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    let refusal = refused(&mut client, "SELECT opdb.drop_advised_index('p21_b_idx', min_age => '0')");
    assert_eq!((refusal.sqlstate.as_str(), refusal.hint.contains("public.p_unused")), ("42809", true));
    execute(&mut client, "SELECT opdb.drop_advised_index('p_unused', min_age => '0')");
    let undo = rows(
        &mut client,
        "SELECT u.statement FROM opdb.index_ledger, unnest(undo_statements) WITH ORDINALITY u (statement, place) ORDER BY place",
    );
    undo.concat().iter().for_each(|statement| execute(&mut client, statement));
    assert_eq!(fingerprint(&mut client), before);
    assert_eq!(text(&mut client, "SELECT restored FROM opdb.index_ledger"), "t");
}

#[test]
fn a_foreign_key_of_a_partitioned_table_is_one_row_that_keeps_nobody_out() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, TABLES);
    let before = fingerprint(&mut client);
    assert_eq!(advised(&mut client), ["unindexed_foreign_key create public.p_r_idx"]);
    let (ddl, undo) = advice(&mut client, "public.p_r_idx");
    assert_eq!(ddl.matches("CREATE INDEX CONCURRENTLY").count(), 3, "{ddl}");
    follow(&mut client, &ddl);
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), [""; 0]);
    follow(&mut client, &undo);
    assert_eq!(fingerprint(&mut client), before);
    // An index on every partition does as well; one that lacks does not.
    execute(&mut client, "CREATE INDEX ON p1 (r); CREATE INDEX ON p21 (r); CREATE INDEX ON p22 (k)");
    assert_eq!(advised_where(&mut client, "'7 days'", "true").len(), 1);
    execute(&mut client, "CREATE INDEX ON p22 (r)");
    assert_eq!(advised_where(&mut client, "'7 days'", "true"), [""; 0]);
}

#[test]
fn a_partitioned_index_that_lacks_parts_is_completed() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        &format!(
            "{TABLES}; CREATE INDEX ON p (r); CREATE INDEX p_a ON ONLY p (a DESC) WHERE b > 0;
             CREATE INDEX p1_a ON p1 (a DESC) WHERE b > 0; ALTER INDEX p_a ATTACH PARTITION p1_a;
             ALTER TABLE ONLY p ADD UNIQUE (k, a)"
        ),
    );
    let invalid = "SELECT object, reason, ddl FROM opdb.index_advice() WHERE kind = 'invalid' ORDER BY 1";
    let found = rows(&mut client, invalid);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0][1].ends_with("attached to it: public.p2"), "{found:?}");
    assert!(found[1][1].ends_with("public.p1, public.p2"), "{found:?}");
    found.iter().for_each(|row| follow(&mut client, &row[2]));
    assert_eq!(rows(&mut client, invalid), [[""; 0]; 0]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
}
