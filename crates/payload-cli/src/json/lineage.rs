//! The documents about lineage.

use payload_client::v1;
use serde::Serialize;

use crate::base64;

/// `lineage show`.
#[derive(Debug, Serialize)]
pub(crate) struct Lineage {
    pub(crate) payload_id: String,
    pub(crate) edges: Vec<LineageEdge>,
    pub(crate) nodes: Vec<LineageNode>,
    pub(crate) deeper: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct LineageEdge {
    pub(crate) child_id: String,
    pub(crate) parent_id: String,
    pub(crate) operation: String,
    pub(crate) role: String,
    /// In base64, as bytes are in the JSON form of protos.
    pub(crate) parameters: String,
    pub(crate) actor: String,
    pub(crate) at_us: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct LineageNode {
    pub(crate) payload_id: String,
    pub(crate) state: &'static str,
    pub(crate) size: u64,
}

/// `lineage add`.
#[derive(Debug, Serialize)]
pub(crate) struct AddedLineage {
    pub(crate) payload_id: String,
    pub(crate) operation: String,
    pub(crate) parents: Vec<String>,
}

/// `lineage impact`.
#[derive(Debug, Serialize)]
pub(crate) struct Impact {
    pub(crate) payload_id: String,
    pub(crate) live: u64,
    pub(crate) live_bytes: u64,
    pub(crate) ended: u64,
    pub(crate) nearest: Vec<LineageNode>,
    pub(crate) complete: bool,
}

impl Impact {
    pub(crate) fn new(payload_id: String, found: &v1::GetImpactResponse) -> Self {
        Self {
            payload_id,
            live: found.live,
            live_bytes: found.live_bytes,
            ended: found.ended,
            nearest: found.nearest.iter().map(Into::into).collect(),
            complete: found.complete,
        }
    }
}

impl From<&v1::LineageEdge> for LineageEdge {
    fn from(edge: &v1::LineageEdge) -> Self {
        Self {
            child_id: edge.child_id.clone(),
            parent_id: edge.parent_id.clone(),
            operation: edge.operation.clone(),
            role: edge.role.clone(),
            parameters: base64::encode(&edge.parameters),
            actor: edge.actor.clone(),
            at_us: edge.at_us,
        }
    }
}

impl From<&v1::LineageNode> for LineageNode {
    fn from(node: &v1::LineageNode) -> Self {
        Self {
            payload_id: node.payload_id.clone(),
            state: node.state().as_str_name(),
            size: node.size,
        }
    }
}
