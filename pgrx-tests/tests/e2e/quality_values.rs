//! has_format, json_valid and is_castable: what quality rules ask of one value.

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

/// For each value its answer: "value t", "value f".
fn answers(values: &[&str], expected: bool) -> Vec<Vec<String>> {
    let answer = if expected { "t" } else { "f" };
    values.iter().map(|value| vec![(*value).to_owned(), answer.to_owned()]).collect()
}

fn literals(values: &[&str]) -> String {
    let literals: Vec<String> =
        values.iter().map(|value| format!("('{}')", value.replace('\'', "''"))).collect();
    literals.join(", ")
}

#[test]
fn a_value_has_a_format_or_not() {
    let mut client = on_test(&database(&servers().test));
    for (format, accepted, refused) in [
        ("email", ["ada@example.org", "ada@münchen.de"], ["ada@localhost", "Ada <ada@example.org>"]),
        ("url", ["https://example.org/a?b=c#d", "http://[::1]:8080"], ["example.org", "file:///etc/hosts"]),
        (
            "uuid",
            ["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"],
            ["{123e4567-e89b-12d3-a456-426614174000}", "123e4567e89b12d3a456426614174000"],
        ),
        ("date", ["2024-02-29", "0001-01-01"], ["2023-02-29", "29.02.2024"]),
        (
            "datetime",
            ["2024-02-29T23:59:59Z", "2024-02-29 23:59:59.5+05:30"],
            ["2024-02-29", "2024-02-29T24:00:00Z"],
        ),
        ("ipv4", ["192.0.2.1", "0.0.0.0"], ["192.0.2.01", "192.0.2.1/24"]),
        ("ipv6", ["2001:db8::1", "::ffff:192.0.2.1"], ["fe80::1%eth0", "192.0.2.1"]),
        ("country", ["DE", "DEU"], ["de", "XK"]),
        ("currency", ["EUR", "XCG"], ["eur", "DEM"]),
        ("language", ["de", "deu"], ["DE", "ger"]),
        ("json", [" {\"a\": [1]} ", "null"], ["{a: 1}", ""]),
    ] {
        for (values, expected) in [(accepted, true), (refused, false)] {
            let sql = format!(
                "SELECT v, opdb.has_format(v, '{format}') FROM (VALUES {}) AS x (v)",
                literals(&values)
            );
            assert_eq!(rows(&mut client, &sql), answers(&values, expected), "{format}");
        }
    }
    let refusal = refused(&mut client, "SELECT opdb.has_format('x', 'Email')");
    assert_eq!(refusal.sqlstate, "22023");
    assert!(refusal.message.contains("Email"), "{refusal:?}");
    assert!(refusal.hint.contains("email, url, uuid"), "{refusal:?}");
}

