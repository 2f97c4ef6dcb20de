//! One connection to the local socket: requests go out from any task, one task reads the answers.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use payload_core::{Error, Instant, Reason, Result, limits};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_socket::Seqpacket;
use prost::Message;
use tokio::sync::{Semaphore, oneshot};

use crate::cache::Cache;
use crate::clock;
use crate::intake::{self, Answer, Expect};
use crate::session::Session;
use crate::socket::Socket;

/// A connection, from its first message to its end.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    /// Held while a message is sent, so that messages keep their order; the buffer is used again and again.
    sending: tokio::sync::Mutex<Vec<u8>>,
    waiting: Mutex<Waiting>,
    in_flight: Semaphore,
}

/// The connection broke; whether the server has seen the request is unknown.
#[derive(Debug)]
pub(crate) struct Broken;

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) expect: Expect,
    pub(crate) asked_at: Instant,
    pub(crate) answer: oneshot::Sender<Result<Answer>>,
}

#[derive(Debug, Default)]
struct Waiting {
    waiters: HashMap<u64, Waiter>,
    last_id: u64,
    broken: bool,
}

impl Link {
    pub(crate) fn new(socket: Seqpacket) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            socket: Socket::new(socket)?,
            sending: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
            in_flight: Semaphore::new(limits::SESSION_REQUESTS_MAX),
        }))
    }

    /// Sends a request and waits for its answer. If the caller stops waiting, the answer is taken in all the same:
    /// what it grants is given back.
    pub(crate) async fn call(
        &self,
        cache: &Cache,
        message: &mut v1::ClientMessage,
        expect: Expect,
    ) -> Result<Result<Answer>, Broken> {
        let Ok(_permit) = self.in_flight.acquire().await else {
            return Err(Broken);
        };
        let (answer, answered) = oneshot::channel();
        self.send(
            cache,
            message,
            Waiter {
                expect,
                asked_at: clock::now(),
                answer,
            },
        )
        .await?;
        answered.await.map_err(|_| Broken)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.waiting.lock().broken
    }

    /// Ends the connection, on both sides.
    pub(crate) fn close(&self) {
        // A socket that is not connected any more is closed already.
        let _ = self.socket.shutdown();
    }

    async fn send(&self, cache: &Cache, message: &mut v1::ClientMessage, waiter: Waiter) -> Result<(), Broken> {
        let mut buffer = self.sending.lock().await;
        if matches!(message.request, Some(Request::Acquire(_))) {
            self.send_forgets(cache, &mut buffer).await?;
        }
        message.correlation_id = self.await_answer(waiter)?;
        let sent = match encode(message, &mut buffer) {
            Ok(()) => self.socket.send(&buffer).await.map_err(|_| Broken),
            Err(error) => {
                self.answer(message.correlation_id, |waiter| {
                    // Nobody is there any more who wants to know.
                    let _ = waiter.answer.send(Err(error));
                });
                return Ok(());
            }
        };
        if sent.is_err() {
            self.close();
            self.break_off();
        }
        sent
    }

    /// Tells the server which descriptors are gone, so that the lease that is asked for next comes with one again.
    async fn send_forgets(&self, cache: &Cache, buffer: &mut Vec<u8>) -> Result<(), Broken> {
        loop {
            let ids = cache.forgets();
            if ids.is_empty() {
                return Ok(());
            }
            let request = Request::Forget(v1::ForgetRequest {
                container_ids: ids.clone(),
            });
            // Nobody waits for the answer: the order of the messages is all that matters.
            let message = v1::ClientMessage {
                correlation_id: self.next_id(),
                request: Some(request),
            };
            encode(&message, buffer).map_err(|_| Broken)?;
            self.socket.send(buffer).await.map_err(|_| Broken)?;
            cache.forgets_told(&ids);
        }
    }

    fn next_id(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.last_id += 1;
        waiting.last_id
    }

    fn await_answer(&self, waiter: Waiter) -> Result<u64, Broken> {
        let mut waiting = self.waiting.lock();
        if waiting.broken {
            return Err(Broken);
        }
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.waiters.insert(id, waiter);
        Ok(id)
    }

    fn answer(&self, id: u64, give: impl FnOnce(Waiter)) {
        let waiter = self.waiting.lock().waiters.remove(&id);
        if let Some(waiter) = waiter {
            give(waiter);
        }
    }

    fn break_off(&self) {
        let mut waiting = self.waiting.lock();
        waiting.broken = true;
        let waiters = std::mem::take(&mut waiting.waiters);
        drop(waiting);
        drop(waiters);
    }
}

fn encode(message: &v1::ClientMessage, buffer: &mut Vec<u8>) -> Result<()> {
    if message.encoded_len() > limits::MESSAGE_SIZE_MAX {
        return Err(Error::invalid(
            Reason::BadSize,
            format!("the request is larger than {} bytes", limits::MESSAGE_SIZE_MAX),
        ));
    }
    buffer.clear();
    message
        .encode(buffer)
        .map_err(|error| Error::new(Reason::Internal, "cannot encode the request").source(error))
}

/// Reads answers and notices until the connection ends, then wakes everybody who still waits.
pub(crate) async fn read(link: Arc<Link>, session: Arc<Session>) {
    let mut buffer = vec![0; limits::MESSAGE_SIZE_MAX];
    let mut fds: Vec<OwnedFd> = Vec::new();
    loop {
        // A message that lost its descriptors is an error too: its answer is gone, so the connection must end.
        let Ok(Some(len)) = link.socket.recv(&mut buffer, &mut fds).await else {
            break;
        };
        let Ok(message) = v1::ServerMessage::decode(&buffer[..len]) else {
            break;
        };
        let fds = fds.drain(..).map(Some).collect();
        if message.correlation_id == 0 {
            intake::notice(&session, message);
        } else {
            // An id that nobody waits for answers a message whose answer does not matter.
            link.answer(message.correlation_id, |waiter| {
                intake::answer(&session, waiter, message, fds);
            });
            let_others_run().await;
        }
    }
    link.close();
    link.break_off();
}

/// Lets the caller that was just answered go on before the socket is looked at again, which most likely is empty. (Tokio's
/// `yield_now` would ask the kernel for events first.)
async fn let_others_run() {
    let mut ran = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut ran, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
