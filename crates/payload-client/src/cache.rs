//! The containers this process has a descriptor of: mapped once, shared by all leases there, kept for a while after.
//!
//! The server sends a container's descriptor only with the first lease there. So whatever this cache drops is noted,
//! and the link tells the server before it asks for another lease.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{Error, Reason, Result, limits};
use tokio::runtime::Handle;

use crate::mapping::Mapping;
use crate::ranges::range;

/// What is unmapped elsewhere.
const LARGE: usize = 4 << 20;

/// All containers of one client.
#[derive(Debug)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
    idle_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<Arc<str>, Slot>,
    /// Slots without a use, the longest idle first.
    idle: BTreeMap<u64, Arc<str>>,
    tick: u64,
    /// Dropped, and the server does not know it yet.
    forgets: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Slot {
    container: Arc<Container>,
    uses: usize,
    /// Its key among the idle ones, while it has no use.
    idle_at: u64,
    /// The server will never grant a lease here again.
    gone: bool,
}

#[derive(Debug)]
struct Container {
    fd: OwnedFd,
    /// The widest mapping so far. A file that grows needs another one.
    mapping: Mutex<Option<Arc<Mapping>>>,
}

/// The bytes of one lease, in a container that stays in the cache for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    cache: Arc<Cache>,
    id: Arc<str>,
    container: Arc<Container>,
    /// Absent if there are no bytes: an empty mapping cannot be had.
    mapping: Option<Arc<Mapping>>,
    bytes: std::ops::Range<usize>,
}

impl Cache {
    pub(crate) fn new(idle_max: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            idle_max,
        })
    }

    /// The `size` bytes at `offset` of a container. `fd` is what the server sent for it, if it sent one; `None` comes
    /// back if it did not and the container is not here.
    pub(crate) fn place(
        self: &Arc<Self>,
        id: &str,
        fd: Option<OwnedFd>,
        offset: u64,
        size: u64,
    ) -> Result<Option<Place>> {
        let bytes = range(offset, size)?;
        let Some((id, container)) = self.enter(id, fd) else {
            return Ok(None);
        };
        let mut place = Place {
            cache: Arc::clone(self),
            id,
            container,
            mapping: None,
            bytes,
        };
        if !place.bytes.is_empty() {
            place.mapping = Some(place.container.map(place.bytes.end)?);
        }
        Ok(Some(place))
    }

    /// Keeps a descriptor that came without a lease that needs it.
    pub(crate) fn keep(self: &Arc<Self>, id: &str, fd: OwnedFd) {
        if let Some((id, _)) = self.enter(id, Some(fd)) {
            self.leave(&id);
        }
    }

    /// Notes that this client has no descriptor of a container, whatever the server believes.
    pub(crate) fn forget(&self, id: &str) {
        self.inner.lock().forgets.push_back(id.into());
    }

    /// What to tell the server before the next lease is asked for, in one message.
    pub(crate) fn forgets(&self) -> Vec<String> {
        let inner = self.inner.lock();
        inner
            .forgets
            .iter()
            .take(limits::BATCH_ITEMS_MAX)
            .map(|id| id.to_string())
            .collect()
    }

    /// The server has been told.
    pub(crate) fn forgets_told(&self, ids: &[String]) {
        self.inner
            .lock()
            .forgets
            .retain(|id| !ids.iter().any(|told| **told == **id));
    }

    /// A new session begins, in which the server has not sent any descriptor yet.
    pub(crate) fn forgets_are_void(&self) {
        self.inner.lock().forgets.clear();
    }

    /// No lease will ever name these containers again: unmaps them, now or with their last lease.
    pub(crate) fn gone(&self, ids: &[String]) {
        let mut unmapped = Vec::new();
        let mut inner = self.inner.lock();
        for id in ids {
            let Some(slot) = inner.slots.get_mut(id.as_str()) else {
                continue;
            };
            slot.gone = true;
            if slot.uses == 0 {
                let idle_at = slot.idle_at;
                inner.idle.remove(&idle_at);
                unmapped.extend(inner.slots.remove(id.as_str()));
            }
        }
        drop(inner);
        unmap(unmapped);
    }

    fn enter(&self, id: &str, fd: Option<OwnedFd>) -> Option<(Arc<str>, Arc<Container>)> {
        let mut inner = self.inner.lock();
        if !inner.slots.contains_key(id) {
            let container = Arc::new(Container {
                fd: fd?,
                mapping: Mutex::default(),
            });
            inner.slots.insert(
                id.into(),
                Slot {
                    container,
                    uses: 0,
                    idle_at: 0,
                    gone: false,
                },
            );
        }
        let (id, slot) = inner.slots.get_key_value(id).map(|(id, slot)| (Arc::clone(id), slot))?;
        let (idle_at, container) = (slot.idle_at, Arc::clone(&slot.container));
        inner.idle.remove(&idle_at);
        inner.slots.get_mut(&id)?.uses += 1;
        Some((id, container))
    }

    fn leave(&self, id: &Arc<str>) {
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let Some(slot) = inner.slots.get_mut(id) else { return };
        slot.uses -= 1;
        if slot.uses > 0 {
            return;
        }
        slot.idle_at = tick;
        let unmapped = if slot.gone {
            inner.slots.remove(id)
        } else {
            inner.idle.insert(tick, Arc::clone(id));
            self.evict_one(&mut inner)
        };
        drop(inner);
        unmap(unmapped);
    }

    fn evict_one(&self, inner: &mut Inner) -> Option<Slot> {
        if inner.idle.len() <= self.idle_max {
            return None;
        }
        let (_, id) = inner.idle.pop_first()?;
        let slot = inner.slots.remove(&id);
        inner.forgets.push_back(id);
        slot
    }
}

