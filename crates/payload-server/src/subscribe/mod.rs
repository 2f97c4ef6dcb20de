//! Subscriptions: entries of a stream are pushed as they come, as fast as they are acknowledged.
//!
//! Both doors have them, and what is the same for both is here: what a client asks for, the [`task`] of one subscription,
//! and the [`window`] that bounds what is under way. How a client is spoken with is its [`Line`].

mod line;
mod task;
mod window;

use std::sync::Arc;
use std::time::Duration;

use payload_core::stream::{GroupName, Offset, Start, Stream, StreamRef};
use payload_core::{Error, Reason, Result, Span, limits};
use payload_engine::EntryFilter;
use payload_proto::convert::labels;
use payload_proto::convert::streams::{start, stream_ref};
use payload_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) use self::line::{End, Line, Told};
use self::task::Subscription;
use crate::calls::Calls;

const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_USUAL: Duration = Duration::from_secs(15);
const IN_FLIGHT_USUAL: u32 = 100;

/// What all subscriptions of a server share.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) calls: Calls,
    stop: CancellationToken,
    /// How long a client may take.
    pub(crate) stall: Span,
    places: Arc<Semaphore>,
}

/// A place among the subscriptions of the server.
pub(crate) struct Place(#[allow(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit);

/// What a client asks for, checked.
pub(crate) struct Open {
    pub(crate) stream: StreamRef,
    start: Start,
    group: Option<GroupName>,
    in_flight_max: usize,
    filter: EntryFilter,
    heartbeat: Duration,
}

impl Open {
    pub(crate) fn parse(open: &v1::SubscribeOpen) -> Result<Self> {
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
    pub(crate) fn new(calls: Calls, stop: CancellationToken, stall: Span) -> Self {
        Self {
            calls,
            stop,
            stall,
            places: Arc::new(Semaphore::new(limits::SUBSCRIPTIONS_MAX)),
        }
    }

    /// A place for one more, if there is one.
    pub(crate) fn place(&self) -> Result<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!("the server has at most {} subscriptions", limits::SUBSCRIPTIONS_MAX);
            Error::new(Reason::TooManySubscriptions, message)
        })?;
        Ok(Place(permit))
    }

    /// Begins to follow a stream that is there. The subscription then lives by itself until its client, its stream or the
    /// server ends it.
    pub(crate) fn start(&self, place: Place, open: Open, row: &Stream, line: impl Line) {
        let subscription = Subscription::new(self.clone(), open, row, line);
        self.calls.start(async move {
            let _place = place;
            subscription.run().await;
        });
    }
}

/// The refusal of an acknowledgement.
fn not_sent(offset: Offset) -> Error {
    let message = format!("what was not sent cannot be acknowledged: offset {offset}");
    Error::invalid(Reason::BadRequest, message)
}
