//! Peers: what other servers that share the catalog do to payloads of this node.
//!
//! Each payload that others have changed is read again; one that they have marked for deletion is drained here, because only
//! this server knows its leases and has its bytes (ADR 27).

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use payload_core::port::PeerNews;
use payload_core::sync::Signal;
use payload_core::{PayloadId, Reason, Result, StateKind};

use crate::engine::Engine;

/// How many deletions are read at a time.
const BATCH: u32 = 512;
/// How often something is tried that other servers keep getting in the way of.
const ATTEMPTS: u32 = 8;

/// What was heard and not yet looked at.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    news: Mutex<News>,
    pub(crate) signal: Signal,
}

#[derive(Debug, Default)]
struct News {
    changed: BTreeSet<PayloadId>,
    /// Whether to look for deletions that nobody told of.
    look: bool,
}

impl Engine {
    /// Begins to hear of what other servers do, if there can be others. Call it before [`recover`](Self::recover).
    pub fn hear_peers(self: &Arc<Self>) -> Result<()> {
        let engine: Weak<Self> = Arc::downgrade(self);
        let hear = move |news| {
            if let Some(engine) = engine.upgrade() {
                engine.hear(news);
            }
        };
        self.repository().on_peers(self.settings.node, Arc::new(hear))
    }

    /// Takes note, and leaves the work to the worker.
    fn hear(&self, heard: PeerNews) {
        let mut news = self.peers.news.lock();
        match heard {
            PeerNews::Changed(payloads) => news.changed.extend(payloads),
            // Whoever follows them does by itself what there is to do.
            PeerNews::Moved(streams) => return self.streams.moved_elsewhere(&streams),
            PeerNews::Missed => {
                self.table.begin_era();
                news.look = true;
                self.streams.wake_all();
            }
            PeerNews::Look => {
                news.look = true;
                self.streams.wake_all();
            }
        }
        drop(news);
        self.peers.signal.raise();
    }

    /// Does what follows from what was heard. What could not be done is remembered.
    pub fn follow_peers(&self) -> Result<()> {
        let News { mut changed, look } = std::mem::take(&mut *self.peers.news.lock());
        let followed = self.look_for_deletions(look).and_then(|()| {
            while let Some(id) = changed.first().copied() {
                self.follow(id)?;
                changed.remove(&id);
            }
            Ok(())
        });
        if followed.is_err() {
            let mut news = self.peers.news.lock();
            news.changed.append(&mut changed);
            news.look |= look;
        }
        followed
    }

    fn look_for_deletions(&self, look: bool) -> Result<()> {
        let mut after = None;
        let mut more = look;
        while more {
            let found = self.repository().deletions(self.settings.node, after, BATCH)?;
            for id in &found {
                match self.table.get(*id) {
                    Some(entry) if entry.row().state.kind() == StateKind::Deleting => self.drain_later(entry),
                    _ => self.follow(*id)?,
                }
            }
            after = found.last().copied();
            more = found.len() == BATCH as usize;
        }
        Ok(())
    }

    /// Reads a payload that somebody else has changed, and takes up what is to be done about it. It may have been put in
    /// meanwhile by a maker who knew only its first version.
    fn follow(&self, id: PayloadId) -> Result<()> {
        match self.table.get_or_load(id, self.repository())? {
            Some(entry) => self.reread(&entry.gate()),
            None => Ok(()),
        }
    }

    /// Does again what met a change by another server; servers of one catalog do not stand at one gate.
    pub(crate) fn unless_overtaken<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        let mut attempts = if self.repository().is_shared() { ATTEMPTS } else { 1 };
        loop {
            match work() {
                // One that names a field is about the version that the caller wants.
                Err(error) if error.reason() == Reason::Conflict && error.fault_field().is_none() && attempts > 1 => {
                    attempts -= 1;
                }
                result => return result,
            }
        }
    }
}
