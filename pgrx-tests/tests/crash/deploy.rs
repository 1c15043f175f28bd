//! A deployment, and taking one back, with a kill -9 at every message to the other server: of the server that deploys,
//! of the one that is deployed to, or of the client.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use opdb_e2e::cluster::{Cluster, Hold, Installation, Proxy};
use opdb_e2e::psql::{execute, rows, text};
use postgres::Client;

const DATABASE: &str = "shop";
const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent, note text)";
const ROWS_HERE: &str = "INSERT INTO parent SELECT i, 'parent ' || i FROM generate_series(1, 15) i;
    INSERT INTO child SELECT i, 1 + i % 15, 'child ' || i FROM generate_series(1, 35) i";
/// Of what is here some rows are missing and some are older; one row is only there.
const ROWS_THERE: &str = "TRUNCATE parent, child;
    INSERT INTO parent SELECT i, CASE WHEN i > 6 THEN 'older ' ELSE 'parent ' END || i FROM generate_series(1, 10) i;
    INSERT INTO parent VALUES (100, 'only there');
    INSERT INTO child SELECT i, CASE WHEN i > 12 THEN 100 ELSE 1 + i % 15 END, 'child ' || i
        FROM generate_series(1, 20) i WHERE i > 12 OR i % 15 < 10";
/// So many that an empty table is loaded.
const MANY_HERE: &str = "INSERT INTO parent SELECT i, 'parent ' || i FROM generate_series(1, 2100) i;
    INSERT INTO child SELECT i, 1 + i % 2100, 'child ' || i FROM generate_series(1, 2500) i";
const NONE_THERE: &str = "TRUNCATE parent, child";
/// Every row of both tables.
const CONTENT: &str = "SELECT string_agg(line, E'\\n' ORDER BY line)
    FROM (SELECT 'parent ' || t FROM parent t UNION ALL SELECT 'child ' || t FROM child t) AS lines (line)";
const DEPLOY: &str = r#"SELECT opdb.deploy('production', '{child,parent}', '{"batch_size": 20}')"#;
const OPEN: [&str; 4] = ["checking", "staging", "applying", "in_doubt"];

/// A server looks every five seconds whether whoever asked is still there.
const SESSIONS_END_WITHIN: Duration = Duration::from_secs(20);
/// A call that takes longer hangs.
const CALL_ENDS_WITHIN: &str = "-c statement_timeout=60s";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Source,
    Target,
    Client,
}

const VICTIMS: [Victim; 3] = [Victim::Source, Victim::Target, Victim::Client];

/// Who is killed, when, and which of two ways the others go on.
#[derive(Clone, Copy, Debug)]
struct Case {
    hold: Hold,
    victim: Victim,
    /// Where the source is gone: what it has sent is lost on its way, and does not arrive late. Where the target is gone:
    /// it is back before the connections end.
    first_way: bool,
}

/// Three cases a point, in which everybody is killed once; where there are few points six: everybody at both moments.
/// At the commit also in both ways.
fn cases(points: &[usize], commit: usize, least: usize) -> Vec<Case> {
    let per_point = if points.len() * 3 < least { 6 } else { 3 };
    let at = |(place, point): (usize, &usize)| {
        let (place, point) = (place, *point);
        (0..if point == commit { 12 } else { per_point }).map(move |number: usize| Case {
            hold: if (place + number).is_multiple_of(2) { Hold::Before(point) } else { Hold::After(point) },
            victim: VICTIMS[(place / 2 + number) % VICTIMS.len()],
            first_way: (place / 2 + number / 6).is_multiple_of(2),
        })
    };
    points.iter().enumerate().flat_map(at).collect()
}

/// The messages of a transaction, by their places in a call.
struct Transaction {
    begin: usize,
    commit: usize,
}

impl Transaction {
    /// The last one with a message that has these words.
    fn with(messages: &[String], words: [&str; 2]) -> Self {
        let has_words = |sql: &String| words.iter().all(|word| sql.contains(word));
        let place = messages.iter().rposition(has_words);
        let place = place.unwrap_or_else(|| panic!("no {words:?}:\n{}", messages.join("\n")));
        let begin = messages[..=place].iter().rposition(|sql| has(sql, "BEGIN")).unwrap();
        let commit = messages[place..].iter().position(|sql| has(sql, "COMMIT")).unwrap();
        Self { begin: begin + 1, commit: place + commit + 1 }
    }

    fn that_applies(messages: &[String]) -> Self {
        Self::with(messages, ["INSERT INTO", "ledger"])
    }

