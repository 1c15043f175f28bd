//! Plain tables become partitioned ones while they are in use.

mod catch_up;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use opdb_e2e::psql::describe;
use postgres::Client;

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

/// A generous multiple of what is measured on a machine that does nothing else.
const LONGEST_WAIT: Duration = Duration::from_millis(100 * 10);
const FIXED: i64 = 20_000;

fn session(database: &str) -> Client {
    let mut client = on_test(database);
    execute(&mut client, "SET client_min_messages = warning");
    client
}

fn new_session() -> (Client, String) {
    let name = database(&servers().test);
    (session(&name), name)
}

const EVENTS: &str = "
    CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL, kind text NOT NULL, value int NOT NULL);
    CREATE INDEX ON events (kind, at);
    INSERT INTO events SELECT g, now() - g % 30 * interval '1 day', 'fixed', 0 FROM generate_series(1, 20000) g;
    ANALYZE events";

/// A row of a writer's, as it must be: its day, counted backwards, and its value.
type Rows = BTreeMap<i64, (i32, i32)>;

/// Inserts, updates, moves to another day and deletes rows of its own until it is told to stop.
fn write(database: String, first: i64, stop: &'static AtomicBool) -> JoinHandle<Rows> {
    thread::spawn(move || {
        let mut client = session(&database);
        let mut rows = Rows::new();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let (id, day, value) = (first + i64::from(number % 100), number % 40, number);
            let at = format!("date_trunc('day', now()) - {day} * interval '1 day'");
            let before = if number % 3 == 0 { rows.remove(&id) } else { rows.insert(id, (day, value)) };
            let sql = match before {
                Some(_) if number % 3 == 0 => format!("DELETE FROM events WHERE id = {id}"),
                Some(_) => format!("UPDATE events SET at = {at}, value = {value} WHERE id = {id}"),
                None => {
                    rows.insert(id, (day, value));
                    format!("INSERT INTO events VALUES ({id}, {at}, 'moving', {value})")
                }
            };
            let done =
                client.execute(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)));
            assert_eq!(done, 1, "{sql}");
        }
        rows
    })
}

/// Counts rows that nobody changes until it is told to stop; returns how long it waited at most.
fn read(database: String, level: &'static str, stop: &'static AtomicBool) -> JoinHandle<(Duration, usize)> {
    thread::spawn(move || {
        let mut client = session(&database);
        let (mut longest, mut reads) = (Duration::ZERO, 0);
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let mut transaction = client.build_transaction().isolation_level(match level {
                "repeatable read" => postgres::IsolationLevel::RepeatableRead,
                _ => postgres::IsolationLevel::ReadCommitted,
            });
            transaction = transaction.read_only(true);
            let mut transaction = transaction.start().unwrap();
            if level == "repeatable read" {
                // A snapshot that is older than its first look at the table.
                transaction.query("SELECT 1", &[]).unwrap();
            }
            let sql = "SELECT count(*), count(DISTINCT id) FROM events WHERE kind = 'fixed' AND id % 100 = 7";
            let row = transaction.query_one(sql, &[]).unwrap_or_else(|error| panic!("{}", describe(&error)));
            let counts: (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(counts, (FIXED / 100, FIXED / 100), "{level}");
            transaction.commit().unwrap();
            longest = longest.max(begun.elapsed());
            reads += 1;
        }
        (longest, reads)
    })
}

fn rows_of(client: &mut Client, first: i64) -> Rows {
    let sql = format!(
        "SELECT id, extract(day FROM date_trunc('day', now()) - at)::int, value FROM events
         WHERE id >= {first} AND id < {first} + 1000 ORDER BY id"
    );
    let found = client.query(&sql, &[]).unwrap();
    let count = found.len();
    let rows: Rows = found.into_iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    assert_eq!(rows.len(), count, "a row is there twice");
    rows
}

#[test]
fn readers_and_writers_go_on() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (mut client, name) = new_session();
    execute(&mut client, EVENTS);
    let writers: Vec<_> =
        [100_000, 200_000, 300_000].map(|first| (first, write(name.clone(), first, &STOP))).into();
    let readers: Vec<_> = ["read committed", "repeatable read", "read committed"]
        .map(|level| read(name.clone(), level, &STOP))
        .into();
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    execute(
        &mut client,
        r#"CALL opdb.partition_table('events', 'at', options => '{"weaker_keys": true, "batch_rows": 500}')"#,
    );
    let took = begun.elapsed();
    thread::sleep(Duration::from_millis(300));
    STOP.store(true, Ordering::Relaxed);
    let (mut longest, mut reads) = (Duration::ZERO, 0);
    for reader in readers {
        let (waited, count) = reader.join().unwrap();
        longest = longest.max(waited);
        reads += count;
    }
    for (first, writer) in writers {
        assert_eq!(writer.join().unwrap(), rows_of(&mut client, first), "rows of the writer from {first}");
    }
    println!("converted in {took:?}; {reads} reads, the longest {longest:?}");
    assert!(longest < LONGEST_WAIT, "a reader waited {longest:?}");
    assert_eq!(text(&mut client, "SELECT relkind FROM pg_class WHERE oid = 'events'::regclass"), "p");
    assert_eq!(text(&mut client, "SELECT count(*) FROM events WHERE kind = 'fixed'"), FIXED.to_string());
    assert_eq!(text(&mut client, "SELECT state FROM opdb.partition_conversions"), "done");
    assert_eq!(text(&mut client, "SELECT parent FROM opdb.partition_set"), "events");
    // Called once more it has nothing to do; the old table is dropped by hand.
    execute(&mut client, "CALL opdb.partition_table('events', 'at')");
    execute(&mut client, "DROP TABLE events_unpartitioned");
    assert_eq!(text(&mut client, "SELECT old_table FROM opdb.partition_conversions"), "NULL");
    execute(&mut client, "CALL opdb.run_partition_maintenance()");
    assert_eq!(
        text(&mut client, "SELECT last_status FROM opdb.partition_status"),
        "done",
        "it is managed from now on"
    );
}

