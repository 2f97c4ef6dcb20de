//! Scrub: read everything again from time to time, slowly, so that bytes that went bad at rest are found while there is a copy.

use std::collections::VecDeque;

use parking_lot::Mutex;
use payload_core::{ErrorKind, Instant, Namespace, PayloadId, Result, Span};

use crate::engine::Engine;

/// The first pass begins so long after the start: a server that starts has other things to do, and one that starts again and
/// again should not read all the time.
const FIRST: Span = Span::from_secs(600);

/// How far the present pass is.
#[derive(Debug, Default)]
pub(crate) struct Scrub(Mutex<Pass>);

#[derive(Debug, Default)]
struct Pass {
    /// When it began, if it did.
    began: Option<Instant>,
    /// When the next one begins.
    next: Option<Instant>,
    /// The namespace that is being read, and how much of it has not been put into the line.
    at: Option<(Namespace, Rest)>,
    /// Those that come next.
    line: VecDeque<PayloadId>,
}

/// What is left of a namespace.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// What comes after this payload, or all of it.
    After(Option<PayloadId>),
    Nothing,
}

impl Engine {
    /// Reads the next payload, if it is time for one. Returns how long to wait after it, so that reading stays below its rate;
    /// never again if scrubbing is off.
    pub fn scrub(&self) -> Result<Option<Span>> {
        let Some(interval) = self.settings.scrub_interval else {
            return Ok(None);
        };
        let mut pass = self.scrub.0.lock();
        let now = self.now();
        let next = *pass.next.get_or_insert(self.started_at.after(FIRST.min(interval)));
        if now < next {
            return Ok(Some(next.since(now)));
        }
        let began = *pass.began.get_or_insert(now);
        match self.next_to_scrub(&mut pass)? {
            Some((namespace, payload)) => Ok(Some(self.scrub_one(&namespace, payload))),
            None => {
                let next = began.after(interval).max(now);
                *pass = Pass {
                    next: Some(next),
                    ..Pass::default()
                };
                Ok(Some(next.since(now)))
            }
        }
    }

    /// Reads one payload; what cannot be read now is read in the next pass.
    fn scrub_one(&self, namespace: &Namespace, payload: PayloadId) -> Span {
        match self.verify_bytes(namespace, &payload.into()) {
            Ok(verified) => {
                self.metrics.scrubbed(verified.bytes);
                let nanos = u128::from(verified.bytes) * 1_000_000_000 / u128::from(self.settings.scrub_rate.max(1));
                Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            // It has ended meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::FailedPrecondition | ErrorKind::NotFound) => Span::ZERO,
            Err(error) => {
                tracing::warn!(%payload, %error, "could not read a payload's bytes to see whether they are right");
                Span::from_secs(1)
            }
        }
    }

    fn next_to_scrub(&self, pass: &mut Pass) -> Result<Option<(Namespace, PayloadId)>> {
        loop {
            if let (Some((namespace, _)), Some(payload)) = (&pass.at, pass.line.pop_front()) {
                return Ok(Some((namespace.clone(), payload)));
            }
            pass.at = match pass.at.clone() {
                Some((namespace, Rest::After(last))) => {
                    let (line, rest) = self.part_to_scrub(&namespace, last)?;
                    pass.line = line;
                    Some((namespace, rest))
                }
                done => {
                    let after = done.map(|(namespace, _)| namespace);
                    let next = self.repository().namespaces(after.as_ref(), 1)?.into_iter().next();
                    let Some(row) = next else { return Ok(None) };
                    Some((row.name, Rest::After(None)))
                }
            };
        }
    }

    fn part_to_scrub(&self, namespace: &Namespace, last: Option<PayloadId>) -> Result<(VecDeque<PayloadId>, Rest)> {
        match self.to_verify(namespace, last) {
            Ok(page) => {
                let rest = page.next.map_or(Rest::Nothing, |next| Rest::After(Some(next)));
                Ok((page.payloads.into(), rest))
            }
            // It was removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((VecDeque::new(), Rest::Nothing)),
            Err(error) => Err(error),
        }
    }
}
