//! Requests with what matters to a test, and the common story in one call.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use payload_proto::v1;
use payload_proto::v1::put_metadata_request::Change;

use super::local::{Held, Local};
use super::map::Map;

/// Bytes that tell their place.
pub(crate) fn content(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|position| (position % 251) as u8 ^ seed).collect()
}

pub(crate) fn allocate(size: u64) -> v1::AllocateRequest {
    v1::AllocateRequest {
        size,
        ..Default::default()
    }
}

pub(crate) fn put(content: &[u8]) -> v1::PutRequest {
    v1::PutRequest {
        content: content.to_vec().into(),
        ..Default::default()
    }
}

pub(crate) fn commit(payload_id: &str) -> v1::CommitRequest {
    v1::CommitRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn abort(payload_id: &str) -> v1::AbortRequest {
    v1::AbortRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn acquire(payload_ids: &[&str]) -> v1::AcquireRequest {
    v1::AcquireRequest {
        payload_ids: payload_ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    }
}

pub(crate) fn to_tier(payload_id: &str, to: v1::Tier) -> v1::MoveRequest {
    v1::MoveRequest {
        namespace: String::new(),
        payload_ids: vec![payload_id.to_owned()],
        to: to.into(),
    }
}

pub(crate) fn release(lease_ids: &[&str]) -> v1::ReleaseRequest {
    v1::ReleaseRequest {
        lease_ids: lease_ids.iter().map(|id| (*id).to_owned()).collect(),
    }
}

pub(crate) fn renew(lease_id: &str, ttl_ms: Option<u64>) -> v1::RenewRequest {
    v1::RenewRequest {
        leases: vec![v1::LeaseRef {
            lease_id: lease_id.to_owned(),
            ..Default::default()
        }],
        ttl_ms,
        ..Default::default()
    }
}

pub(crate) fn get(payload_id: &str) -> v1::GetPayloadRequest {
    v1::GetPayloadRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn json(body: &str) -> v1::Document {
    v1::Document {
        content_type: "application/json".to_owned(),
        body: body.to_owned().into(),
    }
}

pub(crate) fn put_metadata(payload_id: &str, document: v1::Document) -> v1::PutMetadataRequest {
    v1::PutMetadataRequest {
        payload_id: payload_id.to_owned(),
        change: Some(Change::Document(document)),
        ..Default::default()
    }
}

pub(crate) fn patch_metadata(payload_id: &str, patch: &[u8]) -> v1::PutMetadataRequest {
    v1::PutMetadataRequest {
        payload_id: payload_id.to_owned(),
        change: Some(Change::MergePatch(patch.to_vec().into())),
        ..Default::default()
    }
}

pub(crate) fn append_event(payload_id: &str, event_type: &str, body: &[u8]) -> v1::AppendEventRequest {
    v1::AppendEventRequest {
        payload_id: payload_id.to_owned(),
        note: Some(v1::EventNote {
            event_type: event_type.to_owned(),
            document: Some(v1::Document {
                body: body.to_vec().into(),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

pub(crate) fn delete(payload_id: &str) -> v1::DeletePayloadRequest {
    v1::DeletePayloadRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

impl Local {
    /// Allocates, writes and commits.
    pub(crate) fn publish(&self, bytes: &[u8]) -> v1::Payload {
        let (allocation, fd) = self.allocate(allocate(bytes.len() as u64)).unwrap();
        let start = allocation.location.as_ref().unwrap().offset;
        std::fs::File::from(fd.unwrap()).write_all_at(bytes, start).unwrap();
        self.commit(commit(&allocation.payload_id)).unwrap().payload.unwrap()
    }

    /// The same in a file of the disk tier.
    pub(crate) fn publish_on_disk(&self, bytes: &[u8]) -> v1::Payload {
        let request = v1::AllocateRequest {
            tier: v1::Tier::Disk.into(),
            ..allocate(bytes.len() as u64)
        };
        let (allocation, fd) = self.allocate(request).unwrap();
        let file = std::fs::File::from(fd.unwrap());
        file.write_all_at(bytes, 0).unwrap();
        drop(file);
        self.commit(commit(&allocation.payload_id)).unwrap().payload.unwrap()
    }

    /// Puts a small payload and returns its id.
    pub(crate) fn put_id(&self, bytes: &[u8]) -> String {
        self.put(put(bytes)).unwrap().payload.unwrap().payload_id
    }

    /// One lease.
    pub(crate) fn lease(&self, payload_id: &str) -> Held {
        self.acquire(acquire(&[payload_id])).unwrap().remove(0).unwrap()
    }
}

impl Held {
    /// Writes all bytes into an allocation and lets go of its descriptor.
    pub(crate) fn fill(allocation: &v1::AllocateResponse, fd: Option<OwnedFd>, bytes: &[u8]) {
        let start = allocation.location.as_ref().unwrap().offset;
        std::fs::File::from(fd.unwrap()).write_all_at(bytes, start).unwrap();
    }

    /// The leased bytes, read through the descriptor that came with the lease.
    pub(crate) fn read(&self) -> Vec<u8> {
        read(&self.lease, self.fd.as_ref().unwrap())
    }
}

/// The leased bytes, read through a descriptor of their container.
pub(crate) fn read(lease: &v1::Lease, fd: &OwnedFd) -> Vec<u8> {
    let location = lease.descriptor.as_ref().unwrap().location.as_ref().unwrap();
    let mut bytes = vec![0; location.length as usize];
    let file = std::fs::File::from(fd.try_clone().unwrap());
    file.read_exact_at(&mut bytes, location.offset).unwrap();
    bytes
}

/// Writes all bytes through a mapping; that and the descriptor are gone when this returns.
#[expect(
    clippy::needless_pass_by_value,
    reason = "whoever has written closes, or the commit is refused"
)]
pub(crate) fn fill(fd: OwnedFd, bytes: &[u8]) {
    Map::writable(&fd, bytes.len()).unwrap().write(bytes);
}

/// Made from these, by `resize`.
pub(crate) fn derivation(parents: &[&str]) -> v1::Derivation {
    let parent = |id: &&str| v1::Parent {
        payload_id: (*id).to_owned(),
        role: "image".to_owned(),
    };
    v1::Derivation {
        operation: "resize".to_owned(),
        parents: parents.iter().map(parent).collect(),
        parameters: b"\xff\0".to_vec(),
    }
}

pub(crate) fn add_lineage(payload_id: &str, parents: &[&str]) -> v1::AddLineageRequest {
    v1::AddLineageRequest {
        payload_id: payload_id.to_owned(),
        lineage: Some(derivation(parents)),
        ..Default::default()
    }
}

pub(crate) fn get_lineage(payload_id: &str, scope: v1::LineageScope) -> v1::GetLineageRequest {
    v1::GetLineageRequest {
        payload_id: payload_id.to_owned(),
        scope: scope.into(),
        ..Default::default()
    }
}

pub(crate) fn stream_ref(name: &str) -> Option<v1::StreamRef> {
    Some(v1::StreamRef {
        stream: name.to_owned(),
        ..Default::default()
    })
}

pub(crate) fn create_stream(name: &str) -> v1::CreateStreamRequest {
    v1::CreateStreamRequest {
        stream: name.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn append(name: &str, payload_ids: &[&str]) -> v1::AppendRequest {
    let draft = |id: &&str| v1::EntryDraft {
        payload_id: (*id).to_owned(),
        tags: Vec::new(),
    };
    v1::AppendRequest {
        stream: stream_ref(name),
        entries: payload_ids.iter().map(draft).collect(),
        ..Default::default()
    }
}

pub(crate) fn read_stream(name: &str, offset: u64) -> v1::ReadStreamRequest {
    v1::ReadStreamRequest {
        stream: stream_ref(name),
        start: from_offset(offset),
        ..Default::default()
    }
}

pub(crate) fn from_offset(offset: u64) -> Option<v1::ReadStart> {
    Some(v1::ReadStart {
        start: Some(v1::read_start::Start::Offset(offset)),
    })
}

pub(crate) fn commit_offset(name: &str, group: &str, offset: u64) -> v1::CommitOffsetRequest {
    v1::CommitOffsetRequest {
        stream: stream_ref(name),
        group: group.to_owned(),
        offset,
        ..Default::default()
    }
}
