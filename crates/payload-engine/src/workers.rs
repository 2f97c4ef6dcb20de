//! The background threads. They take no input: woken by a signal or a moment, they look at the world and do what is due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use payload_core::port::TierStore;
use payload_core::{Result, Span, StateKind, Tier};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::machine;
use crate::timers::Due;

/// How many deletions are finished side by side, so that they share fsyncs.
const DRAINS_AT_ONCE: usize = 16;
/// After work that failed, the worker waits this long before it looks again.
const RETRY: Span = Span::from_secs(1);
/// Removals that come within this time are swept together.
const SWEEP_DELAY: Span = Span::from_millis(100);
/// How often one looks whether freed memory that somebody still had is not had by anybody any more, and whether URLs have
/// expired. Whoever is short of room looks at once.
const ZOMBIE_LOOK: Span = Span::from_millis(400);
/// Appends that come within this time are looked at together.
const TRIM_DELAY: Span = Span::from_millis(200);
/// How long the worker that makes memory ready rests after each piece, in times of what that took: a quarter of a
/// processor is for it, and the rest for calls.
const PREPARE_REST: u32 = 3;
/// How long the worker that removes old history rests after each piece, in times of what that took, while there is more.
const HISTORY_REST: u32 = 4;
/// How many remembered requests are forgotten at a time.
const FORGET_BATCH: u32 = 1_000;

/// The running workers; dropping it stops them and waits for them.
pub struct Workers {
    engine: Arc<Engine>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    lives: Lives,
}

/// Tells whether all workers are there.
#[derive(Clone, Debug, Default)]
pub struct Lives(Vec<Weak<()>>);

impl Lives {
    /// False once one of them has panicked, or was stopped.
    pub fn all_alive(&self) -> bool {
        self.0.iter().all(|life| life.strong_count() > 0)
    }
}

impl Workers {
    /// Starts them. Call it after [`Engine::recover`].
    pub fn start(engine: &Arc<Engine>) -> std::io::Result<Self> {
        let mut workers = Self {
            engine: Arc::clone(engine),
            stop: Arc::default(),
            threads: Vec::new(),
            lives: Lives::default(),
        };
        workers.spawn("timers", |engine| {
            engine.run_timers();
            let pause = engine.timers.next().map(|at| at.since(engine.now()));
            engine.timers.signal.wait(pause);
        })?;
        workers.spawn("drain", |engine| {
            engine.run_drains();
            engine.drain_signal.wait(None);
        })?;
        workers.spawn("expiry", |engine| {
            let pause = engine
                .expire_due()
                .and_then(|pause| engine.forget_requests().map(|()| pause))
                .map(|pause| pause.into_iter().chain(engine.end_pins()).min());
            engine.expiry.signal.wait(engine.pause_after("expiry", pause));
        })?;
        workers.spawn("sweep", |engine| {
            let swept = engine.sweep();
            let swept = swept.map(|_| engine.has_to_look_again().then_some(ZOMBIE_LOOK));
            engine.sweep_signal.wait(engine.pause_after("sweep", swept));
            engine.sweep_signal.wait(Some(SWEEP_DELAY));
        })?;
        workers.spawn("peers", |engine| {
            let followed = engine.follow_peers().map(|()| None);
            engine.peers.signal.wait(engine.pause_after("peers", followed));
        })?;
        workers.spawn("evict", |engine| {
            let pause = engine.make_room(Tier::Ram);
            engine.evict_signals.ram.wait(engine.pause_after("evict", pause));
        })?;
        workers.spawn("evict-disk", |engine| {
            let pause = engine.make_room(Tier::Disk);
            engine.evict_signals.disk.wait(engine.pause_after("evict-disk", pause));
        })?;
        workers.spawn("machine", |engine| {
            engine.look_at_machine();
            engine.machine_signal.wait(Some(machine::LOOK));
        })?;
        workers.spawn("fetch", |engine| {
            engine.fetch_wishes();
            engine.fetch_signal.wait(None);
        })?;
        workers.spawn("write-behind", |engine| {
            let pause = engine.write_behind();
            let pause = engine.pause_after("write-behind", pause);
            engine.write_behind_signal.wait(pause);
        })?;
        workers.spawn("retention", |engine| {
            let trimmed = engine.trim_streams();
            engine.streams.signal.wait(engine.pause_after("retention", trimmed));
            engine.streams.signal.wait(Some(TRIM_DELAY));
        })?;
        workers.spawn("scrub", |engine| {
            let pause = engine.scrub();
            engine.scrub_signal.wait(engine.pause_after("scrub", pause));
        })?;
        workers.spawn("compact", |engine| {
            let pause = engine.compact();
            engine.compact_signal.wait(engine.pause_after("compact", pause));
        })?;
        workers.spawn("history", |engine| {
            let began = engine.now();
            let pause = engine.remove_history().map(|more| match more {
                true => Some(engine.now().since(began) * HISTORY_REST),
                false => Some(engine.history_round()),
            });
            engine.history_signal.wait(engine.pause_after("history", pause));
        })?;
        workers.spawn("prepare", |engine| {
            let began = engine.now();
            let (signal, pause) = match engine.prepare() {
                Ok(true) => (&engine.rest_signal, Some(engine.now().since(began) * PREPARE_REST)),
                idle => (
                    &engine.prepare_signal,
                    engine.pause_after("prepare", idle.map(|_| None)),
                ),
            };
            signal.wait(pause);
        })?;
        Ok(workers)
    }

