//! One tier's bytes: reserve, fill, seal, read, free.

use std::any::Any;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::SignedRequest;
use crate::digest::Digest;
use crate::error::{Error, Reason, Result};
use crate::id::SessionId;
use crate::name::Namespace;
use crate::tier::{Container, Location, Tier};
use crate::time::Span;

/// Stores replicas' bytes in one tier.
///
/// The contract, proved by one suite for every adapter:
/// - bytes at a location never change once they were sealed or stored, and a location is never used again;
/// - what `seal`, `store` and `copy_in` return is as durable as the tier is: for `disk`, file and directory are fsynced;
/// - capacity is charged before anything is handed out, and refused with `TIER_FULL`;
/// - nothing is left behind by a death at any moment, except containers that [`sweepable`](Self::sweepable) names.
pub trait TierStore: Send + Sync {
    /// Which tier this is.
    fn tier(&self) -> Tier;

    /// Reserves exactly `size` bytes for somebody else to fill. The room is really there: writing to it fails for no
    /// lack of space. `size` is above zero. No other producer ever gets a descriptor of the container.
    fn reserve(&self, namespace: &Namespace, size: u64, producer: Option<SessionId>) -> Result<Placed>;

    /// A descriptor to fill reserved bytes with: readable, writable, mappable; it goes to the producer.
    fn writer(&self, location: &Location) -> Result<OwnedFd>;

    /// Makes the first `size` reserved bytes immutable. Fails with `WRITER_MAPPED` while anybody could still change
    /// them, unless they are copied for it. Sealing again what is sealed is fine.
    fn seal(&self, namespace: &Namespace, location: &Location, size: u64) -> Result<Sealed>;

    /// Notes that nothing more will be reserved for a producer.
    fn forget_producer(&self, producer: SessionId);

