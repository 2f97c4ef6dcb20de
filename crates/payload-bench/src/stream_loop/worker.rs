//! A process that works on streams until it is told to stop, or killed, and tells of everything that it was told.

use std::path::Path;

use anyhow::{Result, anyhow};
use payload_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Endpoint, Error, ErrorKind, Outcome, PayloadId, Producer,
    ProducerOptions, PutOptions, Reason, StreamName, v1,
};

pub(crate) use super::journal::Role;
use super::journal::{Line, MADE, MAKER, Name, RAW, SHARED, tell};
use crate::content::Dice;
use crate::crew::runtime;
use crate::wait::is_told_to_stop;

/// Producers wait while a group is so far behind.
const AHEAD_MAX: u64 = 300;
/// Entries that a producer sends together, at most.
const BURST_MAX: u64 = 20;
/// Entries that are dealt with between two commits, at most.
const STEP_MAX: u64 = 6;

/// What the driver says about a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post {
    pub(crate) role: Role,
    /// Which of the driver's workers.
    pub(crate) slot: u64,
    /// How often there was one in this place before.
    pub(crate) life: u64,
    /// Where a follower begins.
    pub(crate) from: u64,
}

struct Worker {
    client: Client,
    post: Post,
    dice: Dice,
}

/// The process's main. A producer stops when its standard input ends; the others follow until they are killed.
pub(crate) fn run(endpoint: &Path, post: Post) -> Result<()> {
    runtime()?.block_on(async {
        let options = ClientOptions {
            // Longer than the driver waits: a server that does not come back is found out about there.
            reconnect_max: std::time::Duration::from_secs(120),
            ..ClientOptions::default()
        };
        let client = Client::connect_with(Endpoint::file(endpoint), options).await?;
        let worker = Worker {
            client,
            post,
            dice: Dice::new(post.slot << 32 | post.life),
        };
        match post.role {
            Role::Producer => worker.produce().await,
            Role::Member => worker.share().await,
            Role::Follower => worker.follow().await,
            Role::Maker => worker.make().await,
        }
    })
}

impl Worker {
    async fn produce(mut self) -> Result<()> {
        let payload = patiently(|| self.client.put(b"an entry's payload", PutOptions::default())).await?;
        let payload: PayloadId = payload.payload_id.parse()?;
        let producer = self.client.streams().produce(
            &stream(RAW),
            &ProducerOptions {
                epoch: Some(self.post.life),
                ..ProducerOptions::named(format!("p{}", self.post.slot).parse()?)
            },
        );
        let mut number = 0;
        while !is_told_to_stop()? {
            self.wait_for_groups().await?;
            if self.dice.below(4) == 0 {
                self.publish(&mut number).await?;
            } else {
                self.burst(&producer, payload, &mut number).await?;
            }
        }
        Ok(())
    }

    /// A few entries at a time, acknowledged one by one.
    async fn burst(&mut self, producer: &Producer, payload: PayloadId, number: &mut u64) -> Result<()> {
        let mut receipts = Vec::new();
        for _ in 0..=self.dice.below(BURST_MAX) {
            let name = self.name(number);
            receipts.push((name, producer.send(payload, vec![name.to_string()]).await?));
        }
        for (name, receipt) in receipts {
            let offset = Some(receipt.offset().await?);
            tell(&Line::Appended { name, offset })?;
        }
        Ok(())
    }

    /// A payload and its entry in one.
    async fn publish(&self, number: &mut u64) -> Result<()> {
        let name = self.name(number);
        let publish = v1::Publish {
            stream: RAW.to_owned(),
            tags: vec![name.to_string()],
            ..v1::Publish::default()
        };
        let options = PutOptions {
            publish: Some(publish),
            ..PutOptions::default()
        };
        let content = name.to_string();
        patiently(|| self.client.put(content.as_bytes(), options.clone())).await?;
        tell(&Line::Appended { name, offset: None })
    }

    fn name(&self, number: &mut u64) -> Name {
        *number += 1;
        Name {
            slot: self.post.slot,
            life: self.post.life,
            number: *number,
        }
    }

