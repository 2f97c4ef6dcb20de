//! Keeps segments in the manager's file descriptor store.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payload_core::limits::SYSTEMD_SEGMENTS_MAX;
use payload_core::port::FdStore;
use payload_core::sync::Group;
use payload_core::{Error, Reason, Result, SegmentId};

use super::Notifier;

/// How many stores share one barrier.
const GROUP_MAX: usize = 64;

/// The store, with a duplicate of all that is in it: the manager answers nothing, so it cannot be asked.
#[derive(Debug)]
pub struct SystemdStore {
    notifier: Arc<Notifier>,
    max: usize,
    kept: Mutex<HashMap<SegmentId, OwnedFd>>,
    group: Group<(SegmentId, OwnedFd), Result<()>>,
}

impl SystemdStore {
    /// A store of `max` descriptors, with `segments` in it already. All of them travel in one environment variable, so it
    /// is never used beyond 1,024.
    pub fn new(notifier: Arc<Notifier>, max: usize, segments: Vec<(SegmentId, OwnedFd)>) -> Self {
        Self {
            notifier,
            max: max.min(SYSTEMD_SEGMENTS_MAX),
            kept: Mutex::new(segments.into_iter().collect()),
            group: Group::new(GROUP_MAX),
        }
    }

    /// How many segments there may be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Gives everything up.
    pub fn clear(&self) -> Result<()> {
        let segments: Vec<SegmentId> = self.kept().keys().copied().collect();
        for segment in segments {
            self.remove(segment)?;
        }
        self.notifier.barrier().map_err(unavailable)
    }

    /// Tells the manager of a group, and waits once until it has kept all of them.
    fn store_all(&self, group: &[(SegmentId, OwnedFd)]) -> Vec<Result<()>> {
        let told = group
            .iter()
            .try_for_each(|(segment, fd)| self.notifier.store(&name(*segment), fd.as_fd()))
            .and_then(|()| self.notifier.barrier());
        let result = |_| match &told {
            Ok(()) => Ok(()),
            Err(error) => Err(unavailable(io::Error::new(error.kind(), error.to_string()))),
        };
        group.iter().map(result).collect()
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SegmentId, OwnedFd>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FdStore for SystemdStore {
    fn store(&self, segment: SegmentId, fd: BorrowedFd<'_>) -> Result<()> {
        let duplicate = || {
            fd.try_clone_to_owned().map_err(|error| {
                Error::new(Reason::SegmentsExhausted, "no file descriptor to spare for the keeper").source(error)
            })
        };
        let (sent, own) = (duplicate()?, duplicate()?);
        if self.kept().contains_key(&segment) {
            // The manager would keep both under one name.
            self.remove(segment)?;
        }
        let mut kept = self.kept();
        // Beyond its limit the manager drops what it is given, and says so in its own log only.
        if kept.len() >= self.max {
            return Err(full(self.max));
        }
        kept.insert(segment, own);
        drop(kept);
        let result = self.group.run((segment, sent), |group| self.store_all(&group));
        if result.is_err() {
            self.kept().remove(&segment);
        }
        result
    }

    fn remove(&self, segment: SegmentId) -> Result<()> {
        // Also what is not known here: a store that failed may have come to the manager all the same.
        let fd = self.kept().remove(&segment);
        self.notifier.remove(&name(segment)).map_err(|error| {
            // Its owner still has it and will come again.
            self.kept().extend(fd.map(|fd| (segment, fd)));
            unavailable(error)
        })
    }

    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>> {
        let duplicate = |(segment, fd): (&SegmentId, &OwnedFd)| Ok((*segment, fd.try_clone()?));
        let listed: io::Result<_> = self.kept().iter().map(duplicate).collect();
        listed.map_err(|error| {
            Error::new(Reason::SegmentsExhausted, "no file descriptors for the kept segments").source(error)
        })
    }
}

/// What a segment is called in the store: short, as all names travel together.
fn name(segment: SegmentId) -> String {
    let bytes = segment.as_bytes().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The segment of a name; none if it is something else's.
pub(super) fn segment(name: &str) -> Option<SegmentId> {
    let digits = name.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let value = u128::from_str_radix(name, 16).ok()?;
    SegmentId::from_bytes(value.to_be_bytes())
}

fn unavailable(error: io::Error) -> Error {
    Error::new(Reason::KeeperUnavailable, "systemd does not take what it is to keep")
        .outcome_unknown()
        .source(error)
}

fn full(max: usize) -> Error {
    let message = format!(
        "systemd keeps {max} segments, which there are; for more, run the built-in keeper as a unit of its own \
         (keeper.kind = \"built-in\")"
    );
    Error::new(Reason::SegmentsExhausted, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_segments() {
        for byte in [1, 0x0f, 0xf0, 0xff] {
            let id = SegmentId::from_bytes([byte; 16]).unwrap();
            assert_eq!(segment(&name(id)), Some(id));
        }
        for other in ["grpc", "stored", "", &"0".repeat(32), &"+".repeat(32), &"1".repeat(33)] {
            assert_eq!(segment(other), None, "{other}");
        }
    }
}
