//! Others who write to the target meanwhile.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use postgres::Client;

use crate::deploy::{deploy, pair_with};
use crate::fixture::{Pair, execute, on_production, text};

/// Rows here; there they have a column of the target's own, which only the writers change.
const ROWS: i64 = 400;
const ROUNDS: usize = 6;
/// Rows that only a writer makes begin here.
const OWN: i64 = 1_000_000;

/// What the writers have done, and whether they are to stop.
#[derive(Default)]
struct Written {
    is_over: AtomicBool,
    hits: AtomicI64,
    own: AtomicI64,
}

fn pair() -> Pair {
    let here = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    pair_with(
        &format!("{here}; INSERT INTO t SELECT i, 'round 0' FROM generate_series(1, {ROWS}) i"),
        "CREATE TABLE t (id int PRIMARY KEY, a text, hits bigint NOT NULL DEFAULT 0)",
    )
}

/// Row after row: each statement is a transaction. It fails the test if one of them fails, by a deadlock for one.
fn write_rows(client: &mut Client, written: &Written) {
    for turn in 0.. {
        if written.is_over.load(Ordering::Relaxed) {
            return;
        }
        let sql = format!("UPDATE t SET hits = hits + 1 WHERE id = {}", 1 + turn * 7 % ROWS);
        let updated = i64::try_from(client.execute(&sql, &[]).unwrap()).unwrap();
        written.hits.fetch_add(updated, Ordering::Relaxed);
        execute(client, &format!("INSERT INTO t (id, a) VALUES ({}, 'own')", OWN + turn));
        written.own.fetch_add(1, Ordering::Relaxed);
        // A row that a deployment may bring at the same moment.
        execute(
            client,
            &format!(
                "INSERT INTO t (id, a) VALUES ({}, 'taken') ON CONFLICT DO NOTHING",
                1 + turn % (2 * ROWS)
            ),
        );
    }
}

/// Every row here becomes another one, and there are more of them.
fn change(here: &mut Client, round: usize) {
    execute(
        here,
        &format!(
            "UPDATE t SET a = 'round {round}'; INSERT INTO t SELECT max(id) + i, 'new' FROM t, generate_series(1, 50) i GROUP BY i"
        ),
    );
}

/// Rows of the source that are not as they are here.
fn missing(pair: &mut Pair) -> String {
    let here = text(&mut pair.here, "SELECT json_agg(t) FROM t");
    let sql = format!(
        "SELECT count(*) FROM json_populate_recordset(NULL::t, '{here}') s
         WHERE NOT EXISTS (SELECT FROM t WHERE t.id = s.id AND t.a = s.a)"
    );
    text(&mut pair.there, &sql)
}

fn deploys_in_rounds(pair: &mut Pair) -> Vec<String> {
    (1..=ROUNDS)
        .map(|round| {
            change(&mut pair.here, round);
            let [state, .., error] = deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#);
            if state == "applied" {
                assert_eq!(missing(pair), "0", "round {round}");
            } else {
                assert!(state == "failed" && error.contains("public.t"), "{state}: {error}");
            }
            state
        })
        .collect()
}

#[test]
fn what_writers_there_do_meanwhile_is_not_lost_and_does_not_fail() {
    let mut pair = pair();
    execute(&mut pair.here, "SELECT opdb.set_setting('deploy.max_error_rate', '1')");
    let written = Written::default();
    let states = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_rows(&mut on_production(&pair.there_name.clone()), &written));
        let mut pair = Pair {
            here: crate::fixture::on_test(&pair.here_name),
            there: on_production(&pair.there_name),
            here_name: pair.here_name.clone(),
            there_name: pair.there_name.clone(),
        };
        let states = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| deploys_in_rounds(&mut pair)));
        written.is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        states.unwrap()
    });
    assert!(states.iter().any(|state| state == "applied"), "{states:?}");
    println!("{states:?}, {} rows written meanwhile", written.own.load(Ordering::Relaxed));
    let found = text(
        &mut pair.there,
        &format!("SELECT sum(hits) || ' ' || count(*) FILTER (WHERE id >= {OWN} AND a = 'own') FROM t"),
    );
    let expected = (written.hits.load(Ordering::Relaxed), written.own.load(Ordering::Relaxed));
    assert_eq!(found, format!("{} {}", expected.0, expected.1), "{states:?}");
    // With nobody else at work it always is.
    let [state, .., error] = deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#);
    assert_eq!(state, "applied", "{error}");
    assert_eq!(missing(&mut pair), "0");
}
