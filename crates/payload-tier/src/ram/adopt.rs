//! Takes over the memfds that an earlier server left with the keeper.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use payload_core::port::FdStore;
use payload_core::{Result, SegmentId};
use rustix::fs::SealFlags;

use super::segment::{Kind, Segment};
use super::slab::Slab;
use super::stage::Stage;
use super::table::Table;
use super::whole::Whole;
use crate::fault::Doing;
use crate::mapping;

/// All that is kept, and the memory that it takes up.
pub(super) fn adopt(keeper: &dyn FdStore) -> Result<(Table, u64)> {
    let table = Table::new();
    let mut used = 0;
    for (id, fd) in keeper.list()? {
        match kind_of(fd.as_fd())? {
            Some(kind) => {
                let segment = Segment::new(id, fd, kind);
                used += segment.size();
                table.insert(Arc::new(segment));
            }
            None => refuse(keeper, id, fd)?,
        }
    }
    Ok((table, used))
}

/// The seals say what a memfd is for: they were put on before the keeper got it.
fn kind_of(fd: BorrowedFd<'_>) -> Result<Option<Kind>> {
    let Ok(seals) = rustix::fs::fcntl_get_seals(fd) else {
        return Ok(None);
    };
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
        return Ok(None);
    }
    let stat = rustix::fs::fstat(fd).doing("look at a kept segment")?;
    if seals.contains(SealFlags::FUTURE_WRITE) {
        let size = stat.st_size.cast_unsigned();
        // Read-only from now on: where the earlier server stopped filling it is not known.
        let mapping = mapping::Slab::adopt(fd, size).doing("map a kept slab")?;
        return Ok(Some(Kind::Slab(Slab::adopted(mapping, size))));
    }
    if seals.contains(SealFlags::SEAL) && !seals.contains(SealFlags::WRITE) {
        let size = stat.st_size.cast_unsigned();
        let mapping = mapping::Stage::map(fd, size).doing("map a kept stage")?;
        return Ok(Some(Kind::Stage(Stage::adopted(mapping, size))));
    }
    // Blocks are counted in 512 bytes (stat(2)); what a shrinking commit freed is not among them.
    let size = stat.st_blocks.cast_unsigned() * 512;
    let sealed = seals.contains(SealFlags::WRITE);
    Ok(Some(Kind::Whole(Whole::adopted(size, sealed))))
}

/// Not a memfd that this store made, so no row can name it.
fn refuse(keeper: &dyn FdStore, id: SegmentId, fd: OwnedFd) -> Result<()> {
    drop(fd);
    keeper.remove(id)
}
