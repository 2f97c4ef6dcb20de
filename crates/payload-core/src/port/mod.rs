//! The ports: what the engine needs from the outside world, as contracts that adapters fulfil.
//!
//! Ports block. Callers are threads that may wait (never an async executor); whoever wants many calls in flight makes
//! them from many threads, and adapters group what comes together (see ADR 2).

mod clock;
mod fd_store;
mod object_store;
mod repository;
mod retention;
mod streams;
mod tier_store;

pub use clock::{Clock, Entropy, Ids};
pub use fd_store::FdStore;
pub use object_store::{
    Content, ListedObject, ListedUpload, ObjectKey, ObjectStat, ObjectStore, PutObject, SignedRequest, Sink,
};
pub use repository::{EventListener, PeerListener, PeerNews, Repository, Settle, Usage};
pub use retention::Retention;
pub use streams::StreamReader;
pub use tier_store::{Claim, Left, Placed, Receiver, Sealed, Sender, SignedRead, Source, TierStore, TierUsage};
