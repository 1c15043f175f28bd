//! Nothing for PUBLIC; reader, operator and admin can do what their role says without being superusers.

use crate::fixture::{
    Pair, database, execute, ingest, on_test, plain_database, records, refused, register, role, rows,
    servers, text,
};

#[test]
fn a_role_without_grants_reaches_nothing() {
    let name = database(&servers().test);
    let nobody = role(&servers().test, &[]);
    let mut session = servers().test.connect(&name, &nobody, &nobody).unwrap();
    let reachable = rows(
        &mut session,
        "SELECT 'function ' || p.oid::regprocedure FROM pg_proc p
         WHERE p.pronamespace = 'opdb'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')
         UNION ALL
         SELECT 'relation ' || c.oid::regclass FROM pg_class c
         WHERE c.relnamespace = 'opdb'::regnamespace AND c.relkind IN ('r', 'v', 'S')
           AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE')
                              ELSE has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE')
                                   OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE') END
         UNION ALL
         SELECT 'schema opdb' WHERE has_schema_privilege('opdb', 'USAGE')",
    );
    assert!(reachable.is_empty(), "{reachable:?}");
    for statement in [
        "SELECT opdb.current_environment()",
        "SELECT * FROM opdb.environments",
        "SELECT opdb.schema_fingerprint()",
    ] {
        assert_eq!(refused(&mut session, statement).sqlstate, "42501", "{statement}");
    }
}

#[test]
fn every_function_is_somebodys() {
    let mut client = on_test(&database(&servers().test));
    let forgotten = rows(
        &mut client,
        "SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'opdb'::regnamespace
           AND NOT has_function_privilege('opdb_admin', p.oid, 'EXECUTE')",
    );
    assert!(forgotten.is_empty(), "{forgotten:?}");
    let uncommented = rows(
        &mut client,
        "SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'opdb'::regnamespace
           AND obj_description(p.oid, 'pg_proc') IS NULL",
    );
    assert!(uncommented.is_empty(), "{uncommented:?}");
}

#[test]
fn a_reader_looks_and_does_not_touch() {
    let name = database(&servers().test);
    execute(
        &mut on_test(&name),
        "SELECT opdb.create_event_table('events'); SELECT opdb.ingest('events', '[1]'); SELECT opdb.capture_schema()",
    );
    let reader = role(&servers().test, &["opdb_reader"]);
    let mut session = servers().test.connect(&name, &reader, &reader).unwrap();
    assert_eq!(text(&mut session, "SELECT opdb.validate_schema() ->> 'valid'"), "true");
    assert_eq!(text(&mut session, "SELECT how FROM opdb.current_environment()"), "unset");
    assert_eq!(text(&mut session, "SELECT count(*) FROM opdb.dead_letters"), "0", "not its table");
    for statement in [
        "SELECT opdb.set_environment('x', 'test')",
        "SELECT opdb.ingest('events', '[]')",
        "SELECT opdb.capture_schema()",
        "SELECT opdb.deploy('x', '{events}')",
        "SELECT record FROM opdb.dead_letter",
        "DELETE FROM opdb.schema_snapshot",
    ] {
        assert_eq!(refused(&mut session, statement).sqlstate, "42501", "{statement}");
    }
    execute(&mut on_test(&name), &format!("GRANT SELECT ON events TO {reader}"));
    assert_eq!(text(&mut session, "SELECT count(*) FROM opdb.dead_letters"), "1");
}

