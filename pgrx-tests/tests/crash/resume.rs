//! A target that is restarted while rows are sent to it: what it has of them is not sent again.

use std::thread;
use std::time::Duration;

use opdb_e2e::cluster::{Cluster, Hold, Installation, Proxy, Shutdown};
use opdb_e2e::psql::{execute, rows, text};
use postgres::Client;

const DATABASE: &str = "shop";
/// Three parts of a stage: one is committed by 200,000 rows.
const ROWS: i64 = 600_000;
const DEPLOY: &str = r#"SELECT opdb.deploy('production', '{t}', '{"batch_size": 100000}')"#;
const CONTENT: &str = "SELECT count(*) || ' ' || coalesce(sum(hashtext(t::text)), 0) FROM t";
const TAKE_BACK: &str =
    "SELECT opdb.rollback_deployment(max(deployment_id)) FROM opdb.deployments WHERE kind = 'deploy'";
/// What is sent when a part is there.
const PART: &str = "INSERT INTO opdb_deploy.part";

struct Scene {
    source: Cluster,
    target: Cluster,
    proxy: Proxy,
}

impl Scene {
    fn set() -> Self {
        let installation = Installation::from_env().unwrap();
        let start = || Cluster::start_temporary(&installation, &[]).unwrap();
        let (source, target) = (start(), start());
        for cluster in [&source, &target] {
            cluster.create_database(DATABASE).unwrap();
        }
        let proxy = Proxy::start(target.port(), Duration::ZERO).unwrap();
        let scene = Self { source, target, proxy };
        let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
        execute(&mut scene.there(), &format!("{table}; INSERT INTO t VALUES (-1, 'own')"));
        execute(
            &mut scene.here(),
            &format!(
                r#"CREATE EXTENSION opdb CASCADE; SELECT opdb.set_environment('test', 'test');
                   SELECT opdb.register_environment('production', 'production',
                       '{{"host": "127.0.0.1", "port": {}, "dbname": "{DATABASE}"}}', '{{"user": "{}", "password": "{}"}}');
                   {table}; INSERT INTO t SELECT i, 'value ' || i FROM generate_series(1, {ROWS}) i;
                   SELECT opdb.capture_schema()"#,
                scene.proxy.port(),
                scene.target.superuser(),
                scene.target.password()
            ),
        );
        scene
    }

    fn here(&self) -> Client {
        let mut client = self.source.connect_as_superuser(DATABASE).unwrap();
        execute(&mut client, "SET client_min_messages = error");
        client
    }

    fn there(&self) -> Client {
        self.target.connect_as_superuser(DATABASE).unwrap()
    }

    /// Deploys; returns the state and the rows that were inserted.
    fn deploy(&self) -> Vec<String> {
        deploy(&mut self.here())
    }
}

fn deploy(client: &mut Client) -> Vec<String> {
    let id = text(client, DEPLOY);
    rows(client, &format!("SELECT state, inserted FROM opdb.deployments WHERE deployment_id = {id}"))
        .remove(0)
}

#[test]
fn a_target_that_is_restarted_while_rows_are_sent_is_not_sent_them_again() {
    let scene = Scene::set();
    let before = text(&mut scene.there(), CONTENT);
    let applied = ["applied".to_owned(), ROWS.to_string()];
    // What opdb keeps there is made by the first deployment; the second shows the messages of all that follow.
    let mut whole = (0, Vec::new());
    for _ in 0..2 {
        scene.proxy.reset();
        assert_eq!(scene.deploy(), applied);
        whole = (scene.proxy.bytes(), scene.proxy.queries());
        rows(&mut scene.here(), TAKE_BACK);
        assert_eq!(text(&mut scene.there(), CONTENT), before);
    }
    let (bytes, messages) = whole;
    let parts: Vec<usize> =
        (1..).zip(&messages).filter(|(_, sql)| sql.contains(PART)).map(|it| it.0).collect();
    assert_eq!(parts.len(), 3);
    scene.proxy.hold(Hold::Before(parts[2]));
    let mut client = scene.here();
    let deployment = thread::spawn(move || deploy(&mut client));
    assert!(scene.proxy.wait_until_held().unwrap().contains(PART));
    scene.target.restart(Shutdown::Fast).unwrap();
    scene.proxy.cut();
    assert_eq!(deployment.join().unwrap(), ["failed", "NULL"]);
    assert_eq!(text(&mut scene.there(), CONTENT), before);
    assert_eq!(text(&mut scene.there(), "SELECT sum(rows) FROM opdb_deploy.part"), "400000");

    scene.proxy.reset();
    assert_eq!(scene.deploy(), applied);
    let rest = scene.proxy.bytes();
    assert!(rest * 2 < bytes, "{rest} of {bytes} bytes for a third of the rows");
    let sent = scene.proxy.queries().iter().filter(|sql| sql.contains(PART)).count();
    assert_eq!(sent, 1);
    let here = text(&mut scene.here(), CONTENT);
    execute(&mut scene.there(), "DELETE FROM t WHERE id = -1");
    assert_eq!(text(&mut scene.there(), CONTENT), here);
}
