//! One line for each table.

use crate::fixture::{Pair, execute, rows, text};

#[test]
fn each_table_is_equal_different_or_unknown() {
    let mut pair = Pair::with_plain_production();
    let tables = "CREATE TABLE same (id int PRIMARY KEY, a numeric); CREATE TABLE other (id int PRIMARY KEY, a numeric);
                  CREATE TABLE hidden (id int PRIMARY KEY); CREATE TABLE empty (id int PRIMARY KEY);
                  INSERT INTO same SELECT i, i FROM generate_series(1, 100) i; INSERT INTO other SELECT i, i FROM generate_series(1, 100) i;";
    for client in [&mut pair.here, &mut pair.there] {
        execute(client, tables);
    }
    execute(
        &mut pair.here,
        "CREATE TABLE missing (id int); CREATE TABLE wider (id int PRIMARY KEY, more int); INSERT INTO wider VALUES (1)",
    );
    execute(
        &mut pair.there,
        "CREATE TABLE wider (id int PRIMARY KEY); INSERT INTO wider VALUES (1);
         UPDATE same SET a = a + 0.000; UPDATE other SET a = -a WHERE id = 5; DELETE FROM other WHERE id = 6;
         ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE ROLE nobody_of_summary LOGIN PASSWORD 'x';
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody_of_summary",
    );
    let name = pair.there_name.clone();
    crate::fixture::register(&mut pair.here, "production", "production", &name, "nobody_of_summary", "x");
    let found = rows(
        &mut pair.here,
        "SELECT table_name, state, local_rows, remote_rows, local_digest = remote_digest, detail
         FROM opdb.compare_summary('production') ORDER BY 1",
    );
    assert_eq!(
        found,
        [
            ["public.empty", "equal", "0", "0", "t", ""],
            [
                "public.hidden",
                "unknown",
                "NULL",
                "NULL",
                "NULL",
                "environment \"production\": query would be affected by row-level security policy for table \"hidden\""
            ],
            [
                "public.missing",
                "unknown",
                "NULL",
                "NULL",
                "NULL",
                "table public.missing does not exist on environment \"production\""
            ],
            ["public.other", "different", "100", "99", "f", ""],
            ["public.same", "equal", "100", "100", "t", ""],
            [
                "public.wider",
                "different",
                "1",
                "1",
                "t",
                "column more is only here; the other columns are the same"
            ],
        ]
    );
    let sql =
        "SELECT state, remote_rows FROM opdb.compare_summary('production', '{same}', '{\"connections\": 3}')";
    assert_eq!(rows(&mut pair.here, sql), [["equal", "100"]]);
    let digest = "SELECT local_digest ~ '^[0-9a-f]{48}$' FROM opdb.compare_summary('production', '{same}')";
    assert_eq!(text(&mut pair.here, digest), "t");
}
