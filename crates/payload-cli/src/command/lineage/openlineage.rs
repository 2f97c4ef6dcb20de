//! A lineage graph as OpenLineage events (<https://openlineage.io/spec/2-0-2/OpenLineage.json>): one run for each derivation,
//! that is, for all edges of one child that were said at once. A run has to start and to complete; it does both when it was
//! said.

use std::collections::BTreeMap;

use payload_client::{Digest, v1};
use serde_json::{Value, json};

use super::graph::Graph;
use crate::{base64, human};

const RUN_EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const PRODUCER: &str = concat!("urn:payload-manager:payloadctl:", env!("CARGO_PKG_VERSION"));

/// One event a line, the earliest first, as OpenLineage's file transport writes them.
pub(super) fn events(graph: &Graph, namespace: &str) -> Vec<String> {
    let mut runs: BTreeMap<Key<'_>, Vec<&v1::LineageEdge>> = BTreeMap::new();
    for edge in &graph.edges {
        runs.entry(key(edge)).or_default().push(edge);
    }
    let nodes = graph.by_id();
    let events = runs.values().flat_map(|edges| {
        let complete = event(edges, &nodes, namespace);
        let mut start = complete.clone();
        start["eventType"] = "START".into();
        start["outputs"] = json!([]);
        [start, complete]
    });
    events.map(|event| event.to_string()).collect()
}

/// What the edges of one derivation have in common.
type Key<'a> = (i64, &'a str, &'a str, &'a str, &'a [u8]);

fn key(edge: &v1::LineageEdge) -> Key<'_> {
    (
        edge.at_us,
        &edge.child_id,
        &edge.operation,
        &edge.actor,
        &edge.parameters,
    )
}

type Nodes<'a> = std::collections::HashMap<&'a str, &'a v1::LineageNode>;

fn event(edges: &[&v1::LineageEdge], nodes: &Nodes<'_>, namespace: &str) -> Value {
    let first = edges[0];
    let inputs: Vec<Value> = edges.iter().map(|edge| input(edge, nodes, namespace)).collect();
    json!({
        "eventType": "COMPLETE",
        "eventTime": human::precise_time(first.at_us),
        "producer": PRODUCER,
        "schemaURL": RUN_EVENT,
        "run": {"runId": run_id(first, namespace), "facets": {"payload_derivation": derivation(first)}},
        "job": {"namespace": source(namespace), "name": first.operation},
        "inputs": inputs,
        "outputs": [dataset(&first.child_id, nodes, namespace)],
    })
}

/// The same for the same derivation, whoever exports it and how often: a version 8 UUID (RFC 9562) over what it says.
fn run_id(edge: &v1::LineageEdge, namespace: &str) -> String {
    let (at, child, operation, actor, parameters) = key(edge);
    let mut text = format!("{namespace} {at} {child} {operation:?} {actor:?} ").into_bytes();
    text.extend_from_slice(parameters);
    let mut bytes = *Digest::of(&text).as_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

fn input(edge: &v1::LineageEdge, nodes: &Nodes<'_>, namespace: &str) -> Value {
    let mut input = dataset(&edge.parent_id, nodes, namespace);
    if !edge.role.is_empty() {
        let facet = facet("role", [("role", edge.role.clone().into())]);
        input["inputFacets"] = json!({"payload_role": facet});
    }
    input
}

fn dataset(id: &str, nodes: &Nodes<'_>, namespace: &str) -> Value {
    let mut dataset = json!({"namespace": source(namespace), "name": id});
    if let Some(node) = nodes.get(id) {
        let fields = [("state", node.state().as_str_name().into()), ("size", node.size.into())];
        dataset["facets"] = json!({"payload_payload": facet("payload", fields)});
    }
    dataset
}

fn derivation(edge: &v1::LineageEdge) -> Value {
    let parameters = &edge.parameters;
    let json = serde_json::from_slice::<Value>(parameters).ok();
    // Whatever form they have, whoever reads the event sees which it is.
    let (field, value) = match (json, std::str::from_utf8(parameters)) {
        (Some(json), _) => ("parameters_json", json),
        (None, Ok(text)) => ("parameters_text", text.into()),
        (None, Err(_)) => ("parameters_base64", base64::encode(parameters).into()),
    };
    facet("derivation", [("actor", edge.actor.clone().into()), (field, value)])
}

fn facet<const N: usize>(name: &str, fields: [(&str, Value); N]) -> Value {
    let mut facet = json!({"_producer": PRODUCER, "_schemaURL": format!("urn:payload-manager:facet:{name}:1")});
    for (name, value) in fields {
        facet[name] = value;
    }
    facet
}

/// The namespace of all payloads of one of ours.
fn source(namespace: &str) -> String {
    format!("payload-manager://{namespace}")
}
