//! Subscribe over the local socket: an entry comes as a notice, together with a lease on its payload if that is wanted.
//!
//! What is pushed must not stand in the way of the session's other messages. So a message of a subscription is sent only when it
//! fits into the socket at once, by one subscription of the session after the other; the rest waits in the repository.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use payload_core::stream::Offset;
use payload_core::{Error, Namespace, PayloadRef, Reason, Result, Span, limits};
use payload_engine::{AcquireOptions, Grant, Holder, ReadPage};
use payload_proto::v1::notice::Notice;
use payload_proto::v1::server_message::Response;
use payload_proto::v1::subscription_notice::What;
use payload_proto::{status, v1};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot, watch};

use super::answer::{Answer, Ticket, notice_of};
use super::batch::{Batch, CONTENT_MAX};
use super::in_flight::InFlight;
use super::outbox::Outbox;
use super::session::Session;
use crate::calls::Calls;
use crate::subscribe::{End, Line, Open, Told};
use crate::wire;

/// Entries in one message.
const ENTRIES: usize = 100;
/// The same if each brings a lease: with all its tags and an error's text, such an entry takes a kilobyte besides its content.
const LEASED_ENTRIES: usize = 16;
/// How soon leases are asked for again when the server was too busy.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a commit that the catalog knows of may take to be known here.
const SHOWN_WITHIN: Span = Span::from_secs(10);

const _: () = assert!(CONTENT_MAX as usize + (LEASED_ENTRIES << 10) < limits::MESSAGE_SIZE_MAX);

/// The open subscriptions of a session. They end with it.
#[derive(Default)]
pub(super) struct Subscriptions {
    table: Mutex<Table>,
    /// Held by the one that is about to send: what it leases is for a client that can take it.
    turn: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct Table {
    /// By the number that the client gave them.
    open: HashMap<u64, Acknowledged>,
    /// Tells one of a number from the next one that gets the number.
    last_serial: u64,
}

/// What the client acknowledges. Dropping it ends the subscription.
struct Acknowledged {
    serial: u64,
    until: watch::Sender<Offset>,
}

/// The subscription's side of that; dropping it frees the number.
struct Seat {
    subscriptions: Weak<Subscriptions>,
    number: u64,
    serial: u64,
    acknowledged: watch::Receiver<Offset>,
}

impl Subscriptions {
    fn enter(self: &Arc<Self>, number: u64) -> Result<Seat> {
        let mut table = self.table.lock();
        if number == 0 || table.open.contains_key(&number) {
            let message = format!("a new subscription cannot have the number {number}");
            return Err(Error::invalid(Reason::BadRequest, message).field("subscription"));
        }
        let max = limits::SESSION_SUBSCRIPTIONS_MAX;
        if table.open.len() >= max {
            let message = format!("a session has at most {max} subscriptions");
            return Err(Error::new(Reason::TooManySubscriptions, message));
        }
        table.last_serial += 1;
        let serial = table.last_serial;
        let (until, acknowledged) = watch::channel(Offset::ZERO);
        table.open.insert(number, Acknowledged { serial, until });
        Ok(Seat {
            subscriptions: Arc::downgrade(self),
            number,
            serial,
            acknowledged,
        })
    }

    fn close(&self, number: u64) {
        self.table.lock().open.remove(&number);
    }

    fn acknowledge(&self, number: u64, offset: Offset) {
        if let Some(acknowledged) = self.table.lock().open.get(&number) {
            acknowledged.until.send_modify(|until| *until = offset.max(*until));
        }
    }
}

impl Seat {
    /// Does something that must not come after the client has heard that it closed the subscription; false if it has.
    fn while_open(&self, work: impl FnOnce(&mut Table)) -> bool {
        let Some(subscriptions) = self.subscriptions.upgrade() else {
            return false;
        };
        let mut table = subscriptions.table.lock();
        let is_open = table
            .open
            .get(&self.number)
            .is_some_and(|now| now.serial == self.serial);
        if is_open {
            work(&mut table);
        }
        is_open
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.while_open(|table| {
            table.open.remove(&self.number);
        });
    }
}

impl Session {
    pub(super) fn open_subscription(
        &self,
        ticket: Ticket,
        request: &v1::OpenSubscriptionRequest,
        buffer: &mut Vec<u8>,
    ) {
        let asked = match self.subscription(request) {
            Ok(asked) => asked,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        let flight = InFlight::wait_for_places(&self.slow, 1, limits::SESSION_REQUESTS_MAX);
        let places = self.desk.place().and_then(|of_desk| Ok((of_desk, self.calls.place()?)));
        let (place, slow_call) = match places {
            Ok(places) => places,
            Err(error) => return ticket.answer(Err(error), buffer),
        };
        let desk = self.desk.clone();
        self.calls.spawn(slow_call, move |engine| {
            let (open, line) = asked;
            match engine.stream(&open.stream) {
                Ok(row) => {
                    // What comes of it comes after the answer.
                    ticket.answer(
                        Ok(Response::OpenSubscription(v1::OpenSubscriptionResponse {}).into()),
                        &mut Vec::new(),
                    );
                    desk.start(place, open, &row, line);
                }
                Err(error) => {
                    drop(line);
                    ticket.answer(Err(error), &mut Vec::new());
                }
            }
            drop(flight);
        });
    }

    fn subscription(&self, request: &v1::OpenSubscriptionRequest) -> Result<(Open, Notices)> {
        let missing = || Error::invalid(Reason::BadRequest, "what to follow must be said").field("open");
        let open = Open::parse(request.open.as_ref().ok_or_else(missing)?)?;
        let leases = request.leases.as_ref().map(wire::entry_leases).transpose()?;
        let line = Notices {
            seat: self.subscriptions.enter(request.subscription)?,
            calls: self.calls.clone(),
            holder: Arc::clone(&self.holder),
            outbox: Arc::clone(&self.outbox),
            namespace: open.stream.namespace.clone(),
            leases,
            turn: Arc::clone(&self.subscriptions.turn),
            its_turn: None,
            buffer: Vec::new(),
        };
        Ok((open, line))
    }

    pub(super) fn close_subscription(&self, request: &v1::CloseSubscriptionRequest) -> Answer {
        self.subscriptions.close(request.subscription);
        Response::CloseSubscription(v1::CloseSubscriptionResponse {}).into()
    }

    pub(super) fn acknowledge(&self, request: &v1::Acknowledge) {
        let offset = Offset::from_u64(request.ack.map(|ack| ack.offset).unwrap_or_default());
        self.subscriptions.acknowledge(request.subscription, offset);
    }
}

/// What goes to one subscription's client.
struct Notices {
    seat: Seat,
    calls: Calls,
    holder: Arc<Holder>,
    outbox: Arc<Outbox>,
    namespace: Namespace,
    leases: Option<AcquireOptions>,
    turn: Arc<AsyncMutex<()>>,
    its_turn: Option<OwnedMutexGuard<()>>,
    buffer: Vec<u8>,
}

impl Line for Notices {
    fn entries_max(&self) -> usize {
        if self.leases.is_some() { LEASED_ENTRIES } else { ENTRIES }
    }