const RICH: &str = r#"
    CREATE TABLE customer (id int PRIMARY KEY);
    INSERT INTO customer SELECT generate_series(1, 100);
    CREATE TABLE "Orders" (
        id bigint GENERATED ALWAYS AS IDENTITY, number serial, at date NOT NULL, gone text,
        customer_id int NOT NULL REFERENCES customer ON DELETE CASCADE, amount numeric CHECK (amount >= 0),
        twice numeric GENERATED ALWAYS AS (amount * 2) STORED, note text COLLATE "C" DEFAULT 'x', PRIMARY KEY (id, at)
    ) WITH (fillfactor = 90);
    ALTER TABLE "Orders" DROP COLUMN gone;
    CREATE INDEX orders_customer ON "Orders" (customer_id) WHERE amount > 10;
    CREATE UNIQUE INDEX orders_number ON "Orders" (number, at) INCLUDE (note);
    CREATE STATISTICS orders_stats ON customer_id, amount FROM "Orders";
    COMMENT ON TABLE "Orders" IS 'the orders'; COMMENT ON INDEX orders_customer IS 'partial';
    CREATE TABLE log (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.log VALUES (TG_NAME || ' ' || TG_TABLE_NAME); RETURN coalesce(NEW, OLD); END $$;
    CREATE TRIGGER a_row BEFORE INSERT ON "Orders" FOR EACH ROW WHEN (NEW.amount > 5) EXECUTE FUNCTION note();
    CREATE TRIGGER b_off AFTER UPDATE OF note ON "Orders" FOR EACH ROW EXECUTE FUNCTION note();
    ALTER TABLE "Orders" DISABLE TRIGGER b_off;
    CREATE TRIGGER c_always AFTER DELETE ON "Orders" FOR EACH STATEMENT EXECUTE FUNCTION note();
    ALTER TABLE "Orders" ENABLE ALWAYS TRIGGER c_always;
    ALTER TABLE "Orders" ENABLE ROW LEVEL SECURITY;
    CREATE POLICY small ON "Orders" FOR SELECT USING (amount < 100);
    INSERT INTO "Orders" (at, customer_id, amount)
        SELECT current_date - g % 20, 1 + g % 100, g % 200 FROM generate_series(1, 3000) g;
    INSERT INTO "Orders" (at, customer_id, amount) VALUES ('2097-01-01', 1, 1), ('infinity', 1, 1);
    TRUNCATE log;
    CREATE VIEW cheap WITH (security_barrier) AS SELECT id, at, amount FROM "Orders" WHERE amount < 50;
    CREATE VIEW cheaper AS SELECT count(*) FROM cheap WHERE amount < 10;
    CREATE FUNCTION orders_of(c int) RETURNS bigint LANGUAGE sql BEGIN ATOMIC
        SELECT count(*) FROM "Orders" WHERE customer_id = c; END;
    CREATE TABLE item (id int PRIMARY KEY, order_id bigint, order_at date,
        CONSTRAINT item_order FOREIGN KEY (order_id, order_at) REFERENCES "Orders" (id, at));
    INSERT INTO item SELECT row_number() OVER (), id, at FROM "Orders" LIMIT 50;
    SELECT opdb.add_quality_rule('"Orders"', 'completeness', 'not_null', '{customer_id}')"#;

/// What there is to see of a table, by its name.
const LOOK: &str = r#"
    SELECT 'column', concat(attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = '"Orders"'::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'index', replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') FROM pg_index WHERE indrelid = '"Orders"'::regclass
    UNION ALL SELECT 'constraint', concat(conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE '"Orders"'::regclass IN (conrelid, confrelid) AND conparentid = 0
    UNION ALL SELECT 'trigger', concat(pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE tgrelid = '"Orders"'::regclass AND NOT tgisinternal
    UNION ALL SELECT 'policy', concat(polname, pg_get_expr(polqual, polrelid)) FROM pg_policy WHERE polrelid = '"Orders"'::regclass
    UNION ALL SELECT 'statistics', pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = '"Orders"'::regclass
    UNION ALL SELECT 'comment', obj_description('"Orders"'::regclass) || obj_description('orders_customer'::regclass)
    UNION ALL SELECT 'class', (relrowsecurity, relacl, relowner)::text FROM pg_class WHERE oid = '"Orders"'::regclass
    UNION ALL SELECT 'column acl', concat(attname, attacl) FROM pg_attribute WHERE attrelid = '"Orders"'::regclass AND attacl IS NOT NULL
    UNION ALL SELECT 'sequence', concat(pg_get_serial_sequence('"Orders"', c), s.last_value) FROM (VALUES ('id'), ('number')) v (c)
        JOIN pg_sequences s ON s.schemaname || '."' || s.sequencename || '"' = pg_get_serial_sequence('"Orders"', c)
    UNION ALL SELECT 'view', concat(relname, pg_get_viewdef(oid), reloptions, relacl) FROM pg_class WHERE relname = 'cheap'
    UNION ALL SELECT 'rows', md5(string_agg(o::text, ',' ORDER BY id)) FROM "Orders" o
    UNION ALL SELECT 'cheaper', count::text FROM cheaper UNION ALL SELECT 'function', orders_of(5)::text
    UNION ALL SELECT 'rule', table_name::text FROM opdb.quality_rule
    ORDER BY 1, 2"#;

#[test]
fn the_plan_can_be_run_by_hand() {
    let (mut client, _) = new_session();
    execute(&mut client, RICH);
    execute(
        &mut client,
        r#"ALTER TABLE "Orders" REPLICA IDENTITY USING INDEX "Orders_pkey"; GRANT SELECT ON "Orders" TO PUBLIC;
           ALTER TABLE "Orders" ALTER at SET STATISTICS 77"#,
    );
    let look = LOOK.replace("UNION ALL SELECT 'rule', table_name::text FROM opdb.quality_rule", "");
    let before = rows(&mut client, &look);
    let plan = rows(
        &mut client,
        r#"SELECT ddl FROM opdb.plan_partition_table('"Orders"', 'at', '7 days', 2, options => '{"batch_rows": 7, "storage": {"fillfactor": 80}}')
           WHERE ddl IS NOT NULL"#,
    );
    plan.concat().iter().for_each(|ddl| execute(&mut client, ddl));
    assert_eq!(rows(&mut client, &look), before);
    let set = "SELECT parent, every, premake, storage FROM opdb.partition_set";
    assert_eq!(rows(&mut client, set), [["\"Orders\"", "7 days", "2", "{fillfactor=80}"]]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.partition_drift()"), "0");
    assert_eq!(text(&mut client, r#"SELECT count(*) FROM "Orders_default""#), "2", "2097 and infinity");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'opdb\\_%' AND relnamespace = 'public'::regnamespace";
    assert_eq!(text(&mut client, left), "0");
    execute(&mut client, "TRUNCATE log");
    execute(&mut client, "CALL opdb.run_partition_maintenance()");
    assert_eq!(text(&mut client, "SELECT coalesce(last_error, 'none') FROM opdb.partition_status"), "none");
}

#[test]
fn everything_of_the_table_is_carried() {
    let (mut client, name) = new_session();
    let (reader, writer) = (role(&servers().test, &[]), role(&servers().test, &[]));
    execute(&mut client, RICH);
    execute(
        &mut client,
        &format!(
            r#"GRANT SELECT ON "Orders", cheap TO {reader}; GRANT UPDATE (note) ON "Orders" TO {writer} WITH GRANT OPTION"#
        ),
    );
    let before = rows(&mut client, LOOK);
    execute(&mut client, "BEGIN READ ONLY");
    let steps = rows(
        &mut client,
        r#"SELECT DISTINCT step FROM opdb.plan_partition_table('"Orders"', 'at', '7 days', 2) ORDER BY 1"#,
    );
    assert_eq!(steps.concat().join(" "), "analyze apply capture copy create finish partition swap");
    assert_eq!(text(&mut client, "SELECT pg_current_xact_id_if_assigned()"), "NULL");
    execute(&mut client, "ROLLBACK");
    // What a foreign key deletes while the table is copied is not lost.
    let older = with_a_snapshot(&name);
    let call =
        r#"CALL opdb.partition_table('"Orders"', 'at', '7 days', 2, options => '{"wait_seconds": 1}')"#;
    refused(&mut client, call);
    execute(&mut client, "DELETE FROM customer WHERE id = 77");
    assert_eq!(text(&mut client, "SELECT pending_changes FROM opdb.partition_conversions"), "30");
    let before: Vec<_> = before.into_iter().filter(|row| row[0] != "rows").collect();
    let of_rows = rows(&mut client, LOOK).into_iter().find(|row| row[0] == "rows");
    execute(&mut client, "TRUNCATE log");
    drop(older);
    execute(&mut client, call);
    let (after_rows, after): (Vec<_>, Vec<_>) =
        rows(&mut client, LOOK).into_iter().partition(|row| row[0] == "rows");
    assert_eq!(after, before);
    assert_eq!(after_rows.into_iter().next(), of_rows);
    assert_eq!(text(&mut client, "SELECT count(*) FROM log"), "0", "no trigger fired");
    let of_leaf = rows(
        &mut client,
        r#"SELECT DISTINCT c.reloptions, c.relacl IS NOT NULL, c.relrowsecurity FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid
           WHERE inhparent = '"Orders"'::regclass"#,
    );
    assert_eq!(of_leaf, [["{fillfactor=90}", "t", "t"]]);
    assert_eq!(text(&mut client, r#"SELECT count(*) FROM "Orders_default""#), "2", "2097 and infinity");
    assert_eq!(
        text(
            &mut client,
            r#"INSERT INTO "Orders" (at, customer_id, amount) VALUES (current_date, 1, 7) RETURNING id = 3003 AND number = 3003"#
        ),
        "t"
    );
    assert_eq!(text(&mut client, "SELECT string_agg(what, ',') LIKE 'a_row Orders%' FROM log"), "t");
    for (sql, sqlstate) in [
        (r#"INSERT INTO "Orders" (at, customer_id, amount) VALUES (current_date, 999, 1)"#, "23503"),
        (r#"DELETE FROM "Orders" WHERE id = (SELECT min(order_id) FROM item)"#, "23503"),
        (r#"INSERT INTO "Orders" (at, customer_id, amount) VALUES (current_date, 1, -1)"#, "23514"),
    ] {
        assert_eq!(refused(&mut client, sql).sqlstate, sqlstate, "{sql}");
    }
    execute(&mut client, "DELETE FROM item; DELETE FROM customer WHERE id = 5");
    assert_eq!(text(&mut client, "SELECT orders_of(5)"), "0", "ON DELETE CASCADE");
    execute(&mut client, r#"DROP TABLE "Orders_unpartitioned""#);
    let left = "SELECT string_agg(relname, ', ') FROM pg_class WHERE relname LIKE 'opdb\\_%' AND relnamespace = 'public'::regnamespace";
    assert_eq!(text(&mut client, left), "NULL");
}

#[test]
fn what_cannot_be_converted_is_refused_with_every_reason() {
    let (mut client, _) = new_session();
    execute(
        &mut client,
        "CREATE TABLE a (id int PRIMARY KEY, at timestamptz, parent int REFERENCES a, EXCLUDE USING gist (int4range(id, id + 1) WITH &&));
         CREATE TABLE b (id int REFERENCES a);
         CREATE MATERIALIZED VIEW m AS SELECT * FROM a;
         CREATE RULE r AS ON DELETE TO a DO ALSO SELECT 1;
         CREATE PUBLICATION p FOR TABLE a;
         CREATE FUNCTION f() RETURNS SETOF a LANGUAGE sql AS 'SELECT * FROM a';
         CREATE TABLE plain (at timestamptz);
         CREATE TYPE exact AS (n numeric);
         CREATE TABLE finer (id exact NOT NULL, at timestamptz NOT NULL);
         CREATE UNIQUE INDEX ON finer (id record_image_ops, at);
         CREATE TABLE taken (id int, opdb_change timestamptz, PRIMARY KEY (id, opdb_change));
         CREATE TABLE far (id int, at timestamptz, PRIMARY KEY (id, at));
         INSERT INTO far SELECT g, now() - g * interval '1 day' FROM generate_series(1, 1500) g",
    );
    let state = "SELECT (SELECT count(*) FROM pg_class) || ' ' || (SELECT count(*) FROM pg_proc)";
    let before = text(&mut client, state);
    for command in ["SELECT opdb.plan_partition_table('a', 'at')", "CALL opdb.partition_table('a', 'at')"] {
        let refusal = refused(&mut client, command);
        assert_eq!(refusal.sqlstate, "0A000", "{refusal:?}");
        for reason in [
            "a_pkey",
            "a_parent_fkey",
            "excludes",
            "b_id_fkey",
            "materialized view public.m",
            "rule r",
            "publication p",
            "function public.f()",
        ] {
            assert!(refusal.whole.contains(reason), "{reason}: {}", refusal.whole);
        }
    }
    for (call, sqlstate) in [
        ("'plain', 'at'", "0A000"),
        ("'finer', 'at'", "0A000"),
        ("'taken', 'opdb_change'", "0A000"),
        ("'far', 'at'", "22023"),
        ("'far', 'nothing'", "42703"),
        ("'far', NULL", "22004"),
        ("NULL, 'at'", "22004"),
        ("'far', 'id'", "22023"),
        ("'m', 'at'", "42809"),
        ("'far', 'at', options => '{\"batch_rows\": 0}'", "22023"),
        ("'far', 'at', options => '{\"nothing\": 0}'", "22023"),
        ("'far', 'at', '1 month', -1", "22023"),
        ("'far', 'at', timezone => 'Nowhere'", "22023"),
    ] {
        let refusal = refused(&mut client, &format!("CALL opdb.partition_table({call})"));
        assert_eq!(refusal.sqlstate, sqlstate, "{call}: {refusal:?}");
    }
    assert_eq!(refused(&mut client, "SELECT opdb.cancel_partition_table('far')").sqlstate, "42704");
    execute(&mut client, "SET default_transaction_isolation = 'repeatable read'");
    assert_eq!(refused(&mut client, "CALL opdb.partition_table('far', 'at', '1 month')").sqlstate, "25001");
    execute(&mut client, "RESET default_transaction_isolation");
    assert_eq!(text(&mut client, state), before, "nothing is left behind");
    execute(&mut client, "CALL opdb.partition_table('far', 'at', '1 month')");
}

/// An open transaction with a snapshot keeps the tables from changing places.
fn with_a_snapshot(database: &str) -> Client {
    let mut client = session(database);
    execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    client
}

#[test]
fn what_stops_half_way_goes_on_or_is_undone() {
    let (mut client, name) = new_session();
    execute(&mut client, EVENTS);
    let call =
        r#"CALL opdb.partition_table('events', 'at', options => '{"weaker_keys": true, "wait_seconds": 1}')"#;
    let older = with_a_snapshot(&name);
    let refusal = refused(&mut client, call);
    assert_eq!(refusal.sqlstate, "55P03", "{refusal:?}");
    assert!(refusal.whole.contains("has a snapshot"), "{refusal:?}");
    // What happens to the table meanwhile is not lost: changes, from a replica's session too, a rewrite, a truncation.
    execute(
        &mut client,
        "BEGIN; SELECT * FROM opdb.partition_conversions; COMMIT;
         UPDATE events SET value = 1 WHERE id <= 10; SET session_replication_role = replica; DELETE FROM events WHERE id = 11;
         RESET session_replication_role",
    );
    assert_eq!(
        rows(
            &mut client,
            "SELECT state, pending_changes, rows_copied, blocks_done = blocks_total FROM opdb.partition_conversions"
        ),
        [["applying", "21", "20000", "t"]]
    );
    drop(older);
    execute(&mut client, "VACUUM FULL events");
    execute(&mut client, "UPDATE events SET value = 2 WHERE id = 12");
    let older = with_a_snapshot(&name);
    refused(&mut client, call);
    execute(&mut client, "BEGIN; TRUNCATE events; INSERT INTO events VALUES (1, now(), 'new', 3); COMMIT");
    refused(&mut client, call);
    // Another definition is not what was made.
    execute(&mut client, "ALTER TABLE events ADD more int");
    let refusal = refused(&mut client, call);
    assert_eq!(refusal.sqlstate, "55000", "{refusal:?}");
    execute(&mut client, "ALTER TABLE events DROP more");
    drop(older);
    execute(&mut client, call);
    assert_eq!(rows(&mut client, "SELECT id, kind, value FROM events"), [["1", "new", "3"]]);

    execute(&mut client, &EVENTS.replace("events", "others"));
    let before =
        "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relname NOT LIKE 'pg\\_%'";
    let expected = text(&mut client, before);
    let older = with_a_snapshot(&name);
    refused(&mut client, &call.replace("events", "others"));
    execute(&mut client, "SELECT opdb.cancel_partition_table('others')");
    drop(older);
    assert_eq!(text(&mut client, before), expected);
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'others'::regclass"), "0");
    // Somebody dropped the new table.
    let older = with_a_snapshot(&name);
    refused(&mut client, &call.replace("events", "others"));
    drop(older);
    let new =
        text(&mut client, "SELECT target FROM opdb.partition_conversion WHERE source = 'others'::regclass");
    execute(&mut client, &format!("DROP TABLE {new}"));
    execute(&mut client, "SELECT opdb.cancel_partition_table('others')");
    execute(&mut client, &call.replace("events", "others"));
    assert_eq!(refused(&mut client, "SELECT opdb.plan_partition_table('others', 'at')").sqlstate, "0A000");
}

#[test]
fn an_owner_who_is_an_operator_converts_his_table_and_nobody_elses() {
    let (mut client, name) = new_session();
    let test = &servers().test;
    let (owner, other) = (role(test, &["opdb_operator"]), role(test, &["opdb_operator"]));
    execute(
        &mut client,
        &format!(
            "{EVENTS}; CREATE SCHEMA own AUTHORIZATION {owner}; ALTER TABLE events SET SCHEMA own; ALTER TABLE own.events OWNER TO {owner};
             CREATE ROLE {owner}_writer; GRANT USAGE ON SCHEMA own TO {owner}_writer; GRANT INSERT ON own.events TO {owner}_writer"
        ),
    );
    let call = r#"CALL opdb.partition_table('own.events', 'at', options => '{"weaker_keys": true, "wait_seconds": 1}')"#;
    execute(&mut client, &format!("GRANT USAGE ON SCHEMA own TO {other}"));
    let mut stranger = test.connect(&name, &other, &other).unwrap();
    assert_eq!(refused(&mut stranger, call).sqlstate, "42501");
    let mut his = test.connect(&name, &owner, &owner).unwrap();
    execute(&mut his, "SET client_min_messages = warning");
    let older = with_a_snapshot(&name);
    refused(&mut his, call);
    assert_eq!(refused(&mut stranger, call).sqlstate, "42501");
    assert_eq!(refused(&mut stranger, "SELECT opdb.cancel_partition_table('own.events')").sqlstate, "42501");
    // A writer needs no right on what writes his changes down.
    execute(
        &mut client,
        &format!("SET ROLE {owner}_writer; INSERT INTO own.events VALUES (-1, now(), 'x', 1); RESET ROLE"),
    );
    drop(older);
    execute(&mut his, call);
    assert_eq!(text(&mut his, "SELECT count(*) FROM own.events"), "20001");
    assert_eq!(
        rows(
            &mut client,
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'own'::regnamespace"
        ),
        [[owner]]
    );
}

#[test]
fn a_conversion_can_be_cancelled_whatever_was_done_to_its_table() {
    let owner = crate::fixture::role(&servers().test, &["opdb_operator"]);
    for (meanwhile, table) in [
        (format!("ALTER TABLE c OWNER TO {owner}"), "public.c"),
        ("CREATE SCHEMA s; ALTER TABLE c SET SCHEMA s".to_owned(), "s.c"),
        ("ALTER TABLE c RENAME COLUMN id TO id2".to_owned(), "public.c"),
    ] {
        let mut client = on_test(&database(&servers().test));
        execute(
            &mut client,
            "SET client_min_messages = error; CREATE TABLE c (id int, at timestamptz, PRIMARY KEY (id, at));
             SELECT opdb.begin_partition_table('c', 'at', '1 day', 3, 'UTC', '{}')",
        );
        execute(&mut client, &meanwhile);
        assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.partition_conversions"), "1", "{meanwhile}");
        execute(
            &mut client,
            &format!("SELECT opdb.cancel_partition_table('{table}'); INSERT INTO {table} VALUES (1, now())"),
        );
        let left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'opdb\\_%' AND relnamespace <> 'opdb'::regnamespace)
                           + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'opdb\\_capture%')
                           + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'opdb\\_capture%')";
        assert_eq!(text(&mut client, left), "0", "{meanwhile}");
    }
}

#[test]
fn odd_columns_are_captured_and_numbers_that_others_take_are_refused() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"SET client_min_messages = error;
           CREATE TABLE a ("found" int, tg_op int, "new" int, at timestamptz NOT NULL, PRIMARY KEY ("found", tg_op, "new"));
           SELECT opdb.begin_partition_table('a', 'at', '1 day', 3, 'UTC', '{"weaker_keys": true}');
           INSERT INTO a VALUES (1, 1, 1, now()); UPDATE a SET tg_op = 2; INSERT INTO a VALUES (2, 2, 2, now())"#,
    );
    execute(&mut client, "CALL opdb.partition_table('a', 'at')");
    assert_eq!(
        text(
            &mut client,
            "SELECT string_agg(concat(\"found\", tg_op, \"new\"), ',' ORDER BY \"found\") FROM a"
        ),
        "121,222"
    );
    execute(
        &mut client,
        "CREATE TABLE k (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, PRIMARY KEY (id, at));
         CREATE TABLE other (id bigint DEFAULT nextval('k_id_seq'))",
    );
    let refusal = crate::fixture::refused(&mut client, "CALL opdb.partition_table('k', 'at')");
    assert!(refusal.sqlstate == "0A000" && refusal.whole.contains("other"), "{refusal:?}");
    let refusal = crate::fixture::refused(
        &mut client,
        r#"SELECT opdb.plan_partition_table('other', 'id', options => '{"archive_schema": "x"}')"#,
    );
    assert_eq!(refusal.sqlstate, "22023", "{refusal:?}");
}

#[test]
fn a_table_that_was_put_back_by_hand_is_converted_again() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE TABLE r (id int, at timestamptz, PRIMARY KEY (id, at));
         INSERT INTO r SELECT i, now() FROM generate_series(1, 10) i",
    );
    execute(&mut client, "CALL opdb.partition_table('r', 'at')");
    execute(
        &mut client,
        "ALTER TABLE r RENAME TO r_part; ALTER TABLE r_unpartitioned RENAME TO r; INSERT INTO r VALUES (77, now()); DROP TABLE r_part",
    );
    execute(&mut client, "CALL opdb.partition_table('r', 'at')");
    assert_eq!(
        text(
            &mut client,
            "SELECT count(*) || (SELECT relkind::text FROM pg_class WHERE oid = 'r'::regclass) FROM r"
        ),
        "11p"
    );
}

#[test]
fn a_load_that_switches_triggers_off_is_not_lost() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE TABLE l (id int, at timestamptz, PRIMARY KEY (id, at));
         INSERT INTO l SELECT i, now() FROM generate_series(1, 100) i;
         SELECT opdb.begin_partition_table('l', 'at', '1 day', 3, 'UTC', '{}')",
    );
    execute(&mut client, "SELECT opdb.continue_partition_table('l')");
    execute(&mut client, "SELECT opdb.continue_partition_table('l')");
    let load = |client: &mut Client, first: i32, after: &str| {
        let sql = format!(
            "BEGIN; ALTER TABLE l DISABLE TRIGGER USER; INSERT INTO l SELECT i, now() FROM generate_series({first}, {first} + 49) i;
             DELETE FROM l WHERE id <= {first} / 10; ALTER TABLE l ENABLE TRIGGER USER; {after}; COMMIT"
        );
        execute(client, &sql);
    };
    load(&mut client, 101, "");
    execute(&mut client, "SELECT opdb.continue_partition_table('l')");
    // Nor if they are as they were.
    let always = ["insert", "update", "delete"].map(|it| format!("ENABLE ALWAYS TRIGGER opdb_capture_{it}"));
    load(&mut client, 151, &format!("ALTER TABLE l {}", always.join(", ")));
    execute(&mut client, "CALL opdb.partition_table('l', 'at')");
    let found = "SELECT count(*) || ' ' || min(id) || (SELECT relkind::text FROM pg_class WHERE oid = 'l'::regclass) FROM l";
    assert_eq!(text(&mut client, found), "185 16p");
}

#[test]
fn what_would_change_its_meaning_is_refused() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE COLLATION ci (provider = icu, deterministic = false, locale = 'und-u-ks-level2');
         CREATE TABLE collated (id int PRIMARY KEY, at date NOT NULL, name text COLLATE ci); CREATE UNIQUE INDEX by_name ON collated (name COLLATE \"C\");
         CREATE TABLE nullable (id int PRIMARY KEY, at date);
         CREATE TABLE ruled (at date PRIMARY KEY, v int); CREATE VIEW ruled_view AS SELECT * FROM ruled;
         CREATE RULE r AS ON INSERT TO ruled_view DO INSTEAD INSERT INTO ruled VALUES (new.at, new.v);
         CREATE TABLE alone (at date PRIMARY KEY); CREATE VIEW alone_view AS SELECT * FROM ONLY alone;
         CREATE FUNCTION alone_count() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM ONLY alone; END;
         CREATE TABLE named (at date PRIMARY KEY, v oid DEFAULT 'named'::regclass); CREATE POLICY p ON named USING (EXISTS (SELECT FROM named));
         CREATE TABLE counted (id serial, at date PRIMARY KEY); CREATE TABLE counted_id_seq_unpartitioned (a int)",
    );
    for (table, reasons) in [
        ("collated", &["unique index by_name is without column at"][..]),
        ("nullable", &["primary key nullable_pkey would be widened by column at, which may be NULL"]),
        ("ruled", &["rule r on view public.ruled_view depends on it"]),
        (
            "alone",
            &[
                "view public.alone_view reads or writes ONLY it",
                "function public.alone_count() reads or writes ONLY it",
            ],
        ),
        ("named", &["default value for column v", "policy p names the table in a subquery"]),
        ("counted", &["the name counted_id_seq_unpartitioned is taken"]),
    ] {
        for call in ["SELECT opdb.plan_partition_table", "CALL opdb.partition_table"] {
            let sql = format!(r#"{call}('{table}', 'at', '1 month', options => '{{"weaker_keys": true}}')"#);
            let refusal = refused(&mut client, &sql);
            assert_eq!(refusal.sqlstate, "0A000", "{refusal:?}");
            for reason in reasons {
                assert!(refusal.whole.contains(reason), "{table}: {}", refusal.whole);
            }
        }
    }
}

#[test]
fn rows_that_differ_here_and_not_there_are_told() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE FUNCTION norm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
         CREATE TABLE t (id int, at date, name text, PRIMARY KEY (id, at)); CREATE UNIQUE INDEX by_name ON t (norm(name), at);
         INSERT INTO t VALUES (1, '2026-11-01', 'A'), (2, '2026-11-01', 'a'), (3, '2026-11-01', 'B');
         CREATE OR REPLACE FUNCTION norm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower($1)'",
    );
    assert_eq!(refused(&mut client, "CALL opdb.partition_table('t', 'at', '1 month')").sqlstate, "23505");
    assert_eq!(text(&mut client, "SELECT relkind FROM pg_class WHERE oid = 't'::regclass"), "r");
    execute(&mut client, "DELETE FROM t WHERE id = 2");
    execute(&mut client, "CALL opdb.partition_table('t', 'at', '1 month')");
    assert_eq!(text(&mut client, "SELECT string_agg(name, '' ORDER BY id) FROM t"), "AB");
}

#[test]
fn a_column_that_was_dropped_and_made_again_is_another_one() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE TABLE t (id int, at date, secret int, PRIMARY KEY (id, at));
         INSERT INTO t SELECT g, '2026-11-01', g FROM generate_series(1, 10) g;
         SELECT opdb.begin_partition_table('t', 'at', '1 month', 1, 'UTC', '{}'); SELECT opdb.continue_partition_table('t');
         ALTER TABLE t DROP COLUMN secret; ALTER TABLE t ADD COLUMN secret int",
    );
    assert_eq!(refused(&mut client, "CALL opdb.partition_table('t', 'at', '1 month')").sqlstate, "55000");
}

