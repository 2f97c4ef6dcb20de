//! A lineage graph as an indented tree, for people.

use std::collections::{HashMap, HashSet};

use payload_client::v1;

use super::graph::Graph;
use crate::human;

/// The root, what it was made from, and what was made from it.
pub(super) fn tree(graph: &Graph) -> String {
    let nodes = graph.by_id();
    let line = |id: &str| nodes.get(id).map_or_else(|| id.to_owned(), |node| node_line(node));
    let mut lines = vec![line(&graph.root)];
    let sides = [
        ("made from", side(graph, |edge| (&edge.child_id, &edge.parent_id))),
        ("made into", side(graph, |edge| (&edge.parent_id, &edge.child_id))),
    ];
    for (title, edges) in sides {
        if edges.contains_key(graph.root.as_str()) {
            lines.push(String::new());
            lines.push(title.to_owned());
            branches(&graph.root, &edges, &line, &mut lines);
        }
    }
    if graph.deeper {
        lines.push(String::new());
        lines.push("there is more beyond this depth; see --depth".to_owned());
    }
    lines.join("\n")
}

/// The edges by the end from which one comes, with the end to which they lead.
type Side<'a> = HashMap<&'a str, Vec<(&'a v1::LineageEdge, &'a str)>>;

/// Of all edges those that lead away from the root in one direction.
fn side<'a>(graph: &'a Graph, ends: impl Fn(&'a v1::LineageEdge) -> (&'a String, &'a String)) -> Side<'a> {
    let mut all: Side<'_> = HashMap::new();
    for edge in &graph.edges {
        let (near, far) = ends(edge);
        all.entry(near).or_default().push((edge, far));
    }
    // Edges of the other direction hang on nodes that cannot be reached this way, except those of the root's own: it has no
    // edge back to itself.
    let (mut reached, mut waiting) = (HashSet::new(), vec![graph.root.as_str()]);
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            waiting.extend(all.get(id).into_iter().flatten().map(|(_, far)| *far));
        }
    }
    all.retain(|near, _| reached.contains(near));
    all
}

/// One line for each edge, under the node that it hangs on. What hangs on a node is shown where the node comes first.
fn branches(root: &str, edges: &Side<'_>, line: &impl Fn(&str) -> String, lines: &mut Vec<String>) {
    let mut shown = HashSet::new();
    let mut waiting: Vec<(usize, &v1::LineageEdge, &str)> = Vec::new();
    let below = |id: &str, depth: usize, waiting: &mut Vec<_>| {
        let next = edges.get(id).into_iter().flatten().rev();
        waiting.extend(next.map(|(edge, far)| (depth, *edge, *far)));
    };
    below(root, 1, &mut waiting);
    while let Some((depth, edge, far)) = waiting.pop() {
        let indent = "  ".repeat(depth);
        let how = how(edge);
        if !edges.contains_key(far) {
            lines.push(format!("{indent}{}  {how}", line(far)));
        } else if shown.insert(far) {
            lines.push(format!("{indent}{}  {how}", line(far)));
            below(far, depth + 1, &mut waiting);
        } else {
            lines.push(format!("{indent}{}  {how}  (see above)", line(far)));
        }
    }
}

fn node_line(node: &v1::LineageNode) -> String {
    let state = match node.state() {
        v1::State::Unspecified => "forgotten".to_owned(),
        state => state.as_str_name().to_lowercase(),
    };
    format!("{}  {state}  {}", node.payload_id, human::size(node.size))
}

/// What made the child out of the parent.
pub(super) fn how(edge: &v1::LineageEdge) -> String {
    match edge.role.as_str() {
        "" => edge.operation.clone(),
        role => format!("{} ({role})", edge.operation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(child: &str, parent: &str, role: &str) -> v1::LineageEdge {
        v1::LineageEdge {
            child_id: child.to_owned(),
            parent_id: parent.to_owned(),
            operation: "make".to_owned(),
            role: role.to_owned(),
            ..Default::default()
        }
    }

    fn graph(root: &str, edges: Vec<v1::LineageEdge>) -> Graph {
        let mut ids = vec![root];
        for id in edges.iter().flat_map(|edge| [&*edge.child_id, &*edge.parent_id]) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let node = |id: &&str| v1::LineageNode {
            payload_id: (*id).to_owned(),
            state: v1::State::Active.into(),
            size: 5,
        };
        Graph {
            root: root.to_owned(),
            nodes: ids.iter().map(node).collect(),
            edges,
            deeper: true,
        }
    }

    #[test]
    fn a_diamond_is_shown_once_and_both_sides_have_their_place() {
        let edges = vec![
            edge("r", "a", "left"),
            edge("r", "b", ""),
            edge("a", "top", ""),
            edge("b", "top", ""),
            edge("top", "raw", ""),
            edge("c", "r", ""),
        ];
        let wanted = "\
r  active  5 B

made from
  a  active  5 B  make (left)
    top  active  5 B  make
      raw  active  5 B  make
  b  active  5 B  make
    top  active  5 B  make  (see above)

made into
  c  active  5 B  make

there is more beyond this depth; see --depth";
        assert_eq!(tree(&graph("r", edges)), wanted);
    }

    #[test]
    fn fault_50_a_long_chain_needs_no_stack() {
        let edges = (0..1_000).map(|number| edge(&format!("{number}"), &format!("{}", number + 1), ""));
        assert_eq!(tree(&graph("0", edges.collect())).lines().count(), 1_000 + 5);
    }
}
