//! Arithmetic on what a server says about places, which must not be trusted to add up.

use std::ops::Range;

use payload_core::{Error, Reason, Result};

/// The range of a container that `size` bytes at `offset` take up.
pub(crate) fn range(offset: u64, size: u64) -> Result<Range<usize>> {
    let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok());
    match (usize::try_from(offset), end) {
        (Ok(start), Some(end)) => Ok(start..end),
        _ => Err(Error::new(
            Reason::Internal,
            "server named a place that no container can have",
        )),
    }
}
