//! What is proposed is what was planted, holds as it is told, and can be added as it stands.

use postgres::Client;

use crate::fixture::{Pair, database, execute, on_test, refused, role, rows, servers, text};

/// The proposals for a table: dimension, rule, columns and arguments in one line each.
fn proposed(client: &mut Client, table: &str) -> Vec<String> {
    proposed_with(client, table, "{}")
}

fn proposed_with(client: &mut Client, table: &str, options: &str) -> Vec<String> {
    rows(
        client,
        &format!(
            "SELECT concat_ws(' ', dimension, rule, array_to_string(columns, ','), args)
             FROM opdb.suggest_quality_rules('{table}', '{options}')"
        ),
    )
    .concat()
}

/// Adds everything that is proposed for a table, and sees that it holds as often as it was told.
fn added_and_kept(client: &mut Client, table: &str) -> usize {
    execute(
        client,
        &format!(
            "CREATE TEMP TABLE added AS
             SELECT opdb.add_quality_rule('{table}', s.dimension, s.rule, s.columns, s.args) AS rule_id, s.*
             FROM opdb.suggest_quality_rules('{table}') s"
        ),
    );
    let run = text(client, &format!("SELECT run_id FROM opdb.quality_score('{table}')"));
    let broken = rows(
        client,
        &format!(
            "SELECT a.rule, a.args, a.confidence, a.why, r.evaluated, r.passed, r.status
             FROM added a LEFT JOIN opdb.quality_report({run}) r USING (rule_id)
             WHERE r.ratio IS NULL OR r.ratio < a.confidence OR r.ratio < 0.95
                -- What a not_blank rule takes for missing, the other rules of the column do not look at.
                OR NOT EXISTS (SELECT FROM added b WHERE b.columns = a.columns AND b.args ? 'placeholders') AND strpos(a.why, CASE r.passed WHEN r.evaluated THEN 'all ' || to_char(r.passed, 'FM999,999,999')
                                 ELSE to_char(r.passed, 'FM999,999,999') || ' of ' || to_char(r.evaluated, 'FM999,999,999')
                                 END) <> 1"
        ),
    );
    assert!(broken.is_empty(), "{broken:#?}");
    let count = text(client, "SELECT count(*) FROM added").parse().unwrap();
    execute(client, "DROP TABLE added");
    count
}

const ORDERS: &str = "
    CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO customer SELECT i, 'Customer ' || i FROM generate_series(1, 500) i;
    CREATE TABLE orders (
        id bigint PRIMARY KEY, customer_id int, email text, status text NOT NULL, country char(2), currency varchar(3),
        code text, amount numeric(12, 2), discount_percent float8, quantity smallint, created_at timestamptz NOT NULL,
        shipped_at timestamptz, due date, payload jsonb, note text, weight_text text, reference uuid);
    INSERT INTO orders
    SELECT i, 1 + i % 500, 'user' || i || '@example.com', (ARRAY['open', 'paid', 'shipped'])[1 + i % 3],
           (ARRAY['DE', 'AT', 'US', 'GB', 'FR'])[1 + i % 5], (ARRAY['EUR', 'EUR', 'USD', 'GBP', 'EUR'])[1 + i % 5],
           'INV-' || lpad(i::text, 6, '0'), 5 + i % 990 + 0.5, i % 91, 1 + i % 40,
           '2024-03-01'::timestamptz + i * interval '7 minutes',
           '2024-03-01'::timestamptz + i * interval '7 minutes' + (i * 7919 % 72) * interval '1 hour',
           '2098-05-01'::date + i % 500, jsonb_build_object('n', i),
           CASE i % 3 WHEN 0 THEN 'a note of words ' || i WHEN 1 THEN 'hm' END, (i % 977)::text || '.25',
           md5(i::text)::uuid
    FROM generate_series(1, 10000) i;
    UPDATE orders SET amount = 99999999 WHERE id = 77;
    UPDATE orders SET email = 'nobody' WHERE id = 5;
    UPDATE orders SET status = 'piad' WHERE id = 3;
    UPDATE orders SET code = 'N/A' WHERE id IN (10, 11);
    UPDATE orders SET currency = 'USD' WHERE id = 20;
    UPDATE orders SET customer_id = 9999 WHERE id IN (55, 66);
    UPDATE orders SET created_at = '1970-01-01' WHERE id = 9;
    UPDATE orders SET quantity = NULL WHERE id <= 100";

