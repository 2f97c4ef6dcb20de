//! The use cases of Payload Manager, one file each, over the ports of `payload-core`.
//!
//! [`Engine`] performs what the core decides: it asks the tier stores for room, the repository to make a change set
//! true, and keeps in memory what is alive — leases, sessions, waiting callers. It knows no wire, no SQL, no memfd and
//! no executor. Every call may block, except those whose docs say that they do not.

mod abort;
mod acquire;
mod allocate;
mod append_event;
mod at_once;
mod catalog;
mod commit;
mod compact;
mod content;
mod delete;
mod dependents;
mod engine;
mod entry;
mod events;
mod evict;
mod expire;
mod explain;
mod fuse;
mod health;
mod holder;
mod holders;
mod leases;
mod lineage;
mod machine;
mod merge_patch;
mod metadata;
mod metrics;
mod mover;
mod names;
mod namespaces;
mod peers;
mod placement;
mod promote;
mod put;
mod reclaim;
mod recover;
mod release;
mod renew;
mod replica_loss;
mod replicate;
mod retention;
mod room;
mod scrub;
mod session;
mod settings;
mod spill;
mod stats;
mod streams;
mod sweep;
mod table;
mod tiers;
mod timers;
mod token;
mod transfers;
mod transition;
mod update;
mod upload;
mod verify;
mod verify_bytes;
mod watch;
mod workers;

pub use acquire::{Access, AcquireOptions, Grant, MinTier, Otherwise};
pub use allocate::{AllocateRequest, Allocation};
pub use append_event::{AppendEventRequest, Appended};
pub use catalog::{ListRequest, Page};
pub use commit::CommitRequest;
pub use compact::Compaction;
pub use content::Content;
pub use delete::{DeleteRequest, Deletion};
pub use dependents::{Dependents, Impact, OnDependents};
pub use engine::{Engine, Ports};
pub use events::EventPage;
pub use explain::{Arrival, Explanation, Plan, ReplicaView};
pub use holder::{Holder, Notice, NoticeSink, Peer};
pub use holders::HolderView;
pub use leases::LeaseView;
pub use lineage::{AddLineageRequest, Lineage, LineageRequest};
pub use metadata::{MetadataChange, MetadataPage, NewRevision, PutMetadataRequest};
pub use metrics::Metrics;
pub use names::{NameHistoryPage, NamePage, NameRequest};
pub use namespaces::NamespacePage;
pub use promote::Wish;
pub use put::PutRequest;
pub use reclaim::{AllocationClaim, LeaseClaim};
pub use recover::Recovered;
pub use retention::Retention;
pub use settings::{Caps, Settings};
pub use stats::{Stats, TierStats};
pub use streams::{
    AppendRequest, EntryFilter, GroupView, Member, OffsetRequest, Placed, Publish, Published, ReadPage, ReadRequest,
    StreamEdit, StreamPage, Watch,
};
pub use tiers::{Candidate, Pressure, TierView};
pub use token::Key;
pub use transfers::{Queued, Running, TransferList};
pub use update::{Expiry, LabelEdit, UpdateRequest};
pub use upload::Upload;
pub use verify::{Fault, Verified};
pub use verify_bytes::{Damage, Fate, VerifiedBytes, VerifyPage};
pub use watch::{EventWatch, Wake, WatchFrom};
pub use workers::{Lives, Workers};
