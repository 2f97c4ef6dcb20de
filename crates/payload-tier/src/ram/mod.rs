//! The RAM tier: whole segments that producers fill in place, and slabs of everything smaller.
//!
//! Nothing is ever writable by a client and readable by another at the same time: a segment is handed to its producer
//! for writing until the kernel has sealed it, and to readers only from then on; a slab is written by the server alone,
//! from requests or from stages that each belong to one producer.
//! Every memfd is with the fd keeper before anybody hears of it, so it outlives the server.

mod adopt;
mod memory;
mod packing;
mod pool;
mod segment;
mod slab;
mod stage;
mod staging;
mod table;
mod whole;
mod zombies;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use payload_core::port::{Claim, FdStore, Ids, Left, Placed, Receiver, Sealed, Sender, Source, TierStore, TierUsage};
use payload_core::{Container, Digest, Error, Location, Namespace, Reason, Result, SegmentId, SessionId, Tier};

use self::memory::Memory;
use self::packing::Lanes;
use self::pool::Pool;
use self::segment::{Kind, Segment, not_sealed};
use self::staging::Stages;
use self::table::Table;
use self::whole::Whole;
use self::zombies::Zombies;
use crate::budget::{Budget, Hold};
use crate::fault::{Doing, foreign, in_use, missing};
use crate::mapping::{self, Fill};
use crate::source::{gather, mapped};
use crate::{index, length, pages, room};

/// How much memory to use, and how to cut it up.
#[derive(Clone, Debug)]
pub struct RamOptions {
    /// Bytes that the tier may take up.
    pub capacity: u64,
    /// What must stay available to the rest of the machine, and within each control group's limit.
    pub memory_reserve: u64,
    /// How many memfds there may be; below the process's limit of file descriptors.
    pub segments_max: u64,
    /// Payloads up to this size are packed into slabs; larger ones get a segment of their own, which their producer
    /// fills in place.
    pub packed_max: u64,
    /// How much may be made ready for payloads to come.
    pub pool_max: u64,
    /// The first slab of a namespace. 1 MiB keeps a namespace with a handful of small payloads cheap.
    pub slab_size_min: u64,
    /// Each slab is twice as big as the one before, up to this. 8 MiB needs 128 slabs for a gigabyte, and holds up
    /// little room when one live payload keeps the rest from being freed.
    pub slab_size_max: u64,
}

impl Default for RamOptions {
    fn default() -> Self {
        Self {
            capacity: 1 << 30,
            memory_reserve: 256 << 20,
            segments_max: 512,
            packed_max: 2 << 20,
            pool_max: 0,
            slab_size_min: 1 << 20,
            slab_size_max: 8 << 20,
        }
    }
}

/// Bytes in memfds.
pub struct RamStore {
    options: RamOptions,
    ids: Ids,
    keeper: Arc<dyn FdStore>,
    budget: Budget,
    memory: Memory,
    table: Table,
    /// How many memfds there are, those in the making included.
    segments: AtomicU64,
    lanes: Lanes,
    stages: Stages,
    pool: Pool,
    zombies: Zombies,
    swept: AtomicBool,
}

