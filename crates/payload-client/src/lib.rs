//! The Rust client of Payload Manager.
//!
//! [`Client`] puts payloads and takes leases on them. On the server's own host it talks over the local socket, where a
//! lease comes with a file descriptor, so [`Lease`] is the bytes themselves, mapped and never copied. From elsewhere it
//! talks gRPC, and contents travel: up to 64 KiB inside messages, larger ones over HTTP, to and from copies in this
//! process's memory. [`Catalog`] and [`Admin`] are thin: they take and return the messages of the protos ([`v1`]).
//!
//! A client outlives the server: when the connection breaks it connects again, takes its leases and open allocations up
//! again, and repeats what was under way where that is safe. Bytes that a lease shows stay right in any case.
//!
//! ```no_run
//! # use payload_client::{AcquireOptions, AllocateOptions, Client, CommitOptions, Endpoint, Result};
//! # fn fill(bytes: &mut [u8]) {}
//! # fn process(bytes: &[u8]) {}
//! # async fn example() -> Result<()> {
//! let client = Client::connect(Endpoint::discover(None)?).await?;
//!
//! let mut writer = client.allocate(64 << 20, AllocateOptions::default()).await?;
//! fill(writer.as_mut_slice()?); // shared memory, in place
//! let id = writer.payload_id();
//! writer.commit(CommitOptions::default()).await?;
//!
//! let lease = client.acquire(id, AcquireOptions::default()).await?;
//! process(&lease); // the same memory, mapped read-only
//! # Ok(())
//! # }
//! ```

mod admin;
mod backoff;
mod bucket;
mod cache;
mod catalog;
mod channel;
mod client;
mod clock;
mod consumer;
mod endpoint;
mod feed;
mod fetched;
mod grant;
mod intake;
mod lease;
mod link;
mod listing;
mod lookout;
mod mapping;
mod messages;
mod metadata;
mod moves;
mod names;
mod namespaces;
mod options;
mod pages;
mod placement;
mod producer;
mod ranges;
mod reader;
mod reclaim;
mod registry;
mod release;
mod remote;
mod renew;
mod request_id;
mod session;
mod socket;
mod stages;
mod stamina;
mod streams;
mod subscriptions;
mod supervise;
mod transfer;
mod waiters;
mod watch;
mod writer;

pub use admin::Admin;
pub use catalog::{Catalog, DeleteOptions, EventFilter, LineageOptions};
pub use client::Client;
pub use consumer::{Consumer, ConsumerOptions};
pub use endpoint::Endpoint;
pub use lease::{Lease, LeaseState, Verified};
pub use listing::ListOptions;
pub use messages::Messages;
pub use metadata::{MetadataChange, MetadataOptions};
pub use options::{
    AcquireOptions, AllocateOptions, ClientOptions, CommitOptions, DigestChoice, InBucket, MinTier, Patience,
    PutOptions,
};
pub use pages::Pages;
pub use payload_core::digest::Digest;
pub use payload_core::placement::Fallback;
pub use payload_core::stream::{GroupName, ProducerName, StreamName, Tag};
pub use payload_core::{
    Durability, Error, ErrorKind, NameGuard, Namespace, Naming, Outcome, PayloadId, PayloadName, PayloadRef, Policy,
    Priority, Quota, Reason, Result, SpillTarget, Tier,
};
pub use payload_proto::v1;
pub use producer::{Producer, ProducerOptions, Receipt};
pub use reader::Reader;
pub use streams::Streams;
pub use watch::{Watch, WatchFrom};
pub use writer::Writer;
