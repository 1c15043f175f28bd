//! Expired partitions that move to another server: no row is lost, none is there twice, whatever interferes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use opdb_e2e::cluster::Cluster;
use postgres::Client;

use crate::fixture::{
    Pair, Refusal, execute, installation, on_production, on_test, plain_database, refused, role, rows,
    servers, text,
};

const MAINTAIN: &str = "CALL opdb.run_partition_maintenance()";
const KINDS: &str = "SELECT string_agg(c.relname || ':' || c.relkind::text, ' ' ORDER BY c.relname)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relname < 'events_2021'";
const SUMS: &str = "SELECT count(*) || ' ' || sum(id) FROM events";
const LAST: &str = "SELECT status || ': ' || detail FROM opdb.partition_runs WHERE action IN ('archive', 'detach') ORDER BY run_id DESC LIMIT 1";

/// Two expired months, and one partition for all that comes before the current one.
fn make_events(client: &mut Client) {
    execute(
        client,
        "CREATE TABLE events (id int NOT NULL, at timestamptz NOT NULL, v text) PARTITION BY RANGE (at);
         CREATE TABLE events_2020_01 PARTITION OF events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');
         CREATE TABLE events_2020_02 PARTITION OF events FOR VALUES FROM ('2020-02-01Z') TO ('2020-03-01Z');
         CREATE TABLE events_rest PARTITION OF events FOR VALUES FROM ('2020-03-01Z') TO (date_trunc('month', now(), 'UTC'));
         INSERT INTO events SELECT n, timestamptz '2020-01-01Z' + n * interval '1 minute', 'v' || n
             FROM generate_series(1, 80000) n;",
    );
}

fn manage(table: &str, options: &str) -> String {
    format!(
        "SELECT opdb.manage_partitions('{table}', '1 month', 1, '90 days', 'archive',
             options => '{{\"archive_environment\": \"production\"{options}}}')"
    )
}

fn managed() -> Pair {
    let mut pair = Pair::with_plain_production();
    make_events(&mut pair.here);
    execute(&mut pair.here, &manage("events", ""));
    pair
}

/// Carries out the tasks of retention whose JSON begins like `kind`.
fn run_tasks(client: &mut Client, kind: &str) -> Vec<Vec<String>> {
    rows(
        client,
        &format!(
            "SELECT r.status, r.detail FROM opdb.partition_tasks('events', 'retire') t,
                 opdb.run_partition_task('events', t.task, false) r WHERE t.task ? '{kind}'"
        ),
    )
}

#[test]
fn rows_move_and_readers_always_see_each_once() {
    let mut pair = managed();
    let before = text(&mut pair.here, SUMS);
    let plan = rows(
        &mut pair.here,
        "SELECT partition, action FROM opdb.plan_partitions('events') WHERE action <> 'create'",
    );
    assert_eq!(plan.len(), 4, "{plan:?}");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (stop, name, before) = (&stop, pair.here_name.clone(), before.clone());
                scope.spawn(move || {
                    let mut client = on_test(&name);
                    let mut reads = 0;
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(text(&mut client, SUMS), before);
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        execute(&mut pair.here, MAINTAIN);
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 2);
        }
    });
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
    assert_eq!(text(&mut pair.here, SUMS), before);
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM public.events_2020_01"), "44639");
    assert_eq!(
        rows(&mut pair.here, "SELECT DISTINCT state, detail FROM opdb.retired_partition"),
        [["done", "archived on environment 'production'"]]
    );
    // Nothing is left to do, also if everything is dropped from now on.
    let left = "SELECT count(*) FROM opdb.plan_partitions('events') WHERE action <> 'create'";
    assert_eq!(text(&mut pair.here, left), "0");
    assert_eq!(text(&mut pair.here, "SELECT expired || '/' || unfinished FROM opdb.partition_status"), "0/0");
    execute(&mut pair.here, "SELECT opdb.manage_partitions('events', '1 month', 1, '90 days', 'drop')");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, SUMS), before);
    assert_eq!(
        text(&mut pair.here, "SELECT count(*) FROM opdb.partition_drift() WHERE partition ~ '2020'"),
        "0"
    );
    // What was archived can still be written to.
    execute(&mut pair.here, "DELETE FROM events WHERE id = 7");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM public.events_2020_01"), "44638");
}

