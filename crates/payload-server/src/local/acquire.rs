//! Acquire over the local socket: what needs no I/O is granted by the session's own thread.

use std::sync::Arc;

use payload_core::{Error, Namespace, Reason, Span, limits};
use payload_engine::Engine;
use payload_proto::v1;
use payload_proto::v1::server_message::Response;

use super::answer::{Answer, Ticket};
use super::batch::Batch;
use super::in_flight::{Flight, InFlight};
use super::session::Session;
use crate::wire;

/// Payloads for whose commits one session may wait at once.
const WAITS_MAX: usize = 1_024;

// The largest batch has its places once it is alone.
const _: () = assert!(limits::BATCH_ITEMS_MAX <= limits::SESSION_REQUESTS_MAX);

impl Session {
    /// Grants what needs no I/O here and now; if anything is left, the whole rest goes to the pool.
    pub(super) fn acquire(&self, ticket: Ticket, request: &v1::AcquireRequest, buffer: &mut Vec<u8>) {
        let mut asked = match wire::acquire(request) {
            Ok(asked) => asked,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        let mut batch = Batch::new(std::mem::take(&mut asked.payloads), asked.options);
        batch.grant_quickly(&self.calls.engine, &self.holder, &asked.namespace, |error| {
            error.reason() == Reason::PayloadNotCommitted && !asked.wait.is_zero()
        });
        if batch.is_complete() {
            return ticket.answer(Ok(answer(batch)), buffer);
        }
        if asked.wait.is_zero() {
            let namespace = asked.namespace;
            return self.slowly_counted(batch.len(), ticket, buffer, move |engine, holder| {
                batch.finish(engine, holder, &namespace);
                Ok(answer(batch))
            });
        }
        self.acquire_waiting(ticket, batch, asked.namespace, asked.wait, buffer);
    }

    /// Waits for commits one after the other, without holding a thread: the total wait is bounded by the items' own.
    fn acquire_waiting(&self, ticket: Ticket, batch: Batch, namespace: Namespace, wait: Span, buffer: &mut Vec<u8>) {
        let Some(flight) = InFlight::enter(&self.waits, batch.len(), WAITS_MAX) else {
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
}

/// What the items have come to.
fn answer(batch: Batch) -> Answer {
    let mut answer = Answer::default();
    let results = batch.into_results(&mut answer);
    answer.response = Some(Response::Acquire(v1::AcquireResponse { results }));
    answer
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
        let Some((payload, options)) = self.batch.first_open() else {
            return self.ticket.answer(Ok(answer(self.batch)), &mut Vec::new());
        };
        let (holder, namespace) = (Arc::clone(&self.ticket.holder), self.namespace.clone());
        let left = self.ticket.calls.left(self.deadline);
        let id = match engine.resolve(&namespace, &payload) {
            Ok(id) => id,
            Err(error) => {
                self.batch.push(Err(error));
                return self.go_on(engine);
            }
        };
        engine.acquire_when_committed(&holder, &namespace, id, options, left, move |result| {
            self.batch.push(result);
            let calls = self.ticket.calls.clone();
            self.go_on(&calls.engine);
        });
    }
}
