//! Readers of streams: entries together with their bytes. Over the local socket an entry brings its lease; else leases are
//! taken ahead, while the application works on what came before, so that it seldom waits for one.

use std::collections::VecDeque;

use payload_core::stream::StreamName;
use payload_core::{PayloadId, Result, limits};
use payload_proto::v1;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::consumer::{Consumer, ConsumerOptions, LeasesAhead};
use crate::grant::{Grant, nonsense};
use crate::lease::Lease;
use crate::options::AcquireOptions;
use crate::subscriptions::Item;

/// A [`Consumer`] that has the payloads' bytes too.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    consumer: Consumer,
    /// How many leases are taken ahead.
    ahead_max: usize,
    ahead: VecDeque<Ahead>,
}

/// An entry, and how it stands with its lease.
#[derive(Debug)]
struct Ahead {
    entry: v1::Entry,
    lease: Pending,
}

#[derive(Debug)]
enum Pending {
    Here(Box<Result<Lease>>),
    Asked(oneshot::Receiver<Result<Lease>>),
    /// It could not be taken ahead, so it is taken when its turn comes.
    Wanted,
}

impl Client {
    /// Follows a stream with the payloads' bytes, and has leases on up to `ahead_max` payloads that are next.
    pub fn read_stream(&self, name: &StreamName, options: ConsumerOptions, ahead_max: usize) -> Reader {
        let ahead_max = ahead_max.clamp(1, limits::BATCH_ITEMS_MAX);
        let leases = LeasesAhead {
            max: ahead_max as u32,
            inline_max: AcquireOptions::default().inline_max,
        };
        Reader {
            client: self.clone(),
            consumer: self.streams().consume(name, options).with_leases(leases),
            ahead_max,
            ahead: VecDeque::new(),
        }
    }
}

impl Reader {
    /// The next entry, as soon as there is one, with the bytes of its payload; a payload may have ended, and then there is a
    /// refusal in their place. See [`Consumer::next`] for what comes again after a break.
    pub async fn next(&mut self) -> Result<(v1::Entry, Result<Lease>)> {
        if self.ahead.is_empty() {
            let item = self.consumer.next_item().await?;
            return self.with_bytes(item).await;
        }
        self.first().await
    }

    /// The next entry that the server has already; `None` at the end of the stream.
    pub async fn next_there_is(&mut self) -> Result<Option<(v1::Entry, Result<Lease>)>> {
        if self.ahead.is_empty() {
            return match self.consumer.next_item_there_is().await? {
                Some(item) => self.with_bytes(item).await.map(Some),
                None => Ok(None),
            };
        }
        self.first().await.map(Some)
    }

    async fn with_bytes(&mut self, item: Item) -> Result<(v1::Entry, Result<Lease>)> {
        self.take_ahead(Some(item));
        self.first().await
    }

    /// The first of those that were taken ahead; there is one. Whoever stops waiting for it loses nothing.
    async fn first(&mut self) -> Result<(v1::Entry, Result<Lease>)> {
        if self.ahead.len() <= self.ahead_max / 2 {
            self.take_ahead(None);
        }
        let first = self.ahead.front_mut().expect("the caller has seen to it");
        if let Pending::Asked(answer) = &mut first.lease {
            first.lease = answer
                .await
                .map_or(Pending::Wanted, |lease| Pending::Here(Box::new(lease)));
        }
        if let Pending::Wanted = first.lease {
            let lease = match first.entry.payload_id.parse::<PayloadId>() {
                Ok(id) => self.client.acquire(id, AcquireOptions::default()).await,
                Err(_) => Err(nonsense("an entry without a payload")),
            };
            first.lease = Pending::Here(Box::new(lease));
        }
        match self.ahead.pop_front() {
            Some(Ahead {
                entry,
                lease: Pending::Here(lease),
            }) => Ok((entry, *lease)),
            _ => unreachable!("the first lease was brought here above"),
        }
    }

    /// See [`Consumer::commit`].
    pub async fn commit(&mut self, entry: &v1::Entry) -> Result<v1::Group> {
        self.consumer.commit(entry).await
    }

    /// See [`Consumer::progress`].
    pub fn progress(&self, entry: &v1::Entry) -> Result<v1::CommitOffsetRequest> {
        self.consumer.progress(entry)
    }

    /// Takes this entry, and as many more as are here and allowed, with the leases that they brought; and leases for the
    /// others, in one round trip.
    fn take_ahead(&mut self, first: Option<Item>) {
        let (mut ids, mut answers) = (Vec::new(), Vec::new());
        let mut next = first;
        loop {
            // What brings its lease is left where it is until it is wanted: nothing is gained by having it here.
            let room = self.ahead.len() < self.ahead_max && !self.consumer.brings_leases();
            let Some(item) = next
                .take()
                .or_else(|| room.then(|| self.consumer.next_here()).flatten())
            else {
                break;
            };
            let Item { entry, lease } = item;
            let lease = match (lease, entry.payload_id.parse::<PayloadId>()) {
                (Some(Ok(Grant::Lease(lease))), _) => Pending::Here(Box::new(Ok(lease))),
                (Some(Err(error)), _) => Pending::Here(Box::new(Err(error))),
                // One that came without a way to its bytes is asked for again.
                (_, Ok(id)) => {
                    let (answer, lease) = oneshot::channel();
                    ids.push(id);
                    answers.push(answer);
                    Pending::Asked(lease)
                }
                (_, Err(_)) => Pending::Wanted,
            };
            self.ahead.push_back(Ahead { entry, lease });
        }
        if ids.is_empty() {
            return;
        }
        let client = self.client.clone();
        // It ends with its answer; a reader that has gone lets the leases go.
        tokio::spawn(async move {
            let Ok(leases) = client.acquire_many(&ids, AcquireOptions::default()).await else {
                return;
            };
            for (answer, lease) in answers.into_iter().zip(leases) {
                // Whoever is not there any more needs none.
                let _ = answer.send(lease);
            }
        });
    }
}
