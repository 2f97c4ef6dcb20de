//! Producers: entries that get into a stream once and in order, over breaks of the connection and restarts of the server.

use std::sync::Arc;

use payload_core::stream::{ProducerName, StreamName};
use payload_core::{Error, ErrorKind, Outcome, PayloadId, Reason, Result, limits};
use payload_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::backoff::Backoff;
use crate::clock;
use crate::streams::Streams;

/// Entries that are on their way, unless somebody chooses another number.
const IN_FLIGHT_USUAL: usize = 10_000;

/// What a producer is.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// The stream remembers it by this name: what is repeated is not appended twice.
    pub name: ProducerName,
    /// In which of its lives: a higher one shuts the lower ones out. The time at which it begins, if absent.
    pub epoch: Option<u64>,
    /// Entries that may be on their way. Whoever sends more waits. 10,000 if zero.
    pub in_flight_max: usize,
}

impl ProducerOptions {
    /// A producer of this name, and nothing else said.
    pub fn named(name: ProducerName) -> Self {
        Self {
            name,
            epoch: None,
            in_flight_max: 0,
        }
    }
}

/// Appends what it is sent, in that order. What comes while an append is under way goes with the next one, so batches are as
/// large as they have to be and nobody waits for one to fill.
///
/// When it is dropped, what was sent is still appended.
#[derive(Debug)]
pub struct Producer {
    queue: mpsc::UnboundedSender<Sent>,
    /// Bounds the queue.
    places: Arc<Semaphore>,
}

/// An entry on its way.
#[must_use = "only the receipt tells whether the entry was appended"]
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<u64>>);

struct Sent {
    draft: v1::EntryDraft,
    answer: oneshot::Sender<Result<u64>>,
    place: OwnedSemaphorePermit,
}

impl Streams {
    /// Appends to a stream as a producer that the stream knows again.
    pub fn produce(&self, name: &StreamName, options: &ProducerOptions) -> Producer {
        let (queue, sent) = mpsc::unbounded_channel();
        let in_flight_max = match options.in_flight_max {
            0 => IN_FLIGHT_USUAL,
            max => max.min(Semaphore::MAX_PERMITS),
        };
        let appender = Appender {
            streams: self.clone(),
            stream: name.clone(),
            next: v1::ProducerBatch {
                producer: options.name.to_string(),
                epoch: options.epoch.unwrap_or_else(clock::wall_micros),
                sequence: 0,
            },
            sent,
        };
        // It ends with the queue, when the producer is dropped and the queue is empty.
        tokio::spawn(appender.run());
        Producer {
            queue,
            places: Arc::new(Semaphore::new(in_flight_max)),
        }
    }
}

impl Producer {
    /// Sends an entry on its way, as soon as there is room for it. Its receipt tells where it is.
    pub async fn send(&self, payload: PayloadId, tags: Vec<String>) -> Result<Receipt> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        let (answer, receipt) = oneshot::channel();
        let sent = Sent {
            draft: v1::EntryDraft {
                payload_id: payload.to_string(),
                tags,
            },
            answer,
            place,
        };
        self.queue.send(sent).map_err(|_| over())?;
        Ok(Receipt(receipt))
    }

    /// Sends an entry and waits until it is appended; gives its offset.
    pub async fn append(&self, payload: PayloadId, tags: Vec<String>) -> Result<u64> {
        self.send(payload, tags).await?.offset().await
    }
}

impl Receipt {
    /// Where the entry is, as soon as it is there. An entry is refused together with all that go with it; what comes after
    /// them is still appended, unless it is not known whether they were or another life of the producer has begun.
    pub async fn offset(self) -> Result<u64> {
        self.0.await.unwrap_or_else(|_| Err(over()))
    }
}

struct Appender {
    streams: Streams,
    stream: StreamName,
    /// What the next batch is.
    next: v1::ProducerBatch,
    sent: mpsc::UnboundedReceiver<Sent>,
}

impl Appender {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while self
            .sent
            .recv_many(&mut batch, limits::APPEND_ENTRIES_MAX as usize)
            .await
            > 0
        {
            let (drafts, answers): (Vec<_>, Vec<_>) = batch
                .drain(..)
                .map(|sent| (sent.draft, (sent.answer, sent.place)))
                .unzip();
            let count = drafts.len() as u64;
            match self.append(drafts).await {
                Ok(appended) => {
                    self.next.sequence += count;
                    for (offset, (answer, place)) in (appended.first_offset..).zip(answers) {
                        // Nobody need wait for it.
                        let _ = answer.send(Ok(offset));
                        drop(place);
                    }
                }
                Err(error) => {
                    for (answer, _) in answers {
                        let _ = answer.send(Err(same(&error)));
                    }
                    if is_the_end(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// As often as it takes, within the time in which a server is tried: it is the same batch every time.
    async fn append(&self, entries: Vec<v1::EntryDraft>) -> Result<v1::AppendResponse> {
        let request = v1::AppendRequest {
            entries,
            producer: Some(self.next.clone()),
            ..v1::AppendRequest::default()
        };
        let mut backoff = Backoff::new(self.streams.grpc().reconnect_max());
        loop {
            match self.streams.append_with(&self.stream, request.clone()).await {
                Err(error) if is_passing(&error) && backoff.pause().await => {}
                result => return result,
            }
        }
    }
}

/// Whether the same batch may be appended a moment later: the server has too much to do, or its catalog is out of reach.
fn is_passing(error: &Error) -> bool {
    error.retry_delay().is_some() || error.kind() == ErrorKind::Unavailable
}

/// Whether nobody can say any more which number comes next, or another life of the producer has it.
fn is_the_end(error: &Error) -> bool {
    error.outcome() == Outcome::Unknown || error.reason() == Reason::ProducerFenced
}

/// For one more of those whom it concerns.
fn same(error: &Error) -> Error {
    let same = Error::new(error.reason(), error.message().to_owned());
    match error.outcome() {
        Outcome::Unknown => same.outcome_unknown(),
        Outcome::NotApplied => same,
    }
}

fn over() -> Error {
    Error::new(
        Reason::ConnectionLost,
        "the producer has ended: nobody knows what became of an earlier append",
    )
}
