//! Gives back what is not wanted any more: at once when somebody waits for it, else many at a time in the background.

use std::sync::Arc;

use payload_core::{LeaseId, Reason, Result, limits};
use payload_proto::status::from_failure;
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;

use crate::grant::nonsense;
use crate::intake::{Answer, Expect};
use crate::registry::Registry;
use crate::session::{Retry, Session};

/// Releases one lease that was taken out of the registry.
pub(crate) async fn release(session: &Session, id: LeaseId) -> Result<()> {
    let unfinished = LaterOnDrop {
        registry: &session.registry,
        id: Some(id),
    };
    let request = Request::Release(v1::ReleaseRequest {
        lease_ids: vec![id.to_string()],
    });
    let answer = session.call(request, Expect::Message, Retry::Never).await;
    unfinished.finish();
    match answer {
        Ok(Answer::Message(Response::Release(response))) => {
            let failure = response.results.into_iter().next().and_then(|result| result.failure);
            match failure.map(from_failure) {
                Some(error) if error.reason() != Reason::LeaseNotFound => Err(error),
                _ => Ok(()),
            }
        }
        Ok(_) => Err(nonsense("an answer to another question")),
        // The lease ended with the connection, and nothing asks a later server for it.
        Err(error) if error.reason() == Reason::ConnectionLost && !session.is_remote() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Releases leases, aborts allocations and closes subscriptions that were dropped. One request is under way at a time, so what is dropped
/// meanwhile goes into the next one.
pub(crate) async fn run(session: Arc<Session>) {
    let registry = &session.registry;
    loop {
        registry.release_wanted.notified().await;
        loop {
            let ids = registry.next_releases(limits::BATCH_ITEMS_MAX);
            let (abort, close) = (registry.next_abort(), registry.next_close());
            if ids.is_empty() && abort.is_none() && close.is_none() {
                break;
            }
            // A failure changes nothing: without a connection there is nothing to give back either.
            if !ids.is_empty() {
                let lease_ids = ids.iter().map(LeaseId::to_string).collect();
                let request = Request::Release(v1::ReleaseRequest { lease_ids });
                drop(session.call(request, Expect::Message, Retry::Never).await);
            }
            if let Some(record) = abort {
                let request = Request::Abort(v1::AbortRequest {
                    namespace: session.namespace(),
                    payload_id: record.payload_id.clone(),
                    allocation_token: record.token.clone(),
                    reason: "dropped by its writer".to_owned(),
                });
                drop(session.call(request, Expect::Message, Retry::Never).await);
            }
            if let Some(subscription) = close {
                let request = Request::CloseSubscription(v1::CloseSubscriptionRequest { subscription });
                drop(session.call(request, Expect::Message, Retry::Never).await);
            }
        }
    }
}

/// Hands a release to the background if its caller stops waiting.
struct LaterOnDrop<'a> {
    registry: &'a Registry,
    id: Option<LeaseId>,
}

impl LaterOnDrop<'_> {
    fn finish(mut self) {
        self.id = None;
    }
}

impl Drop for LaterOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.registry.release_later(id);
        }
    }
}
