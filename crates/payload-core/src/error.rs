//! One error type for the whole system: a reason that never changes its meaning, and what the caller should do about it.

use std::borrow::Cow;
use std::fmt;

use crate::time::Span;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do; two kinds differ only if somebody would act differently. Maps one to one to a gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Correct the request.
    InvalidArgument,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The thing is in the wrong state; the same request fails until something else changes.
    FailedPrecondition,
    /// What the request starts from is no longer there; start from the earliest that is, which the message names.
    OutOfRange,
    /// The caller may not do this.
    PermissionDenied,
    /// A bound is reached; try again later, or free something.
    ResourceExhausted,
    /// Somebody else was first; read again and decide anew.
    Aborted,
    /// The caller's time ran out.
    DeadlineExceeded,
    /// Not now; try again with the same request id.
    Unavailable,
    /// Bytes are gone or damaged, and no other replica has them.
    DataLoss,
    /// A fault of the server's own.
    Internal,
}

/// Whether a failed mutation may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing happened.
    NotApplied,
    /// It may have happened: ask again with the same request id, never guess.
    Unknown,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $kind:ident,)*) => {
        /// Why something was refused or failed: stable, machine-readable, documented in `docs/reference/errors.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What a caller can do about it.
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind,)* }
            }
        }
    };
}

