//! Two addresses of one environment.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::{at, register_at, with};
use crate::fixture::{
    Pair, database, execute, on_test, plain_database, refused, register, role, rows, servers, sockets, text,
};

/// Somebody who hangs up on whoever connects, and counts them.
struct Deaf {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Deaf {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for connection in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                drop(connection);
            }
        });
        Self { port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn options(&self) -> Value {
        json!({"host": "127.0.0.1", "port": self.port})
    }
}

const REACHED: &str = "SELECT address, database FROM opdb.check_environment('two')";

#[test]
fn an_external_address_is_a_server_of_its_own_with_the_same_credentials() {
    let mut client = on_test(&database(&servers().test));
    let options = json!({
        "host": "10.0.0.5", "port": 5432, "hostaddr": "10.0.0.5", "dbname": "events", "fetch_size": 5000,
        "external": {"host": "db.example.com", "port": 6432, "sslmode": "verify-full"},
    });
    register_at(&mut client, "two", &options, &servers().production);
    let options_of = |client: &mut _, server: &str| {
        rows(
            client,
            &format!(
                "SELECT option_name, option_value FROM pg_foreign_server, pg_options_to_table(srvoptions)
                 WHERE srvname = '{server}' AND option_name !~ 'keepalives|timeout' ORDER BY 1"
            ),
        )
    };
    assert_eq!(
        options_of(&mut client, "two"),
        [
            ["dbname", "events"],
            ["fetch_size", "5000"],
            ["host", "10.0.0.5"],
            ["hostaddr", "10.0.0.5"],
            ["port", "5432"]
        ]
    );
    assert_eq!(
        options_of(&mut client, "two (external)"),
        [
            ["dbname", "events"],
            ["fetch_size", "5000"],
            ["host", "db.example.com"],
            ["port", "6432"],
            ["sslmode", "verify-full"]
        ],
        "what is not said is as at the internal address, but for the place"
    );
    let mappings = "SELECT count(*), count(DISTINCT umoptions), min(usename) FROM pg_user_mappings";
    assert_eq!(rows(&mut client, mappings), [["2", "1", "postgres"]]);
    assert_eq!(
        rows(&mut client, "SELECT host, port, external_host, external_port, server FROM opdb.environments"),
        [["10.0.0.5", "5432", "db.example.com", "6432", "two"]]
    );

    // Replaced, left out, and back again.
    let no_external = json!({"host": "10.0.0.6"});
    register_at(&mut client, "two", &no_external, &servers().production);
    assert_eq!(
        rows(&mut client, "SELECT host, external_host, external_port FROM opdb.environments"),
        [["10.0.0.6", "NULL", "NULL"]]
    );
    assert_eq!(rows(&mut client, mappings), [["1", "1", "postgres"]]);
    register_at(
        &mut client,
        "two",
        &with(no_external, json!({"external": {"host": "a"}})),
        &servers().production,
    );
    assert_eq!(options_of(&mut client, "two (external)"), [["host", "a"]]);
    register_at(
        &mut client,
        "two",
        &json!({"host": "b", "external": {"dbname": "x"}}),
        &servers().production,
    );
    assert_eq!(options_of(&mut client, "two (external)"), [["dbname", "x"], ["host", "b"]]);

    execute(&mut client, "SELECT opdb.drop_environment('two')");
    let left = "SELECT (SELECT count(*) FROM pg_foreign_server) + (SELECT count(*) FROM pg_user_mappings)";
    assert_eq!(text(&mut client, left), "0");
}

#[test]
fn the_setting_says_which_address_is_used() {
    let [internal, external] = [(); 2].map(|()| plain_database(&servers().production));
    let mut client = on_test(&database(&servers().test));
    let production = &servers().production;
    register_at(
        &mut client,
        "two",
        &with(at(production, &internal), json!({"external": {"dbname": external}})),
        production,
    );
    register_at(&mut client, "one", &at(production, &internal), production);
    let one = "SELECT address FROM opdb.check_environment('one')";
    for (network, address, database) in [
        ("", "internal", &internal),
        ("external", "external", &external),
        ("internal", "internal", &internal),
    ] {
        execute(&mut client, &format!("SET opdb.network = '{network}'"));
        assert_eq!(rows(&mut client, REACHED), [[address, database]], "{network:?}");
        assert_eq!(text(&mut client, one), "internal", "the only one there is, whatever is set");
    }
    let refusal = refused(&mut client, "SET opdb.network = 'inside'");
    assert_eq!(refusal.sqlstate, "22023");
    assert!(refusal.hint.contains("internal, external"), "{refusal:?}");

    // Whoever uses the foreign server itself is at the internal address.
    execute(&mut client, "SET opdb.network = 'external'");
    execute(&mut client, "CREATE EXTENSION dblink");
    let direct = "SELECT d FROM dblink('two', 'SELECT current_database()') AS t (d text)";
    assert_eq!(text(&mut client, direct), internal);
}

