//! The lineage graph in PostgreSQL: walked level by level, a statement for each.

use payload_core::PayloadId;
use payload_core::lineage::{self, Descendants, Direction, Graph, LineagePage, LineageQuery, Link, Node};
use uuid::Uuid;

use super::connect::{Conn, Session};
use super::fault::Fault;
use super::{row, sql};

/// The rows of a transaction or a snapshot.
pub(super) struct Rows<'a>(pub(super) &'a Conn);

impl Graph for Rows<'_> {
    type Error = Fault;

    fn links(&self, direction: Direction, nodes: &[PayloadId], limit: usize) -> Result<Vec<Link>, Fault> {
        let sql = match direction {
            Direction::Up => sql::LINKS_UP,
            Direction::Down => sql::LINKS_DOWN,
        };
        let limit = row::int(limit as u64);
        self.0
            .run(async |session: &Session| session.all(sql, &[&uuids(nodes), &limit], row::link).await)
    }

    fn live(&self, nodes: &[PayloadId]) -> Result<Option<PayloadId>, Fault> {
        self.0
            .run(async |session: &Session| session.one(sql::LIVE, &[&uuids(nodes)], row::payload_id).await)
    }
}

/// See the port. The inner error is the caller's.
pub(super) fn page(conn: &Conn, query: &LineageQuery) -> Result<payload_core::Result<LineagePage>, Fault> {
    let rows = match lineage::page(&Rows(conn), query)? {
        Ok(rows) => rows,
        Err(error) => return Ok(Err(error)),
    };
    let edges = |numbers: &[i64]| {
        let edges = conn.run(async |session: &Session| session.all(sql::EDGES, &[&numbers], row::edge).await)?;
        // Edges are never removed, and all of this is one snapshot.
        if edges.len() == numbers.len() {
            Ok(edges)
        } else {
            Err(Fault::bad_row("number"))
        }
    };
    rows.fill(query.root, edges, |ids| nodes(conn, ids)).map(Ok)
}

/// See the port.
pub(super) fn descendants(conn: &Conn, root: PayloadId, limit: u32) -> Result<Descendants, Fault> {
    let reach = lineage::reach(&Rows(conn), root, limit as usize)?;
    let nodes = nodes(conn, &reach.ids)?;
    Ok(reach.with(nodes))
}

fn nodes(conn: &Conn, ids: &[PayloadId]) -> Result<Vec<Node>, Fault> {
    conn.run(async |session: &Session| session.all(sql::NODES, &[&uuids(ids)], row::node).await)
}

fn uuids(ids: &[PayloadId]) -> Vec<Uuid> {
    ids.iter().map(|id| row::uuid(id.as_bytes())).collect()
}
