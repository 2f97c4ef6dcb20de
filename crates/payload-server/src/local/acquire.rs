//! Acquire over the local socket: what needs no I/O is granted by the session's own thread.

use std::sync::Arc;

use payload_core::{Error, Namespace, PayloadRef, Reason, Result, Span, limits};
use payload_engine::{AcquireOptions, Engine, Grant};
use payload_proto::v1;
use payload_proto::v1::server_message::Response;

use super::answer::{Answer, Ticket};
use super::in_flight::{Flight, InFlight};
use super::session::Session;
use crate::wire;

/// Contents in one answer take at most this much together, so that the message stays below its limit.
const CONTENT_MAX: u64 = 96 << 10;
/// Payloads for whose commits one session may wait at once.
const WAITS_MAX: usize = 1_024;

const _: () = assert!(CONTENT_MAX >= limits::INLINE_SIZE_MAX && (CONTENT_MAX as usize) < limits::MESSAGE_SIZE_MAX);

// The largest batch has its places once it is alone.
const _: () = assert!(limits::BATCH_ITEMS_MAX <= limits::SESSION_REQUESTS_MAX);

impl Session {
    /// Grants what needs no I/O here and now; if anything is left, the whole rest goes to the pool.
    pub(super) fn acquire(&self, ticket: Ticket, request: &v1::AcquireRequest, buffer: &mut Vec<u8>) {
        let mut asked = match wire::acquire(request) {
            Ok(asked) => asked,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        let engine = &*self.calls.engine;
        let mut batch = Batch::new(std::mem::take(&mut asked.payloads), asked.options);
        while let Some((payload, options)) = batch.next() {
            let quick = match payload {
                PayloadRef::Id(id) => engine.acquire_quick(&self.holder, &asked.namespace, id, options),
                // Where a name points is asked of the repository.
                PayloadRef::Name(_) => None,
            };
            match quick {
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
                batch.finish(|payload, options| {
                    let id = engine.resolve(&namespace, &payload)?;
                    engine.acquire(holder, &namespace, id, options)
                });
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
}

/// The items of an acquire with their results so far.
struct Batch {
    items: Vec<Item>,
    position: usize,
    options: AcquireOptions,
    content_left: u64,
}

enum Item {
    Open(PayloadRef),
    Done(Result<Grant>),
}

impl Batch {
    fn new(payloads: Vec<Result<PayloadRef>>, options: AcquireOptions) -> Self {
        let items = payloads
            .into_iter()
            .map(|payload| payload.map_or_else(|error| Item::Done(Err(error)), Item::Open))
            .collect();
        Self {
            items,
            position: 0,
            options,
            content_left: CONTENT_MAX,
        }
    }

    /// The next item without a result, with how much content it may bring.
    fn next(&mut self) -> Option<(PayloadRef, AcquireOptions)> {
        while let Some(item) = self.items.get(self.position) {
            if let Item::Open(payload) = item {
                let inline_max = self.options.inline_max.min(self.content_left);
                return Some((
                    payload.clone(),
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
    fn finish(&mut self, mut acquire: impl FnMut(PayloadRef, AcquireOptions) -> Result<Grant>) {
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
