//! Where bytes are kept: the `TierStore` port on shared memory, on local disk and in a bucket.
//!
//! [`RamStore`] gives each big payload a memfd of its own, which its producer fills in place and the kernel then seals,
//! and packs small ones into slabs that only the server can write. [`DiskStore`] does the same with files and packs.
//! [`ObjectTier`] keeps them in a bucket, behind the `ObjectStore` port. None of them knows payloads, rows or leases: they see bytes, locations and containers.

mod budget;
mod direct;
mod disk;
mod fault;
mod freed;
mod live;
mod mapping;
mod object;
mod ram;
mod source;
mod sys;

pub use disk::{DiskOptions, DiskStore, Temporaries, WriterCheck, put_back};
pub use object::{ObjectOptions, ObjectTier};
pub use ram::{RamOptions, RamStore};

/// Payloads in shared containers begin at multiples of this and are charged in multiples of it: a cache line, which
/// suits every element type that a reader may want to see in place.
const ALIGN: u64 = 64;

/// Whole segments and files are charged in multiples of this: the page size of memory and the block size of the usual
/// file systems.
const PAGE: u64 = 4096;

/// The room that a payload takes in a shared container. Even an empty one takes some, so that no two payloads ever
/// have the same location.
const fn room(size: u64) -> u64 {
    let size = if size == 0 { 1 } else { size };
    size.div_ceil(ALIGN).saturating_mul(ALIGN)
}

/// The pages that `size` bytes take.
const fn pages(size: u64) -> u64 {
    size.div_ceil(PAGE).saturating_mul(PAGE)
}

/// Whether less than `share` per cent of a container is used, but something.
const fn is_hollow(live: u64, size: u64, share: u8) -> bool {
    live > 0 && live.saturating_mul(100) < size.saturating_mul(share as u64)
}

/// A length in memory; every length here is at most 1 TiB, and this crate is for 64-bit machines.
const fn index(value: u64) -> usize {
    const { assert!(usize::BITS >= 64) };
    value as usize
}

/// The length of a slice, as lengths are counted everywhere else.
const fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
