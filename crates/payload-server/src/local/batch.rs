//! Leases on several payloads at once: what needs no I/O is granted at once, the rest wherever blocking is allowed.

use std::sync::Arc;

use payload_core::{Error, LeaseId, Namespace, PayloadRef, Reason, Result, limits};
use payload_engine::{Access, AcquireOptions, Engine, Grant, Holder};
use payload_proto::v1;

use super::answer::Answer;
use crate::wire;

/// Contents in one message take at most this much together, so that the message stays below its limit.
pub(super) const CONTENT_MAX: u64 = 96 << 10;

const _: () = assert!(CONTENT_MAX >= limits::INLINE_SIZE_MAX && (CONTENT_MAX as usize) < limits::MESSAGE_SIZE_MAX);

/// Payloads to be leased, with their results so far.
pub(super) struct Batch {
    items: Vec<Item>,
    position: usize,
    options: AcquireOptions,
    content_left: u64,
}

enum Item {
    Open(PayloadRef),
    Done(Result<Grant>),
}

impl Batch {
    pub(super) fn new(payloads: Vec<Result<PayloadRef>>, options: AcquireOptions) -> Self {
        let items = payloads
            .into_iter()
            .map(|payload| payload.map_or_else(|error| Item::Done(Err(error)), Item::Open))
            .collect();
        Self {
            items,
            position: 0,
            options,
            content_left: CONTENT_MAX,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The first item without a result.
    pub(super) fn first_open(&mut self) -> Option<(PayloadRef, AcquireOptions)> {
        self.position = 0;
        self.next()
    }

    /// Grants what needs no I/O. A refusal that `may_pass` is none yet.
    pub(super) fn grant_quickly(
        &mut self,
        engine: &Engine,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        may_pass: impl Fn(&Error) -> bool,
    ) {
        while let Some((payload, options)) = self.next() {
            let quick = match payload {
                PayloadRef::Id(id) => engine.acquire_quick(holder, namespace, id, options),
                // Where a name points is asked of the repository.
                PayloadRef::Name(_) => None,
            };
            match quick {
                Some(Err(error)) if may_pass(&error) => self.position += 1,
                Some(result) => self.push(result),
                None => self.position += 1,
            }
        }
    }

    /// The next item without a result, with how much content it may bring.
    fn next(&mut self) -> Option<(PayloadRef, AcquireOptions)> {
        while let Some(item) = self.items.get(self.position) {
            if let Item::Open(payload) = item {
                let inline_max = self.options.inline_max.min(self.content_left);
                return Some((
                    payload.clone(),
                    AcquireOptions {
                        inline_max,
                        ..self.options
                    },
                ));
            }
            self.position += 1;
        }
        None
    }

    pub(super) fn push(&mut self, result: Result<Grant>) {
        if let Ok(Grant {
            access: Access::Content(content),
            ..
        }) = &result
        {
            self.content_left = self.content_left.saturating_sub(content.len() as u64);
        }
        self.items[self.position] = Item::Done(result);
        self.position += 1;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.items.iter().all(|item| matches!(item, Item::Done(_)))
    }

    /// Gives every item that was put off its result, where blocking is allowed.
    pub(super) fn finish(&mut self, engine: &Engine, holder: &Arc<Holder>, namespace: &Namespace) {
        self.position = 0;
        while let Some((payload, options)) = self.next() {
            let id = engine.resolve(namespace, &payload);
            let result = id.and_then(|id| engine.acquire(holder, namespace, id, options));
            self.push(result);
        }
    }

    /// What was granted.
    pub(super) fn leases(&self) -> Vec<LeaseId> {
        let granted = self.items.iter().filter_map(|item| match item {
            Item::Done(Ok(grant)) => Some(grant.lease),
            Item::Done(Err(_)) | Item::Open(_) => None,
        });
        granted.collect()
    }

    /// The results on the wire, in order; descriptors go into the message that brings them.
    pub(super) fn into_results(self, answer: &mut Answer) -> Vec<v1::AcquireResult> {
        let unanswered = || Error::new(Reason::Internal, "an item of a batch was not answered");
        let results = self.items.into_iter().map(|item| match item {
            Item::Done(result) => result,
            Item::Open(_) => Err(unanswered()),
        });
        results
            .map(|result| wire::acquired(result, &mut answer.fds, &mut answer.sent))
            .collect()
    }
}
