//! Following what happens: a watch that goes on where it was when the connection breaks.

use std::pin::Pin;

use payload_core::{Error, PayloadRef, Reason, Result};
use payload_proto::v1;
use payload_proto::v1::catalog_service_client::CatalogServiceClient;

use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::backoff::{Backoff, is_passing};
use crate::catalog::{Catalog, EventFilter};
use crate::messages::Messages;

/// How the server answers, before the first message.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Streaming<v1::WatchEventsResponse>>, Status>> + Send>>;

/// Where a watch begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchFrom {
    /// With the earliest event that is kept.
    #[default]
    Beginning,
    /// With what happens from now on.
    Now,
    /// After this cursor.
    Cursor(String),
}

/// Events as they happen. Nothing is skipped: after a break it goes on from the last cursor.
#[derive(Debug)]
pub struct Watch {
    catalog: Catalog,
    request: v1::WatchEventsRequest,
    messages: Option<Messages<v1::WatchEventsResponse>>,
}

impl Catalog {
    /// Follows the events that fit.
    pub async fn watch(&self, filter: &EventFilter, from: WatchFrom) -> Result<Watch> {
        let (from, cursor) = match from {
            WatchFrom::Beginning => (v1::WatchFrom::Beginning, String::new()),
            WatchFrom::Now => (v1::WatchFrom::Now, String::new()),
            WatchFrom::Cursor(cursor) => (v1::WatchFrom::Unspecified, cursor),
        };
        let mut watch = Watch {
            catalog: self.clone(),
            request: v1::WatchEventsRequest {
                namespace: self.namespace.clone(),
                payload_id: filter.payload.as_ref().map(PayloadRef::to_string).unwrap_or_default(),
                kinds: filter.kinds.clone(),
                cursor,
                from: from.into(),
            },
            messages: None,
        };
        let messages = self.grpc.call(|channel| watch.ask()(channel)).await?;
        watch.messages = Some(Messages::new(messages));
        Ok(watch)
    }
}

impl Watch {
    /// The next message, which may hold no event: then the server says that it is there, and how far it has looked.
    pub async fn next(&mut self) -> Result<v1::WatchEventsResponse> {
        let mut backoff = None;
        loop {
            let error = match self.try_next().await {
                Ok(Some(message)) => {
                    self.request.cursor.clone_from(&message.cursor);
                    self.request.from = v1::WatchFrom::Unspecified.into();
                    return Ok(message);
                }
                Ok(None) => Error::new(Reason::ConnectionLost, "the server ended the watch without a reason"),
                Err(error) => error,
            };
            self.messages = None;
            // Who was cut off for not reading is reading now, and the server is there.
            if error.reason() == Reason::ReaderTooSlow {
                continue;
            }
            let backoff = backoff.get_or_insert_with(|| Backoff::new(self.catalog.grpc.reconnect_max()));
            if !is_passing(error.reason()) || !backoff.pause().await {
                return Err(error);
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<v1::WatchEventsResponse>> {
        let messages = match self.messages.take() {
            Some(messages) => messages,
            None => Messages::new(self.catalog.grpc.once(self.ask()).await?),
        };
        self.messages.insert(messages).next().await
    }

    fn ask(&self) -> impl FnOnce(Channel) -> Answer {
        let request = self.request.clone();
        move |channel| Box::pin(async move { CatalogServiceClient::new(channel).watch_events(request).await })
    }
}
