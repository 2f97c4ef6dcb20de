//! Watching events over gRPC: one task for each watch reads the log and hands on what it finds.
//!
//! The log is on the disk, so a reader that does not read costs no memory here: its task waits with one message in hand.
//! After a while it is cut off, with the reason, and can go on from its last cursor.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::Stream;
use payload_core::{Error, Reason, Result};
use payload_engine::{EventPage, EventWatch, WatchFrom};
use payload_proto::convert::event;
use payload_proto::{status, v1};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Messages;
use super::events::Asked;
use crate::calls::Calls;

/// How patient the server is with those who watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchTimes {
    /// Something is sent at least so often.
    pub(crate) heartbeat: Duration,
    /// Who does not read for so long is cut off.
    pub(crate) stall_timeout: Duration,
}

/// Begins to watch; refuses at once what cannot be watched.
pub(super) async fn start(
    calls: &Calls,
    asked: Asked,
    from: WatchFrom,
    times: WatchTimes,
    stop: CancellationToken,
) -> Result<Messages<v1::WatchEventsResponse>> {
    let news = Arc::new(Notify::new());
    let engine = Arc::clone(&calls.engine);
    let wake = {
        let news = Arc::clone(&news);
        Arc::new(move || news.notify_one())
    };
    let watch = calls
        .run(move |_| engine.watch_events(asked.filter(&engine)?, &from, wake))
        .await?;
    let (sender, receiver) = mpsc::channel(1);
    let end = Arc::<OnceLock<Error>>::default();
    let task = Task {
        calls: calls.clone(),
        news,
        sender,
        times,
    };
    // The task ends when the server stops, and when nobody reads: see `Task::run`.
    tokio::spawn({
        let end = Arc::clone(&end);
        // The messages must not end before it is known why.
        let open = task.sender.clone();
        async move {
            let outcome = tokio::select! {
                outcome = task.run(watch) => outcome,
                () = stop.cancelled() => Err(Error::new(Reason::ShuttingDown, "the server is shutting down")),
            };
            if let Err(error) = outcome {
                // Set once, by this task alone.
                let _ = end.set(error);
            }
            drop(open);
        }
    });
    Ok(Box::pin(Answers {
        receiver,
        end,
        ended: false,
    }))
}

struct Task {
    calls: Calls,
    news: Arc<Notify>,
    sender: mpsc::Sender<v1::WatchEventsResponse>,
    times: WatchTimes,
}

impl Task {
    /// Sends what there is, then what comes; ends well when nobody listens any more.
    async fn run(self, mut watch: EventWatch) -> Result<()> {
        // The first message says where the watch begins, even if there is nothing to tell.
        let mut due = true;
        loop {
            let page;
            (watch, page) = self.calls.run(move |_| read(watch)).await?;
            let more = page.more;
            if due || !page.events.is_empty() {
                match timeout(self.times.stall_timeout, self.sender.send(message(page))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => return Err(too_slow()),
                }
            }
            due = false;
            if !more {
                let heartbeat = Instant::now() + self.times.heartbeat;
                tokio::select! {
                    woken = timeout_at(heartbeat, self.news.notified()) => due = woken.is_err(),
                    () = self.sender.closed() => return Ok(()),
                }
            }
        }
    }
}

fn read(mut watch: EventWatch) -> Result<(EventWatch, EventPage)> {
    let page = watch.read()?;
    Ok((watch, page))
}

fn message(page: EventPage) -> v1::WatchEventsResponse {
    v1::WatchEventsResponse {
        events: page.events.iter().map(event::message).collect(),
        cursor: page.cursor,
    }
}

fn too_slow() -> Error {
    Error::new(
        Reason::ReaderTooSlow,
        "the events were not read for too long; go on from the last cursor",
    )
}

/// What was sent, and at its end why there is no more.
struct Answers {
    receiver: mpsc::Receiver<v1::WatchEventsResponse>,
    end: Arc<OnceLock<Error>>,
    ended: bool,
}

impl Stream for Answers {
    type Item = std::result::Result<v1::WatchEventsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = std::task::ready!(self.receiver.poll_recv(context));
        if let Some(message) = message {
            return Poll::Ready(Some(Ok(message)));
        }
        let why = self.end.get().map(status::to_status).filter(|_| !self.ended);
        self.ended = true;
        Poll::Ready(why.map(Err))
    }
}