#[test]
fn an_ordinary_admin_and_operator_do_the_whole_job() {
    let production = plain_database(&servers().production);
    let deployer = role(&servers().production, &[]);
    execute(
        &mut servers().production.connect_as_superuser(&production).unwrap(),
        &format!(
            "CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text, source_id text UNIQUE,
                 occurred_at timestamptz, payload jsonb, created_at timestamptz DEFAULT now(), processed bool DEFAULT false);
             GRANT SELECT, INSERT, UPDATE, DELETE ON events TO {deployer}; GRANT CREATE ON DATABASE {production} TO {deployer}"
        ),
    );
    let name = database(&servers().test);
    let (admin, operator) =
        (role(&servers().test, &["opdb_admin"]), role(&servers().test, &["opdb_operator"]));
    execute(&mut on_test(&name), &format!("GRANT CREATE ON SCHEMA public TO {operator}"));

    let mut session = servers().test.connect(&name, &admin, &admin).unwrap();
    execute(&mut session, "SELECT opdb.set_environment('test', 'test')");
    register(&mut session, "production", "production", &production, &deployer, &deployer);
    assert_eq!(text(&mut session, "SELECT reachable FROM opdb.check_environment('production')"), "t");

    let mut session = servers().test.connect(&name, &operator, &operator).unwrap();
    let refusal = refused(&mut session, "SELECT opdb.check_compatibility('production')");
    assert_eq!(refusal.sqlstate, "28000", "{refusal:?}");
    execute(
        &mut on_test(&name),
        &format!(
            "CREATE USER MAPPING FOR {operator} SERVER production OPTIONS (user '{deployer}', password '{deployer}')"
        ),
    );
    execute(&mut session, "SELECT opdb.create_event_table('events', start_at => '2024-03-01')");
    assert_eq!(ingest(&mut session, "events", &records(30)), (30, 0, 0));
    execute(&mut session, "SELECT opdb.capture_schema()");
    let failed = rows(
        &mut session,
        "SELECT check_name, detail FROM opdb.pre_deployment_check('production', '{events}') WHERE NOT passed",
    );
    assert!(failed.is_empty(), "{failed:?}");
    let id = text(&mut session, "SELECT opdb.deploy('production', '{events}')");
    assert_eq!(
        rows(
            &mut session,
            &format!("SELECT state, inserted FROM opdb.deployments WHERE deployment_id = {id}")
        ),
        [["applied", "30"]]
    );
}

#[test]
fn missing_rights_on_production_are_named_before_anything_is_sent() {
    let mut pair = Pair::with_plain_production();
    let deployer = role(&servers().production, &[]);
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); SELECT opdb.capture_schema()",
    );
    execute(
        &mut pair.there,
        &format!("CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO {deployer}"),
    );
    let mut pair = pair.register("limited", "production", &deployer, &deployer);
    let detail = text(
        &mut pair.here,
        "SELECT detail FROM opdb.pre_deployment_check('limited', '{t}') WHERE check_name = 'privileges' AND NOT passed",
    );
    assert!(detail.contains("INSERT, UPDATE") && detail.contains("public.t"), "{detail}");
}

#[test]
fn nobody_writes_opdbs_tables_but_its_functions() {
    let name = database(&servers().test);
    for group in ["opdb_reader", "opdb_operator", "opdb_admin"] {
        let member = role(&servers().test, &[group]);
        let mut session = servers().test.connect(&name, &member, &member).unwrap();
        let writable = rows(
            &mut session,
            "SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'opdb'::regnamespace AND c.relkind = 'r'
               AND (has_table_privilege(c.oid, 'INSERT, UPDATE, TRUNCATE, TRIGGER')
                    OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'))",
        );
        assert!(writable.is_empty(), "{group}: {writable:?}");
    }
}

#[test]
fn a_rule_does_not_borrow_the_rights_of_whoever_scores() {
    let name = database(&servers().test);
    let mut superuser = on_test(&name);
    let owner = role(&servers().test, &["opdb_operator"]);
    execute(&mut superuser, &format!("CREATE SCHEMA AUTHORIZATION {owner}"));
    let mut session = servers().test.connect(&name, &owner, &owner).unwrap();
    execute(
        &mut session,
        &format!(
            r#"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
               CREATE FUNCTION who() RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN current_user = ''{owner}''; END';
               SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{{}}',
                   '{{"expression": "{owner}.who()"}}', threshold => 1)"#
        ),
    );
    let score = format!("SELECT passed FROM opdb.quality_score('{owner}.t')");
    assert_eq!(text(&mut superuser, &score), "t", "evaluated as the owner");
    assert_eq!(text(&mut superuser, "SELECT current_user"), "postgres");

    let other = role(&servers().test, &["opdb_operator"]);
    let mut session = servers().test.connect(&name, &other, &other).unwrap();
    execute(&mut superuser, &format!("GRANT USAGE ON SCHEMA {owner} TO {other}"));
    assert_eq!(refused(&mut session, &score).sqlstate, "42501");
    execute(&mut superuser, &format!("GRANT SELECT ON {owner}.t TO {other}"));
    assert_eq!(text(&mut session, &score), "t");
}

