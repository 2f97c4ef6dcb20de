//! Recovery: before anything is served, rows and bytes are brought together again.

use std::sync::Arc;

use payload_core::{
    Change, ChangeSet, CommitOutcome, Durability, Error, EventKind, LifecycleEvent, NodeId, Payload, PayloadId, Reason,
    Replica, Result, StateKind,
};

use crate::engine::Engine;
use crate::transition::Cause;

/// How many rows are read, and changed, at a time.
const BATCH: u32 = 512;

/// How often rows are read again that other servers keep changing.
const ATTEMPTS: u32 = 10;

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Payloads that live on with everything they had.
    pub kept: usize,
    /// Open allocations that wait for their session.
    pub allocations: usize,
    /// Deletions that go on.
    pub deletions: usize,
    /// Payloads that lost one replica and live on with another.
    pub degraded: usize,
    /// Payloads that lost their last replica, and allocations that lost their room.
    pub lost: usize,
}

impl Engine {
    /// Takes up what the last server left. May be interrupted anywhere and run again.
    pub fn recover(&self) -> Result<Recovered> {
        let mut found = Recovered::default();
        let mut after: Option<PayloadId> = None;
        let mut attempts = ATTEMPTS;
        loop {
            let rows = self.repository().resident(self.settings.node, after, BATCH)?;
            let last = rows.last().map(|row| row.id);
            let full = rows.len() == BATCH as usize;
            match self.recover_rows(rows, &mut found) {
                // Another server has changed one of them meanwhile: they are read again.
                Err(error) if error.reason() == Reason::Conflict && attempts > 1 => attempts -= 1,
                Err(error) => return Err(error),
                Ok(()) if full => (after, attempts) = (last, ATTEMPTS),
                Ok(()) => break,
            }
        }
        found.deletions += self.take_up_deletions()?;
        self.sweep_signal.raise();
        Ok(found)
    }

    /// Deletions of what is in the bucket alone are every server's to finish.
    fn take_up_deletions(&self) -> Result<usize> {
        let (mut after, mut count) = (None, 0);
        loop {
            let found = self.repository().deletions(NodeId::NONE, after, BATCH)?;
            for id in &found {
                if let Some(entry) = self.table.get_or_load(*id, self.repository())? {
                    self.drain_later(entry);
                }
            }
            count += found.len();
            after = found.last().copied();
            if found.len() < BATCH as usize {
                return Ok(count);
            }
        }
    }

    fn recover_rows(&self, rows: Vec<Payload>, found: &mut Recovered) -> Result<()> {
        let (mut losses, mut living) = (Vec::new(), Vec::new());
        let (mut lost, mut degraded) = (0, 0);
        for row in rows {
            let row = Arc::new(row);
            let gone: Vec<Replica> = row
                .replicas
                .iter()
                .filter(|replica| !self.is_there(&row, replica))
                .cloned()
                .collect();
            if gone.is_empty() {
                living.push(row);
                continue;
            }
            let change = self.loss(&row, &gone)?;
            let ended = change.after.replicas.is_empty();
            *if ended { &mut lost } else { &mut degraded } += 1;
            tracing::warn!(payload = %row.id, state = row.state.kind().as_str(), replicas = gone.len(), "replicas did not survive");
            if !ended {
                living.push(Arc::clone(&change.after));
            }
            losses.push(change);
        }
        self.write_losses(losses)?;
        found.lost += lost;
        found.degraded += degraded;
        for row in living {
            self.take_up(row, found);
        }
        Ok(())
    }

    fn take_up(&self, row: Arc<Payload>, found: &mut Recovered) {
        let kind = row.state.kind();
        self.note_pins(&row, &row);
        self.note_owed(&row);
        let entry = self.table.insert(row, true);
        match kind {
            StateKind::Allocated => found.allocations += 1,
            StateKind::Deleting => {
                found.deletions += 1;
                self.drain_later(entry);
            }
            _ => found.kept += 1,
        }
    }

    /// Whether a replica's bytes survived; only those of this node's RAM and of open allocations can have gone.
    fn is_there(&self, row: &Payload, replica: &Replica) -> bool {
        if replica.node != self.settings.node {
            return true;
        }
        // Whoever was given the URL of an object may still store it, and the bucket, if this server has one, is not asked before
        // anything is served.
        if !replica.tier().is_local() {
            return true;
        }
        let Ok(store) = self.tier(replica.tier()) else {
            return false;
        };
        let sealed = || store.check(&replica.location, row.size).is_ok();
        match row.state.kind() {
            StateKind::Allocated if row.size > 0 => store.writer(&replica.location).is_ok() || sealed(),
            _ if replica.tier() == payload_core::Tier::Ram => sealed(),
            _ => true,
        }
    }

    fn loss(&self, row: &Arc<Payload>, gone: &[Replica]) -> Result<Change> {
        let cause = Cause::server("recovery").because("the bytes did not survive the restart".into());
        let lost = |replica: &Replica| gone.iter().any(|gone| gone.id == replica.id);
        if row.replicas.iter().all(lost) && row.state.kind() != StateKind::Deleting {
            return self.decide(row, LifecycleEvent::LastReplicaLost, &cause, |after| {
                after.replicas.clear();
            });
        }
        let mut after = Payload::clone(row);
        after.replicas.retain(|replica| !lost(replica));
        if after.replicas.is_empty() {
            return self.decide(row, LifecycleEvent::Drained, &cause, |after| after.replicas.clear());
        }
        Ok(self.change(row, after, EventKind::ReplicaLost, &cause))
    }

    /// All losses of a batch share a transaction: after a reboot of the host there may be many.
    fn write_losses(&self, losses: Vec<Change>) -> Result<()> {
        if losses.is_empty() {
            return Ok(());
        }
        let durability = losses
            .iter()
            .map(|change| change.after.durability)
            .max()
            .unwrap_or(Durability::Volatile);
        match self.commit_set(ChangeSet::new(losses, durability))? {
            CommitOutcome::Applied => Ok(()),
            _ => Err(Error::new(
                Reason::Conflict,
                "another server changes this node's payloads during recovery",
            )),
        }
    }
}