reasons! {
    /// An id or token that is not well-formed.
    BadId = "BAD_ID" => InvalidArgument,
    /// A name, label, request id or reason that breaks its rules.
    BadName = "BAD_NAME" => InvalidArgument,
    /// A digest that is not well-formed.
    BadDigest = "BAD_DIGEST" => InvalidArgument,
    /// A size above the limit, or one that contradicts the bytes.
    BadSize = "BAD_SIZE" => InvalidArgument,
    /// A duration above its limit.
    BadDuration = "BAD_DURATION" => InvalidArgument,
    /// A page token or cursor that this server did not give out for this query.
    BadPageToken = "BAD_PAGE_TOKEN" => InvalidArgument,
    /// A message that cannot be understood, or a field that is missing or contradicts another.
    BadRequest = "BAD_REQUEST" => InvalidArgument,
    /// The tier is not one that this server has.
    TierNotConfigured = "TIER_NOT_CONFIGURED" => InvalidArgument,
    /// Tier and durability (or other policies) contradict each other.
    PolicyContradiction = "POLICY_CONTRADICTION" => InvalidArgument,

    /// No such namespace.
    NamespaceNotFound = "NAMESPACE_NOT_FOUND" => NotFound,
    /// No such payload in this namespace.
    PayloadNotFound = "PAYLOAD_NOT_FOUND" => NotFound,
    /// The name points at nothing.
    NameNotFound = "NAME_NOT_FOUND" => NotFound,
    /// The payload has no metadata, or no such revision of it.
    MetadataNotFound = "METADATA_NOT_FOUND" => NotFound,
    /// No such lease of this holder: released, expired, revoked, or never granted.
    LeaseNotFound = "LEASE_NOT_FOUND" => NotFound,
    /// No such session to resume.
    SessionNotFound = "SESSION_NOT_FOUND" => NotFound,
    /// No such stream in this namespace.
    StreamNotFound = "STREAM_NOT_FOUND" => NotFound,
    /// No such group of this stream.
    GroupNotFound = "GROUP_NOT_FOUND" => NotFound,

    /// There is a namespace of this name.
    NamespaceExists = "NAMESPACE_EXISTS" => FailedPrecondition,
    /// Payloads in the namespace have not ended, it has streams, or it is the one that is always there.
    NamespaceInUse = "NAMESPACE_IN_USE" => FailedPrecondition,
    /// The name points at a payload that has not ended.
    NameTaken = "NAME_TAKEN" => FailedPrecondition,
    /// The payload is still allocated: nothing has been committed.
    PayloadNotCommitted = "PAYLOAD_NOT_COMMITTED" => FailedPrecondition,
    /// The payload was committed already.
    PayloadCommitted = "PAYLOAD_COMMITTED" => FailedPrecondition,
    /// The allocation was aborted, timed out, or its writer died.
    PayloadAborted = "PAYLOAD_ABORTED" => FailedPrecondition,
    /// The payload is being deleted or is deleted.
    PayloadDeleted = "PAYLOAD_DELETED" => FailedPrecondition,
    /// The payload's time to live is over.
    PayloadExpired = "PAYLOAD_EXPIRED" => FailedPrecondition,
    /// The payload's bytes, and the leases on them, are with another server; the message names its node.
    PayloadElsewhere = "PAYLOAD_ELSEWHERE" => FailedPrecondition,
    /// The event is not due yet.
    NotDue = "NOT_DUE" => FailedPrecondition,
    /// The allocation belongs to another session.
    AllocationNotOwned = "ALLOCATION_NOT_OWNED" => FailedPrecondition,
    /// Somebody still has the bytes open or mapped for writing.
    WriterMapped = "WRITER_MAPPED" => FailedPrecondition,
    /// The bytes do not have the digest that the client named.
    DigestMismatch = "DIGEST_MISMATCH" => FailedPrecondition,
    /// Nothing was stored at the URL that the allocation came with.
    NotUploaded = "NOT_UPLOADED" => FailedPrecondition,
    /// The request id was used before, for another request.
    RequestIdReused = "REQUEST_ID_REUSED" => FailedPrecondition,
    /// The metadata that a merge patch shall change is not JSON.
    MetadataNotJson = "METADATA_NOT_JSON" => FailedPrecondition,
    /// The lease's term is over.
    LeaseExpired = "LEASE_EXPIRED" => FailedPrecondition,
    /// The lease was revoked.
    LeaseRevoked = "LEASE_REVOKED" => FailedPrecondition,
    /// The edge would make a payload its own ancestor.
    LineageCycle = "LINEAGE_CYCLE" => FailedPrecondition,
    /// The key holds an object with other bytes.
    ObjectExists = "OBJECT_EXISTS" => FailedPrecondition,
    /// The object store gives out no URLs that would be safe to hand on.
    ObjectUrlsUnsupported = "OBJECT_URLS_UNSUPPORTED" => FailedPrecondition,
    /// The object store lacks something that the object tier cannot do without; the message names it.
    ObjectStoreUnfit = "OBJECT_STORE_UNFIT" => FailedPrecondition,
    /// More of the lineage graph would have to be looked at than one request may.
    LineageTooLarge = "LINEAGE_TOO_LARGE" => FailedPrecondition,
    /// Live payloads descend from the payload.
    PayloadHasDependents = "PAYLOAD_HAS_DEPENDENTS" => FailedPrecondition,
    /// The repository's schema is not one that this version of the server can work with.
    RepositoryIncompatible = "REPOSITORY_INCOMPATIBLE" => FailedPrecondition,
    /// The database may lose what it acknowledged: its settings say so.
    RepositoryUnsafe = "REPOSITORY_UNSAFE" => FailedPrecondition,
    /// Another server works with the repository.
    RepositoryInUse = "REPOSITORY_IN_USE" => FailedPrecondition,
    /// An entry of a stream holds the payload.
    PayloadHeld = "PAYLOAD_HELD" => FailedPrecondition,
    /// The replica that would have to go is pinned.
    PayloadPinned = "PAYLOAD_PINNED" => FailedPrecondition,
    /// There is a stream of this name, with other settings.
    StreamExists = "STREAM_EXISTS" => FailedPrecondition,
    /// The stream was deleted and made again: the caller's incarnation is over.
    StreamReplaced = "STREAM_REPLACED" => FailedPrecondition,
    /// A producer's entries are missing before this batch.
    SequenceGap = "SEQUENCE_GAP" => FailedPrecondition,
    /// A producer used the sequence numbers for other entries, or too long ago to tell.
    SequenceReused = "SEQUENCE_REUSED" => FailedPrecondition,
    /// The group is further on; only a reset moves it back.
    OffsetBackwards = "OFFSET_BACKWARDS" => FailedPrecondition,
    /// Another member has taken the group over, or it was reset.
    GroupFenced = "GROUP_FENCED" => FailedPrecondition,

    /// Retention has removed the entries that the request starts from.
    OffsetBehindRetention = "OFFSET_BEHIND_RETENTION" => OutOfRange,
    /// Nothing was appended that far.
    OffsetBeyondHead = "OFFSET_BEYOND_HEAD" => OutOfRange,

    /// Events or revisions that the request starts from were removed after their retention time.
    HistoryRemoved = "HISTORY_REMOVED" => OutOfRange,

    /// The peer may not use this socket.
    PeerNotAllowed = "PEER_NOT_ALLOWED" => PermissionDenied,

    /// The tier has no room.
    TierFull = "TIER_FULL" => ResourceExhausted,
    /// As much of the tier is pinned as may be.
    PinLimit = "PIN_LIMIT" => ResourceExhausted,
    /// The host has no memory to spare.
    MemoryShort = "MEMORY_SHORT" => ResourceExhausted,
    /// The server has no file descriptor, or no place in the keeper, to spare.
    SegmentsExhausted = "SEGMENTS_EXHAUSTED" => ResourceExhausted,
    /// The principal has as many leases as it may have.
    TooManyLeases = "TOO_MANY_LEASES" => ResourceExhausted,
    /// The principal has as many open allocations as it may have.
    TooManyAllocations = "TOO_MANY_ALLOCATIONS" => ResourceExhausted,
    /// There are as many sessions as there may be.
    TooManySessions = "TOO_MANY_SESSIONS" => ResourceExhausted,
    /// The namespace has as many streams as it may have.
    TooManyStreams = "TOO_MANY_STREAMS" => ResourceExhausted,
    /// A subscriber did not acknowledge for too long; the message says from where to go on.
    SubscriberSlow = "SUBSCRIBER_SLOW" => ResourceExhausted,
    /// There are as many subscriptions as there may be.
    TooManySubscriptions = "TOO_MANY_SUBSCRIPTIONS" => ResourceExhausted,
    /// The stream has as many groups as it may have.
    TooManyGroups = "TOO_MANY_GROUPS" => ResourceExhausted,
    /// The namespace would have more bytes or payloads than its quota.
    QuotaExceeded = "QUOTA_EXCEEDED" => ResourceExhausted,
    /// What was sent was not read for too long.
    ReaderTooSlow = "READER_TOO_SLOW" => ResourceExhausted,
    /// More work is waiting than the server lets wait.
    Overloaded = "OVERLOADED" => ResourceExhausted,

    /// Another change of the same thing came first.
    Conflict = "CONFLICT" => Aborted,
    /// The next entry of the stream gets another offset than the producer expects.
    OffsetUnexpected = "OFFSET_UNEXPECTED" => Aborted,
    /// A later life of the producer has appended.
    ProducerFenced = "PRODUCER_FENCED" => Aborted,
    /// The group is at another offset than the consumer expects.
    GroupMoved = "GROUP_MOVED" => Aborted,

    /// The payload was not committed within the time that the caller gave.
    WaitTimedOut = "WAIT_TIMED_OUT" => DeadlineExceeded,

    /// The server has just started and does not serve yet.
    Starting = "STARTING" => Unavailable,
    /// The server is shutting down.
    ShuttingDown = "SHUTTING_DOWN" => Unavailable,
    /// The repository does not answer, or is busy for longer than its timeout.
    RepositoryUnavailable = "REPOSITORY_UNAVAILABLE" => Unavailable,
    /// The repository takes no writes: its disk is full or read-only.
    RepositoryReadOnly = "REPOSITORY_READ_ONLY" => Unavailable,
    /// Another server took over this node; this one must stop.
    Fenced = "FENCED" => Unavailable,
    /// The tier cannot be written to or read from now.
    TierUnavailable = "TIER_UNAVAILABLE" => Unavailable,
    /// The object store does not answer, or is busy for longer than its budget of time.
    ObjectStoreUnavailable = "OBJECT_STORE_UNAVAILABLE" => Unavailable,
    /// The object store refuses the server's credentials, or what they may do.
    ObjectStoreDenied = "OBJECT_STORE_DENIED" => Unavailable,
    /// The fd keeper does not answer.
    KeeperUnavailable = "KEEPER_UNAVAILABLE" => Unavailable,
    /// The connection broke while a request was under way.
    ConnectionLost = "CONNECTION_LOST" => Unavailable,

    /// The payload's last replica was lost.
    PayloadLost = "PAYLOAD_LOST" => DataLoss,
    /// The bytes do not have the digest they were committed with.
    BytesCorrupt = "BYTES_CORRUPT" => DataLoss,
    /// The bytes are not where the row says.
    BytesMissing = "BYTES_MISSING" => DataLoss,
    /// The repository's file is damaged.
    RepositoryCorrupt = "REPOSITORY_CORRUPT" => DataLoss,

    /// A fault of the server's own; the message says where to look.
    Internal = "INTERNAL" => Internal,
}

