//! The lineage graph as a batch sees it: what the database has, and over it what the batch is about to add.

use std::collections::{HashMap, HashSet};

use payload_core::lineage::{self, Direction, End, Graph, Link, OperationName, Role};
use payload_core::{ChangeSet, Edge, Payload, PayloadId, Refusal, StateKind};

use super::decide::{Effects, Seen};
use super::fault::Fault;

/// What tells edges apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EdgeKey {
    pub(super) child: PayloadId,
    pub(super) parent: PayloadId,
    pub(super) operation: OperationName,
    pub(super) role: Role,
}

impl From<&Edge> for EdgeKey {
    fn from(edge: &Edge) -> Self {
        Self {
            child: edge.child,
            parent: edge.parent,
            operation: edge.operation.clone(),
            role: edge.role.clone(),
        }
    }
}

/// Edges that are to be added, found from both ends.
#[derive(Debug, Default)]
pub(super) struct Added<'a> {
    edges: Vec<&'a Edge>,
    up: HashMap<PayloadId, Vec<PayloadId>>,
    down: HashMap<PayloadId, Vec<PayloadId>>,
    keys: HashSet<EdgeKey>,
}

impl<'a> Added<'a> {
    /// In order.
    pub(super) fn edges(&self) -> &[&'a Edge] {
        &self.edges
    }

    fn add(&mut self, edge: &'a Edge) {
        self.up.entry(edge.child).or_default().push(edge.parent);
        self.down.entry(edge.parent).or_default().push(edge.child);
        self.keys.insert(edge.into());
        self.edges.push(edge);
    }

    /// Takes back what was added since there were `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        for edge in self.edges.split_off(count).into_iter().rev() {
            let ends = [(&mut self.up, edge.child), (&mut self.down, edge.parent)];
            for (index, near) in ends {
                index.get_mut(&near).and_then(Vec::pop);
            }
            self.keys.remove(&edge.into());
        }
    }
}

/// What the set says about lineage, or why not; then none of it was noted.
pub(super) fn add<'a, G: Graph<Error = Fault>>(
    set: &'a ChangeSet,
    seen: &Seen,
    effects: &mut Effects<'a>,
    graph: &G,
) -> Result<Result<(), Refusal>, Fault> {
    if let Some(payload) = set.without_dependents {
        let overlay = Overlay {
            set,
            seen,
            effects,
            graph,
        };
        if let Err(refusal) = lineage::dependents(&overlay, payload)?.check(payload) {
            return Ok(Err(refusal));
        }
    }
    let count = effects.lineage.edges.len();
    for edge in &set.edges {
        let overlay = Overlay {
            set,
            seen,
            effects,
            graph,
        };
        match overlay.allows(edge)? {
            Ok(Fit::New) => effects.lineage.add(edge),
            Ok(Fit::Known) => {}
            Err(refusal) => {
                effects.lineage.truncate(count);
                return Ok(Err(refusal));
            }
        }
    }
    Ok(Ok(()))
}

/// An edge that may be there.
enum Fit {
    New,
    Known,
}

struct Overlay<'o, 'a, G> {
    set: &'a ChangeSet,
    seen: &'o Seen,
    effects: &'o Effects<'a>,
    graph: &'o G,
}

impl<'a, G: Graph<Error = Fault>> Overlay<'_, 'a, G> {
    fn allows(&self, edge: &Edge) -> Result<Result<Fit, Refusal>, Fault> {
        if let Err(refusal) = lineage::ends(edge, self.end(edge.child).as_ref(), self.end(edge.parent).as_ref()) {
            return Ok(Err(refusal));
        }
        let key = EdgeKey::from(edge);
        if self.seen.edges.contains(&key) || self.effects.lineage.keys.contains(&key) {
            return Ok(Ok(Fit::Known));
        }
        let cyclic = lineage::cycle(self, edge.child, edge.parent)?;
        Ok(cyclic.check(edge).map(|()| Fit::New))
    }

    /// The row that the batch is about to write.
    fn written(&self, id: PayloadId) -> Option<&'a Payload> {
        let own = self.set.changes.iter().rev().find(|change| change.after.id == id);
        let own = own.map(|change| &*change.after);
        own.or_else(|| self.effects.payloads.get(&id).map(|step| step.after))
    }

    fn end(&self, id: PayloadId) -> Option<End> {
        match self.written(id) {
            Some(row) => Some(End {
                namespace: row.namespace.clone(),
                state: row.state.kind(),
            }),
            None => self.seen.ends.get(&id).cloned(),
        }
    }

    /// Whether the database is known to have no edges of a payload in this direction.
    fn is_bare(&self, direction: Direction, id: PayloadId) -> bool {
        direction == Direction::Down && self.seen.childless.contains(&id)
    }
}

impl<G: Graph<Error = Fault>> Graph for Overlay<'_, '_, G> {
    type Error = Fault;

    fn links(&self, direction: Direction, nodes: &[PayloadId], limit: usize) -> Result<Vec<Link>, Fault> {
        let added = match direction {
            Direction::Up => &self.effects.lineage.up,
            Direction::Down => &self.effects.lineage.down,
        };
        let to_ask: Vec<PayloadId> = (nodes.iter().copied())
            .filter(|id| !self.is_bare(direction, *id))
            .collect();
        let mut links = match to_ask.is_empty() {
            true => Vec::new(),
            false => self.graph.links(direction, &to_ask, limit)?,
        };
        for near in nodes {
            let far = added.get(near).into_iter().flatten();
            links.extend(far.map(|far| Link {
                near: *near,
                far: *far,
                number: 0,
            }));
        }
        links.sort_by_key(|link| (link.near, link.far));
        links.truncate(limit);
        Ok(links)
    }

    fn live(&self, nodes: &[PayloadId]) -> Result<Option<PayloadId>, Fault> {
        let (written, others): (Vec<_>, Vec<_>) = nodes.iter().partition(|id| self.written(**id).is_some());
        let is_live = |id: &PayloadId| {
            self.written(*id)
                .is_some_and(|row| row.state.kind() == StateKind::Active)
        };
        let own = written.into_iter().find(is_live);
        let other = match others.is_empty() {
            true => None,
            false => self.graph.live(&others)?,
        };
        Ok(own.into_iter().chain(other).min())
    }
}