#[test]
fn partitions_keep_keys_to_partitioned_tables_and_their_replica_identity() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE TABLE kind (k int PRIMARY KEY) PARTITION BY RANGE (k);
         CREATE TABLE kind1 PARTITION OF kind FOR VALUES FROM (0) TO (10); CREATE TABLE kind2 PARTITION OF kind FOR VALUES FROM (10) TO (20);
         INSERT INTO kind SELECT generate_series(0, 19);
         CREATE TABLE t (id int NOT NULL, at date NOT NULL, k int REFERENCES kind); CREATE UNIQUE INDEX u ON t (id, at);
         ALTER TABLE t REPLICA IDENTITY USING INDEX u;
         INSERT INTO t SELECT g, date '2026-10-20' + g, g FROM generate_series(1, 19) g",
    );
    execute(&mut client, "CALL opdb.partition_table('t', 'at', '1 month', 1)");
    assert_eq!(text(&mut client, "SELECT state FROM opdb.partition_conversions"), "done");
    execute(&mut client, "INSERT INTO t VALUES (100, '2026-11-20', 5)");
    assert_eq!(refused(&mut client, "INSERT INTO t VALUES (101, '2026-11-20', 50)").sqlstate, "23503");
    let identity = "SELECT string_agg(DISTINCT relreplident::text, '') FROM pg_class WHERE relispartition AND relname ~ '^t_' AND relkind = 'r'";
    assert_eq!(text(&mut client, identity), "i");
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 't_2026_11'::regclass AND conparentid = 0";
    assert_eq!(text(&mut client, keys), "0");
}

