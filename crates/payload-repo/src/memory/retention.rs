//! The history in memory, as far as its time is over.

use std::collections::BTreeMap;

use payload_core::port::Retention;
use payload_core::retention::{self, History, Removed};
use payload_core::{Change, LoggedEvent, Namespace, Payload, PayloadId, Result, Timestamp};

use super::{MemoryRepository, Tables};

/// A payload that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tombstone {
    /// When it ended.
    at: Timestamp,
    /// Left out, because something was made from it.
    parked: bool,
}

impl Tables {
    pub(super) fn note_end(&mut self, change: &Change) {
        if change.ends() {
            let at = change.event.at;
            let tombstone = Tombstone { at, parked: false };
            self.tombstones.entry(change.after.id).or_insert(tombstone);
        }
    }

    pub(super) fn take_back_end(&mut self, change: &Change) {
        if change.ends() {
            self.tombstones.remove(&change.after.id);
        }
    }

    fn remove_events(&mut self, namespace: &Namespace, before: Timestamp, limit: usize) -> Removed {
        let Some(log) = self.logs.get_mut(namespace) else {
            return Removed::default();
        };
        let old = log.events.values().take_while(|event| event.record.at < before);
        let old: Vec<LoggedEvent> = old.take(limit).cloned().collect();
        let Some(last) = old.last() else {
            return Removed::default();
        };
        log.removed_through = last.position.number;
        log.events.retain(|number, _| *number > last.position.number);
        let mut of_payloads: BTreeMap<PayloadId, Vec<&LoggedEvent>> = BTreeMap::new();
        for event in old.iter().filter(|event| self.payloads.contains_key(&event.payload)) {
            of_payloads.entry(event.payload).or_default().push(event);
        }
        for (id, events) in of_payloads {
            let events = events.iter().map(|event| (event.version, &event.delta));
            if let Some(base) = retention::base(self.bases.remove(&id), id, events) {
                self.bases.insert(id, base);
            }
        }
        removed(old.len(), limit)
    }

    fn remove_revisions(&mut self, before: Timestamp, limit: usize) -> Removed {
        let old = self.superseded.iter().take_while(|(at, ..)| *at < before);
        let old: Vec<_> = old.take(limit).copied().collect();
        for over in &old {
            let (_, id, revision) = *over;
            self.superseded.remove(over);
            self.metadata
                .retain(|(payload, number), _| *payload != id || *number > revision);
        }
        removed(old.len(), limit)
    }

    fn remove_moves(&mut self, before: Timestamp, limit: usize) -> Removed {
        let old = self.moves_over.iter().take_while(|(at, ..)| *at < before);
        let old: Vec<_> = old.take(limit).cloned().collect();
        for over in &old {
            self.moves_over.remove(over);
            let (_, namespace, name, version) = over.clone();
            self.moves.remove(&(namespace, name, version));
        }
        removed(old.len(), limit)
    }

    fn remove_tombstones(&mut self, before: Timestamp, limit: usize) -> Removed {
        let due = self
            .tombstones
            .iter()
            .filter(|(_, tombstone)| !tombstone.parked && tombstone.at < before);
        let mut due: Vec<_> = due.map(|(id, tombstone)| (tombstone.at, *id)).collect();
        due.sort_unstable();
        due.truncate(limit);
        let looked_at = due.len();
        let (stay, go): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|(_, id)| self.edges.has_children(*id) || !self.payloads[id].replicas.is_empty());
        for (_, id) in stay {
            self.park(id);
        }
        let mut parents = Vec::new();
        for (at, id) in &go {
            parents.extend(self.remove_payload(*id, *at));
        }
        let mut woken = false;
        for parent in parents {
            woken |= self.unpark(parent);
        }
        let mut payloads: Vec<PayloadId> = go.into_iter().map(|(_, id)| id).collect();
        payloads.sort_unstable();
        Removed {
            count: count(payloads.len()),
            payloads,
            more: looked_at == limit || woken,
        }
    }

    fn park(&mut self, id: PayloadId) {
        if let Some(tombstone) = self.tombstones.get_mut(&id) {
            tombstone.parked = true;
        }
    }

    /// Considers a tombstone again, unless something is left that was made from it; tells whether it was parked.
    fn unpark(&mut self, id: PayloadId) -> bool {
        let free = !self.edges.has_children(id);
        match self.tombstones.get_mut(&id) {
            Some(tombstone) if tombstone.parked && free => {
                tombstone.parked = false;
                true
            }
            _ => false,
        }
    }

    /// Removes a payload with all that hangs on it; returns what it was made from.
    fn remove_payload(&mut self, id: PayloadId, at: Timestamp) -> Vec<PayloadId> {
        self.payloads.remove(&id);
        self.tombstones.remove(&id);
        self.bases.remove(&id);
        self.metadata.retain(|(payload, _), _| *payload != id);
        let named = self.names.iter().filter(|(_, row)| row.payload == id);
        let named: Vec<_> = named.map(|(key, row)| (key.clone(), row.version)).collect();
        for (key, version) in named {
            self.names.remove(&key);
            self.moves_over.insert((at, key.0, key.1, version));
        }
        self.edges.remove_child(id)
    }
}

fn removed(found: usize, limit: usize) -> Removed {
    Removed {
        count: count(found),
        payloads: Vec::new(),
        more: found == limit,
    }
}

fn count(found: usize) -> u32 {
    u32::try_from(found).expect("at most `limit` of them")
}

impl Retention for MemoryRepository {
    fn logs(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>> {
        let tables = self.tables.lock();
        let logs = tables.logs.iter().filter(|(_, log)| !log.events.is_empty());
        let logs = logs.map(|(namespace, _)| namespace);
        let logs = logs.filter(|namespace| after.is_none_or(|after| *namespace > after));
        Ok(logs.take(limit as usize).cloned().collect())
    }

    fn event_base(&self, id: PayloadId) -> Result<Option<Payload>> {
        Ok(self.tables.lock().bases.get(&id).cloned())
    }

    fn remove_history(&self, what: &History, before: Timestamp, limit: u32) -> Result<Removed> {
        let mut tables = self.tables.lock();
        self.check_claim(&tables)?;
        let limit = limit as usize;
        Ok(match what {
            History::Events(namespace) => tables.remove_events(namespace, before, limit),
            History::Metadata => tables.remove_revisions(before, limit),
            History::Names => tables.remove_moves(before, limit),
            History::Tombstones => tables.remove_tombstones(before, limit),
        })
    }
}
