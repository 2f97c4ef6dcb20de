//! Renews leases that have a term, at a third of it. While no lease has one, nothing runs here.

use std::sync::Arc;

use payload_core::{Instant, Reason, Span, limits};
use payload_proto::status::from_failure;
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;

use crate::clock;
use crate::intake::{Answer, Expect};
use crate::lease::LeaseState;
use crate::registry::{LeaseRecord, Registry};
use crate::session::{Retry, Session};

/// Renews what is due, until the client is dropped.
pub(crate) async fn run(session: Arc<Session>) {
    let registry = &session.registry;
    loop {
        match registry.next_due() {
            None => registry.renewal_wanted.notified().await,
            Some(at) => {
                let _ = tokio::time::timeout(at.since(clock::now()), registry.renewal_wanted.notified()).await;
            }
        }
        let due = registry.due(clock::now());
        // One request has one term, and as many leases as fit into a batch.
        for same_term in due.chunk_by(|one, other| one.ttl == other.ttl) {
            for leases in same_term.chunks(limits::BATCH_ITEMS_MAX) {
                renew(&session, leases).await;
            }
        }
    }
}

async fn renew(session: &Session, leases: &[Arc<LeaseRecord>]) {
    let asked_at = clock::now();
    let request = v1::RenewRequest {
        namespace: session.namespace(),
        leases: leases.iter().map(|lease| lease.to_ref()).collect(),
        ttl_ms: leases.first().and_then(|lease| lease.ttl).map(millis),
    };
    let answer = session
        .call(Request::Renew(request), Expect::Message, Retry::Never)
        .await;
    let results = match answer {
        Ok(Answer::Message(Response::Renew(response))) => response.results,
        _ => Vec::new(),
    };
    let mut results = results.into_iter();
    for lease in leases {
        settle(&session.registry, lease, asked_at, results.next());
    }
}

fn settle(registry: &Registry, lease: &LeaseRecord, asked_at: Instant, result: Option<v1::RenewResult>) {
    let Some(result) = result else {
        // No answer: the connection broke. A reclaim gives a fresh term; else the next attempt is due soon.
        return registry.renew_again(lease, clock::now());
    };
    let Some(failure) = result.failure else {
        return registry.renewed(lease, asked_at, result.expires_in_ms);
    };
    let state = match from_failure(failure).reason() {
        Reason::LeaseExpired | Reason::LeaseNotFound => LeaseState::Expired,
        Reason::LeaseRevoked => LeaseState::Revoked,
        _ => return registry.renew_again(lease, clock::now()),
    };
    registry.end_lease(lease.standing().id, state);
}

/// A span on the wire.
pub(crate) fn millis(span: Span) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
