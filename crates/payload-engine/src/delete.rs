//! Delete: no new leases at once, the bytes when the last lease has ended.

use std::sync::Arc;

use payload_core::stream::{StreamChange, StreamRefusal};
use payload_core::{
    Change, Container, EventKind, LifecycleEvent, Namespace, Operation, Payload, PayloadId, PayloadRef, Principal,
    Reason, Replica, ReplicaState, RequestId, Result, StateKind, limits,
};

use crate::PerTier;
use crate::dependents::{Dependents, OnDependents};
use crate::engine::Engine;
use crate::entry::{Entry, Gate};
use crate::holder::Notice;
use crate::transition::{Along, Applied, Cause, Decision, Request};

/// How often a cascade begins again because descendants are published all the time.
const CASCADE_ATTEMPTS: u32 = 5;

/// What somebody who wants a payload gone says.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Which.
    pub payload: PayloadRef,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// Ends the payload's leases instead of waiting for them, whether or not an entry of a stream holds the payload.
    pub force: bool,
    /// Kept in the event.
    pub reason: Arc<str>,
    /// What is to become of what descends from it.
    pub dependents: OnDependents,
}

/// How far a deletion has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Which payload.
    pub payload: PayloadId,
    /// `Deleting` while leases hold the bytes, `Deleted` after that; still `Active` while descendants are left.
    pub state: StateKind,
    /// How many leases hold the bytes.
    pub leases: usize,
    /// What became of the descendants that were to be deleted first.
    pub dependents: Dependents,
}

/// Whether entries of streams that hold the payload have a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The payload does not end while one holds it.
    Respected,
    /// It ends all the same; the entries say so.
    Overridden,
}

/// What has a say before a payload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    /// Entries of streams.
    pub(crate) holds: Holds,
    /// What descends from it.
    pub(crate) dependents: OnDependents,
}

impl Guards {
    /// Of a payload that ends by itself: whoever let it end so has said that it does whatever descends from it.
    pub(crate) const BY_ITSELF: Self = Self {
        holds: Holds::Respected,
        dependents: OnDependents::Ignore,
    };
}

impl Engine {
    /// Makes a payload unleasable, and frees its bytes as soon as nobody holds them.
    pub fn delete(&self, principal: &Principal, request: &DeleteRequest) -> Result<Deletion> {
        let identity = request.identity();
        let deletion = match request.dependents {
            OnDependents::Cascade => self.cascade(principal, request, identity.as_ref()),
            OnDependents::Ignore | OnDependents::Refuse => {
                self.unless_overtaken(|| self.delete_once(principal, request, identity.as_ref()))
            }
        };
        match deletion {
            Ok(deletion) => Ok(deletion),
            Err(error) => match self.answered(principal, identity.as_ref())? {
                Some(entry) => Ok(deletion_of(&entry)),
                None => Err(error),
            },
        }
    }

    /// What the same request would do now; nothing is changed.
    pub fn try_delete(&self, request: &DeleteRequest) -> Result<Deletion> {
        let id = self.resolve(&request.namespace, &request.payload)?;
        let entry = self.entry(&request.namespace, id)?;
        payload_core::step(entry.row().state, LifecycleEvent::Delete, self.wall())?;
        if request.guards().holds == Holds::Respected && self.repository().holds(entry.id)? > 0 {
            return Err(StreamRefusal::PayloadHeld(entry.id).into());
        }
        self.check_force(request, &entry)?;
        let mut next = match request.dependents {
            OnDependents::Ignore => Vec::new(),
            OnDependents::Refuse => self.check_dependents(entry.id).map(|()| Vec::new())?,
            OnDependents::Cascade => self.live_descendants(entry.id)?,
        };
        let left = next.len() as u64;
        next.truncate(limits::CASCADE_MAX);
        let leases = if request.force { 0 } else { entry.live().leases.len() };
        let held = leases > 0 || self.may_be_held_unknown(&entry) || self.is_elsewhere_too(&entry.row());
        Ok(Deletion {
            payload: entry.id,
            state: if held { StateKind::Deleting } else { StateKind::Deleted },
            leases,
            dependents: Dependents { deleted: 0, left, next },
        })
    }

