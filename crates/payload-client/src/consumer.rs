//! Consumers: entries of a stream as they come, over breaks of the connection and restarts of the server.

use std::collections::VecDeque;

use payload_core::stream::{GroupName, StreamName};
use payload_core::{Error, ErrorKind, Reason, Result};
use payload_proto::v1;

use crate::backoff::Backoff;
use crate::feed::{Call, Feed, Local};
use crate::grant::nonsense;
use crate::session::{Retry, Route};
use crate::streams::Streams;
use crate::subscriptions::{Heard, Item};

/// Entries that are acknowledged with one message, unless fewer may be under way.
const ACKNOWLEDGED_TOGETHER: u64 = 32;
/// What a server has under way unless it is told otherwise.
const IN_FLIGHT_USUAL: u32 = 100;

/// What a consumer wants.
#[derive(Clone, Debug, Default)]
pub struct ConsumerOptions {
    /// Follow as the only member of this group, from where it is. While there is another member, the first entry waits.
    pub group: Option<GroupName>,
    /// Where to begin without a group, and where a new group begins; with the earliest entry if absent.
    pub start: Option<v1::ReadStart>,
    /// Entries that may be under way; the server's choice if zero.
    pub in_flight_max: u32,
    /// Only entries that have all of these.
    pub tags: Vec<String>,
}

/// Follows a stream. Whoever asks for the next entry is done with the one before; a group's offset moves with
/// [`commit`](Self::commit) alone.
#[derive(Debug)]
pub struct Consumer {
    streams: Streams,
    name: StreamName,
    options: ConsumerOptions,
    leases: Option<LeasesAhead>,
    connection: Option<Connection>,
    /// Of the incarnation that was followed first: another one is refused.
    incarnation: String,
    /// From where to go on.
    next: Option<u64>,
    head: u64,
    /// To commit with. It stays when the connection breaks: whoever was replaced meanwhile must not commit.
    generation: Option<u64>,
    /// Since the connection broke.
    backoff: Option<Backoff>,
}

/// How entries bring leases, where they can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeasesAhead {
    /// So many of them at a time.
    pub(crate) max: u32,
    pub(crate) inline_max: u32,
}

#[derive(Debug)]
struct Connection {
    feed: Feed,
    buffered: VecDeque<Item>,
    /// What the server has been told.
    acknowledged: u64,
    /// So many entries are acknowledged together.
    together: u64,
}

impl Streams {
    /// Follows a stream. It connects when it is asked for the first entry.
    pub fn consume(&self, name: &StreamName, options: ConsumerOptions) -> Consumer {
        Consumer {
            streams: self.clone(),
            name: name.clone(),
            options,
            leases: None,
            connection: None,
            incarnation: String::new(),
            next: None,
            head: 0,
            generation: None,
            backoff: None,
        }
    }
}

impl Consumer {
    /// The same, whose entries bring leases where they can.
    pub(crate) fn with_leases(self, leases: LeasesAhead) -> Self {
        Self {
            leases: Some(leases),
            ..self
        }
    }

    /// The next entry, as soon as there is one. What was not committed comes again after a break; without a group, what
    /// was returned does not.
    pub async fn next(&mut self) -> Result<v1::Entry> {
        self.next_item().await.map(|item| item.entry)
    }

    /// The same with the lease that it came with.
    pub(crate) async fn next_item(&mut self) -> Result<Item> {
        loop {
            match self.step().await {
                Ok(Some(item)) => return Ok(item),
                Ok(None) => {}
                Err(error) => self.go_on_after(error).await?,
            }
        }
    }

    /// Says that everything up to and including an entry is dealt with: the group goes on behind it, whatever happens.
    /// Fails with `GROUP_FENCED` if somebody else has taken the group over; then the entry is theirs.
    pub async fn commit(&mut self, entry: &v1::Entry) -> Result<v1::Group> {
        let request = self.progress(entry)?;
        let mut backoff = Backoff::new(self.streams.grpc().reconnect_max());
        loop {
            match self.streams.commit_offset_with(&self.name, request.clone()).await {
                // Where the group is already, it may be moved again.
                Err(error) if error.kind() == ErrorKind::Unavailable && backoff.pause().await => {}
                result => return result,
            }
        }
    }

    /// The same as a part of an append or a publication: what was made from everything up to and including this entry becomes
    /// visible in the moment in which that is dealt with. Entries that are dealt with together come from one
    /// [`next_batch`](Self::next_batch).
    pub fn progress(&self, entry: &v1::Entry) -> Result<v1::CommitOffsetRequest> {
        let group = self.options.group.as_ref();
        let group =
            group.ok_or_else(|| Error::invalid(Reason::BadRequest, "a consumer without a group commits nothing"))?;
        Ok(v1::CommitOffsetRequest {
            stream: self.streams.named(&self.name),
            group: group.to_string(),
            offset: entry.offset + 1,
            generation: self.generation,
            ..v1::CommitOffsetRequest::default()
        })
    }

