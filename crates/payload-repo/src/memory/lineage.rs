//! The lineage graph in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use payload_core::lineage::{
    self, Descendants, Direction, End, Graph, LineagePage, LineageQuery, Link, Node, OperationName, Role,
};
use payload_core::{ChangeSet, Edge, PayloadId, Refusal, Result, StateKind};

use super::Tables;

/// Every edge, in the order of its making, and found from both ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    all: Vec<Option<Edge>>,
    up: Index,
    down: Index,
}

/// The places of edges in `all`, by near end, then by what else tells them apart, in order.
type Index = BTreeMap<PayloadId, BTreeMap<(PayloadId, OperationName, Role), usize>>;

impl Edges {
    fn add(&mut self, edge: &Edge) {
        let place = self.all.len();
        let rest = |far: PayloadId| (far, edge.operation.clone(), edge.role.clone());
        self.up.entry(edge.child).or_default().insert(rest(edge.parent), place);
        self.down
            .entry(edge.parent)
            .or_default()
            .insert(rest(edge.child), place);
        self.all.push(Some(edge.clone()));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Takes back what was added since there were `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        for edge in self.all.split_off(count).into_iter().flatten() {
            let rest = |far: PayloadId| (far, edge.operation.clone(), edge.role.clone());
            self.up.entry(edge.child).or_default().remove(&rest(edge.parent));
            self.down.entry(edge.parent).or_default().remove(&rest(edge.child));
        }
    }

    /// Whether anything was made from it.
    pub(super) fn has_children(&self, parent: PayloadId) -> bool {
        self.down.get(&parent).is_some_and(|children| !children.is_empty())
    }

    /// Removes what a payload was made from, and returns that.
    pub(super) fn remove_child(&mut self, child: PayloadId) -> Vec<PayloadId> {
        let mut parents = Vec::new();
        for ((parent, operation, role), place) in self.up.remove(&child).unwrap_or_default() {
            self.all[place] = None;
            if let Some(children) = self.down.get_mut(&parent) {
                children.remove(&(child, operation, role));
            }
            parents.push(parent);
        }
        parents
    }

    fn contains(&self, edge: &Edge) -> bool {
        let rest = (edge.parent, edge.operation.clone(), edge.role.clone());
        self.up
            .get(&edge.child)
            .is_some_and(|parents| parents.contains_key(&rest))
    }
}

impl Graph for Tables {
    type Error = Infallible;

    fn links(&self, direction: Direction, nodes: &[PayloadId], limit: usize) -> Result<Vec<Link>, Infallible> {
        let index = match direction {
            Direction::Up => &self.edges.up,
            Direction::Down => &self.edges.down,
        };
        let links = nodes.iter().flat_map(|near| {
            let edges = index.get(near).into_iter().flatten();
            edges.map(|((far, _, _), place)| Link {
                near: *near,
                far: *far,
                number: i64::try_from(*place).expect("fits into memory"),
            })
        });
        Ok(links.take(limit).collect())
    }

    fn live(&self, nodes: &[PayloadId]) -> Result<Option<PayloadId>, Infallible> {
        let is_live = |id: &&PayloadId| self.node(**id).state == Some(StateKind::Active);
        Ok(nodes.iter().find(is_live).copied())
    }
}

impl Tables {
    /// What the set says about lineage, or why not; then none of it was done.
    pub(super) fn add_lineage(&mut self, set: &ChangeSet) -> Result<(), Refusal> {
        if let Some(payload) = set.without_dependents {
            let Ok(dependents) = lineage::dependents(self, payload);
            dependents.check(payload)?;
        }
        let count = self.edges.all.len();
        for edge in &set.edges {
            self.add_edge(edge).inspect_err(|_| self.edges.truncate(count))?;
        }
        Ok(())
    }

    fn add_edge(&mut self, edge: &Edge) -> Result<(), Refusal> {
        lineage::ends(edge, self.end(edge.child).as_ref(), self.end(edge.parent).as_ref())?;
        if !self.edges.contains(edge) {
            let Ok(cyclic) = lineage::cycle(self, edge.child, edge.parent);
            cyclic.check(edge)?;
            self.edges.add(edge);
        }
        Ok(())
    }

    /// See the port.
    pub(super) fn lineage_page(&self, query: &LineageQuery) -> Result<LineagePage> {
        let Ok(rows) = lineage::page(self, query);
        let edge = |number: &i64| self.edges.all[usize::try_from(*number).expect("was a place")].clone();
        let edges = |numbers: &[i64]| Ok(numbers.iter().filter_map(edge).collect());
        let nodes = |ids: &[PayloadId]| Ok(ids.iter().map(|id| self.node(*id)).collect());
        let Ok(page) = rows?.fill::<Infallible>(query.root, edges, nodes);
        Ok(page)
    }

    /// See the port.
    pub(super) fn descendants(&self, root: PayloadId, limit: u32) -> Descendants {
        let Ok(reach) = lineage::reach(self, root, limit as usize);
        let nodes = reach.ids.iter().map(|id| self.node(*id)).collect();
        reach.with(nodes)
    }

    fn end(&self, id: PayloadId) -> Option<End> {
        self.payloads.get(&id).map(|row| End {
            namespace: row.namespace.clone(),
            state: row.state.kind(),
        })
    }

    fn node(&self, id: PayloadId) -> Node {
        let row = self.payloads.get(&id);
        Node {
            id,
            state: row.map(|row| row.state.kind()),
            size: row.map_or(0, |row| row.size),
        }
    }
}
