//! Who may come in, and the thread that each session gets.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use payload_core::sync::Signal;
use payload_core::{Error, NodeId, Principal, Reason, Result, Span, limits};
use payload_engine::{Holder, Peer};
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_proto::{status, v1};
use payload_socket::{Listener, Seqpacket, out_of_descriptors};
use prost::Message;

use super::answer::{Notices, encode};
use super::flusher::Flusher;
use super::outbox::Outbox;
use super::session::Session;
use crate::calls::Calls;
use crate::peers::Peers;
use crate::subscribe::Desk;

/// The version of the rules in docs/reference/local-socket.md.
const PROTOCOL: u32 = 1;
/// A client that connects and says nothing is sent away after this long.
const GREETING_TIME: Span = Span::from_secs(5);
/// With no descriptor left, accepting pauses: the waiting connection would be announced again and again.
const ACCEPT_PAUSE: Span = Span::from_millis(100);
/// A session's thread needs little stack: its buffers are on the heap.
const STACK_SIZE: usize = 256 << 10;

/// The listening socket and everybody who came in.
pub(crate) struct Door {
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
    flushing: Option<JoinHandle<()>>,
}

struct Inner {
    listener: Listener,
    calls: Calls,
    desk: Desk,
    node: NodeId,
    peers: Peers,
    flusher: Arc<Flusher>,
    connections: Mutex<HashMap<u64, Arc<Seqpacket>>>,
    next_number: AtomicU64,
    stopping: AtomicBool,
    pause: Signal,
}

impl Door {
    /// Opens the door.
    pub(crate) fn open(
        listener: Listener,
        desk: Desk,
        node: NodeId,
        peers: Peers,
        clock: Arc<dyn payload_core::port::Clock>,
        patience: Span,
    ) -> io::Result<Self> {
        let (flusher, flushing) = Flusher::start(clock, patience)?;
        let inner = Arc::new(Inner {
            listener,
            calls: desk.calls.clone(),
            desk,
            node,
            peers,
            flusher,
            connections: Mutex::default(),
            next_number: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            pause: Signal::new(),
        });
        let accepting = Arc::clone(&inner);
        let acceptor = std::thread::Builder::new()
            .name("accept".into())
            .spawn(move || accepting.accept())?;
        Ok(Self {
            inner,
            acceptor: Some(acceptor),
            flushing: Some(flushing),
        })
    }

