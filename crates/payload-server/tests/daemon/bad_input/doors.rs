//! The two doors behind one face, and what the cases find in place.

use payload_proto::v1;

use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::local::Local;
use crate::support::refusal::{Answer, Refusal, lease, outcome};
use crate::support::samples::{acquire, allocate, commit, delete, put, release, renew};

/// By which doors a case can come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Doors {
    Both,
    Local,
    Grpc,
}

impl Doors {
    pub(super) fn is_local(self) -> bool {
        self != Self::Grpc
    }

    pub(super) fn is_grpc(self) -> bool {
        self != Self::Local
    }
}

/// The calls that both doors have; only refusals matter.
pub(super) trait Door {
    fn allocate(&self, request: v1::AllocateRequest) -> Answer<v1::AllocateResponse>;
    fn commit(&self, request: v1::CommitRequest) -> Answer<v1::CommitResponse>;
    fn abort(&self, request: v1::AbortRequest) -> Answer<v1::AbortResponse>;
    fn put(&self, request: v1::PutRequest) -> Answer<v1::PutResponse>;
    fn acquire(&self, request: v1::AcquireRequest) -> Answer<Vec<Answer<v1::Lease>>>;
    fn renew(&self, request: v1::RenewRequest) -> Answer<Vec<Answer<()>>>;
    fn release(&self, request: v1::ReleaseRequest) -> Answer<Vec<Answer<()>>>;
}

impl dyn Door + '_ {
    /// The outcome of a batch with one item, or of the batch itself.
    pub(super) fn acquire_one(&self, request: v1::AcquireRequest) -> Answer<v1::Lease> {
        self.acquire(request)?.remove(0)
    }

    pub(super) fn renew_one(&self, request: v1::RenewRequest) -> Answer<()> {
        self.renew(request)?.remove(0)
    }

    pub(super) fn release_one(&self, lease_id: &str) -> Answer<()> {
        self.release(release(&[lease_id]))?.remove(0)
    }

    pub(super) fn allocated(&self) -> String {
        self.allocate(allocate(100)).unwrap().payload_id
    }

    pub(super) fn committed(&self) -> String {
        let payload_id = self.allocated();
        self.commit(commit(&payload_id)).unwrap();
        payload_id
    }

    /// A lease on a new payload.
    pub(super) fn leased(&self) -> v1::Lease {
        self.acquire_one(acquire(&[&self.committed()])).unwrap()
    }
}

impl Door for Local {
    fn allocate(&self, request: v1::AllocateRequest) -> Answer<v1::AllocateResponse> {
        Ok(Self::allocate(self, request)?.0)
    }
    fn commit(&self, request: v1::CommitRequest) -> Answer<v1::CommitResponse> {
        Self::commit(self, request)
    }
    fn abort(&self, request: v1::AbortRequest) -> Answer<v1::AbortResponse> {
        Self::abort(self, request)
    }
    fn put(&self, request: v1::PutRequest) -> Answer<v1::PutResponse> {
        Self::put(self, request)
    }
    fn acquire(&self, request: v1::AcquireRequest) -> Answer<Vec<Answer<v1::Lease>>> {
        let results = Self::acquire(self, request)?;
        Ok(results.into_iter().map(|result| Ok(result?.lease)).collect())
    }
    fn renew(&self, request: v1::RenewRequest) -> Answer<Vec<Answer<()>>> {
        let results = Self::renew(self, request)?.results;
        Ok(results.into_iter().map(|result| outcome(result.failure)).collect())
    }
    fn release(&self, request: v1::ReleaseRequest) -> Answer<Vec<Answer<()>>> {
        let results = Self::release(self, request)?.results;
        Ok(results.into_iter().map(|result| outcome(result.failure)).collect())
    }
}

impl Door for Grpc {
    fn allocate(&self, request: v1::AllocateRequest) -> Answer<v1::AllocateResponse> {
        Self::allocate(self, request)
    }
    fn commit(&self, request: v1::CommitRequest) -> Answer<v1::CommitResponse> {
        Self::commit(self, request)
    }
    fn abort(&self, request: v1::AbortRequest) -> Answer<v1::AbortResponse> {
        Self::abort(self, request)
    }
    fn put(&self, request: v1::PutRequest) -> Answer<v1::PutResponse> {
        Self::put(self, request)
    }
    fn acquire(&self, request: v1::AcquireRequest) -> Answer<Vec<Answer<v1::Lease>>> {
        let results = Self::acquire(self, request)?.results;
        Ok(results.into_iter().map(lease).collect())
    }
    fn renew(&self, request: v1::RenewRequest) -> Answer<Vec<Answer<()>>> {
        let results = Self::renew(self, request)?.results;
        Ok(results.into_iter().map(|result| outcome(result.failure)).collect())
    }
    fn release(&self, request: v1::ReleaseRequest) -> Answer<Vec<Answer<()>>> {
        let results = Self::release(self, request)?.results;
        Ok(results.into_iter().map(|result| outcome(result.failure)).collect())
    }
}

/// A server for all cases of a door; each case makes its own payloads.
pub(super) struct Bed {
    pub(super) world: World,
    pub(super) local: Local,
    pub(super) grpc: Grpc,
    /// A session that has nothing to do with the case.
    pub(super) stranger: Local,
}

impl Bed {
    /// With more configuration.
    pub(super) fn make(config: &str) -> Self {
        let world = World::with(config);
        world.namespace("other");
        Self {
            local: world.session(),
            grpc: world.grpc(),
            stranger: world.session(),
            world,
        }
    }

    /// A payload that is deleted.
    pub(super) fn deleted(&self) -> String {
        let payload_id = self.stranger.put_id(b"x");
        self.grpc.delete_payload(delete(&payload_id)).unwrap();
        payload_id
    }

    /// The server still answers both doors.
    pub(super) fn assert_unharmed(&self) {
        self.local.put(put(b"x")).unwrap();
        self.grpc.put(put(b"x")).unwrap();
        let log = self.world.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// The refusal of an answer that had to be one.
pub(super) fn refused<T: std::fmt::Debug>(answer: Answer<T>) -> Refusal {
    answer.unwrap_err()
}

/// The refusal of a lease's renewal as soon as there is one.
pub(super) fn renewal_refused(door: &dyn Door, lease_id: &str) -> Refusal {
    payload_testkit::process::until("the renewal to be refused", || {
        door.renew_one(renew(lease_id, Some(1))).err()
    })
}
