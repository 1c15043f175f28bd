//! Advice waits for nobody, writes nothing and works on a standby.

use opdb_e2e::cluster::Cluster;

use super::advised;
use crate::fixture::{database, execute, installation, on_test, rows, servers, text};

const TABLES: &str = "CREATE TABLE p (id int PRIMARY KEY);
    CREATE TABLE t (id int PRIMARY KEY, a text, p int REFERENCES p) WITH (autovacuum_enabled = off);
    CREATE INDEX t_id ON t (id); CREATE INDEX t_low ON t (lower(a)); CREATE INDEX t_a ON t (a);
    INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 60000) i";

#[test]
fn a_lock_of_another_session_is_not_waited_for() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(&mut client, TABLES);
    execute(&mut client, "DELETE FROM t WHERE id % 10 <> 0");
    execute(&mut client, "VACUUM (ANALYZE) t");
    let free = advised(&mut client);
    assert!(free.contains(&"bloated rebuild public.t_pkey".to_owned()), "{free:?}");
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    execute(&mut client, "SET statement_timeout = '60s'");
    let locked = rows(&mut client, "SELECT object, bytes FROM opdb.index_advice('0') ORDER BY kind, object");
    let of = |object: &str| {
        locked.iter().filter(|row| row[0] == object).map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    // Nobody should drop what cannot be described.
    assert_eq!(of("public.t_id"), [""; 0]);
    assert_eq!(of("public.t_low"), [""; 0]);
    assert_eq!(of("public.t_p_idx").len(), 1);
    execute(&mut holder, "ROLLBACK; BEGIN; ALTER TABLE t ADD COLUMN x int");
    rows(&mut client, "SELECT * FROM opdb.index_advice('0')");
    execute(&mut holder, "ROLLBACK");
    assert_eq!(advised(&mut client), free);
}

#[test]
fn the_ledger_says_that_it_does_not_know_rather_than_wait() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "CREATE TABLE t (a text); CREATE INDEX t_low ON t (lower(a)); CREATE INDEX t_same ON t (lower(a))",
    );
    execute(&mut client, "SELECT opdb.drop_advised_index('t_same')");
    let restored = "SELECT restored FROM opdb.index_ledger";
    assert_eq!(text(&mut client, restored), "t", "t_low is the same");
    let mut holder = on_test(&name);
    execute(&mut holder, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    assert_eq!(text(&mut client, restored), "NULL");
}

#[test]
fn it_reads_on_a_standby_and_says_so() {
    let settings = [("shared_preload_libraries", "pg_stat_statements"), ("autovacuum", "off")];
    let cluster = Cluster::start_temporary(&installation(), &settings).unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    execute(&mut client, "CREATE EXTENSION opdb CASCADE; CREATE EXTENSION pg_stat_statements");
    let has_hypopg = super::hypothetical::create_hypopg(&mut client);
    execute(&mut client, TABLES);
    execute(&mut client, "DELETE FROM t WHERE id % 10 <> 0");
    execute(&mut client, "VACUUM (ANALYZE) t");
    for _ in 0..3 {
        execute(&mut client, "SELECT count(*) FROM t WHERE a < 'b' AND id + 0 > 5 OR p = 3");
    }
    drop(client);
    cluster.restart_as_standby().unwrap();
    let mut client = cluster.connect_as_superuser("postgres").unwrap();
    let found = advised(&mut client);
    for kind in
        ["duplicate drop public.t_id", "unused drop public.t_a", "unindexed_foreign_key", "bloated rebuild"]
    {
        assert!(found.iter().any(|advice| advice.starts_with(kind)), "{kind}: {found:?}");
    }
    let reason = text(&mut client, "SELECT reason FROM opdb.index_advice('0') WHERE kind = 'unused' LIMIT 1");
    assert!(reason.contains("this standby only"), "{reason}");
    if has_hypopg {
        rows(&mut client, "SELECT count(*) FROM t WHERE a = 'x' AND id > 7");
        rows(&mut client, "SELECT * FROM opdb.index_advice('0')");
    }
    assert_eq!(
        crate::fixture::refused(&mut client, "SELECT opdb.drop_advised_index('t_id')").sqlstate,
        "25006"
    );
}