#[test]
fn what_has_a_format_is_what_the_server_reads() {
    let mut client = on_test(&database(&servers().test));
    let json = [
        "",
        " ",
        "{}",
        "[1,]",
        "{\"a\":1,\"a\":2}",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "1e999999",
        "01",
        "-",
        "nul",
        "true",
        "\"\t\"",
        "\"\\x\"",
        "[1] [2]",
        "{\"a\"}",
        "'a'",
        "\u{a0}1",
        "\n[ ]\r\n",
        ".5",
        "NaN",
        "\"é😀\"",
        "{\"a\":{\"b\":[[]]}}",
        "//",
    ];
    let disagreed = rows(
        &mut client,
        &format!(
            "SELECT v FROM (VALUES {}) AS x (v) WHERE opdb.has_format(v, 'json') <> opdb.is_castable(v, 'json')",
            literals(&json)
        ),
    );
    assert!(disagreed.is_empty(), "{disagreed:?}");
    let unreadable = rows(
        &mut client,
        "SELECT f, v FROM (VALUES
            ('date', 'date', '2024-02-29'), ('date', 'date', '0001-01-01'), ('date', 'date', '9999-12-31'),
            ('datetime', 'timestamptz', '2024-02-29t23:59:59.123456789z'), ('datetime', 'timestamptz', '2016-12-31 23:59:60'),
            ('datetime', 'timestamptz', '1890-01-01 00:00:00+00:53:28'), ('datetime', 'timestamptz', '2024-01-01 00:00:00-11'),
            ('uuid', 'uuid', 'FFFFFFFF-ffff-ffff-ffff-ffffffffffff'), ('ipv4', 'inet', '255.255.255.255'),
            ('ipv6', 'inet', '::ffff:192.0.2.1')) AS x (f, t, v)
         WHERE NOT opdb.has_format(v, f) OR NOT opdb.is_castable(v, t)",
    );
    assert!(unreadable.is_empty(), "{unreadable:?}");
    execute(&mut client, "SET TimeZone = 'Europe/Berlin'");
    for moment in
        ["now()", "'1850-01-01'::timestamptz", "'2024-07-01'::timestamp", "'0044-03-15'::timestamptz"]
    {
        let written = format!("opdb.has_format(({moment})::text, 'datetime')");
        assert_eq!(text(&mut client, &format!("SELECT {written}")), "t", "{moment}");
        let in_json = format!("opdb.has_format(to_jsonb({moment}) #>> '{{}}', 'datetime')");
        assert_eq!(text(&mut client, &format!("SELECT {in_json}")), "t", "{moment}");
    }
}

