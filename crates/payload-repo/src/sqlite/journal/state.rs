//! What is pending: the entries, what they add up to, and how the next set is decided by it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use payload_core::{
    Change, ChangeSet, CommitOutcome, Durability, Namespace, NodeId, OverQuota, Payload, PayloadId, Principal,
    RequestId, RequestRecord, Version,
};
use rusqlite::Connection;

use super::super::fault::Fault;
use super::super::{namespaces, quotas, read};
use super::Claim;
use super::file::JournalFile;
use super::streams::{self, Effects, PendingStreams};

/// The newest pending version of each payload, and the entry that made it.
pub(super) type PendingRows = HashMap<PayloadId, (Arc<Payload>, u64)>;

/// All that is pending, and the file that it is in.
pub(super) struct State {
    pub(super) file: JournalFile,
    pub(super) pending: VecDeque<Arc<Pending>>,
    pub(super) rows: PendingRows,
    pub(super) streams: PendingStreams,
    /// What pending requests did, and the entry that says so.
    pub(super) requests: HashMap<(Principal, RequestId), (RequestRecord, Arc<Pending>)>,
    /// Known to exist, and whether a quota bounds what is in them.
    pub(super) namespaces: HashMap<Namespace, bool>,
    /// Who writes for each node.
    pub(super) epochs: HashMap<NodeId, u64>,
    /// How many go to the tables directly now.
    pub(super) direct: usize,
    /// The tables could not take what is pending the last time it was tried.
    pub(super) stalled: bool,
    /// The tables hold something that is neither in the file nor on the disk.
    pub(super) ahead: bool,
    /// Entries of class `host` are on the disk up to this one.
    pub(super) synced: u64,
    /// A sync failed. The kernel may say of the next that it succeeded, with the same bytes gone.
    pub(super) failed: Option<Fault>,
}

/// An entry that the tables do not hold yet.
pub(in super::super) struct Pending {
    pub(super) number: u64,
    pub(in super::super) set: ChangeSet,
    /// What its stream changes come to.
    pub(in super::super) streams: Effects,
}

/// How a set is to be dealt with.
pub(super) enum Decision {
    Write(Effects),
    Answer(CommitOutcome, Option<Arc<Pending>>),
    /// It depends on sums that only the tables have.
    Direct,
}

impl State {
    /// The last entry that is not on the disk yet, and has to be.
    pub(super) fn last_to_sync(&self) -> Option<Arc<Pending>> {
        let mut waiting = self.pending.iter().filter(|entry| entry.waits_for_sync(self.synced));
        waiting.next_back().cloned()
    }

    pub(super) fn check_sync(&self) -> Result<(), Fault> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    pub(super) fn check(&self, (node, epoch): Claim) -> Result<(), Fault> {
        match self.epochs.get(&node) == Some(&epoch) {
            true => Ok(()),
            false => Err(Fault::fenced()),
        }
    }

    /// Whether the set may be written, by what is pending and by the tables below that.
    pub(super) fn decide(&mut self, tables: &Connection, set: &ChangeSet) -> Result<Decision, Fault> {
        if let Some(request) = &set.request {
            let key = (request.principal.clone(), request.request_id.clone());
            let first = match self.requests.get(&key) {
                Some((first, entry)) => Some((first.clone(), Some(Arc::clone(entry)))),
                None => read::request(tables, &request.principal, &request.request_id)?.map(|first| (first, None)),
            };
            if let Some((first, entry)) = first {
                return Ok(Decision::Answer(CommitOutcome::Duplicate(first), entry));
            }
        }
        for (place, change) in set.changes.iter().enumerate() {
            let earlier = set.changes[..place].iter().rev();
            let mut earlier = earlier.filter(|earlier| earlier.after.id == change.after.id);
            let version = match earlier.next() {
                Some(earlier) => Some(earlier.after.version),
                None => self.version(tables, change.after.id)?,
            };
            if version != change.before.as_ref().map(|before| before.version) {
                return Ok(Decision::Answer(CommitOutcome::Conflict, None));
            }
            let has_quota = self.has_quota(tables, change)?;
            if has_quota && set.over_quota == OverQuota::Refuse {
                return Ok(Decision::Direct);
            }
        }
        Ok(match streams::decide(&self.streams, &self.rows, tables, set)? {
            Ok(effects) => Decision::Write(effects),
            Err(refusal) => Decision::Answer(CommitOutcome::StreamRefused(refusal), self.last_to_sync()),
        })
    }

    /// Whether a quota bounds the payload's namespace, which must be there for a new one.
    fn has_quota(&mut self, tables: &Connection, change: &Change) -> Result<bool, Fault> {
        let namespace = &change.after.namespace;
        if let Some(has_quota) = self.namespaces.get(namespace) {
            return Ok(*has_quota);
        }
        if change.before.is_none() {
            namespaces::must_exist(tables, namespace)?;
        }
        let has_quota = quotas::bounds(tables, namespace)?.is_some();
        if change.before.is_none() {
            self.namespaces.insert(namespace.clone(), has_quota);
        }
        Ok(has_quota)
    }

    fn version(&self, tables: &Connection, id: PayloadId) -> Result<Option<Version>, Fault> {
        match self.rows.get(&id) {
            Some((row, _)) => Ok(Some(row.version)),
            None => read::version(tables, id),
        }
    }

    pub(super) fn enter(&mut self, entry: &Arc<Pending>) {
        for change in &entry.set.changes {
            let row = (Arc::clone(&change.after), entry.number);
            self.rows.insert(change.after.id, row);
        }
        if let Some(request) = &entry.set.request {
            let key = (request.principal.clone(), request.request_id.clone());
            let record = RequestRecord {
                appended: entry.streams.appended,
                ..request.clone()
            };
            self.requests.insert(key, (record, Arc::clone(entry)));
        }
        self.streams.enter(entry);
    }

    /// Drops the oldest entry.
    pub(super) fn leave(&mut self) {
        let Some(entry) = self.pending.pop_front() else { return };
        for change in &entry.set.changes {
            let id = change.after.id;
            if self.rows.get(&id).is_some_and(|(_, number)| *number == entry.number) {
                self.rows.remove(&id);
            }
        }
        if let Some(request) = &entry.set.request {
            self.requests
                .remove(&(request.principal.clone(), request.request_id.clone()));
        }
        self.streams.leave(&entry);
    }

    pub(super) fn reenter(&mut self) {
        self.rows.clear();
        self.requests.clear();
        self.streams.clear();
        let pending: Vec<_> = self.pending.iter().cloned().collect();
        pending.iter().for_each(|entry| self.enter(entry));
    }
}

impl Pending {
    /// What its caller is told.
    pub(in super::super) fn outcome(&self) -> CommitOutcome {
        let appended = self.streams.appended;
        appended.map_or(CommitOutcome::Applied, CommitOutcome::Appended)
    }

    /// What it costs the tables, by how many sets without entries of a stream cost as much.
    pub(super) fn weight(&self) -> usize {
        1 + self.set.entries() / 32
    }

    pub(super) fn waits_for_sync(&self, synced: u64) -> bool {
        self.set.durability >= Durability::Host && self.number > synced
    }
}