#[test]
fn what_was_planted_is_proposed_and_nothing_else() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, ORDERS);
    assert_eq!(
        proposed(&mut client, "orders"),
        [
            "completeness not_null amount {}",
            "completeness not_blank country {}",
            "completeness not_blank currency {}",
            "completeness not_null customer_id {}",
            "completeness not_null discount_percent {}",
            "completeness not_null due {}",
            "completeness not_blank email {}",
            "completeness not_null payload {}",
            "completeness not_null reference {}",
            "completeness not_null shipped_at {}",
            "completeness not_blank weight_text {}",
            r#"completeness not_blank code {"placeholders": ["n/a"]}"#,
            "completeness not_null quantity {}",
            r#"accuracy expression  {"expression": "created_at <= now()"}"#,
            r#"accuracy expression  {"expression": "shipped_at <= now()"}"#,
            r#"accuracy expression  {"expression": "jsonb_typeof(payload) = 'object'"}"#,
            r#"accuracy format country {"format": "country"}"#,
            r#"accuracy accepted_values country {"values": ["AT", "DE", "FR", "GB", "US"]}"#,
            r#"accuracy format currency {"format": "currency"}"#,
            r#"accuracy accepted_values currency {"values": ["EUR", "GBP", "USD"]}"#,
            r#"accuracy range discount_percent {"max": 100, "min": 0}"#,
            r#"accuracy range due {"max": "2100-01-01", "min": "2098-01-01"}"#,
            r#"accuracy range shipped_at {"min": "2024-01-01"}"#,
            r#"accuracy castable weight_text {"type": "numeric"}"#,
            r#"accuracy range quantity {"max": 40, "min": 0}"#,
            r#"accuracy range amount {"max": 1000, "min": 0}"#,
            r#"accuracy range created_at {"min": "2024-01-01"}"#,
            r#"accuracy format email {"format": "email"}"#,
            r#"accuracy accepted_values status {"values": ["open", "paid", "shipped"]}"#,
            r#"accuracy regex code {"pattern": "^INV-[0-9]{6}$"}"#,
            r#"consistency expression  {"expression": "created_at <= shipped_at"}"#,
            "consistency unique email {}",
            "consistency unique reference {}",
            r#"consistency expression  {"expression": "CASE country WHEN 'AT' THEN currency = 'EUR' WHEN 'DE' THEN currency = 'EUR' WHEN 'FR' THEN currency = 'EUR' WHEN 'GB' THEN currency = 'GBP' WHEN 'US' THEN currency = 'USD' END"}"#,
            "consistency unique code {}",
            r#"integrity foreign_key customer_id {"table": "public.customer", "columns": ["id"]}"#,
        ]
    );
    assert_eq!(added_and_kept(&mut client, "orders"), 36);
}

#[test]
fn an_exception_is_named_and_costs_confidence() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, ORDERS);
    let mut of = |rule: &str, column: &str| {
        let sql = format!(
            "SELECT confidence, why FROM opdb.suggest_quality_rules('orders')
             WHERE rule = '{rule}' AND '{column}' = ANY (columns || (args ->> 'expression'))"
        );
        rows(&mut client, &sql).remove(0)
    };
    assert_eq!(
        of("range", "amount"),
        [
            "0.9994",
            "9,999 of 10,000 values are from 0 to 1000, the bounds found, rounded, outliers left out (farther than three \
             interquartile ranges from the quartiles 245.5 and 745.5); 1 does not fit, such as '99999999.00' (all 10,000 \
             rows were read)"
        ]
    );
    assert_eq!(
        of("regex", "code"),
        [
            "0.9992",
            "9,998 of 10,000 values match ^INV-[0-9]{6}$; 2 do not fit, such as 'N/A' (all 10,000 rows were read)"
        ]
    );
    assert_eq!(
        of("expression", "created_at <= shipped_at"),
        ["0.9996", "all 10,000 rows have created_at not after shipped_at (all 10,000 rows were read)"]
    );
    let time = of("range", "created_at").remove(1);
    assert!(time.contains("1 does not fit, such as '1970-01-01 00:00:00+00'"), "{time}");
    let accepted = of("accepted_values", "status").remove(1);
    assert!(accepted.contains("1 does not fit, such as 'piad'"), "{accepted}");
}