    /// For whoever watches over them.
    pub fn lives(&self) -> Lives {
        self.lives.clone()
    }

    fn spawn(&mut self, name: &'static str, work: impl Fn(&Engine) + Send + 'static) -> std::io::Result<()> {
        let (engine, stop) = (Arc::clone(&self.engine), Arc::clone(&self.stop));
        let life = Arc::new(());
        self.lives.0.push(Arc::downgrade(&life));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let _alive = life;
            while !stop.load(Ordering::Acquire) {
                work(&engine);
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.engine.close_room();
        self.engine.paths.close();
        for signal in [
            &self.engine.timers.signal,
            &self.engine.drain_signal,
            &self.engine.expiry.signal,
            &self.engine.sweep_signal,
            &self.engine.peers.signal,
            &self.engine.evict_signals.ram,
            &self.engine.evict_signals.disk,
            &self.engine.machine_signal,
            &self.engine.fetch_signal,
            &self.engine.write_behind_signal,
            &self.engine.scrub_signal,
            &self.engine.compact_signal,
            &self.engine.streams.signal,
            &self.engine.history_signal,
            &self.engine.prepare_signal,
            &self.engine.rest_signal,
        ] {
            signal.raise();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background worker panicked");
            }
        }
    }
}

impl Engine {
    /// Does everything whose moment on the boot-time clock has come.
    pub fn run_timers(&self) {
        while let Some(due) = self.timers.pop(self.now()) {
            match due {
                Due::Lease(entry, serial) => {
                    if let Some(entry) = entry.upgrade() {
                        self.expire_lease(&entry, serial);
                    }
                }
                Due::Wait(entry, number) => {
                    if let Some(entry) = entry.upgrade() {
                        self.time_out_waiter(&entry, number);
                    }
                }
                Due::GraceOver => {
                    self.abort_unclaimed();
                    self.drain_all();
                }
                Due::HoldOver => {
                    self.drain_all();
                    self.consider_all();
                }
                Due::RoomWait(tier, ticket) => self.time_out_room(tier, ticket),
                Due::Path(way) => self.paths.wake(way),
                Due::AsideOver(entry) => {
                    if let Some(entry) = entry.upgrade() {
                        self.consider(&entry);
                    }
                }
                Due::StayOver(entry) => {
                    if let Some(entry) = entry.upgrade() {
                        entry.live().stay = None;
                        self.consider(&entry);
                    }
                }
                Due::DrainAgain(entry) => {
                    if let Some(entry) = entry.upgrade() {
                        self.drain_later(entry);
                    }
                }
            }
        }
    }

    /// Finishes the deletions that nothing holds up any more.
    pub fn run_drains(&self) {
        loop {
            let ready = std::mem::take(&mut *self.drains.lock());
            if ready.is_empty() {
                return;
            }
            for batch in ready.chunks(DRAINS_AT_ONCE) {
                std::thread::scope(|scope| {
                    for entry in batch.iter().skip(1) {
                        scope.spawn(|| self.drain(entry));
                    }
                    self.drain(&batch[0]);
                });
            }
        }
    }

    /// A deletion that could not be finished is tried again a little later.
    pub(crate) fn drain_again(&self, entry: &Arc<Entry>) {
        self.timers
            .set(self.now().after(RETRY), Due::DrainAgain(Arc::downgrade(entry)));
    }

    /// Lets each tier make something ready for reservations to come; false if there is nothing to do.
    pub fn prepare(&self) -> Result<bool> {
        let mut more = false;
        for tier in &self.ports.tiers {
            more |= tier.prepare()?;
        }
        Ok(more)
    }

    /// Wakes the worker that makes things ready, if there is something for it to do.
    pub(crate) fn prepare_later(&self, tier: &dyn TierStore) {
        if tier.was_drawn_on() {
            self.prepare_signal.raise();
        }
    }

    /// Forgets the answers to requests that nobody will repeat any more.
    pub fn forget_requests(&self) -> Result<()> {
        let before = self.wall().before(self.settings.request_retention);
        while self.repository().forget_requests(before, FORGET_BATCH)? == FORGET_BATCH {}
        Ok(())
    }

    fn drain_all(&self) {
        for entry in self.table.all() {
            if entry.row().state.kind() == StateKind::Deleting {
                self.drain_later(entry);
            }
        }
    }

    fn pause_after(&self, worker: &str, result: Result<Option<Span>>) -> Option<Span> {
        result.unwrap_or_else(|error| {
            tracing::warn!(worker, %error, "background work failed; trying again");
            Some(RETRY)
        })
    }
}