#[test]
fn a_condition_does_not_borrow_the_rights_of_the_owner() {
    let mut pair = Pair::with_plain_production();
    let operator = role(&servers().test, &["opdb_operator"]);
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY)");
    execute(
        &mut pair.here,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
             GRANT SELECT ON t TO {operator}; SELECT opdb.capture_schema()"
        ),
    );
    let mut session = servers().test.connect(&pair.here_name, &operator, &operator).unwrap();
    let production = &servers().production;
    register(
        &mut session,
        "production",
        "production",
        &pair.there_name,
        production.superuser(),
        production.password(),
    );
    let refusal = refused(&mut session, r#"SELECT opdb.deploy('production', '{t}', '{"where": "id = 1"}')"#);
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("public.t"), "{refusal:?}");
    let id = text(&mut session, "SELECT opdb.deploy('production', '{t}')");
    let state = format!("SELECT state FROM opdb.deployments WHERE deployment_id = {id}");
    assert_eq!(text(&mut session, &state), "applied");
}

#[test]
fn whoever_may_attach_a_trigger_does_not_write_as_the_owner() {
    let name = database(&servers().test);
    let mut owner = on_test(&name);
    let feed = role(&servers().test, &["opdb_operator"]);
    execute(
        &mut owner,
        &format!(
            "SELECT opdb.create_event_table('events', start_at => '2024-03-01');
             GRANT INSERT, TRIGGER ON events TO {feed}; CREATE SCHEMA AUTHORIZATION {feed}"
        ),
    );
    let mut session = servers().test.connect(&name, &feed, &feed).unwrap();
    execute(
        &mut session,
        &format!(
            "CREATE FUNCTION rise() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN EXECUTE ''ALTER ROLE {feed} SUPERUSER''; RETURN NULL; END';
             CREATE TRIGGER rise AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION rise()"
        ),
    );
    let refusal = refused(&mut session, &format!("SELECT opdb.ingest('events', '{}')", records(1)));
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("rise"), "{refusal:?}");
    let is_superuser = format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{feed}'");
    assert_eq!(text(&mut owner, &is_superuser), "f");
}

#[test]
fn a_schema_that_somebody_else_prepared_is_not_used() {
    let name = plain_database(&servers().test);
    let stranger = role(&servers().test, &[]);
    let mut superuser = on_test(&name);
    execute(&mut superuser, &format!("CREATE SCHEMA opdb AUTHORIZATION {stranger}"));
    let refusal = refused(&mut superuser, "CREATE EXTENSION opdb CASCADE");
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("schema opdb"), "{refusal:?}");
}

#[test]
fn a_table_that_changed_hands_says_what_else_must() {
    let name = database(&servers().test);
    let mut superuser = on_test(&name);
    let heir = role(&servers().test, &["opdb_operator"]);
    execute(
        &mut superuser,
        &format!(
            "SELECT opdb.create_event_table('events', start_at => '2024-03-01'); GRANT CREATE ON SCHEMA public TO {heir};
             ALTER TABLE events OWNER TO {heir}"
        ),
    );
    let refusal = refused(&mut superuser, &format!("SELECT opdb.ingest('events', '{}')", records(1)));
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.hint.contains("name_keep_keys() OWNER TO"), "{refusal:?}");
    execute(
        &mut superuser,
        &format!(
            "ALTER TABLE events_keys OWNER TO {heir}; ALTER FUNCTION events_keep_keys() OWNER TO {heir}"
        ),
    );
    for partition in 0..8 {
        execute(&mut superuser, &format!("ALTER TABLE events_keys_{partition} OWNER TO {heir}"));
    }
    assert_eq!(ingest(&mut superuser, "events", &records(60)), (60, 0, 0));
}

