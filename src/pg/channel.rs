//! Messages between this process and one that it started, in dynamic shared memory: either side sends, and is woken when
//! something comes.

use std::time::{Duration, Instant};

use pgrx::{PgMemoryContexts, pg_sys};

use super::process::{self, Kind, Process};
use super::segment::Segment;
use super::session;

/// Bytes before the queues: the database of the process that opened the channel.
const HEADER: usize = 64;
/// Bytes of a queue. A longer message goes through it piece by piece.
const QUEUE: usize = 16 * 1024;

/// After an error that was raised while something was sent, half of it may be on its way: such a channel is of no more use
/// than to be dropped, which tells the other side.
pub struct Channel {
    outgoing: *mut pg_sys::shm_mq_handle,
    incoming: *mut pg_sys::shm_mq_handle,
    segment: Segment,
    /// What the queues look at to know whether the other side still lives; none on that side itself.
    _started: Option<Process>,
}

/// What came in a time.
pub enum Received {
    Message(Vec<u8>),
    Nothing,
    /// The other side has gone.
    Gone,
}

impl Channel {
    /// Starts a process, which finds the channel by its argument. None if all of the server's max_worker_processes are in
    /// use.
    #[allow(unsafe_code)]
    pub fn start(kind: &Kind) -> Option<Self> {
        let segment = Segment::of(HEADER + 2 * QUEUE);
        // SAFETY: the segment has room for the header and the queues, and nobody else knows it yet.
        let mut channel = unsafe {
            segment.start().cast::<pg_sys::Oid>().write(process::own_database());
            let [to_started, to_starter] = queues(&segment).map(|queue| pg_sys::shm_mq_create(queue, QUEUE));
            Self::over(segment, to_started, to_starter)
        };
        let process = kind.start(channel.segment.handle())?;
        // SAFETY: the process's handle lives as long as the queues'.
        unsafe {
            pg_sys::shm_mq_set_handle(channel.outgoing, process.handle());
            pg_sys::shm_mq_set_handle(channel.incoming, process.handle());
        }
        channel._started = Some(process);
        Some(channel)
    }

    /// In the process that was started, outside a transaction: the channel, and the database of whoever started it. None
    /// if that one is gone.
    #[allow(unsafe_code)]
    pub fn attach(argument: u32) -> Option<(Self, pg_sys::Oid)> {
        let segment = Segment::attach(argument)?;
        // SAFETY: whoever made the segment made the header and the queues before telling its name.
        unsafe {
            let database = segment.start().cast::<pg_sys::Oid>().read();
            let [to_started, to_starter] = queues(&segment).map(|queue| queue.cast::<pg_sys::shm_mq>());
            Some((Self::over(segment, to_starter, to_started), database))
        }
    }

    /// # Safety
    /// The queues are in the segment, and have no such side yet.
    #[allow(unsafe_code)]
    unsafe fn over(segment: Segment, outgoing: *mut pg_sys::shm_mq, incoming: *mut pg_sys::shm_mq) -> Self {
        // SAFETY: as this function. The handles must outlive the transaction, so they are made where everything lives as
        // long as the process.
        unsafe {
            pg_sys::shm_mq_set_sender(outgoing, pg_sys::MyProc);
            pg_sys::shm_mq_set_receiver(incoming, pg_sys::MyProc);
            let attach = |queue| {
                PgMemoryContexts::TopMemoryContext
                    .switch_to(|_| pg_sys::shm_mq_attach(queue, segment.raw(), std::ptr::null_mut()))
            };
            let (outgoing, incoming) = (attach(outgoing), attach(incoming));
            Self { outgoing, incoming, segment, _started: None }
        }
    }

    /// Whether all of it could be sent. Lets cancellation and termination through.
    #[allow(unsafe_code)]
    pub fn send(&mut self, message: &[u8]) -> bool {
        loop {
            // SAFETY: the handle is this value's own; after it would have blocked it is given the same message again.
            let sent = unsafe {
                pg_sys::shm_mq_send(self.outgoing, message.len(), message.as_ptr().cast(), true, true)
            };
            match sent {
                pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => session::wait(Duration::from_secs(1)),
                sent => return sent == pg_sys::shm_mq_result::SHM_MQ_SUCCESS,
            }
        }
    }

    /// Waits for a message, until nothing has come for so long. Lets cancellation and termination through.
    #[allow(unsafe_code)]
    pub fn receive(&mut self, longest: Duration) -> Received {
        let mut is_over = false;
        loop {
            let (mut length, mut start) = (0, std::ptr::null_mut());
            // SAFETY: the handle is this value's own.
            let received =
                unsafe { pg_sys::shm_mq_receive(self.incoming, &raw mut length, &raw mut start, true) };
            match received {
                pg_sys::shm_mq_result::SHM_MQ_SUCCESS => {
                    // SAFETY: so many bytes are there until the next message is asked for.
                    let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
                    return Received::Message(bytes.to_vec());
                }
                pg_sys::shm_mq_result::SHM_MQ_DETACHED => return Received::Gone,
                _ if is_over => return Received::Nothing,
                _ => {
                    // Whoever is woken sooner may have got a piece of a long message.
                    let begun = Instant::now();
                    session::wait(longest);
                    is_over = begun.elapsed() >= longest;
                }
            }
        }
    }
}

/// Where the queues are: first the one to the process that was started.
///
/// # Safety
/// The segment was made by `Channel::start`.
#[allow(unsafe_code)]
unsafe fn queues(segment: &Segment) -> [*mut std::ffi::c_void; 2] {
    // SAFETY: as this function.
    unsafe {
        let start = segment.start().add(HEADER);
        [start.cast(), start.add(QUEUE).cast()]
    }
}

impl Drop for Channel {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: both are this value's own, and the segment is still mapped. The other side is woken, and finds that
        // nobody is here.
        unsafe {
            pg_sys::shm_mq_detach(self.outgoing);
            pg_sys::shm_mq_detach(self.incoming);
        }
    }
}
