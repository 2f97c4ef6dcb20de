//! One connection: request after request, until the client has enough or does something that cannot be gone on from.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_core::Span;
use payload_engine::{Content, Engine};

use super::answer::{Answer, Body as Answered, Failure, Refusal};
use super::body::Body;
use super::content;
use super::head::{self, Framing, Head, Method};
use super::metrics::Metrics;
use super::target;
use super::upload;
use super::wire::Wire;
use crate::http::guard;

/// When a client that found no place may try again.
const RETRY_AFTER: Span = Span::from_secs(1);

/// What every connection of the endpoint shares.
pub(super) struct Service {
    pub(super) engine: Arc<Engine>,
    pub(super) bound: IpAddr,
    pub(super) metrics: Metrics,
    pub(super) stopping: AtomicBool,
}

/// Serves one client to the end. `receiving` is raised while a body is read, which a stop must not cut short.
pub(super) fn serve(service: &Service, wire: &mut Wire, receiving: &AtomicBool) {
    loop {
        let (method, served) = match next_head(wire) {
            Ok(None) => return,
            Ok(Some(head)) => (head.method, service.serve(wire, &head, receiving)),
            Err(failure) => (Method::Other, Err(failure)),
        };
        match served {
            Ok(true) => {}
            Ok(false) => return wire.farewell(),
            Err(Failure::Refused(refusal)) => return service.refuse(wire, method, refusal),
            Err(Failure::Broken(error)) => {
                tracing::debug!(%error, method = method.as_str(), "a connection to the byte endpoint broke off");
                service.metrics.broke(&error);
                return;
            }
        }
    }
}

/// Sends a client away for which there is no place. Its request is read, or it would not read the answer.
pub(super) fn turn_away(service: &Service, wire: &mut Wire) {
    service.metrics.refused();
    if let Ok(Some(head)) = next_head(wire) {
        let refusal = Refusal::new(503, "there are as many connections as there may be")
            .reason("OVERLOADED")
            .retry_after(RETRY_AFTER);
        service.refuse(wire, head.method, refusal);
    }
}

/// The head of the next request; `None` if the client has no further one.
fn next_head(wire: &mut Wire) -> Result<Option<Head>, Failure> {
    let deadline = wire.deadline();
    loop {
        if let Some((head, length)) = head::parse(wire.ahead())? {
            wire.consume(length);
            return Ok(Some(head));
        }
        if wire.is_full() {
            let line = wire.ahead().contains(&b'\n');
            return Err(match line {
                true => Refusal::new(431, "the headers are too large"),
                false => Refusal::new(414, "the target is too long"),
            }
            .into());
        }
        let idle = wire.ahead().is_empty();
        match wire.fill(deadline) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // Between requests everybody may fall silent.
            Err(_) if idle => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Refusal::new(408, "the request did not come in time").into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Service {
    /// Handles one request; says whether another one may follow.
    fn serve(&self, wire: &mut Wire, head: &Head, receiving: &AtomicBool) -> Result<bool, Failure> {
        let mut body = Body::new(wire, head);
        receiving.store(head.framing != Framing::Length(0), Ordering::Relaxed);
        let answer = self.answer(head, &mut body);
        receiving.store(false, Ordering::Relaxed);
        let over = body.is_over();
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => refusal.into(),
            Err(broken) => return Err(broken),
        };
        // What is left of a body would be taken for the next request.
        let keep = over && head.keep_alive && !self.stopping.load(Ordering::Relaxed);
        self.send(wire, head.method, answer, keep)?;
        Ok(keep)
    }

    fn answer(&self, head: &Head, body: &mut Body<'_>) -> Result<Answer, Failure> {
        self.admit(head)?;
        let target = target::parse(&head.uri)?;
        match head.method {
            Method::Get | Method::Head => Ok(content::get(&self.engine, head, &target)?),
            Method::Put => upload::put(&self.engine, &self.metrics, head, &target, body),
            Method::Other => Err(Refusal::new(405, "content is read with GET and written with PUT")
                .reason("METHOD_NOT_ALLOWED")
                .header("Allow", "GET, HEAD, PUT")
                .into()),
        }
    }

    /// Keeps web pages out, as the control listener does.
    fn admit(&self, head: &Head) -> Result<(), Refusal> {
        let authority = head.uri.authority().map(axum::http::uri::Authority::as_str);
        match guard::refusal(self.bound, &head.host, authority, head.origin.as_deref()) {
            Some(message) => Err(Refusal::new(403, message.trim_end()).reason("FORBIDDEN")),
            None => Ok(()),
        }
    }

    fn send(&self, wire: &Wire, method: Method, answer: Answer, keep: bool) -> Result<(), Failure> {
        let mut message = answer.head(wire, !keep);
        self.metrics.answered(method, answer.status);
        tracing::debug!(method = method.as_str(), status = answer.status, "answered");
        match answer.body {
            _ if method == Method::Head => wire.send(message.as_bytes(), false)?,
            Answered::Nothing => wire.send(message.as_bytes(), false)?,
            Answered::Text(text) => {
                message.push_str(&text);
                wire.send(message.as_bytes(), false)?;
            }
            Answered::Content { content, first, length } => {
                wire.send(message.as_bytes(), length > 0)?;
                self.send_content(wire, &content, first, length)?;
            }
        }
        Ok(())
    }

    fn send_content(&self, wire: &Wire, content: &Content, first: u64, length: u64) -> io::Result<()> {
        let Some(bytes) = content.bytes() else { return Ok(()) };
        let mut sent = 0;
        let check = || {
            content
                .check()
                .map_err(|error| io::Error::new(io::ErrorKind::Interrupted, error))
        };
        let result = wire.send_file(bytes, content.offset() + first, length, &mut sent, check);
        self.metrics.sent(sent);
        result
    }

    fn refuse(&self, wire: &mut Wire, method: Method, refusal: Refusal) {
        match self.send(wire, method, refusal.into(), false) {
            Ok(()) => wire.farewell(),
            Err(_) => tracing::debug!("a client did not wait to hear why it was refused"),
        }
    }
}
