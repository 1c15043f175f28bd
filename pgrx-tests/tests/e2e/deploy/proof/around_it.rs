//! What others do on the target at a certain moment of a deployment: the relay stops it there.

use std::time::Duration;

use opdb_e2e::cluster::{Hold, Proxy};
use postgres::Client;

use super::image;
use crate::deploy::rollback::roll_back;
use crate::deploy::{deploy, pair_with};
use crate::environment::until;
use crate::fixture::{Pair, execute, on_test, refused, rows, servers, text};

const OPTIONS: &str = r#"{"max_change_ratio": 1, "delete_missing": true}"#;

/// Two databases with a table, and the relay between them.
struct Scene {
    pair: Pair,
    proxy: Proxy,
}

impl Scene {
    /// Of ten rows here two are the same there, two are older and six are missing; one is only there.
    fn set() -> Self {
        let table = "CREATE TABLE t (id int PRIMARY KEY, a text, b text)";
        let mut pair = pair_with(
            &format!("{table}; INSERT INTO t SELECT i, 'new', 'x' FROM generate_series(1, 10) i"),
            &format!(
                "{table}; INSERT INTO t VALUES (1, 'new', 'x'), (2, 'new', 'x'), (3, 'old', 'x'), (4, 'old', 'x'), (50, 'own', 'x')"
            ),
        );
        let production = &servers().production;
        let proxy = Proxy::start(production.port(), Duration::ZERO).unwrap();
        let address =
            serde_json::json!({"host": "127.0.0.1", "port": proxy.port(), "dbname": pair.there_name});
        let credentials =
            serde_json::json!({"user": production.superuser(), "password": production.password()});
        execute(
            &mut pair.here,
            &format!(
                "SELECT opdb.register_environment('production', 'production', '{address}', '{credentials}')"
            ),
        );
        // What waits for a deployment that is held would wait for ever.
        execute(&mut pair.there, "SET lock_timeout = '10s'");
        let mut scene = Self { pair, proxy };
        scene.there_and_back();
        scene
    }

    fn there_and_back(&mut self) {
        let before = self.rows_there();
        let [state, .., error] = deploy(&mut self.pair.here, "{t}", OPTIONS);
        assert_eq!(state, "applied", "{error}");
        roll_back(&mut self.pair);
        assert_eq!(self.rows_there(), before);
    }

    fn rows_there(&mut self) -> Vec<Vec<String>> {
        rows(&mut self.pair.there, "SELECT * FROM t ORDER BY id")
    }

    /// The place of the first message of a deployment that has these words.
    fn message(&mut self, words: &str) -> usize {
        self.proxy.reset();
        self.there_and_back();
        let messages = self.proxy.queries();
        let place = messages.iter().position(|sql| sql.contains(words));
        place.unwrap_or_else(|| panic!("no {words}:\n{}", messages.join("\n"))) + 1
    }

    /// Deploys, and runs `sql` on the target before the first message with these words gets there. Returns the state and
    /// the error.
    fn deploy_with(&mut self, words: &str, sql: &str) -> (String, String) {
        self.deploy_while(words, |_, there| execute(there, sql))
    }

    /// The same, with anything on both sides.
    fn deploy_while(
        &mut self,
        words: &str,
        happens: impl FnOnce(&mut Client, &mut Client),
    ) -> (String, String) {
        let place = self.message(words);
        self.proxy.hold(Hold::Before(place));
        let here_name = self.pair.here_name.clone();
        let (proxy, here, there) = (&self.proxy, &mut self.pair.here, &mut self.pair.there);
        let [state, .., error] = std::thread::scope(|scope| {
            let deployment = scope.spawn(|| deploy(&mut on_test(&here_name), "{t}", OPTIONS));
            let held = proxy.wait_until_held();
            if held.as_ref().is_ok_and(|held| held.contains(words)) {
                happens(here, there);
            }
            proxy.release();
            let outcome = deployment.join().unwrap();
            assert!(held.as_ref().is_ok_and(|held| held.contains(words)), "{held:?}: {outcome:?}");
            outcome
        });
        (state, error)
    }
}

/// The moments at which rows are written.
const MOMENTS: [&str; 6] = [
    "INSERT INTO opdb_deploy.before_",
    "DELETE FROM opdb_deploy.stage_",
    "SELECT 'U'",
    "UPDATE public.t",
    "INSERT INTO public.t",
    "COMMIT",
];

#[test]
fn a_row_that_somebody_makes_there_meanwhile_is_not_lost_whenever_that_is() {
    for moment in MOMENTS {
        let mut scene = Scene::set();
        let (state, error) =
            scene.deploy_with(moment, "INSERT INTO t VALUES (5, 'theirs', 'y') ON CONFLICT DO NOTHING");
        let theirs = "SELECT a || b FROM t WHERE id = 5";
        if state == "applied" {
            assert_eq!(text(&mut scene.pair.there, theirs), "newx", "{moment}");
            roll_back(&mut scene.pair);
        } else {
            assert!(error.contains("public.t"), "{moment}: {state}: {error}");
        }
        assert_eq!(text(&mut scene.pair.there, theirs), "theirsy", "{moment}: {state}, {error}");
        assert_eq!(scene.rows_there().len(), 6, "{moment}: {state}");
    }
}