    /// Else the run would end with everybody waiting for the slowest.
    async fn wait_for_groups(&self) -> Result<()> {
        loop {
            let raw = stream(RAW);
            let groups = patiently(|| self.client.streams().groups(&raw)).await?;
            if groups.iter().all(|group| group.lag_entries < AHEAD_MAX) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn share(mut self) -> Result<()> {
        let mut consumer = self.consumer(Some(SHARED), None);
        loop {
            match self.step(&mut consumer).await {
                Ok(offset) => tell(&Line::Committed { offset })?,
                Err(error) if is_replaced(&error) => consumer = self.consumer(Some(SHARED), None),
                Err(error) => return refused("follow as a member", &error),
            }
        }
    }

    /// Takes a few entries, telling of each, and commits them; gives the offset behind them. The answer may show the group
    /// further on already, because of a member that has taken it over since.
    async fn step(&mut self, consumer: &mut Consumer) -> Result<u64, Error> {
        let max = 1 + self.dice.below(STEP_MAX) as usize;
        let taken = consumer.next_batch(max).await?;
        taken.iter().try_for_each(took)?;
        let last = taken.last().expect("at least one was taken");
        consumer.commit(last).await?;
        Ok(last.offset + 1)
    }

    async fn follow(self) -> Result<()> {
        let mut consumer = self.consumer(None, Some(self.post.from));
        loop {
            match consumer.next().await {
                Ok(entry) => took(&entry)?,
                Err(error) => return refused("follow", &error),
            }
        }
    }

    async fn make(mut self) -> Result<()> {
        let mut consumer = self.consumer(Some(MAKER), None);
        loop {
            let max = 1 + self.dice.below(STEP_MAX) as usize;
            let taken = match consumer.next_batch(max).await {
                Ok(taken) => taken,
                Err(error) if is_replaced(&error) => {
                    consumer = self.consumer(Some(MAKER), None);
                    continue;
                }
                Err(error) => return refused("take entries", &error),
            };
            let last = taken.last().expect("at least one was taken");
            let request = v1::AppendRequest {
                progress: Some(consumer.progress(last)?),
                entries: taken.iter().map(draft).collect(),
                ..v1::AppendRequest::default()
            };
            let made = stream(MADE);
            match patiently(|| self.client.streams().append_with(&made, request.clone())).await {
                Ok(_) => {}
                Err(error) if is_replaced(&error) => consumer = self.consumer(Some(MAKER), None),
                Err(error) => return refused("append what was made", &error),
            }
        }
    }

    fn consumer(&self, group: Option<&str>, from: Option<u64>) -> Consumer {
        let options = ConsumerOptions {
            group: group.map(|group| group.parse().expect("groups have good names")),
            start: from.map(|offset| v1::ReadStart {
                start: Some(v1::read_start::Start::Offset(offset)),
            }),
            in_flight_max: 50,
            ..ConsumerOptions::default()
        };
        self.client.streams().consume(&stream(RAW), options)
    }
}

/// Asks until the catalog is there. Whoever does not know what became of it does not ask for something new: the client has
/// asked for the same until that was known.
pub(super) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match ask().await {
            Err(error) if error.kind() == ErrorKind::Unavailable && error.outcome() == Outcome::NotApplied => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            result => return result,
        }
    }
}

/// An entry is told of before anything is done with it.
fn took(entry: &v1::Entry) -> Result<(), Error> {
    let name = entry.tags.first().and_then(|tag| tag.parse().ok());
    let line = Line::Took {
        name: name.ok_or_else(|| Error::new(Reason::Internal, "an entry that no producer sent"))?,
        offset: entry.offset,
    };
    tell(&line).map_err(|error| Error::new(Reason::Internal, error.to_string()))
}

fn draft(entry: &v1::Entry) -> v1::EntryDraft {
    v1::EntryDraft {
        payload_id: entry.payload_id.clone(),
        tags: entry.tags.clone(),
    }
}

/// Somebody else is the member now, or was and has gone further.
fn is_replaced(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::GroupFenced | Reason::GroupMoved | Reason::OffsetBackwards
    )
}

fn refused<T>(what: &str, error: &Error) -> Result<T> {
    let why = format!("{what}: {}: {error}", error.reason().as_str());
    tell(&Line::Refused { why: why.clone() })?;
    Err(anyhow!(why))
}

pub(super) fn stream(name: &str) -> StreamName {
    name.parse().expect("streams have good names")
}
