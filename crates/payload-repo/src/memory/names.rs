//! Names in memory: moved as the core decides, with a record of every move.

use payload_core::naming::{self, NameStep};
use payload_core::{NameChange, NameMove, NameRecord, Namespace, PayloadId, PayloadName, Result, StateKind, Version};

use super::Tables;

impl Tables {
    pub(super) fn decide_name(&self, change: &NameChange) -> Result<NameStep> {
        let key = (change.namespace.clone(), change.naming.name.clone());
        let current = self.names.get(&key).map(|row| row.payload);
        let current = current.and_then(|payload| Some((payload, self.state(&change.namespace, payload)?)));
        let target = change.to.and_then(|payload| self.state(&change.namespace, payload));
        Ok(naming::decide(change, current, target)?)
    }

    pub(super) fn move_name(&mut self, change: &NameChange, step: NameStep) {
        let NameStep::Move { from } = step else { return };
        let key = (change.namespace.clone(), change.naming.name.clone());
        let last = self.moves_of(&key.0, &key.1).next_back().map(|last| last.version);
        let version = last.map_or(Version::FIRST, Version::next);
        // The last move is over, and so is one that takes the name away.
        let over = last.into_iter().chain(change.to.is_none().then_some(version));
        let over = over.map(|version| (change.at, key.0.clone(), key.1.clone(), version));
        self.moves_over.extend(over.collect::<Vec<_>>());
        let moved = NameMove {
            version,
            from,
            to: change.to,
            actor: change.actor.clone(),
            reason: change.reason.clone(),
            at: change.at,
        };
        self.moves.insert((key.0.clone(), key.1.clone(), version), moved);
        match change.to {
            None => self.names.remove(&key),
            Some(payload) => {
                let record = NameRecord {
                    name: key.1.clone(),
                    payload,
                    version,
                    actor: change.actor.clone(),
                    at: change.at,
                };
                self.names.insert(key, record)
            }
        };
    }

    fn state(&self, namespace: &Namespace, payload: PayloadId) -> Option<StateKind> {
        let row = self.payloads.get(&payload)?;
        (row.namespace == *namespace).then(|| row.state.kind())
    }

    pub(super) fn list_names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Vec<NameRecord> {
        let rows = self.names.iter().filter(|((owner, _), _)| owner == namespace);
        let rows = rows.map(|(_, row)| row);
        rows.filter(|row| row.name.as_str().starts_with(prefix))
            .filter(|row| after.is_none_or(|after| row.name > *after))
            .take(limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn names_of(&self, payload: PayloadId) -> Vec<PayloadName> {
        let rows = self.names.values().filter(|row| row.payload == payload);
        rows.map(|row| row.name.clone()).collect()
    }

    pub(super) fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Vec<NameMove> {
        let moves = self.moves_of(namespace, name).rev();
        moves
            .filter(|moved| before.is_none_or(|before| moved.version < before))
            .take(limit as usize)
            .cloned()
            .collect()
    }

    fn moves_of(&self, namespace: &Namespace, name: &PayloadName) -> impl DoubleEndedIterator<Item = &NameMove> {
        let (first, last) = (Version::from_u64(0), Version::from_u64(u64::MAX));
        let key = |version| (namespace.clone(), name.clone(), version);
        self.moves.range(key(first)..=key(last)).map(|(_, moved)| moved)
    }
}