#[test]
fn a_table_that_is_altered_there_after_the_checks_is_left_as_it_is() {
    for (moment, alter) in [
        ("CREATE TABLE opdb_deploy.stage_", "ALTER TABLE t DROP b"),
        ("CREATE TABLE opdb_deploy.stage_", "ALTER TABLE t RENAME TO u"),
        ("CREATE TABLE opdb_deploy.stage_", "ALTER TABLE t ALTER b TYPE int USING 0"),
        (
            "CREATE TABLE opdb_deploy.stage_",
            "ALTER TABLE t ADD needed int NOT NULL DEFAULT 1; ALTER TABLE t ALTER needed DROP DEFAULT",
        ),
        ("LOCK TABLE opdb_deploy.stage_", "ALTER TABLE t DROP b"),
        ("LOCK TABLE opdb_deploy.stage_", "ALTER TABLE t ADD CHECK (id IN (1, 2, 3, 4, 50))"),
    ] {
        let mut scene = Scene::set();
        let (state, error) = scene.deploy_with(moment, alter);
        assert!(["failed", "rolled_back"].contains(&state.as_str()), "{alter}: {state}, {error}");
        let table = if alter.contains("RENAME") { "u" } else { "t" };
        let found =
            text(&mut scene.pair.there, &format!("SELECT string_agg(id || a, ' ' ORDER BY id) FROM {table}"));
        assert_eq!(found, "1new 2new 3old 4old 50own", "{alter}: {state}, {error}");
        assert!(!image(&mut scene.pair.there).is_empty());
    }
}

#[test]
fn a_call_that_is_cancelled_while_the_target_commits_does_not_say_that_nothing_changed() {
    let mut scene = Scene::set();
    let place = scene.message("INSERT INTO opdb_deploy.ledger") + 1;
    scene.proxy.hold(Hold::After(place));
    let here_name = scene.pair.here_name.clone();
    let (proxy, here) = (&scene.proxy, &mut scene.pair.here);
    let refusal = std::thread::scope(|scope| {
        let sql = format!("SELECT opdb.deploy('production', '{{t}}', '{OPTIONS}')");
        let deployment = scope.spawn(move || refused(&mut on_test(&here_name), &sql));
        let held = proxy.wait_until_held();
        execute(
            here,
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT opdb.deploy%'",
        );
        let refusal = deployment.join().unwrap();
        proxy.release();
        assert!(held.as_ref().is_ok_and(|held| held.contains("COMMIT")), "{held:?}");
        refusal
    });
    assert_eq!(refusal.sqlstate, "57014", "{refusal:?}");
    let last = "SELECT deployment_id, state FROM opdb.deployments ORDER BY deployment_id DESC LIMIT 1";
    let cancelled = rows(&mut scene.pair.here, last).remove(0);
    assert_eq!(cancelled[1], "applying", "nobody has asked yet");
    let deployed = scene.rows_there();
    assert_eq!(deployed.len(), 10);
    assert_eq!(deploy(&mut scene.pair.here, "{t}", OPTIONS)[..3], ["applied", "0", "0"]);
    let state = format!("SELECT state FROM opdb.deployments WHERE deployment_id = {}", cancelled[0]);
    assert_eq!(text(&mut scene.pair.here, &state), "applied");
    let restored = format!("SELECT restored FROM opdb.rollback_deployment({})", cancelled[0]);
    assert_eq!(text(&mut scene.pair.here, &restored), "9");
}

#[test]
fn the_process_that_records_may_go_before_the_call_has_said_all() {
    let is_there =
        "FROM pg_stat_activity WHERE backend_type = 'opdb recorder' AND datname = current_database()";
    let (count, end) =
        (format!("SELECT count(*) {is_there}"), format!("SELECT pg_terminate_backend(pid) {is_there}"));
    let (mut scene, mut ended) = (Scene::set(), Vec::new());
    let (state, error) = scene.deploy_while("UPDATE public.t", |here, _| {
        ended = rows(here, &end);
        until(here, &count, "0");
    });
    assert_eq!((state.as_str(), error.as_str()), ("applied", "NULL"));
    assert_eq!(ended, [["t"]], "one process for the whole call");
    roll_back(&mut scene.pair);
    // It does not keep the place of a process that others need.
    let (state, error) = scene.deploy_while("UPDATE public.t", |here, _| until(here, &count, "0"));
    assert_eq!((state.as_str(), error.as_str()), ("applied", "NULL"));
    until(&mut scene.pair.here, &count, "0");
}