    async fn hear(&mut self) -> Option<Result<Offset>> {
        self.seat.acknowledged.changed().await.ok()?;
        Some(Ok(*self.seat.acknowledged.borrow_and_update()))
    }

    async fn ready(&mut self) -> Result<(), End> {
        if self.its_turn.is_none() {
            self.its_turn = Some(Arc::clone(&self.turn).lock_owned().await);
        }
        match self.outbox.drained(LEASED_ENTRIES).await {
            true => Ok(()),
            false => Err(End::Gone),
        }
    }

    async fn tell(&mut self, told: Told) -> Result<(), End> {
        let batch = match (&told, self.leases) {
            (Told::Entries(page), Some(options)) => Some(self.lease(page, options).await),
            _ => None,
        };
        let granted = batch.as_ref().map(Batch::leases).unwrap_or_default();
        let mut answer = Answer::default();
        let leases = batch.map_or_else(Vec::new, |batch| batch.into_results(&mut answer));
        let sent = self.send(What::Response(told.response()), leases, answer, |_| {});
        self.its_turn = None;
        if sent {
            return Ok(());
        }
        for lease in granted {
            // With the session all its leases have ended.
            let _ = self.calls.engine.release(&self.holder, lease);
        }
        Err(End::Gone)
    }

    async fn end(mut self, error: Error) {
        let (ended, number) = (What::Ended(status::to_failure(&error)), self.seat.number);
        // Whoever hears of it may use the number again.
        self.send(ended, Vec::new(), Answer::default(), |table| {
            table.open.remove(&number);
        });
    }
}

impl Notices {
    /// Leases on the payloads of a page's entries.
    async fn lease(&self, page: &ReadPage, options: AcquireOptions) -> Batch {
        let payloads = page.entries.iter().map(|read| Ok(PayloadRef::Id(read.entry.payload)));
        let mut batch = Batch::new(payloads.collect(), options);
        // What an entry names is committed, though whoever has committed it may not have come to say so here.
        batch.grant_quickly(&self.calls.engine, &self.holder, &self.namespace, |error| {
            error.reason() == Reason::PayloadNotCommitted
        });
        while let Some((payload, options)) = batch.first_open() {
            batch.push(self.lease_slowly(payload, options).await);
        }
        batch
    }

    /// The same for one that takes I/O, or is about to be committed.
    async fn lease_slowly(&self, payload: PayloadRef, options: AcquireOptions) -> Result<Grant> {
        let place = loop {
            match self.calls.place() {
                Ok(place) => break place,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let (holder, namespace) = (Arc::clone(&self.holder), self.namespace.clone());
        let (tell, told) = oneshot::channel();
        self.calls.spawn(place, move |engine| {
            let done = move |result| {
                // Nobody listens any more if the server stops; then the lease ends with its session.
                let _ = tell.send(result);
            };
            match engine.resolve(&namespace, &payload) {
                Ok(id) => engine.acquire_when_committed(&holder, &namespace, id, options, SHOWN_WITHIN, done),
                Err(error) => done(Err(error)),
            }
        });
        told.await
            .unwrap_or_else(|_| Err(Error::new(Reason::Internal, "the call panicked; see the server's log")))
    }

    /// Tells the client, unless it has closed the subscription.
    fn send(
        &mut self,
        what: What,
        leases: Vec<v1::AcquireResult>,
        mut answer: Answer,
        then: impl FnOnce(&mut Table),
    ) -> bool {
        let subscription = self.seat.number;
        answer.response = Some(notice_of(Notice::Subscription(v1::SubscriptionNotice {
            subscription,
            what: Some(what),
            leases,
        })));
        let Self {
            seat,
            outbox,
            holder,
            buffer,
            ..
        } = self;
        seat.while_open(|table| {
            answer.send(0, outbox, holder, buffer);
            then(table);
        })
    }
}