impl std::str::FromStr for Reason {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or(())
    }
}

/// What went wrong, for whom to act on.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    message: Cow<'static, str>,
    field: Option<&'static str>,
    retry_after: Option<Span>,
    outcome: Outcome,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message for people: lower case, no full stop.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            field: None,
            retry_after: None,
            outcome: Outcome::NotApplied,
            source: None,
        }))
    }

    /// The same, for a reason that says the request is wrong.
    pub fn invalid(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        debug_assert_eq!(reason.kind(), ErrorKind::InvalidArgument);
        Self::new(reason, message)
    }

    /// Names the field of the request that is at fault.
    pub fn field(mut self, field: &'static str) -> Self {
        self.0.field = Some(field);
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, span: Span) -> Self {
        self.0.retry_after = Some(span);
        self
    }

    /// Marks the mutation as one that may have happened.
    pub fn outcome_unknown(mut self) -> Self {
        self.0.outcome = Outcome::Unknown;
        self
    }

    /// Adds the cause.
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.reason.kind()
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The field of the request that is at fault, if one is.
    pub fn fault_field(&self) -> Option<&'static str> {
        self.0.field
    }

    /// When to try again, if that is known.
    pub fn retry_delay(&self) -> Option<Span> {
        self.0.retry_after
    }

    /// Whether the mutation may have happened.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_reasons_are_distinct_and_parse_back() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }
}
