//! Foreign keys, and numbers that the target gives itself.

use super::{applied, deploy, pair_with};
use crate::fixture::{execute, refused, rows, text};

const TABLES: &str = "
    CREATE TABLE maker (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL UNIQUE, name text);
    CREATE TABLE part (id serial PRIMARY KEY, number text NOT NULL UNIQUE, maker bigint REFERENCES maker);
    CREATE TABLE stock (part int NOT NULL REFERENCES part, place text NOT NULL, amount int, PRIMARY KEY (part, place))";
const KEYS: &str = r#"{"key": {"maker": ["code"], "part": ["number"]}}"#;

fn content(client: &mut postgres::Client) -> Vec<Vec<String>> {
    rows(
        client,
        "SELECT p.number, m.code, m.name, s.place, s.amount FROM part p LEFT JOIN maker m ON m.id = p.maker
         LEFT JOIN stock s ON s.part = p.id ORDER BY p.number, s.place",
    )
}

#[test]
fn numbers_of_the_targets_own_are_translated() {
    let mut pair = pair_with(
        &format!(
            "{TABLES}; INSERT INTO maker (code, name) VALUES ('a', 'A'), ('b', 'B');
             INSERT INTO part (number, maker) SELECT 'p' || i, CASE WHEN i % 3 > 0 THEN i % 3 END FROM generate_series(1, 6) i;
             INSERT INTO stock SELECT id, 'here', id * 10 FROM part"
        ),
        &format!(
            "{TABLES}; INSERT INTO maker (code, name) VALUES ('x', 'X'), ('b', 'old');
             INSERT INTO part (number, maker) VALUES ('q', 1), ('p5', 1); INSERT INTO stock VALUES (1, 'there', 7)"
        ),
    );
    let own = content(&mut pair.there);
    let options = KEYS.replace('}', "") + r#"}, "max_change_ratio": 1}"#;
    let all = "{stock,part,maker}";
    assert_eq!(deploy(&mut pair.here, all, &options), applied(12, 2, 0));
    let there: Vec<_> = content(&mut pair.there).into_iter().filter(|row| row[0] != "q").collect();
    assert_eq!(there, content(&mut pair.here));
    assert_eq!(
        rows(&mut pair.there, "SELECT id, code FROM maker ORDER BY id"),
        [["1", "x"], ["2", "b"], ["3", "a"]],
        "numbers are the target's own"
    );
    assert_eq!(deploy(&mut pair.here, all, &options), applied(0, 0, 14));
    execute(&mut pair.there, "INSERT INTO part (number, maker) VALUES ('own', 3)");
    execute(&mut pair.there, "DELETE FROM part WHERE number = 'own'");
    assert_eq!(
        rows(&mut pair.here, "SELECT restored, skipped_changed FROM opdb.rollback_deployment(1)"),
        [["2", "0"], ["6", "0"], ["6", "0"]]
    );
    assert_eq!(content(&mut pair.there), own);
}

#[test]
fn a_row_whose_parent_is_not_there_is_left_out() {
    let mut pair = pair_with(
        &format!(
            "{TABLES}; INSERT INTO maker (code) VALUES ('a'), ('b');
             INSERT INTO part (number, maker) VALUES ('p1', 1), ('p2', 2), ('p3', NULL)"
        ),
        &format!("{TABLES}; ALTER TABLE maker ADD CHECK (code <> 'b')"),
    );
    assert_eq!(deploy(&mut pair.here, "{part,maker}", KEYS), applied(3, 0, 0));
    assert_eq!(
        rows(&mut pair.here, "SELECT table_name, sqlstate FROM opdb.deployment_errors ORDER BY 1"),
        [["public.maker", "23514"], ["public.part", "23503"]]
    );
}

#[test]
fn what_cannot_be_translated_is_refused_with_the_reason() {
    let mut pair = pair_with(
        &format!(
            "{TABLES}; INSERT INTO maker (code) VALUES ('a'); INSERT INTO part (number, maker) VALUES ('p', 1)"
        ),
        &format!("{TABLES}; INSERT INTO maker (code) VALUES ('x')"),
    );
    assert_eq!(deploy(&mut pair.here, "{maker}", KEYS), applied(1, 0, 0));
    let [state, .., error] = deploy(&mut pair.here, "{part}", "{}");
    assert_eq!(state, "refused");
    assert!(
        error.contains("public.part references public.maker, which was deployed by the option key"),
        "{error}"
    );
    let tree =
        "CREATE TABLE tree (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE NOT NULL,
                                   up bigint REFERENCES tree)";
    execute(&mut pair.here, &format!("{tree}; INSERT INTO tree (code) VALUES ('a')"));
    execute(&mut pair.there, tree);
    let refusal =
        refused(&mut pair.here, r#"SELECT opdb.deploy('production', '{tree}', '{"key": ["code"]}')"#);
    assert_eq!(refusal.sqlstate, "0A000", "{refusal:?}");
    assert!(refusal.message.contains("(up)") && refusal.hint.contains("exclude_columns"), "{refusal:?}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM tree"), "0");
}

#[test]
fn what_references_nothing_stays_as_it_is_and_an_orphan_is_listed() {
    let parent = "CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY, region text, code text UNIQUE NOT NULL, PRIMARY KEY (id, region))";
    let child = "CREATE TABLE child (n text PRIMARY KEY, parent bigint, region text";
    let mut pair = pair_with(
        &format!(
            "{parent}; {child}); INSERT INTO parent (region, code) VALUES ('eu', 'a');
             INSERT INTO child VALUES ('whole', 1, 'eu'), ('half', NULL, 'eu'), ('orphan', 77, 'eu')"
        ),
        &format!(
            "{parent}; {child}, FOREIGN KEY (parent, region) REFERENCES parent (id, region));
             INSERT INTO parent (region, code) VALUES ('us', 'x')"
        ),
    );
    let options = r#"{"key": {"parent": ["code"]}}"#;
    assert_eq!(deploy(&mut pair.here, "{parent,child}", options), applied(3, 0, 0));
    assert_eq!(
        rows(&mut pair.there, "SELECT n, parent, region FROM child ORDER BY n"),
        [["half", "NULL", "eu"], ["whole", "2", "eu"]]
    );
    assert_eq!(
        rows(&mut pair.here, "SELECT key, sqlstate FROM opdb.deployment_errors"),
        [[r#"{"n": "orphan"}"#, "23503"]]
    );
}

#[test]
fn a_key_that_is_masked_is_not_sent_in_clear_by_who_references_it() {
    let tables = "CREATE TABLE person (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE NOT NULL);
                  CREATE TABLE visit (n int PRIMARY KEY, person bigint REFERENCES person)";
    let mut pair = pair_with(
        &format!("{tables}; INSERT INTO person (email) VALUES ('secret'); INSERT INTO visit VALUES (1, 1)"),
        tables,
    );
    execute(&mut pair.here, "SELECT opdb.add_transformation('person', 'email', 'md5(email)')");
    let deploy = r#"SELECT opdb.deploy('production', '{person,visit}', '{"key": {"person": ["email"]}}')"#;
    let refusal = refused(&mut pair.here, deploy);
    assert_eq!(refusal.sqlstate, "0A000", "{refusal:?}");
    assert_eq!(text(&mut pair.there, "SELECT to_regnamespace('opdb_deploy') IS NULL"), "t");
}
