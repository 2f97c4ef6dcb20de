//! One subscription: a task that sleeps until the stream moves, its client speaks, or there was silence for too long.
//!
//! A client that does not keep up costs nothing but its place in the stream; one that does not acknowledge for too long,
//! while there is more for it, is cut off and told from where to go on.

use std::sync::Arc;

use payload_core::stream::{Offset, Start, Stream};
use payload_core::{Error, Reason, Result, StreamId};
use payload_engine::{Member, ReadPage, ReadRequest};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::window::Window;
use super::{Desk, End, HEARTBEAT_MIN, Line, Open, Told, not_sent};

/// From its first message to its end.
pub(super) struct Subscription<L> {
    desk: Desk,
    open: Open,
    stream: StreamId,
    line: L,
    moved: Arc<Notify>,
    member: Option<Member>,
    window: Window,
    /// There is nothing more to send now.
    caught_up: bool,
    last_told: Instant,
    /// Since when there is more to send than its client lets be under way.
    stalled_since: Option<Instant>,
}

impl<L: Line> Subscription<L> {
    pub(super) fn new(desk: Desk, mut open: Open, row: &Stream, line: L) -> Self {
        // From here on it is this incarnation or none.
        open.stream.incarnation = Some(row.id);
        let window = Window::new(open.in_flight_max, row.head);
        Self {
            desk,
            open,
            stream: row.id,
            line,
            moved: Arc::default(),
            member: None,
            window,
            caught_up: false,
            last_told: Instant::now(),
            stalled_since: None,
        }
    }

    pub(super) async fn run(mut self) {
        let moved = Arc::clone(&self.moved);
        // Before anything is read: what comes after that wakes this task.
        let _watch = self
            .desk
            .calls
            .engine
            .watch_stream(self.stream, move || moved.notify_one());
        if let Err(End::Failed(error)) = self.follow().await {
            // Whoever waits for its place need not wait for a client that does not read, which is not told either.
            drop(self.member);
            let _ = timeout(self.desk.stall, self.line.end(error)).await;
        }
    }

    async fn follow(&mut self) -> Result<(), End> {
        self.begin().await?;
        loop {
            while !self.caught_up && self.window.room() > 0 {
                self.push().await?;
            }
            self.wait().await?;
        }
    }

    /// Finds out where to begin, as the group's member if there is one; that may mean to wait.
    async fn begin(&mut self) -> Result<(), End> {
        if let Some(group) = self.open.group.clone() {
            while self.member.is_none() {
                let (stream, group, start) = (self.open.stream.clone(), group.clone(), self.open.start);
                let joined = self
                    .desk
                    .calls
                    .run(move |engine| engine.join_group(&stream, &group, start));
                self.member = joined.await?;
                if self.member.is_none() {
                    self.caught_up = true;
                    self.wait().await?;
                }
            }
        }
        let start = match &self.member {
            Some(member) => Start::Offset(member.offset),
            None => self.open.start,
        };
        let stream = self.open.stream.clone();
        let (next, head) = self
            .desk
            .calls
            .run(move |engine| {
                let row = engine.stream(&stream)?;
                Ok((engine.start_offset(&row, start)?, row.head))
            })
            .await?;
        self.window = Window::new(self.open.in_flight_max, next);
        self.caught_up = false;
        let generation = self.member.as_ref().map_or(0, |member| member.generation);
        self.tell(Told::Opened {
            stream: self.stream,
            next,
            head,
            generation,
        })
        .await
    }

    /// Sends what comes next, as much as there is room for.
    async fn push(&mut self) -> Result<(), End> {
        let Some(page) = self.read().await? else {
            return Ok(());
        };
        self.caught_up = page.next >= page.head;
        if page.next == self.window.next() {
            return Ok(());
        }
        let offsets = page.entries.iter().map(|read| read.entry.offset);
        self.window.sent(offsets, page.next);
        self.tell(Told::Entries(page)).await
    }

    /// A page; `None` if the server is too busy to read one now.
    async fn read(&mut self) -> Result<Option<ReadPage>, End> {
        if let Some(page) = self.at_hand() {
            return Ok(Some(page));
        }
        let request = ReadRequest {
            stream: self.open.stream.clone(),
            start: Start::Offset(self.window.next()),
            limit: self.limit(),
            bytes_max: None,
            filter: self.open.filter.clone(),
        };
        let member = self
            .open
            .group
            .clone()
            .zip(self.member.as_ref().map(|member| member.generation));
        let stream = self.stream;
        let page = self
            .desk
            .calls
            .run(move |engine| {
                if let Some((group, generation)) = member {
                    engine.check_member(stream, &group, generation)?;
                }
                engine.read_stream(&request)
            })
            .await;
        match page {
            Ok(page) => Ok(Some(page)),
            Err(error) if error.reason() == Reason::Overloaded => {
                tokio::time::sleep(error.retry_delay().unwrap_or(HEARTBEAT_MIN)).await;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What was appended a moment ago, without another thread. What a shared catalog has is never at hand, so a member is known
    /// here if there is one at all.
    fn at_hand(&self) -> Option<ReadPage> {
        let engine = &self.desk.calls.engine;
        if let (Some(group), Some(member)) = (&self.open.group, &self.member)
            && !engine.is_member_here(self.stream, group, member.generation)
        {
            return None;
        }
        engine.read_at_hand(self.stream, self.window.next(), self.limit(), &self.open.filter)
    }

    /// How many entries the next message may have.
    fn limit(&self) -> u32 {
        self.window.room().min(self.line.entries_max()) as u32
    }

    /// Until something happens: the stream moves, the client speaks or goes away, or there was silence for long enough.
    async fn wait(&mut self) -> Result<(), End> {
        let now = Instant::now();
        // Only while there is something for the client, and nothing else to do for it, is it the client that is slow.
        let is_stalled = self.window.room() == 0 && !self.caught_up;
        self.stalled_since = is_stalled.then(|| self.stalled_since.unwrap_or(now));
        let overdue = self.stalled_since.unwrap_or(now) + self.desk.stall;
        tokio::select! {
            // What was heard counts, however late this task comes to hear it.
            biased;
            heard = self.line.hear() => self.hear(heard),
            () = self.moved.notified() => {
                self.caught_up = false;
                Ok(())
            }
            () = self.desk.stop.cancelled() => {
                Err(Error::new(Reason::ShuttingDown, "the server is shutting down").into())
            }
            () = sleep_until(overdue), if is_stalled => Err(self.slow().into()),
            () = sleep_until(self.last_told + self.open.heartbeat) => {
                self.tell(Told::Heartbeat(self.window.next())).await
            }
        }
    }

    fn hear(&mut self, heard: Option<Result<Offset>>) -> Result<(), End> {
        let until = heard.ok_or(End::Gone)??;
        if !self.window.acknowledge(until) {
            return Err(not_sent(until).into());
        }
        self.stalled_since = None;
        Ok(())
    }

    async fn tell(&mut self, told: Told) -> Result<(), End> {
        // Only waiting for the client is the client's time.
        match timeout(self.desk.stall, self.line.ready()).await {
            Ok(ready) => ready?,
            Err(_) => return Err(self.slow().into()),
        }
        self.line.tell(told).await?;
        self.last_told = Instant::now();
        Ok(())
    }

    fn slow(&self) -> Error {
        let first = self.window.resume();
        Error::new(
            Reason::SubscriberSlow,
            format!("nothing was acknowledged for too long; subscribe again from offset {first}"),
        )
    }
}
