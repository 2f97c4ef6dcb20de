//! The two things that can be done to a payload's replicas: add one in another tier, drop one that is not the last.
//!
//! Both are one change of the row, and the bytes follow the rule that they follow everywhere: they are complete before the
//! row names them, and they go after the row has stopped to. So a server that dies in between leaves bytes that no row
//! names, which the sweep finds, and the replica that was there before is the truth until the row says otherwise.

use std::os::fd::AsFd;
use std::sync::Arc;

use payload_core::port::{Placed, Source};
use payload_core::{
    Digest, Durability, Error, ErrorKind, EventKind, Location, Namespace, OverQuota, Payload, Reason, Replica,
    ReplicaState, Result, StateKind, Tier,
};

use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::paths::Way;
use crate::transfers::Listed;
use crate::transition::{Cause, Decision};

/// Whether a copy into a full tier waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// In line with everybody else.
    InLine,
    /// It is given up.
    None,
}

/// What became of a replica that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It is gone, and so many bytes with it.
    Gone(u64),
    /// It stays: it is leased or pinned, or the only one, or was not there.
    Stays,
}

impl Engine {
    /// Makes sure that there is a replica in `to`, and returns whether one was added. Callers that come during the copy
    /// wait for it and share it.
    pub(crate) fn add_replica(
        &self,
        entry: &Arc<Entry>,
        to: Tier,
        patience: Patience,
        why: &'static str,
    ) -> Result<bool> {
        // What is there already waits for nobody.
        if self.to_be_copied(entry, to)?.is_none() {
            return Ok(false);
        }
        let _mover = entry.mover();
        let Some((row, source)) = self.to_be_copied(entry, to)? else {
            return Ok(false);
        };
        let began = self.now();
        let running = self.transfers.begin(&row, source.tier(), to, why, began);
        let copied = self.copy_replica(entry, &row, &source, to, patience, &running);
        let result = copied.and_then(|(placed, digest)| self.write_added(entry, &source, placed, digest, &running));
        self.metrics
            .moved(source.tier(), to, row.size, self.now().since(began), result.is_ok());
        self.note_copy(entry, result.as_ref().err());
        result.map(|()| true)
    }

    /// The row, and the replica to copy from; nothing if there is one in `to`.
    fn to_be_copied(&self, entry: &Arc<Entry>, to: Tier) -> Result<Option<(Arc<Payload>, Replica)>> {
        let moment = self.leasing_moment(entry)?;
        let live = entry.live();
        let source = live.leasable(moment)?.clone();
        Ok((!live.has_ready(to)).then(|| (Arc::clone(&live.row), source)))
    }

    /// Copies the bytes and makes sure that they are those that were committed. Who waits for room has no place on the path
    /// meanwhile.
    fn copy_replica(
        &self,
        entry: &Arc<Entry>,
        row: &Payload,
        source: &Replica,
        to: Tier,
        patience: Patience,
        running: &Listed<'_>,
    ) -> Result<(Placed, Digest)> {
        let copy = || {
            let place = self.enter_path(Way::between(source.tier(), to), row.size, patience)?;
            running.check()?;
            let copied = self.copy_bytes(&row.namespace, &source.location, row.size, to);
            copied.inspect_err(|_| place.forgo())
        };
        let copied = match patience {
            Patience::InLine => self.in_tier(to, &row.namespace, row.size, copy),
            Patience::None => copy(),
        };
        let (placed, digest) = copied.or_else(|error| self.blame_source(entry, row, source, error))?;
        if row.digest.is_some_and(|committed| committed != digest) {
            self.discard(placed);
            let error = Error::new(
                Reason::BytesCorrupt,
                "the bytes do not have the digest they were committed with",
            );
            return self.blame_source(entry, row, source, error);
        }
        Ok((placed, digest))
    }

    /// Copies sealed bytes into another tier, and digests them on the way.
    pub(crate) fn copy_bytes(
        &self,
        namespace: &Namespace,
        from: &Location,
        size: u64,
        to: Tier,
    ) -> Result<(Placed, Digest)> {
        let target = self.tier(to)?;
        if size == 0 {
            return Ok((target.store(namespace, &[])?, Digest::of(&[])));
        }
        if !from.tier().is_local() {
            let below = self.tier(from.tier())?;
            return target.receive(namespace, size, &|to| below.send(from, size, to));
        }
        let fd = self.tier(from.tier())?.open(from)?;
        let source = Source {
            fd: fd.as_fd(),
            offset: from.offset(),
            size,
        };
        target.copy_in(namespace, source)
    }