#[test]
fn a_share_that_is_too_small_is_not_proposed() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (a int, b text);
         INSERT INTO t SELECT nullif(i % 10, 0), CASE WHEN i % 25 = 0 THEN ' ' ELSE 'word' || repeat('x', i % 7) || ' ' || i END
         FROM generate_series(1, 1000) i",
    );
    let complete = |client: &mut Client, options: &str| -> Vec<String> {
        let proposed = proposed_with(client, "t", options);
        proposed.into_iter().filter(|line| line.starts_with("completeness")).collect()
    };
    assert_eq!(complete(&mut client, "{}"), ["completeness not_blank b {}"]);
    assert_eq!(complete(&mut client, r#"{"min_ratio": 0.97}"#), ["completeness not_null b {}"]);
    assert_eq!(
        complete(&mut client, r#"{"min_ratio": 0.9}"#),
        ["completeness not_blank b {}", "completeness not_null a {}"]
    );
    assert_eq!(proposed_with(&mut client, "t", r#"{"min_rows": 1001}"#), [""; 0]);
}

#[test]
fn what_a_constraint_proves_is_not_proposed() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 1000);
         CREATE DOMAIN filled AS int NOT NULL;
         CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL UNIQUE, other_id int NOT NULL REFERENCES other, n filled);
         INSERT INTO t SELECT i, 'Name ' || i, i, i FROM generate_series(1, 1000) i",
    );
    assert_eq!(
        proposed(&mut client, "t"),
        [r#"accuracy regex name {"pattern": "^Name [0-9]{1,4}$"}"#, "consistency unique n {}"]
    );
}

#[test]
fn texts_have_formats_patterns_and_lengths() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (uuid text, url text, day text, moment text, stamp text, v4 text, v6 text, doc text, no_doc text,
                          whole text, big text, zip text, truth text, hash text, flight text, odd text, language text, word text);
           INSERT INTO t
           SELECT md5(i::text)::uuid::text, 'https://example.com/a/' || i || '?b=c', ('2024-01-01'::date + i)::text,
                  to_char('2024-01-01'::timestamp + i * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                  ('2024-01-01'::timestamp + i * interval '1 hour')::text, '10.1.' || i % 256 || '.' || i % 100,
                  '2001:db8::' || to_hex(i), '{"a": ' || i || '}', '{"a": ' || i || CASE i WHEN 7 THEN '' ELSE '}' END || ' }',
                  i::text, (i * 10000000000)::text, lpad((i * 37 % 99999)::text, 5, '0'), CASE i % 2 WHEN 0 THEN 'true' ELSE 'false' END,
                  md5(i::text), CASE WHEN i % 3 = 0 THEN 'LH ' || 100 + i % 900 ELSE 'OS-' || 1000 + i END,
                  chr(945 + i % 20) || chr(945 + i % 17) || chr(945 + i % 13),
                  (ARRAY['de', 'en', 'fr'])[1 + i % 3], repeat('word', i % 5 + 1)
           FROM generate_series(1, 3000) i"#,
    );
    let proposed = proposed(&mut client, "t");
    let accuracy: Vec<&str> = proposed.iter().filter_map(|line| line.strip_prefix("accuracy ")).collect();
    assert_eq!(
        accuracy,
        [
            r#"castable big {"type": "bigint"}"#,
            r#"format day {"format": "date"}"#,
            r#"format doc {"format": "json"}"#,
            r#"regex flight {"pattern": "^(OS-[0-9]{4}|LH [0-9]{3})$"}"#,
            r#"regex hash {"pattern": "^[0-9a-f]{32}$"}"#,
            r#"format language {"format": "language"}"#,
            r#"accepted_values language {"values": ["de", "en", "fr"]}"#,
            r#"format moment {"format": "datetime"}"#,
            r#"length odd {"max": 3, "min": 3}"#,
            r#"castable stamp {"type": "timestamp"}"#,
            r#"castable truth {"type": "boolean"}"#,
            r#"accepted_values truth {"values": ["false", "true"]}"#,
            r#"format url {"format": "url"}"#,
            r#"format uuid {"format": "uuid"}"#,
            r#"format v4 {"format": "ipv4"}"#,
            r#"format v6 {"format": "ipv6"}"#,
            r#"castable whole {"type": "integer"}"#,
            r#"accepted_values word {"values": ["word", "wordword", "wordwordword", "wordwordwordword", "wordwordwordwordword"]}"#,
            r#"regex zip {"pattern": "^[0-9]{5}$"}"#,
            r#"regex no_doc {"pattern": "^\\{\"a\": [0-9]{1,4}\\} \\}$"}"#,
        ]
    );
    added_and_kept(&mut client, "t");
}

