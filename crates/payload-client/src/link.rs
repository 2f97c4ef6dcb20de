//! One connection to the local socket: requests go out from any task, and whoever waits reads the answers.

use std::sync::Arc;

use payload_core::{Error, Reason, Result, Span, limits};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_socket::Seqpacket;
use prost::Message;
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::clock;
use crate::intake::{Answer, Expect};
use crate::lookout::{Lookout, Reply};
use crate::options::Patience;
use crate::session::Session;
use crate::socket::Socket;
use crate::subscriptions::Subscriptions;
use crate::waiters::{Broken, Question, Waiters};

/// A timeout of zero would mean none.
const SHORTEST_BLOCK: Span = Span::from_millis(1);

/// A connection, from its first message to its end.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    pub(crate) waiters: Waiters,
    pub(crate) lookout: Lookout,
    pub(crate) subscriptions: Subscriptions,
    /// Held while a message is sent, so that messages keep their order; the buffer is used again and again.
    sending: tokio::sync::Mutex<Vec<u8>>,
    in_flight: Semaphore,
}

impl Link {
    pub(crate) fn new(socket: Seqpacket, patience: Patience) -> std::io::Result<Arc<Self>> {
        if let Patience::Block(longest) = patience {
            socket.set_recv_timeout(Some(longest.max(SHORTEST_BLOCK)))?;
        }
        Ok(Arc::new(Self {
            socket: Socket::new(socket)?,
            waiters: Waiters::default(),
            lookout: Lookout::default(),
            subscriptions: Subscriptions::default(),
            sending: tokio::sync::Mutex::default(),
            in_flight: Semaphore::new(limits::SESSION_REQUESTS_MAX),
        }))
    }

    /// Sends a request and waits for its answer. If the caller stops waiting, the answer is taken in all the same:
    /// what it grants is given back.
    pub(crate) async fn call(
        &self,
        session: &Session,
        message: &mut v1::ClientMessage,
        expect: Expect,
    ) -> Result<Result<Answer>, Broken> {
        let Ok(_permit) = self.in_flight.acquire().await else {
            return Err(Broken);
        };
        let question = Question {
            expect,
            asked_at: clock::now(),
        };
        match self.send(&session.cache, message, question).await? {
            Ok(id) => Reply::new(self, session, id, self.patience(session)).await,
            Err(error) => Ok(Err(error)),
        }
    }

    /// Sends a message that is not answered. Leases that come after it come with the descriptors that are gone here.
    pub(crate) async fn say(&self, cache: &Cache, request: Request) -> Result<(), Broken> {
        let mut buffer = self.sending.lock().await;
        self.send_forgets(cache, &mut buffer).await?;
        self.send_unanswered(request, &mut buffer).await
    }

    /// Whoever is not alone here must not keep its thread: the others may need it.
    fn patience(&self, session: &Session) -> Patience {
        let alone = self.in_flight.available_permits() + 1 == limits::SESSION_REQUESTS_MAX;
        if alone {
            session.options.patience
        } else {
            Patience::Yield
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.waiters.are_broken()
    }

    /// The connection has ended, or is of no use any more.
    pub(crate) fn give_up(&self) {
        self.close();
        self.waiters.break_off();
        self.subscriptions.break_off();
    }

    /// Ends the connection, on both sides.
    pub(crate) fn close(&self) {
        // A socket that is not connected any more is closed already.
        let _ = self.socket.shutdown();
    }

    /// Sends a question and says under which id its answer will come, or why the question cannot be asked.
    async fn send(
        &self,
        cache: &Cache,
        message: &mut v1::ClientMessage,
        question: Question,
    ) -> Result<Result<u64>, Broken> {
        let mut buffer = self.sending.lock().await;
        if matches!(message.request, Some(Request::Acquire(_))) {
            self.send_forgets(cache, &mut buffer).await?;
        }
        let entry = self.waiters.enter(question)?;
        message.correlation_id = entry.id();
        if let Err(error) = encode(message, &mut buffer) {
            return Ok(Err(error));
        }
        if self.socket.send(&buffer).await.is_err() {
            self.give_up();
            return Err(Broken);
        }
        Ok(Ok(entry.sent()))
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
            self.send_unanswered(request, buffer).await?;
            cache.forgets_told(&ids);
        }
    }

    async fn send_unanswered(&self, request: Request, buffer: &mut Vec<u8>) -> Result<(), Broken> {
        let message = v1::ClientMessage {
            correlation_id: self.waiters.next_id(),
            request: Some(request),
        };
        encode(&message, buffer).map_err(|_| Broken)?;
        self.socket.send(buffer).await.map_err(|_| Broken)
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