    /// Every message from its beginning on, and a few of those before.
    fn points(&self, messages: &[String], earlier: usize) -> Vec<usize> {
        let step = self.begin.div_ceil(earlier);
        (1..self.begin).step_by(step).chain(self.begin..=messages.len()).collect()
    }
}

/// Whether a statement of the message begins with the word.
fn has(message: &str, word: &str) -> bool {
    message.split(';').any(|statement| statement.split_whitespace().next() == Some(word))
}

/// Two servers with the same tables, and the relay between them.
struct Scene {
    psql: PathBuf,
    source: Cluster,
    target: Cluster,
    proxy: Proxy,
    /// Makes what the target holds before a deployment.
    rows_there: &'static str,
    /// What the target holds before a deployment and after it.
    before: String,
    after: String,
}

/// A row of the history.
#[derive(Debug)]
struct Entry {
    id: i64,
    state: String,
    /// Rows inserted and updated.
    changed: String,
}

impl Scene {
    fn set() -> Self {
        Self::with(ROWS_HERE, ROWS_THERE)
    }

    fn with(rows_here: &str, rows_there: &'static str) -> Self {
        let installation = Installation::from_env().unwrap();
        let start = || Cluster::start_temporary(&installation, &[]).unwrap();
        let (source, target) = (start(), start());
        let proxy = Proxy::start(target.port(), Duration::ZERO).unwrap();
        for cluster in [&source, &target] {
            cluster.create_database(DATABASE).unwrap();
        }
        let psql = installation.bin.join("psql");
        let (before, after) = (String::new(), String::new());
        let mut scene = Self { psql, source, target, proxy, rows_there, before, after };
        execute(&mut scene.there(), &format!("{TABLES}; {rows_there}"));
        scene.before = scene.content();
        execute(&mut scene.here(), &scene.setup(rows_here));
        scene
    }

    fn setup(&self, rows_here: &str) -> String {
        format!(
            r#"SET client_min_messages = error; CREATE EXTENSION opdb CASCADE;
               SELECT opdb.set_environment('test', 'test');
               SELECT opdb.register_environment('production', 'production',
                   '{{"host": "127.0.0.1", "port": {}, "dbname": "{DATABASE}"}}', '{{"user": "{}", "password": "{}"}}');
               {TABLES}; {rows_here};
               SELECT opdb.capture_schema()"#,
            self.proxy.port(),
            self.target.superuser(),
            self.target.password()
        )
    }

    fn here(&self) -> Client {
        let mut client = self.source.connect_as_superuser(DATABASE).unwrap();
        execute(&mut client, "SET client_min_messages = error; SET statement_timeout = '60s'");
        client
    }

    fn there(&self) -> Client {
        self.target.connect_as_superuser(DATABASE).unwrap()
    }

    fn content(&self) -> String {
        text(&mut self.there(), CONTENT)
    }

