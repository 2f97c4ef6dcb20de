//! Leaves a bucket alone that does not answer, and lets one call through from time to time to see whether it does again.

use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::port::{Clock, ObjectStore};
use payload_core::tiering::{Breaker, Gate};
use payload_core::{Error, Reason, Result};

/// A bucket whose calls fail at once while it does not answer.
pub(super) struct Guarded {
    bucket: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    breaker: Mutex<Breaker>,
}

impl Guarded {
    pub(super) fn new(bucket: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            bucket,
            clock,
            breaker: Mutex::default(),
        }
    }

    /// Asks the bucket, unless it is left alone at the moment.
    pub(super) fn call<T>(&self, work: impl FnOnce(&dyn ObjectStore) -> Result<T>) -> Result<T> {
        if let Gate::Closed { until } = self.breaker.lock().ask(self.clock.now()) {
            let message = "the bucket has not answered lately, and is left alone for a while";
            return Err(Error::new(Reason::ObjectStoreUnavailable, message).retry_after(until.since(self.clock.now())));
        }
        let result = work(&*self.bucket);
        let answered = !matches!(&result, Err(error) if is_out_of_reach(error));
        self.breaker.lock().note(answered, self.clock.now());
        result
    }

    /// What the bucket is not asked for: it tells nothing of how the bucket is.
    pub(super) fn beside<T>(&self, work: impl FnOnce(&dyn ObjectStore) -> Result<T>) -> Result<T> {
        work(&*self.bucket)
    }

    /// Whether it is left alone at the moment.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.lock().is_open()
    }
}

/// Whether the next call is likely to fail in the same way, whatever it asks for.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::ObjectStoreUnavailable | Reason::ObjectStoreDenied
    )
}
