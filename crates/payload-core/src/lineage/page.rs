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
use crate::lifecycle::StateKind;
use crate::limits::{self, LINEAGE_PAGE_BYTES_MAX, LINEAGE_WALK_MAX};
use crate::name::Namespace;

use super::{Edge, Graph, Link};

/// How many nodes are asked for their edges, and edges for what they say, at a time.
const STEP: usize = 512;

/// Where an edge leads, as seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From children to parents.
    Up,
    /// From parents to children.
    Down,
}

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

/// A walk that goes level by level.
struct Walk {
    direction: Direction,
    seen: HashSet<PayloadId>,
    /// The nodes of the last level, in order.
    frontier: Vec<PayloadId>,
}

impl Walk {
    fn new(root: PayloadId, direction: Direction) -> Self {
        Self {
            direction,
            seen: HashSet::from([root]),
            frontier: vec![root],
        }
    }

    /// The edges of the last level, at most `limit` of them.
    fn step<G: Graph>(&self, graph: &G, limit: usize) -> Result<Vec<Link>, G::Error> {
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
    fn enter(&mut self, links: &[Link]) -> &[PayloadId] {
        self.frontier.clear();
        let met = links.iter().map(|link| link.far);
        self.frontier.extend(met.filter(|id| self.seen.insert(*id)));
        self.frontier.sort_unstable();
        &self.frontier
    }
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