    /// Calls as psql, whose process can be killed.
    fn call(&self, sql: &str) -> Child {
        Command::new(&self.psql)
            .args(["-X", "-q", "-A", "-t", "-h", self.source.host(), "-U", self.source.superuser()])
            .args(["-p", &self.source.port().to_string(), "-d", DATABASE, "-c", sql])
            .env("PGPASSWORD", self.source.password())
            .env("PGOPTIONS", CALL_ENDS_WITHIN)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Calls to the end; returns the row that this made in the history.
    fn complete(&self, sql: &str) -> Entry {
        let last = self.last_id();
        rows(&mut self.here(), sql);
        let [entry] = <[Entry; 1]>::try_from(self.history_since(last)).unwrap();
        entry
    }

    fn history_since(&self, id: i64) -> Vec<Entry> {
        let sql = format!(
            "SELECT deployment_id, state, inserted + updated FROM opdb.deployments
             WHERE deployment_id > {id} ORDER BY deployment_id"
        );
        let entry = |row: Vec<String>| {
            let [id, state, changed] = row.try_into().unwrap();
            Entry { id: id.parse().unwrap(), state, changed }
        };
        rows(&mut self.here(), &sql).into_iter().map(entry).collect()
    }

    fn last_id(&self) -> i64 {
        self.history_since(0).last().map_or(0, |entry| entry.id)
    }

    fn state_of(&self, id: i64) -> String {
        text(&mut self.here(), &format!("SELECT state FROM opdb.deployments WHERE deployment_id = {id}"))
    }

    /// The messages with SQL of a whole call, which must do what it is for.
    fn messages_of(&self, sql: &str) -> Vec<String> {
        self.proxy.reset();
        let entry = self.complete(sql);
        assert_eq!(entry.state, "applied", "{entry:?}");
        self.proxy.queries()
    }

    /// Has the first deployment show what there is afterwards, and takes that away again. Returns its messages: with them
    /// it also makes what opdb keeps there.
    fn rehearse(&mut self) -> Vec<String> {
        let messages = self.messages_of(DEPLOY);
        self.after = self.content();
        let rows_here = text(&mut self.here(), CONTENT);
        assert!(rows_here.lines().all(|row| self.after.lines().any(|other| row == other)), "{}", self.after);
        let own = usize::from(self.before.contains("only there"));
        assert_eq!(self.after.lines().count(), rows_here.lines().count() + own);
        self.restore();
        messages
    }

    /// The target as it was before any deployment.
    fn restore(&self) {
        execute(&mut self.there(), self.rows_there);
        assert_eq!(self.content(), self.before);
    }

    /// Kills at the point, and brings everything up again. Returns the message that was held.
    fn kill_at(&self, case: Case, sql: &str) -> String {
        self.proxy.hold(case.hold);
        let mut call = self.call(sql);
        let held = match self.proxy.wait_until_held() {
            Ok(held) => held,
            Err(error) => {
                // What it has said by now tells why.
                call.kill().unwrap();
                panic!("{case:?}: {error:#}; {:?}", call.wait_with_output())
            }
        };
        match case.victim {
            Victim::Source => self.kill_source(case.first_way, call),
            Victim::Target => self.kill_target(case.first_way, call),
            Victim::Client => {
                call.kill().unwrap();
                call.wait().unwrap();
                self.proxy.release();
            }
        }
        no_session_but_ours(&mut self.here(), case);
        no_session_but_ours(&mut self.there(), case);
        held
    }

    fn kill_source(&self, is_lost: bool, call: Child) {
        self.source.kill_nine().unwrap();
        assert!(!call.wait_with_output().unwrap().status.success());
        if is_lost {
            self.proxy.cut();
        } else {
            self.proxy.release();
        }
        self.source.start_again().unwrap();
    }

    fn kill_target(&self, is_back_soon: bool, call: Child) {
        self.target.kill_nine().unwrap();
        if is_back_soon {
            self.target.start_again().unwrap();
        }
        self.proxy.cut();
        // It may say that the deployment failed, or fail.
        call.wait_with_output().unwrap();
        if !is_back_soon {
            self.target.start_again().unwrap();
        }
    }

    /// Everything that is asked of what a kill leaves; `next` makes of what it left what `whole` is.
    fn survive(&self, case: Case, sql: &str, whole: &str, next: impl Fn(bool) -> Entry) {
        let last = self.last_id();
        let (old, held) = (self.content(), self.kill_at(case, sql));
        let found = self.content();
        let place = format!("{case:?} at {held:.300}");
        assert!(found == old || found == whole, "{place}: half of it is there:\n{found}");
        let is_done = found == whole;
        let completed = next(is_done);
        assert_eq!(completed.state, "applied", "{place}: {completed:?}");

        let history = self.history_since(last);
        let told =
            format!("{place}; the kill came {} it; {history:?}", if is_done { "after" } else { "before" });
        let killed: Vec<&Entry> = history.iter().filter(|entry| entry.id < completed.id).collect();
        let applied = killed.iter().filter(|entry| entry.state == "applied").count();
        assert!(killed.len() <= 1 && history.len() == killed.len() + 1, "{told}");
        assert_eq!(applied, usize::from(is_done), "{told}");
        assert!(self.history_since(0).iter().all(|entry| !OPEN.contains(&entry.state.as_str())), "{told}");
        let prepared = "SELECT count(*) FROM pg_prepared_xacts";
        assert_eq!(text(&mut self.there(), prepared), "0", "{told}");
        no_session_but_ours(&mut self.there(), case);
    }

    fn survive_deploying(&self, case: Case) {
        self.survive(case, DEPLOY, &self.after, |is_done| {
            let entry = self.complete(DEPLOY);
            assert_eq!(self.content(), self.after, "{case:?}");
            // What the killed one has done is not done again.
            assert_eq!(entry.changed == "0", is_done, "{case:?}: {entry:?}");
            entry
        });
        self.restore();
    }

    fn survive_taking_back(&self, case: Case) {
        let original = self.complete(DEPLOY).id;
        assert_eq!(self.content(), self.after);
        let sql = take_back(original);
        self.survive(case, &sql, &self.before, |is_done| {
            // One that is taken back cannot be taken back again; any deployment settles what was left.
            let entry = self.complete(if is_done { DEPLOY } else { &sql });
            let expected = if is_done { &self.after } else { &self.before };
            assert_eq!(self.content(), *expected, "{case:?}");
            entry
        });
        assert_eq!(self.state_of(original), "rolled_back", "{case:?}");
        self.restore();
    }
}

fn take_back(id: i64) -> String {
    format!("SELECT * FROM opdb.rollback_deployment({id})")
}

/// The sessions of the dead end by themselves.
fn no_session_but_ours(client: &mut Client, case: Case) {
    let sql = "SELECT string_agg(concat_ws(' ', pid, backend_type, state, wait_event, left(query, 200)), E'\\n') FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type NOT LIKE 'autovacuum%'";
    let begun = Instant::now();
    loop {
        let others = text(client, sql);
        if others == "NULL" {
            return;
        }
        assert!(begun.elapsed() < SESSIONS_END_WITHIN, "{case:?}: they stay:\n{others}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Tells what was survived, and how long it took.
fn tell(what: &str, messages: &[String], cases: &[Case], begun: Instant) {
    let kills = VICTIMS.map(|victim| cases.iter().filter(|case| case.victim == victim).count());
    println!(
        "{what}, {} messages: survived {} kills in {:.0} s: {} of the source, {} of the target, {} of the client",
        messages.len(),
        cases.len(),
        begun.elapsed().as_secs_f64(),
        kills[0],
        kills[1],
        kills[2]
    );
}

#[test]
fn a_deployment_is_there_or_not_whoever_is_killed_at_whatever_message() {
    let begun = Instant::now();
    let mut scene = Scene::set();
    scene.rehearse();
    let messages = scene.messages_of(DEPLOY);
    scene.restore();
    let applying = Transaction::that_applies(&messages);
    let cases = cases(&applying.points(&messages, 5), applying.commit, 40);
    for case in &cases {
        scene.survive_deploying(*case);
    }
    tell("deploying", &messages, &cases, begun);
    assert!(cases.len() >= 40, "{} kills", cases.len());
}

#[test]
fn a_load_is_there_or_not_whoever_is_killed() {
    let begun = Instant::now();
    let mut scene = Scene::with(MANY_HERE, NONE_THERE);
    scene.rehearse();
    let messages = scene.messages_of(DEPLOY);
    scene.restore();
    assert!(!messages.iter().any(|sql| sql.contains("COPY opdb_deploy")), "{messages:?}");
    let applying = Transaction::that_applies(&messages);
    let is_told = |point: &usize| {
        let sql = &messages[point - 1];
        let words = ["COPY", "the end of a copy", "AS SELECT t.id"];
        words.iter().any(|words| sql.contains(words)) || [applying.begin, applying.commit].contains(point)
    };
    let points: Vec<usize> = (applying.begin..=applying.commit).filter(is_told).collect();
    let cases = cases(&points, applying.commit, 40);
    for case in &cases {
        scene.survive_deploying(*case);
    }
    tell("loading", &messages, &cases, begun);
    assert!(cases.len() >= 30, "{} kills", cases.len());
}

#[test]
fn what_opdb_keeps_on_the_target_is_there_or_not_whoever_is_killed() {
    let begun = Instant::now();
    let mut scene = Scene::set();
    let messages = scene.rehearse();
    let creating = Transaction::with(&messages, ["CREATE SCHEMA", "opdb_deploy"]);
    let points: Vec<usize> = (creating.begin..=creating.commit).collect();
    let cases = cases(&points, creating.commit, 9);
    for case in &cases {
        execute(&mut scene.there(), "DROP SCHEMA opdb_deploy CASCADE");
        scene.survive_deploying(*case);
    }
    tell("deploying for the first time", &messages, &cases, begun);
}

#[test]
fn a_deployment_is_taken_back_or_not_whoever_is_killed() {
    let begun = Instant::now();
    let mut scene = Scene::set();
    scene.rehearse();
    let original = scene.complete(DEPLOY).id;
    let messages = scene.messages_of(&take_back(original));
    assert_eq!(scene.content(), scene.before);
    let applying = Transaction::that_applies(&messages);
    let mut points = vec![applying.begin, applying.begin.midpoint(applying.commit), applying.commit];
    points.dedup();
    let cases = cases(&points, applying.commit, 9);
    for case in &cases {
        scene.survive_taking_back(*case);
    }
    tell("taking back", &messages, &cases, begun);
    assert!(cases.len() >= 9, "{} kills", cases.len());
}
