//! Request ids that no other client will choose: random bytes once, a counter from then on.

use std::sync::atomic::{AtomicU64, Ordering};

use payload_core::{Error, Reason, Result};

/// Makes request ids without a system call each.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u128,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Result<Self> {
        let mut prefix = [0; 16];
        getrandom::fill(&mut prefix).map_err(|error| {
            Error::new(Reason::Internal, "the system gives no random bytes for request ids").source(error)
        })?;
        Ok(Self {
            prefix: u128::from_ne_bytes(prefix),
            next: AtomicU64::new(1),
        })
    }

    pub(crate) fn next(&self) -> String {
        format!("{:032x}-{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use payload_core::RequestId;

    use super::*;

    #[test]
    fn ids_differ_and_are_well_formed() {
        let (one, other) = (RequestIds::new().unwrap(), RequestIds::new().unwrap());
        let ids = [one.next(), one.next(), other.next(), other.next()];
        for (i, id) in ids.iter().enumerate() {
            assert!(id.parse::<RequestId>().is_ok());
            assert!(!ids[..i].contains(id));
        }
    }
}
