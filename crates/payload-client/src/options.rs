//! What callers may choose; every default is what most callers want.

use payload_core::digest::Digest;
use payload_core::placement::Fallback;
use payload_core::{Durability, Namespace, Naming, Policy, Span, Tier};
use payload_proto::v1;

/// How a client behaves as a whole.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Shown to people who look at the list of holders; the process's name if empty.
    pub name: String,
    /// The tenant that all calls are about.
    pub namespace: Namespace,
    /// How long a broken connection is tried again before calls fail and leases count as lost; and how long connecting
    /// waits for a server that was killed to come back.
    pub reconnect_max: Span,
    /// How many mapped segments and files that no lease uses are kept for the next lease.
    pub idle_containers_max: usize,
    /// How a call on the local socket waits for its answer.
    pub patience: Patience,
}

/// What a call on the local socket does between its question and its answer, if no other call of the client is under way.
///
/// Most answers take a few microseconds. Going through the event loop costs about as much, and what these ways to avoid
/// it cost is time of the calling thread, in which its other tasks do not get their turn. After a wait in vain the next
/// calls go through the event loop at once; the more in a row, the more of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// Lets the event loop wake it.
    #[default]
    Yield,
    /// Looks at the socket again and again for as long as this, then as above. The fastest where a processor is free for
    /// it, and of no use where none is. Some dozen microseconds are enough.
    Spin(Span),
    /// Sleeps in the kernel for as long as this, then as above. For threads that have nothing else to do. The kernel
    /// counts in ticks of 1 to 10 ms.
    Block(Span),
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            namespace: Namespace::default(),
            reconnect_max: Span::from_secs(30),
            idle_containers_max: 64,
            patience: Patience::Yield,
        }
    }
}

/// Where and how a payload is to be kept.
#[derive(Clone, Debug, Default)]
pub struct AllocateOptions {
    /// RAM if unnamed.
    pub tier: Option<Tier>,
    /// What happens if that tier has no room. If unnamed, a payload whose tier is named is refused, and others go into the
    /// next tier.
    pub fallback: Option<Fallback>,
    /// What the tier gives by itself if unnamed.
    pub durability: Option<Durability>,
    /// How it is kept when room is short.
    pub policy: Policy,
    /// How long the payload lives after its commit; for ever if unnamed.
    pub ttl: Option<Span>,
    /// Keys and values that describe it.
    pub labels: Vec<(String, String)>,
    /// How long the allocation may take; the server's default if unnamed.
    pub timeout: Option<Span>,
}

/// The same for bytes that are there already.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// RAM if unnamed.
    pub tier: Option<Tier>,
    /// What happens if that tier has no room. If unnamed, a payload whose tier is named is refused, and others go into the
    /// next tier.
    pub fallback: Option<Fallback>,
    /// What the tier gives by itself if unnamed.
    pub durability: Option<Durability>,
    /// How it is kept when room is short.
    pub policy: Policy,
    /// How long the payload lives after its commit; for ever if unnamed.
    pub ttl: Option<Span>,
    /// Keys and values that describe it.
    pub labels: Vec<(String, String)>,
    /// Whether the server is told a digest to check.
    pub digest: DigestChoice,
    /// What it was made from: true together with the payload, or there is no payload.
    pub lineage: Option<v1::Derivation>,
    /// A name to point at the payload, with the commit or not at all.
    pub naming: Option<Naming>,
    /// Where it is appended: true together with the payload, or there is no payload.
    pub publish: Option<v1::Publish>,
    /// A revision of its metadata, true together with the payload too.
    pub metadata: Option<v1::Document>,
}

/// How an allocation becomes a payload.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// How many of the allocated bytes are content; all of them if unnamed.
    pub size: Option<u64>,
    /// Whether the server is told a digest to check.
    pub digest: DigestChoice,
    /// What it was made from: true together with the payload, or there is no payload.
    pub lineage: Option<v1::Derivation>,
    /// A name to point at the payload, with the commit or not at all.
    pub naming: Option<Naming>,
    /// Where it is appended: true together with the payload, or there is no payload.
    pub publish: Option<v1::Publish>,
    /// A revision of its metadata, true together with the payload too.
    pub metadata: Option<v1::Document>,
}

/// Which digest goes with a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestChoice {
    /// The one that was computed along the way, if all content was written front to back with [`crate::Writer::write`].
    #[default]
    IfKnown,
    /// None: the server computes it when it next reads the bytes.
    Skip,
    /// Read all content once more, if need be, and compute it.
    Compute,
    /// The caller knows it.
    Given(Digest),
}

/// What kind of lease is wanted.
#[derive(Clone, Copy, Debug)]
pub struct AcquireOptions {
    /// The lease's term; it is renewed in the background while the lease is held. A local lease without a term lasts
    /// until it is released.
    pub ttl: Option<Span>,
    /// How long to wait for a payload that is allocated but not committed.
    pub wait: Span,
    /// Contents up to this size come inside the answer instead of through a mapping; 64 KiB at most.
    pub inline_max: u32,
    /// A wish for bytes in a fast tier.
    pub min_tier: Option<MinTier>,
    /// How a payload is reached that is in the bucket alone.
    pub in_bucket: InBucket,
}

/// How a payload is reached that is in the bucket alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InBucket {
    /// The server fetches it first, for everybody who comes.
    #[default]
    Fetched,
    /// This client reads it from the bucket, into memory of its own.
    ByUrl,
}

/// The slowest tier that will do, and what happens if a payload is in a slower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinTier {
    /// It is promoted first; the call takes as long as that.
    Wait(Tier),
    /// The lease is on what there is, and the payload is promoted afterwards.
    TakeSlower(Tier),
}

impl Default for AcquireOptions {
    /// No term, no wait; contents up to 4 KiB come in the answer, because copying them is cheaper than mapping.
    fn default() -> Self {
        Self {
            ttl: None,
            wait: Span::ZERO,
            inline_max: 4 << 10,
            min_tier: None,
            in_bucket: InBucket::Fetched,
        }
    }
}