#[test]
fn every_type_arrives_as_it_was_under_any_name() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        r#"CREATE SCHEMA "Ünï cödé";
           CREATE TABLE "Ünï cödé"."My table" (
               "Odd ""co'l" text NOT NULL, "at" date NOT NULL, n numeric, n2 numeric(10,2), f8 float8, f4 real, j jsonb,
               js json, b bytea, a text[], a2 int[], c char(5), vc varchar(3), ts timestamptz, t timetz, i interval,
               u uuid, ip inet, bo boolean, bits varbit(8), r int4range, s text COLLATE "C", big bigint, p point,
               dropped int, m money, g bigint GENERATED ALWAYS AS (big * 2) STORED, mr datemultirange, v tsvector)
               PARTITION BY RANGE ("at");
           ALTER TABLE "Ünï cödé"."My table" DROP dropped;
           CREATE INDEX ON "Ünï cödé"."My table" (big);
           CREATE TABLE "Ünï cödé"."My table_2020" PARTITION OF "Ünï cödé"."My table"
               FOR VALUES FROM (MINVALUE) TO ('2021-01-01');
           CREATE TABLE "Ünï cödé".rest PARTITION OF "Ünï cödé"."My table"
               FOR VALUES FROM ('2021-01-01') TO (date_trunc('month', now(), 'UTC')::date);
           INSERT INTO "Ünï cödé"."My table" VALUES ('it''s \ "x" 🐘', '2020-02-29', 'NaN', -0.10, 'Infinity', 1e-40,
               '{"a": [1, null, "\u00e9\\"]}', '{"b" : 1,  "b":2}', '\x00ff5c27', ARRAY['a,"b\', NULL, ''], '{{1,2},{3,4}}',
               'ab', 'äöü', 'infinity', '12:00+05:30', '-1 mon +2 days 00:00:00.000001',
               '018f0000-0000-7000-8000-000000000000', '10.0.0.1/8', true, B'0101', '[1,5)', 'Z', 9223372036854775807 / 2,
               '(1.1,-2)', 12.34, DEFAULT, '{[2020-01-01,2020-02-01)}', 'a:1 b:2');
           INSERT INTO "Ünï cödé"."My table" ("Odd ""co'l", "at", ts, f8, n) VALUES (E'\n\t', '-infinity', '-infinity', 'NaN', 1e100);
           INSERT INTO "Ünï cödé"."My table" ("Odd ""co'l", "at", f8, big)
               SELECT repeat('x', n % 400), date '2020-01-01' + n % 300, random(), n FROM generate_series(1, 3000) n"#,
    );
    let table = r#""Ünï cödé"."My table""#;
    execute(&mut pair.here, &manage(table, r#", "archive_schema": "Cold \" store""#));
    let sums = format!("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t");
    let before = rows(&mut pair.here, &sums);
    execute(&mut pair.here, MAINTAIN);
    let kind = text(&mut pair.here, "SELECT relkind FROM pg_class WHERE relname = 'My table_2020'");
    assert_eq!(kind, "f", "{}", text(&mut pair.here, LAST));
    assert_eq!(rows(&mut pair.here, &sums), before);
    assert_eq!(text(&mut pair.there, r#"SELECT count(*) FROM "Cold "" store"."My table_2020""#), "3002");
    let check = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'opdb_range'";
    assert_eq!(text(&mut pair.there, check), "CHECK ((at < '2021-01-01'::date))");
    // The table there generates nothing: what would be lost is refused.
    let refusal = refused(&mut pair.here, &format!("UPDATE {table} SET big = 1 WHERE \"at\" = '2020-02-29'"));
    assert_eq!(refusal.sqlstate, "55000", "{refusal:?}");
}

#[test]
fn what_cannot_be_a_foreign_partition_is_refused_up_front() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE o (id int PRIMARY KEY); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    );
    for (number, ddl) in [
        "ALTER TABLE $ ADD PRIMARY KEY (id, at)",
        "ALTER TABLE $ ADD FOREIGN KEY (id) REFERENCES o",
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON $ FOR EACH ROW EXECUTE FUNCTION f()",
    ]
    .iter()
    .enumerate()
    {
        let table = format!("t{number}");
        execute(
            &mut pair.here,
            &format!(
                "CREATE TABLE {table} (id int, at date NOT NULL) PARTITION BY RANGE (at); {}",
                ddl.replace('$', &table)
            ),
        );
        let refusal = refused(&mut pair.here, &manage(&table, ""));
        assert_eq!(refusal.sqlstate, "0A000", "{ddl}: {refusal:?}");
    }
    make_events(&mut pair.here);
    let unknown = manage("events", "").replace("production", "nowhere");
    assert_eq!(refused(&mut pair.here, &unknown).sqlstate, "42704");
    let with_tablespace = manage("events", r#", "archive_tablespace": "pg_default""#);
    assert_eq!(refused(&mut pair.here, &with_tablespace).sqlstate, "22023");
}

#[test]
fn it_is_the_owner_who_needs_credentials() {
    let mut pair = Pair::with_plain_production();
    let owner = role(&servers().test, &[]);
    execute(&mut pair.here, &format!("GRANT CREATE ON SCHEMA public TO {owner}"));
    make_events(&mut pair.here);
    for table in ["events", "events_2020_01", "events_2020_02", "events_rest"] {
        execute(&mut pair.here, &format!("ALTER TABLE {table} OWNER TO {owner}"));
    }
    let lacks = |refusal: Refusal, what: &str| {
        assert_eq!(refusal.sqlstate, "42501", "{refusal:?}");
        assert!(refusal.message.contains(what), "{refusal:?}");
    };
    lacks(refused(&mut pair.here, &manage("events", "")), "the right to use");
    execute(&mut pair.here, &format!("GRANT opdb_operator TO {owner}"));
    lacks(refused(&mut pair.here, &manage("events", "")), "credentials");
    let there = role(&servers().production, &[]);
    execute(&mut pair.there, &format!("CREATE SCHEMA cold AUTHORIZATION {there}"));
    execute(
        &mut pair.here,
        &format!(
            "CREATE USER MAPPING FOR {owner} SERVER production OPTIONS (user '{there}', password '{there}')"
        ),
    );
    execute(&mut pair.here, &manage("events", r#", "archive_schema": "cold""#));
    // A superuser runs it, and nothing is done there as him.
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(
        text(&mut pair.here, KINDS),
        "events_2020_01:f events_2020_02:f",
        "{}",
        text(&mut pair.here, LAST)
    );
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'cold'";
    assert_eq!(rows(&mut pair.there, owners), [[there]]);
    let owners = "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relkind = 'f'";
    assert_eq!(rows(&mut pair.here, owners), [[owner]]);
}

#[test]
fn a_table_in_the_way_and_missing_types_are_named() {
    let mut pair = managed();
    execute(&mut pair.there, "CREATE TABLE events_2020_01 (mine int)");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:f");
    let failed = "SELECT string_agg(DISTINCT sqlstate, ',') FROM opdb.partition_runs WHERE status = 'failed'";
    // Copying says what is in the way, and so does comparing.
    assert_eq!(text(&mut pair.here, failed), "42P07");
    let error = text(&mut pair.here, "SELECT last_error FROM opdb.partition_status");
    assert!(error.contains("public.events_2020_01"), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM events_2020_01"), "0");
    execute(&mut pair.there, "DROP TABLE events_2020_01");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");

    execute(
        &mut pair.here,
        r#"CREATE TYPE "Mood" AS ENUM ('fine'); CREATE TABLE moods (at date NOT NULL, m "Mood"[]) PARTITION BY RANGE (at);
           CREATE TABLE moods_2020 PARTITION OF moods FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
           CREATE TABLE moods_rest PARTITION OF moods FOR VALUES FROM ('2021-01-01') TO (date_trunc('month', now(), 'UTC')::date);
           INSERT INTO moods VALUES ('2020-01-01', '{fine,NULL}')"#,
    );
    execute(&mut pair.here, &manage("moods", ""));
    execute(&mut pair.here, MAINTAIN);
    let error = text(
        &mut pair.here,
        "SELECT sqlstate || detail FROM opdb.partition_runs WHERE parent = 'moods'::regclass AND status = 'failed' ORDER BY run_id LIMIT 1",
    );
    assert!(error.starts_with("42704") && error.contains(r#"public."Mood"[]"#), "{error}");
    execute(&mut pair.there, r#"CREATE TYPE "Mood" AS ENUM ('fine', 'other')"#);
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, "SELECT m FROM moods"), "{fine,NULL}");
    assert_eq!(text(&mut pair.here, "SELECT relkind FROM pg_class WHERE relname = 'moods_2020'"), "f");
}

#[test]
fn what_is_written_between_copying_and_comparing_is_noticed() {
    let mut pair = managed();
    assert_eq!(run_tasks(&mut pair.here, "ship").len(), 2);
    let note = "SELECT note FROM opdb.plan_partitions('events') WHERE action = 'archive' LIMIT 1";
    assert!(text(&mut pair.here, note).starts_with("copied at"), "{}", text(&mut pair.here, note));
    execute(&mut pair.here, "UPDATE events SET v = NULL WHERE id = 5");
    let before = text(&mut pair.here, "SELECT count(*) || ' ' || count(v) FROM events");
    let swapped = run_tasks(&mut pair.here, "swap");
    assert_eq!([&swapped[0][0], &swapped[1][0]], ["failed", "done"]);
    assert!(swapped[0][1].contains("was written to"), "{swapped:?}");
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:f");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
    assert_eq!(text(&mut pair.here, "SELECT count(*) || ' ' || count(v) FROM events"), before);
}

#[test]
fn a_transaction_with_an_old_snapshot_compares_what_is_there_now() {
    let mut pair = managed();
    run_tasks(&mut pair.here, "ship");
    execute(&mut pair.here, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM opdb.partition_set");
    execute(&mut on_test(&pair.here_name), "INSERT INTO events VALUES (0, '2020-01-01Z', 'late')");
    let swapped = run_tasks(&mut pair.here, "swap");
    assert_eq!(swapped[0][0], "failed", "{swapped:?}");
    execute(&mut pair.here, "COMMIT");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, SUMS), "80001 3200040000");
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
}

#[test]
fn somebody_who_writes_is_neither_killed_nor_overtaken() {
    let mut pair = managed();
    run_tasks(&mut pair.here, "ship");
    let mut writer = on_test(&pair.here_name);
    execute(&mut writer, "BEGIN; INSERT INTO events VALUES (0, '2020-01-05Z', 'late')");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:r", "the table is in use");
    let blockers = text(&mut pair.here, "SELECT last_blockers FROM opdb.partition_status");
    assert!(blockers.contains("RowExclusiveLock"), "{blockers}");
    execute(&mut writer, "COMMIT");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
    assert_eq!(text(&mut pair.here, SUMS), "80001 3200040000");
}

/// Waits until a session of the database of `client` waits for a lock.
fn wait_for_a_waiter(client: &mut Client) {
    let waits = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.datname = current_database()
                 WHERE NOT granted AND l.pid <> pg_backend_pid() AND (l.database = d.oid OR l.database IS NULL)";
    for _ in 0..2000 {
        if text(client, waits) != "0" {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody waited");
}

#[test]
fn a_writer_who_came_while_rows_were_compared_is_let_through() {
    let mut pair = managed();
    run_tasks(&mut pair.here, "ship");
    execute(&mut pair.there, "BEGIN; LOCK TABLE events_2020_01 IN SHARE ROW EXCLUSIVE MODE");
    let (mut swapper, mut writer) = (on_test(&pair.here_name), on_test(&pair.here_name));
    let swap = thread::spawn(move || run_tasks(&mut swapper, "swap"));
    wait_for_a_waiter(&mut on_production(&pair.there_name));
    let write =
        thread::spawn(move || execute(&mut writer, "INSERT INTO events VALUES (0, '2020-01-05Z', 'late')"));
    wait_for_a_waiter(&mut pair.here);
    // Readers go on.
    assert_eq!(text(&mut pair.here, SUMS), "80000 3200040000");
    execute(&mut pair.there, "ROLLBACK");
    let swapped = swap.join().unwrap();
    assert!(swapped[0][1].contains("is being written to"), "{swapped:?}");
    write.join().unwrap();
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, SUMS), "80001 3200040000");
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
}

#[test]
fn a_hold_keeps_a_partition_here() {
    let mut pair = managed();
    execute(&mut pair.here, "SELECT opdb.hold_partitions('events_2020_01', 'lawsuit')");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:f");
    assert_eq!(text(&mut pair.there, "SELECT to_regclass('public.events_2020_01')"), "NULL");
    execute(&mut pair.here, "SELECT opdb.release_partitions('events_2020_01')");
    run_tasks(&mut pair.here, "ship");
    execute(&mut pair.here, "SELECT opdb.hold_partitions('events', 'lawsuit')");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:f");
    execute(&mut pair.here, "SELECT opdb.release_partitions('events')");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
}

#[test]
fn an_environment_that_is_away_fails_the_step_and_nothing_else() {
    let mut pair = managed();
    execute(&mut pair.here, "ALTER SERVER production OPTIONS (SET port '1')");
    execute(
        &mut pair.here,
        "DROP TABLE events_2020_02; CREATE TABLE other (at date NOT NULL) PARTITION BY RANGE (at);
        CREATE TABLE other_2020 PARTITION OF other FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
        CREATE TABLE other_rest PARTITION OF other FOR VALUES FROM ('2021-01-01') TO (date_trunc('month', now(), 'UTC')::date);
        SELECT opdb.manage_partitions('other', '1 month', 1, '90 days', 'drop')",
    );
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r");
    assert_eq!(text(&mut pair.here, "SELECT to_regclass('other_2020')"), "NULL");
    let states = "SELECT string_agg(DISTINCT sqlstate, ',') FROM opdb.partition_runs WHERE status = 'failed'";
    assert_eq!(text(&mut pair.here, states), "08001");
    let port = servers().production.port();
    execute(&mut pair.here, &format!("ALTER SERVER production OPTIONS (SET port '{port}')"));
    execute(
        &mut pair.there,
        &format!("ALTER DATABASE {} SET default_transaction_read_only = on", pair.there_name),
    );
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, states), "08001,25006", "{}", text(&mut pair.here, LAST));
    execute(
        &mut pair.there,
        &format!("ALTER DATABASE {} RESET default_transaction_read_only", pair.there_name),
    );
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f");
}

#[test]
fn what_was_attached_is_never_emptied() {
    let mut pair = managed();
    // As a copy of this database elsewhere would: it knows the table there, and has other rows.
    execute(&mut pair.here, "BEGIN");
    run_tasks(&mut pair.here, "ship");
    run_tasks(&mut pair.here, "swap");
    execute(&mut pair.here, "ROLLBACK; DELETE FROM events WHERE id <= 10");
    execute(&mut pair.here, MAINTAIN);
    let error = text(&mut pair.here, "SELECT last_error FROM opdb.partition_status");
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:f", "{error}");
    let first = "SELECT detail FROM opdb.partition_runs WHERE sqlstate = '42P07'";
    assert!(text(&mut pair.here, first).contains("has other rows"), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM events_2020_01"), "44639");
}

#[test]
fn a_large_default_partition_and_one_that_is_partitioned_itself() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE events (id int NOT NULL, at timestamptz NOT NULL, v text) PARTITION BY RANGE (at);
         CREATE TABLE events_default PARTITION OF events DEFAULT;
         CREATE TABLE events_2020_01 PARTITION OF events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')
             PARTITION BY HASH (id);
         CREATE TABLE h0 PARTITION OF events_2020_01 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE h1 PARTITION OF events_2020_01 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         CREATE TABLE events_rest PARTITION OF events FOR VALUES FROM ('2020-02-01Z') TO (date_trunc('month', now(), 'UTC'));
         INSERT INTO events SELECT n, '2020-01-02Z', 'v' FROM generate_series(1, 1000) n;
         INSERT INTO events SELECT n, '2019-01-02Z', repeat('v', 200) FROM generate_series(1, 20000) n;",
    );
    execute(&mut pair.here, &manage("events", ""));
    let before = text(&mut pair.here, SUMS);
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f", "{}", text(&mut pair.here, LAST));
    assert_eq!(text(&mut pair.here, SUMS), before);
    assert_eq!(text(&mut pair.here, "SELECT to_regclass('h0')"), "NULL");
    let left = "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'opdb_ahead%'";
    assert_eq!(text(&mut pair.here, left), "0");
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT count(*) FROM opdb.partition_runs WHERE action = 'check' AND status = 'done' AND lower_bound ~ '2020'"
        ),
        "3"
    );
}

