//! Delete: no new leases at once, the bytes when the last lease has ended.

use std::sync::Arc;

use payload_core::{
    Container, LifecycleEvent, Namespace, Operation, Payload, PayloadId, PayloadRef, Principal, Reason, ReplicaState,
    RequestId, Result, StateKind,
};

use crate::engine::Engine;
use crate::entry::{Entry, Gate};
use crate::holder::Notice;
use crate::transition::{Applied, Cause, Request};

/// What somebody who wants a payload gone says.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Which.
    pub payload: PayloadRef,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// Ends the payload's leases instead of waiting for them.
    pub force: bool,
    /// Kept in the event.
    pub reason: Arc<str>,
}

/// How far a deletion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Which payload.
    pub payload: PayloadId,
    /// `Deleting` while leases hold the bytes, `Deleted` after that.
    pub state: StateKind,
    /// How many leases hold the bytes.
    pub leases: usize,
}

impl Engine {
    /// Makes a payload unleasable, and frees its bytes as soon as nobody holds them.
    pub fn delete(&self, principal: &Principal, request: &DeleteRequest) -> Result<Deletion> {
        let identity = request.identity();
        match self.delete_once(principal, request, identity.as_ref()) {
            Ok(deletion) => Ok(deletion),
            Err(error) => match self.answered(principal, identity.as_ref())? {
                Some(entry) => Ok(deletion_of(&entry)),
                None => Err(error),
            },
        }
    }

    fn delete_once(
        &self,
        principal: &Principal,
        request: &DeleteRequest,
        identity: Option<&Request>,
    ) -> Result<Deletion> {
        let payload = self.resolve(&request.namespace, &request.payload)?;
        let entry = self.entry(&request.namespace, payload)?;
        let gate = entry.gate();
        payload_core::step(entry.row().state, LifecycleEvent::Delete, self.wall())?;
        if request.force {
            // From here on nobody gets a new lease that would have to be revoked again.
            entry.live().closing = true;
            self.revoke_all(&entry, "the payload is deleted by force");
        }
        let cause = Cause::principal(principal).because(Arc::clone(&request.reason));
        match self.end(&gate, LifecycleEvent::Delete, &cause, principal, identity)? {
            Applied::Done => Ok(deletion_of(&entry)),
            Applied::Before(record) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                Ok(deletion_of(&*self.first_answer(request, &record)?))
            }
        }
    }

    /// Deletes or expires: in one transaction to the tombstone if nobody holds the bytes, else as far as `Deleting`.
    pub(crate) fn end(
        &self,
        gate: &Gate<'_>,
        event: LifecycleEvent,
        cause: &Cause,
        principal: &Principal,
        request: Option<&Request>,
    ) -> Result<Applied> {
        let entry = gate.entry;
        let row = entry.row();
        let mut changes = vec![self.decide(&row, event, cause, drain)?];
        let mut live = entry.live();
        live.closing = true;
        let held = !live.leases.is_empty() || self.may_be_held_unknown(entry);
        drop(live);
        let at_once = changes[0].after.state.kind() == StateKind::Deleting && !held;
        if at_once {
            let deleting = Arc::clone(&changes[0].after);
            changes.push(self.decide(&deleting, LifecycleEvent::Drained, cause, |after| {
                after.replicas.clear();
            })?);
        }

        let applied = self.apply(gate, changes, row.durability, principal, request);
        let mut live = entry.live();
        live.closing = false;
        let drained_meanwhile = live.row.state.kind() == StateKind::Deleting && live.leases.is_empty();
        drop(live);
        if matches!(applied, Ok(Applied::Done)) {
            match entry.row().state.kind() {
                StateKind::Deleting if drained_meanwhile => self.drain_later(Arc::clone(entry)),
                StateKind::Deleting => {}
                _ => self.bury(entry, &row),
            }
        }
        applied
    }

    /// Finishes a deletion that nothing holds up any more. Does nothing if something does.
    pub(crate) fn drain(&self, entry: &Arc<Entry>) {
        // A commit that was found out about only afterwards has left its waiters to be answered here.
        if entry.row().state.kind() != StateKind::Allocated {
            self.answer_waiters(entry);
        }
        if let Err(error) = self.drop_drained(entry) {
            tracing::warn!(payload = %entry.id, %error, "could not drop a replica; trying again");
            self.drain_again(entry);
        }
        let gate = entry.gate();
        let live = entry.live();
        let row = Arc::clone(&live.row);
        let held = row.state.kind() != StateKind::Deleting || !live.leases.is_empty();
        // Asked under the lock under which earlier holders come back: whoever comes later is told that it is too late.
        let held = held || self.may_be_held_unknown(entry);
        drop(live);
        if held {
            return;
        }
        let cause = Cause::server("drain");
        let drained = self
            .decide(&row, LifecycleEvent::Drained, &cause, |after| after.replicas.clear())
            .and_then(|change| self.apply(&gate, vec![change], row.durability, &row.owner, None));
        match drained {
            Ok(_) => self.bury(entry, &row),
            Err(error) => {
                tracing::warn!(payload = %entry.id, %error, "could not finish a deletion; trying again");
                self.drain_again(entry);
            }
        }
    }

    pub(crate) fn drain_later(&self, entry: Arc<Entry>) {
        self.drains.lock().push(entry);
        self.drain_signal.raise();
    }

    /// Frees what a tombstone's row had, now that no row names it, and forgets the payload.
    fn bury(&self, entry: &Arc<Entry>, row: &Payload) {
        self.forget_victim(entry);
        let containers: Vec<Container> = row
            .replicas
            .iter()
            .map(|replica| replica.location.container())
            .collect();
        for replica in &row.replicas {
            self.remove_bytes(&replica.location, replica.charged);
        }
        self.tell_gone(&containers, |replica| !is_shared(row, replica));
        self.table.remove(entry);
    }

    /// Tells the sessions that have them open that containers will never be granted again.
    pub(crate) fn tell_gone(&self, containers: &[Container], which: impl Fn(&Container) -> bool) {
        let gone: Vec<Container> = containers.iter().copied().filter(which).collect();
        if gone.is_empty() {
            return;
        }
        for session in self.all_sessions() {
            let mut held = session.held();
            let known: Vec<Container> = gone
                .iter()
                .copied()
                .filter(|container| held.known.remove(container))
                .collect();
            drop(held);
            if !known.is_empty() {
                session.sink.send(Notice::ContainersGone(known));
            }
        }
    }

    fn revoke_all(&self, entry: &Arc<Entry>, message: &str) {
        let serials: Vec<u64> = entry.live().leases.keys().copied().collect();
        for serial in serials {
            self.end_lease_early(entry, serial, Reason::LeaseRevoked, message);
        }
    }
}

impl DeleteRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        Some(Request::new(
            id,
            Operation::Delete,
            &[self.payload.to_string().as_bytes(), &[u8::from(self.force)]],
        ))
    }
}

fn deletion_of(entry: &Entry) -> Deletion {
    let live = entry.live();
    Deletion {
        payload: entry.id,
        state: live.row.state.kind(),
        leases: live.leases.len(),
    }
}

fn drain(after: &mut Payload) {
    for replica in &mut after.replicas {
        replica.state = ReplicaState::Draining;
    }
}

/// Whether other payloads may be in the container too.
fn is_shared(row: &Payload, container: &Container) -> bool {
    row.replicas
        .iter()
        .any(|replica| replica.location.container() == *container && replica.location.is_shared())
}