#[test]
fn the_setting_is_kept_to_even_where_the_other_address_would_answer() {
    let mut client = on_test(&database(&servers().test));
    let production = &servers().production;
    let dead = json!({"host": "127.0.0.1", "port": 1});
    register_at(&mut client, "two", &with(dead, json!({"external": at(production, "postgres")})), production);
    execute(&mut client, "SET opdb.network = 'internal'");
    assert_eq!(text(&mut client, "SELECT reachable FROM opdb.check_environment('two')"), "f");
    execute(&mut client, "SET opdb.network = ''");
    assert_eq!(rows(&mut client, REACHED), [["external", "postgres"]]);
}

#[test]
fn the_reachable_address_is_found_once_and_again_when_it_dies() {
    let mut client = on_test(&database(&servers().test));
    let (deaf, production) = (Deaf::new(), &servers().production);
    let alive = json!({"external": {"port": production.port()}});
    register_at(&mut client, "two", &with(deaf.options(), alive), production);
    for _ in 0..3 {
        assert_eq!(text(&mut client, REACHED), "external");
    }
    assert_eq!(deaf.connections(), 1, "the dead address was tried once");

    let swap = format!(
        "ALTER SERVER two OPTIONS (SET port '{}'); ALTER SERVER \"two (external)\" OPTIONS (SET port '{}')",
        production.port(),
        deaf.port
    );
    execute(&mut client, &swap);
    for _ in 0..3 {
        assert_eq!(text(&mut client, REACHED), "internal");
    }
    assert_eq!(deaf.connections(), 2, "the one that died, too");
    // A new session knows nothing and begins with the internal address.
    let here = text(&mut client, "SELECT current_database()");
    assert_eq!(text(&mut on_test(&here), REACHED), "internal");
    assert_eq!(deaf.connections(), 2);
}

#[test]
fn a_list_of_hosts_is_gone_through_from_one_that_is_silent() {
    let mut client = on_test(&database(&servers().test));
    // Nobody accepts what the system connects.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (port, production) = (silent.local_addr().unwrap().port(), &servers().production);
    let lists = json!({
        "host": "127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1",
        "port": format!("1,{port},{port},{}", production.port()),
        "connect_timeout": 2,
    });
    register_at(&mut client, "several", &with(at(production, "postgres"), lists), production);
    let found = "SELECT reachable, port FROM opdb.check_environment('several')";
    assert_eq!(rows(&mut client, found), [["t".to_owned(), production.port().to_string()]]);
    assert_eq!(sockets(&mut client), 1, "its own client's");
}

#[test]
fn an_address_that_refuses_the_password_was_reached() {
    let mut pair = Pair::with_plain_production();
    let deaf = Deaf::new();
    let options = with(at(&servers().production, &pair.there_name), json!({"external": deaf.options()}));
    let call = format!(
        r#"SELECT opdb.register_environment('two', 'staging', '{options}', '{{"user": "postgres", "password": "no"}}')"#
    );
    execute(&mut pair.here, &call);
    let refusal = refused(&mut pair.here, "SELECT opdb.check_compatibility('two')");
    assert_eq!(refusal.sqlstate, "28P01");
    assert_eq!(text(&mut pair.here, "SELECT reachable FROM opdb.check_environment('two')"), "f");
    assert_eq!(deaf.connections(), 0);
}

#[test]
fn the_reasons_of_both_addresses_are_told() {
    let mut client = on_test(&database(&servers().test));
    let options = json!({"host": "127.0.0.1", "port": 1, "external": {"port": 2}});
    register_at(&mut client, "two", &options, &servers().production);
    let refusal = refused(&mut client, "SELECT opdb.check_compatibility('two')");
    assert_eq!(refusal.sqlstate, "08001");
    let told = rows(&mut client, "SELECT reachable, address, detail FROM opdb.check_environment('two')");
    assert_eq!(told[0][..2], ["f", "NULL"]);
    for detail in [&refusal.whole, &told[0][2]] {
        let (first, second) = (detail.find("internal address"), detail.find("; external address"));
        let (first, second) = (&detail[first.unwrap()..], &detail[second.unwrap()..]);
        assert!(first.contains("port 1 failed") && second.contains("port 2 failed"), "{detail}");
    }

    // The second one answers, and refuses.
    let options = json!({"host": "127.0.0.1", "port": 1, "external": at(&servers().production, "postgres")});
    let wrong = format!(
        r#"SELECT opdb.register_environment('two', 'staging', '{options}', '{{"user": "postgres", "password": "no"}}')"#
    );
    execute(&mut client, &wrong);
    let refusal = refused(&mut client, "SELECT opdb.check_compatibility('two')");
    assert_eq!(refusal.sqlstate, "28P01");
    assert!(refusal.whole.contains("port 1 failed") && refusal.whole.contains("external address"));
}

