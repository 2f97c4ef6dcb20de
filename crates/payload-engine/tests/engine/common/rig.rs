//! A whole server without its wire and its threads: built, driven by hand, killed and built again over the same media.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use payload_core::lease::LeaseTerms;
use payload_core::limits::INLINE_SIZE_MAX;
use payload_core::port::{Clock, FdStore, Ids, Repository, TierStore};
use payload_core::tiering::Watermarks;
use payload_core::{Carried, NodeId, Span, Tier};
use payload_engine::{Caps, Compaction, Engine, Key, Metrics, PerTier, Ports, Recovered, Retention, Settings};
use payload_repo::{MemoryRepository, SqliteOptions, SqliteRepository};
use payload_testkit::clock::{ManualClock, TestEntropy};
use payload_testkit::faulty::{FaultyBucket, FaultyFds, FaultyRepository, FaultyTier, MapBucket, MapFds, Switch};
use payload_tier::{DiskOptions, DiskStore, ObjectOptions, ObjectTier, RamOptions, RamStore};
use tempfile::TempDir;

/// How long every part of the history is kept.
pub(crate) const KEPT: Span = Span::from_secs(86_400);

/// Which repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
}

impl Backend {
    pub(crate) const ALL: [Self; 2] = [Self::Memory, Self::Sqlite];
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) backend: Backend,
    pub(crate) ram: u64,
    pub(crate) disk: u64,
    /// Bytes of the object tier, if there is one.
    pub(crate) object: Option<u64>,
    /// How long requests last that clients send to the bucket.
    pub(crate) url_term: Span,
    pub(crate) settings: Settings,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            backend: Backend::Sqlite,
            ram: 64 << 20,
            disk: 64 << 20,
            object: None,
            url_term: Span::ZERO,
            settings: Settings {
                node: NodeId::from_parts(1, [1; 10]),
                lease_terms: LeaseTerms {
                    remote_default: Span::from_secs(30),
                    term_max: Span::from_secs(120),
                    local_hold_max: None,
                },
                grace: Span::from_secs(10),
                allocation_timeout: Span::from_secs(600),
                request_retention: Span::from_secs(3600),
                retention: Retention {
                    events: KEPT,
                    metadata: KEPT,
                    names: KEPT,
                    tombstones: KEPT,
                },
                watermarks: PerTier::<Watermarks>::default(),
                pinned_max: 50,
                write_behind_max: 50,
                room_wait: Span::ZERO,
                movers: 2,
                spill_rate: None,
                promote_rate: None,
                compaction: Compaction {
                    below: 50,
                    rate: 1 << 30,
                },
                scrub_interval: None,
                scrub_rate: 1 << 20,
                cold_entries_max: 10_000,
                caps: Caps {
                    sessions: 100,
                    sessions_per_principal: 50,
                    leases_per_principal: 10_000,
                    allocations_per_principal: 1_000,
                },
            },
        }
    }
}

impl Setup {
    pub(crate) fn memory() -> Self {
        Self {
            backend: Backend::Memory,
            ..Self::default()
        }
    }

    /// With a bucket.
    pub(crate) fn with_bucket() -> Self {
        Self {
            object: Some(1 << 40),
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(crate) fn start(self) -> Rig {
        Rig::start(self)
    }
}

/// One node: what survives its server, and the server that runs now.
pub(crate) struct Rig {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) fds: Arc<MapFds>,
    pub(crate) bucket: Arc<MapBucket>,
    pub(crate) setup: Setup,
    /// What may go wrong with the running server.
    pub(crate) switch: Arc<Switch>,
    rows: MemoryRepository,
    dir: TempDir,
    starts: AtomicU64,
    had_remote: Arc<AtomicBool>,
    server: Option<Server>,
}

/// Everything that a death of the process takes along.
struct Server {
    engine: Arc<Engine>,
    /// Without the decorators.
    repository: Arc<dyn Repository>,
    tiers: Vec<Arc<dyn TierStore>>,
}

impl Deref for Rig {
    type Target = Arc<Engine>;

    fn deref(&self) -> &Arc<Engine> {
        &self.server().engine
    }
}

impl Rig {
    /// A new node with a server that has recovered (from nothing) and whose grace is over.
    pub(crate) fn start(setup: Setup) -> Self {
        let mut rig = Self {
            clock: Arc::default(),
            fds: Arc::default(),
            bucket: Arc::default(),
            setup,
            switch: Arc::default(),
            rows: MemoryRepository::new(),
            dir: quick_dir(),
            starts: AtomicU64::new(0),
            had_remote: Arc::default(),
            server: None,
        };
        rig.server = Some(rig.build());
        rig.recover().unwrap();
        rig.clock.advance(Span::from_secs(600));
        rig.run_timers();
        rig
    }

    /// The process dies, and another one takes up what is left. It has not recovered yet.
    pub(crate) fn rebuild(&mut self) {
        self.server = None;
        self.switch = Arc::default();
        self.server = Some(self.build());
    }

    /// The process dies, and another one takes up what is left.
    pub(crate) fn restart(&mut self) -> Recovered {
        self.rebuild();
        self.recover().unwrap()
    }

    /// The host goes down too: memory is lost.
    pub(crate) fn reboot(&mut self) -> Recovered {
        self.fds.clear();
        self.restart()
    }

    pub(crate) fn repository(&self) -> &dyn Repository {
        &*self.server().repository
    }

    pub(crate) fn store(&self, tier: Tier) -> &dyn TierStore {
        let mut tiers = self.server().tiers.iter();
        &**tiers.find(|store| store.tier() == tier).unwrap()
    }

    pub(crate) fn disk_dir(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the server runs between calls")
    }

