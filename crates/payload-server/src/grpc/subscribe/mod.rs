//! Subscribe: entries are pushed as they come, as fast as they are acknowledged.
//!
//! What all subscriptions share is here, with the first message of each; the [`task`] of one does the rest, and its
//! [`window`] bounds what is under way.

mod task;
mod window;

use std::sync::Arc;
use std::time::Duration;

use payload_core::stream::{GroupName, Start, StreamRef};
use payload_core::{Error, Reason, Result, Span, limits};
use payload_engine::EntryFilter;
use payload_proto::convert::labels;
use payload_proto::convert::streams::{start, stream_ref};
use payload_proto::v1;
use payload_proto::v1::subscribe_request::Request as Asked;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use self::task::Subscription;
use crate::calls::Calls;

/// Messages that wait for the connection; what does not fit waits in the repository.
const MESSAGES: usize = 2;
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_USUAL: Duration = Duration::from_secs(15);
const IN_FLIGHT_USUAL: u32 = 100;

/// What goes to the client.
pub(super) type Outgoing = Result<v1::SubscribeResponse, Status>;

/// What all subscriptions of a server share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) calls: Calls,
    stop: CancellationToken,
    /// How long a client may take.
    stall: Span,
    places: Arc<Semaphore>,
}

/// What a client asks for, checked.
struct Open {
    stream: StreamRef,
    start: Start,
    group: Option<GroupName>,
    in_flight_max: usize,
    filter: EntryFilter,
    heartbeat: Duration,
}

impl Open {
    fn parse(open: &v1::SubscribeOpen) -> Result<Self> {
        let max = limits::PAGE_SIZE_MAX;
        if open.in_flight_max > max {
            let message = format!("at most {max} entries may be under way");
            return Err(Error::invalid(Reason::BadSize, message).field("in_flight_max"));
        }
        let usual = |asked: u32, usual: u32| if asked == 0 { usual } else { asked };
        let heartbeat = Duration::from_millis(open.heartbeat_ms.into());
        Ok(Self {
            stream: stream_ref(open.stream.as_ref())?,
            start: start(open.start.as_ref(), Start::Earliest)?,
            group: (!open.group.is_empty()).then(|| open.group.parse()).transpose()?,
            in_flight_max: usual(open.in_flight_max, IN_FLIGHT_USUAL) as usize,
            filter: EntryFilter {
                tags: payload_core::stream::tags(open.tags.iter().map(String::as_str))?,
                labels: labels(&open.labels)?,
            },
            heartbeat: if heartbeat.is_zero() {
                HEARTBEAT_USUAL
            } else {
                heartbeat.max(HEARTBEAT_MIN)
            },
        })
    }
}

impl Desk {
    pub(super) fn new(calls: Calls, stop: CancellationToken, stall: Span) -> Self {
        Self {
            calls,
            stop,
            stall,
            places: Arc::new(Semaphore::new(limits::SUBSCRIPTIONS_MAX)),
        }
    }

    /// Opens a subscription, which then lives by itself until its client, its stream or the server ends it.
    pub(super) async fn open(&self, mut inbound: Streaming<v1::SubscribeRequest>) -> Result<mpsc::Receiver<Outgoing>> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!("the server has at most {} subscriptions", limits::SUBSCRIPTIONS_MAX);
            Error::new(Reason::TooManySubscriptions, message)
        })?;
        let first = timeout(self.stall, inbound.message()).await;
        let open = match first {
            Ok(Ok(Some(v1::SubscribeRequest {
                request: Some(Asked::Open(open)),
            }))) => Open::parse(&open)?,
            _ => return Err(bad("the first message must open the subscription")),
        };
        let stream = open.stream.clone();
        let row = self.calls.run(move |engine| engine.stream(&stream)).await?;
        let (outgoing, receiver) = mpsc::channel(MESSAGES);
        let subscription = Subscription::new(self.clone(), open, &row, inbound, outgoing);
        tokio::spawn(async move {
            let _place = place;
            subscription.run().await;
        });
        Ok(receiver)
    }
}

fn bad(message: &'static str) -> Error {
    Error::invalid(Reason::BadRequest, message)
}
