//! Empty tables, which are loaded without a stage, and what has to go by the stage all the same.

use std::thread;

use super::rollback::roll_back;
use super::{applied, content, deploy, pair_with};
use crate::environment::until;
use crate::fixture::{Pair, execute, on_production, on_test, rows, sockets, text};

/// So many rows are not brought by the way of few.
const ROWS: i64 = 3000;
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, a text)";

fn filled(there: &str) -> Pair {
    let fill = format!("{TABLE}; INSERT INTO t SELECT i, 'value ' || i FROM generate_series(1, {ROWS}) i");
    pair_with(&fill, there)
}

/// Whether only keys and hashes are kept of the rows of the last deployment, as a load does it.
fn was_loaded(pair: &mut Pair) -> bool {
    let key = "SELECT left(replace(key::text, '-', ''), 12) FROM opdb.deployment ORDER BY deployment_id DESC LIMIT 1";
    let key = text(&mut pair.here, key);
    let columns = format!(
        "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'opdb_deploy.rows_{key}_1'::regclass AND attnum > 0"
    );
    !text(&mut pair.there, &columns).contains(" a ")
}

/// What nobody may leave behind: stages, and tables that rows come in by.
fn stages(pair: &mut Pair) -> String {
    text(&mut pair.there, "SELECT count(*) FROM pg_class WHERE relname ~ '^stage_'")
}

#[test]
fn an_empty_table_is_loaded_and_taken_back() {
    let mut pair = filled("CREATE TABLE t (id serial PRIMARY KEY, a text, own int DEFAULT 7)");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
    assert!(was_loaded(&mut pair));
    assert_eq!(stages(&mut pair), "0");
    let there = text(&mut pair.there, "SELECT md5(string_agg(id || a, ',' ORDER BY id)) FROM t");
    assert_eq!(there, text(&mut pair.here, "SELECT md5(string_agg(id || a, ',' ORDER BY id)) FROM t"));
    assert_eq!(
        text(&mut pair.there, "INSERT INTO t (a) VALUES ('own') RETURNING id"),
        (ROWS + 1).to_string()
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, ROWS), "nothing is left to do");
    roll_back(&mut pair);
    assert_eq!(
        rows(&mut pair.here, "SELECT table_name, restored, skipped_changed FROM opdb.rollback_deployment(1)"),
        [["public.t".to_owned(), ROWS.to_string(), "0".to_owned()]]
    );
    assert_eq!(text(&mut pair.there, "SELECT string_agg(a, ',') FROM t"), "own");
}

#[test]
fn the_plan_says_that_it_will_be_loaded() {
    let mut pair = filled(TABLE);
    let plan = "SELECT action, left(sql, 14) FROM opdb.plan_deploy('production', '{t}') WHERE place = 'target' AND sql ~ '^(COPY|CREATE TABLE [^I])' ORDER BY step";
    let loaded = [["load", "COPY public.t "], ["keep", "CREATE TABLE o"], ["keep", "CREATE TABLE o"]];
    assert_eq!(rows(&mut pair.here, plan), loaded);
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
    let staged = [["stage", "CREATE TABLE o"], ["stage", "COPY opdb_depl"], ["keep", "CREATE TABLE o"]];
    assert_eq!(rows(&mut pair.here, plan), staged);
}

#[test]
fn rows_of_a_load_that_were_changed_since_stay_and_are_listed() {
    let mut pair = filled("CREATE TABLE t (id int PRIMARY KEY, a text, own int DEFAULT 7)");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
    execute(
        &mut pair.there,
        "UPDATE t SET a = 'theirs' WHERE id = 1; UPDATE t SET own = 8 WHERE id = 2; DELETE FROM t WHERE id = 3;
         UPDATE t SET a = a WHERE id = 4; INSERT INTO t VALUES (0, 'new')",
    );
    assert_eq!(roll_back(&mut pair), [["public.t".to_owned(), (ROWS - 3).to_string(), "2".to_owned()]]);
    assert_eq!(
        text(&mut pair.there, "SELECT string_agg(id || a || own, ',' ORDER BY id) FROM t"),
        "0new7,1theirs7,2value 28"
    );
    let listed = "SELECT key ->> 'id', error FROM opdb.deployment_errors ORDER BY 1";
    let errors = rows(&mut pair.here, listed);
    assert_eq!(errors[0], ["1", "it was changed since"]);
    assert!(errors[1][1].contains("in a column that was not sent"), "{errors:?}");
}