    /// Deletes what descends from a payload, then the payload; or as much of that as one call may.
    fn cascade(&self, principal: &Principal, request: &DeleteRequest, identity: Option<&Request>) -> Result<Deletion> {
        // A name may be pointed elsewhere before the last of it is done.
        let id = self.resolve(&request.namespace, &request.payload)?;
        let request = &DeleteRequest {
            payload: id.into(),
            ..request.clone()
        };
        let row = self.get(&request.namespace, id)?;
        payload_core::step(row.state, LifecycleEvent::Delete, self.wall())?;
        let (mut deleted, mut attempts) = (0, CASCADE_ATTEMPTS);
        loop {
            let mut dependents = self.delete_descendants(principal, request, id)?;
            deleted += dependents.deleted;
            dependents.deleted = deleted;
            if dependents.left > 0 {
                return Ok(Deletion {
                    payload: id,
                    state: row.state.kind(),
                    leases: 0,
                    dependents,
                });
            }
            match self.delete_once(principal, request, identity) {
                Ok(deletion) => return Ok(Deletion { dependents, ..deletion }),
                // Somebody has published a descendant since.
                Err(error) if error.reason() == Reason::PayloadHasDependents && attempts > 1 => attempts -= 1,
                Err(error) => return Err(error),
            }
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
        self.check_force(request, &entry)?;
        if request.force {
            // The transaction looks again; but what it refuses must not have cost anybody a lease.
            if request.dependents != OnDependents::Ignore {
                self.check_dependents(entry.id)?;
            }
            self.close_by_force(&entry);
        }
        let cause = Cause::principal(principal).because(Arc::clone(&request.reason));
        let guards = request.guards();
        match self.end(&gate, LifecycleEvent::Delete, guards, &cause, principal, identity)? {
            Applied::Done(_) => Ok(deletion_of(&entry)),
            Applied::Before(record) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                Ok(deletion_of(&*self.first_answer(request, &record)?))
            }
        }
    }

    /// Leases can be ended by the server alone that granted them.
    pub(crate) fn check_force(&self, request: &DeleteRequest, entry: &Entry) -> Result<()> {
        match request.force {
            true => entry.live().elsewhere(),
            false => Ok(()),
        }
    }

    /// Whether another node has bytes to free.
    fn is_elsewhere_too(&self, row: &Payload) -> bool {
        let node = self.settings.node;
        row.replicas.iter().any(|replica| !replica.is_reachable_from(node))
    }

    /// Deletes or expires: in one transaction to the tombstone if nobody holds the bytes, else as far as `Deleting`.
    pub(crate) fn end(
        &self,
        gate: &Gate<'_>,
        event: LifecycleEvent,
        guards: Guards,
        cause: &Cause,
        principal: &Principal,
        request: Option<&Request>,
    ) -> Result<Applied> {
        let entry = gate.entry;
        let row = entry.row();
        let mut changes = vec![self.decide(&row, event, cause, drain)?];
        let mut live = entry.live();
        live.closing = true;
        let held = !live.leases.is_empty() || self.may_be_held_unknown(entry) || self.is_elsewhere_too(&row);
        drop(live);
        let at_once = changes[0].after.state.kind() == StateKind::Deleting && !held;
        if at_once {
            let deleting = Arc::clone(&changes[0].after);
            changes.push(self.decide(&deleting, LifecycleEvent::Drained, cause, |after| {
                after.replicas.clear();
            })?);
        }

        let unheld = match guards.holds {
            Holds::Respected if row.state.kind() == StateKind::Active => vec![StreamChange::Unheld(row.id)],
            _ => Vec::new(),
        };
        let decision = Decision {
            along: Along {
                streams: unheld,
                ..Along::default()
            },
            without_dependents: guards.dependents != OnDependents::Ignore,
            ..changes.into()
        };
        let applied = self.apply(gate, decision, row.durability, principal, request);
        let mut live = entry.live();
        live.closing = false;
        let drained_meanwhile = live.row.state.kind() == StateKind::Deleting && live.leases.is_empty();
        drop(live);
        if matches!(applied, Ok(Applied::Done(_))) {
            match entry.row().state.kind() {
                StateKind::Deleting if drained_meanwhile => self.drain_later(Arc::clone(entry)),
                StateKind::Deleting => {}
                _ => self.bury(entry, &row),
            }
        }
        applied
    }

