//! A lineage graph that was read to its end, and the way to read one.

use std::collections::{HashMap, HashSet};

use payload_client::{Catalog, LineageOptions, PayloadId, Reason, v1};
use payload_core::limits;

use crate::args::ScopeArgs;
use crate::failure::Failure;

/// How often reading begins again because the graph grows under the reader.
const ATTEMPTS: u32 = 5;

/// All that a query shows.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) root: String,
    /// Nearest first.
    pub(super) edges: Vec<v1::LineageEdge>,
    /// The root first.
    pub(super) nodes: Vec<v1::LineageNode>,
    /// Edges begin where the depth ends.
    pub(super) deeper: bool,
}

impl Graph {
    /// Reads page after page.
    pub(super) async fn read(catalog: &Catalog, id: PayloadId, args: ScopeArgs) -> Result<Self, Failure> {
        let mut attempt = 1;
        loop {
            match Self::read_once(catalog, id, args).await {
                Err(error) if error.reason() == Reason::Conflict && attempt < ATTEMPTS => attempt += 1,
                result => return result.map_err(|error| Failure::new(format!("lineage of {id}"), &error)),
            }
        }
    }

    async fn read_once(catalog: &Catalog, id: PayloadId, args: ScopeArgs) -> payload_client::Result<Self> {
        let options = LineageOptions {
            scope: args.scope(),
            depth: args.depth,
            page_size: limits::LINEAGE_PAGE_SIZE_MAX,
        };
        let mut graph = Self {
            root: id.to_string(),
            edges: Vec::new(),
            nodes: Vec::new(),
            deeper: false,
        };
        let (mut seen, mut token) = (HashSet::new(), String::new());
        loop {
            let page = catalog.lineage(id, options, &token).await?;
            graph.edges.extend(page.edges);
            let new = page
                .nodes
                .into_iter()
                .filter(|node| seen.insert(node.payload_id.clone()));
            graph.nodes.extend(new);
            graph.deeper = page.deeper;
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(graph);
            }
        }
    }

    /// Its nodes by their ids.
    pub(super) fn by_id(&self) -> HashMap<&str, &v1::LineageNode> {
        self.nodes.iter().map(|node| (node.payload_id.as_str(), node)).collect()
    }
}