#[test]
fn rows_that_are_refused_are_found_by_the_stage() {
    let mut pair = filled(&format!("{TABLE}; ALTER TABLE t ADD CONSTRAINT odd CHECK (id NOT IN (5, 2999)) "));
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS - 2, 0, 0));
    assert!(!was_loaded(&mut pair));
    let listed = "SELECT key ->> 'id', sqlstate FROM opdb.deployment_errors ORDER BY 1";
    assert_eq!(rows(&mut pair.here, listed), [["2999", "23514"], ["5", "23514"]]);
    assert_eq!(stages(&mut pair), "0");
}

#[test]
fn a_trigger_that_alters_or_skips_rows_leaves_the_table_empty() {
    for does in ["NEW.a := upper(NEW.a); RETURN NEW", "RETURN CASE WHEN NEW.id <> 7 THEN NEW END"] {
        let mut pair = filled(&format!(
            "{TABLE}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; END $$;
             CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
        ));
        let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
        assert_eq!(state, "failed", "{does}");
        assert!(error.contains("not as they were sent"), "{error}");
        assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    }
}

/// Deploys while somebody there has made a row and not committed, and does `happens` to both once the load waits for it.
fn while_a_row_is_made(pair: &mut Pair, happens: impl FnOnce(&mut postgres::Client, &str)) -> Vec<String> {
    let mut other = on_production(&pair.there_name);
    execute(&mut other, "BEGIN; INSERT INTO t VALUES (77, 'faster')");
    let here = pair.here_name.clone();
    let deployed = thread::spawn(move || {
        let mut client = on_test(&here);
        let call = r#"SELECT opdb.deploy('production', '{t}', '{"max_change_ratio": 1}')"#;
        let outcome = client.simple_query(call).map(drop);
        let code = outcome.err().and_then(|error| error.code().map(|code| code.code().to_owned()));
        vec![code.unwrap_or_default(), sockets(&mut client).to_string()]
    });
    let mut looker = on_production(&pair.there_name);
    let waits = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'COPY'";
    until(&mut looker, &format!("SELECT count(*) {waits}"), "1");
    let pid = text(&mut looker, &format!("SELECT pid {waits}"));
    happens(&mut other, &pid);
    deployed.join().unwrap()
}

#[test]
fn somebody_who_is_faster_with_a_row_is_updated() {
    let mut pair = filled(TABLE);
    assert_eq!(while_a_row_is_made(&mut pair, |other, _| execute(other, "COMMIT")), ["", "1"]);
    let counts = "SELECT state, inserted, updated, errors FROM opdb.deployments";
    assert_eq!(rows(&mut pair.here, counts), [["applied", "2999", "1", "0"]]);
    assert_eq!(content(&mut pair.there, "t"), content(&mut pair.here, "t"));
    assert_eq!(roll_back(&mut pair), [["public.t", "3000", "0"]]);
    assert_eq!(text(&mut pair.there, "SELECT string_agg(a, ',') FROM t"), "faster");
}

#[test]
fn a_load_that_is_cancelled_leaves_nothing() {
    let mut pair = filled(TABLE);
    let here = pair.here_name.clone();
    let cancel = format!(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = '{here}' AND query ~ '^SELECT opdb.deploy'"
    );
    let found = while_a_row_is_made(&mut pair, |other, _| {
        text(&mut on_test(&here), &cancel);
        let gone =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^[^'']*COPY public'
                    AND state = 'active' AND pid <> pg_backend_pid()";
        execute(other, "ROLLBACK");
        until(other, gone, "0");
    });
    assert_eq!(found, ["57014", "1"]);
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
}

#[test]
fn a_load_whose_connection_ends_leaves_nothing() {
    let mut pair = filled(TABLE);
    let there = pair.there_name.clone();
    let found = while_a_row_is_made(&mut pair, |other, pid| {
        text(&mut on_production(&there), &format!("SELECT pg_terminate_backend({pid})"));
        execute(other, "ROLLBACK");
    });
    assert_eq!(found, ["", "1"]);
    assert_eq!(text(&mut pair.here, "SELECT state FROM opdb.deployments"), "failed");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
}

#[test]
fn tables_of_one_deployment_are_loaded_and_staged_together() {
    let tables = "CREATE TABLE parent (id int PRIMARY KEY, a text);
        CREATE TABLE t (id int PRIMARY KEY, a text, parent int NOT NULL REFERENCES parent);
        CREATE TABLE few (id int PRIMARY KEY, a text, t int REFERENCES t)";
    for (parents, referenced) in [(10, 10), (ROWS, ROWS)] {
        let mut pair = pair_with(
            &format!(
                "{tables}; INSERT INTO parent SELECT i, 'p' FROM generate_series(1, {parents}) i;
                 INSERT INTO t SELECT i, 'x', 1 + i % {referenced} FROM generate_series(1, {ROWS}) i;
                 INSERT INTO few SELECT i, 'f', i FROM generate_series(1, 5) i"
            ),
            tables,
        );
        assert_eq!(deploy(&mut pair.here, "{few,t,parent}", "{}"), applied(parents + ROWS + 5, 0, 0));
        for table in ["parent", "t", "few"] {
            assert_eq!(content(&mut pair.there, table), content(&mut pair.here, table));
        }
        assert_eq!(stages(&mut pair), "0");
        let taken_back = roll_back(&mut pair);
        assert!(taken_back.iter().all(|row| row[2] == "0"), "{taken_back:?}");
        assert_eq!(text(&mut pair.there, "SELECT count(*) FROM parent"), "0");
    }
}

