//! The rules for a new edge, and for deleting what others descend from. Each looks at a bounded part of the graph.

use crate::error::{Error, Reason};
use crate::id::PayloadId;
use crate::lifecycle::StateKind;
use crate::limits::LINEAGE_CHECK_MAX;
use crate::name::Namespace;

use super::walk::Walk;
use super::{Direction, Edge, Graph};

/// Why a repository did not make a set true, although it fits the rows' versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such payload in the child's namespace.
    Unknown(PayloadId),
    /// A payload that was never committed, and its state, cannot be an end of an edge.
    NotCommitted(PayloadId, StateKind),
    /// The parent descends from the child already.
    Cycle {
        /// Of the edge.
        child: PayloadId,
        /// Of the edge.
        parent: PayloadId,
    },
    /// Whether the parent descends from the child takes more steps to find out than a transaction may take.
    TooLarge {
        /// Of the edge.
        child: PayloadId,
        /// Of the edge.
        parent: PayloadId,
    },
    /// A payload has a live descendant.
    Dependents {
        /// Which was to go.
        payload: PayloadId,
        /// One of those that descend from it.
        dependent: PayloadId,
    },
    /// Whether a payload has a live descendant takes more steps to find out than a transaction may take.
    ManyDescendants(PayloadId),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(id) => Self::new(
                Reason::PayloadNotFound,
                format!("no such payload in this namespace: {id}"),
            )
            .field("parents"),
            Refusal::NotCommitted(id, StateKind::Aborted) => {
                Self::new(Reason::PayloadAborted, format!("the allocation of {id} was aborted"))
            }
            Refusal::NotCommitted(id, _) => Self::new(
                Reason::PayloadNotCommitted,
                format!("{id} is allocated but not committed yet"),
            ),
            Refusal::Cycle { child, parent } if child == parent => {
                Self::new(Reason::LineageCycle, "a payload cannot be its own parent").field("parents")
            }
            Refusal::Cycle { child, parent } => {
                Self::new(Reason::LineageCycle, format!("{parent} descends from {child} already")).field("parents")
            }
            Refusal::TooLarge { child, parent } => Self::new(
                Reason::LineageTooLarge,
                format!("more than {LINEAGE_CHECK_MAX} edges would show whether {parent} descends from {child}"),
            )
            .field("parents"),
            Refusal::Dependents { payload, dependent } => Self::new(
                Reason::PayloadHasDependents,
                format!("{payload} has live descendants, {dependent} among them"),
            ),
            Refusal::ManyDescendants(payload) => Self::new(
                Reason::LineageTooLarge,
                format!("more than {LINEAGE_CHECK_MAX} edges would show whether {payload} has live descendants"),
            ),
        }
    }
}

/// What a repository knows of one end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whose payload it is.
    pub namespace: Namespace,
    /// Where it is in its life.
    pub state: StateKind,
}

/// Whether an edge may lead from the one to the other, as far as they themselves can tell.
pub fn ends(edge: &Edge, child: Option<&End>, parent: Option<&End>) -> Result<(), Refusal> {
    let child = child.ok_or(Refusal::Unknown(edge.child))?;
    let parent = parent
        .filter(|parent| parent.namespace == child.namespace)
        .ok_or(Refusal::Unknown(edge.parent))?;
    for (id, end) in [(edge.child, child), (edge.parent, parent)] {
        if matches!(end.state, StateKind::Allocated | StateKind::Aborted) {
            return Err(Refusal::NotCommitted(id, end.state));
        }
    }
    Ok(())
}

/// What a new edge would do to a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cyclic {
    /// The graph stays without circles.
    No,
    /// The edge would close one.
    Yes,
    /// Too much would have to be looked at.
    Unknown,
}

impl Cyclic {
    /// The refusal that follows for an edge, if one does.
    pub fn check(self, edge: &Edge) -> Result<(), Refusal> {
        let (child, parent) = (edge.child, edge.parent);
        match self {
            Self::No => Ok(()),
            Self::Yes => Err(Refusal::Cycle { child, parent }),
            Self::Unknown => Err(Refusal::TooLarge { child, parent }),
        }
    }
}

/// Whether the parent descends from the child. Looks down from the one and up from the other, always on the side where
/// less is waiting: a child without descendants, which every new payload is, costs one look, however deep its ancestry.
pub fn cycle<G: Graph>(graph: &G, child: PayloadId, parent: PayloadId) -> Result<Cyclic, G::Error> {
    if child == parent {
        return Ok(Cyclic::Yes);
    }
    let (mut down, mut up) = (Walk::new(child, Direction::Down), Walk::new(parent, Direction::Up));
    // One look each: an end with no edges on its side decides it, whatever the other has.
    if down.step(graph, 1)?.is_empty() || up.step(graph, 1)?.is_empty() {
        return Ok(Cyclic::No);
    }
    let mut left = LINEAGE_CHECK_MAX;
    loop {
        let (walk, other) = match weight(&down) <= weight(&up) {
            true => (&mut down, &up),
            false => (&mut up, &down),
        };
        let links = walk.step(graph, left)?;
        if links.iter().any(|link| other.seen.contains(&link.far)) {
            return Ok(Cyclic::Yes);
        }
        if links.len() >= left {
            return Ok(Cyclic::Unknown);
        }
        left -= links.len();
        if walk.enter(&links).is_empty() {
            return Ok(Cyclic::No);
        }
    }
}

/// How much a search has before it, and how much behind. The one with less goes on.
fn weight(walk: &Walk) -> (usize, usize) {
    (walk.frontier.len(), walk.seen.len())
}

/// What a payload's deletion would leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// Nothing that is live.
    None,
    /// At least this one.
    Some(PayloadId),
    /// Too much would have to be looked at.
    Unknown,
}

impl Dependents {
    /// The refusal that follows for a payload that shall go only if nothing depends on it.
    pub fn check(self, payload: PayloadId) -> Result<(), Refusal> {
        match self {
            Self::None => Ok(()),
            Self::Some(dependent) => Err(Refusal::Dependents { payload, dependent }),
            Self::Unknown => Err(Refusal::ManyDescendants(payload)),
        }
    }
}

/// Looks for a live descendant, through tombstones: what descends from a tombstone can only be made again from above it.
pub fn dependents<G: Graph>(graph: &G, payload: PayloadId) -> Result<Dependents, G::Error> {
    let mut walk = Walk::new(payload, Direction::Down);
    let mut left = LINEAGE_CHECK_MAX;
    loop {
        let links = walk.step(graph, left)?;
        let reached = walk.enter(&links);
        if let Some(live) = graph.live(reached)? {
            return Ok(Dependents::Some(live));
        }
        if links.len() >= left {
            return Ok(Dependents::Unknown);
        }
        if reached.is_empty() {
            return Ok(Dependents::None);
        }
        left -= links.len();
    }
}
