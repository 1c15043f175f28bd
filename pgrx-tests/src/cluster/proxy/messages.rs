//! The messages of PostgreSQL's protocol, as far as a relay must know them.

/// A client asks for encryption before it says who it is.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// A byte that says which message it is, and the length of what follows, itself included.
const HEADER: usize = 5;
/// What stands for the SQL of the message that ends the rows of a copy.
const END_OF_COPY: &str = "the end of a copy";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Encryption,
    Start,
    Typed(u8),
}

pub(super) struct Message {
    pub kind: Kind,
    pub bytes: Vec<u8>,
}

impl Message {
    /// Of a message with SQL: its text. That which ends the rows of a copy is one, too.
    pub(super) fn sql(&self) -> Option<String> {
        let body = self.bytes.get(HEADER..)?;
        let sql = match self.kind {
            Kind::Typed(b'c') => return Some(END_OF_COPY.to_owned()),
            Kind::Typed(b'Q') => body,
            // The name of the statement comes first.
            Kind::Typed(b'P') => body.splitn(2, |byte| *byte == 0).nth(1)?,
            _ => return None,
        };
        let sql = sql.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(sql).into_owned())
    }

    /// Whether the server says, when it is done with it, that it is ready for what comes next: a query, or rows to copy.
    pub(super) const fn makes_ready(&self) -> bool {
        matches!(self.kind, Kind::Start | Kind::Typed(b'Q' | b'S' | b'F' | b'c'))
    }
}

/// Takes what a client sends apart.
#[derive(Default)]
pub(super) struct Requests {
    rest: Vec<u8>,
    has_started: bool,
}

impl Requests {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next message that is complete.
    pub(super) fn next(&mut self) -> Option<Message> {
        let head = usize::from(self.has_started);
        let length = number(self.rest.get(head..head + 4)?)?;
        let end = head + usize::try_from(length).ok()?;
        let kind = match self.rest.get(4..8).filter(|_| !self.has_started).and_then(number) {
            _ if self.has_started => Kind::Typed(self.rest[0]),
            Some(SSL_REQUEST | GSS_REQUEST) => Kind::Encryption,
            _ => Kind::Start,
        };
        let bytes = self.rest.get(..end)?.to_vec();
        self.rest.drain(..end);
        self.has_started |= kind == Kind::Start;
        Some(Message { kind, bytes })
    }

    /// What has come of a message that is not complete.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }
}

/// Counts in what a server sends how often it says that it is ready for the next query, or for rows to copy.
#[derive(Default)]
pub(super) struct Answers {
    header: Vec<u8>,
    /// Bytes of the message that are still to come.
    left: usize,
    pub ready: usize,
}

impl Answers {
    /// Reads to the end of the bytes, or to where the server has been ready `until` times. Returns how many bytes it read.
    pub(super) fn read(&mut self, bytes: &[u8], until: usize) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.ready < until {
            if self.header.len() < HEADER {
                self.header.push(bytes[at]);
                at += 1;
                self.left = number(&self.header[1..]).map_or(0, |length| (length as usize).saturating_sub(4));
            } else {
                let step = self.left.min(bytes.len() - at);
                at += step;
                self.left -= step;
            }
            if self.header.len() == HEADER && self.left == 0 {
                self.ready += usize::from(matches!(self.header[0], b'Z' | b'G'));
                self.header.clear();
            }
        }
        at
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(requests: &mut Requests, bytes: &[u8]) -> Vec<String> {
        requests.add(bytes);
        std::iter::from_fn(|| requests.next()).filter_map(|message| message.sql()).collect()
    }

    #[test]
    fn queries_are_found_wherever_messages_are_cut() {
        let mut sent = Vec::new();
        sent.extend([0, 0, 0, 8]);
        sent.extend(SSL_REQUEST.to_be_bytes());
        sent.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
        sent.extend([b'p', 0, 0, 0, 5, 0]);
        sent.extend([b'Q', 0, 0, 0, 13]);
        sent.extend(b"SELECT 1\0");
        sent.extend([b'P', 0, 0, 0, 18]);
        sent.extend(b"s1\0SELECT 2\0\0\0");
        for size in 1..sent.len() {
            let mut requests = Requests::default();
            let found: Vec<String> = sent.chunks(size).flat_map(|part| found(&mut requests, part)).collect();
            assert_eq!(found, ["SELECT 1", "SELECT 2"], "in parts of {size}");
        }
    }

    #[test]
    fn readiness_is_counted_wherever_messages_are_cut() {
        let mut sent = vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0];
        sent.extend([b'Z', 0, 0, 0, 5, b'I']);
        let first = sent.len();
        // No columns, and a Z that begins no message.
        sent.extend([b'n', 0, 0, 0, 4, b'C', 0, 0, 0, 9]);
        sent.extend(b"Z\0\0\0\x05");
        // It copies in.
        sent.extend([b'G', 0, 0, 0, 7, 0, 0, 0]);
        for size in 1..=sent.len() {
            let mut answers = Answers::default();
            let read: usize = sent.chunks(size).map(|part| answers.read(part, 1)).sum();
            assert_eq!((read, answers.ready), (first, 1), "in parts of {size}");
            assert_eq!(answers.read(&sent[first..], usize::MAX), sent.len() - first);
            assert_eq!(answers.ready, 2);
        }
    }
}
