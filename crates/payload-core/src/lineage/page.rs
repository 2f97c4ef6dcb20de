//! Reading the graph around one payload: nearest first, page after page.
//!
//! Edges come in order of their distance from where the query starts, then of near end, far end, operation and role.
//! A page begins by walking again to where the last one ended: nothing is kept for a reader who may never come back.
//! What the reader has seen is told by a digest, so that an edge which was added there meanwhile can neither be missed
//! nor shift others out of sight.

use std::collections::HashSet;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Reason};
use crate::id::PayloadId;
use crate::limits::{self, LINEAGE_PAGE_BYTES_MAX, LINEAGE_WALK_MAX};
use crate::name::Namespace;

use super::walk::{STEP, Walk};
use super::{Direction, Edge, Graph, Link, Node};

/// Which part of the graph around a payload is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// What it came from.
    Up,
    /// What came from it.
    Down,
    /// First the one, then the other.
    Both,
}

impl Scope {
    const fn directions(self) -> &'static [Direction] {
        match self {
            Self::Up => &[Direction::Up],
            Self::Down => &[Direction::Down],
            Self::Both => &[Direction::Up, Direction::Down],
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        }
    }
}

/// Which edges to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineageQuery {
    /// Where to start.
    pub root: PayloadId,
    /// In which direction.
    pub scope: Scope,
    /// How many steps from the root.
    pub depth: u32,
    /// At most so many edges.
    pub limit: u32,
    /// Only those that come after these.
    pub after: Option<Position>,
}

/// How far a reader has come: so many edges, and which they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// How many.
    pub rows: u32,
    /// Over their numbers.
    pub digest: u64,
}

/// A part of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineagePage {
    /// Nearest first.
    pub edges: Vec<Edge>,
    /// The root and the ends of the edges, each once.
    pub nodes: Vec<Node>,
    /// There are more edges after these.
    pub next: Option<Position>,
    /// The last page only: edges begin where the asked depth ends.
    pub deeper: bool,
}

/// The links of a page, before anybody looked at what else the edges say.
pub struct Rows {
    links: Vec<Link>,
    /// How many came before, and what they were.
    skipped: usize,
    hasher: Hasher,
    more: bool,
    deeper: bool,
}

impl Rows {
    /// Makes the page. It ends early where its edges say too much for one message. Edges are asked for a few at a time and
    /// nodes all at once; both come in the order that they are asked for.
    pub fn fill<E>(
        self,
        root: PayloadId,
        mut edges_of: impl FnMut(&[i64]) -> Result<Vec<Edge>, E>,
        nodes_of: impl FnOnce(&[PayloadId]) -> Result<Vec<Node>, E>,
    ) -> Result<LineagePage, E> {
        let (mut edges, mut hasher, mut said) = (Vec::with_capacity(self.links.len()), self.hasher, 0);
        let (mut ids, mut seen) = (vec![root], HashSet::from([root]));
        'page: for links in self.links.chunks(STEP) {
            let numbers: Vec<i64> = links.iter().map(|link| link.number).collect();
            for (link, edge) in links.iter().zip(edges_of(&numbers)?) {
                said += size(&edge);
                if said > LINEAGE_PAGE_BYTES_MAX && !edges.is_empty() {
                    break 'page;
                }
                hasher.update(&link.number.to_le_bytes());
                ids.extend([link.near, link.far].into_iter().filter(|id| seen.insert(*id)));
                edges.push(edge);
            }
        }
        let more = self.more || edges.len() < self.links.len();
        let rows = u32::try_from(self.skipped + edges.len()).expect("is little more than the bound of a walk");
        Ok(LineagePage {
            nodes: nodes_of(&ids)?,
            next: more.then(|| Position {
                rows,
                digest: short(&hasher),
            }),
            deeper: self.deeper && !more,
            edges,
        })
    }
}

/// What an edge takes up in a message, roughly.
fn size(edge: &Edge) -> usize {
    let words = [edge.operation.as_str(), edge.role.as_str(), edge.actor.as_str()];
    words.iter().map(|word| word.len()).sum::<usize>() + edge.parameters.len() + 100
}

