//! What stands between two servers: a relay on the loopback address that counts what passes, keeps the text of queries,
//! and holds everything back for as long as a wire of that length would.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

const HOST: &str = "127.0.0.1";
/// A client asks for encryption before it says who it is.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// What has passed so far.
#[derive(Default)]
struct Passed {
    to_server: AtomicU64,
    to_client: AtomicU64,
    queries: Mutex<Vec<String>>,
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
                let _ = relay(&client, &server, delay, &passed);
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

    /// The messages with SQL, in the order in which they came.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        self.passed.queries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        self.passed.to_server.store(0, Ordering::Relaxed);
        self.passed.to_client.store(0, Ordering::Relaxed);
        self.passed.queries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn relay(
    client: &TcpStream,
    server: &TcpStream,
    delay: Duration,
    passed: &Arc<Passed>,
) -> std::io::Result<()> {
    for stream in [client, server] {
        stream.set_nodelay(true)?;
    }
    let (counted, counted_back) = (Arc::clone(passed), Arc::clone(passed));
    let mut messages = Messages::default();
    pump(client.try_clone()?, server.try_clone()?, delay, move |bytes| {
        counted.to_server.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let queries = messages.queries(bytes);
        counted.queries.lock().unwrap_or_else(PoisonError::into_inner).extend(queries);
    });
    pump(server.try_clone()?, client.try_clone()?, delay, move |bytes| {
        counted_back.to_client.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    Ok(())
}

/// Two threads: one reads and notes when, the other writes when it is time.
fn pump(mut from: TcpStream, to: TcpStream, delay: Duration, mut note: impl FnMut(&[u8]) + Send + 'static) {
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, _) = channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            note(&buffer[..length]);
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
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

/// Takes what a client sends apart into messages.
#[derive(Default)]
struct Messages {
    rest: Vec<u8>,
    has_started: bool,
}

impl Messages {
    /// The texts of the queries that are complete with these bytes.
    fn queries(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some((kind, body)) = self.next() {
            if matches!(kind, b'Q' | b'P') {
                found.push(String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned());
            }
        }
        found
    }

    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = usize::from(self.has_started);
        let length = self.rest.get(head..head + 4)?.try_into().ok().map(u32::from_be_bytes)?;
        let end = head + usize::try_from(length).ok()?;
        let body = self.rest.get(head + 4..end)?.to_vec();
        let kind = if self.has_started { self.rest[0] } else { 0 };
        self.rest.drain(..end);
        let code = body.get(..4).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
        self.has_started |= !matches!(code, Some(SSL_REQUEST | GSS_REQUEST));
        Some((kind, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_found_wherever_messages_are_cut() {
        let mut sent = Vec::new();
        sent.extend([0, 0, 0, 8]);
        sent.extend(SSL_REQUEST.to_be_bytes());
        sent.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
        sent.extend([b'p', 0, 0, 0, 5, 0]);
        sent.extend([b'Q', 0, 0, 0, 13]);
        sent.extend(b"SELECT 1\0");
        for size in 1..sent.len() {
            let mut messages = Messages::default();
            let found: Vec<String> = sent.chunks(size).flat_map(|part| messages.queries(part)).collect();
            assert_eq!(found, ["SELECT 1"], "in parts of {size}");
        }
    }
}