#[test]
fn a_role_adds_its_credentials_to_both_addresses() {
    let mut pair = Pair::with_plain_production();
    let (operator, deployer) = (role(&servers().test, &["opdb_operator"]), role(&servers().production, &[]));
    let production = &servers().production;
    let options =
        with(at(production, &pair.there_name), json!({"external": {"application_name": "outside"}}));
    register_at(&mut pair.here, "two", &options, production);
    let mut session = servers().test.connect(&pair.here_name, &operator, &operator).unwrap();
    let add = |options: &Value| {
        format!(
            r#"SELECT opdb.register_environment('two', 'staging', '{options}', '{{"user": "{deployer}", "password": "{deployer}"}}')"#
        )
    };
    let without = at(production, &pair.there_name);
    assert_eq!(refused(&mut session, &add(&without)).sqlstate, "42501", "it would drop an address");
    execute(&mut session, &add(&options));
    for network in ["internal", "external"] {
        execute(&mut session, &format!("SET opdb.network = '{network}'"));
        let found = rows(&mut session, "SELECT role, address FROM opdb.check_environment('two')");
        assert_eq!(found, [[deployer.as_str(), network]]);
    }
}

#[test]
fn names_that_leave_no_room_and_addresses_that_are_no_other_are_refused() {
    let mut client = on_test(&database(&servers().test));
    let call = |name: &str, options: &str| {
        format!("SELECT opdb.register_environment('{name}', 'test', '{options}', '{{\"user\": \"u\"}}')")
    };
    let elsewhere = r#"{"host": "a", "external": {"host": "b"}}"#;
    let refusal = refused(&mut client, &call(&"x".repeat(53), elsewhere));
    assert_eq!(refusal.sqlstate, "42622");
    assert!(refusal.message.contains("53 bytes, at most 52"), "{refusal:?}");
    execute(&mut client, &call(&"x".repeat(52), elsewhere));
    execute(&mut client, &call(&"y".repeat(63), "{}"));

    execute(&mut client, r#"CREATE SERVER "z (external)" FOREIGN DATA WRAPPER postgres_fdw"#);
    for (name, options, sqlstate, named) in [
        ("z", elsewhere, "42710", "\"z (external)\""),
        ("e", r#"{"external": "db.example.com"}"#, "22023", "external must be a JSON object"),
        ("e", r#"{"external": {"host": ["a"]}}"#, "22023", "external: the value of \"host\""),
        ("e", r#"{"external": {"external": {}}}"#, "22023", "\"external\""),
        ("e", r#"{"host": "a", "external": {}}"#, "22023", "is the internal one"),
        ("e", r#"{"host": "a", "external": {"host": "a"}}"#, "22023", "is the internal one"),
        ("e", r#"{"external": {"password": "p"}}"#, "HV00D", "\"password\" is a credential"),
        ("e", r#"{"external": {"hots": "p"}}"#, "HV00D", "\"hots\""),
    ] {
        let refusal = refused(&mut client, &call(name, options));
        assert_eq!(refusal.sqlstate, sqlstate, "{options}: {refusal:?}");
        assert!(refusal.message.contains(named) && !refusal.hint.is_empty(), "{options}: {refusal:?}");
    }
    assert_eq!(text(&mut client, "SELECT count(*) FROM opdb.environments"), "2");
    assert_eq!(text(&mut client, "SELECT count(*) FROM pg_foreign_server"), "4", "and nothing half done");
}

#[test]
fn an_external_server_that_is_gone_is_told() {
    let mut client = on_test(&database(&servers().test));
    let options = json!({"host": "127.0.0.1", "port": 1, "external": {"port": 2}});
    register_at(&mut client, "two", &options, &servers().production);
    execute(&mut client, r#"DROP SERVER "two (external)" CASCADE"#);
    let refusal = refused(&mut client, "SELECT opdb.check_environment('two')");
    assert_eq!(refusal.sqlstate, "42704");
    assert!(refusal.message.contains("the foreign server of environment \"two\" is gone"), "{refusal:?}");
    execute(&mut client, "SELECT opdb.drop_environment('two')");
    register(&mut client, "two", "staging", "postgres", "u", "p");
}
