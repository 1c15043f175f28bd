//! What a rebuild would give back, against what it gives back.

use postgres::Client;

use crate::fixture::{database, execute, on_test, rows, servers, text};

const BLOATED: &str = "SELECT object, bytes FROM opdb.index_advice() WHERE kind = 'bloated' ORDER BY object";

fn assert_given_back(client: &mut Client, expected: &[&str]) {
    let found = rows(client, BLOATED);
    let objects: Vec<&str> = found.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(objects, expected);
    let ddl =
        rows(client, "SELECT ddl FROM opdb.index_advice() WHERE kind = 'bloated' ORDER BY object").concat();
    for (row, ddl) in found.iter().zip(ddl) {
        let size = format!("SELECT pg_relation_size('{}')", row[0]);
        let before: f64 = text(client, &size).parse().unwrap();
        execute(client, &ddl);
        let given_back = before - text(client, &size).parse::<f64>().unwrap();
        let promised: f64 = row[1].parse().unwrap();
        assert!((promised / given_back - 1.0).abs() < 0.15, "{row:?}: {given_back} of {before}");
        assert!(given_back / before > 0.4, "{row:?}: {given_back} of {before}");
    }
    assert_eq!(rows(client, BLOATED), [[""; 0]; 0], "all is rebuilt");
}

#[test]
fn a_healthy_index_is_not_bloated_however_it_was_filled() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (id int, k int, u uuid, w text, f int) WITH (autovacuum_enabled = off);
         CREATE INDEX t_random ON t (u); CREATE INDEX t_few ON t (k); CREATE INDEX t_wide ON t (w);
         CREATE INDEX t_half ON t (f) WITH (fillfactor = 50);
         INSERT INTO t SELECT i, i % 50, gen_random_uuid(), repeat(md5(i::text), 4), i FROM generate_series(1, 120000) i;
         REINDEX INDEX t_half",
    );
    execute(&mut client, "VACUUM (ANALYZE) t");
    assert_eq!(rows(&mut client, BLOATED), [[""; 0]; 0]);
}

#[test]
fn what_a_mass_delete_left_is_told_to_fifteen_per_cent() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, k int, u uuid, w text) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT i, i % 1000, gen_random_uuid(), md5(i::text) FROM generate_series(1, 200000) i;
         CREATE INDEX t_few ON t (k); CREATE INDEX t_random ON t (u); CREATE INDEX t_text ON t (w);
         CREATE INDEX t_part ON t (id) WHERE id > 190000",
    );
    execute(&mut client, "VACUUM (ANALYZE) t");
    assert_eq!(rows(&mut client, BLOATED), [[""; 0]; 0]);
    // Whole pages of the deduplicated index become free, the others thin out.
    execute(&mut client, "DELETE FROM t WHERE k >= 300");
    execute(&mut client, "VACUUM (ANALYZE) t");
    assert_given_back(&mut client, &["public.t_few", "public.t_pkey", "public.t_random", "public.t_text"]);
}

#[test]
fn entries_that_a_rebuild_merges_count_once() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (k text) WITH (autovacuum_enabled = off);
         CREATE INDEX t_k ON t (k) WITH (deduplicate_items = off);
         INSERT INTO t SELECT md5((i % 100)::text) FROM generate_series(1, 60000) i;
         ALTER INDEX t_k SET (deduplicate_items = on)",
    );
    execute(&mut client, "VACUUM (ANALYZE) t");
    assert_given_back(&mut client, &["public.t_k"]);
}