#[test]
fn what_only_looks_like_a_format_is_none() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (day text, moment text, clock text, mail text, long_mail text, url text, percent text, host text, v4 text,
                          doc text, country text, city text, truth text);
           INSERT INTO t
           SELECT '2023-02-' || 29 + i % 2, '2024-01-01T24:00:0' || i % 10 || 'Z', '12:30:' || 10 + i % 50, 'user' || i || '@localhost',
                  repeat('x', 65) || i || '@example.com', 'htp://example.com/' || i, 'https://example.com/%zz' || i,
                  'https://example..com/' || i, '10.0.256.' || i, '{"a": ' || i, 'de', 'DE', 'maybe'
           FROM generate_series(1, 60) i"#,
    );
    let proposed = proposed(&mut client, "t");
    let formats: Vec<&String> =
        proposed.iter().filter(|line| line.contains(" format ") || line.contains(" castable ")).collect();
    assert!(formats.is_empty(), "{formats:#?}");
    added_and_kept(&mut client, "t");
}

#[test]
fn a_pattern_is_that_of_all_rows_and_not_only_of_the_first_thousand_values() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE TABLE t AS SELECT 'user-' || i AS login FROM generate_series(1, 50000) i");
    let found = rows(
        &mut client,
        "SELECT args, confidence FROM opdb.suggest_quality_rules('t') WHERE rule = 'regex'",
    );
    assert_eq!(found, [[r#"{"pattern": "^user-[0-9]{1,5}$"}"#, "0.9999"]]);
}

#[test]
fn times_are_in_order_if_the_rows_say_so() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (one timestamp, two timestamp, three timestamp, born date, seen date, expires_at timestamp);
         INSERT INTO t SELECT '2024-01-01'::timestamp + i * interval '1 hour', '2024-01-01'::timestamp + (i + i % 50) * interval '1 hour',
                '2024-01-01'::timestamp + (i + 50 + i % 30) * interval '1 hour', '1980-01-01'::date + i, '2023-01-01'::date + i % 300,
                '2001-01-01'::timestamp + i * interval '1 day'
         FROM generate_series(1, 1000) i",
    );
    let expressions = rows(
        &mut client,
        "SELECT args ->> 'expression' FROM opdb.suggest_quality_rules('t') WHERE rule = 'expression' AND dimension = 'consistency'",
    );
    assert_eq!(expressions.concat(), ["one <= two", "two <= three", "born <= seen"]);
    let ahead = rows(
        &mut client,
        "SELECT args ->> 'expression' FROM opdb.suggest_quality_rules('t') WHERE rule = 'expression' AND dimension = 'accuracy'
         ORDER BY 1",
    );
    assert_eq!(
        ahead.concat(),
        [
            "born <= current_date + 1",
            "one <= localtimestamp + interval '1 day'",
            "seen <= current_date + 1",
            "three <= localtimestamp + interval '1 day'",
            "two <= localtimestamp + interval '1 day'",
        ]
    );
    added_and_kept(&mut client, "t");
}

