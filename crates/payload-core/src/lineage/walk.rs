//! Going through a graph level by level, without recursion and within a bound.

use std::collections::HashSet;

use crate::id::PayloadId;
use crate::lifecycle::StateKind;

use super::{Graph, Link};

/// How many nodes are asked for their edges, and edges for what they say, at a time.
pub(super) const STEP: usize = 512;

/// Where an edge leads, as seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From children to parents.
    Up,
    /// From parents to children.
    Down,
}

/// A payload in the graph. One that was purged from the catalog has left nothing but its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which.
    pub id: PayloadId,
    /// Where it is in its life; absent if it was purged.
    pub state: Option<StateKind>,
    /// Bytes of content.
    pub size: u64,
}

/// All that descends from a payload, as far as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendants {
    /// Nearest first, without the payload itself.
    pub nodes: Vec<Node>,
    /// As (parent, child).
    pub links: Vec<(PayloadId, PayloadId)>,
    /// Whether that is all of them.
    pub complete: bool,
}

/// The same before anybody looked at the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Nearest first.
    pub ids: Vec<PayloadId>,
    /// In the order in which they were met.
    pub links: Vec<Link>,
    /// Whether that is all.
    pub complete: bool,
}

impl Reach {
    /// With what is known of each node, in the order of `ids`.
    pub fn with(self, nodes: Vec<Node>) -> Descendants {
        Descendants {
            nodes,
            links: self.links.iter().map(|link| (link.near, link.far)).collect(),
            complete: self.complete,
        }
    }
}

/// Everything that descends from `root`, as far as `limit` edges lead.
pub fn reach<G: Graph>(graph: &G, root: PayloadId, limit: usize) -> Result<Reach, G::Error> {
    let mut reach = Reach {
        ids: Vec::new(),
        links: Vec::new(),
        complete: true,
    };
    let mut walk = Walk::new(root, Direction::Down);
    while !walk.frontier.is_empty() {
        let room = limit - reach.links.len();
        // One more than there is room for tells whether there are more.
        let mut links = walk.step(graph, room + 1)?;
        reach.complete = links.len() <= room;
        links.truncate(room);
        reach.ids.extend(walk.enter(&links));
        reach.links.extend(links);
        if !reach.complete {
            break;
        }
    }
    Ok(reach)
}

/// A walk that goes level by level.
pub(super) struct Walk {
    direction: Direction,
    pub(super) seen: HashSet<PayloadId>,
    /// The nodes of the last level, in order.
    pub(super) frontier: Vec<PayloadId>,
}

impl Walk {
    pub(super) fn new(root: PayloadId, direction: Direction) -> Self {
        Self {
            direction,
            seen: HashSet::from([root]),
            frontier: vec![root],
        }
    }

    /// The edges of the last level, at most `limit` of them.
    pub(super) fn step<G: Graph>(&self, graph: &G, limit: usize) -> Result<Vec<Link>, G::Error> {
        let mut links = Vec::new();
        for nodes in self.frontier.chunks(STEP) {
            if links.len() == limit {
                break;
            }
            links.extend(graph.links(self.direction, nodes, limit - links.len())?);
        }
        Ok(links)
    }

    /// Goes on to the nodes that links lead to, and returns those that are new.
    pub(super) fn enter(&mut self, links: &[Link]) -> &[PayloadId] {
        self.frontier.clear();
        let met = links.iter().map(|link| link.far);
        self.frontier.extend(met.filter(|id| self.seen.insert(*id)));
        self.frontier.sort_unstable();
        &self.frontier
    }
}