/// A server of its own, which is killed; production stays.
struct Killed {
    here: Cluster,
    there: Client,
    there_name: String,
}

impl Killed {
    fn new() -> Self {
        let production = &servers().production;
        let here = Cluster::start_temporary(&installation(), &[]).unwrap();
        let there_name = plain_database(production);
        here.create_database("shop").unwrap();
        let mut client = here.connect_as_superuser("shop").unwrap();
        execute(
            &mut client,
            &format!(
                r#"SET client_min_messages = error; CREATE EXTENSION opdb CASCADE;
                   SELECT opdb.register_environment('production', 'production',
                       '{{"host": "127.0.0.1", "port": {}, "dbname": "{there_name}"}}', '{{"user": "{}", "password": "{}"}}')"#,
                production.port(),
                production.superuser(),
                production.password()
            ),
        );
        make_events(&mut client);
        execute(&mut client, &manage("events", ""));
        Self { here, there: production.connect_as_superuser(&there_name).unwrap(), there_name }
    }

    fn client(&self) -> Client {
        self.here.connect_as_superuser("shop").unwrap()
    }

    /// Maintains in the background until a session of `watched` waits for a lock, and then kills this server.
    fn kill_while_waiting(&self, watched: &mut Client) {
        let mut client = self.client();
        let run = thread::spawn(move || client.batch_execute(MAINTAIN).is_ok());
        // Who waits for a transaction waits in no database: others do, too.
        let waits = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
                     WHERE NOT l.granted AND a.datname = current_database()";
        while text(watched, waits) == "0" {
            assert!(!run.is_finished(), "it ended before it waited");
            thread::sleep(Duration::from_millis(2));
        }
        self.here.kill_nine().unwrap();
        assert!(!run.join().unwrap());
    }

