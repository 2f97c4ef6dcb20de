//! The engine itself: its ports, and what it keeps in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use payload_core::lease::HolderKind;
use payload_core::port::{Clock, Ids, Repository, TierStore};
use payload_core::sync::Signal;
use payload_core::{Container, Error, Instant, Namespace, PayloadId, Principal, Reason, Result, Tier, Timestamp};

use crate::PerTier;
use crate::compact::PutOff;
use crate::entry::Entry;
use crate::evict::Evictor;
use crate::holder::{Account, Holder, Notice, NoticeSink, Peer};
use crate::machine::Ceilings;
use crate::metrics::Metrics;
use crate::namespaces::KnownNamespaces;
use crate::paths::Paths;
use crate::peers::Peers;
use crate::pins::Pins;
use crate::promote::Wishes;
use crate::room::Room;
use crate::scrub::Scrub;
use crate::settings::Settings;
use crate::streams::Streams;
use crate::table::{Keeps, Table};
use crate::timers::{Due, Timers};
use crate::token::{Key, Mint};
use crate::transfers::Transfers;
use crate::watch::Watchers;
use crate::write_behind::Owed;

/// The outside world.
pub struct Ports {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes new ids.
    pub ids: Ids,
    /// Keeps the rows.
    pub repository: Arc<dyn Repository>,
    /// Keeps the bytes, one store for each tier.
    pub tiers: Vec<Arc<dyn TierStore>>,
    /// Called once, before the first lease from afar is granted: a later start must know that there were some.
    pub before_remote_leases: Box<dyn Fn() -> Result<()> + Send + Sync>,
    /// Called when this server must stop at once because another one has taken over.
    pub on_fenced: Box<dyn Fn(&Error) + Send + Sync>,
}

/// Performs the use cases. Shared by all threads.
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) mint: Mint,
    pub(crate) epoch: u64,
    pub(crate) started_at: Instant,
    pub(crate) table: Table,
    pub(crate) timers: Timers,
    /// Payloads that may be ready to lose their bytes.
    pub(crate) drains: Mutex<Vec<Arc<Entry>>>,
    pub(crate) drain_signal: Signal,
    pub(crate) expiry: Expiry,
    pub(crate) sweep_signal: Signal,
    pub(crate) evictors: PerTier<Evictor>,
    pub(crate) evict_signals: PerTier<Signal>,
    pub(crate) rooms: PerTier<Room>,
    pub(crate) ceilings: Ceilings,
    /// Ends the wait between two looks at the machine.
    pub(crate) machine_signal: Signal,
    pub(crate) wishes: Wishes,
    pub(crate) transfers: Transfers,
    pub(crate) paths: Paths,
    pub(crate) put_off: PutOff,
    pub(crate) scrub: Scrub,
    pub(crate) scrub_signal: Signal,
    /// Raised only to end the worker's pause.
    pub(crate) compact_signal: Signal,
    pub(crate) peers: Peers,
    pub(crate) pins: Pins,
    pub(crate) owed: Owed,
    pub(crate) write_behind_signal: Signal,
    pub(crate) fetch_signal: Signal,
    pub(crate) streams: Streams,
    /// Raised when something that was ready may have been used.
    pub(crate) prepare_signal: Signal,
    /// Cuts the rest short that the same worker takes; raised when it has to stop.
    pub(crate) history_signal: Signal,
    pub(crate) rest_signal: Signal,
    /// Containers that the sweep must still ask the repository about.
    pub(crate) unswept: Mutex<BTreeSet<Container>>,
    pub(crate) sessions: Mutex<HashMap<u64, Arc<Holder>>>,
    pub(crate) accounts: Mutex<HashMap<Principal, Arc<Account>>>,
    pub(crate) known_namespaces: KnownNamespaces,
    remotes: Mutex<HashMap<Principal, Arc<Holder>>>,
    remote_leases: RemoteLeases,
    waiter_numbers: AtomicU64,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) lease_count: AtomicUsize,
    pub(crate) allocation_count: AtomicUsize,
    /// How many bytes a commit may carry instead of waiting for the disk tier.
    pub(crate) carried_max: usize,
    /// Until when earlier sessions may reclaim.
    pub(crate) grace_until: Instant,
    /// Until when inherited payloads keep their bytes, whoever deletes them.
    hold_until: Instant,
}

/// What the expiry worker sleeps until.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    pub(crate) next: Mutex<Option<Timestamp>>,
    pub(crate) signal: Signal,
}

/// Whether leases from afar have been granted, and whether that has been noted down.
#[derive(Default)]
struct RemoteLeases {
    noted: AtomicBool,
    noting: Mutex<()>,
}