impl std::fmt::Debug for RamStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RamStore")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl RamStore {
    /// Takes over everything that the keeper holds.
    pub fn open(options: RamOptions, ids: Ids, keeper: Arc<dyn FdStore>) -> Result<Self> {
        let (table, used) = adopt::adopt(&*keeper)?;
        Ok(Self {
            budget: Budget::new(options.capacity, used),
            memory: Memory::of_this_process(options.memory_reserve),
            segments: AtomicU64::new(table.len() as u64),
            table,
            lanes: Lanes::default(),
            stages: Stages::default(),
            pool: Pool::new(options.pool_max, options.packed_max),
            zombies: Zombies::new(),
            swept: AtomicBool::new(false),
            options,
            ids,
            keeper,
        })
    }

    /// A duplicate of a segment's descriptor, for a keeper that must be given everything anew. It can be written through
    /// as long as the segment is not sealed: it must go nowhere else.
    pub fn duplicate(&self, segment: SegmentId) -> Option<OwnedFd> {
        self.table.get(segment)?.fd().try_clone_to_owned().ok()
    }

    fn segment(&self, location: &Location) -> Result<Arc<Segment>> {
        let Container::Segment(id) = location.container() else {
            return Err(foreign());
        };
        self.table.get(id).ok_or_else(|| missing("there is no such segment"))
    }

    /// A memfd whose `size` bytes (whole pages) are really there: one that is ready, or a new one, for which what is only
    /// ready for payloads to come makes way.
    fn create(&self, size: u64) -> Result<New<'_>> {
        if let Some(ready) = self.take_ready(size)? {
            return Ok(ready);
        }
        self.with_room(|| self.make(size))
    }

    /// Does what may fail for want of room, and again whenever some could be made: memory that nobody has any more is
    /// freed, and then what is only ready for payloads to come makes way.
    fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let mut result = attempt();
        for make_way in [Self::bury, Self::empty_pool] {
            let short = matches!(&result, Err(error) if is_shortage(error));
            if short && make_way(self) {
                result = attempt();
            }
        }
        result
    }

    fn make(&self, size: u64) -> Result<New<'_>> {
        let slot = Slot::take(&self.segments, self.options.segments_max)?;
        let room = self.budget.take(size)?;
        let fd = self.memory.create(size)?;
        Ok(New { fd, room, slot })
    }

    /// Brings a memfd to the keeper; from then on it can be handed out.
    fn publish(&self, new: New<'_>, id: SegmentId, kind: Kind) -> Result<Arc<Segment>> {
        let mut stored = self.keeper.store(id, new.fd.as_fd());
        if matches!(&stored, Err(error) if is_shortage(error)) && self.bury() {
            stored = self.keeper.store(id, new.fd.as_fd());
        }
        if let Err(error) = stored {
            // Whether it is kept is not known; if this fails too, the next start finds a segment without a row.
            let _forgotten = self.keeper.remove(id);
            return Err(error);
        }
        let segment = Arc::new(Segment::new(id, new.fd, kind));
        self.table.insert(Arc::clone(&segment));
        new.room.keep();
        new.slot.keep();
        Ok(segment)
    }

    /// Makes a sealed memfd with bytes that `fill` puts in.
    fn store_whole<T>(&self, size: u64, fill: impl FnOnce(&mut [u8]) -> Result<T>) -> Result<(Placed, T)> {
        let new = self.create(pages(size))?;
        let mut mapping = Fill::map(new.fd.as_fd(), size).doing("map a new segment")?;
        let result = fill(mapping.bytes())?;
        drop(mapping);
        memory::seal(new.fd.as_fd()).doing("seal a new segment")?;
        let id = self.ids.segment();
        let segment = self.publish(new, id, Kind::Whole(Whole::sealed(pages(size))))?;
        Ok((segment.place(Location::Segment(id), pages(size)), result))
    }

    fn dead(&self) -> u64 {
        let mut dead = 0;
        self.table.each(|segment| {
            if let Kind::Slab(slab) = segment.kind() {
                dead += slab.dead();
            }
        });
        dead
    }

    fn is_packed(&self, size: u64) -> bool {
        size <= self.options.packed_max
    }

    /// Gives a container up. Its memory is charged until nobody has it any more.
    fn free(&self, id: SegmentId) -> Result<()> {
        if self.table.get(id).is_some_and(|segment| self.is_held(&segment)) {
            if let Some(segment) = self.table.remove(id) {
                self.outlive(segment);
            }
            return Ok(());
        }
        // The keeper first: if it does not answer, the segment is still there to be freed another time.
        self.keeper.remove(id)?;
        if let Some(segment) = self.table.remove(id) {
            self.budget.give(segment.retire());
            self.segments.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl TierStore for RamStore {
    fn tier(&self) -> Tier {
        Tier::Ram
    }

    fn reserve(&self, _namespace: &Namespace, size: u64, producer: Option<SessionId>) -> Result<Placed> {
        if self.is_packed(size) {
            return self.reserve_staged(size, producer);
        }
        let new = self.create(pages(size))?;
        let id = self.ids.segment();
        let segment = self.publish(new, id, Kind::Whole(Whole::reserved(pages(size))))?;
        Ok(segment.place(Location::Segment(id), pages(size)))
    }

    fn writer(&self, location: &Location) -> Result<OwnedFd> {
        self.segment(location)?.writer()
    }

    fn seal(&self, namespace: &Namespace, location: &Location, size: u64) -> Result<Sealed> {
        let segment = self.segment(location)?;
        match segment.kind() {
            Kind::Whole(whole) => {
                let sealing = whole.seal(segment.fd(), size)?;
                self.budget.give(sealing.freed);
                let charged = sealing.charged;
                Ok(Sealed::InPlace { charged })
            }
            Kind::Slab(_) => Ok(Sealed::InPlace { charged: room(size) }),
            Kind::Stage(stage) => self.pack(namespace, stage, location.offset(), size),
        }
    }

    fn forget_producer(&self, producer: SessionId) {
        self.close_stages(producer);
    }

    fn store(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        let copy = |target: &mut [u8]| {
            target.copy_from_slice(bytes);
            Ok(())
        };
        let (placed, ()) = match self.is_packed(length(bytes)) {
            true => self.store_packed(namespace, length(bytes), copy)?,
            false => self.store_whole(length(bytes), copy)?,
        };
        Ok(placed)
    }

    fn store_all(&self, namespace: &Namespace, payloads: &[&[u8]]) -> Vec<Result<Placed>> {
        payloads.iter().map(|bytes| self.store(namespace, bytes)).collect()
    }

    fn copy_in(&self, namespace: &Namespace, source: Source<'_>) -> Result<(Placed, Digest)> {
        let copy = |target: &mut [u8]| crate::source::fill(source, target);
        match self.is_packed(source.size) {
            true => self.store_packed(namespace, source.size, copy),
            false => self.store_whole(source.size, copy),
        }
    }

    fn receive(&self, namespace: &Namespace, size: u64, from: Sender<'_>) -> Result<(Placed, Digest)> {
        if self.is_packed(size) {
            // A slab is not kept busy for as long as the bytes take to come.
            let mut bytes = vec![0; index(size)];
            let digest = gather(&mut bytes, from)?;
            return Ok((self.store(namespace, &bytes)?, digest));
        }
        self.store_whole(size, |target| gather(target, from))
    }

    fn send(&self, location: &Location, size: u64, to: Receiver<'_>) -> Result<()> {
        crate::source::send(&self.open(location)?, location.offset(), size, to)
    }

    fn check(&self, location: &Location, size: u64) -> Result<()> {
        self.segment(location)?.check(location.offset(), size)
    }

    fn read(&self, location: &Location, size: u64, out: &mut Vec<u8>) -> Result<()> {
        let segment = self.segment(location)?;
        match segment.kind() {
            Kind::Slab(slab) => out.extend_from_slice(slab.bytes(location.offset(), size)?),
            Kind::Whole(whole) => {
                whole.require_sealed()?;
                crate::source::append(segment.fd(), 0, size, out)?;
            }
            Kind::Stage(_) => return Err(not_sealed()),
        }
        Ok(())
    }

    fn digest(&self, location: &Location, size: u64) -> Result<Digest> {
        let segment = self.segment(location)?;
        match segment.kind() {
            Kind::Slab(slab) => Ok(Digest::of(slab.bytes(location.offset(), size)?)),
            Kind::Whole(whole) => {
                whole.require_sealed()?;
                if size == 0 {
                    return Ok(Digest::of(&[]));
                }
                Ok(Digest::of(mapped(mapping::Sealed::map(segment.fd(), 0, size))?.bytes()))
            }
            Kind::Stage(_) => Err(not_sealed()),
        }
    }

    fn open(&self, location: &Location) -> Result<OwnedFd> {
        self.segment(location)?.reader()
    }

    fn memory_node(&self, location: &Location) -> Option<u32> {
        let segment = self.segment(location).ok()?;
        self.memory.node_of(segment.reader().ok()?.as_fd(), location.offset())
    }

    fn remove(&self, location: &Location, charged: u64) -> Result<()> {
        let Container::Segment(id) = location.container() else {
            return Err(foreign());
        };
        let Some(segment) = self.table.get(id) else {
            return Ok(());
        };
        match segment.kind() {
            Kind::Slab(slab) => {
                slab.give_up(location.offset(), charged);
                Ok(())
            }
            Kind::Stage(stage) => {
                self.unstage(&segment, stage, location.offset());
                Ok(())
            }
            Kind::Whole(_) => self.free(id),
        }
    }

    fn sweepable(&self) -> Result<Vec<Container>> {
        self.bury();
        self.close_empty_slabs();
        let all = !self.swept.swap(true, Ordering::Relaxed);
        let mut containers = Vec::new();
        self.table.each(|segment| {
            if segment.is_sweepable(all) {
                containers.push(Container::Segment(segment.id()));
            }
        });
        Ok(containers)
    }

    fn hollow(&self, share: u8, count: &dyn Fn(Container) -> Result<u64>) -> Result<Vec<Container>> {
        if let Some(segment) = self
            .table
            .find(|segment| matches!(segment.kind(), Kind::Slab(slab) if !slab.is_counted()))
            && let Kind::Slab(slab) = segment.kind()
        {
            slab.count(|| count(Container::Segment(segment.id())))?;
        }
        let mut hollow = Vec::new();
        self.table.each(|segment| {
            let worth_it = matches!(segment.kind(), Kind::Slab(slab) if slab.is_hollow(share));
            if worth_it && !segment.is_protected() {
                hollow.push(Container::Segment(segment.id()));
            }
        });
        Ok(hollow)
    }

    fn suspect(&self, _container: Container, _left: Left) -> Result<Claim> {
        // The first sweep of a start names everything.
        Ok(Claim::default())
    }

    fn trust(&self, _container: Container) -> Result<()> {
        Ok(())
    }

    fn drop_container(&self, container: Container) -> Result<()> {
        let Container::Segment(id) = container else {
            return Err(foreign());
        };
        match self.table.get(id) {
            Some(segment) if segment.is_protected() => Err(in_use()),
            _ => self.free(id),
        }
    }

    fn prepare(&self) -> Result<bool> {
        self.fill_pool()
    }

    fn was_drawn_on(&self) -> bool {
        self.pool.was_drawn_on()
    }

    fn usage(&self) -> TierUsage {
        TierUsage {
            staging: self.staging(),
            pool: self.pool.bytes(),
            zombie: self.zombies.bytes(),
            dead: self.dead(),
            huge_pages: self.memory.has_huge_pages(),
            ..self.budget.usage(self.table.len() + self.zombies.len())
        }
    }

    fn attainable(&self) -> Option<u64> {
        self.memory.attainable(self.usage().used)
    }
}

fn is_shortage(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::TierFull | Reason::MemoryShort | Reason::SegmentsExhausted
    )
}

/// A memfd that nobody knows of yet. Dropped, it leaves nothing behind.
struct New<'a> {
    fd: OwnedFd,
    room: Hold<'a>,
    slot: Slot<'a>,
}

/// One of the memfds that there may be.
struct Slot<'a>(Option<&'a AtomicU64>);

impl<'a> Slot<'a> {
    fn take(segments: &'a AtomicU64, max: u64) -> Result<Self> {
        let taken = segments.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < max).then_some(count + 1)
        });
        taken
            .map(|_| Self(Some(segments)))
            .map_err(|_| Error::new(Reason::SegmentsExhausted, format!("there are {max} segments already")))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(segments) = self.0 {
            segments.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Segment {
    /// The place of new bytes in this segment, protected until their row is committed.
    fn place(&self, location: Location, charged: u64) -> Placed {
        Placed {
            location,
            charged,
            claim: Claim::new(self.claim()),
        }
    }
}