/// What COPY takes for something else, and types that have no bytes which are the same everywhere.
const ODD: &str = r"CREATE TYPE mood AS ENUM ('good', 'b a''d\');
    CREATE TABLE t (id int PRIMARY KEY, a text, m mood, r regclass, l text[], c char(4), d date)";
const ODD_ROWS: &str = r#"INSERT INTO t SELECT i,
        (ARRAY[NULL, '', '\N', '\.', E'\\.\n', E'tab\tnew\nline\rback\\slash', 'NULL', '""', E'\b\f\v', 'ü€😀', ' '])[1 + i % 11],
        (ARRAY['good', 'b a''d\', NULL]::mood[])[1 + i % 3], 'pg_class'::regclass,
        ARRAY[E'\t', '\N', NULL, '{}', '""'], 'x', 'infinity'::date FROM generate_series(1, 3000) i"#;

#[test]
fn odd_values_are_what_they_were_by_either_way() {
    for own in ["", "; INSERT INTO t (id) VALUES (-1)"] {
        let mut pair = pair_with(&format!("{ODD}; {ODD_ROWS}"), &format!("{ODD}{own}"));
        // NULL is not what a column should be, and it is what goes wrong on its way.
        execute(&mut pair.here, r#"SELECT opdb.set_setting('deploy.required_checks', '["error_rate"]')"#);
        assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
        assert_eq!(was_loaded(&mut pair), own.is_empty());
        execute(&mut pair.there, "DELETE FROM t WHERE id < 0");
        assert_eq!(content(&mut pair.there, "t"), content(&mut pair.here, "t"));
        assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, ROWS));
    }
}

#[test]
fn the_encoding_of_the_client_is_no_matter() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text[], j jsonb, x json)";
    let fill = r#"INSERT INTO t SELECT i, ARRAY['é' || i, '東京'], jsonb_build_object('é', '東京'), '{"é": "東"}' FROM generate_series(1, 3000) i"#;
    for own in ["", "; INSERT INTO t (id) VALUES (-1)"] {
        let mut pair = pair_with(&format!("{table}; {fill}"), &format!("{table}{own}"));
        execute(&mut pair.here, "SET client_encoding = 'LATIN1'");
        let id = pair.here.simple_query("SELECT opdb.deploy('production', '{t}')").map(|_| ());
        execute(&mut pair.here, "SET client_encoding = 'UTF8'");
        id.unwrap();
        let found = "SELECT state, inserted, errors FROM opdb.deployments";
        assert_eq!(rows(&mut pair.here, found), [["applied", "3000", "0"]]);
        execute(&mut pair.there, "DELETE FROM t WHERE id < 0");
        assert_eq!(content(&mut pair.there, "t"), content(&mut pair.here, "t"));
    }
}

#[test]
fn a_partitioned_table_is_loaded_and_one_with_a_rule_is_not() {
    let mut pair = filled(
        "CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (MINVALUE) TO (1000);
         CREATE TABLE high PARTITION OF t FOR VALUES FROM (1000) TO (MAXVALUE)",
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(ROWS, 0, 0));
    assert!(was_loaded(&mut pair));
    assert_eq!(roll_back(&mut pair), [["public.t", "3000", "0"]]);

    let mut pair = filled(&format!(
        "{TABLE}; CREATE TABLE log (id int); CREATE RULE log AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.id)"
    ));
    assert_eq!(deploy(&mut pair.here, "{t}", "{}")[0], "applied");
    assert!(!was_loaded(&mut pair));
}

#[test]
fn what_a_deferred_constraint_refuses_at_the_end_is_found_by_the_stage() {
    let mut pair = filled(&format!(
        "CREATE TABLE up (id int PRIMARY KEY); INSERT INTO up SELECT generate_series(2, 3000);
         {TABLE}; ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES up DEFERRABLE INITIALLY DEFERRED"
    ));
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_ne!(state, "applied");
    assert!(error.contains("t_id_fkey"), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
}