    /// Lets nobody in any more and ends every connection. What the sessions held waits for them to come back to the
    /// next server.
    pub(crate) fn close(mut self) {
        self.inner.stopping.store(true, Ordering::Release);
        let _ = self.inner.listener.shutdown();
        self.inner.pause.raise();
        join(self.acceptor.take());
        let _ = self.inner.listener.remove();
        for connection in self.inner.connections.lock().values() {
            let _ = connection.shutdown();
        }
        self.inner.flusher.stop();
        join(self.flushing.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the local socket panicked");
    }
}

impl Inner {
    fn accept(self: Arc<Self>) {
        loop {
            match self.listener.accept() {
                Ok(Some(connection)) => self.admit(connection),
                Ok(None) => return,
                Err(error) => {
                    if self.stopping.load(Ordering::Acquire) {
                        return;
                    }
                    let short = out_of_descriptors(&error);
                    tracing::warn!(%error, short_of_descriptors = short, "cannot accept a local connection; pausing");
                    self.pause.wait(Some(ACCEPT_PAUSE));
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, connection: Seqpacket) {
        let connection = Arc::new(connection);
        // Those that have not been greeted yet count too, or they would be without bound.
        let room = self.connections.lock().len() < 2 * self.calls.engine.settings().caps.sessions;
        if !room {
            refuse(
                &connection,
                0,
                &Error::new(Reason::TooManySessions, "too many connections").retry_after(Span::from_secs(1)),
            );
            return;
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(number, Arc::clone(&connection));
        let door = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("session".into())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                let _leave = Leave { door: &door, number };
                door.serve(&connection);
            });
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start a thread for a session");
            self.connections.lock().remove(&number);
        }
    }

    fn serve(&self, connection: &Arc<Seqpacket>) {
        let mut incoming = vec![0; limits::MESSAGE_SIZE_MAX];
        let mut outgoing = Vec::new();
        let (correlation_id, greeting) = match greet(connection, &mut incoming) {
            Ok(Some(hello)) => hello,
            Ok(None) => return,
            Err((correlation_id, error)) => return refuse(connection, correlation_id, &error),
        };
        let outbox = Outbox::new(Arc::clone(connection), Arc::clone(&self.flusher));
        let holder = match self.enter(connection, &greeting, &outbox) {
            Ok(holder) => holder,
            Err(error) => return refuse(connection, correlation_id, &error),
        };
        let hello = v1::HelloResponse {
            session_id: holder.session.to_string(),
            node_id: self.node.to_string(),
            epoch: self.calls.engine.epoch(),
            inline_max: limits::INLINE_SIZE_MAX as u32,
        };
        encode(correlation_id, Some(Response::Hello(hello)), &mut outgoing);
        outbox.send(&outgoing, Vec::new());

        let session = Session::new(self.desk.clone(), holder, outbox);
        let _end = End {
            door: self,
            session: &session,
        };
        session.run(connection, &mut incoming, &mut outgoing);
    }

    fn enter(&self, connection: &Seqpacket, greeting: &v1::HelloRequest, outbox: &Arc<Outbox>) -> Result<Arc<Holder>> {
        let credentials = connection
            .peer()
            .map_err(|error| Error::new(Reason::Internal, "cannot tell who the peer is").source(error))?;
        self.peers.check(credentials.uid)?;
        if greeting.protocol != PROTOCOL {
            let message = format!(
                "this server speaks version {PROTOCOL} of the local protocol, not {}",
                greeting.protocol
            );
            return Err(Error::invalid(Reason::BadRequest, message).field("protocol"));
        }
        let pid = u32::try_from(credentials.pid).unwrap_or_default();
        let peer = Peer {
            pid,
            command: command_of(pid),
        };
        self.calls.engine.open_session(
            &Principal::uid(credentials.uid),
            peer,
            Box::new(Notices(Arc::clone(outbox))),
        )
    }
}

/// The first message, which must be a greeting; `None` if the client has gone or says nothing.
fn greet(connection: &Seqpacket, incoming: &mut [u8]) -> Result<Option<(u64, v1::HelloRequest)>, (u64, Error)> {
    let silent = |error: io::Error| {
        (
            0,
            Error::invalid(Reason::BadRequest, "the greeting could not be read").source(error),
        )
    };
    if !connection.wait_readable(Some(GREETING_TIME)).map_err(silent)? {
        return Ok(None);
    }
    let Some(len) = connection.recv(incoming, &mut Vec::new()).map_err(silent)? else {
        return Ok(None);
    };
    match v1::ClientMessage::decode(&incoming[..len]) {
        Ok(v1::ClientMessage {
            correlation_id,
            request: Some(Request::Hello(hello)),
        }) => Ok(Some((correlation_id, hello))),
        Ok(other) => Err((
            other.correlation_id,
            Error::invalid(Reason::BadRequest, "the first message must be a greeting"),
        )),
        Err(error) => Err((
            0,
            Error::invalid(Reason::BadRequest, "the first message cannot be understood").source(error),
        )),
    }
}

fn refuse(connection: &Seqpacket, correlation_id: u64, error: &Error) {
    let mut message = Vec::new();
    encode(
        correlation_id,
        Some(Response::Failure(status::to_failure(error))),
        &mut message,
    );
    // The client may be gone, or not read: it is sent away either way.
    let _ = connection.try_send(&message, &[]);
}

/// The process's name as others see it; empty if it is gone already, or not to be seen from here.
fn command_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}

/// Takes a connection off the list, however its thread ends.
struct Leave<'a> {
    door: &'a Inner,
    number: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.door.connections.lock().remove(&self.number);
    }
}

/// Gives back everything a session held, however its thread ends; unless the whole server stops: then its clients come
/// back to the next one and reclaim.
struct End<'a> {
    door: &'a Inner,
    session: &'a Session,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if !self.door.stopping.load(Ordering::Acquire) {
            self.door.calls.engine.close_session(&self.session.holder);
        }
    }
}