    /// Finishes this node's part of a deletion that nothing holds up any more. Does nothing if something does.
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
        let others = row
            .replicas
            .iter()
            .filter(|replica| !replica.is_reachable_from(self.settings.node));
        let others: Vec<Replica> = others.cloned().collect();
        if held || (!others.is_empty() && others.len() == row.replicas.len()) {
            return;
        }
        let drained = self
            .without_own(&row, others)
            .and_then(|change| self.apply(&gate, vec![change], row.durability, &row.owner, None));
        match drained {
            Ok(_) => self.bury(entry, &row),
            Err(error) => {
                tracing::warn!(payload = %entry.id, %error, "could not finish a deletion; trying again");
                self.drain_again(entry);
            }
        }
    }

    /// Whoever takes the last replica out of the row ends the payload.
    fn without_own(&self, row: &Arc<Payload>, others: Vec<Replica>) -> Result<Change> {
        let cause = Cause::server("drain");
        if others.is_empty() {
            return self.decide(row, LifecycleEvent::Drained, &cause, |after| after.replicas.clear());
        }
        let mut after = Payload::clone(row);
        after.replicas = others;
        Ok(self.change(row, after, EventKind::ReplicaDropped, &cause))
    }

    pub(crate) fn drain_later(&self, entry: Arc<Entry>) {
        self.drains.lock().push(entry);
        self.drain_signal.raise();
    }

    /// Frees what a tombstone's row had, now that no row names it, and forgets the payload.
    fn bury(&self, entry: &Arc<Entry>, row: &Payload) {
        PerTier::<()>::TIERS
            .iter()
            .for_each(|tier| self.forget_victim(*tier, entry));
        let own = || row.replicas_for(self.settings.node);
        let containers: Vec<Container> = own().map(|replica| replica.location.container()).collect();
        for replica in own() {
            self.remove_bytes(&replica.location, replica.charged);
            self.evict_into(replica.tier());
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

    /// Ends the leases on a payload that is about to be deleted.
    pub(crate) fn close_by_force(&self, entry: &Arc<Entry>) {
        // From here on nobody gets a new lease that would have to be revoked again.
        entry.live().closing = true;
        self.revoke_all(entry, "the payload is deleted by force");
    }

    fn revoke_all(&self, entry: &Arc<Entry>, message: &str) {
        let serials: Vec<u64> = entry.live().leases.keys().copied().collect();
        for serial in serials {
            self.end_lease_early(entry, serial, Reason::LeaseRevoked, message);
        }
    }
}

impl DeleteRequest {
    /// Who forces it asks no entry.
    pub(crate) fn guards(&self) -> Guards {
        Guards {
            holds: if self.force {
                Holds::Overridden
            } else {
                Holds::Respected
            },
            dependents: self.dependents,
        }
    }

    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        Some(Request::new(
            id,
            Operation::Delete,
            &[
                self.payload.to_string().as_bytes(),
                &[u8::from(self.force), self.dependents as u8],
            ],
        ))
    }
}

fn deletion_of(entry: &Entry) -> Deletion {
    let live = entry.live();
    Deletion {
        payload: entry.id,
        state: live.row.state.kind(),
        leases: live.leases.len(),
        dependents: Dependents::default(),
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
