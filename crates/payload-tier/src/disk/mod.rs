//! The disk tier: whole files, and packs of small payloads.
//!
//! What is acknowledged is on the device, file and directory; what a commit carries is in its journal until it is. A file becomes visible under its name only when it is
//! complete, so a death at any moment leaves nothing but complete files and the tails of packs. After a failed sync
//! nothing is tried again on the same file: the kernel may have dropped the very pages and said so once.

mod claims;
mod draft;
mod ledger;
mod names;
mod pack;
mod put_back;
mod reservation;
mod root;
mod transfer;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_core::limits::INLINE_SIZE_MAX;
use payload_core::port::{Claim, Ids, Left, Placed, Receiver, Sealed, Sender, Source, TierStore, TierUsage};
use payload_core::{Container, Digest, Error, FileId, Location, Namespace, Reason, Result, SessionId, Tier};

use self::claims::Claims;
use self::draft::Draft;
use self::ledger::Ledger;
use self::pack::{Packs, Wait};
pub use self::put_back::put_back;
use self::reservation::Reservations;
use self::root::Root;
use crate::fault::{foreign, in_use, missing};
use crate::source::{gather, read_exact};
use crate::{index, length, pages, room};

/// Where files get their bytes before they have their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporaries {
    /// Without any name where the file system can do that, else [`Named`](Self::Named).
    Unnamed,
    /// With a name in a directory that is emptied at every start.
    Named,
}

/// How a seal makes sure that nobody can write any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterCheck {
    /// Ask the kernel, by way of a lease, where the file system has leases; else [`Copy`](Self::Copy).
    Lease,
    /// Copy the bytes into a file that nobody else ever had. Costs a second write, and takes what is there at the
    /// time of the seal, writers or not.
    Copy,
}

/// How much of the file system to use, and how.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Bytes that the tier may take up.
    pub capacity: u64,
    /// Bytes that must stay free on the file system.
    pub free_min: u64,
    /// Packs are as big as this at most. A pack is freed as a whole, so this is what one live payload may hold up.
    pub pack_size: u64,
    /// What the rows say that replicas in this tier are charged, from an earlier start. It saves the start from
    /// looking at every file; the first sweep looks at them all and corrects the figure.
    pub charged: u64,
    /// How new files are made.
    pub temporaries: Temporaries,
    /// How seals exclude writers.
    pub writer_check: WriterCheck,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            capacity: 10 << 30,
            free_min: 256 << 20,
            pack_size: 64 << 20,
            charged: 0,
            temporaries: Temporaries::Unnamed,
            writer_check: WriterCheck::Lease,
        }
    }
}

/// Bytes in files.
pub struct DiskStore {
    root: Root,
    ids: Ids,
    ledger: Ledger,
    reservations: Reservations,
    packs: Packs,
    claims: Claims,
    swept: AtomicBool,
    /// Whether the last attempt to write something failed, and not for want of room.
    failing: AtomicBool,
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens a directory that this store has to itself, or makes it.
    pub fn open(dir: &Path, options: &DiskOptions, ids: Ids) -> Result<Self> {
        let root = Root::open(dir, options.temporaries, options.free_min)?;
        let packs = Packs::adopt(&root, options.pack_size)?;
        Ok(Self {
            ledger: Ledger::new(options.capacity, options.charged, packs.size()),
            reservations: Reservations::new(options.writer_check),
            packs,
            claims: Claims::default(),
            swept: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            root,
            ids,
        })
    }

    /// Notes from what became of a write whether the device takes any.
    fn note<T>(&self, written: Result<T>) -> Result<T> {
        match &written {
            Ok(_) => self.failing.store(false, Ordering::Relaxed),
            Err(error) if error.reason() == Reason::TierUnavailable => self.failing.store(true, Ordering::Relaxed),
            // Neither a full tier nor a source that is damaged tells anything about the device.
            Err(_) => {}
        }
        written
    }

