//! One session: greet, then read requests until the connection ends.

use std::sync::Arc;
use std::time::Duration;

use payload_core::{Container, Error, Reason, Result, limits};
use payload_engine::{Engine, Holder};
use payload_proto::convert::{self, batch, id, namespace, optional};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_socket::Seqpacket;
use prost::Message;

use super::answer::{Answer, Ticket};
use super::in_flight::InFlight;
use super::outbox::Outbox;
use super::reclaim::reclaim;
use super::subscribe::Subscriptions;
use crate::calls::{Calls, Rpc};
use crate::subscribe::Desk;
use crate::wire;

/// A greeted client.
pub(super) struct Session {
    pub(super) calls: Calls,
    pub(super) holder: Arc<Holder>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) slow: Arc<InFlight>,
    pub(super) waits: Arc<InFlight>,
    pub(super) desk: Desk,
    pub(super) subscriptions: Arc<Subscriptions>,
}

/// Who works on a call.
#[derive(Clone, Copy, Debug)]
enum Thread {
    /// The one that has read it.
    This,
    /// One that may wait.
    OfPool,
}

impl Session {
    pub(super) fn new(desk: Desk, holder: Arc<Holder>, outbox: Arc<Outbox>) -> Self {
        Self {
            calls: desk.calls.clone(),
            desk,
            holder,
            outbox,
            slow: Arc::default(),
            waits: Arc::default(),
            subscriptions: Arc::default(),
        }
    }

