//! A lineage graph in the language of Graphviz: from parents to children, tombstones dashed.

use std::fmt::Write;

use payload_client::v1;

use super::graph::Graph;
use super::tree::how;
use crate::human;

/// A document that `dot` accepts, whatever the names in it are.
pub(super) fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph lineage {\n  rankdir=LR;\n  node [shape=box];\n");
    for node in &graph.nodes {
        let (id, label) = (quoted(&node.payload_id), quoted(&label(node)));
        let style = match node.state() {
            v1::State::Active if node.payload_id == graph.root => ", penwidth=2",
            v1::State::Active => "",
            _ => ", style=dashed",
        };
        writeln!(text, "  {id} [label={label}{style}];").expect("a String takes everything");
    }
    for edge in &graph.edges {
        let (parent, child) = (quoted(&edge.parent_id), quoted(&edge.child_id));
        let label = quoted(&how(edge));
        writeln!(text, "  {parent} -> {child} [label={label}];").expect("a String takes everything");
    }
    text.push('}');
    text
}

fn label(node: &v1::LineageNode) -> String {
    let state = node.state().as_str_name().to_lowercase();
    format!("{}\n{state}, {}", node.payload_id, human::size(node.size))
}

/// A string of DOT. Backslashes would begin an escape of its own language, such as `\N` for the node's name.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_end_its_string() {
        assert_eq!(quoted("a\"] -> b; \\N \\"), r#""a\"] -> b; \\N \\""#);
        assert_eq!(quoted("two\nlines"), r#""two\nlines""#);
    }
}
