//! The boot-time clock, by which the terms of leases are counted on both sides of the wire.

use payload_core::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, suspend included.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Microseconds since 1970, for numbers that must grow from one life of a process to the next.
pub(crate) fn wall_micros() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}
