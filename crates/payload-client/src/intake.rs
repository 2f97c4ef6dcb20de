//! What comes in: answers become leases and writers before their callers wake, so that nothing granted can get lost.

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::{Result, Span};
use payload_proto::status::from_failure;
use payload_proto::v1;
use payload_proto::v1::server_message::Response;

use crate::grant::{self, Asked, Grant, nonsense};
use crate::lease::LeaseState;
use crate::reclaim;
use crate::registry::{AllocationRecord, LeaseRecord};
use crate::session::Session;
use crate::subscriptions::Subscriptions;
use crate::waiters::Question;
use crate::writer::Writer;

/// What a caller makes of its answer.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// It reads the message itself.
    Message,
    /// Leases, for which it asked this term.
    Leases { ttl: Option<Span> },
    /// Room for so many bytes.
    Room { size: u64 },
    /// What it held before.
    Reclaim {
        leases: Vec<Arc<LeaseRecord>>,
        allocations: Vec<Arc<AllocationRecord>>,
    },
}

/// An answer, taken in.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "an answer is moved once; a box would cost every call an allocation"
)]
pub(crate) enum Answer {
    /// As it came.
    Message(Response),
    /// One for each item, in order.
    Leases(Vec<Result<Grant>>),
    /// To be filled.
    Room(Box<Writer>),
    /// The registry is up to date.
    Reclaimed,
}

/// Makes of an answer what its caller expects.
pub(crate) fn answer(
    session: &Session,
    question: &Question,
    message: v1::ServerMessage,
    fds: Vec<Option<OwnedFd>>,
) -> Result<Answer> {
    match message.response {
        Some(Response::Failure(failure)) => Err(from_failure(failure)),
        Some(response) => take(session, &question.expect, question.asked_at, response, fds),
        None => Err(nonsense("an answer of an unknown kind")),
    }
}

/// Takes an answer in.
pub(crate) fn take(
    session: &Session,
    expect: &Expect,
    asked_at: payload_core::Instant,
    response: Response,
    mut fds: Vec<Option<OwnedFd>>,
) -> Result<Answer> {
    let epoch = session.epoch();
    match (expect, response) {
        (Expect::Message, response) => Ok(Answer::Message(response)),
        (Expect::Leases { ttl }, Response::Acquire(response)) => {
            let owner = session.owner()?;
            let asked = Asked {
                at: asked_at,
                epoch,
                ttl: *ttl,
            };
            let mut take = |result| grant::taken(session, &owner, asked, result, &mut fds);
            Ok(Answer::Leases(response.results.into_iter().map(&mut take).collect()))
        }
        (Expect::Room { size }, Response::Allocate(mut response)) => {
            let fd = grant::take_fd(&mut fds, response.fd)?;
            let (id, token) = (
                mem::take(&mut response.payload_id),
                mem::take(&mut response.allocation_token),
            );
            let record = AllocationRecord::new(id, token, epoch);
            session.registry.add_allocation(&record);
            let writer = Writer::new(session.owner()?, record, *size, response, fd)?;
            Ok(Answer::Room(Box::new(writer)))
        }
        (Expect::Reclaim { leases, allocations }, Response::Reclaim(response)) => {
            let asked = Asked {
                at: asked_at,
                epoch,
                ttl: None,
            };
            reclaim::take(session, asked, leases, allocations, response, &mut fds);
            Ok(Answer::Reclaimed)
        }
        _ => Err(nonsense("an answer to another question")),
    }
}

/// Takes in what the server tells without being asked.
pub(crate) fn notice(
    session: &Session,
    subscriptions: &Subscriptions,
    message: v1::ServerMessage,
    mut fds: Vec<Option<OwnedFd>>,
) {
    let Some(Response::Notice(v1::Notice { notice: Some(notice) })) = message.response else {
        // A newer server may have more to tell than this client understands.
        return;
    };
    match notice {
        v1::notice::Notice::LeaseEnded(ended) => {
            let state = if ended.reason == "LEASE_REVOKED" {
                LeaseState::Revoked
            } else {
                LeaseState::Expired
            };
            if let Ok(id) = ended.lease_id.parse() {
                session.registry.end_lease(id, state);
            }
        }
        v1::notice::Notice::ContainersGone(gone) => {
            session.stages.gone(&gone.container_ids);
            session.cache.gone(&gone.container_ids);
        }
        v1::notice::Notice::Subscription(news) => subscriptions.take_in(session, news, &mut fds),
    }
}
