//! Readers of streams: entries together with their bytes. Leases are taken ahead, while the application works on what came
//! before, so that it seldom waits for one.

use std::collections::VecDeque;

use payload_core::stream::StreamName;
use payload_core::{PayloadId, Result, limits};
use payload_proto::v1;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::consumer::{Consumer, ConsumerOptions};
use crate::grant::nonsense;
use crate::lease::Lease;
use crate::options::AcquireOptions;

/// A [`Consumer`] that has the payloads' bytes too.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    consumer: Consumer,
    /// How many leases are taken ahead.
    ahead_max: usize,
    ahead: VecDeque<Ahead>,
}

/// An entry, and the lease that is being taken for it.
#[derive(Debug)]
struct Ahead {
    entry: v1::Entry,
    lease: oneshot::Receiver<Result<Lease>>,
}

impl Client {
    /// Follows a stream with the payloads' bytes, and has leases on up to `ahead_max` payloads that are next.
    pub fn read_stream(&self, name: &StreamName, options: ConsumerOptions, ahead_max: usize) -> Reader {
        Reader {
            client: self.clone(),
            consumer: self.streams().consume(name, options),
            ahead_max: ahead_max.clamp(1, limits::BATCH_ITEMS_MAX),
            ahead: VecDeque::new(),
        }
    }
}

impl Reader {
    /// The next entry, as soon as there is one, with the bytes of its payload; a payload may have ended, and then there is a
    /// refusal in their place. See [`Consumer::next`] for what comes again after a break.
    pub async fn next(&mut self) -> Result<(v1::Entry, Result<Lease>)> {
        if self.ahead.is_empty() {
            let entry = self.consumer.next().await?;
            self.take_ahead(vec![entry]);
        }
        self.first().await
    }

    /// The next entry that the server has already; `None` at the end of the stream.
    pub async fn next_there_is(&mut self) -> Result<Option<(v1::Entry, Result<Lease>)>> {
        if self.ahead.is_empty() {
            let Some(entry) = self.consumer.next_there_is().await? else {
                return Ok(None);
            };
            self.take_ahead(vec![entry]);
        }
        self.first().await.map(Some)
    }

    /// The first of those that were taken ahead; there is one.
    async fn first(&mut self) -> Result<(v1::Entry, Result<Lease>)> {
        if self.ahead.len() <= self.ahead_max / 2 {
            self.take_ahead(Vec::new());
        }
        let first = self.ahead.front_mut().expect("the caller has seen to it");
        let taken = (&mut first.lease).await;
        let Ahead { entry, .. } = self.ahead.pop_front().expect("it was there a moment ago");
        let lease = match taken {
            Ok(lease) => lease,
            // It could not be taken ahead, so it is taken now.
            Err(_) => match entry.payload_id.parse::<PayloadId>() {
                Ok(id) => self.client.acquire(id, AcquireOptions::default()).await,
                Err(_) => Err(nonsense("an entry without a payload")),
            },
        };
        Ok((entry, lease))
    }

    /// See [`Consumer::commit`].
    pub async fn commit(&mut self, entry: &v1::Entry) -> Result<v1::Group> {
        self.consumer.commit(entry).await
    }

    /// See [`Consumer::progress`].
    pub fn progress(&self, entry: &v1::Entry) -> Result<v1::CommitOffsetRequest> {
        self.consumer.progress(entry)
    }

    /// Takes leases for these entries, and for as many more as are here and allowed, in one round trip.
    fn take_ahead(&mut self, mut entries: Vec<v1::Entry>) {
        while self.ahead.len() + entries.len() < self.ahead_max
            && let Some(entry) = self.consumer.next_here()
        {
            entries.push(entry);
        }
        let (mut ids, mut answers) = (Vec::new(), Vec::new());
        for entry in entries {
            let (answer, lease) = oneshot::channel();
            if let Ok(id) = entry.payload_id.parse::<PayloadId>() {
                ids.push(id);
                answers.push(answer);
            }
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
