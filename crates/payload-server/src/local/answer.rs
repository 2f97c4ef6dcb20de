//! Answers on their way out: encoded once, with their descriptors, and the call measured.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::{Container, Error, Instant, Reason};
use payload_engine::{Holder, Notice, NoticeSink};
use payload_proto::convert::container_id;
use payload_proto::v1::notice::Notice as Kind;
use payload_proto::v1::server_message::Response;
use payload_proto::{status, v1};
use prost::Message;

use super::outbox::Outbox;
use crate::calls::{Calls, Door, Rpc};

/// One request that is answered once, from whatever thread; with a failure if its work panics.
pub(super) struct Ticket {
    correlation_id: u64,
    rpc: Rpc,
    began: Instant,
    answered: bool,
    outbox: Arc<Outbox>,
    pub(super) holder: Arc<Holder>,
    pub(super) calls: Calls,
}

/// What goes back: a message, its descriptors, and the containers that the client knows once it has them.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) response: Option<Response>,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) sent: Vec<Container>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            response: Some(response),
            ..Self::default()
        }
    }
}

impl Ticket {
    pub(super) fn new(
        correlation_id: u64,
        rpc: Rpc,
        calls: &Calls,
        holder: &Arc<Holder>,
        outbox: &Arc<Outbox>,
    ) -> Self {
        Self {
            correlation_id,
            rpc,
            began: calls.now(),
            answered: false,
            outbox: Arc::clone(outbox),
            holder: Arc::clone(holder),
            calls: calls.clone(),
        }
    }

    /// Sends the answer. `buffer` is reused from call to call where there is one.
    pub(super) fn answer(mut self, result: Result<Answer, Error>, buffer: &mut Vec<u8>) {
        self.send(result, buffer);
    }

    fn send(&mut self, result: Result<Answer, Error>, buffer: &mut Vec<u8>) {
        self.answered = true;
        self.calls
            .observe(Door::Local, self.rpc, self.began, result.as_ref().err());
        let answer = result.unwrap_or_else(|error| Response::Failure(status::to_failure(&error)).into());
        answer.send(self.correlation_id, &self.outbox, &self.holder, buffer);
    }
}

impl Answer {
    /// Sends it, now or when the client reads on.
    pub(super) fn send(self, correlation_id: u64, outbox: &Arc<Outbox>, holder: &Holder, buffer: &mut Vec<u8>) {
        encode(correlation_id, self.response, buffer);
        let sent = self.sent;
        // From then on, messages behind this one rely on the client's having the descriptors.
        outbox.send_noted(buffer, self.fds, || {
            if !sent.is_empty() {
                holder.remember(sent);
            }
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            let error = Error::new(Reason::Internal, "the call panicked; see the server's log").outcome_unknown();
            self.send(Err(error), &mut Vec::new());
        }
    }
}

pub(super) fn encode(correlation_id: u64, response: Option<Response>, buffer: &mut Vec<u8>) {
    buffer.clear();
    let message = v1::ServerMessage {
        correlation_id,
        response,
    };
    message.encode(buffer).expect("a vector grows as needed");
}

pub(super) fn notice_of(kind: Kind) -> Response {
    Response::Notice(v1::Notice { notice: Some(kind) })
}

/// Takes the engine's notices to the client.
pub(super) struct Notices(pub(super) Arc<Outbox>);

impl NoticeSink for Notices {
    fn send(&self, notice: Notice) {
        let kind = match notice {
            Notice::LeaseEnded { lease, reason, message } => Kind::LeaseEnded(v1::LeaseEnded {
                lease_id: lease.to_string(),
                reason: reason.as_str().to_owned(),
                message,
            }),
            Notice::ContainersGone(containers) => Kind::ContainersGone(v1::ContainersGone {
                container_ids: containers.iter().map(container_id).collect(),
            }),
        };
        let mut buffer = Vec::new();
        encode(0, Some(notice_of(kind)), &mut buffer);
        self.0.send(&buffer, Vec::new());
    }
}