    /// Nothing was lost, and the next run does the rest.
    fn recovers(&mut self, kinds: &str) {
        self.here.start_again().unwrap();
        let mut client = self.client();
        assert_eq!(text(&mut client, SUMS), "80000 3200040000");
        assert_eq!(text(&mut client, KINDS), kinds);
        execute(&mut client, MAINTAIN);
        assert_eq!(
            text(&mut client, KINDS),
            "events_2020_01:f events_2020_02:f",
            "{}",
            text(&mut client, LAST)
        );
        assert_eq!(text(&mut client, SUMS), "80000 3200040000");
        let there = "SELECT (SELECT count(*) FROM events_2020_01) + (SELECT count(*) FROM events_2020_02)";
        assert_eq!(text(&mut self.there, there), "80000");
    }
}

#[test]
fn killed_while_copying() {
    let mut killed = Killed::new();
    // The second partition's name is taken by a transaction there, of which nobody knows yet what comes.
    let mut blocker = servers().production.connect_as_superuser(&killed.there_name).unwrap();
    execute(&mut blocker, "BEGIN; CREATE TABLE events_2020_02 (x int)");
    let mut watched = servers().production.connect_as_superuser(&killed.there_name).unwrap();
    killed.kill_while_waiting(&mut watched);
    execute(&mut blocker, "ROLLBACK");
    killed.recovers("events_2020_01:f events_2020_02:r");
}

