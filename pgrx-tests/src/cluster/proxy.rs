//! What stands between two servers: a relay on the loopback address that counts what passes, keeps the text of queries,
//! holds everything back for as long as a wire of that length would, and stops where a test wants to do something.

mod gate;
mod messages;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

pub use gate::Hold;
use gate::{Answer, Gate};
use messages::{Answers, Kind, Requests};

const HOST: &str = "127.0.0.1";
/// What a server says that does not want encryption.
const UNENCRYPTED: u8 = b'N';

/// What has passed so far, and what may pass.
#[derive(Default)]
struct Passed {
    to_server: AtomicU64,
    to_client: AtomicU64,
    queries: Mutex<Vec<String>>,
    gate: Gate,
    links: Mutex<Vec<Weak<Link>>>,
}

/// A connection through the relay.
struct Link {
    client: TcpStream,
    server: TcpStream,
    talk: Mutex<Talk>,
}

/// What one direction of a connection has to know of the other.
#[derive(Default)]
struct Talk {
    /// Requests for encryption that are not answered.
    encryption_asked: usize,
    /// Nothing can be read any more.
    is_encrypted: bool,
    /// How often the server will have been ready when everything is answered.
    asked: usize,
    held: Option<HeldAnswer>,
}

/// Everything that the server sends after it was ready the time before, until it is again.
struct HeldAnswer {
    ready: usize,
    sql: String,
    round: u64,
}

/// A relay to a server; its threads end with the process.
pub struct Proxy {
    port: u16,
    passed: Arc<Passed>,
}

