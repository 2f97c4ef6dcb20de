//! What an operator can set about the engine.

use payload_core::lease::LeaseTerms;
use payload_core::tiering::Watermarks;
use payload_core::{NodeId, Span};

use crate::PerTier;
use crate::compact::Compaction;
use crate::retention::Retention;

/// The engine's settings, validated by whoever read them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node whose tiers this engine runs.
    pub node: NodeId,
    /// How long leases last.
    pub lease_terms: LeaseTerms,
    /// How long after a start earlier sessions may reclaim what they held.
    pub grace: Span,
    /// How long an allocation may take when its client names no time.
    pub allocation_timeout: Span,
    /// How long the answer to a request id is remembered.
    pub request_retention: Span,
    /// How long the history is kept.
    pub retention: Retention,
    /// Between which shares of each tier eviction works.
    pub watermarks: PerTier<Watermarks>,
    /// How much of a tier may be pinned, in per cent.
    pub pinned_max: u8,
    /// How much may be written behind at a time, in per cent of what RAM may hold.
    pub write_behind_max: u8,
    /// How long a request waits for room in RAM, or on disk if that is emptied into a bucket; zero: it is refused at once.
    pub room_wait: Span,
    /// How many payloads are copied down at a time, and how many up.
    pub movers: usize,
    /// How many bytes are copied down in a second, if there is a limit.
    pub spill_rate: Option<u64>,
    /// How many bytes are copied up in a second, if there is a limit.
    pub promote_rate: Option<u64>,
    /// When shared containers are compacted.
    pub compaction: Compaction,
    /// How often all bytes are read to see whether they are right; none: never.
    pub scrub_interval: Option<Span>,
    /// How many bytes of them are read in a second.
    pub scrub_rate: u64,
    /// How many payloads without a replica in RAM are kept in memory.
    pub cold_entries_max: usize,
    /// What one principal may have at once.
    pub caps: Caps,
}

/// What one principal, or everybody together, may have at once.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Sessions of everybody.
    pub sessions: usize,
    /// Sessions of one principal.
    pub sessions_per_principal: usize,
    /// Leases of one principal.
    pub leases_per_principal: usize,
    /// Open allocations of one principal.
    pub allocations_per_principal: usize,
}
