//! The byte endpoint's listener, and the thread that each connection gets.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use payload_core::Span;
use payload_core::port::Clock;
use payload_core::sync::Signal;
use payload_engine::Engine;
use payload_socket::{Bell, out_of_descriptors};
use prometheus::Registry;

use super::connection::{Service, serve, turn_away};
use super::metrics::Metrics;
use super::wire::Wire;

/// Clients that are told that there is no place, at a time. More are closed without a word.
const TURNED_AWAY_MAX: usize = 32;
/// With no descriptor left, accepting pauses: the waiting connection would be announced again and again.
const ACCEPT_PAUSE: Span = Span::from_millis(100);
/// A connection's thread needs little stack: its buffers are on the heap.
const STACK_SIZE: usize = 256 << 10;
/// How long connections that were cut off may take to notice.
const CUT_OFF: Span = Span::from_secs(1);

/// What the endpoint lets happen at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections that are served at a time.
    pub(crate) connections_max: usize,
    /// A connection on which nothing moves for so long is closed.
    pub(crate) idle_timeout: Span,
}

/// The listening socket and everybody who came in.
pub(crate) struct Door {
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
}

struct Inner {
    service: Service,
    limits: Limits,
    clock: Arc<dyn Clock>,
    connections: Arc<Mutex<HashMap<u64, Link>>>,
    next_number: AtomicU64,
    /// Raised when a connection ends.
    left: Signal,
    /// Rung at the end.
    bell: Bell,
    pause: Signal,
}

/// A connection, from the door's side.
struct Link {
    stream: Arc<TcpStream>,
    receiving: Arc<AtomicBool>,
}

impl Door {
    /// Serves what comes to `listener`, which is bound to `address` and does not block.
    pub(crate) fn open(
        listener: TcpListener,
        address: SocketAddr,
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let connections = Arc::<Mutex<HashMap<u64, Link>>>::default();
        let count = Arc::clone(&connections);
        let inner = Arc::new(Inner {
            service: Service {
                engine,
                bound: address.ip(),
                metrics: Metrics::new(registry, move || count.lock().len())?,
                stopping: AtomicBool::new(false),
            },
            limits,
            clock,
            connections,
            next_number: AtomicU64::new(0),
            left: Signal::new(),
            bell: Bell::new()?,
            pause: Signal::new(),
        });
        let accepting = Arc::clone(&inner);
        let acceptor = std::thread::Builder::new()
            .name("bytes-accept".into())
            .spawn(move || accepting.accept(&listener))?;
        Ok(Self {
            inner,
            acceptor: Some(acceptor),
        })
    }

    /// Lets nobody in any more, gives transfers that are under way the time to end, and cuts off the rest.
    pub(crate) fn close(mut self, drain: Span) {
        let inner = &self.inner;
        inner.service.stopping.store(true, Ordering::Release);
        inner.bell.ring();
        inner.pause.raise();
        if self.acceptor.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that accepts for the byte endpoint panicked");
        }
        for link in inner.connections.lock().values() {
            // Whoever sends a body is heard out; to all others this is the end of requests.
            if !link.receiving.load(Ordering::Relaxed) {
                let _ = link.stream.shutdown(Shutdown::Read);
            }
        }
        if !inner.is_empty_within(drain) {
            tracing::warn!(?drain, "transfers did not end in time; they are cut off");
            for link in inner.connections.lock().values() {
                let _ = link.stream.shutdown(Shutdown::Both);
            }
            inner.is_empty_within(CUT_OFF);
        }
    }
}

impl Inner {
    fn is_empty_within(&self, time: Span) -> bool {
        let deadline = self.clock.now().after(time);
        loop {
            if self.connections.lock().is_empty() {
                return true;
            }
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return false;
            }
            self.left.wait(Some(left));
        }
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while !self.service.stopping.load(Ordering::Acquire) {
            let accepted = match self.bell.wait_readable(listener) {
                Ok(true) => listener.accept(),
                Ok(false) => return,
                Err(error) => Err(error),
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                // Whoever was announced has gone again.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    let short = out_of_descriptors(&error);
                    tracing::warn!(%error, short_of_descriptors = short, "cannot accept a connection to the byte endpoint; pausing");
                    self.pause.wait(Some(ACCEPT_PAUSE));
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        // Answers are wanted at once, and every wait is bounded by whoever waits.
        if let Err(error) = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)) {
            tracing::debug!(%error, "a connection to the byte endpoint was gone at once");
            return;
        }
        let (stream, receiving) = (Arc::new(stream), Arc::new(AtomicBool::new(false)));
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut connections = self.connections.lock();
        let others = connections.len();
        if others >= self.limits.connections_max + TURNED_AWAY_MAX {
            self.service.metrics.refused();
            return;
        }
        connections.insert(
            number,
            Link {
                stream: Arc::clone(&stream),
                receiving: Arc::clone(&receiving),
            },
        );
        drop(connections);

        let leave = Leave {
            door: Arc::clone(self),
            number,
        };
        let place = others < self.limits.connections_max;
        let wire = Wire::new(stream, Arc::clone(&self.clock), self.limits.idle_timeout);
        let spawned = std::thread::Builder::new()
            .name("bytes".into())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                let leave = leave;
                leave.door.run(wire, place, &receiving);
            });
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start a thread for a connection to the byte endpoint");
        }
    }

    fn run(&self, mut wire: Wire, place: bool, receiving: &AtomicBool) {
        match place {
            true => serve(&self.service, &mut wire, receiving),
            false => turn_away(&self.service, &mut wire),
        }
    }
}

/// Takes a connection off the list, however its thread ends, or if it never began.
struct Leave {
    door: Arc<Inner>,
    number: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.door.connections.lock().remove(&self.number);
        self.door.left.raise();
    }
}