#[test]
fn killed_between_copying_and_swapping() {
    let mut killed = Killed::new();
    assert_eq!(run_tasks(&mut killed.client(), "ship").len(), 2);
    killed.here.kill_nine().unwrap();
    killed.recovers("events_2020_01:r events_2020_02:r");
}

#[test]
fn killed_while_comparing() {
    let mut killed = Killed::new();
    run_tasks(&mut killed.client(), "ship");
    let mut blocker = servers().production.connect_as_superuser(&killed.there_name).unwrap();
    execute(&mut blocker, "BEGIN; LOCK TABLE events_2020_01 IN SHARE ROW EXCLUSIVE MODE");
    let mut watched = servers().production.connect_as_superuser(&killed.there_name).unwrap();
    killed.kill_while_waiting(&mut watched);
    execute(&mut blocker, "ROLLBACK");
    killed.recovers("events_2020_01:r events_2020_02:r");
}

#[test]
fn killed_while_waiting_for_readers() {
    let mut killed = Killed::new();
    run_tasks(&mut killed.client(), "ship");
    let mut reader = killed.client();
    execute(&mut reader, "BEGIN; SELECT FROM events LIMIT 0");
    let mut watched = killed.client();
    killed.kill_while_waiting(&mut watched);
    killed.recovers("events_2020_01:r events_2020_02:r");
}