/// The rows that a query shows. Refuses a position that the graph no longer leads to, and one beyond the bound.
pub fn page<G: Graph>(graph: &G, query: &LineageQuery) -> Result<Result<Rows, Error>, G::Error> {
    if query.after.is_some_and(|after| after.rows as usize >= LINEAGE_WALK_MAX) {
        return Ok(Err(too_large()));
    }
    let mut reader = Reader::new(query);
    let mut deeper = false;
    for direction in query.scope.directions() {
        let mut walk = Walk::new(query.root, *direction);
        for _ in 0..query.depth {
            if walk.frontier.is_empty() || reader.more {
                break;
            }
            let links = walk.step(graph, reader.room())?;
            reader.take(&links);
            walk.enter(&links);
        }
        deeper |= !reader.more && !walk.step(graph, 1)?.is_empty();
    }
    Ok(reader.finish(query.after, deeper))
}

/// Picks the page out of the rows as they come.
struct Reader {
    skip: usize,
    limit: usize,
    taken: usize,
    /// Over the rows that are skipped.
    hasher: Hasher,
    links: Vec<Link>,
    more: bool,
}

impl Reader {
    fn new(query: &LineageQuery) -> Self {
        Self {
            skip: query.after.map_or(0, |after| after.rows as usize),
            limit: query.limit as usize,
            taken: 0,
            hasher: Hasher::new(),
            links: Vec::new(),
            more: false,
        }
    }

    /// How many rows may still be of use: one more than the page has shows that there are more.
    fn room(&self) -> usize {
        self.skip + self.limit + 1 - self.taken
    }

    fn take(&mut self, links: &[Link]) {
        for link in links {
            if self.taken < self.skip {
                self.hasher.update(&link.number.to_le_bytes());
            } else if self.links.len() < self.limit {
                self.links.push(*link);
            } else {
                self.more = true;
                return;
            }
            self.taken += 1;
        }
    }

    fn finish(self, after: Option<Position>, deeper: bool) -> Result<Rows, Error> {
        if after.is_some_and(|after| self.taken < self.skip || short(&self.hasher) != after.digest) {
            return Err(changed());
        }
        Ok(Rows {
            links: self.links,
            skipped: self.skip,
            hasher: self.hasher,
            more: self.more,
            deeper,
        })
    }
}

/// Enough of the digest of what was hashed so far.
fn short(hasher: &Hasher) -> u64 {
    let digest = hasher.clone().digest();
    let (half, _) = digest.as_bytes().split_at(8);
    u64::from_be_bytes(half.try_into().expect("is eight bytes"))
}

/// The refusal to go on in a graph that has changed under its reader.
fn changed() -> Error {
    Error::new(
        Reason::Conflict,
        "the graph has grown where it was read already; read it from the start",
    )
}

/// The refusal to show more of one graph than one query may walk through.
fn too_large() -> Error {
    Error::new(
        Reason::LineageTooLarge,
        format!("one query leads over at most {LINEAGE_WALK_MAX} edges; ask for less depth, or from a node further on"),
    )
}

/// The token that goes on after `position`; it only fits a query that is the same but for its limit.
pub fn encode_token(namespace: &Namespace, query: &LineageQuery, position: Position) -> String {
    let Position { rows, digest } = position;
    format!("{rows}.{digest:016x}.{}", filters(namespace, query))
}

/// Reads a token back; refuses one that is damaged or belongs to another query.
pub fn decode_token(namespace: &Namespace, query: &LineageQuery, token: &str) -> Result<Position, Error> {
    let read = || {
        let (rows, rest) = token.split_once('.')?;
        let (digest, check) = rest.split_once('.')?;
        if token.len() > limits::PAGE_TOKEN_LEN_MAX || digest.len() != 16 || check != filters(namespace, query) {
            return None;
        }
        let rows = rows.parse().ok().filter(|rows| *rows > 0)?;
        let digest = u64::from_str_radix(digest, 16).ok()?;
        Some(Position { rows, digest })
    };
    read().ok_or_else(|| {
        Error::invalid(Reason::BadPageToken, "page token does not belong to this query").field("page_token")
    })
}

fn filters(namespace: &Namespace, query: &LineageQuery) -> String {
    let LineageQuery { root, scope, depth, .. } = query;
    let digest = Digest::of(format!("lineage\0{namespace}\0{root}\0{}\0{depth}", scope.as_str()).as_bytes());
    digest.as_bytes()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