#[test]
fn documents_have_one_type() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (a jsonb, b json, "C" jsonb, d jsonb);
           INSERT INTO t SELECT '{"x": 1}', '[1]', to_jsonb(i), CASE i % 2 WHEN 0 THEN '1' ELSE '"x"' END::jsonb FROM generate_series(1, 100) i;
           UPDATE t SET "C" = 'null' WHERE ("C")::text = '7'"#,
    );
    let found = rows(
        &mut client,
        "SELECT args ->> 'expression', confidence, why FROM opdb.suggest_quality_rules('t') WHERE dimension = 'accuracy'",
    );
    let all = "(all 100 rows were read)";
    assert_eq!(
        found,
        [
            [
                "jsonb_typeof(a) = 'object'",
                "0.9630",
                &format!("all 100 values of a have the JSON type object {all}")
            ],
            [
                "json_typeof(b) = 'array'",
                "0.9630",
                &format!("all 100 values of b have the JSON type array {all}")
            ],
            [
                r#"jsonb_typeof("C") = 'number'"#,
                "0.9455",
                &format!(
                    r#"99 of 100 values of "C" have the JSON type number; 1 does not fit, such as 'null' {all}"#
                )
            ],
        ]
    );
    added_and_kept(&mut client, "t");
}

#[test]
fn names_and_types_may_be_odd() {
    let mut client = on_test(&database(&servers().test));
    // Not every server is built with it.
    let xml = if client.batch_execute("SELECT '<a/>'::xml").is_ok() { "xml xml" } else { "xml bytea" };
    execute(
        &mut client,
        &r#"CREATE SCHEMA "Odd ""S"; CREATE TYPE "Odd ""S".mood AS ENUM ('good', 'bad'); CREATE TYPE pair AS (a int, b text);
           CREATE DOMAIN price AS numeric CHECK (VALUE < 10000); CREATE DOMAIN dear AS price;
           CREATE COLLATION careless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
           CREATE TABLE "Odd ""S"."select" (
               "select" text, "Größe ""x""" int, "it's" text, gone int, price dear, mood "Odd ""S".mood, list int[], point point,
               xml xml, pair pair, flag boolean, span interval, "user" name, tsv tsvector, range int4range, bits bit(3),
               soft_key text COLLATE careless, oid_ oid, money money, not_a_number float4, endless timestamptz, far numeric,
               doubled int GENERATED ALWAYS AS ("Größe ""x""" * 2) STORED);
           ALTER TABLE "Odd ""S"."select" DROP COLUMN gone;
           INSERT INTO "Odd ""S"."select"
           SELECT 'K' || i, i % 300, CASE i % 2 WHEN 0 THEN 'it''s' ELSE 'isn''t' END, i % 700, 'good', ARRAY[i], point(i, i),
                  '<a/>', ROW(i, 'x')::pair, true, i * interval '1 day', 'u' || i, 'a b', int4range(1, i + 2), B'101', 'key' || i,
                  i, i::text::money, CASE i % 50 WHEN 0 THEN 'NaN'::float4 ELSE i END, CASE i % 50 WHEN 0 THEN 'infinity' ELSE '2024-01-01'::timestamptz END,
                  CASE i % 50 WHEN 0 THEN '1e1000'::numeric ELSE i END
           FROM generate_series(1, 1000) i"#
            .replace("xml xml", xml),
    );
    let table = r#""Odd ""S"."select""#;
    let proposed = proposed(&mut client, &table.replace('\'', "''"));
    let of_values: Vec<&str> =
        proposed.iter().map(String::as_str).filter(|line| !line.starts_with("completeness")).collect();
    assert_eq!(
        of_values,
        [
            r#"accuracy range Größe "x" {"max": 300, "min": 0}"#,
            r#"accuracy range doubled {"max": 600, "min": 0}"#,
            r#"accuracy range endless {"min": "2024-01-01"}"#,
            r#"accuracy accepted_values it's {"values": ["isn't", "it's"]}"#,
            r#"accuracy range price {"max": 700, "min": 0}"#,
            r#"accuracy regex select {"pattern": "^K[0-9]{1,4}$"}"#,
            r#"accuracy regex user {"pattern": "^u[0-9]{1,4}$"}"#,
            r#"accuracy expression  {"expression": "endless <= now()"}"#,
            r#"accuracy range far {"max": 1000, "min": 0}"#,
            r#"accuracy range not_a_number {"max": 1000, "min": 0}"#,
            "consistency unique select {}",
            "consistency unique soft_key {}",
            "consistency unique user {}",
        ]
    );
    let there = proposed.iter().filter(|line| line.starts_with("completeness")).count();
    assert_eq!(there, 22, "{proposed:#?}");
    added_and_kept(&mut client, table);
}