/// Drops containers. Whoever unmaps memory last frees its pages, 8 ms for 64 MiB of small ones; a thread that runs an
/// event loop has better things to do.
fn unmap(slots: impl IntoIterator<Item = Slot>) {
    let (large, _): (Vec<Slot>, Vec<Slot>) = slots.into_iter().partition(|slot| slot.container.mapped() >= LARGE);
    if !large.is_empty()
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn_blocking(|| drop(large));
    }
}

impl Container {
    fn mapped(&self) -> usize {
        self.mapping.lock().as_ref().map_or(0, |mapping| mapping.len())
    }

    /// A mapping of at least the first `end` bytes.
    fn map(&self, end: usize) -> Result<Arc<Mapping>> {
        let mut mapping = self.mapping.lock();
        if let Some(mapping) = mapping.as_ref().filter(|mapping| mapping.len() >= end) {
            return Ok(Arc::clone(mapping));
        }
        let failed = |error: std::io::Error| {
            Error::new(Reason::Internal, format!("cannot map the container: {error}")).source(error)
        };
        let stat = rustix::fs::fstat(&self.fd).map_err(|error| failed(error.into()))?;
        let len = usize::try_from(stat.st_size).unwrap_or(0);
        if len < end {
            // Touching bytes behind the end of a file would kill the process.
            return Err(Error::new(
                Reason::BytesMissing,
                "the container is shorter than the lease says",
            ));
        }
        let wider = Arc::new(Mapping::new(&self.fd, len).map_err(failed)?);
        *mapping = Some(Arc::clone(&wider));
        Ok(wider)
    }
}

impl Place {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapping
            .as_ref()
            .and_then(|mapping| mapping.get(self.bytes.clone()))
            .unwrap_or_default()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.container.fd.as_fd()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.bytes.start as u64
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.mapping = None;
        self.cache.leave(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> (std::fs::File, OwnedFd) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let fd = file.try_clone().unwrap().into();
        (file, fd)
    }