    /// A new file with bytes that `write` puts in, complete and synced.
    fn store_file<T>(&self, size: u64, write: impl FnOnce(&Draft<'_>) -> Result<T>) -> Result<(Placed, T)> {
        self.note(self.make_file(size, write))
    }

    fn make_file<T>(&self, size: u64, write: impl FnOnce(&Draft<'_>) -> Result<T>) -> Result<(Placed, T)> {
        let id = self.ids.file();
        let claim = self.claims.claim(id);
        let hold = self.ledger.budget().take(pages(size))?;
        let draft = Draft::for_server(&self.root, id, size)?;
        let result = write(&draft)?;
        draft.sync()?;
        self.ledger.add_file(id, pages(size), || draft.publish())?;
        hold.keep();
        let placed = Placed {
            location: Location::File(id),
            charged: pages(size),
            claim,
        };
        Ok((placed, result))
    }

    fn reader(&self, location: &Location) -> Result<OwnedFd> {
        match *location {
            Location::File(id) => self.root.open_file(id),
            Location::Pack { pack, .. } => self.root.open_pack(pack),
            _ => Err(foreign()),
        }
    }

    fn seal_in_place(&self, location: &Location, size: u64) -> Result<u64> {
        let id = match *location {
            Location::File(id) => id,
            Location::Pack { .. } => return Ok(room(size)),
            _ => return Err(foreign()),
        };
        match self.reservations.seal(&self.root, &self.ledger, id, size) {
            // It was sealed before.
            Ok(false) => {}
            sealed => return self.note(sealed).map(|_| pages(size)),
        }
        Ok(pages(root::size_of(self.root.open_file(id)?.as_fd())?))
    }
}

impl TierStore for DiskStore {
    fn tier(&self) -> Tier {
        Tier::Disk
    }

    fn reserve(&self, _namespace: &Namespace, size: u64, _producer: Option<SessionId>) -> Result<Placed> {
        let id = self.ids.file();
        let claim = self.claims.claim(id);
        let hold = self.ledger.budget().take(pages(size))?;
        self.note(self.reservations.add(&self.root, id, size))?;
        hold.keep();
        Ok(Placed {
            location: Location::File(id),
            charged: pages(size),
            claim,
        })
    }

    fn writer(&self, location: &Location) -> Result<OwnedFd> {
        let Location::File(id) = *location else {
            return Err(foreign());
        };
        if let Some(writer) = self.reservations.writer(id)? {
            return Ok(writer);
        }
        self.root.open_file(id)?;
        Err(Error::new(Reason::PayloadCommitted, "the bytes are sealed"))
    }

    fn seal(&self, _namespace: &Namespace, location: &Location, size: u64) -> Result<Sealed> {
        let charged = self.seal_in_place(location, size)?;
        Ok(Sealed::InPlace { charged })
    }

    fn forget_producer(&self, _producer: SessionId) {}

    fn store(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        if length(bytes) <= INLINE_SIZE_MAX {
            return self.note(self.store_small(namespace, bytes.into()));
        }
        Ok(self.store_file(length(bytes), |draft| draft.write(bytes, 0))?.0)
    }

    fn store_carried(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        match length(bytes) <= INLINE_SIZE_MAX {
            // What went into the page cache tells nothing about the device.
            true => self
                .store_unsettled(namespace, bytes)
                .or_else(|error| self.note(Err(error))),
            false => self.store(namespace, bytes),
        }
    }

    fn settle(&self) -> Result<()> {
        self.settle_packs().or_else(|error| self.note(Err(error)))
    }

    fn store_all(&self, namespace: &Namespace, payloads: &[&[u8]]) -> Vec<Result<Placed>> {
        if payloads.iter().all(|bytes| length(bytes) <= INLINE_SIZE_MAX) {
            let stored = self.store_in_lane(namespace, payloads, Wait::ForTheDevice);
            return stored.into_iter().map(|placed| self.note(placed)).collect();
        }
        payloads.iter().map(|bytes| self.store(namespace, bytes)).collect()
    }

    fn copy_in(&self, namespace: &Namespace, source: Source<'_>) -> Result<(Placed, Digest)> {
        if source.size <= INLINE_SIZE_MAX {
            let mut bytes = vec![0; index(source.size)];
            read_exact(source.fd, &mut bytes, source.offset)?;
            let digest = Digest::of(&bytes);
            return Ok((self.note(self.store_small(namespace, bytes.into()))?, digest));
        }
        self.store_file(source.size, |draft| transfer::transfer(source, draft))
    }

    fn receive(&self, namespace: &Namespace, size: u64, from: Sender<'_>) -> Result<(Placed, Digest)> {
        if size <= INLINE_SIZE_MAX {
            let mut bytes = vec![0; index(size)];
            let digest = gather(&mut bytes, from)?;
            return Ok((self.note(self.store_small(namespace, bytes.into()))?, digest));
        }
        self.store_file(size, |draft| transfer::receive(from, draft, size))
    }

    fn send(&self, location: &Location, size: u64, to: Receiver<'_>) -> Result<()> {
        crate::source::send(&self.reader(location)?, location.offset(), size, to)
    }

    fn check(&self, location: &Location, size: u64) -> Result<()> {
        let len = root::size_of(self.reader(location)?.as_fd())?;
        let there = match location {
            Location::File(_) => len == size,
            _ => location.offset().checked_add(size).is_some_and(|end| end <= len),
        };
        there
            .then_some(())
            .ok_or_else(|| missing("the file is not as long as its row says"))
    }

    fn read(&self, location: &Location, size: u64, out: &mut Vec<u8>) -> Result<()> {
        crate::source::append(self.reader(location)?.as_fd(), location.offset(), size, out)
    }

    fn digest(&self, location: &Location, size: u64) -> Result<Digest> {
        crate::source::digest(self.reader(location)?, location.offset(), size)
    }

    fn open(&self, location: &Location) -> Result<OwnedFd> {
        self.reader(location)
    }

    fn memory_node(&self, _location: &Location) -> Option<u32> {
        None
    }

    fn remove(&self, location: &Location, charged: u64) -> Result<()> {
        match *location {
            Location::File(id) => match self.reservations.discard(&self.root, id) {
                Some(reserved) => self.ledger.budget().give(reserved),
                None => self.ledger.remove_file(id, charged, || self.root.unlink_file(id))?,
            },
            Location::Pack { pack, offset } => self.packs.give_up(pack, offset, charged),
            _ => return Err(foreign()),
        }
        Ok(())
    }

    fn sweepable(&self) -> Result<Vec<Container>> {
        self.close_given_up_packs();
        let all = !self.swept.load(Ordering::Acquire);
        let mut ids: Vec<FileId> = self.packs.sweepable(all);
        if all {
            let files = self.ledger.recount(|| self.root.list_files())?;
            // Whoever finished since the walk has committed its row before its claim ended.
            ids.extend(files.into_iter().filter(|id| !self.claims.is_claimed(*id)));
            self.swept.store(true, Ordering::Release);
        }
        Ok(ids.into_iter().map(Container::File).collect())
    }

    fn hollow(&self, share: u8, count: &dyn Fn(Container) -> Result<u64>) -> Result<Vec<Container>> {
        if let Some(id) = self.packs.uncounted() {
            self.packs.count(id, || count(Container::File(id)))?;
        }
        Ok(self.packs.hollow(share).into_iter().map(Container::File).collect())
    }

    fn suspect(&self, _container: Container, _left: Left) -> Result<Claim> {
        // The first sweep of a start names everything.
        Ok(Claim::default())
    }

    fn trust(&self, _container: Container) -> Result<()> {
        Ok(())
    }

    fn drop_container(&self, container: Container) -> Result<()> {
        let Container::File(id) = container else {
            return Err(foreign());
        };
        if let Some(size) = self.packs.drop_pack(&self.root, id)? {
            self.ledger.budget().give(size);
            return Ok(());
        }
        if self.claims.is_claimed(id) {
            return Err(in_use());
        }
        let size = match self.root.open_file(id) {
            Ok(fd) => pages(root::size_of(fd.as_fd())?),
            Err(_) => 0,
        };
        self.ledger.remove_file(id, size, || self.root.unlink_file(id))
    }

    fn prepare(&self) -> Result<bool> {
        Ok(false)
    }

    fn was_drawn_on(&self) -> bool {
        false
    }

    fn usage(&self) -> TierUsage {
        let containers = self.packs.len() + self.reservations.len() + self.ledger.files();
        TierUsage {
            dead: self.packs.dead(),
            failing: self.failing.load(Ordering::Relaxed),
            ..self.ledger.budget().usage(containers)
        }
    }

    fn attainable(&self) -> Option<u64> {
        self.root.attainable(self.usage().used)
    }
}
