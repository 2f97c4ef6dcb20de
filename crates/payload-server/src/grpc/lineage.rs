//! Questions about lineage from the wire, and the answers to them; deletions answer about dependents.

use payload_core::lineage::{Edge, Node};
use payload_core::{Error, Reason, Result};
use payload_engine::{AddLineageRequest, Deletion, Impact, Lineage, LineageRequest};
use payload_proto::convert::{self, id, namespace, request_id};
use payload_proto::v1;

pub(super) fn add(request: &v1::AddLineageRequest) -> Result<AddLineageRequest> {
    let derivation = convert::lineage(request.lineage.as_ref())?;
    Ok(AddLineageRequest {
        namespace: namespace(&request.namespace)?,
        request_id: request_id(&request.request_id)?,
        payload: id(&request.payload_id)?,
        derivation: derivation.ok_or_else(|| {
            Error::invalid(Reason::BadRequest, "lineage must name at least one parent").field("lineage")
        })?,
    })
}

pub(super) fn get(request: v1::GetLineageRequest) -> Result<LineageRequest> {
    Ok(LineageRequest {
        namespace: namespace(&request.namespace)?,
        payload: id(&request.payload_id)?,
        scope: convert::scope(request.scope)?,
        depth: request.depth,
        page_size: request.page_size,
        page_token: request.page_token,
    })
}

pub(super) fn page(lineage: Lineage) -> v1::GetLineageResponse {
    v1::GetLineageResponse {
        edges: lineage.page.edges.iter().map(edge).collect(),
        nodes: lineage.page.nodes.iter().map(node).collect(),
        next_page_token: lineage.next_token.unwrap_or_default(),
        deeper: lineage.page.deeper,
    }
}

pub(super) fn impact(impact: &Impact) -> v1::GetImpactResponse {
    v1::GetImpactResponse {
        live: impact.live,
        live_bytes: impact.live_bytes,
        ended: impact.ended,
        nearest: impact.nearest.iter().map(node).collect(),
        complete: impact.complete,
    }
}

pub(super) fn deletion(deletion: &Deletion) -> v1::DeletePayloadResponse {
    v1::DeletePayloadResponse {
        state: v1::State::from(deletion.state).into(),
        leases: deletion.leases as u64,
        payload_id: deletion.payload.to_string(),
        dependents_deleted: deletion.dependents.deleted,
        dependents_left: deletion.dependents.left,
        dependents: deletion.dependents.next.iter().map(node).collect(),
    }
}

fn edge(edge: &Edge) -> v1::LineageEdge {
    v1::LineageEdge {
        child_id: edge.child.to_string(),
        parent_id: edge.parent.to_string(),
        operation: edge.operation.to_string(),
        role: edge.role.to_string(),
        parameters: edge.parameters.to_vec(),
        actor: edge.actor.to_string(),
        at_us: edge.at.as_micros(),
    }
}

fn node(node: &Node) -> v1::LineageNode {
    v1::LineageNode {
        payload_id: node.id.to_string(),
        state: node.state.map_or(v1::State::Unspecified, v1::State::from).into(),
        size: node.size,
    }
}