impl Engine {
    /// Takes the node over in the repository. Nothing is served before [`recover`](Self::recover).
    pub fn new(
        ports: Ports,
        settings: Settings,
        key: Key,
        remote_leases_before: bool,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        let epoch = ports.repository.claim(settings.node, ports.clock.wall())?;
        let started_at = ports.clock.now();
        let grace_until = started_at.after(settings.grace);
        let hold_until = match remote_leases_before {
            true => grace_until.max(started_at.after(settings.lease_terms.term_max)),
            false => grace_until,
        };
        let keeps = match ports.repository.is_shared() {
            true => Keeps::Own,
            false => Keeps::All,
        };
        let disk = ports.tiers.iter().find(|store| store.tier() == Tier::Disk).cloned();
        let carried_max = disk.map_or(0, |disk| ports.repository.carry(Arc::new(move || disk.settle())));
        let watchers = Arc::<Watchers>::default();
        ports.repository.on_events(watchers.listener());
        let engine = Arc::new(Self {
            mint: Mint::new(key, epoch),
            table: Table::new(settings.cold_entries_max, settings.node, keeps),
            epoch,
            started_at,
            timers: Timers::default(),
            drains: Mutex::default(),
            drain_signal: Signal::new(),
            expiry: Expiry::default(),
            sweep_signal: Signal::new(),
            evictors: PerTier::default(),
            evict_signals: PerTier::default(),
            rooms: PerTier::default(),
            ceilings: Ceilings::default(),
            machine_signal: Signal::new(),
            wishes: Wishes::default(),
            transfers: Transfers::default(),
            paths: Paths::default(),
            put_off: PutOff::default(),
            scrub: Scrub::default(),
            scrub_signal: Signal::new(),
            compact_signal: Signal::new(),
            peers: Peers::default(),
            pins: Pins::default(),
            owed: Owed::default(),
            write_behind_signal: Signal::default(),
            fetch_signal: Signal::new(),
            streams: Streams::default(),
            prepare_signal: Signal::new(),
            history_signal: Signal::new(),
            rest_signal: Signal::new(),
            unswept: Mutex::default(),
            sessions: Mutex::default(),
            accounts: Mutex::default(),
            known_namespaces: KnownNamespaces::default(),
            remotes: Mutex::default(),
            remote_leases: RemoteLeases::default(),
            waiter_numbers: AtomicU64::new(0),
            watchers,
            lease_count: AtomicUsize::new(0),
            allocation_count: AtomicUsize::new(0),
            carried_max,
            grace_until,
            hold_until,
            ports,
            settings,
            metrics,
        });
        engine.timers.set(grace_until, Due::GraceOver);
        engine.timers.set(hold_until, Due::HoldOver);
        Ok(engine)
    }

    /// Counts the starts of this node; a client that sees a new one reclaims what it held.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The engine's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The clock that leases are measured by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.ports.clock
    }

    /// The holder of everything that a principal leases or allocates from afar.
    pub fn remote(&self, principal: &Principal) -> Arc<Holder> {
        let mut remotes = self.remotes.lock();
        if let Some(holder) = remotes.get(principal) {
            return Arc::clone(holder);
        }
        let holder = Arc::new(Holder::new(
            self.mint.session(principal),
            HolderKind::Remote,
            principal.clone(),
            Peer::default(),
            self.account(principal),
            Box::new(NoSink),
        ));
        remotes.insert(principal.clone(), Arc::clone(&holder));
        holder
    }

    pub(crate) fn account(&self, principal: &Principal) -> Arc<Account> {
        Arc::clone(self.accounts.lock().entry(principal.clone()).or_default())
    }

    /// Makes sure, before the first lease from afar, that a later start will know of it.
    pub(crate) fn note_remote_leases(&self) -> Result<()> {
        if self.remote_leases.noted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _noting = self.remote_leases.noting.lock();
        if !self.remote_leases.noted.load(Ordering::Acquire) {
            (self.ports.before_remote_leases)()?;
            self.remote_leases.noted.store(true, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn next_waiter(&self) -> u64 {
        self.waiter_numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn repository(&self) -> &dyn Repository {
        &*self.ports.repository
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.ports.clock.wall()
    }

    pub(crate) fn now(&self) -> Instant {
        self.ports.clock.now()
    }

    pub(crate) fn tier(&self, tier: Tier) -> Result<&dyn TierStore> {
        self.ports
            .tiers
            .iter()
            .find(|store| store.tier() == tier)
            .map(|store| &**store)
            .ok_or_else(|| {
                Error::invalid(Reason::TierNotConfigured, format!("this server has no tier {tier}")).field("tier")
            })
    }

    /// The entry of a payload, read from the repository if need be. Another namespace's payload is as good as unknown.
    pub(crate) fn entry(&self, namespace: &Namespace, id: PayloadId) -> Result<Arc<Entry>> {
        let entry = self
            .table
            .get_or_load(id, self.repository())?
            .filter(|entry| entry.row().namespace == *namespace)
            .ok_or_else(not_found)?;
        if !self.is_known(&entry) {
            self.resolve_doubt(&entry)?;
        }
        Ok(entry)
    }

    /// Whether the row in memory can be gone by.
    pub(crate) fn is_known(&self, entry: &Entry) -> bool {
        let live = entry.live();
        entry.is_of(self.table.era()) && !live.in_doubt && self.table.hears_of(&live.row)
    }

    /// Whether a payload may still be held by somebody that this server does not know yet.
    pub(crate) fn may_be_held_unknown(&self, entry: &Entry) -> bool {
        entry.inherited.load(Ordering::Relaxed) && self.now() < self.hold_until
    }

    /// Every session that is open.
    pub(crate) fn all_sessions(&self) -> Vec<Arc<Holder>> {
        self.sessions.lock().values().cloned().collect()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine(node {} epoch {})", self.settings.node, self.epoch)
    }
}

/// Unknown and forbidden answer alike.
pub(crate) fn not_found() -> Error {
    Error::new(Reason::PayloadNotFound, "no such payload in this namespace")
}

/// A remote holder has no connection to be told anything over.
struct NoSink;

impl NoticeSink for NoSink {
    fn send(&self, _notice: Notice) {}
}
