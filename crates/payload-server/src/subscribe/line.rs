//! How a subscription speaks with its client: by which door it came makes no other difference.

use std::future::Future;

use payload_core::stream::Offset;
use payload_core::{Error, Result, StreamId};
use payload_engine::ReadPage;
use payload_proto::v1;
use payload_proto::v1::subscribe_response::Response;

/// What a client is told.
pub(crate) enum Told {
    /// Where it begins.
    Opened {
        stream: StreamId,
        next: Offset,
        head: Offset,
        /// To commit with; zero without a group.
        generation: u64,
    },
    /// What comes next.
    Entries(ReadPage),
    /// Nothing, and from where to go on if the connection breaks now.
    Heartbeat(Offset),
}

/// Why a subscription ends.
pub(crate) enum End {
    /// Nobody is there to be told.
    Gone,
    /// The client is told.
    Failed(Error),
}

/// The way to a client and back.
pub(crate) trait Line: Send + 'static {
    /// How many entries go into one message at most.
    fn entries_max(&self) -> usize;

    /// What the client acknowledges next; `None` when it has gone, or wants no more. Whoever stops waiting loses nothing.
    fn hear(&mut self) -> impl Future<Output = Option<Result<Offset>>> + Send;

    /// Waits until there is room for a message to the client. Whoever stops waiting loses nothing.
    fn ready(&mut self) -> impl Future<Output = Result<(), End>> + Send;

    /// Tells the client something; there is room for it.
    fn tell(&mut self, told: Told) -> impl Future<Output = Result<(), End>> + Send;

    /// Tells the client why there will be no more.
    fn end(self, error: Error) -> impl Future<Output = ()> + Send;
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Told {
    /// As both doors say it.
    pub(crate) fn response(&self) -> v1::SubscribeResponse {
        let response = match self {
            Self::Opened {
                stream,
                next,
                head,
                generation,
            } => Response::Opened(v1::SubscribeOpened {
                incarnation: stream.to_string(),
                next_offset: next.as_u64(),
                head_offset: head.as_u64(),
                generation: *generation,
            }),
            Self::Entries(page) => Response::Entries(v1::SubscribeEntries {
                entries: page.entries.iter().map(v1::Entry::from).collect(),
                next_offset: page.next.as_u64(),
                head_offset: page.head.as_u64(),
            }),
            Self::Heartbeat(next) => Response::Heartbeat(v1::SubscribeHeartbeat {
                next_offset: next.as_u64(),
            }),
        };
        v1::SubscribeResponse {
            response: Some(response),
        }
    }
}