#[test]
fn a_rule_of_a_former_owner_is_broken() {
    let name = database(&servers().test);
    let mut superuser = on_test(&name);
    let owner = role(&servers().test, &["opdb_operator"]);
    execute(&mut superuser, &format!("CREATE SCHEMA AUTHORIZATION {owner}"));
    let mut session = servers().test.connect(&name, &owner, &owner).unwrap();
    execute(
        &mut session,
        &format!(
            r#"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
               CREATE FUNCTION rise() RETURNS bool STABLE LANGUAGE plpgsql AS
                   'BEGIN IF current_user <> ''{owner}'' THEN EXECUTE ''ALTER ROLE {owner} SUPERUSER''; END IF; RETURN true; END';
               SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{{}}', '{{"expression": "{owner}.rise()"}}')"#
        ),
    );
    execute(&mut superuser, &format!("ALTER TABLE {owner}.t OWNER TO postgres"));
    let run = rows(&mut superuser, &format!("SELECT passed, reason FROM opdb.quality_score('{owner}.t')"))
        .remove(0);
    assert_eq!(run[0], "f");
    assert!(run[1].contains("another owner"), "{run:?}");
    assert_eq!(
        text(&mut superuser, &format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{owner}'")),
        "f"
    );
}

#[test]
fn code_of_others_on_an_event_table_is_refused_wherever_it_hangs() {
    let name = database(&servers().test);
    let mut owner = on_test(&name);
    let evil = role(&servers().test, &[]);
    execute(
        &mut owner,
        &format!(
            "CREATE SCHEMA AUTHORIZATION {evil}; SELECT opdb.create_event_table('events', start_at => '2024-03-01')"
        ),
    );
    let mut session = servers().test.connect(&name, &evil, &evil).unwrap();
    execute(
        &mut session,
        "CREATE FUNCTION yes() RETURNS bool LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    );
    let call = format!("SELECT opdb.ingest('events', '{}')", records(1));
    for (grant, attach, detach) in [
        (
            "TRIGGER ON events",
            "CREATE TRIGGER z BEFORE INSERT ON events FOR EACH STATEMENT WHEN (yes())
             EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "DROP TRIGGER z ON events",
        ),
        (
            "TRIGGER ON events_keys",
            "CREATE TRIGGER z AFTER INSERT ON events_keys FOR EACH STATEMENT EXECUTE FUNCTION noop()",
            "DROP TRIGGER z ON events_keys",
        ),
    ] {
        execute(&mut owner, &format!("GRANT {grant} TO {evil}"));
        execute(&mut session, attach);
        let refusal = refused(&mut owner, &call);
        assert_eq!(refusal.sqlstate, "42501", "{attach}");
        assert!(refusal.message.contains("trigger z on"), "{refusal:?}");
        execute(&mut owner, detach);
    }
    execute(&mut owner, &format!("ALTER TABLE events_2024_03_01 OWNER TO {evil}"));
    assert!(refused(&mut owner, &call).message.contains("partition"));
    execute(&mut owner, "ALTER TABLE events_2024_03_01 OWNER TO postgres");
    execute(&mut owner, &call);
}

#[test]
fn an_operator_that_somebody_put_in_the_way_is_not_asked() {
    let mut pair = Pair::with_plain_production();
    let table = "CREATE TABLE t (k varchar(20) PRIMARY KEY, v int); CREATE SCHEMA shared; GRANT CREATE ON SCHEMA public, shared TO PUBLIC;
        CREATE FUNCTION shared.trap(varchar, varchar) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END';
        CREATE OPERATOR public.= (leftarg = varchar, rightarg = varchar, function = shared.trap);
        CREATE OPERATOR public.>= (leftarg = varchar, rightarg = varchar, function = shared.trap)";
    execute(&mut pair.there, table);
    execute(
        &mut pair.here,
        &format!(
            r#"{table}; INSERT INTO t VALUES ('a', 1), ('b', 2); SELECT opdb.capture_schema();
               SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{{k}}', '{{"min": "a"}}')"#
        ),
    );
    let id = text(&mut pair.here, "SELECT opdb.deploy('production', '{t}')");
    let state = format!("SELECT state, error FROM opdb.deployments WHERE deployment_id = {id}");
    assert_eq!(rows(&mut pair.here, &state), [["applied", "NULL"]]);
}

#[test]
fn a_schema_named_opdb_is_not_opdb() {
    let mut pair = Pair::with_plain_production();
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    execute(
        &mut pair.there,
        &format!(
            "{table}; CREATE SCHEMA opdb; CREATE FUNCTION opdb.current_environment(OUT kind text) LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''called''; END'"
        ),
    );
    execute(&mut pair.here, &format!("{table}; INSERT INTO t VALUES (1); SELECT opdb.capture_schema()"));
    let detail = text(
        &mut pair.here,
        "SELECT detail FROM opdb.pre_deployment_check('production', '{t}') WHERE check_name = 'target_kind' AND passed",
    );
    assert!(detail.contains("does not say"), "{detail}");
}
