//! One session: greet, then read requests until the connection ends.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use payload_core::{Container, Error, Namespace, PayloadId, Reason, Result, SessionId, Span, limits};
use payload_engine::{AcquireOptions, Engine, Grant, Holder};
use payload_proto::convert::{self, batch, id, namespace, optional};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_socket::Seqpacket;
use prost::Message;

use super::answer::{Answer, Ticket};
use super::outbox::Outbox;
use crate::calls::{Calls, Rpc};
use crate::wire;

/// Contents in one answer take at most this much together, so that the message stays below its limit.
const CONTENT_MAX: u64 = 96 << 10;
/// Payloads for whose commits one session may wait at once.
const WAITS_MAX: usize = 1_024;

const _: () = assert!(CONTENT_MAX >= limits::INLINE_SIZE_MAX && (CONTENT_MAX as usize) < limits::MESSAGE_SIZE_MAX);

// The largest batch has its places once it is alone.
const _: () = assert!(limits::BATCH_ITEMS_MAX <= limits::SESSION_REQUESTS_MAX);

/// A greeted client.
pub(super) struct Session {
    pub(super) calls: Calls,
    pub(super) holder: Arc<Holder>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) slow: Arc<InFlight>,
    pub(super) waits: Arc<InFlight>,
}

/// Calls that are not answered yet, an acquire with as many as it has items: each may bring a descriptor, and those of
/// answers that the client does not read pile up here.
#[derive(Default)]
pub(super) struct InFlight {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One of them, and how many it counts for.
struct Flight(Arc<InFlight>, usize);

impl Session {
    pub(super) fn new(calls: Calls, holder: Arc<Holder>, outbox: Arc<Outbox>) -> Self {
        Self {
            calls,
            holder,
            outbox,
            slow: Arc::default(),
            waits: Arc::default(),
        }
    }

