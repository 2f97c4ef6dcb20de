//! The words and rules of Payload Manager, without I/O, clocks or randomness.
//!
//! Everything that decides lives here and is tested as a table; everything that acts (the engine, the
//! repositories, the tier stores, the servers) depends on this crate and not the other way round. Time,
//! randomness and the outside world come in as arguments or through the ports in [`port`].

pub mod change;
pub mod delta;
pub mod digest;
pub mod error;
pub mod id;
pub mod lease;
pub mod lifecycle;
pub mod limits;
pub mod lineage;
pub mod listing;
pub mod log;
pub mod metadata;
pub mod name;
pub mod namespace;
pub mod naming;
pub mod page;
pub mod payload;
pub mod placement;
pub mod policy;
pub mod port;
pub mod quota;
pub mod retention;
pub mod stream;
pub mod sync;
pub mod tier;
pub mod tiering;
pub mod time;

pub use change::{Carried, Change, ChangeSet, CommitOutcome, EventKind, EventRecord, Note, Operation, RequestRecord};
pub use delta::{Delta, Edit};
pub use digest::Digest;
pub use error::{Error, ErrorKind, Outcome, Reason, Result};
pub use id::{
    AllocationToken, FileId, LeaseId, NodeId, ObjectId, PayloadId, ReplicaId, SegmentId, SessionId, StreamId,
};
pub use lifecycle::{LifecycleEvent, State, StateKind, step};
pub use lineage::{Edge, Refusal};
pub use log::{LogFilter, LogPage, LogPosition, LogQuery, LoggedEvent};
pub use metadata::{ContentType, Document, MetadataRevision, Revision, RevisionInfo};
pub use name::{Actor, EventType, Label, Namespace, Principal, RequestId};
pub use namespace::{NamespaceRecord, Quota};
pub use naming::{NameChange, NameGuard, NameMove, NameRecord, NameRefusal, Naming, PayloadName, PayloadRef};
pub use payload::{Payload, Pin, Replica, ReplicaState, Version};
pub use policy::{Policy, Priority, SpillTarget};
pub use quota::{NamespaceUse, OverQuota};
pub use tier::{Container, Durability, Location, Tier};
pub use time::{Instant, Span, Timestamp};
