//! The words of the tests: short forms of the engine's requests.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use payload_core::{
    Digest, Durability, EventKind, LogFilter, LoggedEvent, Namespace, Payload, PayloadId, Policy, Result, Span,
    StateKind, Tier,
};
use payload_engine::{
    Access, AcquireOptions, AllocateRequest, Allocation, CommitRequest, DeleteRequest, Deletion, Filling, Grant,
    Holder, OnDependents, Peer, PutRequest,
};

use super::{Rig, Told, alice};

pub(crate) const fn secs(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn bytes(seed: u64, size: u64) -> Vec<u8> {
    (0..size)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed.wrapping_mul(97)) as u8)
        .collect()
}

/// An allocation whose bytes have been written and whose writer is closed.
pub(crate) struct Filled {
    pub(crate) row: Arc<Payload>,
    pub(crate) token: payload_core::AllocationToken,
    pub(crate) content: Vec<u8>,
}

impl Filled {
    pub(crate) fn commit_request(&self) -> CommitRequest {
        CommitRequest {
            namespace: self.row.namespace.clone(),
            request_id: None,
            payload: self.row.id,
            token: Some(self.token),
            size: None,
            digest: None,
            lineage: None,
            naming: None,
            publish: None,
            metadata: None,
        }
    }
}

/// Writes all the bytes and lets go of the descriptor.
pub(crate) fn fill(allocation: Allocation, seed: u64) -> Filled {
    let content = bytes(seed, allocation.row.size);
    if let Filling::Descriptor(writer) = allocation.filling {
        let start = allocation.row.replicas[0].location.offset();
        File::from(writer).write_all_at(&content, start).unwrap();
    }
    Filled {
        row: allocation.row,
        token: allocation.token,
        content,
    }
}

/// Whether the producer was handed a descriptor.
pub(crate) fn has_writer(allocation: &Allocation) -> bool {
    matches!(allocation.filling, Filling::Descriptor(_))
}

pub(crate) fn allocate_request(size: u64, tier: Tier, durability: Durability) -> AllocateRequest {
    AllocateRequest {
        namespace: Namespace::default(),
        request_id: None,
        size,
        tier: Some(tier),
        fallback: None,
        durability: Some(durability),
        policy: Policy::default(),
        ttl: None,
        labels: Vec::new(),
        timeout: None,
    }
}

pub(crate) fn put_request(content: &[u8], tier: Tier, durability: Durability) -> PutRequest {
    PutRequest {
        namespace: Namespace::default(),
        request_id: None,
        content: content.to_vec().into(),
        tier: Some(tier),
        fallback: None,
        durability: Some(durability),
        policy: Policy::default(),
        ttl: None,
        labels: Vec::new(),
        digest: None,
        lineage: None,
        naming: None,
        publish: None,
        metadata: None,
    }
}

pub(crate) fn delete_request(id: PayloadId) -> DeleteRequest {
    DeleteRequest {
        namespace: Namespace::default(),
        payload: id.into(),
        request_id: None,
        force: false,
        reason: "test".into(),
        dependents: OnDependents::Ignore,
    }
}

impl Rig {
    pub(crate) fn session(&self) -> Arc<Holder> {
        self.session_told().0
    }

    pub(crate) fn session_told(&self) -> (Arc<Holder>, Told) {
        let told = Told::default();
        let peer = Peer {
            pid: 42,
            command: "test".into(),
        };
        let session = self.open_session(&alice(), peer, Box::new(told.clone())).unwrap();
        (session, told)
    }

    /// A small volatile payload in RAM.
    pub(crate) fn put_small(&self, holder: &Arc<Holder>, seed: u64) -> Arc<Payload> {
        self.put(
            holder,
            &put_request(&bytes(seed, 1000), Tier::Ram, Durability::Volatile),
        )
        .unwrap()
    }

    /// A volatile allocation in RAM, filled.
    pub(crate) fn allocate_filled(&self, holder: &Arc<Holder>, size: u64, seed: u64) -> Filled {
        let request = allocate_request(size, Tier::Ram, Durability::Volatile);
        fill(self.allocate(holder, &request).unwrap(), seed)
    }

    /// A volatile payload in RAM in a segment of its own.
    pub(crate) fn put_large(&self, holder: &Arc<Holder>, size: u64, seed: u64) -> Arc<Payload> {
        let filled = self.allocate_filled(holder, size, seed);
        self.commit(holder, &filled.commit_request()).unwrap()
    }

    pub(crate) fn lease(&self, holder: &Arc<Holder>, id: PayloadId) -> Result<Grant> {
        self.acquire(holder, &Namespace::default(), id, AcquireOptions::default())
    }

    pub(crate) fn lease_for(&self, holder: &Arc<Holder>, id: PayloadId, ttl: Span) -> Result<Grant> {
        let options = AcquireOptions {
            ttl: Some(ttl),
            ..AcquireOptions::default()
        };
        self.acquire(holder, &Namespace::default(), id, options)
    }

    pub(crate) fn renew_for(&self, holder: &Arc<Holder>, grant: &Grant, ttl: Option<Span>) -> Result<Option<Span>> {
        let granted = Some((grant.row.id, grant.replica));
        self.renew(holder, &Namespace::default(), grant.lease, granted, ttl)
    }

    pub(crate) fn remove(&self, id: PayloadId) -> Result<Deletion> {
        self.delete(&alice(), &delete_request(id))
    }

    pub(crate) fn state(&self, id: PayloadId) -> StateKind {
        self.get(&Namespace::default(), id).unwrap().state.kind()
    }

    /// What happened to a payload.
    pub(crate) fn kinds(&self, id: PayloadId) -> Vec<EventKind> {
        self.history(id).into_iter().map(|event| event.record.kind).collect()
    }

    /// The same with everything that was noted about it.
    pub(crate) fn history(&self, id: PayloadId) -> Vec<LoggedEvent> {
        let filter = LogFilter::payload(Namespace::default(), id);
        let page = self.events(&filter, 0, "").unwrap();
        assert!(!page.more);
        page.events
    }

    /// The bytes of a grant, read the way a client reads them.
    pub(crate) fn read(&self, grant: &Grant) -> Vec<u8> {
        match &grant.access {
            Access::Content(content) => content.to_vec(),
            Access::Descriptor(fd) => {
                let mut content = vec![0; grant.row.size as usize];
                let file = File::from(fd.try_clone().unwrap());
                file.read_exact_at(&mut content, grant.replica().location.offset())
                    .unwrap();
                content
            }
            other => panic!("no way to the bytes: {other:?}"),
        }
    }

    /// Acquires, reads, releases; checks the digest on the way.
    pub(crate) fn content(&self, holder: &Arc<Holder>, id: PayloadId) -> Vec<u8> {
        let grant = self.lease(holder, id).unwrap();
        let content = self.read(&grant);
        if let Some(digest) = grant.row.digest {
            assert_eq!(Digest::of(&content), digest);
        }
        self.release(holder, grant.lease).unwrap();
        content
    }
}
