//! Where payloads come from: edges from children to parents, in a graph without circles.
//!
//! Both ends of an edge are payloads of one namespace that were committed once; tombstones stay in the graph. Edges are
//! only ever added, so what was true of a graph stays true. [`ends`] and [`cycle`] are the rules for adding
//! one, [`page`] and [`reach`] the ways to read; all of them see the graph through [`Graph`], level by level and within
//! a bound, so that no depth and no width can exhaust anything.

mod check;
mod order;
mod page;
mod walk;
mod words;

pub use check::{Cyclic, Dependents, End, Refusal, cycle, dependents, ends};
pub use page::{LineagePage, LineageQuery, Position, Rows, Scope, decode_token, encode_token, page};
pub use walk::{Descendants, Direction, Node, Reach, reach};
pub use words::{Derivation, Edge, OperationName, Parent, Role};

use crate::id::PayloadId;

/// A graph of edges as an engine holds it, inside one transaction or snapshot.
pub trait Graph {
    /// How reading fails.
    type Error;

    /// The edges of `nodes`, which are sorted, in one direction: in order of near end, far end, operation and role, and
    /// at most `limit` of them altogether.
    fn links(&self, direction: Direction, nodes: &[PayloadId], limit: usize) -> Result<Vec<Link>, Self::Error>;

    /// One of the nodes that is live ([`StateKind::Active`](crate::StateKind::Active)), if any is.
    fn live(&self, nodes: &[PayloadId]) -> Result<Option<PayloadId>, Self::Error>;
}

/// An edge by its ends, as somebody sees it who comes from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where one comes from.
    pub near: PayloadId,
    /// Where it leads.
    pub far: PayloadId,
    /// Which edge it is, for the engine that made the link.
    pub number: i64,
}