    /// Reads and answers until the client is gone.
    pub(super) fn run(&self, connection: &Seqpacket, incoming: &mut [u8], outgoing: &mut Vec<u8>) {
        loop {
            // Clients have no descriptors to give.
            let len = match connection.recv_bytes(incoming) {
                Ok(Some(len)) => len,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, session = ?self.holder.session, "closing a session");
                    return;
                }
            };
            match v1::ClientMessage::decode(&incoming[..len]) {
                Ok(message) => self.dispatch(connection, message, outgoing),
                Err(error) => {
                    tracing::warn!(%error, holder = ?self.holder, "closing a session whose client sends malformed messages");
                    return;
                }
            }
            self.outbox.wait_drained();
        }
    }

    fn dispatch(&self, connection: &Seqpacket, message: v1::ClientMessage, buffer: &mut Vec<u8>) {
        let ticket = |rpc| self.ticket(message.correlation_id, rpc);
        let thread = self.thread_for(connection, message.request.as_ref());
        match message.request {
            Some(Request::Acquire(request)) => self.acquire(ticket(Rpc::Acquire), &request, buffer),
            Some(Request::Release(request)) => ticket(Rpc::Release).answer(self.release(&request), buffer),
            Some(Request::Renew(request)) => ticket(Rpc::Renew).answer(self.renew(&request), buffer),
            Some(Request::Forget(request)) => ticket(Rpc::Forget).answer(self.forget(&request), buffer),
            Some(Request::Acknowledge(request)) => self.acknowledge(&request),
            Some(Request::OpenSubscription(request)) => {
                self.open_subscription(ticket(Rpc::Subscribe), &request, buffer);
            }
            Some(Request::CloseSubscription(request)) => {
                let answer = self.close_subscription(&request);
                ticket(Rpc::CloseSubscription).answer(Ok(answer), buffer);
            }
            Some(Request::Put(request)) => self.answer_in(thread, ticket(Rpc::Put), buffer, move |engine, holder| {
                let published = engine.publish_small(holder, &wire::put(request)?)?;
                Ok(Response::Put(wire::put_done(&published)).into())
            }),
            Some(Request::Allocate(request)) => {
                self.answer_in(thread, ticket(Rpc::Allocate), buffer, move |engine, holder| {
                    let allocation = engine.allocate(holder, &wire::allocate(&request)?)?;
                    let mut answer = Answer::default();
                    answer.response = Some(Response::Allocate(wire::allocation(
                        allocation,
                        &mut answer.fds,
                        &mut answer.sent,
                    )));
                    Ok(answer)
                });
            }
            Some(Request::Commit(request)) => {
                // The server's own copy of the writer's descriptor would refuse the commit.
                self.outbox.settle();
                self.answer_in(thread, ticket(Rpc::Commit), buffer, move |engine, holder| {
                    let published = engine.publish(holder, &wire::commit(&request)?)?;
                    Ok(Response::Commit(wire::committed(&published)).into())
                });
            }
            Some(Request::Abort(request)) => self.slowly(ticket(Rpc::Abort), buffer, move |engine, holder| {
                let reason = payload_core::name::reason(&request.reason)?;
                let token = optional(&request.allocation_token)?;
                engine.abort(
                    holder,
                    &namespace(&request.namespace)?,
                    id(&request.payload_id)?,
                    token,
                    reason,
                )?;
                Ok(Response::Abort(v1::AbortResponse {}).into())
            }),
            Some(Request::Reclaim(request)) => self.slowly(ticket(Rpc::Reclaim), buffer, move |engine, holder| {
                reclaim(engine, holder, &request)
            }),
            Some(Request::Hello(_)) => {
                let error = Error::invalid(Reason::BadRequest, "the session has been greeted already");
                ticket(Rpc::Unknown).answer(Err(error), buffer);
            }
            None => {
                let error = Error::invalid(
                    Reason::BadRequest,
                    "the message holds no request that this server knows",
                );
                ticket(Rpc::Unknown).answer(Err(error), buffer);
            }
        }
    }

    fn ticket(&self, correlation_id: u64, rpc: Rpc) -> Ticket {
        Ticket::new(correlation_id, rpc, &self.calls, &self.holder, &self.outbox)
    }

    /// Where a call is worked on. This thread does what takes no time to speak of, unless there is something else that it
    /// could do meanwhile: calls that come together share a sync.
    fn thread_for(&self, connection: &Seqpacket, request: Option<&Request>) -> Thread {
        let engine = &self.calls.engine;
        let is_short = match request {
            Some(Request::Put(request)) => {
                let asks_bucket =
                    request.tier() == v1::Tier::Object || request.durability() == v1::Durability::ObjectStorage;
                !asks_bucket && engine.makes_at_once(request.content.len() as u64)
            }
            Some(Request::Allocate(request)) => {
                request.tier() != v1::Tier::Object && engine.makes_at_once(request.size)
            }
            Some(Request::Commit(request)) => id(&request.payload_id).is_ok_and(|id| engine.commits_at_once(id)),
            _ => false,
        };
        let has_more = || connection.wait_readable(Some(Duration::ZERO)).unwrap_or(true);
        match is_short && self.slow.is_idle() && !has_more() {
            true => Thread::This,
            false => Thread::OfPool,
        }
    }

    fn answer_in(
        &self,
        thread: Thread,
        ticket: Ticket,
        buffer: &mut Vec<u8>,
        work: impl FnOnce(&Engine, &Arc<Holder>) -> Result<Answer> + Send + 'static,
    ) {
        match thread {
            Thread::This => {
                let result = self
                    .calls
                    .place()
                    .and_then(|_place| work(&self.calls.engine, &self.holder));
                ticket.answer(result, buffer);
            }
            Thread::OfPool => self.slowly(ticket, buffer, work),
        }
    }

    /// Answers from the pool of slow calls. Reading stops while this session has too many there.
    fn slowly(
        &self,
        ticket: Ticket,
        buffer: &mut Vec<u8>,
        work: impl FnOnce(&Engine, &Arc<Holder>) -> Result<Answer> + Send + 'static,
    ) {
        self.slowly_counted(1, ticket, buffer, work);
    }

    /// The same for a call that counts for several.
    pub(super) fn slowly_counted(
        &self,
        count: usize,
        ticket: Ticket,
        buffer: &mut Vec<u8>,
        work: impl FnOnce(&Engine, &Arc<Holder>) -> Result<Answer> + Send + 'static,
    ) {
        let flight = InFlight::wait_for_places(&self.slow, count, limits::SESSION_REQUESTS_MAX);
        let place = match self.calls.place() {
            Ok(place) => place,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        self.calls.spawn(place, move |engine| {
            let result = work(engine, &Arc::clone(&ticket.holder));
            ticket.answer(result, &mut Vec::new());
            drop(flight);
        });
    }

    fn release(&self, request: &v1::ReleaseRequest) -> Result<Answer> {
        batch(&request.lease_ids, "lease_ids")?;
        let release = |text: &String| self.calls.engine.release(&self.holder, id(text)?);
        let results = request
            .lease_ids
            .iter()
            .map(|text| wire::released(release(text)))
            .collect();
        Ok(Response::Release(v1::ReleaseResponse { results }).into())
    }

    fn renew(&self, request: &v1::RenewRequest) -> Result<Answer> {
        batch(&request.leases, "leases")?;
        let namespace = namespace(&request.namespace)?;
        let renew = |lease| {
            let (lease, _) = wire::renewal(lease)?;
            self.calls
                .engine
                .renew(&self.holder, &namespace, lease, None, convert::span(request.ttl_ms))
        };
        let results = request.leases.iter().map(|lease| wire::renewed(renew(lease))).collect();
        Ok(Response::Renew(v1::RenewResponse { results }).into())
    }

    fn forget(&self, request: &v1::ForgetRequest) -> Result<Answer> {
        batch(&request.container_ids, "container_ids")?;
        let mut containers: Vec<Container> = Vec::with_capacity(2 * request.container_ids.len());
        for text in &request.container_ids {
            containers.extend(convert::container(text)?);
        }
        self.holder.forget(&containers);
        Ok(Response::Forget(v1::ForgetResponse {}).into())
    }
}
