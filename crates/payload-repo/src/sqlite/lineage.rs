//! The lineage graph in SQLite: walked edge by edge with two prepared statements, which is as quick as a recursive query
//! and can stop anywhere.

use payload_core::lineage::{self, Descendants, Direction, End, Graph, LineagePage, LineageQuery, Link, Node};
use payload_core::{ChangeSet, Edge, PayloadId, Refusal, StateKind};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::row::int;
use super::{read, row, sql};

/// The rows of a transaction or a snapshot.
struct Rows<'a>(&'a Connection);

impl Graph for Rows<'_> {
    type Error = Fault;

    fn links(&self, direction: Direction, nodes: &[PayloadId], limit: usize) -> Result<Vec<Link>, Fault> {
        let mut statement = self.0.prepare_cached(match direction {
            Direction::Up => sql::LINKS_UP,
            Direction::Down => sql::LINKS_DOWN,
        })?;
        let mut links = Vec::new();
        for near in nodes {
            if links.len() == limit {
                break;
            }
            let mut rows = statement.query(params![near.as_bytes(), int((limit - links.len()) as u64)])?;
            while let Some(found) = rows.next()? {
                links.push(row::link(*near, found)?);
            }
        }
        Ok(links)
    }

    fn live(&self, nodes: &[PayloadId]) -> Result<Option<PayloadId>, Fault> {
        let mut statement = self.0.prepare_cached(sql::NODE)?;
        for id in nodes {
            let mut rows = statement.query([id.as_bytes()])?;
            let found = rows.next()?.map(|found| row::node(*id, found)).transpose()?;
            if found.is_some_and(|node| node.state == Some(StateKind::Active)) {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }
}

/// What a set says about lineage, or why not; then some of it may be written, and the caller must roll back.
pub(super) fn add(conn: &Connection, set: &ChangeSet) -> Result<Result<(), Refusal>, Fault> {
    if let Some(payload) = set.without_dependents
        && let Err(refusal) = lineage::dependents(&Rows(conn), payload)?.check(payload)
    {
        return Ok(Err(refusal));
    }
    for edge in &set.edges {
        if let Err(refusal) = add_edge(conn, edge)? {
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(()))
}

fn add_edge(conn: &Connection, edge: &Edge) -> Result<Result<(), Refusal>, Fault> {
    let (child, parent) = (end(conn, edge.child)?, end(conn, edge.parent)?);
    if let Err(refusal) = lineage::ends(edge, child.as_ref(), parent.as_ref()) {
        return Ok(Err(refusal));
    }
    if is_there(conn, edge)? {
        return Ok(Ok(()));
    }
    let allowed = lineage::cycle(&Rows(conn), edge.child, edge.parent)?.check(edge);
    if allowed.is_ok() {
        insert(conn, edge)?;
    }
    Ok(allowed)
}

fn is_there(conn: &Connection, edge: &Edge) -> Result<bool, Fault> {
    let (child, parent) = (edge.child.as_bytes(), edge.parent.as_bytes());
    let key = params![child, parent, edge.operation.as_str(), edge.role.as_str()];
    let found = read::one(conn, sql::EDGE_NUMBER, key, |_| Ok(()))?;
    Ok(found.is_some())
}

fn insert(conn: &Connection, edge: &Edge) -> Result<(), Fault> {
    conn.prepare_cached(sql::INSERT_EDGE)?.execute(params![
        edge.child.as_bytes(),
        edge.parent.as_bytes(),
        edge.operation.as_str(),
        edge.role.as_str(),
        &*edge.parameters,
        edge.actor.as_str(),
        edge.at.as_micros(),
    ])?;
    Ok(())
}

/// See the port. The inner error is the caller's.
pub(super) fn page(conn: &Connection, query: &LineageQuery) -> Result<payload_core::Result<LineagePage>, Fault> {
    let rows = match lineage::page(&Rows(conn), query)? {
        Ok(rows) => rows,
        Err(error) => return Ok(Err(error)),
    };
    rows.fill(query.root, |numbers| edges(conn, numbers), |ids| nodes(conn, ids))
        .map(Ok)
}

/// See the port.
pub(super) fn descendants(conn: &Connection, root: PayloadId, limit: u32) -> Result<Descendants, Fault> {
    let reach = lineage::reach(&Rows(conn), root, limit as usize)?;
    let nodes = nodes(conn, &reach.ids)?;
    Ok(reach.with(nodes))
}

fn end(conn: &Connection, id: PayloadId) -> Result<Option<End>, Fault> {
    read::one(conn, sql::EDGE_END, [id.as_bytes()], row::end)
}

/// Neighbours often say the same, and then share it.
fn edges(conn: &Connection, numbers: &[i64]) -> Result<Vec<Edge>, Fault> {
    let mut statement = conn.prepare_cached(sql::EDGE)?;
    let mut edges: Vec<Edge> = Vec::with_capacity(numbers.len());
    for number in numbers {
        let mut rows = statement.query([number])?;
        let found = rows.next()?.ok_or_else(|| Fault::bad_row("number"))?;
        let edge = row::edge(found, edges.last())?;
        edges.push(edge);
    }
    Ok(edges)
}

fn nodes(conn: &Connection, ids: &[PayloadId]) -> Result<Vec<Node>, Fault> {
    let mut statement = conn.prepare_cached(sql::NODE)?;
    let mut nodes = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query([id.as_bytes()])?;
        let found = rows.next()?.map(|found| row::node(*id, found)).transpose()?;
        nodes.push(found.unwrap_or(Node {
            id: *id,
            state: None,
            size: 0,
        }));
    }
    Ok(nodes)
}
