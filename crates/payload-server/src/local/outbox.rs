//! What a session's client has not taken yet: messages wait here, bounded, and never hold up a thread that others need.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use payload_core::limits;
use payload_socket::Seqpacket;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::flusher::Flusher;

/// Memory that waiting messages may take up: the largest answers to everything in flight, and several times as many
/// notices as a session may have leases to be told of at once.
const WAITING_BYTES_MAX: usize = 4 * limits::SESSION_REQUESTS_MAX * limits::MESSAGE_SIZE_MAX;
/// How much a client may have left unread when a task sends it more: so that the largest message still fits into the socket,
/// and never waits in front of an answer.
const UNREAD_MAX: usize = 32 << 10;
/// How soon a task looks again whether its client has read: nothing tells. Twice as long each time, up to the second.
const LOOK: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];
/// What a message takes up besides its bytes.
const MESSAGE_OVERHEAD: usize = 128;

/// The sending half of a session.
pub(crate) struct Outbox {
    connection: Arc<Seqpacket>,
    flusher: Arc<Flusher>,
    queue: Mutex<Queue>,
    drained: Condvar,
    drained_for_tasks: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Message>,
    /// What those take up.
    waiting_bytes: usize,
    /// Descriptors sent since the client was last known to have read everything. The kernel counts descriptors in
    /// flight against the whole user, so one client must not pile them up.
    fds_unread: usize,
    broken: bool,
}

struct Message {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Message {
    fn size(&self) -> usize {
        self.bytes.len() + MESSAGE_OVERHEAD
    }
}

/// Why messages still wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// They do not; the queue is empty, or the connection broken.
    None,
    /// The socket is full: it tells when it is not.
    Full,
    /// The client has unread descriptors: nothing tells when it has read them.
    UnreadFds,
}

impl Outbox {
    pub(super) fn new(connection: Arc<Seqpacket>, flusher: Arc<Flusher>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            flusher,
            queue: Mutex::default(),
            drained: Condvar::new(),
            drained_for_tasks: Notify::new(),
        })
    }

    /// Sends a message, now or when the client reads on. Never waits. Messages keep their order.
    pub(crate) fn send(self: &Arc<Self>, bytes: &[u8], fds: Vec<OwnedFd>) {
        self.send_noted(bytes, fds, || {});
    }

    /// The same; `note` is called when the message's place is certain and the client cannot have it yet. Whoever sees
    /// what it noted sends behind this message, and whatever the client does about this message comes after the note.
    pub(super) fn send_noted(self: &Arc<Self>, bytes: &[u8], fds: Vec<OwnedFd>, note: impl FnOnce()) {
        let mut queue = self.queue.lock();
        if queue.broken {
            return;
        }
        note();
        let message = if queue.waiting.is_empty() {
            match self.try_send(&mut queue, bytes, &fds) {
                Ok(Stall::None) => {
                    // While the queue is locked; see `settle`.
                    drop(fds);
                    return;
                }
                Ok(_) => Message {
                    bytes: bytes.to_vec(),
                    fds,
                },
                Err(_) => return self.close(&mut queue),
            }
        } else {
            Message {
                bytes: bytes.to_vec(),
                fds,
            }
        };
        queue.waiting_bytes += message.size();
        if queue.waiting_bytes > WAITING_BYTES_MAX {
            tracing::warn!("a client reads nothing; its session is closed");
            return self.close(&mut queue);
        }
        let first = queue.waiting.is_empty();
        queue.waiting.push_back(message);
        drop(queue);
        if first {
            self.flusher.watch(Arc::clone(self));
        }
    }

    /// Waits until the client has been sent everything, or is gone: a session whose client does not read is not read.
    pub(super) fn wait_drained(&self) {
        let mut queue = self.queue.lock();
        while !queue.waiting.is_empty() && !queue.broken {
            self.drained.wait(&mut queue);
        }
    }

    /// Waits, as a task, until a message with so many descriptors would not wait: the client has been sent everything, and has
    /// read nearly all of it. Whether it is still there.
    pub(super) async fn drained(&self, fds: usize) -> bool {
        let [mut pause, longest] = LOOK;
        loop {
            let mut drained = std::pin::pin!(self.drained_for_tasks.notified());
            // Before looking: what happens after that wakes this task.
            drained.as_mut().enable();
            if let Some(is_open) = self.is_drained(fds) {
                return is_open;
            }
            let _looked_again = timeout(pause, drained).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Whether the client is still there, if it can take so many descriptors.
    fn is_drained(&self, fds: usize) -> Option<bool> {
        let mut queue = self.queue.lock();
        if queue.broken || !queue.waiting.is_empty() {
            return queue.broken.then_some(false);
        }
        match self.connection.unread() {
            Ok(0) => queue.fds_unread = 0,
            Ok(unread) if unread <= UNREAD_MAX && queue.fds_unread + fds <= limits::MESSAGE_FDS_MAX => {}
            Ok(_) => return None,
            Err(_) => return Some(false),
        }
        Some(true)
    }

    /// Waits until what the client can have received by now is no longer open here: a client that was just given a
    /// descriptor to write with may be done with it before the thread that sent it has closed its own.
    pub(super) fn settle(&self) {
        drop(self.queue.lock());
    }

    /// Sends what it can of what waits.
    pub(super) fn flush(&self) -> Stall {
        let mut queue = self.queue.lock();
        while let Some(message) = queue.waiting.pop_front() {
            match self.try_send(&mut queue, &message.bytes, &message.fds) {
                Ok(Stall::None) => queue.waiting_bytes -= message.size(),
                Ok(stall) => {
                    queue.waiting.push_front(message);
                    return stall;
                }
                Err(_) => self.close(&mut queue),
            }
        }
        self.tell_drained();
        Stall::None
    }

    /// Gives a client up that has not read for too long.
    pub(super) fn give_up(&self) {
        self.close(&mut self.queue.lock());
    }

    pub(super) fn connection(&self) -> &Seqpacket {
        &self.connection
    }

    fn try_send(&self, queue: &mut Queue, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<Stall> {
        if queue.fds_unread + fds.len() > limits::MESSAGE_FDS_MAX && !fds.is_empty() {
            if self.connection.unread()? > 0 {
                return Ok(Stall::UnreadFds);
            }
            queue.fds_unread = 0;
        }
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        match self.connection.try_send(bytes, &borrowed) {
            Ok(()) => {
                queue.fds_unread += fds.len();
                Ok(Stall::None)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Stall::Full),
            Err(error) => Err(error),
        }
    }

    fn tell_drained(&self) {
        self.drained.notify_all();
        self.drained_for_tasks.notify_waiters();
    }

    fn close(&self, queue: &mut Queue) {
        queue.broken = true;
        queue.waiting.clear();
        queue.waiting_bytes = 0;
        self.tell_drained();
        // The session's thread sees the end of the connection and cleans up.
        let _ = self.connection.shutdown();
    }
}
