//! `lineage`: what payloads were made from, as a tree for people and in the languages of other programs.

mod dot;
mod graph;
mod openlineage;
mod tree;

use payload_client::{PayloadId, v1};

use self::graph::Graph;
use super::Server;
use crate::args::{DerivationArgs, GraphFormat, LineageCommand, ScopeArgs};
use crate::failure::Failure;
use crate::human;
use crate::json::{AddedLineage, Impact, Lineage, LineageNode};
use crate::output::Output;

pub(super) async fn run(server: &Server, command: LineageCommand, output: &Output) -> Result<(), Failure> {
    match command {
        LineageCommand::Add { child, derivation } => add(server, child, &derivation, output).await,
        LineageCommand::Show { id, scope } => show(server, id, scope, output).await,
        LineageCommand::Export { id, scope, format } => export(server, id, scope, format, output).await,
        LineageCommand::Impact { id } => impact(server, id, output).await,
    }
}

/// The derivation that the command line describes, if it does.
pub(super) fn derivation(args: &DerivationArgs) -> Result<Option<v1::Derivation>, Failure> {
    let Some(operation) = args.operation.clone() else {
        return Ok(None);
    };
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|error| Failure::io(format!("read {}", path.display()), &error))
    };
    let parent = |id: &PayloadId| v1::Parent {
        payload_id: id.to_string(),
        role: args.role.clone().unwrap_or_default(),
    };
    Ok(Some(v1::Derivation {
        operation,
        parents: args.parents.iter().map(parent).collect(),
        parameters: args.parameters.as_ref().map(read).transpose()?.unwrap_or_default(),
    }))
}

async fn add(server: &Server, child: PayloadId, args: &DerivationArgs, output: &Output) -> Result<(), Failure> {
    // The command line demands a parent, and that an operation.
    let derivation = derivation(args)?.unwrap_or_default();
    let document = AddedLineage {
        payload_id: child.to_string(),
        operation: derivation.operation.clone(),
        parents: args.parents.iter().map(PayloadId::to_string).collect(),
    };
    let added = server.catalog().add_lineage(child, derivation).await;
    added.map_err(|error| Failure::new(format!("lineage of {child}"), &error))?;
    output.print(&document, |_| {
        format!("{child}  {}  from {}", document.operation, document.parents.join(", "))
    })
}

async fn show(server: &Server, id: PayloadId, scope: ScopeArgs, output: &Output) -> Result<(), Failure> {
    let graph = Graph::read(&server.catalog(), id, scope).await?;
    output.print(&Lineage::from(&graph), |_| tree::tree(&graph))
}

async fn export(
    server: &Server,
    id: PayloadId,
    scope: ScopeArgs,
    format: GraphFormat,
    output: &Output,
) -> Result<(), Failure> {
    let graph = Graph::read(&server.catalog(), id, scope).await?;
    let lines = match format {
        GraphFormat::Openlineage => openlineage::events(&graph, server.namespace().as_str()),
        GraphFormat::Dot => vec![dot::dot(&graph)],
        GraphFormat::Json => return output.json(&Lineage::from(&graph)),
    };
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    output.write(text.as_bytes())
}

async fn impact(server: &Server, id: PayloadId, output: &Output) -> Result<(), Failure> {
    let found = server.catalog().impact(id, 0).await;
    let found = found.map_err(|error| Failure::new(format!("impact of {id}"), &error))?;
    let document = Impact::new(id.to_string(), &found);
    output.print(&document, |output| {
        let at_least = if document.complete { "" } else { "at least " };
        let mut text = format!(
            "{at_least}{} live descendants, {}; {} have ended",
            document.live,
            human::size(document.live_bytes),
            document.ended
        );
        if !document.nearest.is_empty() {
            text += "\n\n";
            text += &output.table(["NEAREST", "STATE", "SIZE"], document.nearest.iter().map(row));
        }
        text
    })
}

/// A node as a row of a table.
pub(super) fn row(node: &LineageNode) -> [String; 3] {
    [
        node.payload_id.clone(),
        node.state.to_lowercase(),
        human::size(node.size),
    ]
}

impl From<&Graph> for Lineage {
    fn from(graph: &Graph) -> Self {
        Self {
            payload_id: graph.root.clone(),
            edges: graph.edges.iter().map(Into::into).collect(),
            nodes: graph.nodes.iter().map(Into::into).collect(),
            deeper: graph.deeper,
        }
    }
}