    /// New ids, never the same for two starts.
    fn ids(&self) -> Ids {
        let seed = self.starts.fetch_add(1, Ordering::Relaxed) * 7 + 1;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Ids::new(clock, Arc::new(TestEntropy::new(seed)))
    }

    fn build(&self) -> Server {
        let repository = self.open_repository();
        let usage = repository.usage(self.setup.settings.node).unwrap();
        let on_disk = usage.iter().filter(|usage| usage.tier == Tier::Disk);
        let ram = RamOptions {
            capacity: self.setup.ram,
            memory_reserve: 0,
            packed_max: INLINE_SIZE_MAX,
            slab_size_min: 256 << 10,
            slab_size_max: 1 << 20,
            ..RamOptions::default()
        };
        let disk = DiskOptions {
            capacity: self.setup.disk,
            free_min: 0,
            pack_size: 1 << 20,
            charged: on_disk.map(|usage| usage.charged).sum(),
            ..DiskOptions::default()
        };
        let fds: Arc<dyn FdStore> = Arc::new(FaultyFds::new(Arc::clone(&self.fds), Arc::clone(&self.switch)));
        let mut tiers: Vec<Arc<dyn TierStore>> = vec![
            Arc::new(RamStore::open(ram, self.ids(), fds).unwrap()),
            Arc::new(DiskStore::open(&self.disk_dir(), &disk, self.ids()).unwrap()),
        ];
        if let Some(capacity) = self.setup.object {
            tiers.push(Arc::new(self.open_object_tier(&*repository, capacity)));
        }
        let had_remote = Arc::clone(&self.had_remote);
        let ports = Ports {
            clock: Arc::clone(&self.clock) as _,
            ids: self.ids(),
            repository: Arc::new(FaultyRepository::new(Arc::clone(&repository), Arc::clone(&self.switch))),
            tiers: tiers
                .iter()
                .map(|tier| Arc::new(FaultyTier::new(Arc::clone(tier), Arc::clone(&self.switch))) as _)
                .collect(),
            before_remote_leases: Box::new(move || {
                had_remote.store(true, Ordering::SeqCst);
                Ok(())
            }),
            on_fenced: Box::new(|error| panic!("fenced: {error}")),
        };
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let key = Key::new([7; 32]);
        let remote_before = self.had_remote.load(Ordering::SeqCst);
        let engine = Engine::new(ports, self.setup.settings.clone(), key, remote_before, metrics).unwrap();
        Server {
            engine,
            repository,
            tiers,
        }
    }

    fn open_object_tier(&self, repository: &dyn Repository, capacity: u64) -> ObjectTier {
        // What is complete is nobody's, and what somebody is storing is the node's that allocated it.
        let usage = [NodeId::NONE, self.setup.settings.node].map(|node| repository.usage(node).unwrap());
        let held = usage.iter().flatten().filter(|usage| usage.tier == Tier::Object);
        let options = ObjectOptions {
            capacity,
            charged: held.map(|usage| usage.charged).sum(),
            late: Span::from_secs(60),
            url_term: self.setup.url_term,
        };
        let bucket = FaultyBucket::new(Arc::clone(&self.bucket) as _, Arc::clone(&self.switch));
        let clock = Arc::clone(&self.clock) as _;
        let dir = self.dir.path().join("object");
        ObjectTier::open(&dir, options, Arc::new(bucket), clock, self.ids()).unwrap()
    }

    fn open_repository(&self) -> Arc<dyn Repository> {
        match self.setup.backend {
            Backend::Memory => Arc::new(self.rows.another()),
            Backend::Sqlite => {
                let path = self.dir.path().join("catalog.db");
                let clock = Arc::clone(&self.clock) as _;
                let put_back = |contents: &[Carried]| payload_tier::put_back(&self.disk_dir(), contents);
                let options = SqliteOptions {
                    journal_half: 256 << 10,
                    ..SqliteOptions::default()
                };
                Arc::new(SqliteRepository::open(&path, options, clock, Arc::new(()), &put_back).unwrap())
            }
        }
    }

    /// Time goes by, and what is due is done.
    pub(crate) fn advance(&self, span: Span) {
        self.clock.advance(span);
        self.tick();
    }

    /// How many bytes have to leave a tier.
    pub(crate) fn missing(&self, tier: Tier) -> u64 {
        let views = self.tiers().unwrap();
        let view = views.iter().find(|view| view.stats.tier == tier).unwrap();
        view.pressure.as_ref().map_or(0, |pressure| pressure.excess)
    }

    /// What the evictor would do now, until it has nothing more to do. Fails if it would try again later.
    pub(crate) fn evict(&self) {
        self.evict_from(Tier::Ram);
    }

    /// The same for any tier.
    pub(crate) fn evict_from(&self, tier: Tier) {
        assert_eq!(self.make_room(tier).unwrap(), None, "the evictor failed");
    }

    /// Everything that the background threads would do now.
    pub(crate) fn tick(&self) {
        self.run_timers();
        self.run_drains();
        self.expire_due().unwrap();
        self.run_drains();
        self.forget_requests().unwrap();
        self.end_pins();
        self.trim_streams().unwrap();
        self.expire_due().unwrap();
        self.run_drains();
        self.sweep().unwrap();
    }

    /// Until nothing changes any more, and the grace of a restart is over.
    pub(crate) fn quiesce(&self) {
        self.advance(self.setup.settings.grace);
        self.advance(self.setup.settings.lease_terms.term_max);
        // Once more for deletions that are tried again, and for containers that the first sweep found claimed.
        self.advance(Span::from_secs(2));
    }
}

/// In memory where there is such a place: what is tested here dies with processes, not with the power, and a test that
/// builds a hundred servers should not wait for a device a thousand times.
fn quick_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}