    #[test]
    fn leases_of_a_container_share_one_mapping_even_if_the_descriptor_comes_twice() {
        let cache = Cache::new(1);
        let a = cache.place("c", Some(file(b"0123456789").1), 0, 4).unwrap().unwrap();
        let b = cache.place("c", None, 4, 6).unwrap().unwrap();
        let c = cache.place("c", Some(file(b"other").1), 0, 10).unwrap().unwrap();
        assert_eq!(
            (a.bytes(), b.bytes(), c.bytes()),
            (&b"0123"[..], &b"456789"[..], &b"0123456789"[..])
        );
        assert!(Arc::ptr_eq(a.mapping.as_ref().unwrap(), c.mapping.as_ref().unwrap()));
        assert!(cache.place("d", None, 0, 1).unwrap().is_none());
    }

    #[test]
    fn a_file_that_grew_is_mapped_anew_and_old_leases_keep_theirs() {
        let cache = Cache::new(1);
        let (mut grows, fd) = file(b"0123");
        let old = cache.place("c", Some(fd), 0, 4).unwrap().unwrap();
        grows.write_all(b"4567").unwrap();
        let new = cache.place("c", None, 4, 4).unwrap().unwrap();
        assert_eq!((old.bytes(), new.bytes()), (&b"0123"[..], &b"4567"[..]));
    }

    #[test]
    fn a_container_that_is_too_short_is_an_error_and_not_a_crash() {
        let cache = Cache::new(1);
        let error = cache.place("c", Some(file(b"0123").1), 2, 3).unwrap_err();
        assert_eq!(error.reason(), Reason::BytesMissing);
        assert!(cache.place("c", None, u64::MAX, 2).is_err());
        assert_eq!(cache.place("c", None, 4, 0).unwrap().unwrap().bytes(), b"");
    }

    #[test]
    fn the_longest_idle_container_goes_first_and_is_to_be_forgotten() {
        let cache = Cache::new(1);
        let a = cache.place("a", Some(file(b"a").1), 0, 1).unwrap().unwrap();
        let b = cache.place("b", Some(file(b"b").1), 0, 1).unwrap().unwrap();
        let held = cache.place("held", Some(file(b"h").1), 0, 1).unwrap().unwrap();
        drop(a);
        assert!(cache.forgets().is_empty());
        drop(b);
        assert_eq!(cache.forgets(), ["a"]);
        assert!(cache.place("a", None, 0, 1).unwrap().is_none());
        assert!(cache.place("b", None, 0, 1).unwrap().is_some());
        cache.forgets_told(&["a".to_owned()]);
        assert!(cache.forgets().is_empty());
        assert_eq!(held.bytes(), b"h");
    }

    /// How many mappings of this process are of a file with such a name.
    fn mappings(name: &str) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(name)).count()
    }

    #[tokio::test]
    async fn an_event_loop_does_not_unmap_large_memory_itself_and_it_goes_all_the_same() {
        let name = "unmapped elsewhere";
        let memory = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&memory, LARGE as u64).unwrap();
        let cache = Cache::new(8);
        drop(cache.place("c", Some(memory), 0, 1).unwrap());
        assert_eq!(mappings(name), 1);
        cache.gone(&["c".to_owned()]);
        while mappings(name) > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_container_that_is_gone_leaves_at_once_or_with_its_last_lease_and_unmentioned() {
        let cache = Cache::new(8);
        drop(cache.place("idle", Some(file(b"i").1), 0, 1).unwrap());
        let held = cache.place("held", Some(file(b"h").1), 0, 1).unwrap().unwrap();
        cache.gone(&["idle".to_owned(), "held".to_owned(), "never seen".to_owned()]);
        assert!(cache.place("idle", None, 0, 1).unwrap().is_none());
        assert_eq!(held.bytes(), b"h");
        drop(held);
        assert!(cache.place("held", None, 0, 1).unwrap().is_none());
        assert!(cache.forgets().is_empty());
    }
}