    /// At least one entry, and as many more, up to `max`, as are here already. Nothing of it comes twice: there is no break in
    /// the middle of it.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<v1::Entry>> {
        let mut batch = vec![self.next().await?];
        while batch.len() < max
            && let Some(item) = self.next_here()
        {
            batch.push(item.entry);
        }
        Ok(batch)
    }

    /// The next entry that the server has already; `None` at the end of the stream.
    pub async fn next_there_is(&mut self) -> Result<Option<v1::Entry>> {
        Ok(self.next_item_there_is().await?.map(|item| item.entry))
    }

    /// The same with the lease that it came with.
    pub(crate) async fn next_item_there_is(&mut self) -> Result<Option<Item>> {
        loop {
            match self.step_to_end().await {
                Err(error) => self.go_on_after(error).await?,
                result => return result,
            }
        }
    }

    /// Whether the next server, or the same one when it has its catalog back, may go on; then the pause before that is over. Whoever took
    /// too long over its entries was cut off, but not forgotten.
    async fn go_on_after(&mut self, error: Error) -> Result<()> {
        if error.kind() != ErrorKind::Unavailable && error.reason() != Reason::SubscriberSlow {
            return Err(error);
        }
        self.connection = None;
        let reconnect_max = self.streams.grpc().reconnect_max();
        let backoff = self.backoff.get_or_insert_with(|| Backoff::new(reconnect_max));
        if backoff.pause().await { Ok(()) } else { Err(error) }
    }

    async fn step_to_end(&mut self) -> Result<Option<Item>> {
        loop {
            let connection = self.connected().await?;
            let is_empty = connection.buffered.is_empty();
            if is_empty && self.next.is_none_or(|next| next >= self.head) {
                return Ok(None);
            }
            if let Some(item) = self.step().await? {
                return Ok(Some(item));
            }
        }
    }

    /// An entry that is here already.
    pub(crate) fn next_here(&mut self) -> Option<Item> {
        let item = self.connection.as_mut()?.buffered.pop_front()?;
        self.next = Some(item.entry.offset + 1);
        Some(item)
    }

    /// Whether entries come with their leases now.
    pub(crate) fn brings_leases(&self) -> bool {
        let is_local = |connection: &Connection| matches!(connection.feed, Feed::Local(_));
        self.leases.is_some() && self.connection.as_ref().is_some_and(is_local)
    }

    /// Takes an entry that is here, or hears the server out once.
    async fn step(&mut self) -> Result<Option<Item>> {
        let next = self.next;
        let connection = self.connected().await?;
        // Whoever asks for more is done with what there was.
        if let Some(next) = next {
            connection.acknowledge(next).await?;
        }
        if let Some(item) = self.next_here() {
            return Ok(Some(item));
        }
        let connection = self.connected().await?;
        match connection.feed.hear().await? {
            Heard::Entries {
                items,
                next_offset,
                head_offset,
            } => {
                connection.buffered.extend(items);
                if connection.buffered.is_empty() {
                    self.next = Some(next_offset);
                }
                self.head = head_offset;
                Ok(None)
            }
            Heard::Heartbeat => Ok(None),
            Heard::Opened(_) => Err(nonsense("a subscription that is opened twice")),
        }
    }

    async fn connected(&mut self) -> Result<&mut Connection> {
        if self.connection.is_none() {
            self.connect().await?;
        }
        Ok(self.connection.as_mut().expect("was connected above"))
    }

    async fn connect(&mut self) -> Result<()> {
        let from_here = self.next.map(|next| v1::ReadStart {
            start: Some(v1::read_start::Start::Offset(next)),
        });
        let stream = self.streams.named(&self.name).map(|stream| v1::StreamRef {
            incarnation: self.incarnation.clone(),
            ..stream
        });
        let open = v1::SubscribeOpen {
            stream,
            start: from_here.or(self.options.start),
            group: self
                .options
                .group
                .as_ref()
                .map(GroupName::to_string)
                .unwrap_or_default(),
            in_flight_max: self.options.in_flight_max,
            tags: self.options.tags.clone(),
            ..v1::SubscribeOpen::default()
        };
        let (mut feed, in_flight) = self.feed(open).await?;
        loop {
            match feed.hear().await? {
                // Another member follows the group.
                Heard::Heartbeat => {}
                Heard::Opened(opened) => {
                    self.generation = self.options.group.is_some().then_some(opened.generation);
                    self.incarnation = opened.incarnation;
                    self.next = Some(opened.next_offset);
                    self.head = opened.head_offset;
                    self.connection = Some(Connection {
                        feed,
                        buffered: VecDeque::new(),
                        acknowledged: opened.next_offset,
                        together: (u64::from(in_flight) / 2).clamp(1, ACKNOWLEDGED_TOGETHER),
                    });
                    self.backoff = None;
                    return Ok(());
                }
                Heard::Entries { .. } => return Err(nonsense("entries before the subscription was opened")),
            }
        }
    }

    /// Subscribes by the shortest way that there is now, and says how many entries may be under way. A session has so many
    /// subscriptions and no more; the next ones go the other way.
    async fn feed(&self, open: v1::SubscribeOpen) -> Result<(Feed, u32)> {
        let usual = |asked: u32| if asked == 0 { IN_FLIGHT_USUAL } else { asked };
        if let Some(session) = &self.streams.session
            && let Route::Local(link) = session.route(Retry::Safe).await?
        {
            let mut open = open.clone();
            if let Some(leases) = self.leases {
                open.in_flight_max = leases.max.min(usual(open.in_flight_max));
            }
            let in_flight = usual(open.in_flight_max);
            let leases = self.leases.map(|leases| v1::EntryLeases {
                inline_max: leases.inline_max,
            });
            match Local::open(session, link, open, leases).await {
                Err(error) if error.reason() == Reason::TooManySubscriptions => {}
                opened => return Ok((Feed::Local(opened?), in_flight)),
            }
        }
        let in_flight = usual(open.in_flight_max);
        let call = Call::open(self.streams.grpc(), open).await?;
        Ok((Feed::Grpc(Box::new(call)), in_flight))
    }
}

impl Connection {
    /// Everything before `next` is dealt with. The server hears of it before what may be under way is used up.
    async fn acknowledge(&mut self, next: u64) -> Result<()> {
        if next >= self.acknowledged + self.together {
            self.feed.acknowledge(next).await?;
            self.acknowledged = next;
        }
        Ok(())
    }
}
