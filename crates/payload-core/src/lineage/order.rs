//! In which order a payload's descendants go.

use std::collections::{BTreeMap, VecDeque};

use crate::id::PayloadId;

use super::Descendants;

impl Descendants {
    /// The ids of all nodes, each after everything that descends from it: whoever stops anywhere has left no node without
    /// what it was made from.
    pub fn leaves_first(&self) -> Vec<PayloadId> {
        let mut children: BTreeMap<PayloadId, usize> = self.nodes.iter().map(|node| (node.id, 0)).collect();
        let mut parents: BTreeMap<PayloadId, Vec<PayloadId>> = BTreeMap::new();
        for (parent, child) in &self.links {
            // The root is no descendant of its own.
            if let Some(count) = children.get_mut(parent) {
                *count += 1;
                parents.entry(*child).or_default().push(*parent);
            }
        }
        let mut ready: VecDeque<_> = leaves(&children).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(id) = ready.pop_front() {
            order.push(id);
            for parent in parents.remove(&id).into_iter().flatten() {
                let count = children.get_mut(&parent).expect("is a node");
                *count -= 1;
                if *count == 0 {
                    ready.push_back(parent);
                }
            }
        }
        order
    }
}

fn leaves(children: &BTreeMap<PayloadId, usize>) -> impl Iterator<Item = PayloadId> {
    children.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::Node;

    fn id(number: u8) -> PayloadId {
        PayloadId::from_parts(1, [number; 10])
    }

    fn descendants(nodes: u8, links: &[(u8, u8)]) -> Descendants {
        let node = |number| Node {
            id: id(number),
            state: None,
            size: 0,
        };
        Descendants {
            nodes: (1..=nodes).map(node).collect(),
            links: links.iter().map(|(parent, child)| (id(*parent), id(*child))).collect(),
            complete: true,
        }
    }

    #[test]
    fn every_node_comes_after_what_descends_from_it() {
        // 4 hangs on the root directly as well, and by two edges on 3.
        let links = [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4), (3, 4), (1, 5)];
        let order = descendants(5, &links).leaves_first();
        assert_eq!(order.len(), 5);
        let place = |number| order.iter().position(|found| *found == id(number)).unwrap();
        for (parent, child) in links.into_iter().filter(|(parent, _)| *parent != 0) {
            assert!(place(parent) > place(child), "{parent} before {child}: {order:?}");
        }
    }

    #[test]
    fn fault_50_a_long_chain_needs_no_stack() {
        let ids: Vec<_> = (0..200_000u64)
            .map(|number| PayloadId::from_parts(number + 1, [0; 10]))
            .collect();
        let chain = Descendants {
            nodes: ids[1..]
                .iter()
                .map(|id| Node {
                    id: *id,
                    state: None,
                    size: 0,
                })
                .collect(),
            links: ids.windows(2).map(|pair| (pair[0], pair[1])).collect(),
            complete: true,
        };
        assert!(chain.leaves_first().iter().eq(ids[1..].iter().rev()));
    }
}
