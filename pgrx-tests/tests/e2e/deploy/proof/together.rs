//! Several deployments at once.

use std::sync::Barrier;

use postgres::Client;

use crate::deploy::{content, deploy, pair_with};
use crate::fixture::{Pair, database, execute, on_test, register, servers, text};

const TABLES: [&str; 3] = ["a", "b", "c"];
const ROUNDS: usize = 4;

fn create() -> String {
    TABLES.map(|table| format!("CREATE TABLE {table} (id int PRIMARY KEY, v text)")).join("; ")
}

fn fill(first: i32) -> String {
    let fill = |table| {
        format!("INSERT INTO {table} SELECT i, '{first}' FROM generate_series({first}, {}) i", first + 499)
    };
    TABLES.map(fill).join("; ")
}

fn pair() -> Pair {
    pair_with(&format!("{}; {}", create(), fill(1)), &create())
}

/// Deploys the lists at once, each from a session of its own, in some rounds; between them every row changes.
fn deploy_at_once(sources: &[&str], lists: &[&str], change: &str) {
    let (start, end) = (Barrier::new(lists.len()), Barrier::new(lists.len()));
    std::thread::scope(|scope| {
        for (number, list) in lists.iter().enumerate() {
            let (start, end, source) = (&start, &end, sources[number % sources.len()]);
            scope.spawn(move || {
                let mut session = on_test(source);
                let outcomes: Vec<[String; 5]> = (0..ROUNDS)
                    .map(|_| {
                        if number < sources.len() {
                            execute(&mut session, change);
                        }
                        start.wait();
                        let outcome = deploy(&mut session, list, r#"{"max_change_ratio": 1}"#);
                        end.wait();
                        outcome
                    })
                    .collect();
                assert!(outcomes.iter().all(|outcome| outcome[0] == "applied"), "{list}: {outcomes:?}");
            });
        }
    });
}

const CHANGE: &str = "UPDATE a SET v = v || '+'; UPDATE b SET v = v || '+'; UPDATE c SET v = v || '+'";

fn are_alike(pair: &mut Pair) {
    for table in TABLES {
        assert_eq!(content(&mut pair.there, table), content(&mut pair.here, table), "{table}");
    }
}

#[test]
fn deployments_of_different_tables_are_not_in_each_others_way() {
    let mut pair = pair();
    deploy_at_once(&[&pair.here_name.clone()], &["{a}", "{b}", "{c}"], CHANGE);
    are_alike(&mut pair);
}

#[test]
fn deployments_that_share_tables_take_turns() {
    let mut pair = pair();
    deploy_at_once(&[&pair.here_name.clone()], &["{a,b}", "{c,b}", "{c,a}"], CHANGE);
    are_alike(&mut pair);
}

/// Another test database with rows of its own, which knows the same production.
fn second_source(pair: &Pair) -> (String, Client) {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        &format!("SELECT opdb.set_environment('other', 'test'); {}; {}", create(), fill(1001)),
    );
    execute(&mut client, "SELECT opdb.capture_schema()");
    let production = &servers().production;
    let (user, password) = (production.superuser(), production.password());
    register(&mut client, "production", "production", &pair.there_name, user, password);
    (name, client)
}

#[test]
fn deployments_from_different_sources_take_turns_whatever_the_order_of_their_tables() {
    let mut pair = pair();
    let (other, _session) = second_source(&pair);
    deploy_at_once(&[&pair.here_name.clone(), &other], &["{a,b,c}", "{c,b,a}"], CHANGE);
    for table in TABLES {
        let sql = format!("SELECT count(*) FROM {table} WHERE v LIKE '%+'");
        assert_eq!(text(&mut pair.there, &sql), "1000", "{table}");
    }
}