impl Proxy {
    /// Relays to `port`; everything arrives `delay` later than it was sent, in both directions.
    pub fn start(port: u16, delay: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((HOST, 0)).context("cannot listen on the loopback address")?;
        let proxy = Self { port: listener.local_addr()?.port(), passed: Arc::default() };
        let passed = Arc::clone(&proxy.passed);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Where the server is down, the client sees that too.
                let Ok(server) = TcpStream::connect((HOST, port)) else { continue };
                let _ = relay(client, server, delay, &passed);
            }
        });
        Ok(proxy)
    }

    /// Where the relay listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Bytes in both directions.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.passed.to_server.load(Ordering::Relaxed) + self.passed.to_client.load(Ordering::Relaxed)
    }

    /// The messages with SQL, in the order in which they came; one that is held has come.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        locked(&self.passed.queries).clone()
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        self.passed.to_server.store(0, Ordering::Relaxed);
        self.passed.to_client.store(0, Ordering::Relaxed);
        locked(&self.passed.queries).clear();
    }

    /// Lets messages pass up to this one of those that come from now on. What was held goes on.
    pub fn hold(&self, hold: Hold) {
        self.passed.gate.hold(Some(hold));
    }

    /// Waits until the message is held, and its answer has come if that is what is held. Returns its SQL.
    ///
    /// Errors: it does not come within a minute.
    pub fn wait_until_held(&self) -> anyhow::Result<String> {
        self.passed.gate.wait_until_held()
    }

    /// What is held goes on, and all that comes after it.
    pub fn release(&self) {
        self.passed.gate.hold(None);
    }

    /// Closes both sides of all connections; what is held is lost. New connections pass.
    pub fn cut(&self) {
        for link in locked(&self.passed.links).drain(..).filter_map(|link| link.upgrade()) {
            for side in [&link.client, &link.server] {
                // A side that is closed already is what is wanted.
                let _ = side.shutdown(Shutdown::Both);
            }
        }
        self.release();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn relay(client: TcpStream, server: TcpStream, delay: Duration, passed: &Arc<Passed>) -> std::io::Result<()> {
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let link = Arc::new(Link { client, server, talk: Mutex::default() });
    let mut links = locked(&passed.links);
    links.retain(|link| link.strong_count() > 0);
    links.push(Arc::downgrade(&link));
    drop(links);
    let mut there =
        ToServer { passed: Arc::clone(passed), link: Arc::clone(&link), requests: Requests::default() };
    let mut back = ToClient {
        passed: Arc::clone(passed),
        link: Arc::clone(&link),
        answers: Answers::default(),
        kept: Vec::new(),
    };
    let (client, server) = (&link.client, &link.server);
    pump(client.try_clone()?, server.try_clone()?, delay, move |bytes, send| there.pass(bytes, send));
    pump(server.try_clone()?, client.try_clone()?, delay, move |bytes, send| back.pass(bytes, send));
    Ok(())
}

/// One direction of a connection, message by message.
struct ToServer {
    passed: Arc<Passed>,
    link: Arc<Link>,
    requests: Requests,
}

impl ToServer {
    /// No bytes: the client has gone.
    fn pass(&mut self, bytes: &[u8], send: &mut dyn FnMut(&[u8])) {
        self.passed.to_server.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.requests.add(bytes);
        let talk = &self.link.talk;
        if bytes.is_empty() || locked(talk).is_encrypted {
            return send(&self.requests.rest());
        }
        while let Some(message) = self.requests.next() {
            let held = message.sql().and_then(|sql| enter(&self.passed, sql));
            let mut talk = locked(talk);
            if let Some((sql, round)) = held {
                talk.held = Some(HeldAnswer { ready: talk.asked + 1, sql, round });
            }
            talk.asked += usize::from(message.makes_ready());
            talk.encryption_asked += usize::from(message.kind == Kind::Encryption);
            drop(talk);
            send(&message.bytes);
        }
    }
}

/// Returns when the message may pass; its text and the round if its answer is to be held.
fn enter(passed: &Passed, sql: String) -> Option<(String, u64)> {
    locked(&passed.queries).push(sql.clone());
    match passed.gate.enter(&sql) {
        Answer::Passes => None,
        Answer::IsHeld { round } => Some((sql, round)),
    }
}

/// The other direction: as it comes, but for an answer that is held.
struct ToClient {
    passed: Arc<Passed>,
    link: Arc<Link>,
    answers: Answers,
    /// What has come of the answer that is held.
    kept: Vec<u8>,
}

impl ToClient {
    /// No bytes: the server has gone, and answers nothing more.
    fn pass(&mut self, bytes: &[u8], send: &mut dyn FnMut(&[u8])) {
        self.passed.to_client.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let bytes = self.without_encryption(bytes, send);
        let mut talk = locked(&self.link.talk);
        if talk.is_encrypted {
            return send(bytes);
        }
        let Some(held) = talk.held.take() else {
            self.answers.read(bytes, usize::MAX);
            return send(bytes);
        };
        let (earlier, answer) = bytes.split_at(self.answers.read(bytes, held.ready - 1));
        send(earlier);
        self.kept.extend(answer);
        let read = self.answers.read(answer, held.ready);
        if self.answers.ready < held.ready && !bytes.is_empty() {
            talk.held = Some(held);
            return;
        }
        drop(talk);
        self.passed.gate.answered(&held.sql, held.round);
        self.answers.read(&answer[read..], usize::MAX);
        send(&std::mem::take(&mut self.kept));
    }

    /// The answer to a request for encryption is a byte that is no message.
    fn without_encryption<'a>(&self, bytes: &'a [u8], send: &mut dyn FnMut(&[u8])) -> &'a [u8] {
        let mut talk = locked(&self.link.talk);
        match bytes.split_first() {
            Some((answer, rest)) if talk.encryption_asked > 0 => {
                talk.encryption_asked -= 1;
                talk.is_encrypted = *answer != UNENCRYPTED;
                send(&[*answer]);
                rest
            }
            _ => bytes,
        }
    }
}

/// Two threads: one reads, has `pass` say what goes on, and notes when; the other writes when it is time.
fn pump(
    mut from: TcpStream,
    to: TcpStream,
    delay: Duration,
    mut pass: impl FnMut(&[u8], &mut dyn FnMut(&[u8])) + Send + 'static,
) {
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, _) = channel();
    thread::spawn(move || {
        // Where nobody writes any more, the streams are closed, and reading ends.
        let mut send = |bytes: &[u8]| {
            let _ = sender.send((Instant::now() + delay, bytes.to_vec()));
        };
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            pass(&buffer[..length], &mut send);
        }
        pass(&[], &mut send);
    });
    thread::spawn(move || write_in_time(&receiver, to));
}

