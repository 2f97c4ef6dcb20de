//! What this server says of itself.

use payload_core::NodeId;

/// Its node, and who keeps its segments.
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    /// "built-in", "systemd" or "none".
    pub(crate) keeper_kind: &'static str,
    pub(crate) keeper_connected: Box<dyn Fn() -> bool + Send + Sync>,
}