    /// Stores bytes that the server has in hand; small ones share a container with others of their namespace.
    fn store(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed>;

    /// The same for bytes that a commit [carries](crate::ChangeSet::contents): a store may return before they are on the
    /// device, as far as [`settle`](Self::settle) brings them there.
    fn store_carried(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        self.store(namespace, bytes)
    }

    /// Returns when all that was stored before this call is on the device. Once it has failed it always fails: what the device
    /// has of it nobody knows.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Stores many that the server has in hand, each with its own result; those that can share a container share the wait for
    /// the device too.
    fn store_all(&self, namespace: &Namespace, payloads: &[&[u8]]) -> Vec<Result<Placed>>;

    /// Copies bytes from another tier, and digests them on the way. Small ones may share a container.
    fn copy_in(&self, namespace: &Namespace, source: Source<'_>) -> Result<(Placed, Digest)>;

    /// Stores `size` bytes that another tier sends, and digests them. Fails with `BYTES_MISSING` if it sends fewer.
    fn receive(&self, namespace: &Namespace, size: u64, from: Sender<'_>) -> Result<(Placed, Digest)>;

    /// Sends the `size` bytes at `location`, for tiers that have no descriptors. It begins anew after a failure.
    fn send(&self, location: &Location, size: u64, to: Receiver<'_>) -> Result<()>;

    /// Whether `size` immutable bytes are at `location`; fails with `BYTES_MISSING`. For a restarted server.
    fn check(&self, location: &Location, size: u64) -> Result<()>;

    /// Appends the `size` bytes at `location` to `out`. For small payloads.
    fn read(&self, location: &Location, size: u64, out: &mut Vec<u8>) -> Result<()>;

    /// The same for many, each with its own result; what lies side by side may be read in one go.
    fn read_all(&self, wanted: &[(Location, u64)]) -> Vec<Result<Vec<u8>>> {
        let read = |(location, size): &(Location, u64)| {
            let mut bytes = Vec::new();
            self.read(location, *size, &mut bytes)?;
            Ok(bytes)
        };
        wanted.iter().map(read).collect()
    }

    /// Digests the `size` bytes at `location`.
    fn digest(&self, location: &Location, size: u64) -> Result<Digest>;

    /// A read-only descriptor of the container at `location`, to be handed to another process.
    fn open(&self, location: &Location) -> Result<OwnedFd>;

    /// In which part of the machine's memory (NUMA node) the immutable bytes at `location` begin. Nothing if there is only
    /// one, or if they are not in memory.
    fn memory_node(&self, location: &Location) -> Option<u32>;

    /// Frees the bytes. A container of their own goes at once, unless requests that were signed for it may still come; of a
    /// shared one it becomes sweepable. What is already gone is fine. Memory that another process still has stays charged until it has not: the next call of `sweepable`,
    /// or whoever is short of room, finds that out.
    fn remove(&self, location: &Location, charged: u64) -> Result<()>;

    /// Containers that may have no replica any more and that no live [`Claim`] protects: all of them at the first
    /// call, later those from which something was removed. The caller asks the repository which of them are in use,
    /// and drops the others.
    fn sweepable(&self) -> Result<Vec<Container>>;

    /// Shared containers that take no more, that no claim protects, and of which less than `share` per cent is used, though
    /// not nothing: what is left in them is worth being copied out. How much of a container of an earlier server is used only the
    /// rows can tell, which `count` asks; it is asked once for each, and for one container in a call.
    fn hollow(&self, share: u8, count: &dyn Fn(Container) -> Result<u64>) -> Result<Vec<Container>>;

    /// Notes, so that also a later start knows it, that a container may soon have no replica any more: before the row that
    /// names it stops to. [`sweepable`](Self::sweepable) names it when the claim has ended, and again when what may still come of
    /// signed requests is over. Keep the claim until it is known what became of the row: nobody comes to trust the container meanwhile.
    fn suspect(&self, container: Container, left: Left) -> Result<Claim>;

    /// Forgets a suspicion: a row names the container.
    fn trust(&self, container: Container) -> Result<()>;

    /// A request with which somebody can read the `size` bytes at `location` without the server, for `valid` at most. Only
    /// tiers without descriptors have such; others refuse with `OBJECT_URLS_UNSUPPORTED`, and so does one that gives out none.
    fn sign_read(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRead> {
        let _ = (size, valid);
        Err(no_urls(location))
    }

    /// The same for somebody who fills the `size` bytes that were reserved at `location`.
    fn sign_write(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRequest> {
        let _ = (size, valid);
        Err(no_urls(location))
    }

    /// Frees a container that no replica is in.
    fn drop_container(&self, container: Container) -> Result<()>;

    /// Does a short piece of work that makes later reservations quick. False: there is nothing to do before the next one.
    fn prepare(&self) -> Result<bool>;

    /// Whether there may be something to prepare again: asked once, it is false until the next reservation that has
    /// used up what was ready.
    fn was_drawn_on(&self) -> bool;

    /// What is taken up now.
    fn usage(&self) -> TierUsage;

    /// How much the tier could hold if it took all that the machine can give it at this moment, without what must stay
    /// free: less than the capacity if others have taken what the tier was promised, less than what is used if they need
    /// some of it back. None if nobody can tell. Looks at the machine, so it is not for every call.
    fn attainable(&self) -> Option<u64> {
        None
    }
}

fn no_urls(location: &Location) -> Error {
    let message = format!("what is in tier {} is not reached by a URL", location.tier());
    Error::new(Reason::ObjectUrlsUnsupported, message)
}

/// What requests that were signed for a container can still do when no row names it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Somebody may read it.
    Readers,
    /// Somebody may fill it.
    Writer,
}

/// A request with which bytes can be read without the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRead {
    /// It answers with exactly the payload's bytes.
    pub request: SignedRequest,
    /// An answer with another one is not of the payload; absent if the store gives none.
    pub etag: Option<Box<str>>,
}

/// Takes pieces of a payload and where in it they begin, in any order.
pub type Receiver<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<()>;

/// Gives all pieces of a payload to a receiver.
pub type Sender<'a> = &'a dyn Fn(Receiver<'_>) -> Result<()>;

/// Protects a container that no row names yet from being swept. Dropped when the row is committed, or the bytes removed.
#[derive(Default)]
pub struct Claim(Option<Box<dyn Any + Send + Sync>>);

impl Claim {
    /// Protects for as long as `guard` lives.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(guard)))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Claim" } else { "Claim(none)" })
    }
}

/// Bytes that have a place.
#[derive(Debug)]
pub struct Placed {
    /// Where.
    pub location: Location,
    /// What they take up of the capacity.
    pub charged: u64,
    /// Keep it until the row is committed.
    pub claim: Claim,
}

/// Bytes that became immutable.
#[derive(Debug)]
pub enum Sealed {
    /// Where they were written. The rest of what was reserved was given back.
    InPlace {
        /// What they take up of the capacity.
        charged: u64,
    },
    /// In another place. What was reserved is there until it is removed.
    Moved {
        /// The place that they have now.
        placed: Placed,
        /// Computed on the way.
        digest: Digest,
    },
}

/// Immutable bytes in another tier.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Open for reading; can be mapped.
    pub fd: BorrowedFd<'a>,
    /// Where in it the bytes begin.
    pub offset: u64,
    /// How many.
    pub size: u64,
}

/// What a tier holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierUsage {
    /// What it may hold.
    pub capacity: u64,
    /// What is taken up, everything counted.
    pub used: u64,
    /// The part of `used` that producers have at hand for what they will put together next, and that is in no payload's
    /// use.
    pub staging: u64,
    /// The part of `used` that was made ready for payloads to come.
    pub pool: u64,
    /// The part of `used` that was freed, and that somebody still has open or mapped.
    pub zombie: u64,
    /// How many containers become [sweepable](TierStore::sweepable) when time has passed, without anybody's doing.
    pub waiting: u64,
    /// The part of `used` in shared containers that take no more and that no payload uses any more.
    pub dead: u64,
    /// Whether the store does not answer at the moment: nothing can be added, and what is there cannot be reached.
    pub unavailable: bool,
    /// Whether the last attempt to add something failed for another reason than want of room: the device is broken, or does
    /// not take writes. What is there can be read.
    pub failing: bool,
    /// Whether memory comes in huge pages.
    pub huge_pages: bool,
    /// How many memfds or files, without those that were made ready.
    pub containers: u64,
}