#[test]
fn a_transaction_that_has_used_the_other_server_before_misses_no_row() {
    let mut pair = managed();
    execute(
        &mut pair.here,
        "CREATE FOREIGN TABLE there (one int) SERVER production OPTIONS (schema_name 'pg_catalog', table_name 'pg_am')",
    );
    let mut old = on_test(&pair.here_name);
    execute(&mut old, "BEGIN; SELECT count(*) FROM there");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(
        text(&mut pair.here, KINDS),
        "events_2020_01:r events_2020_02:r",
        "the copy is younger than its snapshot there"
    );
    assert_eq!(text(&mut old, SUMS), "80000 3200040000");
    execute(&mut old, "COMMIT");
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut old, SUMS), "80000 3200040000");
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
}

#[test]
fn columns_that_change_between_copying_and_attaching_are_copied_anew() {
    let mut pair = managed();
    let before = text(&mut pair.here, SUMS);
    run_tasks(&mut pair.here, "ship");
    execute(
        &mut pair.here,
        "ALTER TABLE events ADD COLUMN added numeric; ALTER TABLE events ALTER v TYPE varchar(40)",
    );
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, SUMS), before);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:f events_2020_02:f");
    execute(&mut pair.here, "UPDATE events SET added = 1.2345, v = repeat('x', 40) WHERE id = 7");
    let there = "SELECT added || ' ' || length(v) FROM public.events_2020_01 WHERE id = 7";
    assert_eq!(text(&mut pair.there, there), "1.2345 40");
}

#[test]
fn a_table_that_somebody_else_has_prepared_there_gets_no_row() {
    let mut pair = managed();
    run_tasks(&mut pair.here, "ship");
    execute(
        &mut pair.there,
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER trap BEFORE INSERT ON events_2020_01 FOR EACH ROW EXECUTE FUNCTION trap(); TRUNCATE events_2020_01",
    );
    execute(&mut pair.here, MAINTAIN);
    assert_eq!(text(&mut pair.here, KINDS), "events_2020_01:r events_2020_02:f");
    let error =
        "SELECT last_error LIKE '%that opdb did not make for this partition%' FROM opdb.partition_status";
    assert_eq!(text(&mut pair.here, error), "t");
}
