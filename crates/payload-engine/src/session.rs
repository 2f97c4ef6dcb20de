//! Sessions: opened with a connection, closed with it, and everything they held is back at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use payload_core::lease::HolderKind;
use payload_core::{Error, LifecycleEvent, Principal, Reason, Result, Span, StateKind};

use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::holder::{Holder, NoticeSink, Peer};
use crate::transition::Cause;

impl Engine {
    /// Opens a session for a connected client.
    pub fn open_session(&self, principal: &Principal, peer: Peer, sink: Box<dyn NoticeSink>) -> Result<Arc<Holder>> {
        let account = self.account(principal);
        account.sessions.add(
            self.settings.caps.sessions_per_principal,
            Reason::TooManySessions,
            "sessions",
        )?;
        let session = self.mint.session(principal);
        let holder = Arc::new(Holder::new(
            session,
            HolderKind::Local,
            principal.clone(),
            peer,
            Arc::clone(&account),
            sink,
        ));
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.settings.caps.sessions {
            account.sessions.sub();
            return Err(Error::new(
                Reason::TooManySessions,
                format!("the server has at most {} sessions", self.settings.caps.sessions),
            )
            .retry_after(Span::from_secs(1)));
        }
        sessions.insert(session.serial(), Arc::clone(&holder));
        Ok(holder)
    }

    /// Ends a session: its leases end, its open allocations are aborted. Blocks until all of it is done.
    pub fn close_session(&self, holder: &Arc<Holder>) {
        if self.sessions.lock().remove(&holder.session.serial()).is_none() {
            return;
        }
        let mut held = holder.held();
        held.closed = true;
        let leases: Vec<_> = held
            .leases
            .iter()
            .map(|(id, entry)| (id.serial(), Arc::clone(entry)))
            .collect();
        let allocations: Vec<_> = held.allocations.values().cloned().collect();
        held.known.clear();
        drop(held);

        for (serial, entry) in leases {
            if self.end_lease(&entry, serial).is_some() {
                self.metrics.lease_ended("session_closed");
            }
        }
        for entry in allocations {
            let cause = Cause::principal(&holder.principal).because("the session closed before the commit".into());
            self.abort_if_open(&entry, LifecycleEvent::WriterDied, &cause);
            self.disown(&entry);
        }
        self.forget_producer(holder);
        holder.account.sessions.sub();
    }

    /// Nothing more is allocated for a session that has closed.
    fn forget_producer(&self, holder: &Holder) {
        for store in &self.ports.tiers {
            store.forget_producer(holder.session);
        }
        self.sweep_signal.raise();
    }

    /// Makes the holder that allocated the owner, unless a retry of its request was quicker; says whether it is. If its
    /// session has closed meanwhile, the allocation is aborted. The caller has counted the allocation.
    pub(crate) fn own(&self, holder: &Arc<Holder>, entry: &Arc<Entry>) -> bool {
        let mut live = entry.live();
        if let Some(owner) = &live.owner {
            holder.account.allocations.sub();
            return Arc::ptr_eq(owner, holder);
        }
        if self.set_owner(holder, entry, &mut live) {
            return true;
        }
        drop(live);
        holder.account.allocations.sub();
        let cause = Cause::principal(&holder.principal).because("the session closed during the allocation".into());
        self.abort_if_open(entry, LifecycleEvent::WriterDied, &cause);
        self.forget_producer(holder);
        false
    }

    /// Writes the owner down on both sides, unless the session has closed. The caller has counted the allocation.
    pub(crate) fn set_owner(&self, holder: &Arc<Holder>, entry: &Arc<Entry>, live: &mut Live) -> bool {
        let mut held = holder.held();
        if held.closed {
            return false;
        }
        held.allocations.insert(entry.id, Arc::clone(entry));
        live.owner = Some(Arc::clone(holder));
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes an allocation off its owner's books, once it has ended or changes hands.
    pub(crate) fn disown(&self, entry: &Arc<Entry>) {
        let Some(owner) = entry.live().owner.take() else { return };
        owner.held().allocations.remove(&entry.id);
        owner.account.allocations.sub();
        self.allocation_count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Aborts the allocations that nobody took up again after the restart.
    pub(crate) fn abort_unclaimed(&self) {
        for entry in self.table.all() {
            let live = entry.live();
            let unclaimed = live.owner.is_none() && live.row.state.kind() == StateKind::Allocated;
            drop(live);
            if unclaimed && entry.inherited.load(Ordering::Relaxed) {
                let cause = Cause::server("recovery").because("its session did not come back after a restart".into());
                self.abort_if_open(&entry, LifecycleEvent::WriterDied, &cause);
            }
        }
    }
}