    /// Reads and answers until the client is gone.
    pub(super) fn run(&self, connection: &Seqpacket, incoming: &mut [u8], outgoing: &mut Vec<u8>) {
        let mut fds = Vec::new();
        loop {
            let len = match connection.recv(incoming, &mut fds) {
                Ok(Some(len)) => len,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, session = ?self.holder.session, "closing a session");
                    return;
                }
            };
            // Clients have no descriptors to give; whatever they sent is closed.
            fds.clear();
            match v1::ClientMessage::decode(&incoming[..len]) {
                Ok(message) => self.dispatch(message, outgoing),
                Err(error) => {
                    tracing::warn!(%error, holder = ?self.holder, "closing a session whose client sends malformed messages");
                    return;
                }
            }
            self.outbox.wait_drained();
        }
    }

    fn dispatch(&self, message: v1::ClientMessage, buffer: &mut Vec<u8>) {
        let ticket = |rpc| self.ticket(message.correlation_id, rpc);
        match message.request {
            Some(Request::Acquire(request)) => self.acquire(ticket(Rpc::Acquire), &request, buffer),
            Some(Request::Release(request)) => ticket(Rpc::Release).answer(self.release(&request), buffer),
            Some(Request::Renew(request)) => ticket(Rpc::Renew).answer(self.renew(&request), buffer),
            Some(Request::Forget(request)) => {
                ticket(Rpc::Release).answer(self.forget(&request), buffer);
            }
            Some(Request::Put(request)) => self.slowly(ticket(Rpc::Put), buffer, move |engine, holder| {
                let row = engine.put(holder, &wire::put(request)?)?;
                Ok(Response::Put(v1::PutResponse {
                    payload: Some((&*row).into()),
                })
                .into())
            }),
            Some(Request::Allocate(request)) => self.slowly(ticket(Rpc::Allocate), buffer, move |engine, holder| {
                let allocation = engine.allocate(holder, &wire::allocate(&request)?)?;
                let mut answer = Answer::default();
                answer.response = Some(Response::Allocate(wire::allocation(allocation, &mut answer.fds)));
                Ok(answer)
            }),
            Some(Request::Commit(request)) => {
                // The server's own copy of the writer's descriptor would refuse the commit.
                self.outbox.settle();
                self.slowly(ticket(Rpc::Commit), buffer, move |engine, holder| {
                    let row = engine.commit(holder, &wire::commit(&request)?)?;
                    Ok(Response::Commit(v1::CommitResponse {
                        payload: Some((&*row).into()),
                    })
                    .into())
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
                ticket(Rpc::Acquire).answer(Err(error), buffer);
            }
            None => {
                let error = Error::invalid(
                    Reason::BadRequest,
                    "the message holds no request that this server knows",
                );
                ticket(Rpc::Acquire).answer(Err(error), buffer);
            }
        }
    }

    fn ticket(&self, correlation_id: u64, rpc: Rpc) -> Ticket {
        Ticket::new(correlation_id, rpc, &self.calls, &self.holder, &self.outbox)
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
    fn slowly_counted(
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

    /// Grants what needs no I/O here and now; if anything is left, the whole rest goes to the pool.
    fn acquire(&self, ticket: Ticket, request: &v1::AcquireRequest, buffer: &mut Vec<u8>) {
        let mut asked = match wire::acquire(request) {
            Ok(asked) => asked,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        let engine = &*self.calls.engine;
        let mut batch = Batch::new(std::mem::take(&mut asked.ids), asked.options);
        while let Some((payload, options)) = batch.next() {
            match engine.acquire_quick(&self.holder, &asked.namespace, payload, options) {
                Some(Err(error)) if error.reason() == Reason::PayloadNotCommitted && !asked.wait.is_zero() => {
                    batch.put_off();
                }
                Some(result) => batch.push(result),
                None => batch.put_off(),
            }
        }
        if batch.is_complete() {
            return ticket.answer(Ok(batch.into_answer()), buffer);
        }
        if asked.wait.is_zero() {
            let namespace = asked.namespace;
            return self.slowly_counted(batch.items.len(), ticket, buffer, move |engine, holder| {
                batch.finish(|payload, options| engine.acquire(holder, &namespace, payload, options));
                Ok(batch.into_answer())
            });
        }
        self.acquire_waiting(ticket, batch, asked.namespace, asked.wait, buffer);
    }

    /// Waits for commits one after the other, without holding a thread: the total wait is bounded by the items' own.
    fn acquire_waiting(&self, ticket: Ticket, batch: Batch, namespace: Namespace, wait: Span, buffer: &mut Vec<u8>) {
        let Some(flight) = InFlight::enter(&self.waits, batch.items.len(), WAITS_MAX) else {
            let error = Error::new(
                Reason::Overloaded,
                format!("a session waits for at most {WAITS_MAX} commits at once"),
            );
            return ticket.answer(Err(error.retry_after(Span::from_millis(100))), buffer);
        };
        let place = match self.calls.place() {
            Ok(place) => place,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        let deadline = self.calls.now().after(wait);
        let waiting = Waiting {
            ticket,
            batch,
            namespace,
            deadline,
            _flight: flight,
        };
        self.calls.spawn(place, move |engine| waiting.go_on(engine));
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

fn reclaim(engine: &Engine, holder: &Arc<Holder>, request: &v1::ReclaimRequest) -> Result<Answer> {
    let items = request.leases.len() + request.allocations.len();
    if items > limits::BATCH_ITEMS_MAX {
        return Err(Error::invalid(
            Reason::BadRequest,
            format!("a reclaim has at most {} items", limits::BATCH_ITEMS_MAX),
        ));
    }
    let namespace = namespace(&request.namespace)?;
    let session: Option<SessionId> = optional(&request.session_id)?;
    let mut answer = Answer::default();
    let mut response = v1::ReclaimResponse::default();
    for claim in &request.leases {
        let grant = session
            .ok_or_else(|| Error::invalid(Reason::BadId, "leases are reclaimed for a session").field("session_id"))
            .and_then(|session| engine.check_resumable(holder, session))
            .and_then(|()| engine.reclaim_lease(holder, &namespace, wire::lease_claim(claim)?));
        response
            .leases
            .push(wire::acquired(grant, &mut answer.fds, &mut answer.sent));
    }
    for claim in &request.allocations {
        let allocation =
            wire::allocation_claim(claim).and_then(|claim| engine.reclaim_allocation(holder, &namespace, claim));
        let result = match allocation {
            Ok(allocation) => {
                v1::reclaimed_allocation::Result::Allocation(wire::allocation(allocation, &mut answer.fds))
            }
            Err(error) => v1::reclaimed_allocation::Result::Failure(payload_proto::status::to_failure(&error)),
        };
        response
            .allocations
            .push(v1::ReclaimedAllocation { result: Some(result) });
    }
    answer.response = Some(Response::Reclaim(response));
    Ok(answer)
}

/// The items of an acquire with their results so far.
struct Batch {
    items: Vec<Item>,
    position: usize,
    options: AcquireOptions,
    content_left: u64,
}

enum Item {
    Open(PayloadId),
    Done(Result<Grant>),
}

impl Batch {
    fn new(ids: Vec<Result<PayloadId>>, options: AcquireOptions) -> Self {
        let items = ids
            .into_iter()
            .map(|id| id.map_or_else(|error| Item::Done(Err(error)), Item::Open))
            .collect();
        Self {
            items,
            position: 0,
            options,
            content_left: CONTENT_MAX,
        }
    }

    /// The next item without a result, with how much content it may bring.
    fn next(&mut self) -> Option<(PayloadId, AcquireOptions)> {
        while let Some(item) = self.items.get(self.position) {
            if let Item::Open(payload) = item {
                let inline_max = self.options.inline_max.min(self.content_left);
                return Some((
                    *payload,
                    AcquireOptions {
                        inline_max,
                        ..self.options
                    },
                ));
            }
            self.position += 1;
        }
        None
    }

    fn push(&mut self, result: Result<Grant>) {
        if let Ok(Grant {
            access: payload_engine::Access::Content(content),
            ..
        }) = &result
        {
            self.content_left = self.content_left.saturating_sub(content.len() as u64);
        }
        self.items[self.position] = Item::Done(result);
        self.position += 1;
    }

    fn put_off(&mut self) {
        self.position += 1;
    }

    fn is_complete(&self) -> bool {
        self.items.iter().all(|item| matches!(item, Item::Done(_)))
    }

    /// Gives every item that was put off its result.
    fn finish(&mut self, mut acquire: impl FnMut(PayloadId, AcquireOptions) -> Result<Grant>) {
        self.position = 0;
        while let Some((payload, options)) = self.next() {
            let result = acquire(payload, options);
            self.push(result);
        }
    }

    fn into_answer(self) -> Answer {
        let mut answer = Answer::default();
        let mut results = Vec::with_capacity(self.items.len());
        for item in self.items {
            let result = match item {
                Item::Done(result) => result,
                Item::Open(_) => Err(Error::new(Reason::Internal, "an item of a batch was not answered")),
            };
            results.push(wire::acquired(result, &mut answer.fds, &mut answer.sent));
        }
        answer.response = Some(Response::Acquire(v1::AcquireResponse { results }));
        answer
    }
}

/// An acquire that waits for commits.
struct Waiting {
    ticket: Ticket,
    batch: Batch,
    namespace: Namespace,
    deadline: payload_core::Instant,
    _flight: Flight,
}

impl Waiting {
    /// Asks for the next item; goes on in whatever thread has its answer.
    fn go_on(mut self, engine: &Engine) {
        self.batch.position = 0;
        let Some((payload, options)) = self.batch.next() else {
            return self.ticket.answer(Ok(self.batch.into_answer()), &mut Vec::new());
        };
        let (holder, namespace) = (Arc::clone(&self.ticket.holder), self.namespace.clone());
        let left = self.deadline.since(engine.clock().now());
        engine.acquire_when_committed(&holder, &namespace, payload, options, left, move |result| {
            self.batch.push(result);
            let calls = self.ticket.calls.clone();
            self.go_on(&calls.engine);
        });
    }
}

impl InFlight {
    /// Waits until `more` fit below `max`, of which they are no more.
    fn wait_for_places(this: &Arc<Self>, more: usize, max: usize) -> Flight {
        let mut count = this.count.lock();
        while *count + more > max {
            this.fewer.wait(&mut count);
        }
        *count += more;
        Flight(Arc::clone(this), more)
    }

    /// So many more, unless there were more than `max` then.
    fn enter(this: &Arc<Self>, more: usize, max: usize) -> Option<Flight> {
        let mut count = this.count.lock();
        if *count + more > max {
            return None;
        }
        *count += more;
        Some(Flight(Arc::clone(this), more))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        *self.0.count.lock() -= self.1;
        self.0.fewer.notify_one();
    }
}