fn write_in_time(receiver: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (when, bytes) in receiver {
        thread::sleep(when.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use postgres::Client;

    use super::*;
    use crate::cluster::{Cluster, Installation, connect};

    type Ended = JoinHandle<Result<(), String>>;

    /// A server with a table, and a relay to it.
    fn scene() -> (Cluster, Proxy) {
        let cluster = Cluster::start_temporary(&Installation::from_env().unwrap(), &[]).unwrap();
        direct(&cluster).batch_execute("CREATE TABLE t (id int)").unwrap();
        let proxy = Proxy::start(cluster.port(), Duration::ZERO).unwrap();
        (cluster, proxy)
    }

    fn direct(cluster: &Cluster) -> Client {
        cluster.connect_as_superuser("postgres").unwrap()
    }

    fn relayed(cluster: &Cluster, proxy: &Proxy) -> Client {
        connect(proxy.port(), "postgres", cluster.superuser(), cluster.password()).unwrap()
    }

    fn numbers(cluster: &Cluster) -> Vec<i32> {
        let rows = direct(cluster).query("SELECT id FROM t ORDER BY id", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Inserts 1, 2 and 3 through the relay, one message each.
    fn insert(cluster: &Cluster, proxy: &Proxy) -> Ended {
        let mut client = relayed(cluster, proxy);
        thread::spawn(move || {
            (1..=3).try_for_each(|number| {
                let sql = format!("INSERT INTO t VALUES ({number})");
                client.batch_execute(&sql).map_err(|error| error.to_string())
            })
        })
    }

    #[test]
    fn a_message_is_held_before_the_server_has_it_or_when_it_has_answered() {
        for (hold, known) in [(Hold::Before(2), vec![1]), (Hold::After(2), vec![1, 2])] {
            let (cluster, proxy) = scene();
            proxy.hold(hold);
            let inserts = insert(&cluster, &proxy);
            assert_eq!(proxy.wait_until_held().unwrap(), "INSERT INTO t VALUES (2)");
            assert_eq!(numbers(&cluster), known);
            assert!(!inserts.is_finished());
            proxy.release();
            assert_eq!(inserts.join().unwrap(), Ok(()));
            assert_eq!(numbers(&cluster), [1, 2, 3]);
            assert_eq!(proxy.queries().len(), 3);
        }
    }

    #[test]
    fn what_is_held_when_the_connections_are_cut_is_lost() {
        for (hold, known) in [(Hold::Before(2), vec![1]), (Hold::After(2), vec![1, 2])] {
            let (cluster, proxy) = scene();
            proxy.hold(hold);
            let inserts = insert(&cluster, &proxy);
            proxy.wait_until_held().unwrap();
            proxy.cut();
            assert!(inserts.join().unwrap().is_err());
            assert_eq!(numbers(&cluster), known);
            relayed(&cluster, &proxy).batch_execute("DELETE FROM t").unwrap();
        }
    }

    #[test]
    fn while_one_message_is_held_others_wait_on_whatever_connection() {
        let (cluster, proxy) = scene();
        let mut other = relayed(&cluster, &proxy);
        proxy.hold(Hold::After(1));
        let inserts = insert(&cluster, &proxy);
        proxy.wait_until_held().unwrap();
        let other = thread::spawn(move || other.batch_execute("INSERT INTO t VALUES (4)").is_ok());
        while proxy.queries().len() < 2 {
            thread::yield_now();
        }
        assert_eq!(numbers(&cluster), [1]);
        // The next hold lets go what the last one held.
        proxy.hold(Hold::Before(100));
        assert_eq!(inserts.join().unwrap(), Ok(()));
        assert!(other.join().unwrap());
        assert_eq!(numbers(&cluster), [1, 2, 3, 4]);
    }

    #[test]
    fn the_answer_of_a_server_that_is_killed_is_its_end() {
        let (cluster, proxy) = scene();
        let mut blocker = direct(&cluster);
        blocker.batch_execute("BEGIN; LOCK TABLE t").unwrap();
        proxy.hold(Hold::After(1));
        let inserts = insert(&cluster, &proxy);
        while proxy.queries().is_empty() {
            thread::yield_now();
        }
        cluster.kill_nine().unwrap();
        assert_eq!(proxy.wait_until_held().unwrap(), "INSERT INTO t VALUES (1)");
        proxy.release();
        assert!(inserts.join().unwrap().is_err());
    }

    #[test]
    fn statements_that_are_prepared_are_held_too() {
        let (cluster, proxy) = scene();
        proxy.hold(Hold::After(2));
        let mut client = relayed(&cluster, &proxy);
        let both = thread::spawn(move || {
            let sum = |client: &mut Client| client.query_one("SELECT $1::int + 1", &[&1]).unwrap().get(0);
            let sums: [i32; 2] = [sum(&mut client), sum(&mut client)];
            sums
        });
        assert_eq!(proxy.wait_until_held().unwrap(), "SELECT $1::int + 1");
        proxy.release();
        assert_eq!(both.join().unwrap(), [2, 2]);
    }
}