    /// Looks at the source after a copy that met damaged or missing bytes: it is given up only if they are its own.
    fn blame_source<T>(&self, entry: &Arc<Entry>, row: &Payload, source: &Replica, error: Error) -> Result<T> {
        if error.kind() != ErrorKind::DataLoss {
            return Err(error);
        }
        let digest = self
            .tier(source.tier())
            .and_then(|store| store.digest(&source.location, row.size));
        let damaged = match digest {
            Ok(digest) => row.digest.is_some_and(|committed| committed != digest),
            Err(found) => found.kind() == ErrorKind::DataLoss,
        };
        if damaged {
            tracing::error!(payload = %row.id, replica = %source.id, %error, "a replica is damaged");
            self.replica_lost(entry, source.id, error)?;
            return Err(Error::new(
                Reason::Conflict,
                "the replica that was to be copied is damaged; another one is left",
            ));
        }
        Err(error)
    }

    /// Names the copy in the row, if the payload still is what was copied.
    pub(crate) fn write_added(
        &self,
        entry: &Arc<Entry>,
        source: &Replica,
        placed: Placed,
        digest: Digest,
        running: &Listed<'_>,
    ) -> Result<()> {
        let gate = entry.gate();
        if let Err(error) = running.check() {
            self.discard(placed);
            return Err(error);
        }
        let row = entry.row();
        let same = row
            .replica(source.id)
            .is_some_and(|replica| replica.location == source.location);
        if row.state.kind() != StateKind::Active || !same {
            self.discard(placed);
            return Err(Error::new(
                Reason::Conflict,
                "the payload ended while its bytes were being copied",
            ));
        }
        let mut after = Payload::clone(&row);
        after.digest = Some(digest);
        after.durability = row.policy.reached_in(placed.location.tier(), row.durability);
        let promised = after.durability;
        after.replicas.push(self.replica(&placed, ReplicaState::Ready));
        let decision = Decision {
            over_quota: over_quota(placed.location.tier()),
            ..vec![self.change(&row, after, EventKind::ReplicaAdded, &mover_because(running.why()))].into()
        };
        match self.apply(&gate, decision, promised, &row.owner, None) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.discard_unless_unknown(placed, &error);
                Err(error)
            }
        }
    }

    /// Drops the replica in `from`, if there is another one and nobody holds this one.
    pub(crate) fn drop_replica(&self, entry: &Arc<Entry>, from: Tier, why: &'static str) -> Result<Dropped> {
        let gate = entry.gate();
        let mut live = entry.live();
        let Some(replica) = self.droppable(entry, &live, from).cloned() else {
            return Ok(Dropped::Stays);
        };
        // From here on leases go to the others; one that exists would have kept the replica.
        live.leaving.push(replica.id);
        let row = Arc::clone(&live.row);
        drop(live);
        let mut after = Payload::clone(&row);
        after.replicas.retain(|other| other.id != replica.id);
        let change = self.change(&row, after, EventKind::ReplicaDropped, &mover_because(why));
        let applied = self.apply(&gate, vec![change], self.outlived_by(from), &row.owner, None);
        let mut live = entry.live();
        live.leaving.retain(|leaving| *leaving != replica.id);
        if from == Tier::Ram {
            live.promoted_at = None;
        }
        drop(live);
        applied?;
        // Before somebody else can add one there, which goes into the index anew.
        self.forget_victim(from, entry);
        drop(gate);
        self.remove_bytes(&replica.location, replica.charged);
        if !replica.location.is_shared() {
            self.tell_gone(&[replica.location.container()], |_| true);
        }
        Ok(Dropped::Gone(replica.charged))
    }

    /// How lasting a row has to be that does not name bytes in a tier any more, whatever the payload was promised. A host that
    /// forgets the row has forgotten what was in RAM too; a file it would look for and not find.
    pub(crate) fn outlived_by(&self, tier: Tier) -> Durability {
        match tier {
            Tier::Ram => Durability::Volatile,
            Tier::Disk | Tier::Object => self.repository().strongest().min(Durability::Host),
        }
    }

    fn droppable<'a>(&self, entry: &Entry, live: &'a Live, from: Tier) -> Option<&'a Replica> {
        let replica = live.ready().find(|replica| replica.tier() == from)?;
        let last = !live.ready().any(|other| other.tier() > from);
        let active = live.row.state.kind() == StateKind::Active && !live.closing && !live.in_doubt;
        let held = live.is_leased(replica.id) || live.is_pinned(replica) || self.may_be_held_unknown(entry);
        (active && !last && !held).then_some(replica)
    }
}

/// A copy above is a wish, and one below frees memory.
const fn over_quota(to: Tier) -> OverQuota {
    match to {
        Tier::Ram => OverQuota::Refuse,
        Tier::Disk | Tier::Object => OverQuota::Allow,
    }
}

fn mover_because(why: &'static str) -> Cause {
    Cause::server("mover").because(why.into())
}