#[test]
fn nothing_and_little_is_no_error() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE empty (id int, a text, b jsonb, c timestamptz); CREATE TABLE columnless (); INSERT INTO columnless DEFAULT VALUES;
         CREATE TABLE little (id int, a text); INSERT INTO little SELECT i, 'x' FROM generate_series(1, 29) i;
         CREATE TABLE nulls (a text, b int, c timestamptz, d jsonb, e uuid); INSERT INTO nulls SELECT FROM generate_series(1, 100);
         CREATE TABLE same (a text, b int, c timestamptz, d numeric); INSERT INTO same SELECT 'x', 1, '2024-01-01', 5 FROM generate_series(1, 100)",
    );
    for table in ["empty", "columnless", "little", "nulls"] {
        assert_eq!(proposed(&mut client, table), [""; 0], "{table}");
    }
    assert_eq!(
        proposed(&mut client, "same")[4..],
        [
            r#"accuracy expression  {"expression": "c <= now()"}"#,
            r#"accuracy accepted_values a {"values": ["x"]}"#,
            r#"accuracy range c {"min": "2024-01-01"}"#
        ]
    );
}

#[test]
fn a_large_table_is_sampled_and_two_calls_agree() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t AS SELECT i AS id, 'k' || i AS k, i % 7 AS n, (i % 1000) + 0.5 AS amount, repeat('x', 300) AS pad FROM generate_series(1, 60000) i",
    );
    let sql = r#"SELECT dimension, rule, columns, args, confidence, why FROM opdb.suggest_quality_rules('t', '{"sample_rows": 5000}')"#;
    let before = rows(&mut client, sql);
    assert_eq!(rows(&mut client, sql), before);
    let sampled: Vec<i64> = before.iter().map(|row| sampled_rows(&row[5])).collect();
    assert!(sampled.iter().all(|rows| (3000..8000).contains(rows)), "{before:#?}");
    let rules: Vec<String> = before.iter().map(|row| format!("{} {}", row[1], row[2])).collect();
    for rule in ["unique {id}", "unique {k}", "regex {k}", "accepted_values {n}", "range {amount}"] {
        assert!(rules.contains(&rule.to_owned()), "{rule} {rules:?}");
    }
    // ANALYZE knows of the whole table what a sample does not show.
    execute(
        &mut client,
        "UPDATE t SET amount = 1500 + id % 9 WHERE id > 59990; UPDATE t SET k = 'k' || id / 2",
    );
    execute(&mut client, "VACUUM FULL t");
    execute(&mut client, "SET default_statistics_target = 10000; ANALYZE t");
    let after = proposed_with(&mut client, "t", r#"{"sample_rows": 5000}"#);
    assert!(after.contains(&r#"accuracy range amount {"max": 2000, "min": 0}"#.to_owned()), "{after:#?}");
    assert!(!after.contains(&"consistency unique k {}".to_owned()), "{after:#?}");
}

/// Of "… (a sample of 5,000 of about 60,000 rows)" the first number.
fn sampled_rows(why: &str) -> i64 {
    let (_, rest) = why.rsplit_once("(a sample of ").unwrap_or_else(|| panic!("{why}"));
    rest.split(' ').next().unwrap().replace(',', "").parse().unwrap()
}

#[test]
fn partitions_views_and_foreign_tables_are_read_as_they_are() {
    let mut pair = Pair::with_plain_production();
    let body = "(id int, kind text, at date)";
    let values =
        "SELECT i, (ARRAY['a', 'b'])[1 + i % 2], '2024-01-01'::date + i % 60 FROM generate_series(1, 2000) i";
    execute(&mut pair.there, &format!("CREATE TABLE far {body}; INSERT INTO far {values}"));
    execute(
        &mut pair.here,
        &format!(
            "CREATE TABLE parted {body} PARTITION BY RANGE (at);
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
             CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
             INSERT INTO parted {values};
             CREATE VIEW seen AS SELECT * FROM parted;
             CREATE MATERIALIZED VIEW kept AS SELECT * FROM parted;
             CREATE FOREIGN TABLE far {body} SERVER production OPTIONS (schema_name 'public');
             CREATE TABLE mixed {body} PARTITION BY LIST (kind);
             CREATE FOREIGN TABLE mixed_far PARTITION OF mixed FOR VALUES IN ('a') SERVER production OPTIONS (schema_name 'public', table_name 'far_a')"
        ),
    );
    execute(&mut pair.there, "CREATE TABLE far_a AS SELECT * FROM far WHERE kind = 'a'");
    let expected = [
        "completeness not_null at {}",
        "completeness not_null id {}",
        "completeness not_blank kind {}",
        r#"accuracy expression  {"expression": "at <= current_date + 1"}"#,
        r#"accuracy range at {"min": "2024-01-01"}"#,
        r#"accuracy accepted_values kind {"values": ["a", "b"]}"#,
        "integrity unique id {}",
    ];
    for table in ["parted", "seen", "kept", "far"] {
        assert_eq!(proposed(&mut pair.here, table), expected, "{table}");
    }
    assert_eq!(added_and_kept(&mut pair.here, "parted"), expected.len());
    let extent = |client: &mut Client, table: &str| {
        let why = text(
            client,
            &format!(r#"SELECT why FROM opdb.suggest_quality_rules('{table}', '{{"sample_rows": 500}}')"#),
        );
        why[why.rfind('(').unwrap()..].to_owned()
    };
    assert_eq!(extent(&mut pair.here, "seen"), "(the first 500 rows were read)");
    assert_eq!(extent(&mut pair.here, "far"), "(the first 500 rows were read)");
    assert_eq!(extent(&mut pair.here, "mixed"), "(the first 500 rows were read)");
    assert!(extent(&mut pair.here, "kept").starts_with("(a sample of "));
    assert!(extent(&mut pair.here, "parted").starts_with("(a sample of "));
}

#[test]
fn a_reference_is_proposed_only_to_what_the_owner_may_read() {
    let name = database(&servers().test);
    let owner = role(&servers().test, &["opdb_operator"]);
    let mut superuser = on_test(&name);
    execute(
        &mut superuser,
        &format!(
            "CREATE TABLE country (code text PRIMARY KEY); INSERT INTO country VALUES ('DE'), ('AT');
             CREATE TABLE companies (id int PRIMARY KEY); INSERT INTO companies SELECT generate_series(1, 50);
             CREATE TABLE t (\"countryCode\" text, company_id int, companies_id bigint);
             INSERT INTO t SELECT (ARRAY['DE', 'AT'])[1 + i % 2], 1 + i % 50, 1 + i % 50 FROM generate_series(1, 1000) i;
             GRANT SELECT ON country TO {owner}; ALTER TABLE t OWNER TO {owner}"
        ),
    );
    let mut references = || {
        let sql = "SELECT columns, args FROM opdb.suggest_quality_rules('t') WHERE rule = 'foreign_key'";
        rows(&mut superuser, sql)
    };
    let country = ["{countryCode}", r#"{"table": "public.country", "columns": ["code"]}"#];
    assert_eq!(references(), [country]);
    execute(&mut on_test(&name), &format!("GRANT SELECT ON companies TO {owner}"));
    let company = ["{company_id}", r#"{"table": "public.companies", "columns": ["id"]}"#];
    assert_eq!(references(), [company, country]);
    let mut session = servers().test.connect(&name, &owner, &owner).unwrap();
    added_and_kept(&mut session, "t");
}

#[test]
fn a_caller_sees_what_a_select_would_show() {
    let name = database(&servers().test);
    let operator = role(&servers().test, &["opdb_operator"]);
    execute(
        &mut on_test(&name),
        "CREATE TABLE t (id int, who text); INSERT INTO t SELECT i, CASE WHEN i <= 200 THEN 'mine' ELSE 'theirs' END FROM generate_series(1, 400) i;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (who = 'mine')",
    );
    let mut session = servers().test.connect(&name, &operator, &operator).unwrap();
    let refusal = refused(&mut session, "SELECT opdb.suggest_quality_rules('t')");
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.message.as_str()),
        ("42501", "permission denied for table public.t")
    );
    assert_eq!(refusal.hint, "GRANT SELECT ON public.t TO this role.");
    execute(&mut on_test(&name), &format!("GRANT SELECT ON t TO {operator}"));
    let lists = rows(
        &mut session,
        "SELECT args, why FROM opdb.suggest_quality_rules('t') WHERE rule = 'accepted_values'",
    );
    assert_eq!(lists, [[r#"{"values": ["mine"]}"#, "all 200 values are 'mine' (all 200 rows were read)"]]);
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    assert_eq!(refused(&mut session, "SELECT opdb.suggest_quality_rules('t')").sqlstate, "42501");
}

#[test]
fn no_code_of_a_types_owner_is_called() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE pair AS (a int, b int);
         CREATE FUNCTION trap(mood) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
         CREATE FUNCTION trap(pair) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
         CREATE CAST (mood AS text) WITH FUNCTION trap(mood) AS IMPLICIT;
         CREATE CAST (pair AS text) WITH FUNCTION trap(pair) AS IMPLICIT;
         CREATE FUNCTION trap(mood, mood) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
         CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = trap);
         CREATE TABLE t (a mood, b pair, c mood[]);
         INSERT INTO t SELECT 'good', ROW(1, 2)::pair, '{good}' FROM generate_series(1, 100)",
    );
    assert_eq!(
        proposed(&mut client, "t"),
        ["completeness not_null a {}", "completeness not_null b {}", "completeness not_null c {}"]
    );
}

#[test]
fn bad_input_is_refused_with_a_hint() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE TABLE t (a int); CREATE SEQUENCE s; CREATE INDEX i ON t (a)");
    for (call, sqlstate, named) in [
        ("NULL", "22004", "\"table\""),
        ("'t', NULL", "22004", "\"options\""),
        ("'t', '[]'", "22023", "\"options\""),
        ("'t', '{\"rows\": 1}'", "22023", "\"rows\""),
        ("'t', '{\"sample_rows\": 0}'", "22023", "\"sample_rows\""),
        ("'t', '{\"sample_rows\": 10000001}'", "22023", "\"sample_rows\""),
        ("'t', '{\"min_rows\": 1.5}'", "22023", "\"min_rows\""),
        ("'t', '{\"min_ratio\": 0}'", "22023", "\"min_ratio\""),
        ("'t', '{\"min_ratio\": \"1\"}'", "22023", "\"min_ratio\""),
        ("'s'", "42809", "public.s"),
        ("'i'", "42809", "public.i"),
    ] {
        let refusal = refused(&mut client, &format!("SELECT opdb.suggest_quality_rules({call})"));
        assert_eq!(refusal.sqlstate, sqlstate, "{call}: {refusal:?}");
        assert!(refusal.message.contains(named) && !refusal.hint.is_empty(), "{call}: {refusal:?}");
    }
}

#[test]
fn it_only_reads_and_does_so_once() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE SEQUENCE reads; CREATE TABLE t AS SELECT i AS id, 'a-' || i AS a, now() AS at, '{}'::jsonb AS d FROM generate_series(1, 3000) i;
         CREATE FUNCTION counted() RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT nextval('public.reads')::int $$;
         CREATE VIEW v AS SELECT t.*, public.counted() AS n FROM t",
    );
    execute(&mut client, "BEGIN READ ONLY");
    assert_ne!(text(&mut client, "SELECT count(*) FROM opdb.suggest_quality_rules('t')"), "0");
    assert_ne!(
        text(&mut client, r#"SELECT count(*) FROM opdb.suggest_quality_rules('t', '{"sample_rows": 500}')"#),
        "0"
    );
    assert_eq!(text(&mut client, "SELECT pg_current_xact_id_if_assigned()"), "NULL");
    execute(&mut client, "ROLLBACK");
    execute(&mut client, "SET temp_buffers = '800kB'; SET work_mem = '64kB'");
    assert_ne!(text(&mut client, "SELECT count(*) FROM opdb.suggest_quality_rules('v')"), "0");
    assert_eq!(text(&mut client, "SELECT last_value FROM reads"), "3000");
}

#[test]
fn a_table_may_have_all_the_columns_there_can_be() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "DO $$ BEGIN
             EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg(format('c%s int', i), ',') FROM generate_series(1, 1600) i) || ')';
             EXECUTE 'INSERT INTO wide SELECT ' || (SELECT string_agg('n', ',') FROM generate_series(1, 1600) i) || ' FROM generate_series(1, 50) n';
         END $$",
    );
    let counts = "SELECT rule, count(*) FROM opdb.suggest_quality_rules('wide') GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&mut client, counts), [["not_null", "1600"], ["range", "1600"]]);
}