#[test]
fn a_document_is_valid_against_its_schema_or_not() {
    let mut client = on_test(&database(&servers().test));
    let order = r##"{
        "type": "object",
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}}
        },
        "unevaluatedProperties": false,
        "$defs": {"line": {
            "type": "object", "required": ["sku", "count"],
            "properties": {"sku": {"type": "string", "pattern": "^[a-z]-\\d+$"}, "count": {"type": "integer", "exclusiveMinimum": 0}}
        }}
    }"##;
    let id = "123e4567-e89b-12d3-a456-426614174000";
    for (lines, expected) in [
        (r#"[{"sku": "a-1", "count": 1}]"#, "t"),
        (r#"[{"sku": "a-1", "count": 1.0}, {"sku": "b-22", "count": 99999999999999999999}]"#, "t"),
        (r#"[{"sku": "a-1", "count": 0}]"#, "f"),
        (r#"[{"sku": "a-1", "count": 1.5}]"#, "f"),
        (r#"[{"sku": "A-1", "count": 1}]"#, "f"),
        (r#"[{"sku": "a-1"}]"#, "f"),
        ("[]", "f"),
        ("null", "f"),
    ] {
        let call = format!(r#"SELECT opdb.json_valid('{order}', '{{"id": "{id}", "lines": {lines}}}')"#);
        assert_eq!(text(&mut client, &call), expected, "{lines}");
    }
    for (document, expected) in [
        (format!(r#"{{"id": "{id}", "lines": [{{"sku": "a-1", "count": 1}}], "more": 1}}"#), "f"),
        (r#"{"id": "1", "lines": [{"sku": "a-1", "count": 1}]}"#.to_owned(), "f"),
        ("[]".to_owned(), "f"),
        ("\"text\"".to_owned(), "f"),
    ] {
        assert_eq!(
            text(&mut client, &format!("SELECT opdb.json_valid('{order}', '{document}')")),
            expected,
            "{document}"
        );
    }
}

#[test]
fn a_schema_says_its_draft_and_numbers_are_exact() {
    let mut client = on_test(&database(&servers().test));
    for (schema, instance, expected) in [
        (r#"{"prefixItems": [{"type": "string"}]}"#, "[1]", "f"),
        (
            r#"{"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [{"type": "string"}]}"#,
            "[1]",
            "t",
        ),
        (
            r#"{"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}"#,
            "[1]",
            "f",
        ),
        (
            r#"{"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 5, "exclusiveMaximum": true}"#,
            "5",
            "f",
        ),
        (r#"{"maximum": 123456789012345678901234567890.1}"#, "123456789012345678901234567890.2", "f"),
        (r#"{"maximum": 123456789012345678901234567890.1}"#, "123456789012345678901234567890.10", "t"),
        (r#"{"const": 9007199254740993}"#, "9007199254740992", "f"),
        (r#"{"multipleOf": 0.01}"#, "19.99", "t"),
        (r#"{"multipleOf": 0.01}"#, "19.999", "f"),
        (r#"{"type": "integer"}"#, "1.0", "t"),
        (r#"{"uniqueItems": true}"#, "[1, 1.0]", "f"),
        (r#"{"maxLength": 1}"#, "\"😀\"", "t"),
        (r#"{"properties": {"größe": false}}"#, r#"{"größe": 1}"#, "f"),
        (r#"{"format": "no such format"}"#, "\"x\"", "t"),
        (r#"{"format": "idn-email"}"#, "\"x\"", "f"),
        ("true", "[]", "t"),
        ("false", "null", "f"),
    ] {
        let call = format!("SELECT opdb.json_valid('{schema}', '{instance}')");
        assert_eq!(text(&mut client, &call), expected, "{schema} {instance}");
    }
}

#[test]
fn a_schema_that_is_none_is_refused_with_the_place_in_it() {
    let mut client = on_test(&database(&servers().test));
    for (schema, named) in [
        (r#"{"properties": {"a": {"type": "text"}}}"#, "at /properties/a/type"),
        (r#"{"items": {"minimum": "1"}}"#, "at /items/minimum"),
        (r#"{"anyOf": [{"pattern": "("}]}"#, "at /anyOf/0/pattern"),
        (r#"{"pattern": "(a{1000}){1000}"}"#, "at /pattern"),
        ("5", "invalid JSON Schema: 5"),
        ("null", "invalid JSON Schema: null"),
        (r##"{"$ref": "#/$defs/nowhere"}"##, "#/$defs/nowhere"),
        (r##"{"$ref": "#nowhere"}"##, "#nowhere"),
        (r#"{"$schema": "https://example.org/draft"}"#, "https://example.org/draft"),
        (r#"{"$id": "http://a b"}"#, "invalid JSON Schema"),
    ] {
        let refusal = refused(&mut client, &format!("SELECT opdb.json_valid('{schema}', '1')"));
        assert_eq!(refusal.sqlstate, "22023", "{schema}: {refusal:?}");
        assert!(refusal.message.contains(named), "{schema}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{schema}: {refusal:?}");
    }
    for reference in ["https://example.org/a.json", "http://127.0.0.1:1/a", "file:///etc/passwd", "a.json"] {
        let refusal = refused(
            &mut client,
            &format!(r#"SELECT opdb.json_valid('{{"items": {{"$ref": "{reference}"}}}}', '1')"#),
        );
        assert_eq!(refusal.sqlstate, "22023", "{refusal:?}");
        let expected = format!("\"{reference}\": references outside the schema are not fetched");
        assert!(refusal.message.contains(&expected), "{refusal:?}");
    }
    let long =
        refused(&mut client, "SELECT opdb.json_valid(jsonb_build_object('type', repeat('x', 100000)), '1')");
    assert!(long.message.len() < 1_000, "{}", long.message.len());
}

#[test]
fn documents_are_read_compressed_and_out_of_line_too() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE d (id int, schema jsonb, doc jsonb);
           ALTER TABLE d ALTER schema SET STORAGE EXTERNAL, ALTER doc SET STORAGE EXTERNAL;
           INSERT INTO d SELECT n, jsonb_build_object('items', jsonb_build_object('enum', jsonb_agg(i))), jsonb_agg(i)
             FROM (VALUES (1, 1), (2, 100), (3, 20000)) AS s (n, size), generate_series(1, size) i GROUP BY n;
           ALTER TABLE d ALTER doc SET STORAGE EXTENDED;
           INSERT INTO d SELECT id + 3, schema, doc || '0' FROM d"#,
    );
    let valid = "SELECT string_agg(opdb.json_valid(schema, doc)::text, ' ' ORDER BY id) FROM d";
    assert_eq!(text(&mut client, valid), "true true true false false false");
    let crossed = "SELECT string_agg(opdb.json_valid(a.schema, b.doc)::text, ' ' ORDER BY a.id, b.id)
                   FROM d a, d b WHERE a.id <= 3 AND b.id <= 3";
    assert_eq!(text(&mut client, crossed), "true false false true true false true true true");
}

#[test]
fn deep_documents_and_schemas_end_in_an_answer_or_an_error() {
    let mut client = on_test(&database(&servers().test));
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("(repeat('{open}', {depth}) || '{inner}' || repeat('{close}', {depth}))::jsonb")
    };
    let deep = nested("[", "", "]", 10_000);
    execute(&mut client, "SET max_stack_depth = '7MB'");
    execute(&mut client, &format!("CREATE TABLE deep AS SELECT {deep} AS doc"));
    let valid = |schema: &str| format!("SELECT opdb.json_valid('{schema}', doc) FROM deep");
    for (schema, expected) in [
        (r#"{"type": "array"}"#, "t"),
        (r#"{"const": [[]]}"#, "f"),
        (r#"{"uniqueItems": true, "maxItems": 1}"#, "t"),
    ] {
        assert_eq!(text(&mut client, &valid(schema)), expected, "{schema}");
    }
    for schema in [
        r##"{"items": {"$ref": "#"}}"##,
        r##"{"items": {"allOf": [{"anyOf": [{"not": {"not": {"$ref": "#"}}}]}]}}"##,
        r##"{"$dynamicAnchor": "x", "items": {"$dynamicRef": "#x"}, "unevaluatedItems": false}"##,
    ] {
        // With seven megabytes of stack it depends on the build whether that is too deep.
        execute(&mut client, "SET max_stack_depth = '7MB'");
        let _ = client.batch_execute(&valid(schema));
        execute(&mut client, "SET max_stack_depth = '100kB'");
        let refusal = refused(&mut client, &valid(schema));
        assert_eq!(refusal.sqlstate, "54001", "{schema}: {refusal:?}");
    }
    execute(&mut client, "SET max_stack_depth = '7MB'");
    for schema in [
        nested("{\"not\":", "{}", "}", 10_000),
        nested("{\"items\":", "{}", "}", 10_000),
        nested("[", "", "]", 10_000),
        nested("{\"const\":", "1", "}", 200),
    ] {
        let refusal = refused(&mut client, &format!("SELECT opdb.json_valid({schema}, '1')"));
        assert_eq!(refusal.sqlstate, "54000", "{schema}: {refusal:?}");
    }
    let allowed = nested("{\"not\":", "{}", "}", 126);
    assert_eq!(text(&mut client, &format!("SELECT opdb.json_valid({allowed}, '1')")), "t");
}

/// Definitions of which each refers twice to the next, after which two to the power of `length` ways lead.
fn doubling(length: usize, beside: &str) -> String {
    let definitions: Vec<String> = (0..length)
        .map(|place| {
            let next = format!(r##"{{"$ref": "#/$defs/d{}"}}"##, place + 1);
            format!(r#""d{place}": {{"allOf": [{next}, {next}]}}"#)
        })
        .collect();
    format!(
        r##"{{"$ref": "#/$defs/d0", {beside} "$defs": {{{}, "d{length}": {{"type": "string"}}}}}}"##,
        definitions.join(", ")
    )
}

#[test]
fn what_takes_for_ever_can_be_cancelled_or_is_refused() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "SET statement_timeout = '300ms'");
    let schema = doubling(60, "");
    let refusal = refused(&mut client, &format!("SELECT opdb.json_valid('{schema}', '\"x\"')"));
    assert_eq!(refusal.sqlstate, "57014", "{refusal:?}");
    let backtracking = r#"{"items": {"not": {"pattern": "^(?:(a|a)*)\\1b"}}}"#;
    let texts = "(SELECT jsonb_agg(repeat('a', 40) || i) FROM generate_series(1, 100000) i)";
    let refusal = refused(&mut client, &format!("SELECT opdb.json_valid('{backtracking}', {texts})"));
    assert_eq!(refusal.sqlstate, "57014", "{refusal:?}");
    execute(&mut client, "SET statement_timeout = 0");
    for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
        let schema = doubling(60, &format!("\"{keyword}\": false,"));
        let refusal = refused(&mut client, &format!("SELECT opdb.json_valid('{schema}', '1')"));
        assert_eq!(refusal.sqlstate, "54000", "{refusal:?}");
        assert!(refusal.hint.contains(keyword), "{refusal:?}");
    }
    assert_eq!(text(&mut client, "SELECT opdb.json_valid('true', '1')"), "t", "the session goes on");
}

#[test]
fn a_pattern_takes_bounded_time_on_one_text() {
    let mut client = on_test(&database(&servers().test));
    for (schema, instance, expected) in [
        (r#"{"pattern": "^(a+)+$"}"#, "repeat('a', 100000) || '!'", "f"),
        (r#"{"pattern": "^(a+)+$"}"#, "repeat('a', 100000)", "t"),
        // What takes too many steps back is not known to match, nor not to.
        (r#"{"pattern": "^(?:(a|a)*)\\1b"}"#, "repeat('a', 40) || '!'", "f"),
        (r#"{"not": {"pattern": "^(?:(a|a)*)\\1b"}}"#, "repeat('a', 40) || '!'", "f"),
        (r#"{"pattern": "^(?!.*secret)"}"#, "text 'open'", "t"),
        (r#"{"pattern": "^(?!.*secret)"}"#, "text 'a secret'", "f"),
    ] {
        let call = format!("SELECT opdb.json_valid('{schema}', to_jsonb({instance}))");
        assert_eq!(text(&mut client, &call), expected, "{schema}");
    }
}

#[test]
fn a_text_is_a_value_of_a_type_or_not() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TYPE mood AS ENUM ('fine'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TYPE pair AS (a int, b date); CREATE SCHEMA s; CREATE DOMAIN s.short AS varchar(3) NOT NULL",
    );
    for (kind, accepted, refused) in [
        ("integer", vec!["1", " -5 "], vec!["", "1.5", "x", "99999999999"]),
        ("numeric(5,2)", vec!["999.99", "1.239", "NaN"], vec!["1000", "999.999", "1,5"]),
        ("varchar(3)", vec!["abc", "abc   ", "äöü"], vec!["abcd"]),
        ("date", vec!["2024-02-29", "today"], vec!["2023-02-29", "31.31.2024"]),
        ("timestamp with time zone", vec!["2024-01-01 00:00+01"], vec!["2024-01-01 25:00", "a"]),
        ("jsonb", vec!["{}"], vec!["{a}", "\"\\u0000\""]),
        ("int[]", vec!["{1,2}"], vec!["{1,x}", "1", "{1"]),
        ("mood", vec!["fine"], vec!["bad"]),
        ("positive", vec!["1"], vec!["0", "x"]),
        ("public.pair", vec!["(1,2024-01-01)"], vec!["(1,2)", "(1)", "1"]),
        ("s.short", vec!["abc"], vec!["abcd"]),
        ("regclass", vec!["pg_class"], vec!["nowhere", "nowhere.t", "\"unclosed"]),
        ("regtype", vec!["int4"], vec!["nosuch"]),
        ("regprocedure", vec!["now()"], vec!["nosuch()", "now"]),
        ("regnamespace", vec!["public"], vec!["nosuch"]),
        ("tsquery", vec!["a & b"], vec!["a &"]),
        ("jsonpath", vec!["$.a"], vec!["$.", "$ ? (@ like_regex \"(\")"]),
        ("uuid", vec!["{123e4567e89b12d3a456426614174000}"], vec!["1"]),
        ("text", vec!["", "x"], vec![]),
    ] {
        for (values, expected) in [(accepted, true), (refused, false)] {
            if values.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT v, opdb.is_castable(v, '{kind}') FROM (VALUES {}) AS x (v)",
                literals(&values)
            );
            assert_eq!(rows(&mut client, &sql), answers(&values, expected), "{kind}");
        }
    }
    let by_row = "SELECT v, opdb.is_castable(v, t) FROM (VALUES ('1', 'int'), ('a', 'int'), ('a', 'text'), ('1', 'int')) AS x (v, t)";
    let expected = [["1", "t"], ["a", "f"], ["a", "t"], ["1", "t"]];
    assert_eq!(rows(&mut client, by_row), expected, "the type is another in every row");
}

#[test]
fn what_says_nothing_of_the_value_is_raised() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE FUNCTION odd(v text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             IF v = 'slow' THEN PERFORM pg_sleep(600); END IF;
             IF v = 'bad' THEN RAISE EXCEPTION 'odd'; END IF;
             RETURN v <> 'no';
         END $$;
         CREATE DOMAIN odd AS text CHECK (odd(VALUE))",
    );
    for (value, kind, sqlstate) in [
        ("1", "nosuch", "42704"),
        ("1", "nosuch.nosuch", "3F000"),
        ("1", "int; SELECT 1", "42601"),
        ("1", "", "42601"),
        ("1", "varchar(x)", "42601"),
        ("1", "int(3)", "42601"),
        ("1", "varchar(0)", "22023"),
        ("bad", "odd", "P0001"),
        ("1", "anyelement", "0A000"),
    ] {
        let refusal = refused(&mut client, &format!("SELECT opdb.is_castable('{value}', '{kind}')"));
        assert_eq!(refusal.sqlstate, sqlstate, "{value} {kind}: {refusal:?}");
    }
    execute(&mut client, "SET statement_timeout = '300ms'");
    let refusal = refused(&mut client, "SELECT opdb.is_castable('slow', 'odd')");
    assert_eq!(refusal.sqlstate, "57014", "{refusal:?}");
    execute(&mut client, "SET statement_timeout = 0");
    assert_eq!(text(&mut client, "SELECT opdb.is_castable('no', 'odd')"), "f");
    assert_eq!(text(&mut client, "SELECT opdb.is_castable('yes', 'odd')"), "t");
}

#[test]
fn a_refused_value_leaves_the_transaction_as_it_was() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE DOMAIN positive AS int CHECK (VALUE > 0)");
    execute(&mut client, "BEGIN");
    for kind in ["int", "positive", "date", "numeric(3,1)", "jsonb"] {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE opdb.is_castable(v, '{kind}')) FROM (SELECT 'x' || i FROM generate_series(1, 5000) i) AS x (v)"
        );
        assert_eq!(text(&mut client, &sql), "0", "{kind}");
    }
    assert_eq!(text(&mut client, "SELECT pg_current_xact_id_if_assigned()"), "NULL");
    execute(
        &mut client,
        "CREATE TABLE t (v text CHECK (opdb.is_castable(v, 'int'))); INSERT INTO t VALUES ('1'), (NULL); COMMIT",
    );
    assert_eq!(refused(&mut client, "INSERT INTO t VALUES ('2'), ('x')").sqlstate, "23514");
    assert_eq!(text(&mut client, "SELECT count(*) FROM t"), "2");
}

#[test]
fn later_servers_have_their_own_function_for_it() {
    let mut client = on_test(&database(&servers().test));
    if text(&mut client, "SELECT current_setting('server_version_num')::int >= 160000") == "f" {
        return;
    }
    let disagreed = rows(
        &mut client,
        "SELECT v, t FROM unnest('{1, x, 1.5, 99999999999, 2024-02-30, \"{}\", \"{1}\", pg_class, a &, $., now, (1), <a>, ::1}'::text[]) v,
                unnest('{int, smallint, numeric(3\\,1), date, timestamptz, jsonb, int[], regclass, regproc, tsquery, jsonpath, inet, bit(3), varchar(2), interval}'::text[]) t
         WHERE opdb.is_castable(v, t) <> pg_input_is_valid(v, t)",
    );
    assert!(disagreed.is_empty(), "{disagreed:?}");
}

#[test]
fn null_is_neither() {
    let mut client = on_test(&database(&servers().test));
    for call in [
        "has_format(NULL, 'email')",
        "has_format('x', NULL)",
        "json_valid(NULL, '1')",
        "json_valid('true', NULL)",
        "is_castable(NULL, 'int')",
        "is_castable('1', NULL)",
    ] {
        assert_eq!(text(&mut client, &format!("SELECT opdb.{call}")), "NULL", "{call}");
    }
}

#[test]
fn the_planner_knows_what_the_functions_promise() {
    let mut client = on_test(&database(&servers().test));
    let promises = rows(
        &mut client,
        "SELECT p.oid::regprocedure, pg_get_function_arguments(p.oid), provolatile, proparallel, proisstrict
         FROM pg_proc p WHERE pronamespace = 'opdb'::regnamespace
           AND proname IN ('has_format', 'json_valid', 'is_castable') ORDER BY proname",
    );
    assert_eq!(
        promises,
        [
            ["opdb.has_format(text,text)", "value text, format text", "i", "s", "t"],
            ["opdb.is_castable(text,text)", "value text, type text", "s", "u", "t"],
            ["opdb.json_valid(jsonb,jsonb)", "schema jsonb, instance jsonb", "i", "s", "t"],
        ]
    );
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, mail text CHECK (opdb.has_format(mail, 'email')),
                           doc jsonb CHECK (opdb.json_valid('{"type": "object", "required": ["n"]}', doc)));
           INSERT INTO t SELECT i, i || '@example.org', jsonb_build_object('n', i) FROM generate_series(1, 20000) i;
           INSERT INTO t VALUES (0, NULL, NULL); ANALYZE t;
           SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
           SET max_parallel_workers_per_gather = 2"#,
    );
    for row in ["(-1, 'x', NULL)", "(-1, NULL, '{}')", "(-1, NULL, '1')"] {
        assert_eq!(refused(&mut client, &format!("INSERT INTO t VALUES {row}")).sqlstate, "23514", "{row}");
    }
    let scan = |condition: &str| format!("SELECT count(*) FROM t WHERE {condition}");
    for condition in [
        "opdb.has_format(mail, 'email')",
        r#"opdb.json_valid('{"properties": {"n": {"maximum": 20000}}}', doc)"#,
    ] {
        let plan = rows(&mut client, &format!("EXPLAIN {}", scan(condition))).concat().join("\n");
        assert!(plan.contains("Workers Planned"), "{plan}");
        assert_eq!(text(&mut client, &scan(condition)), "20000", "{condition}");
    }
    let plan =
        rows(&mut client, &format!("EXPLAIN {}", scan("opdb.is_castable(mail, 'int')"))).concat().join("\n");
    assert!(!plan.contains("Workers Planned"), "{plan}");
}

#[test]
fn a_reader_may_ask() {
    let name = database(&servers().test);
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    let all = "SELECT opdb.has_format('DE', 'country') AND opdb.json_valid('true', '1') AND opdb.is_castable('1', 'int')";
    assert_eq!(text(&mut session, all), "t");
    let nobody = role(&servers().test, &[]);
    let mut session = servers().test.connect(&name, &nobody, &nobody).unwrap();
    assert_eq!(refused(&mut session, all).sqlstate, "42501");
}