#[test]
fn the_end_of_a_key_does_not_keep_the_conversion_from_its_end() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "SET client_min_messages = error; CREATE TABLE t (id smallint PRIMARY KEY); INSERT INTO t VALUES (5)",
    );
    let call = r#"CALL opdb.partition_table('t', 'id', premake => 4, options => '{"width": 10000}')"#;
    execute(&mut client, call);
    assert_eq!(text(&mut client, "SELECT state FROM opdb.partition_conversions"), "done");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "1");
}

#[test]
fn nobody_sees_what_is_written_down() {
    let curious = role(&servers().test, &[]);
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        &format!(
            "SET client_min_messages = error; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {curious}; GRANT ALL ON SCHEMA public TO {curious};
             CREATE TABLE t (at date PRIMARY KEY); REVOKE ALL ON t FROM {curious};
             SELECT opdb.begin_partition_table('t', 'at', '1 month', 1, 'UTC', '{{}}')"
        ),
    );
    let open = format!(
        "SELECT string_agg(relname, ',') FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
           AND has_any_column_privilege('{curious}', oid, 'SELECT')"
    );
    assert_eq!(text(&mut client, &open), "NULL");
}

#[test]
fn who_is_not_the_owner_gets_the_plan_as_the_owners() {
    let owner = role(&servers().test, &["opdb_operator"]);
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        &format!(
            "SET client_min_messages = error; GRANT ALL ON SCHEMA public TO {owner}; CREATE TABLE only_s (a int);
             CREATE TABLE s (id serial, at date, PRIMARY KEY (id, at)); ALTER TABLE s OWNER TO {owner}; INSERT INTO s (at) VALUES ('2026-11-01');
             CREATE VIEW likewise AS SELECT 'ONLY s' AS text, s.id FROM ONLY only_s, s"
        ),
    );
    let plan = rows(
        &mut client,
        "SELECT ddl FROM opdb.plan_partition_table('s', 'at', '1 month') WHERE ddl IS NOT NULL",
    )
    .concat();
    assert_eq!(plan[0], format!("SET ROLE {owner}"));
    let of_views = |ddl: &&String| ddl.contains("VIEW");
    assert_eq!(plan.iter().filter(of_views).count(), 1);
    // A view of somebody else's is made again by him.
    execute(&mut client, &format!("ALTER VIEW likewise OWNER TO {owner}; GRANT ALL ON only_s TO {owner}"));
    plan.iter().for_each(|ddl| execute(&mut client, ddl));
    let found = "SELECT relkind::text || pg_get_userbyid(relowner) FROM pg_class WHERE oid = 's'::regclass";
    assert_eq!(text(&mut client, found), format!("p{owner}"));
}
